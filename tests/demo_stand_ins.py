"""Stand-ins for what is before and behind the demo's gate, two of its pictures, and some broken ones."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

EXAMPLES = Path(__file__).resolve().parents[1] / "demo" / "examples"
ONE = EXAMPLES / "1-happy.jpg"
TWO = EXAMPLES / "2-surprise.jpg"


class Inside:
    """Stands for Gradio: notes what reaches it, answers with the paths it is told to."""

    def __init__(self, answer=b"[]", status=200):
        self.seen, self.answer, self.status = [], answer, status

    async def __call__(self, scope, receive, send):
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        self.seen.append((scope["path"], body))
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": self.answer})


def gate_of(demo, inside, tools=False, **limits):
    """A gate with limits of its own, and uploads of its own behind it."""
    return demo.gate.Gate(inside, demo.limits.Limits(**limits), demo.uploads.Uploads(), tools)


def client_of(address):
    """A program that asks a running demo."""
    from gradio_client import Client

    return Client(address, verbose=False, httpx_kwargs={"timeout": 120})


def broken_pictures(folder: Path) -> dict[str, Path]:
    """Files that are no pictures though their names say so, by name."""
    photo = ONE.read_bytes()
    bomb = io.BytesIO()
    Image.new("1", (12000, 12000)).save(bomb, "PNG")
    contents = {
        "text.jpg": b"not a picture",
        "empty.jpg": b"",
        "cut.jpg": photo[: len(photo) // 2],
        "bomb.png": bomb.getvalue(),
    }
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    return {name: folder / name for name in contents}
