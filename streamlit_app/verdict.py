"""What the tests say about two models, in plain sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamlit_app.selection import Selection

CHANCE = 0.05


def turned(pair: dict[str, Any], first: str) -> dict[str, Any]:
    """The pair seen from `first`."""
    if pair["a"] == first:
        return pair
    low, high = pair["interval"]
    swapped = {"a": pair["b"], "b": pair["a"], "only_a": pair["only_b"], "only_b": pair["only_a"]}
    return pair | swapped | {"difference": -pair["difference"], "interval": (-high, -low)}


def verdict(pair: dict[str, Any], chosen: Selection, count: int) -> str:
    """What McNemar says, in one plain sentence."""
    points, (low, high) = 100 * pair["difference"], (100 * v for v in pair["interval"])
    better = "more" if points >= 0 else "less"
    corrected = f" after Holm's correction for {count} pairs" if count > 1 else ""
    if pair["p_holm"] >= CHANCE:
        end = "a difference as large as this **may well be chance**."
    else:
        end = "**chance alone would rarely give such a difference** (the luck of one training run apart)."
    a, b = chosen.titles[pair["a"]], chosen.titles[pair["b"]]
    return (
        f"On the {pair['n']:,} faces of {chosen.title}, **{a}** is right {abs(points):.1f} points {better} often than "
        f"**{b}** (95 % interval {low:+.1f} to {high:+.1f}; exact McNemar test, {p_value(pair['p_holm'])}{corrected}): "
        f"{end}"
    )


def pattern(pair: dict[str, Any], count: int) -> str:
    """What the chi-square test says about the mistakes of both."""
    if not pair["dof"]:
        return "They make too few mistakes to compare the patterns."
    same = pair["chi2_p_holm"] >= CHANCE
    corrected = " after Holm's correction" if count > 1 else ""
    return (
        f"Their mistakes {'may well fall' if same else 'do not fall'} into the same pattern (chi-square of the "
        f"off-diagonal cells {pair['chi2']:.1f} with {pair['dof']} degrees of freedom, "
        f"{p_value(pair['chi2_p_holm'])}{corrected})."
    )


def p_value(value: float) -> str:
    return "p < 0.0001" if value < 1e-4 else f"p = {value:.2g}"
