"""A finished run becomes the checkpoint that `fer.load` finds by name; its history goes to the results."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from fer import checkpoint, packing
from fer.ancestry import own_weights, same_published_data
from fer.data import Dataset
from fer.data_names import is_synthetic
from fer.errors import CheckpointError, ConfigError
from fer.files import replacing
from fer.history import HISTORY
from fer.inference import load
from fer.judge import Judge
from fer.models import get_model
from fer.models.ablation import require_own_net
from fer.paths import checkpoints_dir, results_dir
from fer.scoring.answers import out_of_fold
from fer.scoring.card import require_own_data, row_name
from fer.scoring.seed_lines import keep_superseded

if TYPE_CHECKING:
    from torch import nn

_log = logging.getLogger(__name__)


def promote(run: str | Path, root: str | Path | None = None, force: bool = False, judge: Judge | None = None) -> Path:
    """Copy a finished run's checkpoint to where `fer.load(name)` finds it, as int8 where the model's SPEC says so.

    Args:
        force: Even if its model arguments make another net than the model's own, or a better one is there.
        judge: Validation faces. Where int8 loses more than 0.1 points on them, half precision is promoted instead;
            without them it is not measured.

    Raises:
        CheckpointError: trained on synthetic faces (never promoted), or damaged.
        ConfigError: an ablation, see `fer.models.ablation.require_own_net`; or see `require_improvement`.
    """
    run = checkpoint.find(run)
    module, manifest = checkpoint.load_any(run)
    name = Path(str(manifest.weights["file"])).name
    if is_synthetic(str(manifest.data.get("name", ""))):
        raise CheckpointError(f"{run} was trained on synthetic faces; only models trained on real data are promoted")
    if not force:
        require_own_net(manifest.model, manifest.model_args, manifest.input, manifest.recipe.name, len(manifest.labels))
    weights, about = (run / name).read_bytes(), (run / checkpoint.MANIFEST).read_bytes()
    wanted, own = get_model(manifest.model).SPEC.bundle_dtype, manifest.weights.get("dtype")
    if (wanted, own) == (packing.INT8, packing.FLOAT16) and not manifest.classical:
        try:
            weights, accuracy = packing.as_int8(cast("nn.Module", module), manifest.input, judge)
        except CheckpointError as e:
            _log.warning("%s: %s; it is promoted in half precision", manifest.model, e)
        else:
            more = {"made_from": manifest.weights["sha256"]} | ({"accuracy": accuracy} if accuracy else {})
            about = checkpoint.manifest_bytes(checkpoint.with_weights(manifest, name, weights, packing.INT8, **more))
    target = (Path(root) if root else checkpoints_dir()) / manifest.model
    if not force:
        require_improvement(manifest, target, judge)
    target.mkdir(parents=True, exist_ok=True)
    # both files are complete before either is put in place; only a power cut between two renames could part them
    with replacing(target / checkpoint.MANIFEST) as manifest_part, replacing(target / name) as weights_part:
        weights_part.write_bytes(weights)
        manifest_part.write_bytes(about)
    return target


def require_improvement(manifest: checkpoint.Manifest, target: Path, judge: Judge | None = None) -> None:
    """Refuse to put a net in the place of a better one, or of one for other data.

    The validation accuracy, which chose their epochs, decides. Of two nets that learnt from different copies of one
    published data set the judge's faces decide.

    Args:
        manifest: Of the net that is to be promoted.
        target: Folder of the one that would be replaced.
        judge: The validation faces of the net that is to be promoted.

    Raises:
        ConfigError: what is there, and how to replace it; or it cannot be read.
    """
    if not (target / checkpoint.MANIFEST).exists():
        return
    try:
        there = checkpoint.read_manifest(target / checkpoint.MANIFEST)
        if own_weights(there) & own_weights(manifest):
            return
        what = other_net(there, manifest)
        if what and judge and there.labels == manifest.labels and same_published_data(there, manifest):
            there = replace(there, training=there.training | {"val_accuracy": _accuracy(target, there, judge)})
            what = ""
        what = what or better_by(there, manifest)
    except CheckpointError as e:
        what = f"not to be read ({e})"
    if what:
        raise ConfigError(f"{target} is {what}; it was left as it is. --force-promote replaces it all the same")


def _accuracy(target: Path, there: checkpoint.Manifest, judge: Judge) -> float:
    predictor = load(target, backend="torch")
    if there.classical:  # its calibration has seen most of these faces
        answers = out_of_fold(predictor, judge.faces, judge.labels)
    else:
        answers = predictor.predict_proba(judge.faces)
    return float((answers.argmax(axis=1) == judge.labels).mean())


def other_net(there: checkpoint.Manifest, manifest: checkpoint.Manifest) -> str:
    """What makes a net one for other data than another, in words; "" where nothing does."""
    names, prints = ([m.data.get(k) for m in (there, manifest)] for k in ("name", "fingerprint"))
    same = names[0] == names[1] and there.labels == manifest.labels
    if same and not (all(prints) and prints[0] != prints[1]):
        return ""
    other = "other pictures of " if same else ""
    return f"another net, trained on {other}{names[0] or 'data without a name'} ({len(there.labels)} classes)"


def better_by(there: checkpoint.Manifest, manifest: checkpoint.Manifest) -> str:
    """By how much a net is better on the validation split than another, in words; "" where it is not."""
    old, new = (m.training.get("val_accuracy") for m in (there, manifest))
    if old is None or (new is not None and new >= old):
        return ""
    own = "not known" if new is None else f"{new:.2%}"
    return f"better on the validation split ({old:.2%}, this one: {own})"


def promote_run(run: str | Path, data: Dataset, force: bool = False) -> Path:
    """`promote`, and put the run's history beside the results of its model, which `scripts/evaluate.py` then renews.

    What stood there and has a line in seeds.csv is kept in a folder of that line.

    Args:
        data: What it was trained on; its validation split judges an int8 form.
        force: See `promote`.

    Returns:
        The checkpoint's folder.

    Raises:
        CheckpointError, ConfigError: see `promote`; or the run was trained on other data.
    """
    run = checkpoint.find(run)
    manifest, val = checkpoint.read_manifest(run), data["val"]
    require_own_data(manifest, data)
    source = {"data": data.name, "split": "val", "title": data.title("val")}
    target = promote(run, force=force, judge=Judge(val.faces, val.labels, source))
    name = row_name(manifest, data.name)
    keep_superseded(name, manifest, results_dir(), data.name)
    results = results_dir() / data.name / name
    results.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(run / HISTORY, results / HISTORY)
    return target
