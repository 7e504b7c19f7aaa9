"""The promises of the copy decision, by repetition: no copies, no calls; with copies, few false ones.

Each case is 500 seeded repetitions with fresh labels. Bounds are the nominal level plus the 99.9% quantile of the
binomial (or, for means, four standard errors), so a correct procedure fails one case in a thousand at most and an
incorrect one is shown to be far outside by the controls at the end.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom

from auditor.copies.groups import GroupClass, Groups, competing
from auditor.copies.pool import Pool
from tests.copies.worlds import (
    NULL_GENERATORS,
    Arena,
    GroupedArena,
    blurred,
    copies_of,
    full_contest,
    hub_seeking,
    labels,
    pool_of,
)

REPETITIONS = 500
ALPHA, LEVEL = 0.10, 0.95
RATIOS = [(300, 300), (500, 50), (50, 500)]  # 1:1, 10:1, 1:10
CALLS_ALLOWED = int(binom.ppf(0.999, REPETITIONS, ALPHA))  # 72 of 500 for 0.10
BOUNDS_ALLOWED = int(binom.ppf(0.999, REPETITIONS, 1 - LEVEL))  # 41 of 500 for 0.05


def null_repetitions(generator: str, n: int, m: int) -> tuple[int, int]:
    """(repetitions with any call, repetitions with X > 0) without copies: ten pools, fifty splits each."""
    rng = np.random.default_rng([n, m, *generator.encode()])
    calls = bounds = 0
    for repetition in range(REPETITIONS):
        if repetition % 50 == 0:
            arena = Arena(rng, n + m)
        score = arena.score(NULL_GENERATORS[generator](rng, arena.pool, 400))
        contest = arena.contest(score, labels(rng, n + m, n), ALPHA)
        calls += bool(contest.certified.any())
        bounds += contest.lower_bound > 0
    return calls, bounds


@pytest.mark.parametrize(("n", "m"), RATIOS)
@pytest.mark.parametrize("generator", NULL_GENERATORS)
def test_without_copies_calls_are_as_rare_as_promised(generator: str, n: int, m: int) -> None:
    calls, bounds = null_repetitions(generator, n, m)
    assert calls <= CALLS_ALLOWED
    assert bounds <= BOUNDS_ALLOWED


def test_the_nominal_level_is_nearly_used_up() -> None:
    # Not trivially true: at 1:10 the floor is one hit, so P(any call) is at least P(first hit is training) = 1/11.
    calls, _ = null_repetitions("blurred", 50, 500)
    assert calls >= binom.ppf(0.001, REPETITIONS, 1 / 11)


class Planted:
    """Five hundred audits of a model that copies ``copied`` of n training items, some of them badly."""

    def __init__(self, generator: str, n: int, m: int, copied: int) -> None:
        rng = np.random.default_rng([n, m, copied, *generator.encode()])
        self.false_share, self.found, self.bound = (np.empty(REPETITIONS) for _ in range(3))
        for repetition in range(REPETITIONS):
            if repetition % 100 == 0:
                arena = Arena(rng, n + m)
                others = arena.score(NULL_GENERATORS[generator](rng, arena.pool, 1_000))
            is_training = labels(rng, n + m, n)
            copies = rng.choice(np.flatnonzero(is_training), copied, replace=False)
            noise = 0.005 * 4 ** rng.random((copied, 1))  # from faithful to as far as a neighbour is
            score = np.maximum(others, arena.score(copies_of(rng, arena.pool[copies], noise)))
            contest = arena.contest(score, is_training, ALPHA)
            called = np.flatnonzero(contest.certified)
            true = np.isin(called, copies).sum()
            self.found[repetition] = true / copied
            self.false_share[repetition] = (len(called) - true) / max(len(called), 1)
            self.bound[repetition] = contest.lower_bound


@pytest.mark.slow
@pytest.mark.parametrize(("n", "m", "copied"), [(2_000, 4_000, 40), (128, 2_000, 115)])
@pytest.mark.parametrize("generator", NULL_GENERATORS)
def test_copies_are_found_and_few_others_called(generator: str, n: int, m: int, copied: int) -> None:
    audits = Planted(generator, n, m, copied)
    error = 4 * audits.false_share.std() / np.sqrt(REPETITIONS)
    assert audits.false_share.mean() <= ALPHA + error
    assert (audits.bound > copied).sum() <= BOUNDS_ALLOWED
    assert audits.found.mean() > 0.9
    assert audits.bound.mean() > 0.8 * copied


def test_groups_compete_as_one_item_after_a_split_by_group() -> None:
    # 40 groups of 3, 400 singles; 4:1 by group; the generator seeks the groups, which labels do not decide.
    rng = np.random.default_rng(11)
    arena = GroupedArena(rng, 40, 3, 400)
    calls = bounds = 0
    for _ in range(REPETITIONS):
        is_training = labels(rng, 440, 352)[arena.cluster]
        popular = copies_of(rng, arena.vectors[rng.choice(120, 100)], 0.01)
        generations = np.concatenate([popular, blurred(rng, arena.vectors, 100)])
        contest = arena.contest(generations, is_training, lambda groups: competing(groups, "group"))
        assert (contest.n, contest.m) == (352, 88)
        calls += bool(contest.certified.any())
        bounds += contest.lower_bound > 0
    assert calls <= CALLS_ALLOWED
    assert bounds <= BOUNDS_ALLOWED


def image_split_calls(rule: Callable[[Groups], NDArray[np.bool_]], repetitions: int) -> int:
    """Repetitions with a false call, groups of 5 split image by image at 4:1, the generator seeking the groups."""
    rng, calls = np.random.default_rng(12), 0
    arena = GroupedArena(rng, 150, 5, 500)
    for _ in range(repetitions):
        popular = copies_of(rng, arena.vectors[rng.permutation(750)[:500]], 0.01)
        others = copies_of(rng, arena.vectors[750 + rng.permutation(500)[:100]], 0.02)
        contest = arena.contest(np.concatenate([popular, others]), labels(rng, 1_250, 1_000), rule)
        calls += bool(contest.certified.any())
    return calls


@pytest.mark.parametrize("split", ["image", "unknown"])
def test_after_a_split_by_image_only_single_images_compete(split: str) -> None:
    assert image_split_calls(lambda groups: competing(groups, split), REPETITIONS) <= CALLS_ALLOWED


def test_a_split_wrongly_said_to_be_by_group_accuses_no_more() -> None:
    # The mixed groups show it, so that groups of several images do not compete.
    assert image_split_calls(lambda groups: competing(groups, "group"), REPETITIONS) <= CALLS_ALLOWED


def test_control_letting_pure_groups_compete_after_a_split_by_image_accuses_without_copies() -> None:
    # A pure group of 5 is training with odds 4^5 : 1, and the mixed ones are gone.
    assert image_split_calls(lambda groups: groups.kind != GroupClass.MIXED, 100) > 0.5 * 100


def set_aside_calls(repetitions: int, *, remembered: bool) -> int:
    """Repetitions with a false call: pairs split image by image, a fifth of the held-out groups set aside whole."""
    rng, calls = np.random.default_rng(17), 0
    pairs, singles = 300, 400
    arena = GroupedArena(rng, pairs, 2, singles)
    for _ in range(repetitions):
        is_training = labels(rng, 2 * pairs + singles, pairs + singles // 2)
        held_groups = rng.permutation(np.unique(arena.cluster[~is_training]))
        aside = ~is_training & np.isin(arena.cluster, held_groups[: len(held_groups) // 5])
        order = np.argsort(np.where(is_training, 0, np.where(aside, 2, 1)), kind="stable")
        everything = Pool(arena.vectors[order], [str(i) for i in order], is_training[order], order)
        pool = everything.first(int((~aside).sum()))
        generations = copies_of(rng, arena.vectors[rng.permutation(2 * pairs)[:pairs]], 0.002)  # paired images, blindly
        contest = full_contest(pool, generations, arena.threshold, "image", everything if remembered else None)
        calls += bool(contest.certified.any())
    return calls


def test_images_whose_duplicates_were_set_aside_do_not_compete() -> None:
    assert set_aside_calls(200, remembered=True) <= binom.ppf(0.999, 200, ALPHA)


def test_control_forgetting_what_was_set_aside_accuses_without_copies() -> None:
    # A held-out image's twin is set aside with it; only a training image can lose its twin and look single.
    assert set_aside_calls(30, remembered=False) > 0.5 * 30


def test_the_shortcut_for_groups_is_the_decisions_own_path() -> None:
    rng = np.random.default_rng(16)
    arena = GroupedArena(rng, 30, 4, 200)
    for split in ("group", "image"):
        is_training = labels(rng, 230, 150)[arena.cluster] if split == "group" else labels(rng, 320, 220)
        generations = copies_of(rng, arena.vectors[rng.permutation(320)[:150]], 0.01)
        short = arena.contest(generations, is_training, lambda groups, split=split: competing(groups, split))
        full = full_contest(pool_of(arena.vectors, is_training), generations, arena.threshold, split)
        assert short.training_hits + short.holdout_hits > 50
        for name in ("n", "m", "training_hits", "holdout_hits", "lower_bound"):
            assert getattr(short, name) == getattr(full, name)


def test_control_without_the_plus_one_calls_every_other_time() -> None:
    # The first hit is training with probability 1/2 at 1:1, and n D / (m T) = 0 calls it.
    rng, calls = np.random.default_rng(13), 0
    arena = Arena(rng, 600)
    for _ in range(200):
        score = arena.score(blurred(rng, arena.pool, 400))
        is_training, is_hit = labels(rng, 600, 300), score > arena.nearest_other
        order = np.argsort(-score[is_hit])
        above_t, above_d = np.cumsum(is_training[is_hit][order]), np.cumsum(~is_training[is_hit][order])
        calls += bool((300 * above_d <= ALPHA * 300 * above_t)[above_t > 0].any())
    assert calls > 0.4 * 200


def test_control_counting_generations_instead_of_items_accuses_where_hubs_are() -> None:
    # Many generations on one popular image are one coin; counted one by one they look like overwhelming evidence.
    rng, by_generation, by_item = np.random.default_rng(14), 0, 0
    arena = Arena(rng, 600)
    for _ in range(200):
        generations = hub_seeking(rng, arena.pool, 1_000)
        is_training = labels(rng, 600, 300)
        by_item += bool(arena.contest(arena.score(generations), is_training).certified.any())
        similarity = generations @ arena.pool.T
        nearest = similarity.argmax(axis=1)
        hit = similarity.max(axis=1) > arena.nearest_other[nearest]
        order = np.argsort(-similarity.max(axis=1)[hit])
        lands = is_training[nearest[hit][order]]
        fdr = (1 + np.cumsum(~lands)) / np.maximum(np.cumsum(lands), 1)
        by_generation += bool((fdr <= ALPHA)[lands].any())
    assert by_generation > 0.2 * 200  # twice the nominal level and more
    assert by_item <= binom.ppf(0.999, 200, ALPHA)


def test_entrapment_held_out_items_hidden_among_the_training_items_are_rarely_called() -> None:
    # 800 of 4,000 held-out items are declared training. They were never trained on, so each call of one is false.
    rng = np.random.default_rng(15)
    arena = Arena(rng, 6_000)
    others = arena.score(blurred(rng, arena.pool, 1_000))
    share = []
    for _ in range(200):
        is_training = labels(rng, 6_000, 2_000)
        copies = rng.choice(np.flatnonzero(is_training), 40, replace=False)
        trap = rng.choice(np.flatnonzero(~is_training), 800, replace=False)
        score = np.maximum(others, arena.score(copies_of(rng, arena.pool[copies], 0.01)))
        declared = is_training.copy()
        declared[trap] = True
        contest = arena.contest(score, declared)
        false = contest.certified[trap].sum() * 2_800 / 800  # traps stand for all 2,800 items that may be null
        share.append(false / max(contest.certified.sum(), 1))
        assert contest.certified[copies].sum() >= 30
    assert np.mean(share) <= ALPHA + 4 * np.std(share) / np.sqrt(200)
