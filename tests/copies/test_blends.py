"""Blends: two pictures laid over each other are named, one picture alone is not, and few false ones are called."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.copies.blends import Blends, blends
from auditor.copies.compete import compete
from auditor.copies.groups import duplicate_groups
from auditor.copies.shortlist import closest
from auditor.encoders.views import MIRROR, view
from auditor.validity.transformations import noise
from tests.copies.test_error_control import ALPHA, CALLS_ALLOWED, REPETITIONS
from tests.copies.test_parts import flat_pool, pairs_of
from tests.copies.textures import Pictures, textures
from tests.copies.worlds import labels

POOL = textures(np.random.default_rng(51), 8)


def mixed(left: Pictures, right: Pictures, share: float) -> Pictures:
    return np.rint(share * left + (1 - share) * right.astype(float)).astype(np.uint8)


def found_in(generation: Pictures, *, both_ways: bool = True) -> Blends:
    pairs = pairs_of(1, 8, both_ways=both_ways)
    return blends(pairs, lambda rows: generation[None][rows], lambda rows: POOL[rows])


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
def test_both_pictures_of_a_blend_are_named_with_their_shares(share: float) -> None:
    found = found_in(mixed(POOL[2], POOL[5], share))
    assert set(np.flatnonzero(np.isfinite(found.score))) == {2, 5}
    assert (found.beside[2], found.beside[5]) == (5, 2)
    assert found.explained[2] > 0.99
    assert found.share[2] == pytest.approx(share, abs=0.03)
    assert found.share[5] == pytest.approx(1 - share, abs=0.03)


def test_a_mirrored_picture_may_be_half_of_a_blend() -> None:
    made = mixed(view(POOL[2], MIRROR), POOL[5], 0.5)
    found = found_in(made)
    assert set(np.flatnonzero(np.isfinite(found.score))) == {2, 5}
    assert found.mirrored[[2, 5]].tolist() == [True, False]
    assert np.isinf(found_in(made, both_ways=False).score).all()


@pytest.mark.parametrize("name", ["a copy", "a noisy copy", "a stranger", "flat"])
def test_control_one_picture_alone_or_none_is_no_blend(name: str) -> None:
    made = {
        "a copy": POOL[2],
        "a noisy copy": noise(20.0)(POOL[2], np.random.default_rng(52)),
        "a stranger": textures(np.random.default_rng(53), 1)[0],
        "flat": np.full_like(POOL[0], 90),
    }[name]
    assert np.isinf(found_in(made).score).all()


def test_a_single_candidate_is_no_blend() -> None:
    found = blends(pairs_of(1, 1), lambda rows: POOL[:1][rows], lambda rows: POOL[rows])
    assert np.isinf(found.score).all()


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_what_two_pictures_explain_is_least_squares(seed: int) -> None:
    rng = np.random.default_rng(seed)
    made = mixed(POOL[0], POOL[1], float(rng.uniform(0.35, 0.65)))
    made = noise(10.0)(made, rng)
    found = found_in(made, both_ways=False)
    first, second = np.flatnonzero(np.isfinite(found.score))
    reduced = [p.reshape(3, 32, 2, 32, 2).mean(axis=(2, 4)) for p in (made, POOL[first], POOL[second])]
    target, *pictures = ((p - p.mean(axis=(1, 2), keepdims=True)).ravel() for p in reduced)
    design = np.stack(pictures, axis=1)
    solution, residual, _, _ = np.linalg.lstsq(design, target, rcond=None)
    assert found.share[[first, second]] == pytest.approx(solution, abs=1e-4)
    assert found.explained[first] == pytest.approx(1 - residual[0] / (target @ target), abs=1e-4)


def test_blends_are_called_where_they_are_and_as_rarely_as_promised_elsewhere() -> None:
    rng = np.random.default_rng(54)
    pool = textures(rng, 80)
    pairs = pairs_of(40, 80, both_ways=False)
    groups = duplicate_groups(flat_pool(80), 2.0)
    strangers = textures(rng, 40)
    blended = strangers.copy()
    copied = rng.permutation(80)[:24]
    blended[:12] = [mixed(pool[a], pool[b], 0.5) for a, b in copied.reshape(12, 2)]
    # without copies, generations that half resemble pictures that labels do not know of
    halves = np.stack([mixed(pool[rng.integers(80)], pool[rng.integers(80)], 0.5) for _ in range(40)])
    calls, found, share = 0, [], []
    scores = {
        name: closest(pairs, blends(pairs, lambda rows, m=made: m[rows], lambda rows: pool[rows]).score, groups).score
        for name, made in (("none", halves), ("some", blended))
    }
    for _ in range(REPETITIONS):
        score = np.where(np.isfinite(scores["none"]), scores["none"], -1.0)
        calls += bool(compete(score, score > 0, labels(rng, 80, 40)).certified.any())
        is_training = np.zeros(80, bool)
        others = np.setdiff1d(np.arange(80), copied)
        is_training[np.r_[copied, rng.permutation(others)[:16]]] = True
        score = np.where(np.isfinite(scores["some"]), scores["some"], -1.0)
        called = np.flatnonzero(compete(score, score > 0, is_training).certified)
        true = np.isin(called, copied).sum()
        found.append(true / 24)
        share.append((len(called) - true) / max(len(called), 1))
    assert calls <= CALLS_ALLOWED
    assert np.mean(found) > 0.9
    assert np.mean(share) <= ALPHA
