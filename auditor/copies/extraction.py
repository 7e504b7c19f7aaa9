"""Named records against matched held-out images: is what an attack brings back more than it brings back of any image?

    d_i(a)    distance of the nearest answer of attack a to image i, sqrt(2 - 2 similarity)
    o_i       distance of i to the nearest other real image, duplicates of it aside
    margin    log(o_i / d_i(a)), larger = nearer; above 0 the answer is nearer to i than any other real image is

An attack shows the network a part of the record. So the margin of a record alone says nothing: the same attack brings
back a part of any image. Records therefore compete, attack by attack, with held-out images that were attacked
likewise (:mod:`auditor.copies.compete`). A attacks share the error: each is called at alpha / A and bounded at
1 - (1 - level) / A. The union of their calls keeps the false discovery rate alpha, since its false share is at most the
sum of the attacks' own; and the largest of their bounds holds with all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditor.copies.compete import Contest, compete

NEAREST = 1e-3  # least distance that counts: pixels are rounded to 256 levels


@dataclass(frozen=True)
class Outcome:
    """All attacks together, over n records and m held-out images."""

    contests: list[Contest]  # one per attack
    q_value: NDArray[np.float64]  # [n] over all attacks; NaN where no attack hit
    p_value: NDArray[np.float64]  # [A n] per attack
    certified: NDArray[np.bool_]  # [n]
    lower_bound: int  # at least so many records are extracted
    best: int  # attack that the bound is from


def margins(similarity: NDArray[np.float64], nearest_other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Margins Float64[A N] of answers' similarities Float64[A N]; NaN similarities (no answer) give -inf."""
    answer = np.maximum(distance(np.where(np.isnan(similarity), -1.0, similarity)), NEAREST)
    found = np.log(np.maximum(distance(nearest_other), NEAREST) / answer)
    return np.where(np.isnan(similarity), -np.inf, found)


def distance(similarity: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of unit vectors with that inner product."""
    return np.sqrt(np.maximum(2.0 - 2.0 * similarity, 0.0))


def decide_extraction(
    margin: NDArray[np.float64], records: int, *, alpha: float = 0.10, level: float = 0.95
) -> Outcome:
    """Which records are extracted, over all attacks.

    Args:
      margin: Float64[A N], the records first, then the held-out images.
      records: n of the N.
      alpha: False discovery rate of all records called, by whichever attack.
      level: Confidence of the lower bound, over all attacks together.
    """
    attacks, total = margin.shape
    is_record = np.arange(total) < records
    contests = [
        compete(row, row > 0, is_record, alpha=alpha / attacks, level=1 - (1 - level) / attacks) for row in margin
    ]
    each = np.stack([contest.q_value[:records] for contest in contests])
    q_value = np.minimum(attacks * np.fmin.reduce(each, axis=0), 1.0)
    bounds = [contest.lower_bound for contest in contests]
    best = int(np.argmax(bounds))
    certified = np.any([contest.certified[:records] for contest in contests], axis=0)
    return Outcome(contests, q_value, conformal(margin, records), certified, bounds[best], best)


def conformal(margin: NDArray[np.float64], records: int) -> NDArray[np.float64]:
    """(1 + held-out hits with at least that margin) / (1 + m), Float64[A n]; 1 for records that are no hits."""
    found = np.ones((len(margin), records))
    for attack, row in enumerate(margin):
        held = np.sort(row[records:][row[records:] > 0])
        above = len(held) - np.searchsorted(held, row[:records], side="left")
        found[attack] = np.where(row[:records] > 0, (1.0 + above) / (1.0 + len(row) - records), 1.0)
    return found


def match(records: NDArray[np.float64], candidates: NDArray[np.float64], count: int) -> list[NDArray[np.int64]]:
    """Candidates most like each record in difficulty, without replacement, dealt in rounds: Int64 rows per record.

    Args:
      records: Float64[n D] measures of difficulty that know no labels and no model.
      candidates: Float64[M D] the same of held-out images; distances are in units of their interquartile ranges.
      count: Wanted over all records; all candidates are dealt if there are no more, none if there are no records.
    """
    low, middle, high = np.quantile(candidates, [0.25, 0.5, 0.75], axis=0)
    scale = np.where(high > low, high - low, 1.0)
    ours, theirs = (records - middle) / scale, (candidates - middle) / scale
    free = np.ones(len(candidates), np.bool_)
    dealt: list[list[int]] = [[] for _ in records]
    for turn in range(min(count, len(candidates)) if len(records) else 0):
        record = turn % len(records)
        gap = np.abs(theirs - ours[record]).sum(axis=1)
        gap[~free] = np.inf
        chosen = int(gap.argmin())
        free[chosen] = False
        dealt[record].append(chosen)
    return [np.array(rows, np.int64) for rows in dealt]
