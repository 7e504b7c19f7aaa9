"""Placebo check: held-out images used as if generated must hit both sides in proportion to their sizes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import hypergeom

from auditor.stats.multiple import holm
from auditor.store.record import Check

LEAST_QUERIES = 50
FAMILYWISE = 0.01  # probability that any blocking check stops an honest audit


def placebo_p_value(training_hits: int, holdout_hits: int, n: int, m: int) -> float:
    """Two-sided p-value of a split of hits, given their sum, against n training and m held-out items.

    Given the items that were hit, how many are training items is hypergeometric if labels are exchangeable; the unit is
    the item, so queries that hit one popular image count once. Twice the smaller tail, at most 1. Both tails matter:
    placebo images come from the held-out set, so where that set differs from the training set they favour the
    held-out side, while a generator of the training set's kind would favour training items without any copying.
    """
    hits = training_hits + holdout_hits
    upper = float(hypergeom.sf(training_hits - 1, n + m, n, hits))
    lower = float(hypergeom.cdf(training_hits, n + m, n, hits))
    return min(1.0, 2.0 * min(upper, lower))


def placebo_check(
    encoder: str, queries: int, training_hits: int, holdout_hits: int, n: int, m: int, *, level: float = FAMILYWISE
) -> Check:
    """The check before its p-value is adjusted (:func:`holm_checks`).

    ``"not tested"`` where even hits on one side only would not reach ``level`` on either side, or where fewer than 50
    queries were left.
    """
    hits = training_hits + holdout_hits
    statement = (
        f"Of {queries:,} held-out images used as if generated, {training_hits:,} hit training items and "
        f"{holdout_hits:,} held-out items; {n:,} and {m:,} compete."
    )
    least, most = _blocking_counts(hits, n, m, level)
    if queries < LEAST_QUERIES or (least is None and most is None):
        power = f"{queries:,} queries with {hits:,} hits cannot show a shift at {level:.0%} with {n:,}:{m:,} items."
        return Check(
            id="placebo", title="Placebo queries hit both sides", encoder=encoder, status="not tested",
            statement=statement, power=power,
        )  # fmt: skip
    p_value = placebo_p_value(training_hits, holdout_hits, n, m)
    sides = [f"{least:,} or more" if least is not None else "", f"{most:,} or fewer" if most is not None else ""]
    return Check(
        id="placebo",
        title="Placebo queries hit both sides",
        encoder=encoder,
        status="failed" if p_value <= level else "passed",
        statement=statement,
        p_value=p_value,
        p_adjusted=p_value,
        power=f"{' or '.join(filter(None, sides))} training hits among {hits:,} would block "
        f"({hits * n / (n + m):.1f} expected).",
    )


def _blocking_counts(hits: int, n: int, m: int, level: float) -> tuple[int | None, int | None]:
    """(least, most) training hits that block from above and from below; None where no count does."""
    counts = np.arange(max(0, hits - m), min(hits, n) + 1)
    above = counts[2 * hypergeom.sf(counts - 1, n + m, n, hits) <= level]
    below = counts[2 * hypergeom.cdf(counts, n + m, n, hits) <= level]
    return (int(above.min()) if len(above) else None), (int(below.max()) if len(below) else None)


def holm_checks(checks: Sequence[Check], familywise: float = FAMILYWISE) -> list[Check]:
    """The same checks, p-values adjusted over all that have one, and failed where the adjusted value is <= 1%.

    Checks without a p-value keep their status. One that was underpowered ("not tested") belongs to the family: whether
    it does may not depend on its p-value. It fails like any other, and never passes. Where every hypothesis tested is
    true, any check fails with probability <= ``familywise``, whatever their dependence.
    """
    tested = [index for index, check in enumerate(checks) if check.p_value is not None]
    adjusted = holm([checks[index].p_value or 0.0 for index in tested])
    result = list(checks)
    for index, p_adjusted in zip(tested, adjusted, strict=True):
        otherwise = "not tested" if checks[index].status == "not tested" else "passed"
        status = "failed" if p_adjusted <= familywise else otherwise
        result[index] = checks[index].model_copy(update={"p_adjusted": float(p_adjusted), "status": status})
    return result
