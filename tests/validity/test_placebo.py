"""The placebo check: honest sets are blocked at their share of 1%, shifted ones are found, weak ones not tested."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from scipy.stats import binom, hypergeom

from auditor.copies.groups import competing, duplicate_groups
from auditor.copies.items import score_items
from auditor.copies.placebo_hits import placebo_hits
from auditor.store.record import Check
from auditor.validity.placebo import holm_checks, placebo_check, placebo_p_value
from tests.copies.worlds import DIM, labels, pool_of, population, unit

REPETITIONS, QUERIES = 500, 60


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Thousands of tiny searches: two threads would mostly wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def audit(rng: np.random.Generator, held_out: np.ndarray, training: np.ndarray, placebo: np.ndarray) -> Check:
    """The placebo check of one audit."""
    vectors = np.concatenate([training, held_out])
    pool = pool_of(vectors, np.arange(len(vectors)) < len(training))
    groups = duplicate_groups(pool, 0.9995)
    hits = placebo_hits(pool, groups, competing(groups, "image"), placebo, duplicate_threshold=0.9995)
    return placebo_check("pixel", hits.queries, hits.training_hits, hits.holdout_hits, hits.n, hits.m)


def test_an_honest_audit_is_blocked_in_one_of_a_hundred_at_most() -> None:
    # One population, split at random into training, competition and placebo slices, 500 times.
    rng, blocked, tested = np.random.default_rng(1), 0, 0
    for _ in range(REPETITIONS):
        everything = population(rng, 260)
        parts = np.split(everything[rng.permutation(260)], [100, 200])
        check = audit(rng, parts[1], parts[0], parts[2])
        tested += check.status != "not tested"
        blocked += holm_checks([check])[0].status == "failed"
    assert tested == REPETITIONS
    assert blocked <= binom.ppf(0.999, REPETITIONS, 0.01)


@pytest.mark.parametrize("by_group", [True, False])
def test_relatives_of_placebo_images_must_not_compete(by_group: bool) -> None:
    # Pairs that are alike, and no near-duplicates, are dealt to one side as one: 100 to training, 150 held out. Slices
    # dealt by pair leave an honest audit alone; dealt image by image, placebo images land on their own twins.
    rng, blocked = np.random.default_rng(4), 0
    for _ in range(REPETITIONS):
        pairs = np.repeat(population(rng, 250)[:, None], 2, axis=1) + 0.02 * rng.standard_normal((250, 2, DIM))
        training, held_out = unit(pairs[:100].reshape(200, DIM)), unit(pairs[100:].reshape(300, DIM))
        order = np.arange(300) if by_group else rng.permutation(300)
        blocked += audit(rng, held_out[order[:200]], training, held_out[order[200:]]).status == "failed"
    if by_group:
        assert blocked <= binom.ppf(0.999, REPETITIONS, 0.01)
    else:
        assert blocked > REPETITIONS / 2


def test_as_many_items_are_examined_whatever_their_labels() -> None:
    # Every held-out image is hit and no training image: no call is possible after 21 of them, and counting goes on.
    rng = np.random.default_rng(5)
    vectors = population(rng, 4_000)
    pool = pool_of(vectors, np.arange(4_000) < 400)
    groups = duplicate_groups(pool, 0.99999)
    competes, queries = competing(groups, "image"), vectors[400:]
    counted = score_items(pool, groups, queries, competes, alpha=None)
    called = score_items(pool, groups, queries, competes, alpha=0.10)
    assert not np.isnan(counted.nearest_other).any()
    assert np.isnan(called.nearest_other).any()


def test_a_held_out_set_of_another_kind_is_found() -> None:
    rng, blocked = np.random.default_rng(2), 0
    for _ in range(30):
        training, other = population(rng, 100), population(rng, 160)[:, ::-1]
        blocked += (
            audit(rng, np.ascontiguousarray(other[:100]), training, np.ascontiguousarray(other[100:])).status
            == "failed"
        )
    assert blocked == 30


def test_queries_that_duplicate_a_pool_image_are_left_out() -> None:
    rng = np.random.default_rng(3)
    vectors = population(rng, 200)
    pool = pool_of(vectors, labels(rng, 200, 100))
    groups = duplicate_groups(pool, 0.9995)
    queries = np.concatenate([vectors[:20], population(rng, 30)])
    hits = placebo_hits(pool, groups, competing(groups, "image"), queries, duplicate_threshold=0.9995)
    assert (hits.queries, hits.duplicates) == (30, 20)


def test_p_value_is_twice_the_hypergeometric_tail() -> None:
    # 18 of 20 hits on training items, 100:100: P(T >= 18) from scipy's pmf, doubled.
    tail = hypergeom.pmf([18, 19, 20], 200, 100, 20).sum()
    assert placebo_p_value(18, 2, 100, 100) == pytest.approx(2 * tail)
    assert placebo_p_value(2, 18, 100, 100) == pytest.approx(2 * tail)
    assert placebo_p_value(10, 10, 100, 100) == 1.0


@pytest.mark.parametrize(("training_hits", "holdout_hits", "n", "m"), [(0, 0, 100, 100), (3, 2, 100, 100)])
def test_too_few_hits_are_not_tested(training_hits: int, holdout_hits: int, n: int, m: int) -> None:
    # Five hits on one side: 2 * C(100, 5) / C(200, 5) = 0.06 > 0.01.
    check = placebo_check("pixel", 60, training_hits, holdout_hits, n, m)
    assert check.status == "not tested"
    assert check.p_value is None
    assert "cannot show" in check.power


def test_too_few_queries_are_not_tested() -> None:
    assert placebo_check("pixel", 49, 20, 20, 100, 100).status == "not tested"


def test_the_power_text_names_the_counts_that_block() -> None:
    check = placebo_check("pixel", 60, 25, 25, 1_000, 1_000)
    least = int(check.power.split(" or more")[0])
    assert placebo_check("pixel", 60, least, 50 - least, 1_000, 1_000).status == "failed"
    assert placebo_check("pixel", 60, least - 1, 51 - least, 1_000, 1_000).status == "passed"


def test_holm_over_the_family() -> None:
    # p = 0.004, 0.006, and an untested check: adjusted 2 * 0.004 = 0.008 fails, max(0.008, 0.006) = 0.008 fails too;
    # alone at three tested checks 3 * 0.004 = 0.012 would pass.
    def check(p: float | None) -> Check:
        status = "not tested" if p is None else "passed"
        return Check(id="placebo", title="t", encoder=None, status=status, statement="s", p_value=p)

    two = holm_checks([check(0.004), check(None), check(0.006)])
    assert [c.status for c in two] == ["failed", "not tested", "failed"]
    assert [c.p_adjusted for c in two] == [pytest.approx(0.008), None, pytest.approx(0.008)]
    three = holm_checks([check(0.004), check(0.5), check(0.006)])
    assert [c.status for c in three] == ["passed"] * 3


@pytest.mark.parametrize(("p_value", "status"), [(0.004, "failed"), (0.008, "not tested"), (0.5, "not tested")])
def test_an_underpowered_check_can_fail_and_never_passes(p_value: float, status: str) -> None:
    # It counts in the family whatever its p-value: 2 * 0.008 > 0.01 is no failure, and no pass either.
    weak = Check(id="blind", title="t", encoder=None, status="not tested", statement="s", p_value=p_value)
    strong = Check(id="placebo", title="t", encoder=None, status="passed", statement="s", p_value=0.009)
    judged = holm_checks([weak, strong])
    assert judged[0].status == status
    assert judged[1].status == ("failed" if status == "failed" else "passed")
