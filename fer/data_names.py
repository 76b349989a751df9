"""What the name of a data set says about it."""

from __future__ import annotations

from fer.labels import LABEL_SETS

FOLDERS = "-folders"  # behind the name of what is the same in image folders
DRAWN = "synthetic"
# FER+ has other labels for the pictures of FER2013
_PICTURES = {"ferplus": "fer2013"}


def base_name(data: str) -> str:
    """A data set's name without its form and what was done to its labels.

    >>> base_name("affectnet@fer7"), base_name("ferplus-majority-fer7"), base_name("fer2013-folders")
    ('affectnet', 'ferplus', 'fer2013')
    """
    return _form(data).removesuffix("-majority").removesuffix(FOLDERS)


def same_pictures(a: str, b: str) -> bool:
    """Whether two data sets show the same pictures, in whatever form and under whatever labels.

    >>> same_pictures("fer2013-folders", "fer2013"), same_pictures("ferplus", "fer2013-folders")
    (True, True)
    >>> same_pictures("muxspace", "fer2013")
    False
    """
    return bool(a and b) and _PICTURES.get(base_name(a), base_name(a)) == _PICTURES.get(base_name(b), base_name(b))


def other_form(a: str, b: str) -> bool:
    """Whether two data sets show the same pictures and one of them alone is made of image folders.

    >>> other_form("fer2013", "fer2013-folders-ferplus8"), other_form("fer2013-folders", "fer2013-folders-ferplus8")
    (True, False)
    """
    return same_pictures(a, b) and _form(a).endswith(FOLDERS) != _form(b).endswith(FOLDERS)


def _form(data: str) -> str:
    """A data set's name without what was done to its labels."""
    name = data.partition("@")[0].removesuffix("+contempt")
    for label_set in LABEL_SETS:
        name = name.removesuffix(f"-{label_set}")
    return name


def is_synthetic(data: str) -> bool:
    """Drawn faces, whatever was done to their labels: for trying things out, never for a leaderboard or the Hub.

    Args:
        data: Name of a data set, or what `--data` takes.

    >>> [is_synthetic(n) for n in ("synthetic", "synthetic:n=9,contempt=1@fer7", "synthetic-ferplus8", "fer2013")]
    [True, True, True, False]
    """
    return base_name(data.partition(":")[0]) == DRAWN
