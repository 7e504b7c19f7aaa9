"""Shares of probes as estimates, and the two halves that thresholds and results come from."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from auditor.stats.intervals import clopper_pearson
from auditor.store.parts import Estimate

CALIBRATION = slice(0, None, 2)  # probes at even positions choose thresholds ...
REPORTED = slice(1, None, 2)  # ... and those at odd positions are reported: noise is independent, so any halves do
FALSE_CALLS = 0.05  # where nothing is memorised, a comparison calls a transition in at most so many cases


def share(
    name: str, hits: int, trials: int, level: float, *, unit: str = "share of probes", method: str = "Clopper-Pearson"
) -> Estimate:
    """hits / trials with its exact interval; unscored where there is no trial."""
    if trials == 0:
        return unscored(name, "no finite generation to judge", n=0, unit=unit)
    interval = clopper_pearson(int(hits), int(trials), level)
    return Estimate(
        name=name,
        value=float(hits / trials),
        lower=interval.lower,
        upper=interval.upper,
        level=level,
        method=method,
        n=int(trials),
        unit=unit,
    )


def share_by_prompt(
    name: str, shares: Sequence[float], level: float, *, unit: str = "share of probes", method: str = ""
) -> Estimate:
    """Mean over prompts of the share of each prompt's probes; unscored where there is no prompt.

    Answers to one prompt stand or fall together, so that prompts are the trials. Shares vary less than the yes or no of
    a trial with the same mean does, so that Clopper-Pearson over prompts, whole ones taken outwards, is wide enough.

    Args:
      shares: Each in [0, 1], one a prompt.
      method: What stands before the name of the interval.
    """
    trials = len(shares)
    if trials == 0:
        return unscored(name, "no prompt with two finite generations", n=0, unit=unit)
    total = math.fsum(shares)
    return Estimate(
        name=name,
        value=total / trials,
        lower=clopper_pearson(math.floor(total + 1e-9), trials, level).lower,
        upper=clopper_pearson(math.ceil(total - 1e-9), trials, level).upper,
        level=level,
        method=f"{method}Clopper-Pearson over prompts",
        n=trials,
        unit=unit,
    )


def rows_by_prompt(prompt: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The rows of each prompt that was asked for, in rising order; prompts likewise.

    Args:
      prompt: Int64[G], which prompt each probe asked for.
    """
    order = np.argsort(prompt, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(prompt[order])) + 1) if len(prompt) else []


def unscored(name: str, reason: str, *, n: int | None = None, unit: str = "") -> Estimate:
    """An estimate that could not be made, and why."""
    return Estimate(name=name, value=None, n=n, unit=unit, unscored=reason)


def bonferroni(level: float, claims: int) -> float:
    """Level of each of several intervals that hold together with probability at least ``level``."""
    return 1.0 - (1.0 - level) / max(claims, 1)


def significance(columns: int) -> float:
    """Error allowed each of two tests per column, such that those of all columns err in 5% together (Bonferroni)."""
    return FALSE_CALLS / (2 * max(columns, 1))
