"""Figures that published work reports, for comparison only: none is calibrated, none enters a verdict.

A fixed similarity threshold means nothing across encoders and data, a mean cannot see rare copies, and generations
that hit one popular image are one coin. Each estimate's ``method`` begins with "uncalibrated".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, rankdata

from auditor.search.exact import nearest_neighbours
from auditor.search.rows import Rows
from auditor.stats.intervals import clopper_pearson
from auditor.store.parts import Estimate

THRESHOLDS = (0.5, 0.6)
RATIO_ALPHA, RATIO_NEIGHBOURS, MOST_NEIGHBOURS = 0.5, 50, 512
CELLS, CELL_LEAST, CELL_SAMPLE = 3, 20, 4_096


def shares_above(similarity: NDArray[np.float64], level: float) -> list[Estimate]:
    """Share of generations whose most similar training image exceeds 0.5 and 0.6; Float64[G].

    Source:
      Somepalli et al. 2023, arXiv 2212.03860 (0.5); Zhang et al. 2024, arXiv 2310.05264 (0.6); both with SSCD.
    """
    return [
        _share(f"max similarity > {threshold}", int((similarity > threshold).sum()), len(similarity), level)
        for threshold in THRESHOLDS
    ]


def adaptive_ratio(
    generations: NDArray[np.float32],
    training: Rows,
    similarity: NDArray[np.float64],
    index: NDArray[np.int64],
    distinct: NDArray[np.int64],
    level: float,
) -> Estimate:
    """Share of generations nearer to one training image than half their mean distance to the 50 nearest.

    Args:
      generations: Unit vectors Float32[G D].
      training: Unit vectors Float32[n D].
      similarity: Float64[G 50] to each generation's nearest training rows, descending.
      index: Int64[G 50] their rows. The neighbourhood is the candidate's, not that of the training image it resembles.
      distinct: Int64[n] number of each training row's distinct image. Repeats count once, or a repeated image would be
        its copies' whole neighbourhood; where that leaves too few, up to 512 rows are searched.

    Source:
      Carlini et al. 2023, arXiv 2301.13188, section 5.1, alpha = 0.5, n = 50. Differs: distance of unit embeddings,
      sqrt(2 - 2 similarity), where they take pixels.
    """
    distance = [_distances(row, columns, distinct) for row, columns in zip(similarity, index, strict=True)]
    wanted = min(RATIO_NEIGHBOURS, len(np.unique(distinct)))
    short = [position for position, found in enumerate(distance) if len(found) < wanted]
    if short:
        deeper = nearest_neighbours(generations[short], training, MOST_NEIGHBOURS)
        for position, row, columns in zip(short, deeper.similarity, deeper.index, strict=True):
            distance[position] = _distances(row, columns, distinct)
    extracted = sum(len(near) > 1 and bool(near[0] < RATIO_ALPHA * near.mean()) for near in distance)
    return _share("adaptive ratio < 1", extracted, len(similarity), level)


def _distances(
    similarity: NDArray[np.float64], index: NDArray[np.int64], distinct: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Distances to the nearest 50 different images among those found, ascending."""
    _, first = np.unique(distinct[index], return_index=True)
    near = similarity[np.sort(first)[:RATIO_NEIGHBOURS]]
    return np.sqrt(np.maximum(2.0 - 2.0 * near, 0.0))


def nearest_share(
    to_training: NDArray[np.float64], to_holdout: NDArray[np.float64], n: int, m: int, level: float
) -> Estimate:
    """Share of generations nearer to training than to held-out images, as if both sets were of one size ("DCR share").

    With sizes n and m a generator that favours neither wins n / (n + m) of the comparisons, so wins w are turned into
    (w / n) / (w / n + (1 - w) / m): 0.5 without copying, whatever the sizes. A tie counts half; the interval counts
    ties as losses at its lower and wins at its upper end. Float64[G] best similarities to each side.

    Source:
      Platzer and Reutterer 2021, arXiv 2104.00635. Differs: corrected for size, exact binomial interval and p-value.
    """
    name, method = "nearest-neighbour share (DCR share)", "uncalibrated; size-corrected, exact binomial"
    trials = len(to_training)
    if m == 0:
        return Estimate(name=name, value=None, method=method, n=trials, unscored="no held-out images")
    wins, ties = int((to_training > to_holdout).sum()), int((to_training == to_holdout).sum())

    def corrected(share: float) -> float:
        return (share / n) / (share / n + (1.0 - share) / m)

    p_value = binomtest(wins, trials, n / (n + m), "greater").pvalue
    return Estimate(
        name=name,
        value=corrected((wins + ties / 2) / trials),
        lower=corrected(clopper_pearson(wins, trials, level).lower),
        upper=corrected(clopper_pearson(wins + ties, trials, level).upper),
        level=level,
        method=f"{method}, p = {p_value:.3g} one-sided",
        n=trials,
        unit="0.5 = no side favoured",
    )


def data_copying_test(
    generations: NDArray[np.float32],
    to_training: NDArray[np.float64],
    training: Rows,
    holdout: Rows,
) -> Estimate:
    """C_T: standardised rank-sum of generations' against held-out images' distances to training; << 0 = copying.

    Space is cut into 3 cells by k-means on training rows; per cell with more than 20 of either, the Mann-Whitney
    statistic is standardised; cells are averaged by their share of held-out images. Standard normal per cell if
    generations were held-out images. At most 4,096 evenly spaced training and held-out rows are used for the cells
    and the held-out distances.

    Source:
      Meehan, Chaudhuri and Dasgupta 2020, arXiv 2004.05675. Differs: no PCA before the cells.
    """
    name, method = "C_T (data-copying test)", "uncalibrated; 3 cells, standardised Mann-Whitney"
    sample = np.ascontiguousarray(_evenly(holdout))
    score = np.nan
    if len(sample):
        test_to_training = nearest_neighbours(sample, training, 1).similarity[:, 0]
        centres = _cell_centres(np.ascontiguousarray(_evenly(training)).astype(np.float64))
        score = _weighted_rank_score(
            _cell(generations, centres), -to_training, _cell(sample, centres), -test_to_training
        )
    if np.isnan(score):
        return Estimate(name=name, value=None, method=method, unscored="no cell holds more than 20 of both")
    return Estimate(
        name=name, value=score, method=method, n=len(generations), unit="standard deviations; << 0 = copying"
    )


def _weighted_rank_score(
    cell: NDArray[np.int64], distance: NDArray[np.float64], test_cell: NDArray[np.int64], test: NDArray[np.float64]
) -> float:
    """Held-out-weighted mean of the cells' standardised Mann-Whitney statistics, NaN without a usable cell."""
    scores, weights = [], []
    for one in range(CELLS):
        here, there = distance[cell == one], test[test_cell == one]
        g, t = len(here), len(there)
        if min(g, t) > CELL_LEAST:
            farther = rankdata(np.concatenate([here, there]))[:g].sum() - g * (g + 1) / 2  # pairs, ties half
            scores.append((farther - g * t / 2) / np.sqrt(g * t * (g + t + 1) / 12))
            weights.append(t)
    return float(np.average(scores, weights=weights)) if scores else float("nan")


def _cell_centres(rows: NDArray[np.float64], rounds: int = 25) -> NDArray[np.float64]:
    """k-means centres Float64[3 D] from a deterministic start: the first row, then the farthest each time."""
    centres = rows[:1]
    while len(centres) < CELLS:
        centres = np.concatenate([centres, rows[[_squared(rows, centres).min(axis=1).argmax()]]])
    for _ in range(rounds):
        cell = _squared(rows, centres).argmin(axis=1)
        centres = np.stack([rows[cell == k].mean(axis=0) if (cell == k).any() else centres[k] for k in range(CELLS)])
    return centres


def _cell(rows: NDArray[np.float32], centres: NDArray[np.float64]) -> NDArray[np.int64]:
    nearest: NDArray[np.int64] = _squared(rows.astype(np.float64), centres).argmin(axis=1)
    return nearest


def _squared(rows: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared distances Float64[R 3] of unit rows to the centres."""
    result: NDArray[np.float64] = 1.0 + np.square(centres).sum(axis=1) - 2.0 * rows @ centres.T
    return result


def _evenly(rows: Rows) -> NDArray[np.float32]:
    """At most 4,096 evenly spaced rows."""
    return rows[np.arange(0, len(rows), max(1, -(-len(rows) // CELL_SAMPLE)))]


def _share(name: str, hits: int, trials: int, level: float) -> Estimate:
    interval = clopper_pearson(hits, trials, level)
    return Estimate(
        name=name,
        value=hits / trials,
        lower=interval.lower,
        upper=interval.upper,
        level=level,
        method="uncalibrated; Clopper-Pearson",
        n=trials,
        unit="share of generations",
    )
