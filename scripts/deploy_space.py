#!/usr/bin/env python3
"""Put an app online as a Hugging Face Space: python scripts/deploy_space.py --app demo --namespace NAME

demo is the Gradio page, lab the Streamlit one (in Docker), static the page that runs one net in the browser, for which a
Space costs nothing. The package `fer` and the checkpoints go with the app: PyPI's `fer` is another project. The token comes
from `hf auth login` or from HF_TOKEN, never from the command line.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import argparse
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch

from fer.command_line import refuse_tokens, run_script
from fer.errors import CheckpointError, ConfigError
from fer.files import fresh_folder
from fer.models import LIVE_MODEL
from fer.paths import ROOT, checkpoints_dir, results_dir

# never part of a Space, whoever left them there
LEFT_OUT = (".*", "__pycache__", "*.pyc", "*~", "*.log", "*.egg-info", "secrets.toml", "node_modules")
KEPT_HIDDEN = (".streamlit",)
# what Hugging Face's ZeroGPU machines run, and the torchvision that goes with it
ZERO_GPU = {"torch": "2.11.0", "torchvision": "0.26.0"}
# where `make static` puts the page
BUILT = ROOT / "demo" / "static" / "dist"
NOT_IN_THE_LAB = ("gradio", "accelerate", "tensorboard")


@dataclass(frozen=True)
class App:
    """One of the apps.

    Attributes:
        sdk: Of the Space.
        repo: Default name of the Space.
        start: How to start the folder, for people.
        known_by: Files by which a Space that holds this app is told from somebody's other work.
        write: Writes the Space's folder: (folder, names of models, hardware).
    """

    sdk: str
    repo: str
    start: str
    known_by: tuple[str, ...]
    write: Callable[[Path, Sequence[str], str | None], None]


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        description="Put an app online as a Hugging Face Space.",
        epilog="A second run sends only what changed; an upload that breaks off leaves the earlier version whole.",
    )
    p.add_argument("--app", required=True, choices=list(APPS), help="demo (Gradio), lab (Streamlit) or static")
    p.add_argument("--namespace", help="your name on the Hub, or your organisation's")
    p.add_argument("--name", help="name of the Space (default: facial-expression-lab; -results, -browser)")
    p.add_argument(
        "--models",
        default="all",
        help="names of the models that go with it (default: all trained ones; of static, the one it was built with)",
    )
    p.add_argument("--private", action="store_true", help="make a private Space")
    p.add_argument(
        "--hardware", help="of a new Space: cpu-basic (the Hub's default), zero-a10g (ZeroGPU, demo only), t4-small ..."
    )
    p.add_argument("--project-url", metavar="URL", help="where this project lives, for the README of the Space")
    p.add_argument("--force-push", action="store_true", help="replace and delete what another Space of this name holds")
    p.add_argument("--dry-run", action="store_true", help="write the folder, which runs as it is, and send nothing")
    p.add_argument("--out", type=Path, help="where --dry-run writes (default: outputs/space-<app>/)")
    refuse_tokens(p)
    return p


def main(argv: list[str] | None = None) -> int:
    """Returns the exit status: 0 done, 2 bad arguments, or a Hub that could not be reached or refused."""
    args = parser().parse_args(argv)
    return run_script(lambda: run(args), interrupted="interrupted; the Space is as it was: run the same command again")


def run(args: argparse.Namespace) -> int:
    """Write the folder, then send it."""
    from fer import hub

    app = APPS[args.app]
    hub.require_no_tokens(args.namespace, args.name, args.hardware, args.project_url)
    if not args.dry_run and not args.namespace:
        raise ConfigError("--namespace is needed: your name on the Hub, or your organisation's")
    if args.out and not args.dry_run:
        raise ConfigError("--out is for --dry-run; without it, nothing is kept here")
    if (args.hardware or "").startswith("zero") and args.app != "demo":
        raise ConfigError(f"ZeroGPU runs Gradio Spaces only, and {args.app} is a {app.sdk} Space")
    names = built_model(args.models) if args.app == "static" else wanted_models(args.models)
    if args.dry_run:
        out = args.out or ROOT / "outputs" / f"space-{args.app}"
        write_space(app, out, names, args.hardware, args.project_url)
        files = [p for p in out.rglob("*") if p.is_file()]
        print(f"{out}: {len(files)} files, {sum(p.stat().st_size for p in files) / 1e6:.1f} MB")
        brought = re.search(r"^sdk_version: (\S+)$", (out / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
        start = app.start.replace("SDK_VERSION", brought[1]) if brought else app.start
        print(f"start it in its own environment: {start}")
        return 0
    hub.check_access(args.namespace)
    with tempfile.TemporaryDirectory(prefix="fer-space-") as temporary:
        out = Path(temporary) / "space"
        write_space(app, out, names, args.hardware, args.project_url)
        sent = hub.send_folder(
            out,
            f"{args.namespace}/{args.name or app.repo}",
            "space",
            message=f"The {args.app}",
            private=args.private,
            stale=("**",),
            space={"space_sdk": app.sdk, "space_hardware": args.hardware},
            on_plan=announce,
            known_by=() if args.force_push else app.known_by,
        )
    print(f"{sent.url} {'is up to date' if sent.plan.empty else 'sent'}, commit {sent.commit[:12]}")
    return 0


def wanted_models(text: str) -> list[str]:
    """Names of trained models whose files are whole.

    Raises:
        ConfigError, CheckpointError: unknown, not trained or damaged.
    """
    from fer.checkpoint import trained_models, verify

    names = trained_models() if text == "all" else [n.strip() for n in text.split(",") if n.strip()]
    if not names:
        raise ConfigError("there is no trained model to go with the app; scripts/train.py --promote makes one")
    for name in names:
        verify(name)
    return names


def built_model(text: str) -> list[str]:
    """Name of the model that the built page holds: the one asked for, with the weights and the files of now.

    Args:
        text: Value of --models.

    Raises:
        ConfigError: not built yet, built with another model, or from what has changed since.
    """
    from fer.checkpoint import verify

    try:
        about = json.loads((BUILT / "about.json").read_text(encoding="utf-8"))
        name = str(about["model"])
        made_from = about["checkpoint_sha256"], about["temperature"]
    except OSError:
        raise ConfigError(f"the page has not been built: {BUILT} holds none; run: make static") from None
    except (ValueError, KeyError, TypeError) as e:
        raise ConfigError(f"{BUILT / 'about.json'} is damaged ({e}); run: make static") from e
    wanted = [n.strip() for n in text.split(",") if n.strip()]
    if wanted not in (["all"], [name]):
        other = wanted[0] if len(wanted) == 1 else "MODEL"
        raise ConfigError(
            f"the page holds one net, {name}, and --models asks for {text}; another page: python demo/static/build.py --model {other}"
        )
    again = "make static" if name == LIVE_MODEL else f"python demo/static/build.py --model {name}"
    try:
        manifest = verify(name)
    except CheckpointError as e:
        raise ConfigError(f"the page was built with {name}, which is not here any more ({e}); run: make static") from e
    if made_from != (manifest.weights["sha256"], manifest.temperature):
        raise ConfigError(f"the page in {BUILT} was built with other weights of {name} than these; run: {again}")
    sources = [p for p in BUILT.parent.iterdir() if p.is_file() and (BUILT / p.name).is_file()]
    if changed := [p.name for p in sorted(sources) if p.read_bytes() != (BUILT / p.name).read_bytes()]:
        raise ConfigError(f"{', '.join(changed)} changed since the page in {BUILT} was built; run: {again}")
    return [name]


def write_space(
    app: App, out: Path, names: Sequence[str], hardware: str | None, project_url: str | None = None
) -> None:
    """The exact folder of a Space; one that an earlier run wrote is replaced.

    Raises:
        ConfigError: the folder holds other things, or the app has not been built.
        HubError: a file that holds an access token.
    """
    from fer.hub.push import files_of

    out = fresh_folder(out, "Space of this app")
    app.write(out, names, hardware)
    copy(ROOT / "LICENSE", out / "LICENSE")
    state_terms(out, names)
    if project_url:
        with open(out / "README.md", "a", encoding="utf-8") as readme:
            readme.write(f"\nThe project behind this Space: {project_url}\n")
    files_of(out)


def state_terms(out: Path, names: Sequence[str]) -> None:
    """Let a Space's README.md and LICENSE say what the strictest of its models allows; the apps are under MIT.

    Raises:
        ConfigError: the README.md states no licence.
    """
    from fer.checkpoint import read_manifest
    from fer.terms import license_text, strictest, terms_of

    readme = out / "README.md"
    text, stated = readme.read_text(encoding="utf-8"), "license: mit\n"
    if stated not in text:
        raise ConfigError(f"{readme.name} states no licence in its metadata; {stated.strip()!r} was expected")
    terms = {name: terms_of(read_manifest(name)) for name in names}
    strict = {name: t for name, t in terms.items() if not t.free}
    if not strict:
        return
    first = strictest(t.strictest for t in strict.values())
    text = text.replace(stated, "".join(f"{k}: {v}\n" for k, v in first.metadata().items()), 1)
    said = "".join(f"- {name}: {t.title}; the reason is {'; and '.join(t.reasons)}.\n" for name, t in strict.items())
    readme.write_text(
        f"{text.rstrip()}\n\n## Terms of the nets\n\nThe code is under MIT. Not so:\n\n{said}", encoding="utf-8"
    )
    rule = "-" * 60
    code = (out / "LICENSE").read_text(encoding="utf-8").rstrip()
    nets = "".join(f"\n{rule}\n{name}\n\n{license_text(t)}" for name, t in strict.items())
    about = "The licence above holds for the code, and for the weights of the nets that are not named here."
    (out / "LICENSE").write_text(f"{code}\n\n{rule}\n{about}\n{nets}", encoding="utf-8")


def write_demo(out: Path, names: Sequence[str], hardware: str | None) -> None:
    """The Gradio demo as it is, with the package, the checkpoints, their scores and notes beside it."""
    copy(ROOT / "demo", out, without=("static",))
    readme = out / "README.md"
    readme.write_text(of_the_space(readme.read_text(encoding="utf-8")), encoding="utf-8")
    copy_package(out, names)
    for pattern in ("*/*/metrics.json", "*/notes.json"):  # what the cards quote
        for path in results_dir().glob(pattern):
            copy(path, out / "results" / path.relative_to(results_dir()))
    if (hardware or "").startswith("zero"):
        needs = out / "requirements.txt"
        readme.write_text(
            readme.read_text(encoding="utf-8").replace(
                "sdk: gradio\n", f"sdk: gradio\nsuggested_hardware: {hardware}\n", 1
            ),
            encoding="utf-8",
        )
        pinned = re.sub(
            r"^(torch|torchvision)\b.*$",
            lambda m: f"{m[1]}=={ZERO_GPU[m[1]]}",
            needs.read_text(encoding="utf-8"),
            flags=re.MULTILINE,
        )
        needs.write_text(pinned, encoding="utf-8")


def of_the_space(text: str) -> str:
    """The demo's README.md without what only the project's folder has: other paths, how to make a Space."""
    text = text.replace("python demo/app.py", "python app.py").replace("the project's folder", "this folder")
    lines = [line for line in text.split("\n") if "runs/" not in line]
    kept, skip = [], False
    for part in "\n".join(lines).split("\n\n"):
        if part.startswith("## As a Space"):
            skip = True
        elif skip and part.startswith(("The pictures", "## ")):
            skip = False
        if not skip and "scripts/" not in part:
            kept.append(part)
    return "\n\n".join(kept)


def write_lab(out: Path, names: Sequence[str], hardware: str | None) -> None:
    """The Streamlit lab in Docker, with the package, the checkpoints and all results."""
    copy(ROOT / "deploy" / "lab", out)
    copy(ROOT / "streamlit_app", out / "streamlit_app")
    copy_package(out, names)
    copy(results_dir(), out / "results")
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    needs = [line for line in lines if "==" in line and line.partition("==")[0] not in NOT_IN_THE_LAB]
    # the headless build needs no display libraries
    text = "\n".join(needs).replace("opencv-python==", "opencv-python-headless==")
    (out / "requirements.txt").write_text(f"{text}\n", encoding="utf-8")


def write_static(out: Path, names: Sequence[str], hardware: str | None) -> None:
    """The page that runs in the browser, as `make static` has built it (see `built_model`)."""
    copy(BUILT, out)


def copy_package(out: Path, names: Sequence[str]) -> None:
    """`fer` and the checkpoints, where `fer.paths` finds them."""
    copy(ROOT / "fer", out / "fer")
    for name in names:
        copy(checkpoints_dir() / name, out / "checkpoints" / name)


def copy(source: Path, target: Path, without: Sequence[str] = ()) -> None:
    """A file, or a folder less what belongs in no Space."""
    if source.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        return
    for path in sorted(source.iterdir()):
        hidden = any(fnmatch(path.name, pattern) for pattern in LEFT_OUT) and path.name not in KEPT_HIDDEN
        if not hidden and path.name not in without:
            copy(path, target / path.name)


def announce(plan) -> None:  # type: ignore[no-untyped-def]
    """What will be sent."""
    if not plan.empty:
        print(
            f"{len(plan.new)} new files, {len(plan.changed)} changed, {len(plan.deleted)} deleted, "
            f"{len(plan.unchanged)} there already; {plan.size / 1e6:.1f} MB to send",
            file=sys.stderr,
        )


APPS = {
    "demo": App(
        "gradio",
        "facial-expression-lab",
        "pip install gradio==SDK_VERSION -r requirements.txt; python app.py",
        ("app.py", "analysis.py", "fer/__init__.py"),
        write_demo,
    ),
    "lab": App(
        "docker",
        "facial-expression-lab-results",
        "pip install -r requirements.txt; python -m streamlit run streamlit_app/app.py",
        ("streamlit_app/app.py", "fer/__init__.py"),
        write_lab,
    ),
    "static": App(
        "static", "facial-expression-lab-browser", "python -m http.server", ("about.json", "net.onnx"), write_static
    ),
}


if __name__ == "__main__":
    sys.exit(main())
