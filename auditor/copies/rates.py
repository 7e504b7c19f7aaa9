"""Rates: another statement with another unit. How often does a generation land on a copied image?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from auditor.stats.intervals import clopper_pearson
from auditor.store.parts import Estimate


def planted_recall(found: Mapping[str, NDArray[np.bool_]], level: float) -> Estimate:
    """Share of planted copies that are found, with a one-sided lower bound.

    Args:
      found: Per transformation, Bool[P] over the same P originals.
      level: Confidence of the lower bound.

    Returns:
      The mean over transformations. Copies of one original stand or fall together, so the bound counts originals, not
      copies: Clopper-Pearson with P trials and the mean number found per transformation, rounded down.
    """
    name, unit = "planted copies found", "share of planted copies"
    originals = len(next(iter(found.values()))) if found else 0
    if originals == 0:
        return Estimate(name=name, value=None, unit=unit, unscored="no copies were planted")
    mean = float(np.mean([hits.mean() for hits in found.values()]))
    lower = clopper_pearson(int(mean * originals + 1e-9), originals, level, "lower").lower
    return Estimate(
        name=name,
        value=mean,
        lower=lower,
        upper=1.0,
        level=level,
        method="Clopper-Pearson over originals, one-sided",
        n=originals,
        unit=unit,
    )


def copy_rate(
    landing: NDArray[np.bool_],
    possible: NDArray[np.bool_],
    recall: Estimate,
    level: float,
    prompts: NDArray[np.int64] | None = None,
    unit: str = "prompts",
) -> Estimate:
    """Share of generations that land on copied items, its upper bound corrected for copies that were missed.

    Generations of one prompt stand or fall together. So where a checkpoint was prompted, the unit is the prompt: the
    share of prompts under which at least one generation lands. Prompts may have unequal numbers of generations, so the
    upper end takes the larger of the shares of prompts and of generations.

    A single item that no competition can certify may still be what half of the generations show. So the value and the
    lower end count what is certified or verbatim, the upper end also items that may be copied.

    Args:
      landing: Bool[G], generations whose nearest pool image is a certified or verbatim item; G >= 1.
      possible: Bool[G], these, and generations on items that may be copied
        (:func:`auditor.copies.summary.possible_copies`).
      recall: Of planted copies; the bound is divided by its lower bound, and is 1 where that is 0 or missing.
      level: Confidence of the interval, and of the recall's bound. Without a landing it is one-sided:
        upper = 1 - (1 - level)^(1 / units), before the division.
      prompts: Int64[G], which prompt each generation was made under; None = each stands for itself.
      unit: What these numbers count, in words.
    """
    unit = "generations" if prompts is None else unit
    hit, maybe, units = _counts(landing, possible, prompts)
    lower = clopper_pearson(hit, units, level, "two-sided").lower
    most = clopper_pearson(maybe, units, level, "upper" if maybe == 0 else "two-sided").upper
    upper = min(1.0, most / recall.lower) if recall.lower else 1.0
    one = unit.removesuffix("s") if maybe == 1 else unit
    return Estimate(
        name="copy rate",
        value=hit / units,
        lower=lower,
        upper=upper,
        level=level,
        method=f"Clopper-Pearson, the upper end over {maybe} {one} on items that are "
        "certified, verbatim or may be copied, divided by the lower bound of the planted copies' recall",
        n=units,
        unit=f"share of {unit}",
    )


def _counts(
    landing: NDArray[np.bool_], possible: NDArray[np.bool_], prompts: NDArray[np.int64] | None
) -> tuple[int, int, int]:
    """How many units land, how many may, and how many there are."""
    if prompts is None:
        return int(landing.sum()), int(possible.sum()), len(landing)
    units = len(np.unique(prompts))
    even = int(np.ceil(possible.mean() * units - 1e-9))  # as many as if every prompt had equally many generations
    return len(np.unique(prompts[landing])), max(len(np.unique(prompts[possible])), even), units
