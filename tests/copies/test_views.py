"""Mirrored copies: found with the mirrored view, missed without it, and never at the price of false calls.

The worlds of the repetitions hold unit vectors on which a mirror exchanges the two halves; the population is the same
in the mirror, and a tenth of the pool are mirrored images of others, which no label knows.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom

from auditor.copies.compete import Contest, compete
from auditor.copies.decide import CopyDecision, decide
from auditor.copies.groups import competing, duplicate_groups
from auditor.copies.items import score_items
from auditor.copies.landing import land
from auditor.copies.margin import nearest_outside_group
from auditor.copies.pool import Pool
from auditor.copies.queries import Queries, queries_of
from auditor.encoders.pixel import PixelEncoder
from auditor.encoders.views import MIRROR, view
from auditor.validity.planted import embed_planted, sample_originals
from auditor.validity.transformations import noise
from tests.copies.test_decide import M, N, garments
from tests.copies.test_error_control import ALPHA, BOUNDS_ALLOWED, CALLS_ALLOWED, LEVEL, RATIOS, REPETITIONS
from tests.copies.worlds import DIM, NULL_GENERATORS, Vectors, copies_of, labels, pool_of, population

ENCODER = PixelEncoder(1, 16, 16)


def mirrored(vectors: Vectors) -> Vectors:
    return np.ascontiguousarray(np.roll(vectors, DIM // 2, axis=1))


def symmetric(rng: np.random.Generator, vectors: Vectors) -> Vectors:
    """Every other picture turned: the population is its own mirror image."""
    turn = rng.random(len(vectors)) < 0.5
    return np.where(turn[:, None], mirrored(vectors), vectors)


class MirrorArena:
    """A pool whose margins are known under both views, so that relabelling it is cheap."""

    def __init__(
        self, rng: np.random.Generator, size: int, *, look_at_others: bool = True, noise: float = 0.01
    ) -> None:
        pool = symmetric(rng, population(rng, size))
        pairs = size // 10
        pool[:pairs] = copies_of(rng, mirrored(pool[pairs : 2 * pairs]), noise)
        self.pool, alone = pool, np.arange(size)
        self.nearest = nearest_outside_group(alone, pool, alone).similarity
        turned = nearest_outside_group(alone, pool, alone, queries=mirrored(pool)).similarity
        self.nearest_turned = np.maximum(self.nearest, turned) if look_at_others else self.nearest

    def scored(self, generations: Vectors) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """(score, hit) of every item."""
        straight = (self.pool @ generations.T).max(axis=1).astype(np.float64)
        turned = (self.pool @ mirrored(generations).T).max(axis=1).astype(np.float64)
        nearest = np.where(turned > straight, self.nearest_turned, self.nearest)
        score = np.maximum(straight, turned)
        return score, score > nearest

    def contest(self, generations: Vectors, is_training: NDArray[np.bool_]) -> Contest:
        return compete(*self.scored(generations), is_training, alpha=ALPHA)


@pytest.mark.parametrize(("n", "m"), RATIOS)
@pytest.mark.parametrize("generator", NULL_GENERATORS)
def test_without_copies_a_mirror_adds_no_calls(generator: str, n: int, m: int) -> None:
    rng = np.random.default_rng([n, m, 1, *generator.encode()])
    calls = bounds = 0
    for repetition in range(REPETITIONS):
        if repetition % 50 == 0:
            arena = MirrorArena(rng, n + m)
        made = symmetric(rng, NULL_GENERATORS[generator](rng, arena.pool, 400))
        contest = arena.contest(made, labels(rng, n + m, n))
        calls += bool(contest.certified.any())
        bounds += contest.lower_bound > 0
    assert calls <= CALLS_ALLOWED
    assert bounds <= BOUNDS_ALLOWED


def mirrored_audits(repetitions: int, *, look_at_others: bool) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """(false share, found share) per audit of a model that mirrors 40 training images, and how many had X > 40."""
    rng, over = np.random.default_rng(21), 0
    false_share, found = np.empty(repetitions), np.empty(repetitions)
    for repetition in range(repetitions):
        if repetition % 50 == 0:
            arena = MirrorArena(rng, 1_600, look_at_others=look_at_others)
            others = symmetric(rng, NULL_GENERATORS["blurred"](rng, arena.pool, 500))
        is_training = labels(rng, 1_600, 800)
        copies = rng.choice(np.flatnonzero(is_training), 40, replace=False)
        made = copies_of(rng, mirrored(arena.pool[copies]), 0.01)
        contest = arena.contest(np.concatenate([others, made]), is_training)
        called = np.flatnonzero(contest.certified)
        true = np.isin(called, copies).sum()
        found[repetition], false_share[repetition] = true / 40, (len(called) - true) / max(len(called), 1)
        over += contest.lower_bound > 40
    return false_share, found, over


def test_mirrored_copies_are_found_and_few_others_called() -> None:
    false_share, found, over = mirrored_audits(REPETITIONS, look_at_others=True)
    assert false_share.mean() <= ALPHA + 4 * false_share.std() / np.sqrt(REPETITIONS)
    assert over <= binom.ppf(0.999, REPETITIONS, 1 - LEVEL)
    assert found.mean() > 0.75  # a tenth have a mirror image in the pool, and a tenth are one


def test_control_forgetting_that_others_may_be_mirrored_hits_what_merely_has_a_mirror_image() -> None:
    # Generations that repeat pictures as they are: their mirror images in the pool are no more shown than before. The
    # level holds either way, for labels know nothing of either; what the margin keeps out are hits that mean nothing.
    hits = {}
    for look_at_others in (True, False):
        rng = np.random.default_rng(24)
        arena = MirrorArena(rng, 600, look_at_others=look_at_others, noise=0.001)
        is_hit = arena.scored(copies_of(rng, arena.pool[60:120], 0.003))[1]
        hits[look_at_others] = (is_hit[60:120].sum(), is_hit[:60].sum())  # the repeated ones, their mirror images
    assert hits == {True: (60, 0), False: (60, 60)}


def test_the_shortcut_is_the_decisions_own_path() -> None:
    rng = np.random.default_rng(22)
    arena, is_training = MirrorArena(rng, 400), labels(rng, 400, 200)
    pool = pool_of(arena.pool, is_training)
    made = symmetric(rng, NULL_GENERATORS["blurred"](rng, arena.pool, 300))
    queries = queries_of(made, {MIRROR: mirrored(made)}, lambda rows, name: mirrored(pool.embeddings[rows]))
    groups = duplicate_groups(pool, 0.99999)
    items = score_items(pool, groups, queries, competing(groups, "group"), alpha=ALPHA)
    kind = pool.is_training[items.row]
    full, short = compete(items.score, items.is_hit, kind), arena.contest(made, is_training)
    assert short.training_hits + short.holdout_hits > 50
    for name in ("n", "m", "training_hits", "holdout_hits", "lower_bound"):
        assert getattr(short, name) == getattr(full, name)


def test_queries_know_generation_and_view_and_can_be_thinned() -> None:
    made = population(np.random.default_rng(23), 5)
    queries = queries_of(made, {MIRROR: mirrored(made)})
    generation, number = queries.split(np.array([0, 4, 5, 9]))
    assert generation.tolist() == [0, 4, 0, 4]
    assert number.tolist() == [0, 0, 1, 1]
    kept = queries.only(np.array([False, True, False, False, True]))
    assert np.array_equal(kept.vectors, np.concatenate([made[[1, 4]], mirrored(made)[[1, 4]]]))
    with pytest.raises(ValueError, match="one vector per generation"):
        queries_of(made, {MIRROR: mirrored(made)[:3]})


class Garments:
    """Real garments; a generator shows 30 of the 300 training garments mirrored, with noise, among blurred others."""

    def __init__(self) -> None:
        rng = np.random.default_rng(3)
        # a bag or a shirt is nearly its own mirror image; shoes are not
        pixels = garments()
        lopsided = np.einsum("nd,nd->n", ENCODER(pixels), ENCODER(view(pixels, MIRROR))) < 0.5
        training = np.concatenate([pixels[lopsided][:30], pixels[~lopsided][: N - 30]])
        self.pixels = np.concatenate([training, pixels[~lopsided][N : N + M // 2], pixels[lopsided][30 : 30 + M // 2]])
        self.generated = np.concatenate(
            [pixels[lopsided][30 + M // 2 :][:300], noise(4.0)(view(training[:30], MIRROR), rng)]
        )
        digest = np.array([image.tobytes().hex() for image in self.pixels])
        vectors = ENCODER(self.pixels)
        self.pool = Pool(vectors, [f"g{i}" for i in range(len(digest))], np.arange(len(digest)) < N, digest)
        self.rows = sample_originals(digest, "seed", 100)

    def decide(self, *, look: bool) -> CopyDecision:
        views = [MIRROR] if look else []
        planted = embed_planted(self.rows, self.pixels[self.rows], ENCODER, "seed", views=views)
        return decide(
            self.pool, self.queries(self.generated, look=look), encoder="pixel", planted=planted, split="group"
        )

    def queries(self, pixels: NDArray[np.uint8], *, look: bool) -> Queries:
        further = {MIRROR: ENCODER(view(pixels, MIRROR))} if look else {}
        return queries_of(ENCODER(pixels), further, lambda rows, name: ENCODER(view(self.pixels[rows], name)))


@pytest.fixture(scope="module")
def case() -> Garments:
    return Garments()


def test_mirrored_garments_are_certified_and_named_so(case: Garments) -> None:
    found = case.decide(look=True).competition
    certified = {int(e.id[1:]): e for e in found.evidence if e.tier == "certified"}
    copied = [certified[row] for row in range(30) if row in certified]
    assert len(copied) >= 27
    assert {e.view for e in copied} == {MIRROR}
    assert len(certified) - len(copied) <= 8
    assert found.copy_rate.lower < 30 / len(case.generated) < found.copy_rate.upper


def test_control_without_the_view_none_of_them_is_found(case: Garments) -> None:
    found = case.decide(look=False).competition
    assert (found.certified, found.lower_bound.value) == (0, 0)
    assert {e.view for e in found.evidence} == {"identity"}


def test_a_mirrored_generation_lands_on_the_item_it_mirrors(case: Garments) -> None:
    groups = duplicate_groups(case.pool, 0.9995)
    queries = case.queries(case.generated[-30:], look=True)
    items = score_items(case.pool, groups, queries, competing(groups, "group"), alpha=ALPHA)
    seen = land(case.pool, groups, items, queries)
    blind = land(case.pool, groups, items, queries.vectors[:30])
    own = groups.group[np.arange(30)]
    assert (seen.item == own).mean() >= 0.9
    assert (blind.item == own).mean() <= 0.1
    assert np.array_equal(seen.training_similarity, blind.training_similarity)
