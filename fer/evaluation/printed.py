"""The tables of a data set, for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fer.evaluation import leaderboard
from fer.evaluation.report import SIGNIFICANT


def tables(
    rows: Sequence[Mapping[str, Any]], compared: Mapping[str, Any], combined: Sequence[Mapping[str, Any]]
) -> str:
    """The leaderboard's lines of this data set, which differences are real, and the ensembles.

    Args:
        rows: Of the leaderboard, one or more.
        compared: Result of `fer.evaluation.report.comparison`.
        combined: Entries of ensembles.json.
    """
    marks = {r["model"]: leaderboard.marks(r).replace("`", "") for r in rows}
    starred = {name: name if said == "–" else f"{name}*" for name, said in marks.items()}
    out = [f"\n{rows[0]['data']}, per cent unless said; single view, chosen on {rows[0]['val_split'] or 'nothing'}"]
    out += _leaderboard(rows)
    if compared["pairs"]:
        out.append(
            f"\nDifferences on {compared['title']} ({compared['n']:,} faces), exact McNemar test, Holm's correction:"
        )
        out += [_difference(p, starred) for p in compared["pairs"]]
    if combined:
        out.append("\nEnsembles, weights fitted on validation, the best there first (which is the one to quote):")
        out += [_ensemble(e, starred) for e in sorted(combined, key=lambda e: -e["val_accuracy"])]
    if compared["pairs"] or combined:
        out += [f"  * {name}: {said}" for name, said in marks.items() if said != "–"]
    return "\n".join(out)


def _leaderboard(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [leaderboard.cells(r) for r in leaderboard.titled(rows)]
    head = list(lines[0])
    table = [head, *([line.replace("`", "") for line in row.values()] for row in lines)]
    widths = [max(len(line[i]) for line in table) for i in range(len(head))]
    words = (0, len(head) - 2, len(head) - 1)
    return [
        "  ".join(
            c.ljust(w) if i in words else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in table
    ]


def _difference(pair: Mapping[str, Any], starred: Mapping[str, str]) -> str:
    low, high = pair["interval"]
    return (
        f"  {starred[pair['a']]} - {starred[pair['b']]}: {100 * pair['difference']:+.1f} points "
        f"[{100 * low:+.1f}, {100 * high:+.1f}], p = {pair['p_holm']:.2g} "
        f"({'real' if pair['p_holm'] < SIGNIFICANT else 'may be chance'})"
    )


def _ensemble(entry: Mapping[str, Any], starred: Mapping[str, str]) -> str:
    members = " + ".join(
        f"{w:.2f} {starred.get(n, n)}" for w, n in zip(entry["weights"], entry["members"], strict=True)
    )
    said = f"validation {100 * entry['val_accuracy']:.1f}"
    if entry["test_accuracy"] is not None:
        low, high = (100 * v for v in entry["test_interval"])
        said += f", test {100 * entry['test_accuracy']:.1f} [{low:.1f}, {high:.1f}], nll {entry['test_nll']:.3f}"
        if (without := (entry.get("leakage") or {}).get("accuracy")) is not None:
            said += f", no copies {100 * without:.1f}"
    return f"  {members}{'' if entry['view'] == 'single' else ', ' + entry['view']}: {said}"
