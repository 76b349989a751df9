"""What the name of a data set says about it."""

from __future__ import annotations

from fer.labels import LABEL_SETS

FOLDERS = "-folders"  # behind the name of what is the same in image folders
DRAWN = "synthetic"


def base_name(data: str) -> str:
    """A data set's name without its form and what was done to its labels.

    >>> base_name("affectnet@fer7"), base_name("ferplus-majority-fer7"), base_name("fer2013-folders")
    ('affectnet', 'ferplus', 'fer2013')
    """
    name = data.partition("@")[0].removesuffix("+contempt")
    for label_set in LABEL_SETS:
        name = name.removesuffix(f"-{label_set}")
    return name.removesuffix("-majority").removesuffix(FOLDERS)


def is_synthetic(data: str) -> bool:
    """Drawn faces, whatever was done to their labels: for trying things out, never for a leaderboard or the Hub.

    Args:
        data: Name of a data set, or what `--data` takes.

    >>> [is_synthetic(n) for n in ("synthetic", "synthetic:n=9,contempt=1@fer7", "synthetic-ferplus8", "fer2013")]
    [True, True, True, False]
    """
    return base_name(data.partition(":")[0]) == DRAWN
