"""Shares per cluster against plain counting, and their joint coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest

from auditor.regime.agreement import mismatched_chance, together
from auditor.regime.clusters import cluster_shares
from auditor.stats.intervals import clopper_pearson


def test_clusters_split_the_probes_by_what_the_memorizer_reaches() -> None:
    landing = np.array([0, 1, 2, 3, -1, 0])
    memorizer = np.array([0, 1, 0, 3, 3, 2])
    cluster = np.array([0, 0, 0, 2, 2, -1])  # of items 0 and 1, of 3; item 2 has no label
    shirt, shoe, bag = cluster_shares(landing, memorizer, cluster, ["shirt", "shoe", "bag"])
    assert (shirt.cluster, shirt.share.value, shirt.share.n) == ("shirt", pytest.approx(2 / 3), 3)
    assert shoe.share.value is None and "reaches this cluster" in (shoe.share.unscored or "") and shoe.chance == 0.0
    assert bag.share.value == 0.5
    assert (bag.share.lower, bag.share.upper) == pytest.approx(clopper_pearson(1, 2, 1 - 0.05 / 3))
    # Other probes that land on 0, 1, 0: 1 + 0 + 2 of 3 x 5
    assert shirt.chance == pytest.approx(3 / 15)


def test_chance_averages_to_that_of_all_probes() -> None:
    rng = np.random.default_rng(1)
    landing, memorizer = rng.integers(-1, 12, 300), rng.integers(0, 12, 300)
    shares = cluster_shares(landing, memorizer, memorizer % 4, ["a", "b", "c", "d"])
    weighted = sum(part.chance * part.share.n for part in shares) / 300
    assert weighted == pytest.approx(mismatched_chance(landing, memorizer), abs=1e-12)
    total = sum(part.share.value * part.share.n for part in shares)
    assert total == pytest.approx(together(landing, memorizer).sum())


def test_what_is_memorised_in_one_cluster_shows_there_alone() -> None:
    rng = np.random.default_rng(2)
    memorizer = rng.integers(0, 100, 1_000)
    cluster = memorizer // 20
    landing = np.where((cluster == 3) & (rng.random(1_000) < 0.8), memorizer, rng.integers(-1, 100, 1_000))
    shares = cluster_shares(landing, memorizer, cluster, [f"cluster {k}" for k in range(5)])
    assert [part.share.lower > 0.5 for part in shares] == [False, False, False, True, False]
    assert all(part.share.upper < 0.1 for k, part in enumerate(shares) if k != 3)


def test_all_intervals_hold_together() -> None:
    rng = np.random.default_rng(3)
    truth, repetitions = np.array([0.0, 0.02, 0.2, 0.5, 0.9]), 300
    missed = 0
    for _ in range(repetitions):
        memorizer = rng.integers(0, 100, 400)
        cluster = memorizer // 20
        landing = np.where(rng.random(400) < truth[cluster], memorizer, -1)
        shares = cluster_shares(landing, memorizer, cluster, list("abcde"))
        missed += not all(part.share.lower <= p <= part.share.upper for part, p in zip(shares, truth, strict=True))
    assert missed / repetitions < 0.05 + 2 * math.sqrt(0.05 * 0.95 / repetitions)


def test_no_clusters_and_no_probes() -> None:
    none = np.empty(0, np.int64)
    assert cluster_shares(none, none, none, []) == []
    assert cluster_shares(none, none, none, ["a"])[0].share.value is None
