#!/usr/bin/env python
"""Find the faces in pictures and classify their expressions.

    python scripts/predict.py photo.jpg
    python scripts/predict.py holidays/ portrait.png --json
    python scripts/predict.py photo.jpg --save annotated.png
    python scripts/predict.py crop.png --no-detect --model vit_tiny

Exit code: 0, or 1 when a picture could not be read (the others are done all the same), or 2 when nothing could be started.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import argparse
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fer.command_line import run_script
from fer.errors import ConfigError, ImageError

if TYPE_CHECKING:
    from fer.inference import FaceResult, Predictor


@dataclass(frozen=True)
class Picture:
    """One file to look at: its path, and its place below the folder that was named (or its name)."""

    path: Path
    relative: Path


def parse(argv: list[str] | None) -> argparse.Namespace:
    from fer.faces import DETECTORS

    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("inputs", nargs="+", metavar="PATH", help="pictures and folders (searched with their subfolders)")
    p.add_argument("--model", default="attention_cnn", metavar="NAME", help="trained model (default: attention_cnn)")
    p.add_argument("--checkpoint", metavar="PATH", help="checkpoint folder, instead of --model")
    p.add_argument("--device", default="cpu", help="cpu (default), cuda, mps or auto")
    p.add_argument("--detector", default="haar", choices=[d for d in DETECTORS if d != "whole"], help="default: haar")
    p.add_argument(
        "--yunet", metavar="FILE", help="YuNet's model file, or 'fetch' to download it; implies --detector yunet"
    )
    p.add_argument("--min-face", type=int, metavar="PX", help="smallest face to look for, in pixels")
    p.add_argument("--no-detect", action="store_true", help="the pictures are face crops already")
    p.add_argument("--json", action="store_true", help="print JSON and nothing else to the standard output")
    p.add_argument("--save", metavar="PATH", help="annotated picture; for several pictures a folder")
    return p.parse_args(argv)


def gather(inputs: list[str]) -> tuple[list[Picture], list[str]]:
    """The pictures named, those of folders in sorted order, and what is wrong with the rest; no hidden files."""
    from fer.images import SUFFIXES

    found: list[Picture] = []
    problems: list[str] = []
    for text in inputs:
        path = at_home(text)
        if path.is_dir():
            inside = sorted(
                f
                for f in path.rglob("*")
                if f.suffix.lower() in SUFFIXES
                and f.is_file()
                and not any(part.startswith(".") for part in f.relative_to(path).parts)
            )
            if not inside:
                problems.append(f"{text}: no pictures in this folder ({', '.join(SUFFIXES)})")
            found += [Picture(f, f.relative_to(path)) for f in inside]
        else:
            found.append(Picture(path, Path(path.name)))
    if not found:
        raise ConfigError(problems[0])
    return found, problems


def at_home(text: str) -> Path:
    """A path with ~ expanded; as it stands where that user has no home (reading it then says so)."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)


def places_to_save(save: str | None, pictures: list[Picture], inputs: list[str]) -> list[Path | None]:
    """Where each annotated picture goes."""
    from fer.images import SUFFIXES

    if save is None:
        return [None] * len(pictures)
    target = at_home(save)
    folder_given = any(at_home(t).is_dir() for t in inputs)
    if target.suffix.lower() in SUFFIXES and not target.is_dir():
        if len(pictures) > 1 or folder_given:
            raise ConfigError(f"--save {save} names one picture, but there are {len(pictures)}: name a folder")
        if target.exists() and pictures[0].path.exists() and target.samefile(pictures[0].path):
            raise ConfigError(f"--save {save} would overwrite the picture itself: choose another name")
        return [target]
    if target.suffix and not target.is_dir() and len(pictures) == 1 and not folder_given:
        raise ConfigError(
            f"--save {save}: cannot write {target.suffix!r}; use one of {', '.join(SUFFIXES)} or a folder"
        )
    if target.is_file():
        raise ConfigError(f"--save {save} is a file, expected a folder for several pictures")
    places: list[Path | None] = []
    taken = {p.path.resolve() for p in pictures}  # never overwrite what is being read
    for picture in pictures:
        place = target / picture.relative.with_name(f"{picture.relative.stem}_faces.png")
        n = 2
        while place.resolve() in taken:
            place = place.with_name(f"{picture.relative.stem}_faces_{n}.png")
            n += 1
        taken.add(place.resolve())
        places.append(place)
    return places


def look(picture: Picture, save: Path | None, predictor: Predictor, detector: str, options: dict) -> list[FaceResult]:
    """The faces of one picture; writes the annotated one where asked."""
    from fer.images import read_image, save_image
    from fer.inference import analyze
    from fer.overlay import draw_faces

    image = read_image(picture.path)
    results = analyze(image, predictor, detector, **options)
    if save:
        save_image(draw_faces(image, results), save)
    return results


def rows(name: str, results: list[FaceResult]) -> list[tuple[str, ...]]:
    """Lines of the table for one picture."""
    if not results:
        return [(name, "-", "no face found", "", "", "")]
    return [
        (
            name,
            str(i),
            ",".join(str(v) for v in r.box),
            f"{r.emoji} {r.label}",
            f"{r.confidence:.1%}",
            ", ".join(f"{label} {p:.1%}" for label, p in r.top(3)),
        )
        for i, r in enumerate(results, 1)
    ]


def print_table(lines: list[tuple[str, ...]]) -> None:
    head = ("file", "face", "box (l,t,r,b)", "expression", "confidence", "top 3")
    widths = [max(len(row[i]) for row in (head, *lines)) for i in range(len(head))]
    for row in (head, tuple("-" * w for w in widths), *lines):
        print("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip())


def run(args: argparse.Namespace) -> int:
    from fer.inference import load

    pictures, problems = gather(args.inputs)
    saves = places_to_save(args.save, pictures, args.inputs)
    detector = "whole" if args.no_detect else "yunet" if args.yunet else args.detector
    options: dict = {}
    if args.min_face is not None and detector != "whole":
        options["min_face_px"] = args.min_face
    if args.yunet and detector == "yunet":
        options |= {"fetch": True} if args.yunet == "fetch" else {"path": args.yunet}
    predictor = load(args.checkpoint or args.model, device=args.device)

    answer, lines, failed = [], [], len(problems)
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    for picture, save in zip(pictures, saves, strict=True):
        name = str(picture.path)
        try:
            results = look(picture, save, predictor, detector, options)
        except ImageError as e:
            failed += 1
            answer.append({"file": name, "error": str(e)})
            print(f"error: {e}", file=sys.stderr)
            continue
        answer.append({"file": name, "faces": [r.as_dict() for r in results]})
        lines += rows(name, results)
    if args.json:
        print(json.dumps(answer, ensure_ascii=False, indent=2))
    elif lines:
        print_table(lines)
    if failed:
        print(f"{failed} of {len(pictures) + len(problems)} inputs could not be done", file=sys.stderr)
    return 1 if failed else 0


def main(argv: list[str] | None = None) -> int:
    """Returns the exit status."""
    args = parse(argv)
    return run_script(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
