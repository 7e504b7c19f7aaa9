"""Parts: crops and pasted pieces are placed, strangers and flat pictures are not, and few false ones are called."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from auditor.copies.alignment import Patches, painted, place, rasters
from auditor.copies.compete import compete
from auditor.copies.groups import duplicate_groups
from auditor.copies.parts import COARSE, FINE, LEAST_SIZE, Alignments, align, excess
from auditor.copies.pool import Pool
from auditor.copies.queries import queries_of
from auditor.copies.shortlist import Closest, Pairs, closest, shortlist
from auditor.encoders.pixel import PixelEncoder
from auditor.encoders.views import MIRROR, view
from auditor.validity.transformations import crop, jpeg, noise
from tests.copies.test_error_control import ALPHA, CALLS_ALLOWED, REPETITIONS
from tests.copies.textures import Pictures, moved, pasted, textures
from tests.copies.worlds import labels

ENCODER = PixelEncoder(3, 64, 64)


def pairs_of(generations: int, pool: int, *, both_ways: bool = True) -> Pairs:
    """Every generation beside every picture."""
    generation, row = np.repeat(np.arange(generations), pool), np.tile(np.arange(pool), generations)
    return Pairs(generation, row, row, both_ways)


def aligned(generations: Pictures, pool: Pictures, *, both_ways: bool = True) -> Alignments:
    pairs = pairs_of(len(generations), len(pool), both_ways=both_ways)
    return align(pairs, lambda rows: generations[rows], lambda rows: pool[rows])


@cache
def pool() -> Pictures:
    return textures(np.random.default_rng(31), 12)


def shown(name: str) -> Pictures:
    """One copy of picture 0, of the kind named."""
    rng, host = np.random.default_rng(32), textures(np.random.default_rng(33), 1)[0]
    one = pool()[0]
    return {
        "itself": one,
        "jpeg": jpeg(30)(one, rng),
        "noise": noise(12.0)(one, rng),
        "mirrored": view(one, MIRROR),
        "crop 80%": crop(0.8)(one, rng),
        "crop 50%": crop(0.5)(one, rng),
        "pasted": pasted(one, host, 8, 16, 32),
        "moved": moved(one, host, 32),
        "flat": np.full_like(one, 128),
        "stranger": host,
    }[name]


@pytest.mark.parametrize(
    ("name", "covered", "scale", "mirrored"),
    [
        ("itself", 0.9, 1.0, False),
        ("jpeg", 0.8, 1.0, False),
        ("noise", 0.8, 1.0, False),
        ("mirrored", 0.9, 1.0, True),
        ("crop 80%", 0.5, 1.25, False),
        ("crop 50%", 0.5, 2.0, False),
        ("pasted", 0.1, 1.0, False),
        ("moved", 0.1, 1.0, False),
    ],
)
def test_a_copy_is_placed_as_it_was_made(name: str, covered: float, scale: float, mirrored: bool) -> None:
    found = aligned(shown(name)[None], pool())
    assert found.size.argmax() == 0
    assert found.covered[0] >= covered
    assert found.scale[0] == scale
    assert found.mirrored[0] == mirrored
    score = excess(pairs_of(1, 12), found.size)
    assert np.isfinite(score[0])
    assert np.isinf(score[1:]).all()


@pytest.mark.parametrize("name", ["stranger", "flat"])
def test_control_nothing_is_placed_in_a_stranger_or_a_flat_picture(name: str) -> None:
    found = aligned(shown(name)[None], pool())
    assert found.size.max() < LEAST_SIZE
    assert np.isinf(excess(pairs_of(1, 12), found.size)).all()


def test_control_without_the_mirror_a_mirrored_copy_is_not_placed() -> None:
    assert aligned(shown("mirrored")[None], pool(), both_ways=False).size.max() < LEAST_SIZE


def test_shading_matches_no_shading() -> None:
    # Slopes agree with every slope; without their planes the patches are flat.
    ramp = np.broadcast_to(np.linspace(40, 200, 64).astype(np.uint8), (3, 64, 64))
    other = np.ascontiguousarray(ramp.swapaxes(1, 2))
    assert aligned(ramp[None], np.stack([ramp, other])).size.max() == 0


def test_the_mask_lies_where_the_piece_was_pasted() -> None:
    mask = aligned(shown("pasted")[None], pool()).mask[0]
    inside = np.zeros((16, 16), bool)
    inside[2:10, 4:12] = True
    assert (mask & inside).sum() / mask.sum() > 0.8
    assert (mask & inside).sum() / inside.sum() > 0.5


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_and_colour_pictures_of_any_shape_are_compared(channels: int) -> None:
    rng = np.random.default_rng(34)
    tall = np.kron(textures(rng, 3, 32, channels), np.ones((2, 3), np.uint8))  # 64 x 96
    found = aligned(tall[:1], tall)
    assert found.size.argmax() == 0
    assert found.covered[0] > 0.9


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 5))
@settings(max_examples=50, deadline=None)
def test_excess_and_closest_are_brute_force(seed: int, generations: int, pictures: int) -> None:
    rng, pairs = np.random.default_rng(seed), pairs_of(generations, pictures)
    size = rng.integers(0, 6, len(pairs)) / 20  # ties are common
    score = excess(pairs, size)
    for generation in range(generations):
        own = np.flatnonzero(pairs.generation == generation)
        ranked = np.sort(size[own])[::-1]
        best = own[size[own] == ranked[0]]
        expected = ranked[0] - (ranked[1] if len(ranked) > 1 else 0)
        finite = own[np.isfinite(score[own])]
        assert len(finite) == (ranked[0] >= LEAST_SIZE)
        assert set(finite) <= set(best)
        assert (score[finite] == expected).all()
    groups = duplicate_groups(flat_pool(pictures), 2.0)
    found = closest(pairs, score, groups)
    for item in range(pictures):
        of_item = score[pairs.group == item]
        assert found.score[item] == of_item.max()
        assert (found.pair[item] == -1) == np.isinf(of_item.max())


def flat_pool(count: int) -> Pool:
    vectors = np.eye(count + 1, dtype=np.float32)[:count]
    return Pool(vectors, [str(i) for i in range(count)], np.ones(count, bool), np.arange(count))


@given(st.integers(0, 2**16 - 1), st.sampled_from([COARSE, FINE]))
@settings(max_examples=10, deadline=None)
def test_scores_are_shares_and_found_patches_are_informative(seed: int, raster) -> None:
    pictures = textures(np.random.default_rng(seed), 2)
    patches = Patches(raster, rasters(pictures, raster.side))
    placed = place(patches, rasters(pictures[:1], 2 * raster.side)[0])
    assert ((placed.score >= 0) & (placed.score <= 1)).all()
    assert placed.score[0] > placed.score[1]
    assert not (placed.found.reshape(2, -1) & ~patches.informative).any()
    assert painted(raster, placed.found[0]).shape == (raster.side, raster.side)


def test_a_shortlist_has_the_nearest_of_each_group_once_and_knows_no_labels() -> None:
    pictures = textures(np.random.default_rng(35), 60)
    vectors = ENCODER(np.concatenate([pictures, pictures[:5]]))  # five repeats
    digest = np.r_[np.arange(60), np.arange(5)]
    made = ENCODER(textures(np.random.default_rng(36), 7))
    found = {}
    for seed in (1, 2):
        order = np.random.default_rng(seed).permutation(65)
        pool = Pool(vectors[order], [str(i) for i in order], np.arange(65) < 30, digest[order])
        groups = duplicate_groups(pool, 0.9999)
        pairs = shortlist(pool, groups, queries_of(made, {MIRROR: made[:, ::-1].copy()}))
        assert len(pairs) == 7 * 8
        assert len(set(zip(pairs.generation.tolist(), pairs.group.tolist(), strict=True))) == len(pairs)
        similarity = np.maximum(made @ pool.embeddings.T, made[:, ::-1] @ pool.embeddings.T)
        worst = [similarity[g, pairs.row[pairs.generation == g]].min() for g in range(7)]
        beyond = [np.setdiff1d(groups.group, pairs.group[pairs.generation == g]) for g in range(7)]
        assert all(similarity[g][np.isin(groups.group, beyond[g])].max() <= worst[g] + 1e-6 for g in range(7))
        found[seed] = {(g, int(digest[order[r]])) for g, r in zip(pairs.generation, pairs.row, strict=True)}
    assert found[1] == found[2]


class World:
    """A pool of textures and generations of which some show crops or pieces of it; looked at closely once."""

    def __init__(self, seed: int, copied: int) -> None:
        rng = np.random.default_rng(seed)
        self.pool = textures(rng, 120)
        made = textures(rng, 60)
        self.copied = rng.choice(120, copied, replace=False)
        for place_of, row in enumerate(self.copied):
            cropped = crop(0.6)(self.pool[row], rng)
            made[place_of] = cropped if place_of % 2 else pasted(self.pool[row], made[place_of], 8, 8, 40)
        everyone = Pool(ENCODER(self.pool), [str(i) for i in range(120)], np.ones(120, bool), np.arange(120))
        groups = duplicate_groups(everyone, 0.9999)
        nearest = np.argsort(rng.random((60, 120)), axis=1)[:, :8]  # a shortlist that looks at nothing
        nearest[np.arange(copied), 0] = self.copied
        nearest[:copied, 1:] = np.where(nearest[:copied, 1:] == self.copied[:, None], 119, nearest[:copied, 1:])
        generation, row = np.repeat(np.arange(60), 8), nearest.ravel()
        keep = np.unique(np.stack([generation, row]), axis=1)
        pairs = Pairs(keep[0], keep[1], groups.group[keep[1]], both_ways=False)
        size = align(pairs, lambda rows: made[rows], lambda rows: self.pool[rows]).size
        self.item, self.groups = groups.group, groups
        self.closest: Closest = closest(pairs, excess(pairs, size), groups)

    def certified(self, is_training: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Bool[120] by pool row."""
        score = np.where(np.isfinite(self.closest.score), self.closest.score, -1.0)[self.item]
        return compete(score, score > 0, is_training, alpha=ALPHA).certified


def test_without_copies_parts_are_called_as_rarely_as_promised() -> None:
    rng, calls = np.random.default_rng(37), 0
    worlds = [World(seed, 0) for seed in (41, 42)]
    for repetition in range(REPETITIONS):
        calls += bool(worlds[repetition % 2].certified(labels(rng, 120, 60)).any())
    assert calls <= CALLS_ALLOWED


def test_crops_and_pieces_are_found_and_few_others_called() -> None:
    # 24 of 60 training pictures are shown in part; the rest of the generations are strangers.
    rng, world = np.random.default_rng(38), World(43, 24)
    share, found = [], []
    for _ in range(200):
        is_training = np.zeros(120, bool)
        others = np.setdiff1d(np.arange(120), world.copied)
        is_training[np.r_[world.copied, rng.permutation(others)[:36]]] = True
        called = np.flatnonzero(world.certified(is_training))
        true = np.isin(called, world.copied).sum()
        found.append(true / 24)
        share.append((len(called) - true) / max(len(called), 1))
    assert np.mean(found) > 0.8
    assert np.mean(share) <= ALPHA + 4 * np.std(share) / np.sqrt(200)
