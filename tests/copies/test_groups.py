"""Duplicate groups: what belongs together, what does not, and that labels and order have no say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from auditor.copies import groups as module
from auditor.copies.groups import GroupClass, Groups, competing, duplicate_groups
from auditor.copies.pool import Pool
from tests.copies.worlds import pool_of, population, unit


def circle(*degrees: float) -> np.ndarray:
    """Unit vectors Float32[N 2] at given angles: similarity = cosine of the difference."""
    angle = np.deg2rad(degrees)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


def partition(pool: Pool, groups: Groups) -> set[frozenset[str]]:
    return {frozenset(np.array(pool.ids)[groups.group == g].tolist()) for g in range(len(groups))}


def test_members_resemble_their_leader_and_chains_do_not_percolate() -> None:
    # 0, 4, 8, 12 degrees at threshold cos 5: neighbours are pairs, ends are not. The leader order is the digests'.
    pool = pool_of(circle(0, 4, 8, 12), np.ones(4, np.bool_))
    groups = duplicate_groups(pool, float(np.cos(np.deg2rad(5))))
    # 0 leads and takes 4; 8 is not paired with a leader but 4 (a member), so it leads and takes 12
    assert partition(pool, groups) == {frozenset("01"), frozenset("23")}


def test_against_plain_leader_clustering() -> None:
    rng = np.random.default_rng(1)
    vectors = population(rng, 300)
    threshold = 0.85
    digest = rng.permutation(300)
    leader: dict[int, int] = {}
    for row in np.argsort(digest):  # the same in plain words
        leads = [one for one in leader if leader[one] == one and float(vectors[row] @ vectors[one]) >= threshold]
        leader[int(row)] = min(leads, key=lambda one: digest[one]) if leads else int(row)
    expected = {frozenset(str(r) for r in leader if leader[r] == one) for one in set(leader.values())}
    pool = pool_of(vectors, rng.random(300) < 0.5, digest)
    found = partition(pool, duplicate_groups(pool, threshold))
    assert found == expected
    assert 10 < len(found) < 295  # the case does have groups


def test_labels_and_order_have_no_say() -> None:
    rng = np.random.default_rng(2)
    vectors, digest = population(rng, 200), rng.permutation(200)
    partitions = []
    for _ in range(4):
        pool = pool_of(vectors, rng.random(200) < 0.5, digest)
        partitions.append(partition(pool, duplicate_groups(pool, 0.85)))
    assert all(one == partitions[0] for one in partitions)


def test_equal_pixels_are_one_group_whatever_the_encoder_says() -> None:
    pool = pool_of(circle(0, 90, 180), np.array([True, True, False]), np.array([7, 7, 9]))
    groups = duplicate_groups(pool, 0.999)
    assert partition(pool, groups) == {frozenset("01"), frozenset("2")}
    assert (groups.images.max(), groups.distinct.max()) == (2, 1)


def test_classes() -> None:
    pool = pool_of(circle(0, 1, 90, 91, 180), np.array([True, False, True, True, False]))
    groups = duplicate_groups(pool, 0.999)
    kind = {frozenset(np.array(pool.ids)[groups.group == g]): groups.kind[g] for g in range(len(groups))}
    assert kind == {
        frozenset("01"): GroupClass.MIXED,
        frozenset("23"): GroupClass.TRAINING,
        frozenset("4"): GroupClass.HELD_OUT,
    }


@pytest.mark.parametrize(
    ("split", "mixed", "expected"),
    [
        # single, repeated (1 distinct image twice), near-duplicates (2 distinct), held-out near-duplicates, mixed
        ("group", False, [True, True, True, True]),
        ("group", True, [True, True, False, False, False]),
        ("image", False, [True, False, False, False]),
        ("unknown", True, [True, False, False, False, False]),
    ],
)
def test_which_groups_compete(split: str, mixed: bool, expected: list[bool]) -> None:
    images, distinct, kind = [1, 2, 2, 2], [1, 1, 2, 2], [GroupClass.TRAINING] * 3 + [GroupClass.HELD_OUT]
    if mixed:
        images, distinct, kind = [*images, 2], [*distinct, 2], [*kind, GroupClass.MIXED]
    groups = Groups(np.zeros(0, np.int64), np.array(images), np.array(distinct), np.array(kind), percolated=False)
    assert competing(groups, split).tolist() == expected


def test_look_alikes_without_end_are_noticed_and_only_equal_pixels_grouped(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    vectors = unit(np.ones((300, 8)) + 0.001 * rng.standard_normal((300, 8)))  # 44,850 pairs, 150 per image
    pool = pool_of(vectors, rng.random(300) < 0.5, np.r_[0, np.arange(299)])
    groups = duplicate_groups(pool, 0.99)
    assert groups.percolated
    assert len(groups) == 299
    assert "does not separate" in groups.notes()[0]
    monkeypatch.setattr(module, "PAIRS_PER_IMAGE", 200)
    assert len(duplicate_groups(pool, 0.99)) == 1


def test_a_group_over_one_percent_of_the_pool_is_to_be_looked_at() -> None:
    # 300 distinct images: the limit is 10. A group of 11 repeats is one too many, forty of 7,560 is not.
    sizes = np.r_[11, np.ones(300, np.int64)]
    groups = Groups(np.zeros(0, np.int64), sizes, np.ones(301, np.int64), np.zeros(301, np.int64), percolated=False)
    assert "11 images" in groups.notes()[0]
    more = replace(groups, images=np.r_[11, 12, np.ones(299, np.int64)])
    assert more.notes() == ["2 duplicate groups hold over 1% of the pool each, the largest 12 images: look at them."]
    fine = replace(groups, images=np.r_[40, np.ones(5_999, np.int64)], distinct=np.ones(6_000, np.int64))
    assert fine.notes() == []


def test_a_duplicate_that_was_set_aside_still_makes_a_group() -> None:
    # 0 (training) and 2 (held out, set aside) are one thing; 1 is alone.
    everything = pool_of(circle(0, 90, 1), np.array([True, False, False]))
    forgotten = duplicate_groups(everything.first(2), 0.99)
    groups = duplicate_groups(everything, 0.99, rows=2)
    assert forgotten.kind[forgotten.group[0]] == GroupClass.TRAINING and forgotten.images.tolist() == [1, 1]
    assert len(groups) == 2 and groups.kind[groups.group[0]] == GroupClass.MIXED
    assert groups.images[groups.group].tolist() == [2, 1]
    assert competing(groups, "image")[groups.group].tolist() == [False, True]
