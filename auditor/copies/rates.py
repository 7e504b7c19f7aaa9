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


def copy_rate(landing: int, possible: int, generations: int, recall: Estimate, level: float) -> Estimate:
    """Share of generations that land on copied items, its upper bound corrected for copies that were missed.

    A single item that no competition can certify may still be what half of the generations show. So the value and the
    lower end count what is certified or verbatim, the upper end also items that may be copied.

    Args:
      landing: Generations whose nearest pool image is a certified or verbatim item.
      possible: These, and generations on items that may be copied (:func:`auditor.copies.summary.possible_copies`).
      generations: Independent generations, at least 1.
      recall: Of planted copies; the bound is divided by its lower bound, and is 1 where that is 0 or missing.
      level: Confidence of the interval, and of the recall's bound. Without a landing it is one-sided:
        upper = 1 - (1 - level)^(1 / generations), before the division.
    """
    lower = clopper_pearson(landing, generations, level, "two-sided").lower
    most = clopper_pearson(possible, generations, level, "upper" if possible == 0 else "two-sided").upper
    upper = min(1.0, most / recall.lower) if recall.lower else 1.0
    return Estimate(
        name="copy rate",
        value=landing / generations,
        lower=lower,
        upper=upper,
        level=level,
        method=f"Clopper-Pearson, the upper end over {possible} generations on items that are "
        "certified, verbatim or may be copied, divided by the lower bound of the planted copies' recall",
        n=generations,
        unit="share of generations",
    )
