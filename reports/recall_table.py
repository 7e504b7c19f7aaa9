"""What a run of reports/recall.py counted, and the table it becomes.

The unit is the audit: calls within one share their split, their copies and the point at which the list was cut, so
that they are no independent draws. A false share is the mean over audits of (false calls / calls), 0 where nothing was
called, which is what a false discovery rate bounds; its error is Student's, from audit to audit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from recall_sets import SETS
from scipy import stats

from auditor.stats.intervals import clopper_pearson

LEVEL = 0.95
BEGIN, END = "<!-- recall:begin -->", "<!-- recall:end -->"


@dataclass(frozen=True)
class Counts:
    """Of one decision; arrays have one entry per audit."""

    copied: NDArray[np.int64]  # distinct items that were shown
    found: NDArray[np.int64]
    called: NDArray[np.int64]
    resolving: NDArray[np.bool_]  # whether the encoder told copies from look-alikes

    @property
    def audits(self) -> int:
        """Independent repetitions."""
        return len(self.called)

    @property
    def shown(self) -> bool:
        """Whether there was anything to find."""
        return bool(self.copied.any())

    @property
    def shares(self) -> NDArray[np.float64]:
        """False share of each audit's calls; 0 without calls."""
        return (self.called - self.found) / np.maximum(self.called, 1)

    def error(self) -> float:
        """Half the 95% interval of the mean false share; 0 where all audits have the same."""
        return float(stats.t.ppf((1 + LEVEL) / 2, self.audits - 1) * stats.sem(self.shares)) if self.audits > 1 else 1.0

    def above(self, alpha: float) -> float:
        """One-sided p-value of the false discovery rate being at most ``alpha``."""
        if not self.shown:  # every call is false
            return float(stats.binom.sf((self.called > 0).sum() - 1, self.audits, alpha))
        if np.ptp(self.shares) == 0:
            return float(self.shares[0] <= alpha)
        return float(stats.ttest_1samp(self.shares, alpha, alternative="greater").pvalue)

    def text(self) -> str:
        """``recall; false share ± error``, or without copies the share of audits with any call."""
        if not self.shown:
            calls = int((self.called > 0).sum())
            bounds = clopper_pearson(calls, self.audits, LEVEL, "two-sided")
            return f"called in {calls} of {self.audits} [{bounds.lower:.2f}, {bounds.upper:.2f}]"
        recall = f"**{(self.found / np.maximum(self.copied, 1)).mean():.2f}**"
        if not self.called.any():
            return f"{recall}; –"
        if not self.shares.any():
            return f"{recall}; 0.00 ≤ {clopper_pearson(0, self.audits, LEVEL, 'two-sided').upper:.2f}"
        return f"{recall}; {self.shares.mean():.2f} ± {self.error():.2f}"


@dataclass
class Cell:
    """One set, encoder, kind of copy and choice of views; per decision, one row of counts per audit."""

    set: str
    encoder: str
    kind: str
    views: str
    rows: dict[str, list[list[int]]] = field(default_factory=dict)  # [copied, found, called, resolving]

    def count(self, what: str, called: NDArray[np.bool_], copied: NDArray[np.bool_], resolving: bool) -> None:
        """Enter one audit's calls, Bool[I], beside the items that were copied."""
        row = [int(copied.sum()), int((called & copied).sum()), int(called.sum()), int(resolving)]
        self.rows.setdefault(what, []).append(row)

    @property
    def counts(self) -> dict[str, Counts]:
        """By decision: whole, parts, blends."""
        arrays = {what: np.array(rows, np.int64).T for what, rows in self.rows.items()}
        return {what: Counts(*found[:3], found[3].astype(bool)) for what, found in arrays.items()}

    def line(self) -> str:
        """For someone who watches."""
        said = "; ".join(f"{what} {counts.text()}" for what, counts in self.counts.items())
        return f"{self.set}, {self.encoder}, {self.kind}, {self.views}: {said}"


def tables(cells: Sequence[Cell]) -> list[str]:
    """One table per set and encoder: kinds of copies against ways of looking."""
    lines = []
    for name, encoder in dict.fromkeys((cell.set, cell.encoder) for cell in cells):
        these = [cell for cell in cells if (cell.set, cell.encoder) == (name, encoder)]
        shown: dict[str, dict[str, str]] = {}
        for cell in these:
            for what, counts in cell.counts.items():
                column = f"whole, {cell.views}" if what == "whole" else what
                shown.setdefault(column, {})[cell.kind] = counts.text()
        columns = sorted(shown, key=lambda column: not column.startswith("whole"))
        lines += [f"### {SETS[name].title}, {encoder}", "", *_heading([cell.counts["whole"] for cell in these]), ""]
        lines += [f"| kind of copy | {' | '.join(columns)} |", f"|---|{'--:|' * len(columns)}"]
        for kind in dict.fromkeys(cell.kind for cell in these):
            lines.append(f"| {kind} | {' | '.join(shown[column].get(kind, '–') for column in columns)} |")
        lines.append("")
    return lines


def _heading(whole: Sequence[Counts]) -> Iterator[str]:
    """How many audits stand behind each figure, and whether the audit itself would have called anything."""
    audits = {counts.audits for counts in whole}
    yield f"{' to '.join(str(count) for count in sorted({min(audits), max(audits)}))} splits."
    unresolved = 1 - np.concatenate([counts.resolving for counts in whole]).mean()
    if unresolved > 0:
        yield (
            f"In {unresolved:.0%} of the audits this encoder does not tell copies of whole pictures from look-alikes, "
            "so that the audit calls none and cannot conclude; what is shown is the competition without that rule."
        )


def summary(cells: Sequence[Cell], alpha: float) -> list[str]:
    """Whether the false share keeps to its level: per cell, and for all cells together (Holm)."""
    named = [
        (f"{SETS[cell.set].title}, {cell.encoder}, {cell.kind}, {what}, {cell.views}", counts)
        for cell in cells
        for what, counts in cell.counts.items()
    ]
    if not named:
        return []
    p_value = np.array([counts.above(alpha) for _, counts in named])
    order = np.argsort(p_value)
    held = np.maximum.accumulate((len(p_value) - np.arange(len(p_value))) * p_value[order])
    single = [named[place][0] for place in order if p_value[place] < (1 - LEVEL) / 2]
    beyond = [named[place][0] for place, adjusted in zip(order, held, strict=True) if adjusted < 1 - LEVEL]
    means = [counts.shares.mean() for _, counts in named if counts.called.any() and counts.shown]
    return [
        f"Cells: {len(named)}, of which {len(means)} with copies and calls: false share {np.mean(means):.3f} on "
        f"average, {max(means):.3f} at most."
        if means
        else f"Cells: {len(named)}, none with copies and calls.",
        f"Above {alpha:.2f} by more than their error (one-sided, 2.5% each, so that up to {len(named) * 0.025:.0f} are "
        f"expected at the level itself): {'; '.join(single) or 'none'}.",
        f"Above it with all cells taken together (Holm, 5%): {'; '.join(beyond) or 'none'}.",
    ]
