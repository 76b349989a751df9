#!/usr/bin/env python
"""Where models look: one picture, or how far their heat maps are to be believed.

    python scripts/explain.py photo.jpg --model vit_tiny --method gradient_rollout --save out.png
    python scripts/explain.py face.png --no-detect --method all --target fear --save out.png
    python scripts/explain.py --model all --data fer2013 --n 200
    python scripts/explain.py --list

A picture gives one row per face: the face, then the heat map of every method laid over it. Without a picture every
method is measured on faces of the validation split, as many of each class, and results/<data set>/<model>/ gets
explanation.json (deletion, insertion, pointing, sanity) and maps.npz (mean map per predicted class). Methods that are not
asked for keep what was measured on the same weights and faces before.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import argparse
from typing import TYPE_CHECKING, Any

import numpy as np

from fer.command_line import run_script
from fer.errors import ConfigError, DataError

if TYPE_CHECKING:
    from fer.inference import Predictor

TILE_PX = 192
N_PROBING = 50


def parse(argv: list[str] | None) -> argparse.Namespace:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("picture", nargs="?", metavar="PICTURE", help="photograph, or a face crop with --no-detect")
    p.add_argument(
        "--model",
        action="append",
        metavar="NAME|PATH|all",
        help="model(s), comma separated or repeated (default: attention_cnn; without a picture: all trained)",
    )
    p.add_argument(
        "--methods",
        "--method",
        action="append",
        metavar="NAME|all",
        help="comma separated or repeated (default: auto; without a picture: all)",
    )
    p.add_argument("--device", default="cpu", help="cpu (default), cuda, mps or auto")
    p.add_argument("--list", action="store_true", help="print the methods and end")
    one = p.add_argument_group("one picture")
    one.add_argument("--target", metavar="CLASS", help="class to ask about (default: the predicted one)")
    one.add_argument("--no-detect", action="store_true", help="the picture is a face crop already")
    one.add_argument(
        "--save", type=Path, metavar="FILE", help="where the picture goes (default: <picture>_explained.png, here)"
    )
    many = p.add_argument_group("many faces")
    many.add_argument(
        "--data", default="fer2013", metavar="SPEC", help="fer2013 (default), synthetic, a path, or SOURCE:PATH"
    )
    many.add_argument("--split", default="val", choices=("val", "train", "test"), help="default: val")
    many.add_argument("--n", type=int, default=200, metavar="N", help="faces (default %(default)s)")
    many.add_argument(
        "--n-probing",
        type=int,
        default=N_PROBING,
        metavar="N",
        help="faces for methods that ask the model hundreds of times, occlusion for example (default %(default)s)",
    )
    many.add_argument("--seed", type=int, default=0, help="which faces (default %(default)s)")
    many.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder of results (default: results/; runs/results/ for drawn faces and for checkpoints that are not bundled)",
    )
    return p.parse_args(argv)


def listed(values: list[str] | None) -> list[str]:
    """What a comma separated or repeated option names."""
    return list(dict.fromkeys(n.strip() for value in values or [] for n in value.split(",") if n.strip()))


def wanted_methods(names: list[str], predictor: Predictor) -> list[str]:
    """The methods that the command line asks for, for one model."""
    from fer.explain import methods_for, resolve

    return methods_for(predictor) if "all" in names else [resolve(predictor, n) for n in names]


# --- one picture ------------------------------------------------------------------------------------------------------


def explain_picture(args: argparse.Namespace) -> int:
    from fer.explain import METHODS, explain
    from fer.faces import crop, detect
    from fer.images import read_image, save_image
    from fer.inference import load

    path = Path(args.picture).expanduser()
    save = args.save or Path(f"{path.stem}_explained.png")
    if save.exists() and path.exists() and save.samefile(path):
        raise ConfigError(f"--save {save} would overwrite the picture itself: choose another name")
    image = read_image(path)
    faces = [image] if args.no_detect else [crop(image, f.box) for f in detect(image)]
    if not faces:
        print(f"{path}: no face found; if it shows nothing but a face, add --no-detect")
        return 0
    rows = []
    for name in listed(args.model) or ["attention_cnn"]:
        predictor = load(name, device=args.device)
        methods = wanted_methods(listed(args.methods) or ["auto"], predictor)
        for i, face in enumerate(faces, 1):
            probs = predictor.predict_proba([face])[0]
            asked = predictor.labels.index(args.target) if args.target else int(probs.argmax())
            words = f"{predictor.labels.names[asked]} {probs[asked]:.0%}"
            print(f"{path.name}  face {i}  {predictor.name}  {words}  {', '.join(methods)}")
            tiles = [tile(face, None, f"{predictor.name}: {words}")]
            tiles += [tile(face, explain(predictor, face, m, asked), METHODS[m].title) for m in methods]
            rows.append(np.concatenate(tiles, axis=1))
    width = max(row.shape[1] for row in rows)
    rows = [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
    save_image(np.concatenate(rows), save)
    print(f"written: {save}")
    return 0


def tile(face: np.ndarray, heat: np.ndarray | None, caption: str) -> np.ndarray:
    """uint8 (TILE_PX + strip, TILE_PX, 3): a face, with its heat map where there is one, above a line of text."""
    from PIL import Image, ImageDraw, ImageFont

    from fer.viz import overlay_heatmap

    picture = overlay_heatmap(face, np.zeros(face.shape[:2]) if heat is None else heat, 0.65)
    strip = TILE_PX // 8
    out = Image.new("RGB", (TILE_PX, TILE_PX + strip), "white")
    out.paste(Image.fromarray(picture).resize((TILE_PX - 4, TILE_PX - 4), Image.Resampling.BILINEAR), (2, 2))
    font = ImageFont.load_default(size=strip * 0.5)
    ImageDraw.Draw(out).text((4, TILE_PX + strip * 0.15), caption, fill="black", font=font)
    return np.array(out)


# --- many faces -------------------------------------------------------------------------------------------------------


def study_models(args: argparse.Namespace) -> int:
    from fer import paths
    from fer.checkpoint import find, trained_models
    from fer.data import open_dataset
    from fer.evaluation import results, stored
    from fer.explain.study import choose, study
    from fer.inference import load
    from fer.scoring.card import home_of, row_names

    names = listed(args.model) or ["all"]
    if "all" in names:
        names = trained_models()
        if not names:
            raise DataError(
                f"no trained models in {paths.checkpoints_dir()}; train one with: python scripts/train.py --model all --promote"
            )
    for name in names:
        find(name)  # an unknown or untrained name fails here, before the first model is explained
    data = open_dataset(args.data)
    if args.split not in data.splits or not len(data[args.split]):
        raise DataError(f"{data.name}: has no {args.split} split; it has {', '.join(data.splits) or 'none'}")
    faces = data[args.split].faces[choose(data[args.split], args.n, args.seed)]
    bundled = all(find(name).parent == paths.checkpoints_dir() for name in names)
    out = args.out or home_of(data, bundled, lambda text: print(f"note: {text}", file=sys.stderr))
    for name, row in row_names(names, data.name).items():  # as scripts/evaluate.py names the folder of its scores
        predictor = load(name, device=args.device)
        methods = wanted_methods(listed(args.methods) or ["all"], predictor)
        print(f"{name}: {len(faces)} faces, {', '.join(methods)}", flush=True)
        found = study(predictor, faces, methods, args.n_probing, args.seed, print_row)
        folder = results.folder_of(data.name, row, out)
        content = {
            "model": row,
            "checkpoint_sha256": predictor.manifest.weights.get("sha256", ""),
            "fingerprint": data.fingerprint,
            "split": args.split,
            "n": len(faces),
            "seed": args.seed,
            "counts": found.counts,
            "methods": found.methods,
        }
        maps = found.maps
        if earlier := same_study(content, folder):
            content["methods"], maps = earlier[0] | found.methods, earlier[1] | found.maps
        stored.write_explanation(content, folder)
        stored.write_maps(maps, folder)
        print(f"written: {folder / stored.EXPLANATION}, {folder / stored.MAPS}", flush=True)
    return 0


def same_study(content: dict[str, Any], folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
    """Methods and maps that were stored of the same weights and faces; None where there are none."""
    from fer.evaluation import stored

    try:
        old, maps = stored.read_explanation(folder), stored.read_maps(folder)
    except DataError:
        return None  # a damaged file is replaced
    same = ("checkpoint_sha256", "split", "n", "seed", "counts")
    if old is None or maps is None or any(old[k] != content[k] for k in same):
        return None
    if old.get("fingerprint", content["fingerprint"]) != content["fingerprint"]:
        return None
    return old["methods"], maps


def print_row(name: str, m: dict[str, Any]) -> None:
    sanity = "-" if m["sanity"] is None else f"{m['sanity']:.2f}"
    print(
        f"  {name:20s} n {m['n']:4d}   deletion {m['deletion']:.3f} (random {m['deletion_random']:.3f})   "
        f"insertion {m['insertion']:.3f} ({m['insertion_random']:.3f})   pointing {m['pointing']:.2f} "
        f"(chance {m['area']:.2f})   sanity {sanity}   {m['ms']:.0f} ms",
        flush=True,
    )


def run(args: argparse.Namespace) -> int:
    if args.list:
        from fer.explain import METHODS

        for m in METHODS.values():
            print(f"{m.name:22s} {m.summary} For {m.needs}. {m.source}")
        return 0
    return explain_picture(args) if args.picture else study_models(args)


def main(argv: list[str] | None = None) -> int:
    """Returns the exit status."""
    args = parse(argv)
    return run_script(lambda: run(args), interrupted="stopped; models done before are written")


if __name__ == "__main__":
    sys.exit(main())
