"""The Gradio demo: a picture in, every face boxed, named and explained.

python demo/app.py
python demo/app.py --port 8000 --checkpoint runs/attention_cnn/LATEST
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]  # as a Space, `fer` lies beside this file
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

with contextlib.suppress(ImportError):  # on Hugging Face's ZeroGPU machines this must come before torch
    import spaces  # noqa: F401

import gradio as gr

import about
import cards
import live
import mirror
import photo
from analysis import Models
from fer.errors import FerError

TITLE = "Facial-expression lab"
# title: module with build(models)
PAGES: dict[str, Any] = {"Photo": photo, "Live": live, "Emoji mirror": mirror, "About": about}
MAX_UPLOAD = "10mb"

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
</style>
"""


def build_app(models: Models | None = None) -> gr.Blocks:
    """The page and its API.

    Args:
        models: What is on offer; default: every model with a checkpoint.

    Returns:
        Blocks, ready for `launch(**launch_options())`.
    """
    models = models or Models()
    # An hour after the upload, pictures are gone from the disk as well.
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(600, 3600)) as app:
        gr.HTML(cards.HEADER)
        gr.HTML(cards.CAUTION)
        with gr.Tabs(elem_id="fer-tabs") as tabs:
            for title, page in PAGES.items():
                with gr.Tab(title, id=page.__name__):
                    page.build(models)
        # The notice's link presses this button; an address that ends in #about leads to the page as well.
        to_about = gr.Button(visible="hidden", elem_id="fer-to-about")
        to_about.click(None, None, [tabs], js=SHOW_ABOUT, api_visibility="private")
        app.load(None, None, [tabs], js=SHOW_ABOUT_IF_ASKED)
    return app


def launch_options() -> dict[str, Any]:
    """What `launch` needs for the page to look and behave as meant; nothing is fetched from elsewhere."""
    return {
        "theme": THEME,
        "css_paths": sorted(HERE.glob("*.css")),
        "head": HEAD,
        "max_file_size": MAX_UPLOAD,
        "ssr_mode": False,
        "footer_links": ["api", "settings"],
    }


def main(argv: list[str] | None = None) -> int:
    """Start the demo. Returns 0 when ended with Ctrl-C, 2 when it could not start."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, help="port to listen on (default: the first free one from 7860)")
    parser.add_argument("--host", help="address to listen on (default: 127.0.0.1, this machine only; 0.0.0.0 for all)")
    parser.add_argument("--share", action="store_true", help="also make a public link through Gradio's relay")
    parser.add_argument("--checkpoint", help="folder of one more checkpoint to offer, for example a run's")
    args = parser.parse_args(argv)
    if args.port is not None and not 1 <= args.port <= 65535:
        parser.error(f"--port must be 1..65535, got {args.port}")
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        models = Models(args.checkpoint)
        app = build_app(models)
        _, address, public = app.launch(
            server_name=args.host,
            server_port=args.port,
            share=args.share,
            prevent_thread_lock=True,
            quiet=True,
            **launch_options(),
        )
    except FerError as e:
        print(f"error: {e}", file=sys.stderr)
        return 2
    except OSError as e:  # the port is taken, or not ours to take
        print(f"error: cannot listen on port {args.port}: {e}; choose another with --port", file=sys.stderr)
        return 2
    print(f"{TITLE}: {address}", flush=True)
    if public:
        print(f"public for a week: {public}", flush=True)
    if not models:
        print("no trained model found; the page says how to get one", flush=True)
    models.warm_up()
    try:
        app.block_thread()
    except KeyboardInterrupt:
        pass
    finally:
        app.close(verbose=False)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
