"""The blind baseline finds sets that differ, and is not fooled by sets that do not."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from auditor.errors import DataError
from auditor.stats.roc import auc
from auditor.validity.blind import blind_check, blind_scores
from auditor.validity.image_statistics import image_statistics

N = 600  # images, half of them "training"
HALF = np.arange(N) < N // 2


@pytest.fixture(scope="module")
def garments() -> np.ndarray:
    """UInt8[600 1 16 16]: a random selection of held-out garments, so that any split of them means nothing."""
    folder = Path(__file__).resolve().parents[2] / "fixtures" / "memorized" / "holdout"
    files = sorted(folder.iterdir())
    chosen = np.random.default_rng(0).permutation(len(files))[:N]
    return np.stack([np.asarray(Image.open(files[row])) for row in chosen])[:, None]


def recoded(image: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image[0]).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))[None]


def checked(pixels: np.ndarray, is_member: np.ndarray, groups: np.ndarray | None = None, seed: str = "s"):
    groups = np.arange(len(pixels)) if groups is None else groups
    return blind_check(blind_scores(image_statistics(pixels), is_member, groups, seed), is_member, groups)


def brighter(pixels: np.ndarray) -> np.ndarray:
    """Training images 6 grey levels brighter."""
    shifted = np.minimum(pixels.astype(int) + 6, 255).astype(np.uint8)
    return np.where(HALF[:, None, None, None], shifted, pixels)


def recompressed(pixels: np.ndarray) -> np.ndarray:
    """Training images stored once as JPEG of quality 95."""
    return np.stack([recoded(image, 95) if member else image for image, member in zip(pixels, HALF, strict=True)])


def smoother(pixels: np.ndarray) -> np.ndarray:
    """Training images averaged a little with their right neighbour."""
    rolled = np.roll(pixels, 1, axis=3)
    return np.where(HALF[:, None, None, None], (0.8 * pixels + 0.2 * rolled).astype(np.uint8), pixels)


def another_mix(pixels: np.ndarray) -> np.ndarray:
    """The garments that fill more of the picture (a stand-in for some classes) come first: 70% of the training half."""
    filled = np.argsort(-(pixels > 0).mean((1, 2, 3)), kind="stable")
    draw = np.random.default_rng(1)
    full, empty = draw.permutation(filled[: N // 2]), draw.permutation(filled[N // 2 :])
    take = int(0.7 * N / 2)
    return pixels[np.concatenate([full[:take], empty[: N // 2 - take], full[take:], empty[N // 2 - take :]])]


@pytest.mark.parametrize("shift", [brighter, recompressed, smoother, another_mix])
def test_sets_that_differ_are_found(shift, garments):
    check = checked(shift(garments), HALF)
    assert check.status == "failed"
    assert check.p_value < 0.001
    assert check.estimates[0].lower > 0.52


def test_a_random_split_of_garments_passes(garments):
    """The control: over 20 splits no block, and a mean AUC of 1/2 within three standard errors (0.035 / sqrt(20))."""
    features, values = image_statistics(garments), []
    for repeat in range(20):
        is_member = np.random.default_rng(repeat).permutation(N) < N // 2
        check = blind_check(blind_scores(features, is_member, np.arange(N), str(repeat)), is_member, np.arange(N))
        assert check.status == "passed"
        values.append(check.estimates[0].value)
    assert abs(np.mean(values) - 0.5) < 3 * 0.035 / np.sqrt(20)


@pytest.mark.parametrize("members", [150, 40])
def test_a_meaningless_split_is_blocked_at_most_as_often_as_it_may(members):
    """Gaussian features, 300 images, half or an eighth of them members, 600 repeats.

    The AUC is centred on 1/2 (three standard errors), its 95% interval covers 1/2 at least as often less three binomial
    standard errors (0.0089), and the check blocks in at most 1% plus three (0.0041).
    """
    draw, areas, covered, blocked = np.random.default_rng(members), [], 0, 0
    for repeat in range(600):
        features = draw.normal(size=(300, 20)).astype(np.float32)
        is_member = draw.permutation(300) < members
        check = blind_check(blind_scores(features, is_member, np.arange(300), str(repeat)), is_member, np.arange(300))
        estimate = check.estimates[0]
        areas.append(estimate.value)
        covered += estimate.lower <= 0.5 <= estimate.upper
        blocked += check.p_value <= 0.01
    assert abs(np.mean(areas) - 0.5) < 3 * np.std(areas) / np.sqrt(600)
    assert covered / 600 > 0.95 - 3 * 0.0089
    assert blocked / 600 < 0.01 + 3 * 0.0041


def test_ranks_within_folds_remove_the_bias_of_pooled_scores():
    """Why ranks: pooled raw scores rank members lower where nothing was learnt.

    Leave-one-out shows it purely: the mean label of the others is lower for a member than for a non-member.
    """
    is_member = HALF[:: N // 40]
    others = (is_member.sum() - is_member) / (len(is_member) - 1)
    assert auc(others[is_member], others[~is_member]) == 0
    constant = np.ones((len(is_member), 3), np.float32)
    scores = blind_scores(constant, is_member, np.arange(len(is_member)), "s")
    assert auc(scores[is_member], scores[~is_member]) == 0.5


def test_duplicates_do_not_straddle_folds():
    """Pairs of identical images, both on one side, at random: a classifier that saw one would know the other."""
    draw = np.random.default_rng(2)
    features = np.repeat(draw.normal(size=(150, 60)), 2, axis=0).astype(np.float32)
    is_member = np.repeat(draw.permutation(150) < 75, 2)
    pairs = np.repeat(np.arange(150), 2)
    grouped = blind_scores(features, is_member, pairs, "s")
    assert blind_check(grouped, is_member, pairs).status != "failed"
    ungrouped = blind_scores(features, is_member, np.arange(300), "s")  # the control: it memorises
    assert blind_check(ungrouped, is_member, np.arange(300)).p_value < 0.01
    assert np.array_equal(grouped[::2], grouped[1::2])


def test_groups_on_both_sides_are_left_out_of_the_count(garments):
    groups = np.arange(N)
    groups[N // 2 : N // 2 + 50] = np.arange(50)  # 50 held-out images share a group with a training image
    check = checked(garments, HALF, groups)
    assert check.estimates[0].n == N - 100


def test_too_few_images_are_not_tested(garments):
    check = checked(garments[250:350], HALF[250:350])
    assert check.status == "not tested" and "80% power" in check.power


def test_too_few_groups_are_refused(garments):
    with pytest.raises(DataError, match="distinct images"):
        blind_scores(image_statistics(garments), HALF, np.where(HALF, 0, np.arange(N)), "s")


@pytest.mark.parametrize("shape", [(3, 1, 16, 16), (3, 3, 32, 24), (2, 3, 4, 4), (1, 1, 1, 9)])
def test_statistics_are_finite_for_any_shape(shape):
    draw = np.random.default_rng(3)
    pixels = draw.integers(0, 256, shape, dtype=np.uint8)
    pixels[0] = 0
    features = image_statistics(pixels)
    assert features.shape[0] == shape[0] and features.dtype == np.float32
    assert np.isfinite(features).all()
    # each row depends on its own image, but for the order of float32 sums, which a log near 0 brings out
    assert np.allclose(image_statistics(pixels[-1:])[0], features[-1], rtol=0, atol=1e-4)
