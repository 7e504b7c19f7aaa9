"""Two samples from one distribution or not, by distances: exact at any size, and against a statistic written out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from auditor.stats.energy import energy_p_value

DEALS = 300


def distances(points: np.ndarray) -> np.ndarray:
    return np.linalg.norm(points[:, None] - points[None], axis=2)


@pytest.mark.parametrize(("ours", "theirs"), [(1, 30), (4, 30), (30, 4), (15, 15)])
def test_samples_of_one_distribution_are_told_apart_no_more_often_than_the_level(ours: int, theirs: int) -> None:
    draw, first = np.random.default_rng([1, ours]), np.arange(ours + theirs) < ours
    found = [
        energy_p_value(distances(draw.exponential(size=(ours + theirs, 3))), first, draw) <= 0.05 for _ in range(DEALS)
    ]
    assert sum(found) <= binom.isf(0.001, DEALS, 0.05)


def test_a_sample_apart_is_seen_even_if_it_is_one_point() -> None:
    draw = np.random.default_rng(2)
    points = draw.standard_normal((151, 3))
    points[0] += 10
    assert energy_p_value(distances(points), np.arange(151) == 0, draw) < 0.02
    points[:5] += 3
    assert energy_p_value(distances(points), np.arange(151) < 5, draw) < 0.01


def test_the_p_value_counts_what_the_means_written_out_count() -> None:
    """Two against two: of the six deals of these points, three pairs of equal statistics, one is as far apart."""
    line = np.array([0.0, 1.0, 10.0, 12.0])
    apart = distances(line[:, None])

    def energy(rows: list[int]) -> float:
        others = [row for row in range(4) if row not in rows]
        means = [np.mean([abs(line[a] - line[b]) for a in x for b in y]) for x, y in
                 ((rows, others), (rows, rows), (others, others))]  # fmt: skip
        return 2 * means[0] - means[1] - means[2]

    pairs = [[a, b] for a in range(4) for b in range(a + 1, 4)]
    for rows in pairs:
        share = np.mean([energy(pair) >= energy(rows) - 1e-9 for pair in pairs])
        found = energy_p_value(apart, np.isin(np.arange(4), rows), np.random.default_rng(3))
        assert found == pytest.approx(share, abs=0.06)
