"""The nets that a net was made from: one whose weights it began with, one that taught it, and theirs in turn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from fer import checkpoint, hub
from fer.checkpoint import Manifest
from fer.errors import FerError
from fer.specs import Recipe

BEGAN_WITH, TAUGHT_BY = "init", "teacher"
KEY = "ancestors"
# what a net has seen that began with weights which others have published
IMAGENET = "imagenet"


@dataclass(frozen=True)
class Ancestor:
    """A net that another one was made from.

    Attributes:
        role: BEGAN_WITH or TAUGHT_BY, by the net itself or by one of its ancestors.
        model: Key of MODELS; "" = not known.
        sha256: Of its weights; "" = not known.
        data: Names of the data sets that it has seen itself; () = not known.
        sure: Whether it is known to be that net: recorded while the other was trained, or shown later (`shown_by`);
            False = found now under the name that the recipe gives, which may have stood for other weights then.
        shown_by: What shows it, where the record was written after the training; "" = recorded by the training itself.
    """

    role: str
    model: str
    sha256: str = ""
    data: tuple[str, ...] = ()
    sure: bool = True
    shown_by: str = ""


def own_data(manifest: Manifest) -> tuple[str, ...]:
    """Names of the data sets that a net was trained on, its last phase's first; `IMAGENET` for published weights."""
    others = [o.get("name", "") for o in manifest.data.get("other_phases") or () if isinstance(o, Mapping)]
    asked = [p.data for p in manifest.recipe.phases]
    names = [str(manifest.data.get("name", "")), *others]
    bases = {base_name(n) for n in names}
    published = [IMAGENET] if manifest.training.get("pretrained") else []
    return tuple(dict.fromkeys(n for n in [*names, *(a for a in asked if a not in bases), *published] if n))


def base_name(data: str) -> str:
    """A data set's name without its form and what was done to its labels.

    >>> base_name("affectnet@fer7"), base_name("ferplus-majority"), base_name("fer2013-folders")
    ('affectnet', 'ferplus', 'fer2013')
    """
    return data.partition("@")[0].removesuffix("-majority").removesuffix("-folders")


def ancestors(manifest: Manifest) -> list[Ancestor]:
    """All nets that a net was made from, each once, its own before theirs.

    They stand in the manifest (see `record`). For a checkpoint of before that, the names in its recipe are looked up on
    this machine; one that is not there, or that was replaced by this very net, is returned without data. So is one that
    the recipe names and the record lacks.
    """
    recorded = manifest.training.get(KEY)
    if isinstance(recorded, list):
        found = [_read(entry) for entry in recorded if isinstance(entry, Mapping)]
        lacking = [Ancestor(r, m) for r, name, m in _named(manifest) if name and r not in {a.role for a in found}]
        return lacking + found
    return _looked_up(manifest, {str(manifest.weights.get("sha256", ""))})


def record(recipe: Recipe) -> list[dict[str, Any]]:
    """What a run's manifest keeps of the nets that its recipe names: `ancestors` later needs none of their files.

    Raises:
        CheckpointError, ConfigError, HubError: one of them cannot be read.
    """
    direct, further = [], []
    for role, name in ((BEGAN_WITH, recipe.init), (TAUGHT_BY, recipe.teacher)):
        if name:
            other = checkpoint.read_manifest(name)
            direct.append(_of(role, other))
            further += ancestors(other)
    return [asdict(a) | {"data": list(a.data)} for a in dict.fromkeys(direct + further)]


def _of(role: str, manifest: Manifest) -> Ancestor:
    return Ancestor(role, manifest.model, str(manifest.weights.get("sha256", "")), own_data(manifest))


def _read(entry: Mapping[str, Any]) -> Ancestor:
    data = entry.get("data")
    names = tuple(map(str, data)) if isinstance(data, (list, tuple)) else ()
    role, model, sha256 = (str(entry.get(key, "")) for key in ("role", "model", "sha256"))
    return Ancestor(role, model, sha256, names, entry.get("sure") is not False, str(entry.get("shown_by") or ""))


def _named(manifest: Manifest) -> tuple[tuple[str, str, str], ...]:
    """(role, name or path, model or "") of the nets that a manifest names as those it was made from."""
    recipe, teacher = manifest.recipe, str(manifest.training.get("teacher") or "")
    return (BEGAN_WITH, recipe.init, manifest.model), (TAUGHT_BY, recipe.teacher or teacher, teacher)


def _looked_up(manifest: Manifest, seen: set[str]) -> list[Ancestor]:
    direct: list[Ancestor] = []
    further: list[Ancestor] = []
    for role, name, model in _named(manifest):
        if not name:
            continue
        other = _there(name)
        if other is None or other.weights.get("sha256") in seen or (model and other.model != model):
            direct.append(Ancestor(role, model))
            continue
        seen.add(str(other.weights.get("sha256", "")))
        direct.append(replace(_of(role, other), sure=False))
        further += ancestors(other) if KEY in other.training else _looked_up(other, seen)
    return list(dict.fromkeys(direct + further))


def _there(name: str) -> Manifest | None:
    """The manifest of a checkpoint on this machine; nothing is fetched."""
    if hub.is_hub_name(name):
        return None
    try:
        return checkpoint.read_manifest(name)
    except FerError:
        return None
