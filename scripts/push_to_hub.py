#!/usr/bin/env python3
"""Publish trained models on the Hugging Face Hub: python scripts/push_to_hub.py --model all --namespace NAME

One model repository each: weights, manifest, model card, scores, training curve, and the ONNX export where there is one.
The token comes from `hf auth login` or from HF_TOKEN, never from the command line.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import argparse
import tempfile

from fer.command_line import refuse_tokens, run_script
from fer.errors import ConfigError
from fer.paths import ROOT

COLLECTION = "Facial-expression lab"
ABOUT = "Nets that name the expression of a face, trained and compared alike. An expression is not a feeling."


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        description="Publish trained models on the Hugging Face Hub.",
        epilog="A second run sends only what changed; an upload that breaks off leaves the earlier version whole.",
    )
    p.add_argument("--model", help="names of trained models with commas between, or all")
    p.add_argument(
        "--checkpoint", action="append", default=[], metavar="PATH", help="a run or checkpoint; may be repeated"
    )
    p.add_argument("--namespace", required=True, help="your name on the Hub, or your organisation's")
    p.add_argument("--name", help="name of the repository, for a single model (default: fer-<model>)")
    p.add_argument("--private", action="store_true", help="make private repositories")
    p.add_argument("--revision", help="branch to send to (default: main); made where it is not there")
    p.add_argument(
        "--force-push",
        action="store_true",
        help="even if the repository (or the branch) holds another net, one that is better on the validation split, or a "
        "README or LICENSE that was edited there; files by hand that look like those of a push are deleted",
    )
    p.add_argument("--project-url", metavar="URL", help="where this project lives; the cards then tell where to get it")
    p.add_argument("--collection", default=COLLECTION, metavar="TITLE", help=f"default: {COLLECTION!r}")
    p.add_argument("--no-collection", action="store_true", help="put them into no collection")
    p.add_argument(
        "--dry-run", action="store_true", help="write the folders, print what would be sent, and send nothing"
    )
    p.add_argument("--out", type=Path, help="where --dry-run writes (default: outputs/hub/)")
    refuse_tokens(p)
    return p


def main(argv: list[str] | None = None) -> int:
    """Returns the exit status: 0 done, 2 bad arguments, or a Hub that could not be reached or refused."""
    args = parser().parse_args(argv)
    return run_script(
        lambda: run(args), interrupted="interrupted; what is on the Hub is whole: run the same command again"
    )


def run(args: argparse.Namespace) -> int:
    """Write every folder first, then send them one after the other."""
    from fer import hub, publish
    from fer.checkpoint import read_manifest

    if args.out and not args.dry_run:
        raise ConfigError("--out is for --dry-run; without it, nothing is kept here")
    hub.require_no_tokens(args.namespace, args.name, args.revision, args.collection, args.project_url)
    places = wanted(args)
    repos = [publish.repository_of(place, args.namespace, args.name) for place in places]
    if twice := sorted({r for r in repos if repos.count(r) > 1}):
        raise ConfigError(f"several of these would become {', '.join(twice)}; push them one by one with --name")
    if not args.dry_run:
        hub.check_access(args.namespace)
        if not args.force_push:
            for place, repo in zip(places, repos, strict=True):
                publish.require_improvement(read_manifest(place), repo, args.revision)
    with tempfile.TemporaryDirectory(prefix="fer-push-") as temporary:
        out = Path(temporary) if not args.dry_run else args.out or ROOT / "outputs" / "hub"
        prepared = []
        for i, (place, repo) in enumerate(zip(places, repos, strict=True), 1):
            print(f"preparing {place} as {repo} ({i} of {len(places)})", file=sys.stderr, flush=True)
            prepared.append(publish.prepare(place, repo, out / repo.partition("/")[2], project_url=args.project_url))
        if args.dry_run:
            for one in prepared:
                show(one.repo, one.folder)
            print(where_to(args))
            return 0
        for one in prepared:
            sent = publish.push(
                one, args.private, args.revision, lambda plan, repo=one.repo: announce(repo, plan), args.force_push
            )
            print(f"{sent.url} {'is up to date' if sent.plan.empty else 'sent'}, commit {sent.commit[:12]}", flush=True)
        if not args.no_collection:
            print(hub.collect(args.namespace, args.collection, repos, ABOUT, args.private), flush=True)
    return 0


def wanted(args: argparse.Namespace) -> list[str]:
    """Names and paths of what is to be published.

    Raises:
        ConfigError: nothing, or a single name for several.
    """
    from fer.checkpoint import trained_models

    names = args.model.split(",") if args.model else []
    places = [n.strip() for n in names if n.strip()]
    if places == ["all"]:
        places = trained_models()
        if not places:
            raise ConfigError("there is no trained model; scripts/train.py --promote makes one")
    places += args.checkpoint
    if not places:
        raise ConfigError("name what to publish: --model all, --model NAME or --checkpoint PATH")
    if args.name and len(places) > 1:
        raise ConfigError(f"--name is for a single model, got {len(places)}")
    return places


def announce(repo: str, plan) -> None:  # type: ignore[no-untyped-def]
    """What will be sent."""
    if plan.empty:
        return
    print(f"{repo}: {len(plan.new) + len(plan.changed)} files, {megabytes(plan.size)}", file=sys.stderr)
    for kind in ("new", "changed", "deleted"):
        for path in getattr(plan, kind):
            print(f"  {kind:8s} {path}", file=sys.stderr)
    if plan.unchanged:
        print(f"  {len(plan.unchanged)} are there already", file=sys.stderr)


def where_to(args: argparse.Namespace) -> str:
    """What a dry run would do with the folders."""
    told = f"would be sent to {'the branch ' + args.revision if args.revision else 'the main branch'} of "
    told += "private repositories" if args.private else "public repositories"
    if args.no_collection:
        return f"{told}, and put into no collection"
    return f"{told}, and put into the {'private ' * args.private}collection {args.collection!r} of {args.namespace}"


def show(repo: str, folder: Path) -> None:
    """A folder and what is in it."""
    from fer.hub.push import files_of

    files = files_of(folder)
    print(f"{repo} <- {folder} ({megabytes(sum(p.stat().st_size for p in files.values()))})")
    for path, file in files.items():
        print(f"  {file.stat().st_size:>12,} {path}")


def megabytes(size: int) -> str:
    """A size for people."""
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"


if __name__ == "__main__":
    sys.exit(main())
