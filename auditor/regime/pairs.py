"""Two columns of answers to the same probes: similarities of matched and mismatched answers, G x G but never held.

l_i, r_i    unit embeddings of the left and the right column's answer to probe i, centred; G probes
matched     <l_i, r_i>
mismatched  <l_i, r_j>, i != j: answers to different noise
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from auditor.search.index import check_comparable, unit_blocks

BLOCK_ROWS = 256  # rows of the G x G matrix in memory at a time: 20 MB at G = 10,000
SAME = 1e-6  # float32 embeddings do not resolve less, neither as a length nor as a difference of similarities

Rows = NDArray[np.float64]


def centred(rows: NDArray[np.float32], name: str = "embeddings") -> Rows:
    """Unit rows Float32[G D] without their mean, at unit length again; Float64[G D].

    Embeddings of one kind of image share most of their direction; without it, answers to different noise have a
    similarity of 0 on average, or rather -matched / (G - 1), since the mean comes from these very rows. A row equal to
    the mean becomes 0 and is similar to nothing.

    Raises:
      DataError: Not float32, or a row is no unit vector.
    """
    check_comparable(**{name: rows})
    for _ in unit_blocks(rows, 65_536, name):
        pass
    if len(rows) == 0:
        return rows.astype(np.float64)
    shifted = rows.astype(np.float64)
    shifted -= shifted.mean(axis=0)
    length = np.linalg.norm(shifted, axis=1, keepdims=True)
    return np.where(length > SAME, shifted / np.maximum(length, SAME), 0.0)


def matched_similarity(left: Rows, right: Rows) -> NDArray[np.float64]:
    """Float64[G]: <l_i, r_i>."""
    result: NDArray[np.float64] = np.einsum("gd,gd->g", left, right)
    return result


def mismatched_pseudovalues(left: Rows, right: Rows) -> NDArray[np.float64]:
    """Jackknife pseudo-values Float64[G] of the mean over all mismatched pairs, G >= 3; their mean is that mean.

    sum_{i != j} <l_i, r_j> = <sum l, sum r> - sum <l_i, r_i>, so the exact mean over G (G - 1) pairs, and that without
    each probe, takes G inner products. A pair shares its probes with others, therefore the probe is the unit. The
    jackknife's variance is never too small on average (Efron and Stein 1981, Annals of Statistics 9).
    """
    g, own = len(left), matched_similarity(left, right)
    total_left, total_right = left.sum(axis=0), right.sum(axis=0)
    whole = float(total_left @ total_right) - own.sum()
    without = whole - left @ total_right - right @ total_left + 2 * own
    pseudo: NDArray[np.float64] = whole / (g - 1) - without / (g - 2)
    return pseudo


def exceeded_by(left: Rows, right: Rows, share: float) -> float:
    """Least similarity that at most ``share`` of all G (G - 1) mismatched pairs exceed; exact, G >= 2.

    Keeps the largest share * G (G - 1) + 1 similarities while the pairs stream by.
    """
    keep = math.floor(share * len(left) * (len(left) - 1) + 1e-9) + 1  # 0.01 is not a binary fraction
    top = np.empty(0)
    for _, block in _mismatched(left, right):
        values = block[np.isfinite(block)]
        if len(top) == keep:
            values = values[values > top.min()]
        top = np.concatenate([top, values])
        if len(top) > keep:
            top = np.partition(top, len(top) - keep)[-keep:]
    return float(top.min())


def share_above(left: Rows, right: Rows, threshold: float) -> float:
    """Share of all mismatched pairs whose similarity exceeds a threshold; exact, G >= 2."""
    above = sum(int((block > threshold).sum()) for _, block in _mismatched(left, right))
    return above / (len(left) * (len(left) - 1))


def identified(left: Rows, right: Rows) -> NDArray[np.bool_]:
    """Bool[G]: the right's answer to probe i is the most similar to l_i of all its answers; a tie counts against it."""
    own = matched_similarity(left, right)
    rival = np.empty(len(left))
    for start, block in _mismatched(left, right):
        rival[start : start + len(block)] = block.max(axis=1)
    result: NDArray[np.bool_] = own > rival + SAME
    return result


def shifted_similarity(left: Rows, right: Rows, shifts: int) -> NDArray[np.float64]:
    """Similarities <l_i, r_(i + s mod G)> for s = 1..shifts: a part of the mismatched pairs that uses probes evenly."""
    used = min(shifts, len(left) - 1)
    return np.concatenate([matched_similarity(left, np.roll(right, -s, axis=0)) for s in range(1, used + 1)])


def _mismatched(left: Rows, right: Rows) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """(first row, similarities Float64[B G]) block by block, -inf where both answers are to the same noise."""
    for start in range(0, len(left), BLOCK_ROWS):
        block = left[start : start + BLOCK_ROWS] @ right.T
        rows = np.arange(len(block))
        block[rows, start + rows] = -np.inf
        yield start, block
