"""The page for a film: a clip in, an annotated clip, a table and a timeline out; and the endpoint /video."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.utils import get_upload_folder

import cards
from chart import timeline_chart
from film import STYLES, Desk, Job, Result, find_upload, message_of
from icons import icon
from limits import Limits, sender_of

if TYPE_CHECKING:
    from analysis import Models

MOST_BANDS = 4
POLL_S = 0.3
OOPS = "Something went wrong on our side; the log has the details. Please try another film."
NO_FACE = "No face was found in the film. Is there one, seen from the front and not too small?"

EMPTY = f"""
<div class="fer-empty">
  <div class="fer-empty-row">{"".join(icon(n) for n in ("happy", "surprise", "sad", "neutral"))}</div>
  <p>Upload a short film or record one, then press Start.<br>It comes back with every face followed.</p>
</div>
"""
API_HELP = """Follows every face through a film and names its expressions. film: a file (gradio_client.handle_file), at
most {film_s:g} seconds and {upload_mb} MB; frames are reduced to {film_px} pixels. model: a model's name, empty for the
default. style: boxes (boxes and bars), mirror (emoji over the faces) or plain (emoji only). Answer: the annotated film
(WebM, VP8, no sound); a table (CSV, one line a face and frame: time_s, face, left, top, right, bottom in pixels of the
annotated film, label, confidence and a probability for each class, smoothed over time); and a summary: model, labels,
width, height, seconds, frames, complete (false where the work took too long and was ended, or where the file is cut
off) and faces, those seen longest first, each with id, first_s, last_s, seconds, label and shares. What is no film is
an error that says why."""
PROGRESS = gr.Progress()
# On a phone the answer lies below the fold.
SCROLL = """
() => {
  const answer = document.getElementById("fer-film-status");
  if (answer && window.innerWidth < 768) answer.scrollIntoView({ behavior: "smooth", block: "start" });
}
"""

# Of each visitor, by Gradio's session_hash: what is being worked on, and the folder of what is shown.
_running: dict[str, Job] = {}
_shown: dict[str, Path] = {}
_lock = threading.Lock()


def build(models: Models, limits: Limits | None = None) -> None:
    """Put the page and its endpoint into the Blocks that are being built."""
    limits = limits or Limits()
    desk = Desk(limits)
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=300):
            film = gr.Video(
                label="Film",
                sources=["upload", "webcam"],
                include_audio=False,  # the sound is left out: no microphone is asked for
                height=320,
                elem_id="fer-film",
            )
            choices = [(models.title(name), name) for name in models.names]
            model = gr.Radio(choices, value=models.live_default, label="Model", visible=bool(models))
            style = gr.Radio(
                [(t, s) for s, t in STYLES.items()], value="boxes", label="Drawn on it", elem_id="fer-style"
            )
            start = gr.Button("Start", variant="primary", elem_id="fer-start")
            halt = gr.Button("Stop, keep what is done", visible=False, elem_id="fer-stop")
            gr.HTML(
                f'<p class="fer-more">At most {limits.film_s:g} seconds and {limits.upload_mb} MB. The sound is left '
                f"out. Films are not kept: results are deleted after {limits.kept_s // 60} minutes.</p>"
            )
        with gr.Column(scale=6, min_width=300):
            status = gr.HTML(EMPTY, elem_id="fer-film-status")
            annotated = gr.Video(
                show_label=False, interactive=False, visible=False, buttons=["download"], elem_id="fer-film-out"
            )
            chart = gr.HTML(elem_id="fer-film-chart")
            table = gr.DownloadButton("Download the table (CSV)", visible=False, elem_id="fer-table")

    shown = [status, annotated, chart, table, start, halt]

    def on_start(
        upload: dict | None, model: str | None, style: str | None, request: gr.Request
    ) -> Iterator[dict[Any, Any]]:
        yield from _show(models, desk, shown, upload, model, style, request)

    def on_stop(request: gr.Request) -> None:
        stop(request.session_hash)

    def on_film(upload: dict | None, request: gr.Request) -> dict[Any, Any]:
        leave(request.session_hash)
        return _cleared(shown, EMPTY)

    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    start.click(
        on_start, [film, model, style], shown, preprocess=False, concurrency_id="film", concurrency_limit=None, **quiet
    )
    start.click(None, None, None, js=SCROLL, api_visibility="private")
    halt.click(on_stop, None, None, queue=False, **quiet)
    gr.on(
        [film.clear, film.upload, film.start_recording], on_film, [film], shown, preprocess=False, queue=False, **quiet
    )
    # The page names its film, a recording as well: from then on it is held for this visitor (uploads.py).
    film.change(lambda upload: None, [film], None, preprocess=False, queue=False, **quiet)
    _api(models, desk)


def stop(session: str | None) -> None:
    """End what a visitor has running; what is done so far is their result."""
    with _lock:
        job = _running.get(session or "")
    if job:
        job.stop()


def leave(session: str | None) -> None:
    """A visitor closed the page or has no more use for their last film: nothing of it is kept, nor worked on."""
    with _lock:
        job = _running.pop(session or "", None)
        folder = _shown.pop(session or "", None)
    if job:
        job.discard()
    if folder:
        shutil.rmtree(folder, ignore_errors=True)


def _cleared(shown: list, message: str, running: bool = False) -> dict[Any, Any]:
    status, annotated, chart, table, start, halt = shown
    return {
        status: message,
        annotated: gr.update(value=None, visible=False),
        chart: "",
        table: gr.update(value=None, visible=False),
        start: gr.update(interactive=not running),
        halt: gr.update(visible=running),
    }


def _show(
    models: Models, desk: Desk, shown: list, upload: dict | None, model: str | None, style: str | None, request: Any
) -> Iterator[dict[Any, Any]]:
    """New values for the components in `shown` as the work goes on, whatever happens."""
    session = str(request.session_hash)
    if not upload:
        yield _cleared(shown, cards.message("Choose a film first."))
        return
    job, kept = None, False
    leave(session)
    try:
        source, name = find_upload(upload, get_upload_folder())
        job = Job(
            desk, sender_of(request), source, name, models.quick(model), style or "boxes", Path(get_upload_folder())
        )
        with _lock:
            _running[session] = job
        yield _cleared(shown, _progress(job), running=True)
        while not job.wait(POLL_S):
            if not _wanted(session, job):
                return
            yield {shown[0]: _progress(job)}
        with _lock:
            if _running.get(session) is not job:
                return
            if job.result:
                _shown[session], kept = job.result.film.parent, True
        yield _done(shown, job.result)
    except Exception as e:  # the outer edge: a visitor never sees a traceback
        text = message_of(e, OOPS)
        if job is None or _wanted(session, job):
            yield _cleared(shown, cards.message(text, "problem"))
    finally:  # also when Gradio closes the generator because the visitor is gone
        if job:
            if not kept:
                job.discard()
            with _lock:
                if _running.get(session) is job:
                    del _running[session]


def _wanted(session: str, job: Job) -> bool:
    """Whether a visitor still waits for a film: they may have left, or chosen another."""
    with _lock:
        return _running.get(session) is job


def _done(shown: list, result: Result | None) -> dict[Any, Any]:
    if result is None:
        return _cleared(shown, cards.message("Stopped before the first frame."))
    _, annotated, chart, table, _, _ = shown
    faces = result.summary["faces"]
    count = "1 face" if len(faces) == 1 else f"{len(faces)} faces"
    text = f"{count} followed through {result.summary['seconds']:.1f} s of film" if faces else NO_FACE
    if result.cut_off:
        stop = "" if text.endswith("?") else "."
        text += f"{stop} The file is cut off: it ends after {result.summary['seconds']:.1f} s."
    elif not result.summary["complete"]:
        text += "; ended before the film did"
    bands = [(f["id"], _caption(f, alone=len(faces) == 1)) for f in faces[:MOST_BANDS]]
    return _cleared(shown, cards.message(text)) | {
        annotated: gr.update(value=str(result.film), visible=True),
        chart: timeline_chart(result.timeline, result.labels, result.summary["seconds"], bands),
        table: gr.update(value=str(result.table), visible=True),
    }


def _caption(face: dict[str, Any], alone: bool) -> str:
    shares = ", ".join(f"{label} {share:.0%}" for label, share in list(face["shares"].items())[:3])
    who = "The face" if alone else f"Face {face['id']}"
    return f"{who}: {shares} of {face['seconds']:.1f} s"


def _progress(job: Job) -> str:
    """Where the work stands, as a bar."""
    ahead, progress = job.ahead, job.progress
    share = None
    if ahead:
        text = "1 film is before yours" if ahead == 1 else f"{ahead} films are before yours"
    elif progress is None:
        text = "Opening the film"
    else:
        share = progress.share
        text = f"{progress.time_s:.1f} s of film done"
    fill = 'class="fer-progress-fill fer-unknown"'
    if share is not None:
        fill = f'class="fer-progress-fill" style="width:{share:.1%}"'
    percent = "" if share is None else f"{share:.0%}"
    value = "" if share is None else f' aria-valuenow="{100 * share:.0f}"'
    return (
        f'<div class="fer-message fer-progress" role="progressbar" aria-valuemin="0" aria-valuemax="100"{value} '
        f'aria-label="{escape(text)}"><div class="fer-progress-head"><span>{escape(text)}</span><span>{percent}</span>'
        f'</div><div class="fer-progress-track"><span {fill}></span></div></div>'
    )


def _api(models: Models, desk: Desk) -> None:
    """The endpoint /video for programs."""
    film = gr.File(label="film", visible=False)
    model = gr.Textbox(value=models.live_default or "", label="model", visible=False)
    style = gr.Dropdown(list(STYLES), value="boxes", label="style", visible=False)
    annotated = gr.File(label="annotated film", visible=False)
    table = gr.File(label="table", visible=False)
    summary = gr.JSON(label="summary", visible=False)

    async def analyze_video(
        film: dict | None,
        model: str | None = None,
        style: str = "boxes",
        request: gr.Request = None,
        progress: gr.Progress = PROGRESS,
    ) -> tuple[str, str, dict[str, Any]]:
        job = None
        try:
            source, name = find_upload(film, get_upload_folder())
            predictor = await asyncio.to_thread(models.quick, model or None)
            job = Job(desk, sender_of(request), source, name, predictor, style or "boxes", Path(get_upload_folder()))
            while not job.wait(0):
                if job.progress is not None and job.progress.share is not None:
                    progress(job.progress.share, desc=f"{job.progress.time_s:.1f} s of film done")
                await asyncio.sleep(POLL_S)
            result = job.result
        except asyncio.CancelledError:  # a client's job.cancel(), or the end of the server
            if job:
                job.discard()
            raise
        except Exception as e:
            if job:
                job.discard()
            raise gr.Error(message_of(e, OOPS), print_exception=False) from e
        if result is None:
            raise gr.Error("stopped before the first frame", print_exception=False)
        return str(result.film), str(result.table), result.summary

    gr.Button(visible=False).click(
        analyze_video,
        [film, model, style],
        [annotated, table, summary],
        preprocess=False,
        concurrency_id="film",
        concurrency_limit=None,
        api_name="video",
        api_description=API_HELP.format(**vars(desk.limits))
        + f" Models: {', '.join(models.names) or 'none yet'}. The default: {models.live_default}.",
    )
