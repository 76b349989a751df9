"""Where data sets come from, who may use them, and what that means for the weights of a net that has seen them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from fer.ancestry import (
    BEGAN_WITH,
    IMAGENET,
    TAUGHT_BY,
    VOTES,
    Ancestor,
    ancestors,
    is_unlike,
    own_data,
    teacher_models,
)
from fer.checkpoint import Manifest
from fer.data_names import base_name

MIT = "mit"
LICENSE = "LICENSE"
_AFFECTNET, _IMAGENET, _NOT_KNOWN = "affectnet-non-commercial-research", "imagenet-terms", "terms-not-fully-known"
# from the most to the least that others may do: `DataNote.name`
STRICTNESS = (MIT, _NOT_KNOWN, _IMAGENET, _AFFECTNET)


@dataclass(frozen=True)
class DataNote:
    """What a card says about a data set.

    Attributes:
        title: Name for people.
        text: Where it comes from, what it is and who may use it; Markdown.
        license: License of the weights as far as the data set allows it: an identifier of the Hub, or "other".
        license_name, license_link: Required by the Hub with "other"; the link is an address, or `LICENSE` for the file
            of that name in the repository.
    """

    title: str
    text: str
    license: str = MIT
    license_name: str | None = None
    license_link: str | None = None

    @property
    def name(self) -> str:
        """The licence in one word, one of STRICTNESS."""
        return self.license_name or self.license

    def metadata(self) -> dict[str, Any]:
        """Keys and values for the metadata of a README.md on the Hub."""
        found = {"license": self.license, "license_name": self.license_name, "license_link": self.license_link}
        return {k: v for k, v in found.items() if v}


@dataclass(frozen=True)
class Terms:
    """What holds for the weights of a net.

    Attributes:
        strictest: The data set that allows least, of all that the net has seen itself or through other nets;
            `NOT_RECORDED` where all that is known is free and something is not known.
        seen: (data set, how the net has seen it: "" = it was trained on it).
        unknown: How it was made from nets of which it is not known for certain what they saw.
    """

    strictest: DataNote
    seen: tuple[tuple[DataNote, str], ...]
    unknown: tuple[str, ...]

    @property
    def free(self) -> bool:
        """Whether the weights are under the licence of the code."""
        return self.strictest.license == MIT

    @property
    def name(self) -> str:
        """The licence in one word."""
        return self.strictest.name

    @property
    def title(self) -> str:
        """The licence for people."""
        return "MIT" if self.free else f"{self.name} ({self.strictest.license_link})"

    @property
    def reasons(self) -> tuple[str, ...]:
        """Everything that keeps the weights from being under MIT, as ends of a sentence."""
        bound = [f"{note.title}, which it saw {how or 'in training'}" for note, how in self.seen if note.license != MIT]
        return (*bound, *(f"what it saw {how}, of which there is no certain record" for how in self.unknown))


_FER2013 = (
    "FER2013 (Goodfellow et al. 2013, *Challenges in Representation Learning*): 35,887 grey faces of 48 px from a web "
    "search for emotion words, labelled by people who agree with the labels in 65 ± 5 % of cases. The same face is "
    "found in more than one of its splits. The pictures belong to their owners, were given out for a research "
    "challenge and may not be passed on; none of them is in this repository."
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
        "92 % of the faces are neutral or happy. That repository states no licence, so what may be done with weights "
        "that have seen its pictures is not known; none of its pictures is here.",
        license="other",
        license_name=_NOT_KNOWN,
        license_link=LICENSE,
    ),
    VOTES: DataNote(
        "FER+ votes",
        "FER+ (Barsoum et al. 2016): ten people's votes for each face of FER2013, published under the MIT licence.",
    ),
    IMAGENET: DataNote(
        "ImageNet",
        "Weights that others trained on ImageNet and publish under terms of their own (timm's and torchvision's: "
        "see their pages). ImageNet's pictures are for non-commercial research and education only; whether that binds "
        "weights made from them is not settled.",
        license="other",
        license_name=_IMAGENET,
        license_link="https://www.image-net.org/download.php",
    ),
    "affectnet": DataNote(
        "AffectNet",
        "AffectNet (Mollahosseini et al. 2017): photographs from the web, given by its authors to researchers who ask "
        "for it, for non-commercial research only. That holds for these weights too. None of its pictures is here.",
        license="other",
        license_name=_AFFECTNET,
        license_link="http://mohammadmahoor.com/affectnet/",
    ),
}
_OTHER = "A data set of the one who trained this net; ask them for its source and terms."
_UNLIKE = f"{_OTHER} Its files have the form of a data set that is known here, but not its numbers of faces."
# why FER2013's terms are not taken to bind weights, and those of others are
WHY_MIT = (
    "Why MIT: as far as they are known here, the terms of FER2013 speak of the pictures alone, which may not be passed "
    "on, and not of what is learnt from them; FER+'s labels are under MIT. ImageNet's and AffectNet's terms speak of "
    "non-commercial research use, and Muxspace states none, so weights that have seen those are not under MIT."
)
_OWN_HOW = {IMAGENET: "through the weights that it began with", VOTES: "as a second target of its training"}
NOT_RECORDED = DataNote("what is not recorded", "", "other", _NOT_KNOWN, LICENSE)


_PICTURES = """The licence above holds for the weights and the code. It does not hold for the
pictures that the net learnt from, none of which is here:"""


def data_note(name: str) -> DataNote:
    """What is known about a data set; of another one the terms are not known.

    A name that has AffectNet's in it, such as a folder's, is taken for AffectNet: better too strict than too free.
    """
    known = "affectnet" if "affectnet" in name.lower() else base_name(name)
    text = _UNLIKE if is_unlike(name) else _OTHER
    return DATA.get(known) or DataNote(name or "unknown", text, "other", _NOT_KNOWN, LICENSE)


def terms_of(manifest: Manifest) -> Terms:
    """What holds for a net's weights: the strictest of all data it has seen, in every phase and through other nets.

    A net of which an ancestor is not known for certain is not under MIT, whatever the rest is.
    """
    own = own_data(manifest)
    seen = {data_note(own[0] if own else ""): ""}
    for name in own[1:]:
        seen.setdefault(data_note(name), _OWN_HOW.get(name, "in an earlier phase of its training"))
    unknown = []
    for other in ancestors(manifest):
        how = "through its teacher" if other.role == TAUGHT_BY else "through the net that it began with"
        for name in other.data:
            seen.setdefault(data_note(name), f"{how}, `{other.model}`")
        if not (other.data and other.sure):
            unknown.append(how)
    strict = strictest([*seen, *([NOT_RECORDED] if unknown else [])])
    return Terms(strict, tuple(seen.items()), tuple(dict.fromkeys(unknown)))


def strictest(notes: Iterable[DataNote]) -> DataNote:
    """Of several data sets the one that allows least; the first of those that allow equally little."""
    return max(notes, key=lambda note: STRICTNESS.index(note.name))


def license_text(terms: Terms, code: str = "") -> str:
    """The LICENSE file of weights: plain text that says what is known and what is not.

    Args:
        code: The licence of the code, which is that of weights that are free; the pictures are named behind it.
    """
    said = [f"- {note.title}" + (f", seen {how}" if how else "") + f": {_plain(note.text)}" for note, how in terms.seen]
    if terms.free:
        plain = "\n".join(textwrap.fill(line, 78, subsequent_indent="  ", break_on_hyphens=False) for line in said)
        return f"{code.rstrip()}\n\n{'-' * 60}\n{_PICTURES}\n\n{plain}\n"
    said += [f"- What it saw {how} is not recorded for certain." for how in terms.unknown]
    return "\n".join(
        [
            f"The weights: {terms.title}",
            "",
            "The code that made these weights and that loads them is under the MIT licence. The weights are not: their",
            "terms follow from the data that they were made from, and nobody here can give more than those allow.",
            "",
            f"Why: {_plain('; '.join(terms.reasons))}.",
            "",
            "What is known of the data:",
            "",
            *said,
            "",
        ]
    )


def taught(manifest: Manifest) -> str:
    """Whether another net taught this one, or the one that it began with."""
    if manifest.recipe.teacher or (manifest.training.get("teacher") and not manifest.recipe.init):
        return f"distilled from {net_named(manifest, TAUGHT_BY)}"
    if manifest.training.get("teacher") or any(a.role == TAUGHT_BY for a in ancestors(manifest)):
        return f"not in the last run; before it, distilled from {net_named(manifest, TAUGHT_BY)}"
    return (
        "no" if all(a.data and a.sure for a in ancestors(manifest)) else "no; of the net it began with it is not known"
    )


def from_others(manifest: Manifest, name: str, mark: str, has: str, has_not: str) -> str:
    """Whether a net, or one that it was made from, began with published weights or saw other labels."""
    if manifest.training.get(mark):
        return has
    above = ancestors(manifest)
    found = [
        f"`{a.model}`, {'its teacher' if a.role == TAUGHT_BY else 'which it began with'}"
        for a in above
        if name in a.data
    ]
    if found:
        return f"none of its own; {has}: {'; '.join(dict.fromkeys(found))}"
    return (
        has_not if all(a.data and a.sure for a in above) else "none of its own; of the nets before it, it is not known"
    )


def net_named(manifest: Manifest, role: str) -> str:
    """The net, or all the nets, that a net began with or learnt from, as far as it is known."""
    above = [a for a in ancestors(manifest) if a.role == role]
    taught_by = teacher_models(manifest) if role == TAUGHT_BY else ()
    # without a teacher of its own, those of the net that it began with come first
    parents = [a for a in above if a.direct] or above[: max(len(taught_by), 1)]
    if not all(a.data for a in parents) or not parents:
        return (
            (" and ".join(f"`{n}`" for n in taught_by) or "another net")
            if role == TAUGHT_BY
            else "an earlier run of its own"
        )
    return " and ".join(map(_named, parents))


def _named(other: Ancestor) -> str:
    seen = ", ".join(dict.fromkeys(data_note(n).title for n in other.data))
    whose = f"; SHA-256 `{other.sha256[:12]}`" if other.sure and other.sha256 else "; inferred" * other.inferred
    return f"`{other.model}` (trained on {seen}{whose})"


def shown(other: Ancestor) -> str:
    """A sentence on what an entry of the record rests on."""
    what = {
        (TAUGHT_BY, True): f"Its teacher was `{other.model}`",
        (TAUGHT_BY, False): f"A net before it was taught by `{other.model}`",
        (BEGAN_WITH, True): f"It began with weights of `{other.model}`",
        (BEGAN_WITH, False): f"Before those there was an earlier run of `{other.model}`",
    }.get((other.role, other.direct), f"It was made from `{other.model}`")
    seen = f", which had seen {', '.join(data_note(n).title for n in other.data)}" if other.data else ""
    return f"{what}{seen}. {'That is an inference, from' if other.inferred else 'This shows it:'} {other.shown_by}."


def _plain(text: str) -> str:
    return text.replace("`", "").replace("*", "")
