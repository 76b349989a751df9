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
UNEXPECTED = "met an error it does not know"  # what app.py shows in place of an exception


def open_page(name: str = "leaderboard", **state: object):
    """The app on one page, with widgets set through the session's state; nothing may have been raised."""
    testing = pytest.importorskip("streamlit.testing.v1", reason="streamlit is not installed")
    app = testing.AppTest.from_file(str(APP), default_timeout=120)
    for key, value in state.items():
        app.session_state[key] = value
    if name != "leaderboard":
        app.switch_page(f"views/{name}.py")
    app.run()
    return sound(app)


def sound(app):
    """The same app, if its last run raised nothing: neither past app.py nor caught by it."""
    assert not app.exception, app.exception
    assert UNEXPECTED not in "\n".join(e.value for e in app.error), "the page raised; the log has the traceback"
    return app


def metrics(results: Path, model: str, data: str = "fer2013") -> dict:
    """Content of a stand-in's metrics.json."""
    return json.loads((results / data / model / "metrics.json").read_text(encoding="utf-8"))


def score(results: Path, checkpoints: Path, scored: dict[str, str], data: str = "fer2013") -> None:
    """Make stand-in results those of checkpoints: name of a result -> of the checkpoint whose weights it scored."""
    for name, model in scored.items():
        weights = json.loads((checkpoints / model / "config.json").read_text(encoding="utf-8"))["weights"]
        content = metrics(results, name, data)
        content["checkpoint"]["sha256"] = weights["sha256"]
        (results / data / name / "metrics.json").write_text(json.dumps(content), encoding="utf-8")


def captions(app) -> str:
    """All that is said in small print."""
    return "\n".join(c.value for c in app.caption)


def picture_captions(app) -> list[str]:
    """What stands below each picture, in order."""
    return [i.caption for element in app.image for i in element.proto.imgs]


def helps(app, column: str) -> str:
    """The help of a column of the first table that has it."""
    config = json.loads(next(d for d in app.dataframe if column in d.value.columns).proto.columns)
    return config[column]["help"]


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
