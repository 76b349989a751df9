"""The nets that a net was made from: one whose weights it began with, one that taught it, and theirs in turn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from fer import checkpoint, hub
from fer.checkpoint import Manifest
from fer.data import SOURCES, Dataset
from fer.data.fer2013_csv import OFFICIAL_COUNTS
from fer.data_names import FOLDERS, base_name, other_form
from fer.errors import FerError
from fer.specs import Recipe

BEGAN_WITH, TAUGHT_BY = "init", "teacher"
KEY = "ancestors"
# what a net has seen that began with weights which others have published
IMAGENET = "imagenet"
# what it has seen whose loss also compared it with FER+'s votes
VOTES = "ferplus-votes"
# a name that was read from files of FER2013's form, which any pictures can have, is taken at its word only with these
# numbers of (training, validation) faces: of each form, and with FER+'s classes put into those of FER2013
_N_TRAIN, _N_VAL = (sum(OFFICIAL_COUNTS[split]) for split in ("train", "val"))
_PROOF = {
    "fer2013": {(_N_TRAIN, _N_VAL)},
    "ferplus": {(28_389, 3_553), (28_347, 3_550)},
    "ferplus-majority": {(25_060, 3_199), (24_941, 3_186), (26_940, 3_396), (26_778, 3_372)},
}
_SCORED = {
    "ferplus": {3_553, 3_546, 3_550, 3_541},
    "ferplus-majority": {3_199, 3_153, 3_186, 3_137, 3_396, 3_376, 3_372, 3_350},
}
_UNLIKE = "data in the form of "


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
        direct: Whether it is a parent: the very net that was named, not one that a parent was made from.
    """

    role: str
    model: str
    sha256: str = ""
    data: tuple[str, ...] = ()
    sure: bool = True
    shown_by: str = ""
    direct: bool = False

    @property
    def inferred(self) -> bool:
        """Whether it is known by what it left behind alone, its weights not being kept."""
        return bool(self.shown_by and not self.sha256)


def own_data(manifest: Manifest) -> tuple[str, ...]:
    """Names of the data sets that a net was trained on, its last phase's first; `IMAGENET` for published weights.

    What calls itself FER2013 or FER+ without the counts of it is named "data in the form of ...".
    """
    d = manifest.data
    entries = [(str(d.get("name", "")), d.get("n_train"), d.get("n_val"))]
    others = [o for o in d.get("other_phases") or () if isinstance(o, Mapping)]
    entries += [(str(o.get("name", "")), o.get("n_train"), o.get("n_val")) for o in others]
    bases = {base_name(name) for name, _, _ in entries}
    entries += [(p.data, None, None) for p in manifest.recipe.phases if p.data not in bases]
    more = [name for name, key in ((IMAGENET, "pretrained"), (VOTES, "extra_annotation")) if manifest.training.get(key)]
    return tuple(dict.fromkeys(n for n in [*(_proved(*e) for e in entries if e[0]), *more] if n))


def _proved(name: str, n_train: Any, n_val: Any) -> str:
    """A data set's name, or what is known of one that has the form of FER2013 or FER+ and not its counts."""
    if (base := base_name(name)) not in _PROOF:
        return name
    if base != "fer2013" and name.startswith("ferplus-majority"):
        base = "ferplus-majority"
    known = _PROOF[base]
    if n_val is None:  # of a phase before the last one, only the training faces are recorded
        fits = n_train in {train for train, _ in known}
    elif FOLDERS in name:  # validation faces are cut from the training faces, or are PublicTest
        fits = (n_train, n_val) in known or (isinstance(n_train, int) and n_train + n_val in {t for t, _ in known})
    else:
        fits = (n_train, n_val) in known
    return name if fits else f"{_UNLIKE}{name}"


def scored_data(name: str, split: str, n: int) -> str:
    """`own_data`'s name of a data set of which a split was scored."""
    base = "ferplus-majority" if name.startswith("ferplus-majority") else base_name(name)
    if base not in _PROOF:
        return name
    if (
        base != "fer2013"
    ):  # whose test splits have numbers of their own; the files are joined with FER2013's, row by row
        return name if n in _SCORED[base] else f"{_UNLIKE}{name}"
    known = {sum(OFFICIAL_COUNTS[split])} if split in OFFICIAL_COUNTS else set()
    if FOLDERS in name:  # its test folder holds both test splits
        known |= {sum(sum(OFFICIAL_COUNTS[s]) for s in ("val", "test"))}
    return name if n in known else f"{_UNLIKE}{name}"


def same_published_data(a: Manifest, b: Manifest) -> bool:
    """Whether two nets learnt from copies of one published data set with one validation split, by name and counts.

    Copies can differ in a few labels and pictures, so their fingerprints do not tell. Of two validation splits that
    were cut from the training faces, each may lie in what the other net learnt from.
    """
    names = {own_data(m)[:1] for m in (a, b)}
    cut = any(FOLDERS in str(m.data.get("name")) and m.data.get("n_val") != _N_VAL for m in (a, b))
    known = all(n and base_name(n[0]) in _PROOF and not is_unlike(n[0]) for n in names)
    return len(names) == 1 and known and not cut


def learnt_val(manifest: Manifest, dataset: Dataset) -> str:
    """Of which data a net, or one that it was made from, may have learnt the validation faces of a data set.

    A validation split that was cut from the training faces lies in what nets learn from in another form of the data
    (FER2013's CSV keeps its own split), and for the most part in a copy of them that was cut with another seed. Of a
    net's ancestors only the form of their data is known.

    Returns:
        Name of the data, or what copy of them it was; "" where none are known.
    """
    if not _val_is_cut(dataset):
        return ""
    name, fingerprint = (manifest.data.get(k) for k in ("name", "fingerprint"))
    other = name == dataset.name and fingerprint and fingerprint != dataset.fingerprint
    if other and base_name(str(name)) in SOURCES:  # other folders of faces may just be called alike
        return f"another copy of {name}"
    others = [d for a in ancestors(manifest) for d in a.data]
    learnt = (d.removeprefix(_UNLIKE) for d in (*own_data(manifest), *others))
    return next((d for d in learnt if other_form(d, dataset.name)), "")


def _val_is_cut(dataset: Dataset) -> bool:
    """Whether a validation split was cut from the training faces, here or by scripts/create_val_split.py."""
    if {"val_seed", "split_seed"} & set(dataset.notes):
        return True
    folders = base_name(dataset.name) == "fer2013" and FOLDERS in dataset.name
    return folders and "val" in dataset.splits and len(dataset["val"]) != _N_VAL


def is_unlike(name: str) -> bool:
    """Whether `own_data` found that a data set has the form of a known one and not its counts."""
    return name.startswith(_UNLIKE)


def ancestors(manifest: Manifest) -> list[Ancestor]:
    """All nets that a net was made from, each once, its own before theirs.

    They stand in the manifest (see `record`). For a checkpoint of before that, the names in its recipe are looked up on
    this machine; one that is not there, or that was replaced by this very net, is returned without data. So is a parent
    that the recipe names and the record lacks: one that only a parent was made from does not stand for it.
    """
    recorded = manifest.training.get(KEY)
    if isinstance(recorded, list):
        found = [_read(entry) for entry in recorded if isinstance(entry, Mapping)]
        lacking = [
            Ancestor(r, m, direct=True) for r, name, m in _named(manifest) if name and _lacks(manifest, found, r, m)
        ]
        return lacking + found
    return _looked_up(manifest, own_weights(manifest))


def own_weights(manifest: Manifest) -> set[str]:
    """SHA-256 of a net's weights, also of those in half precision that int8 was made from."""
    return {str(manifest.weights[key]) for key in ("sha256", "made_from") if manifest.weights.get(key)}


def _lacks(manifest: Manifest, found: list[Ancestor], role: str, model: str) -> bool:
    """Whether a record has no parent of a role; a teacher that the recipe names not taught the net it began with."""
    direct = role == BEGAN_WITH or bool(manifest.recipe.teacher)
    return not any(a.role == role and (a.direct or not direct) and model in ("", a.model) for a in found)


def record(recipe: Recipe) -> list[dict[str, Any]]:
    """What a run's manifest keeps of the nets that its recipe names: `ancestors` later needs none of their files.

    Raises:
        CheckpointError, ConfigError, HubError: one of them cannot be read.
    """
    direct, further = [], []
    for role, name in ((BEGAN_WITH, recipe.init), *((TAUGHT_BY, teacher) for teacher in recipe.teachers)):
        if name:
            other = checkpoint.read_manifest(name)
            direct.append(_of(role, other))
            further += ancestors(other)
    return [asdict(a) | {"data": list(a.data)} for a in _each_once(direct, further)]


def _each_once(direct: list[Ancestor], further: list[Ancestor]) -> list[Ancestor]:
    theirs = (replace(a, direct=False) for a in further)
    return list(dict.fromkeys([*direct, *(a for a in theirs if replace(a, direct=True) not in direct)]))


def _of(role: str, manifest: Manifest) -> Ancestor:
    sha256 = str(manifest.weights.get("sha256", ""))
    return Ancestor(role, manifest.model, sha256, own_data(manifest), direct=True)


def _read(entry: Mapping[str, Any]) -> Ancestor:
    data = entry.get("data")
    names = tuple(map(str, data)) if isinstance(data, (list, tuple)) else ()
    role, model, sha256 = (str(entry.get(key, "")) for key in ("role", "model", "sha256"))
    sure, direct = entry.get("sure") is not False, entry.get("direct") is True
    return Ancestor(role, model, sha256, names, sure, str(entry.get("shown_by") or ""), direct)


def teacher_models(manifest: Manifest) -> tuple[str, ...]:
    """Models of the nets that taught a net last, as its training recorded them; one that taught twice stands twice."""
    return tuple(name.strip() for name in str(manifest.training.get("teacher") or "").split(",") if name.strip())


def _named(manifest: Manifest) -> tuple[tuple[str, str, str], ...]:
    """(role, name or path, model or "") of the nets that a manifest names as those it was made from."""
    recipe, models = manifest.recipe, teacher_models(manifest)
    named = recipe.teachers or models
    # a record of another length says nothing about single names
    known = models if len(models) == len(named) else ("",) * len(named)
    return (BEGAN_WITH, recipe.init, manifest.model), *((TAUGHT_BY, n, m) for n, m in zip(named, known, strict=True))


def _looked_up(manifest: Manifest, seen: set[str]) -> list[Ancestor]:
    direct: list[Ancestor] = []
    further: list[Ancestor] = []
    for role, name, model in _named(manifest):
        if not name:
            continue
        other = _there(name)
        if other is None or own_weights(other) & seen or (model and other.model != model):
            direct.append(Ancestor(role, model, direct=True))
            continue
        seen |= own_weights(other)
        direct.append(replace(_of(role, other), sure=False))
        further += ancestors(other) if KEY in other.training else _looked_up(other, seen)
    return _each_once(direct, further)


def _there(name: str) -> Manifest | None:
    """The manifest of a checkpoint on this machine; nothing is fetched."""
    if hub.is_hub_name(name):
        return None
    try:
        return checkpoint.read_manifest(name)
    except FerError:
        return None
