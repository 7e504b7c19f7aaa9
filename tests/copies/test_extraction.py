"""Extraction's competition: margins, error control over several attacks, matching by difficulty."""

from __future__ import annotations

import numpy as np
import pytest

from auditor.copies.extraction import conformal, decide_extraction, margins, match


def test_a_margin_is_the_log_ratio_of_distances() -> None:
    """Similarity 0.98 is a distance of 0.2, 0.92 of 0.4: twice as near is log 2."""
    found = margins(np.array([[0.98, 0.92, 1.0, np.nan]]), np.array([0.92, 0.92, 0.92, 0.92]))
    assert found[0, 0] == pytest.approx(np.log(2))
    assert found[0, 1] == pytest.approx(0)
    assert found[0, 2] == pytest.approx(np.log(0.4 / 1e-3))  # an exact answer is as near as pixels can be told apart
    assert found[0, 3] == -np.inf  # no answer is no hit


def test_named_records_that_come_back_are_called_whichever_attack_does_it() -> None:
    """Five records by the first attack, five others by the second, against 300 held-out images."""
    rng = np.random.default_rng(0)
    margin = rng.normal(0, 0.3, (3, 320))
    margin[0, :5] += 4
    margin[1, 5:10] += 4
    outcome = decide_extraction(margin, 20)
    assert outcome.certified[:10].all() and outcome.certified[10:].sum() <= 3
    assert (outcome.q_value[:10] <= 0.10).all()
    assert 2 <= outcome.lower_bound <= 5  # of the best attack alone


def test_the_false_share_stays_at_its_level() -> None:
    """300 worlds of 20 records, 6 of them extracted by one of four attacks, the rest like held-out images."""
    rng = np.random.default_rng(1)
    shares, beyond = [], 0
    for _ in range(300):
        margin = rng.normal(0, 1, (4, 520))
        margin[rng.integers(0, 4), :6] += 6
        outcome = decide_extraction(margin, 20, alpha=0.2)
        called = outcome.certified
        shares.append(called[6:].sum() / max(called.sum(), 1))
        beyond += outcome.lower_bound > 6
    assert np.mean(shares) <= 0.2 + 3 * np.std(shares) / np.sqrt(300)
    assert beyond <= 25  # 15 on average at most; more than 25 has probability 0.005


def test_without_a_trace_of_training_hardly_anything_is_called() -> None:
    """Records like held-out images in 300 worlds: something is called in at most a tenth of them."""
    rng = np.random.default_rng(2)
    outcomes = [decide_extraction(rng.normal(0, 1, (5, 310)), 10) for _ in range(300)]
    assert sum(outcome.certified.any() for outcome in outcomes) <= 45  # 30 on average at most
    assert sum(outcome.lower_bound > 0 for outcome in outcomes) <= 27  # 15 on average at most


def test_a_single_record_needs_as_many_held_out_images_as_attacks_over_alpha() -> None:
    record = np.full((5, 1), 9.0)
    assert decide_extraction(np.hstack([record, np.zeros((5, 50))]), 1).certified[0]
    assert not decide_extraction(np.hstack([record, np.zeros((5, 40))]), 1).certified[0]


def test_p_values_count_held_out_hits_only_and_spare_records_that_are_none() -> None:
    margin = np.array([[1.0, -0.5, 0.5, 2.0, -1.0]])
    assert conformal(margin, 2).tolist() == [[2 / 4, 1.0]]


def test_matching_deals_the_most_alike_without_replacement() -> None:
    records = np.array([[0.0], [10.0]])
    candidates = np.array([[9.0], [0.2], [11.0], [0.1], [5.0]])
    first, second = match(records, candidates, 4)
    assert first.tolist() == [3, 1] and second.tolist() == [0, 2]
    everything = match(records, candidates, 100)
    assert sorted(np.concatenate(everything).tolist()) == [0, 1, 2, 3, 4]


def test_matching_without_spread_still_deals() -> None:
    assert [len(rows) for rows in match(np.zeros((3, 2)), np.zeros((7, 2)), 7)] == [3, 2, 2]
