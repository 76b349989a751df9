"""Label sets: the only place where class names, their order, emoji and colours are written down."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from fer.errors import ConfigError, DataError, unknown_name

EMOJI: dict[str, str] = {
    "angry": "😠",
    "disgust": "🤢",
    "fear": "😱",
    "happy": "😄",
    "sad": "😢",
    "surprise": "😲",
    "neutral": "😐",
    "contempt": "😒",
}

# Okabe and Ito's palette (2008), distinguishable with the common forms of colour blindness.
COLORS: dict[str, str] = {
    "angry": "#D55E00",
    "disgust": "#009E73",
    "fear": "#CC79A7",
    "happy": "#E69F00",
    "sad": "#0072B2",
    "surprise": "#56B4E9",
    "neutral": "#7F7F7F",
    "contempt": "#B8AE14",
}

ALIASES: dict[str, str] = {
    "anger": "angry",
    "disgusted": "disgust",
    "afraid": "fear",
    "fearful": "fear",
    "scared": "fear",
    "happiness": "happy",
    "joy": "happy",
    "sadness": "sad",
    "surprised": "surprise",
    "suprise": "surprise",
    "contemptuous": "contempt",
    "calm": "neutral",
}


@dataclass(frozen=True)
class LabelSet:
    """An ordered set of class names.

    Args:
        name: Short identifier, stored in checkpoints and results.
        names: Canonical class names; position = class index.
    """

    name: str
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        for n in self.names:
            if n not in EMOJI:
                raise unknown_name("class name", n, EMOJI)
        if len(set(self.names)) != len(self.names) or not self.names:
            raise ConfigError(f"label set {self.name!r} needs distinct names, got {self.names}")

    def __len__(self) -> int:
        return len(self.names)

    @property
    def emoji(self) -> tuple[str, ...]:
        """One emoji per class, in order."""
        return tuple(EMOJI[n] for n in self.names)

    @property
    def colors(self) -> tuple[str, ...]:
        """One hex colour per class, in order."""
        return tuple(COLORS[n] for n in self.names)

    def index(self, name: str) -> int:
        """Class index of a name in any known spelling.

        Raises:
            ConfigError: the name is in no spelling part of this set.

        >>> FER7.index("Anger"), FER7.index("neutral")
        (0, 6)
        """
        c = canonical(name)
        if c not in self.names:
            raise unknown_name(f"class of label set {self.name}", name, self.names)
        return self.names.index(c)


FER7 = LabelSet("fer7", ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"))
FERPLUS8 = LabelSet("ferplus8", ("neutral", "happy", "surprise", "sad", "angry", "disgust", "fear", "contempt"))
AFFECTNET8 = LabelSet("affectnet8", ("neutral", "happy", "sad", "surprise", "fear", "disgust", "angry", "contempt"))
LABEL_SETS: dict[str, LabelSet] = {s.name: s for s in (FER7, FERPLUS8, AFFECTNET8)}

_CONTEMPT = "+contempt"


def canonical(name: str) -> str:
    """The canonical spelling of a class name (unknown names come back lower-cased).

    >>> canonical(" Happiness "), canonical("anger"), canonical("sad")
    ('happy', 'angry', 'sad')
    """
    key = name.strip().lower()
    return ALIASES.get(key, key)


def with_contempt(label_set: LabelSet) -> LabelSet:
    """The same classes with contempt as the last one (the set itself where it is there already).

    >>> with_contempt(FER7).name, len(with_contempt(FER7)), with_contempt(AFFECTNET8) is AFFECTNET8
    ('fer7+contempt', 8, True)
    """
    if "contempt" in label_set.names:
        return label_set
    return LabelSet(f"{label_set.name}{_CONTEMPT}", (*label_set.names, "contempt"))


def find_label_set(name: str) -> LabelSet:
    """A label set by name: a key of LABEL_SETS, also with "+contempt" behind it.

    Raises:
        ConfigError: unknown name.

    >>> find_label_set("fer7").names == FER7.names, find_label_set("fer7+contempt").names[-1]
    (True, 'contempt')
    """
    key = name.strip().lower()
    base = key.removesuffix(_CONTEMPT)
    if base not in LABEL_SETS:
        raise unknown_name("label set", name, LABEL_SETS, 'With "+contempt" behind it contempt is kept.')
    return LABEL_SETS[base] if key == base else with_contempt(LABEL_SETS[base])


def label_set_of(names: Iterable[str]) -> LabelSet:
    """The label set that has exactly these classes: a known one where there is one, else one made of them.

    Args:
        names: Class names in any known spelling, in any order.

    Raises:
        ConfigError: a name that is no class.

    >>> label_set_of(["sad", "Joy"]).names, label_set_of(FER7.names[::-1]).name
    (('happy', 'sad'), 'fer7')
    """
    wanted = {canonical(n) for n in names}
    for known in LABEL_SETS.values():
        if set(known.names) == wanted:
            return known
    ordered = [n for n in EMOJI if n in wanted] + sorted(wanted - set(EMOJI))
    return LabelSet("-".join(ordered), tuple(ordered))


def class_name(spelling: str) -> str:
    """The canonical name of a class in any known spelling.

    Raises:
        ConfigError: no known class; names the nearest.

    >>> class_name("HAPPINESS")
    'happy'
    """
    name = canonical(spelling)
    if name in EMOJI:
        return name
    near = difflib.get_close_matches(name, [*EMOJI, *ALIASES], n=1, cutoff=0.6)
    meant = f"; did you mean {canonical(near[0])!r}?" if near else "."
    raise ConfigError(f"unknown class {spelling!r}{meant} Known: {', '.join(EMOJI)} and their usual spellings")


def project(probs: np.ndarray, source: LabelSet, target: LabelSet) -> np.ndarray:
    """Move probabilities from one label set to another, matching classes by name.

    Classes that the target lacks are dropped and the rest renormalised; classes that the source lacks get zero.

    Args:
        probs: (N, len(source)) probabilities.

    Returns:
        (N, len(target)) float32, rows sum to 1.

    Raises:
        DataError: wrong width, or a row that has all its mass on classes the target lacks.

    >>> project(np.array([[0.25, 0, 0, 0.25, 0, 0, 0, 0.5]]), FERPLUS8, FER7).round(2).tolist()
    [[0.0, 0.0, 0.0, 0.0, 0.5, 0.0, 0.5]]
    """
    probs = np.asarray(probs, dtype=np.float64)
    if probs.ndim != 2 or probs.shape[1] != len(source):
        raise DataError(f"expected probabilities of shape (N, {len(source)}) for {source.name}, got {probs.shape}")
    out = np.zeros((len(probs), len(target)))
    for i, name in enumerate(source.names):
        if name in target.names:
            out[:, target.names.index(name)] = probs[:, i]
    mass = out.sum(axis=1, keepdims=True)
    if (mass <= 0).any():
        raise DataError(f"row {int(np.argmin(mass))} has no mass on any class of {target.name}")
    return (out / mass).astype(np.float32)
