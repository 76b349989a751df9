"""The lab without a browser: open a page, read its tables, charts and messages."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
APP = ROOT / "streamlit_app" / "app.py"
RESULT_PAGES = ("leaderboard", "compare", "data", "curves", "errors", "attention", "reliability")
PAGES = (*RESULT_PAGES, "try_it", "mirror", "about")


def open_page(name: str = "leaderboard", **state: object):
    """The app on one page, with widgets set through the session's state; nothing may have been raised."""
    testing = pytest.importorskip("streamlit.testing.v1", reason="streamlit is not installed")
    app = testing.AppTest.from_file(str(APP), default_timeout=120)
    for key, value in state.items():
        app.session_state[key] = value
    if name != "leaderboard":
        app.switch_page(f"views/{name}.py")
    app.run()
    assert not app.exception, app.exception
    return app


def metrics(results: Path, model: str, data: str = "fer2013") -> dict:
    """Content of a stand-in's metrics.json."""
    return json.loads((results / data / model / "metrics.json").read_text(encoding="utf-8"))


def messages(app) -> str:
    """All that is said in a coloured box."""
    return "\n".join(e.value for kind in (app.error, app.warning, app.info, app.success) for e in kind)


def charts(app) -> list[dict]:
    """Plotly's description of every chart, in order."""
    return [json.loads(c.proto.spec) for c in app.get("plotly_chart")]


def table(app, column: str):
    """The first table that has a column of this name."""
    return next(d.value for d in app.dataframe if column in d.value.columns)


def numbers(values) -> np.ndarray:
    """Plotly writes arrays as lists or as base64."""
    if isinstance(values, dict):
        array = np.frombuffer(base64.b64decode(values["bdata"]), dtype=np.dtype(values["dtype"]))
        return array.reshape([int(n) for n in str(values["shape"]).split(",")]) if "shape" in values else array
    return np.array(values, dtype=float)


def encoded(image: np.ndarray, kind: str = "PNG") -> bytes:
    """A picture as the bytes of a file."""
    out = io.BytesIO()
    Image.fromarray(image).save(out, format=kind)
    return out.getvalue()


def scene(expressions: list[str], width: int = 640) -> np.ndarray:
    """Drawn people: uint8 (480, width, 3)."""
    from fer.data.synthetic import draw_scene

    return draw_scene(expressions, np.random.default_rng(4), width, 480)[0]
