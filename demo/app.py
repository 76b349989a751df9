"""The Gradio demo: a picture in, every face boxed, named and explained.

python demo/app.py
python demo/app.py --port 8000 --checkpoint runs/attention_cnn/20260131-120000
python demo/app.py --mcp                    # the endpoints as tools for language models, too
"""

from __future__ import annotations

import argparse
import asyncio
import atexit
import contextlib
import importlib.util
import logging
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]  # as a Space, `fer` lies beside this file
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
# Gradio summarises its last requests after each one: of ten thousand of them that would cost more than the answer.
os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "100")


def _private_folder(place: str | None) -> str:
    """A new folder for uploads and results that is this user's and this process's alone; it is gone when that ends.

    What lies in it is deleted by its age, so it must never be a folder that others use as well.

    Args:
        place: The folder that it is made in, which is made as well; None for the system's own place.
    """
    try:
        if place:
            place = os.path.abspath(place)
            os.makedirs(place, exist_ok=True)
        folder = tempfile.mkdtemp(prefix="fer-demo-", dir=place)
    except OSError as e:
        print(f"error: cannot make a folder for uploads (GRADIO_TEMP_DIR says where): {e}", file=sys.stderr)
        raise SystemExit(2) from e
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


os.environ["GRADIO_TEMP_DIR"] = _private_folder(os.environ.get("GRADIO_TEMP_DIR") or None)

try:  # on Hugging Face's ZeroGPU machines this must come before torch
    import spaces
except ImportError:
    pass
else:

    @spaces.GPU
    def _on_the_gpu() -> None:
        """Never called: a Space does not start there without such a function, and the nets run on the CPU.

        Whatever one is called with is pickled for another process, which a loaded model cannot be.
        """


import gradio as gr
from starlette.middleware import Middleware

import about
import cards
import icons
import live
import mirror
import photo
import video
from analysis import Models
from fer.errors import ConfigError, FerError
from gate import Gate
from limits import Limits
from sweep import sweeper
from uploads import KEPT

TITLE = "Facial-expression lab"
PAGES: dict[str, Any] = {
    "Photo": photo,
    "Live": live,
    "Emoji mirror": mirror,
    "Video": video,
    "About": about,
}  # title: module with build(models)
NO_MCP = (
    "--mcp needs a package that is not installed here: python -m pip install 'gradio[mcp]' (or leave --mcp out; the "
    "endpoints work without it)"
)

FONT = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif"]
THEME = gr.themes.Base(
    primary_hue="indigo",
    secondary_hue="indigo",
    neutral_hue="slate",
    radius_size="lg",
    font=FONT,
    font_mono=["monospace"],
).set(
    # Gradio's own greys for small print are too faint to read on white.
    body_text_color_subdued="*neutral_500",
    body_text_color_subdued_dark="*neutral_400",
    block_info_text_color="*neutral_500",
    block_info_text_color_dark="*neutral_400",
    # An empty box has to be seen on its block.
    checkbox_border_color="*neutral_400",
    checkbox_border_color_dark="*neutral_400",
    checkbox_label_background_fill="*background_fill_primary",
    checkbox_label_background_fill_dark="*background_fill_primary",
    checkbox_label_border_color="*border_color_primary",
    checkbox_label_border_color_dark="*border_color_primary",
    checkbox_label_border_width="1px",
)
SHOW_ABOUT = "() => ({ __type__: 'update', selected: 'about' })"
SHOW_ABOUT_IF_ASKED = "() => ({ __type__: 'update', ...(location.hash === '#about' && { selected: 'about' }) })"
HEAD = """
<style>
  .gradio-container { --font: system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
  @media (max-width: 640px) { .gradio-container .fillable { padding: 12px !important; } }
  /* Gradio's recorder of the screen, among its settings: the server would keep the film, so the gate refuses it. */
  .banner-wrap:has(> .record-button) { display: none; }
</style>
"""
SCRIPTS = ("refused", "snapshot")
MOST_SESSIONS = 256  # whose components' values Gradio keeps


def build_app(models: Models | None = None, limits: Limits | None = None) -> gr.Blocks:
    """The page and its API.

    Args:
        models: What is on offer; default: every model with a checkpoint.
        limits: What visitors may ask; the same as for `launch_options`.

    Returns:
        Blocks, ready for `launch(**launch_options())`.
    """
    models, limits = models or Models(), limits or Limits()

    async def on_leave(request: gr.Request) -> None:
        await _forget(app, str(request.session_hash))

    # Most uploads are gone long before: see uploads.py.
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(60, limits.kept_s)) as app:
        gr.HTML(cards.HEADER)
        gr.HTML(cards.CAUTION)
        with gr.Tabs(elem_id="fer-tabs") as tabs:
            for title, page in PAGES.items():
                with gr.Tab(title, id=page.__name__):
                    page.build(models, **({"limits": limits} if page is video else {}))
        # The notice's link presses this button; an address that ends in #about leads to the page as well.
        to_about = gr.Button(visible="hidden", elem_id="fer-to-about")
        to_about.click(None, None, [tabs], js=SHOW_ABOUT, api_visibility="private")
        app.load(None, None, [tabs], js=SHOW_ABOUT_IF_ASKED)
        app.unload(on_leave)
    app.queue(max_size=limits.waiting, default_concurrency_limit=limits.at_once, api_open=False)
    KEPT.release_with_answers(app)
    return app


async def _forget(app: gr.Blocks, session: str) -> None:
    """A visitor closed the page: their uploads and results go, their film is no longer worked on.

    Args:
        session: Gradio's session_hash.
    """
    for leave in (photo.leave, video.leave, KEPT.left):
        await asyncio.to_thread(leave, session)
    # Gradio keeps what every component showed, crops of faces among it. Not in a thread: its own loop reads these.
    app.state_holder.session_data.pop(session, None)
    app.state_holder.time_last_used.pop(session, None)


def launch_options(limits: Limits | None = None, mcp: bool = False) -> dict[str, Any]:
    """What `launch` needs for the page to look and behave as meant; nothing is fetched from elsewhere.

    Args:
        limits: What visitors may ask.
        mcp: Offer the endpoints as MCP tools.

    Raises:
        ConfigError: `mcp` without the package for it.
    """
    if mcp and importlib.util.find_spec("mcp") is None:
        raise ConfigError(NO_MCP)
    limits = limits or Limits()
    scripts = "".join((HERE / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    return {
        "theme": THEME,
        "css_paths": sorted(HERE.glob("*.css")),
        "head": f"{HEAD}<style>{icons.style()}</style><script>(() => {{\n{scripts}}})();</script>",
        "max_file_size": f"{limits.upload_mb}mb",
        "ssr_mode": False,
        "footer_links": ["api", "settings"],
        "state_session_capacity": MOST_SESSIONS,
        "app_kwargs": {
            "middleware": [Middleware(Gate, limits=limits, kept=KEPT, tools=mcp)],
            "lifespan": sweeper(limits.kept_s, KEPT, _forget),
        },
        "mcp_server": mcp,
    }


def main(argv: list[str] | None = None) -> int:
    """Start the demo. Returns 0 when ended with Ctrl-C, 2 when it could not start."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, help="port to listen on (default: the first free one from 7860)")
    parser.add_argument("--host", help="address to listen on (default: 127.0.0.1, this machine only; 0.0.0.0 for all)")
    parser.add_argument("--share", action="store_true", help="also make a public link through Gradio's relay")
    parser.add_argument(
        "--per-minute",
        type=int,
        default=Limits.per_minute,
        metavar="N",
        help=f"requests a minute from one address (default: {Limits.per_minute}; more for a class behind one address)",
    )
    parser.add_argument("--mcp", action="store_true", help="also offer the endpoints as tools of language models")
    parser.add_argument("--checkpoint", help="folder of one more checkpoint to offer, for example a run's")
    args = parser.parse_args(argv)
    if args.port is not None and not 1 <= args.port <= 65535:
        parser.error(f"--port must be 1..65535, got {args.port}")
    if args.per_minute < 1:
        parser.error(f"--per-minute must be at least 1, got {args.per_minute}")
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    _end_as_with_ctrl_c()
    try:
        return _serve(args)
    except KeyboardInterrupt:
        return 0


def _end_as_with_ctrl_c() -> None:
    """Let SIGTERM, and SIGHUP where there is one, clean up before the process ends."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is None or signal.getsignal(number) is signal.SIG_IGN:  # nohup has it ignored
            continue
        with contextlib.suppress(ValueError):  # not in the main thread: then somebody else minds the signals
            signal.signal(number, signal.default_int_handler)


def _serve(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C, which is raised; returns 2 when it could not start."""
    try:
        models = Models(args.checkpoint)
        limits = Limits(per_minute=args.per_minute, burst=max(Limits.burst, args.per_minute // 3))
        options = launch_options(limits, args.mcp)
        app = build_app(models, limits)
        _, address, public = app.launch(
            server_name=args.host,
            server_port=args.port,
            share=args.share,
            prevent_thread_lock=True,
            quiet=True,
            **options,
        )
    except FerError as e:
        print(f"error: {e}", file=sys.stderr)
        return 2
    except OSError as e:  # the port is taken, or not ours to take
        print(f"error: cannot listen on port {args.port}: {e}; choose another with --port", file=sys.stderr)
        return 2
    print(f"{TITLE}: {address}", flush=True)
    if args.mcp:
        print(f"tools for language models: {address.rstrip('/')}/gradio_api/mcp/", flush=True)
    if public:
        print(f"public for a week: {public}", flush=True)
    if not models:
        print("no trained model found; the page says how to get one", flush=True)
    models.warm_up()
    try:
        app.block_thread()
    finally:
        app.close(verbose=False)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
