"""The page for a picture: upload, paste, photograph; and the endpoint /analyze for programs."""

from __future__ import annotations

import importlib.util
import itertools
import logging
import shutil
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.utils import get_upload_folder
from PIL import Image

import cards
import compare
import marks
from analysis import MOST_CARDS, Models, cut_out, find_faces, look_closer, open_upload, shrink
from fer.errors import FerError
from fer.overlay import draw_faces

if TYPE_CHECKING:
    import numpy as np

    from fer.inference import FaceResult

EXAMPLES = Path(__file__).resolve().parent / "examples"
# Public domain: Eileen Collins (NASA) and Grace Hopper (US Navy), shown where these packages are installed.
PORTRAITS = {"skimage": "data/astronaut.png", "matplotlib": "mpl-data/sample_data/grace_hopper.jpg"}
NO_FACE = (
    "No face found. Is there one, seen from the front and not too small? If the picture is a tight crop of a face, "
    "take the whole picture as one."
)
_log = logging.getLogger("fer.demo")

API_HELP = """Finds every face in a picture and names its expression. picture: a file (gradio_client.handle_file; a tool
sends a data: URI; addresses on the web are not fetched). model: a model's name, empty for the default. whole_picture:
true takes the picture itself for one face. Answer: model, labels, width, height, and faces, largest first, each with
box (left, top, right, bottom in pixels), score, label, emoji, confidence, probs, doubts (unsure: likelier wrong than
right; no_face: perhaps none) and prediction_set (level, labels; null where the model has none). No face found: faces is
an empty list. An unreadable picture is an error that says why."""
# On a phone the answer lies below the fold.
SCROLL = """
(picture) => {
  const answer = document.getElementById("fer-status");
  if (picture && answer && window.innerWidth < 768) answer.scrollIntoView({ behavior: "smooth", block: "start" });
}
"""


@dataclass
class _Shown:
    newest: int  # number of the visitor's newest question
    folder: Path | None = None  # of the picture with boxes that they see


_shown: dict[str, _Shown] = {}  # of each visitor who is here, by Gradio's session_hash
_numbers = itertools.count(1)  # of questions
_lock = threading.Lock()


def build(models: Models) -> None:
    """Put the page and its endpoint into the Blocks that are being built."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=300):
            picture = gr.Image(
                label="Picture",
                type="filepath",
                image_mode=None,
                sources=["upload", "webcam", "clipboard"],
                webcam_options=gr.WebcamOptions(mirror=True),
                height=320,
                elem_id="fer-picture",
            )
            _examples(picture)
            choices = [(models.title(name), name) for name in models.names]
            model = gr.Radio(choices, value=models.default, label="Model", visible=bool(models), elem_id="fer-model")
            facts = gr.HTML(_facts(models, models.default))
            every = gr.Checkbox(
                label="Compare all models",
                info="Adds what every model says about each face.",
                visible=len(models.names) > 1,
                elem_id="fer-every",
            )
            whole = gr.Checkbox(
                label="Take the whole picture as one face",
                info="For tight crops in which no face is found.",
                elem_id="fer-whole",
            )
        with gr.Column(scale=6, min_width=300):
            status = gr.HTML(cards.EMPTY, elem_id="fer-status")
            take_whole = gr.Button("Take the whole picture as one face", variant="primary", visible=False)
            boxed = gr.Image(
                label="Faces",
                show_label=False,  # it would lie over a name
                interactive=False,
                visible=False,
                buttons=["download", "fullscreen"],
                elem_id="fer-boxed",
            )
            with gr.Row(visible=False) as look:
                method = gr.Radio(label="Where the net looked", scale=3, min_width=220, elem_id="fer-method")
                opacity = gr.Slider(0, 1, value=0.6, step=0.05, label="Opacity", scale=2, min_width=160)
            faces = gr.HTML(elem_id="fer-faces")

    shown = [status, take_whole, boxed, look, method, faces, whole, facts]

    def on_picture(
        upload: dict | None, model: str | None, method: str | None, every: bool, request: gr.Request
    ) -> dict:
        return _show(models, shown, str(request.session_hash), upload, model, method, whole=False, every=bool(every))

    def on_choice(
        upload: dict | None, model: str | None, method: str | None, every: bool, whole: bool, request: gr.Request
    ) -> dict:
        return _show(models, shown, str(request.session_hash), upload, model, method, bool(whole), bool(every))

    def on_whole(upload: dict | None, model: str | None, method: str | None, every: bool, request: gr.Request) -> dict:
        return _show(models, shown, str(request.session_hash), upload, model, method, whole=True, every=bool(every))

    # preprocess=False hands over the file itself: fer.images opens it and says what is wrong with it.
    quiet: dict[str, Any] = {
        "outputs": shown,
        "preprocess": False,
        "trigger_mode": "always_last",
        "concurrency_id": "analyze",
        "concurrency_limit": 2,
        "show_progress": "minimal",
        "show_progress_on": [status],
        "api_visibility": "private",
    }
    asked = [picture, model, method, every]
    picture.change(on_picture, asked, **quiet).then(None, [picture], js=SCROLL)
    gr.on([model.input, method.input, every.input, whole.input], on_choice, [*asked, whole], **quiet)
    take_whole.click(on_whole, asked, **quiet)
    opacity.change(None, [opacity], js="(v) => { document.documentElement.style.setProperty('--fer-opacity', v); }")
    _api(models)


def leave(session: str | None) -> None:
    """A visitor closed the page: the picture with boxes is deleted."""
    with _lock:
        shown = _shown.pop(session or "", None)
    if shown and shown.folder:
        shutil.rmtree(shown.folder, ignore_errors=True)


def _asks(session: str) -> int:
    """A visitor asks anew: the picture with boxes is deleted, and no earlier question is answered any more.

    Returns:
        The question's number.
    """
    with _lock:
        shown, number = _shown.get(session), next(_numbers)
        _shown[session] = _Shown(number)
    if shown and shown.folder:
        shutil.rmtree(shown.folder, ignore_errors=True)
    return number


def _overtaken(session: str, number: int) -> bool:
    """Whether a visitor has asked something newer; False where they have left."""
    with _lock:
        return session in _shown and _shown[session].newest != number


def _write(boxed: np.ndarray, session: str, number: int) -> str | None:
    """A file for Gradio to hand out, which goes with the visitor; None where they have left or asked anew meanwhile."""
    folder = Path(tempfile.mkdtemp(prefix="photo-", dir=get_upload_folder()))
    path = folder / "faces.jpg"
    Image.fromarray(boxed).save(path)
    with _lock:
        shown = _shown.get(session)
        if shown and shown.newest == number:
            shown.folder = folder
            return str(path)
    shutil.rmtree(folder, ignore_errors=True)
    return None


def _examples(picture: gr.Image) -> None:
    drawn = sorted(p for p in EXAMPLES.glob("*") if p.suffix in (".jpg", ".png")) if EXAMPLES.is_dir() else []
    photographs = portraits()
    if files := [*drawn, *photographs]:
        gr.Examples(
            [[str(f)] for f in files],
            [picture],
            label="Examples: drawn faces and two portraits" if photographs else "Examples: drawn faces",
            examples_per_page=8,
            elem_id="fer-examples",
            api_visibility="private",
        )


def portraits() -> list[Path]:
    """Files of the portraits that come with installed packages; those that are absent are left out."""
    specs = {package: importlib.util.find_spec(package) for package in PORTRAITS}
    places = [Path(spec.submodule_search_locations[0]) / PORTRAITS[p] for p, spec in specs.items() if spec]
    return [p for p in places if p.is_file()]


def _facts(models: Models, name: str | None) -> str:
    try:
        return cards.facts_line(models.facts(name))
    except FerError as e:
        return cards.message(str(e), "problem")


def _show(
    models: Models,
    shown: list,
    session: str,
    upload: dict | None,
    model: str | None,
    method: str | None,
    whole: bool,
    every: bool = False,
) -> dict[Any, Any]:
    """New values for the components in `shown`, whatever happens; none where the visitor has asked anew meanwhile."""
    number = _asks(session)
    answer = _answer(models, shown, (session, number), upload, model, method, whole, every)
    return gr.skip() if _overtaken(session, number) else answer


def _answer(
    models: Models,
    shown: list,
    asked: tuple[str, int],
    upload: dict | None,
    model: str | None,
    method: str | None,
    whole: bool,
    every: bool,
) -> dict[Any, Any]:
    """The same; asked: the visitor and the number of the question."""
    status, take_whole, boxed, look, methods, faces, whole_box, facts = shown
    cleared = {
        take_whole: gr.update(visible=False),
        boxed: gr.update(value=None, visible=False),
        look: gr.update(visible=False),
        faces: "",
        whole_box: whole,
        facts: _facts(models, model),
    }
    if not upload:
        return cleared | {status: cards.EMPTY, whole_box: False}
    try:
        image, predictor = open_upload(upload, get_upload_folder()), models.predictor(model)
        results = find_faces(image, predictor, whole)
        if not results:
            return cleared | {status: cards.message(NO_FACE), take_whole: gr.update(visible=True)}
        sets = models.sets(model)
        seen, possible, used = look_closer(image, results, predictor, method or "auto", whole, sets)
        opinions = compare.ask_all(models, [face.crop for face in seen]) if every else []
        drawn = None
        if not whole:
            drawn = _write(shrink(draw_faces(image, results, numbers=len(results) > 1)), *asked)
    except FerError as e:
        if not _overtaken(*asked):
            gr.Warning(str(e), title="This did not work")
        return cleared | {status: cards.message(str(e), "problem")}
    except Exception:  # the outer edge: a visitor never sees a traceback
        _log.exception("analysis failed")
        if not _overtaken(*asked):
            gr.Warning(cards.OOPS)
        return cleared | {status: cards.message(cards.OOPS, "problem")}
    count = "1 face" if len(results) == 1 else f"{len(results)} faces"
    return cleared | {
        status: cards.message(f"{count} found" if not whole else "The whole picture, taken as one face"),
        boxed: gr.update(value=drawn, visible=not whole),
        look: gr.update(visible=bool(possible)),
        methods: gr.update(choices=possible, value=used),
        faces: "".join(
            [
                cards.face_cards(
                    seen,
                    left_out=max(0, len(results) - MOST_CARDS),
                    tables=[compare.table(opinions, i) for i in range(len(seen))] if opinions else (),
                ),
                cards.set_note(sets) if sets else "",
                compare.note(opinions) if opinions else "",
            ]
        ),
    }


def _api(models: Models) -> None:
    """The endpoint /analyze for programs."""
    picture = gr.Image(label="picture", type="filepath", image_mode=None, visible=False)
    model = gr.Textbox(value=models.default or "", label="model", visible=False)
    whole = gr.Checkbox(label="whole_picture", visible=False)
    answer = gr.JSON(label="answer", visible=False)

    def analyze(picture: dict | None, model: str | None = None, whole_picture: bool = False) -> dict[str, Any]:
        try:
            image, predictor = open_upload(picture, get_upload_folder()), models.predictor(model or None)
            whole, sets = bool(whole_picture), models.sets(model or None)
            results = find_faces(image, predictor, whole)
            faces = [_face_of(image, result, whole, sets) for result in results]
        except FerError as e:
            raise gr.Error(str(e), print_exception=False) from e
        except Exception as e:
            _log.exception("analysis failed")
            raise gr.Error(cards.OOPS, print_exception=False) from e
        return {
            "model": predictor.name,
            "labels": list(predictor.labels.names),
            "width": int(image.shape[1]),
            "height": int(image.shape[0]),
            "faces": faces,
        }

    gr.Button(visible=False).click(
        analyze,
        [picture, model, whole],
        [answer],
        preprocess=False,
        concurrency_id="analyze",
        api_name="analyze",
        api_description=f"{API_HELP} Models: {', '.join(models.names) or 'none yet'}. The default: {models.default}.",
    )


def _face_of(image: np.ndarray, result: FaceResult, whole: bool, sets: marks.PredictionSets | None) -> dict[str, Any]:
    """One face of /analyze's answer."""
    found = marks.doubts(result, cut_out(image, result, whole), whole)
    labels = list(sets.of(result.probs, result.labels)) if sets else []
    return result.as_dict() | {
        "doubts": [doubt.name for doubt in found],
        "prediction_set": {"level": sets.level, "labels": labels} if sets else None,
    }
