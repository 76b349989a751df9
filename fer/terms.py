"""Where data sets come from, who may use them, and what that means for the weights of a net that has seen them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from fer.ancestry import TAUGHT_BY, ancestors, base_name, own_data
from fer.checkpoint import Manifest

# from the most to the least that others may do
STRICTNESS = ("mit", "unknown", "other")


@dataclass(frozen=True)
class DataNote:
    """What a card says about a data set.

    Attributes:
        title: Name for people.
        text: Where it comes from, what it is and who may use it; Markdown.
        license: License of the weights as far as the data set allows it: an identifier of the Hub, or "other".
        license_name, license_link: Required by the Hub with "other".
    """

    title: str
    text: str
    license: str = "mit"
    license_name: str | None = None
    license_link: str | None = None

    def metadata(self) -> dict[str, Any]:
        """Keys and values for the metadata of a README.md on the Hub."""
        found = {"license": self.license, "license_name": self.license_name, "license_link": self.license_link}
        return {k: v for k, v in found.items() if v}


@dataclass(frozen=True)
class Terms:
    """What holds for the weights of a net.

    Attributes:
        strictest: The data set that allows least, of all that the net has seen itself or through other nets.
        seen: (data set, how the net has seen it: "" = it was trained on it).
        unknown: How it was made from nets of which nothing is known here.
    """

    strictest: DataNote
    seen: tuple[tuple[DataNote, str], ...]
    unknown: tuple[str, ...]

    @property
    def title(self) -> str:
        """The licence for people."""
        note = self.strictest
        if note.license == "mit":
            return "MIT"
        return f"{note.license_name} ({note.license_link})" if note.license == "other" else "not known"

    @property
    def name(self) -> str:
        """The licence in one word."""
        return self.strictest.license_name or self.strictest.license


_FER2013 = (
    "FER2013 (Goodfellow et al. 2013, *Challenges in Representation Learning*): 35,887 grey faces of 48 px from a web "
    "search for emotion words, labelled by people who agree with the labels in 65 ± 5 % of cases. The same face is "
    "found in more than one of its splits. The pictures belong to their owners and may not be passed on; none of them "
    "is in this repository."
)
DATA: dict[str, DataNote] = {
    "fer2013": DataNote("FER2013", _FER2013),
    "ferplus": DataNote(
        "FER+",
        f"{_FER2013} The labels are those of FER+ (Barsoum et al. 2016): ten votes for each face, published under the "
        "MIT licence.",
    ),
    "muxspace": DataNote(
        "Muxspace",
        "[muxspace/facial_expressions](https://github.com/muxspace/facial_expressions): 13,690 labelled photographs; "
        "92 % of the faces are neutral or happy. The terms are those of that repository; none of its pictures is here.",
    ),
    "affectnet": DataNote(
        "AffectNet",
        "AffectNet (Mollahosseini et al. 2017): photographs from the web, given by its authors to researchers who ask "
        "for it, for non-commercial research only. That holds for these weights too. None of its pictures is here.",
        license="other",
        license_name="affectnet-non-commercial-research",
        license_link="http://mohammadmahoor.com/affectnet/",
    ),
}
_OTHER = "A data set of the one who trained this net; ask them for its source and terms."


def data_note(name: str) -> DataNote:
    """What is known about a data set; of another one the terms are not known.

    A name that has AffectNet's in it, such as a folder's, is taken for AffectNet: better too strict than too free.
    """
    known = "affectnet" if "affectnet" in name.lower() else base_name(name)
    return DATA.get(known) or DataNote(name or "unknown", _OTHER, license="unknown")


def terms_of(manifest: Manifest) -> Terms:
    """What holds for a net's weights: the strictest of all data it has seen, in every phase and through other nets."""
    own = own_data(manifest)
    seen = {data_note(own[0] if own else ""): ""}
    for name in own[1:]:
        seen.setdefault(data_note(name), "in an earlier phase of its training")
    unknown = []
    for other in ancestors(manifest):
        how = "through its teacher" if other.role == TAUGHT_BY else "through the net that it began with"
        for name in other.data:
            seen.setdefault(data_note(name), f"{how}, `{other.model}`")
        if not other.data:
            unknown.append(how)
    return Terms(strictest(seen), tuple(seen.items()), tuple(dict.fromkeys(unknown)))


def strictest(notes: Iterable[DataNote]) -> DataNote:
    """Of several data sets the one that allows least; the first of those that allow equally little."""
    return max(notes, key=lambda note: STRICTNESS.index(note.license))
