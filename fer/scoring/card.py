"""What metrics.json and seeds.csv say of a checkpoint besides its scores: name of the row, origin, marks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fer import paths
from fer.ancestry import IMAGENET, VOTES, ancestors, own_weights
from fer.checkpoint import Manifest, find, read_manifest, trained_models
from fer.data import Dataset
from fer.data_names import is_synthetic, same_pictures
from fer.errors import ConfigError
from fer.evaluation.results import ModelResult, copy_of
from fer.models import get_model, get_preset
from fer.scoring.answers import OWN_CALIBRATION
from fer.scoring.facts import majority_of
from fer.settings import to_dict
from fer.specs import InputSpec, Phase, Recipe

# a model that is the attention-off twin of another by its architecture -> that other
TWINS = {"baseline_cnn4": "cbam_cnn4"}
_OFF = "@no_attention"


def row_name(manifest: Manifest, data: str) -> str:
    """Name of a checkpoint's row in the results on a data set.

    The model's name; "@no_attention" for one trained without its attention; "@fer2013" for one trained on other data,
    here FER2013, so that it never takes the place of a model trained on the data it is scored on.
    """
    return manifest.model + (_OFF if _without_attention(manifest) else "") + _origin(manifest, data)


def row_names(targets: Sequence[str], data: str) -> dict[str, str]:
    """Target -> name of its row; followed by the run's name where one comes twice.

    Args:
        targets: Model names and paths of checkpoints.

    Raises:
        ConfigError: two runs that would still share a name.
    """
    plain = {t: row_name(read_manifest(t), data) for t in targets}
    twice = {n for n in plain.values() if list(plain.values()).count(n) > 1}
    names = {t: f"{n}@{find(t).name}" if n in twice and t != read_manifest(t).model else n for t, n in plain.items()}
    if len(set(names.values())) < len(names):
        both = " and ".join(t for t, n in names.items() if list(names.values()).count(n) > 1)
        raise ConfigError(f"the results of {both} would overwrite each other; score them apart, with --out")
    return names


def twin_of(manifest: Manifest, data: str) -> str | None:
    """Row of the attention net of which this checkpoint is the twin without attention; None where it is not one."""
    other = manifest.model if _without_attention(manifest) else TWINS.get(manifest.model)
    return None if other is None or manifest.model_args.get("attention") is True else other + _origin(manifest, data)


def card_for(manifest: Manifest, name: str, dataset: Dataset) -> dict[str, Any]:
    """What metrics.json holds besides scores, cost and crowd, from the checkpoint's manifest."""
    training = manifest.training
    seen_before = {d for a in ancestors(manifest) for d in a.data}  # by its teachers and what it began with
    return {
        "model": name,
        "title": title_of(manifest, dataset.name),
        "data": {
            "name": dataset.name,
            "fingerprint": dataset.fingerprint,
            "label_set": dataset.label_set.name,
            "labels": list(dataset.label_set.names),
            "majority": majority_of(dataset),
        },
        "checkpoint": {
            "sha256": manifest.weights.get("sha256", ""),
            "git_commit": manifest.git_commit,
            "created": manifest.created,
            "seed": manifest.seed,
        },
        "parameters": manifest.weights.get("parameters"),
        "trained": {k: training.get(k) for k in ("epochs", "seconds", "device", "best_epoch")}
        | {
            "data": manifest.data.get("name"),
            "images": manifest.data.get("n_train"),
            "model_args": dict(manifest.model_args),
            "recipe_name": recipe_name(manifest),
            "recipe": recipe_digest(manifest),
            "seed": manifest.seed,
        },
        "marks": {
            "distilled_from": training.get("teacher") or "",
            "pretrained": bool(training.get("pretrained")) or IMAGENET in seen_before,
            "extra_annotation": bool(training.get("extra_annotation")) or VOTES in seen_before,
        },
        "twin_of": twin_of(manifest, dataset.name),
        "titles": {k: dataset.title(k) for k in dataset.splits},
    }


def title_of(manifest: Manifest, data: str) -> str:
    """The model's name for people, with what sets this checkpoint apart."""
    apart = ["no attention"] if _without_attention(manifest) else []
    apart += [f"from {manifest.data['name']}"] if is_foreign(manifest, data) else []
    return get_model(manifest.model).SPEC.title + (f" ({', '.join(apart)})" if apart else "")


def recipe_name(manifest: Manifest) -> str:
    """Name of the recipe it was trained by, followed by "changed" where it is not that recipe as it stands today."""
    name = manifest.recipe.name
    try:
        same = get_preset(manifest.model, name).recipe == manifest.recipe
    except ConfigError:  # a recipe that the model no longer has
        same = False
    return name if same else f"{name}, changed"


def is_foreign(manifest: Manifest, data: str) -> bool:
    """Was it trained on other data than these?"""
    return manifest.data.get("name", data) not in ("", data)


def is_unrelated(manifest: Manifest, data: str) -> bool:
    """Was it trained on other pictures than these?"""
    return is_foreign(manifest, data) and not same_pictures(str(manifest.data.get("name")), data)


def is_other_copy(manifest: Manifest, dataset: Dataset) -> bool:
    """Was it trained on data of this name that are not just these?"""
    name, fingerprint = (manifest.data.get(k) for k in ("name", "fingerprint"))
    return name == dataset.name and bool(fingerprint) and fingerprint != dataset.fingerprint


def home_of(dataset: Dataset, bundled: bool, note: Callable[[str], None]) -> Path:
    """Folder for what is found out about checkpoints, where none is named.

    Args:
        bundled: Are they those in checkpoints/?
        note: Told why results/ is not taken.

    Returns:
        results/ for bundled checkpoints on real data; runs/results/ for others, and for drawn faces. Where results/ was
        made on another copy of the data it stays as it is, and there is a folder for each further copy.
    """
    runs = paths.ROOT / "runs"
    if not bundled or is_synthetic(dataset.name):
        return runs / "results"
    there = copy_of(None, dataset.name)
    if there in ("", dataset.fingerprint):
        return paths.results_dir()
    out = runs / f"results-{dataset.fingerprint[:8]}"
    note(
        f"results/{dataset.name}/ was made on another copy of {dataset.name} (fingerprint {there[:12]}, not "
        f"{dataset.fingerprint[:12]}) and stays as it is; what is found here goes to {out} (--out results: in its "
        "place)"
    )
    return out


def require_own_data(manifest: Manifest, dataset: Dataset) -> None:
    """A run is calibrated and promoted with the data it was trained on.

    Raises:
        ConfigError: names both.
    """
    name, fingerprint = (manifest.data.get(k) for k in ("name", "fingerprint"))
    if (name, fingerprint) != (dataset.name, dataset.fingerprint):
        other = name if name != dataset.name else f"another {name} (fingerprint {str(fingerprint)[:12]})"
        raise ConfigError(
            f"this {manifest.model} was trained on {other or 'unknown data'}, not on {dataset.name} "
            f"(fingerprint {dataset.fingerprint[:12]}); name its own with --data"
        )


def require_free_row(target: str, name: str, data: str) -> None:
    """A run does not take the row of a bundled model in results/.

    Args:
        target: Name or path of the checkpoint.
        name: Of its row. data: Name of the data set.

    Raises:
        ConfigError: other weights than the model's own would get its row.
    """
    own = read_manifest(target)
    if own.model not in trained_models() or row_name(there := read_manifest(own.model), data) != name:
        return
    if not own_weights(own) & own_weights(there):
        raise ConfigError(
            f"{target} would take the row of the bundled {own.model} in {paths.results_dir()}; score it as one more "
            "seed (--seed-row) or with another --out, or promote it first (scripts/train.py --promote)"
        )


def recipe_digest(manifest: Manifest) -> str:
    """Eight hexadecimal digits for what a run was trained by besides its seed: runs of one net's seeds share them.

    Recipe, input, arguments of the model, models of the teachers, and whether it began with the weights of another run;
    of a run in several parts, the recipe of the last. What stands at its default does not count, so that a field that a
    later version adds changes no digest; nor does attention that is switched off, which the row's name tells: a net and
    its twin can share a recipe.
    """
    recipe = to_dict(manifest.recipe)
    plain = to_dict(Recipe(phases=(Phase(),) * len(manifest.recipe.phases)))
    for key in ("init", "teacher", "name"):  # names of files, and of the recipe
        del recipe[key]
    what = {
        "recipe": _apart(recipe, plain),
        "input": _apart(to_dict(manifest.input), to_dict(InputSpec())),
        "model_args": {k: v for k, v in manifest.model_args.items() if k != "attention"},
        "teacher": manifest.training.get("teacher") or "",
        "init": bool(manifest.recipe.init),
    }
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:8]


def is_unchanged(result: ModelResult, manifest: Manifest, dataset: Dataset, splits: Sequence[str]) -> bool:
    """Do the stored predictions come from this checkpoint, its temperature and these data?

    Args:
        splits: Those that are wanted; more may be stored.
    """
    m = result.metrics
    temperature, source = m["temperature"]["value"], m["temperature"].get("source")
    if manifest.temperature != 1:
        same_temperature = abs(temperature - manifest.temperature) < 1e-5
    else:
        same_temperature = source == OWN_CALIBRATION if manifest.classical else source != "checkpoint"
    return (
        result.predictions is not None
        and (m.get("checkpoint") or {}).get("sha256") == manifest.weights.get("sha256")
        and m["data"].get("fingerprint") == dataset.fingerprint
        and result.class_names == dataset.label_set.names
        and same_temperature
        and set(splits) <= set(result.splits) <= {k for k in dataset.splits if len(dataset[k])}
        and all((result.rows(k) == dataset[k].rows).all() for k in result.splits)
    )


def _without_attention(manifest: Manifest) -> bool:
    return manifest.model_args.get("attention") is False and manifest.model not in TWINS


def _origin(manifest: Manifest, data: str) -> str:
    return f"@{manifest.data['name']}" if is_foreign(manifest, data) else ""


def _apart(value: Any, plain: Any) -> Any:
    """What differs from the default, of a spec as plain JSON types."""
    if isinstance(value, dict) and isinstance(plain, dict):
        return {k: _apart(v, plain.get(k)) for k, v in value.items() if k not in plain or v != plain[k]}
    if isinstance(value, list) and isinstance(plain, list) and len(value) == len(plain):
        return [_apart(v, p) for v, p in zip(value, plain, strict=True)]
    return value
