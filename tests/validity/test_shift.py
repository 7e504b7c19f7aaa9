"""The two-sample test: exact under the null, finds planted shifts in real images, and says what they are."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest

from auditor.encoders.pixel import PixelEncoder
from auditor.errors import DataError
from auditor.store.membership import Shift
from auditor.validity.blind import blind_check, blind_scores
from auditor.validity.image_statistics import image_statistics, level_names, level_shares, statistic_names
from auditor.validity.shift import PENALTIES, Basis, _agreement, describe, shift_test
from tests.validity.plants import PLANTS, Pixels, brightened, garments, photo_patches, unchanged


def seen(pixels: Pixels) -> np.ndarray:
    return np.concatenate([image_statistics(pixels), level_shares(pixels)], axis=1)


def basis_of(pixels: Pixels) -> Basis:
    names = [*statistic_names(*pixels.shape[1:]), *level_names()]
    return describe(seen(pixels), names, PixelEncoder(*pixels.shape[1:])(pixels))


def halves(pixels: Pixels, change) -> tuple[Pixels, np.ndarray]:
    """The first half changed and called members."""
    half = len(pixels) // 2
    return np.concatenate([change(pixels[:half]), pixels[half:]]), np.arange(len(pixels)) < half


def blind(pixels: Pixels, is_member: np.ndarray):
    singles = np.arange(len(pixels))
    return blind_check(blind_scores(seen(pixels), is_member, singles, "seed"), is_member, singles)


@pytest.fixture(scope="module")
def images() -> dict[str, Pixels]:
    return {"garments": garments(600), "photographs": photo_patches()}


@pytest.mark.parametrize("kind", ["garments", "photographs"])
@pytest.mark.parametrize("plant", PLANTS)
def test_a_planted_shift_is_found_by_test_and_baseline(images, kind, plant):
    """About 300 images a side: the least p-value of 1,000 permutations, and a blind baseline that blocks."""
    pixels, is_member = halves(images[kind], PLANTS[plant])
    found = shift_test(basis_of(pixels), is_member, "seed")
    assert found.p_value == pytest.approx(1 / 1001)
    assert found.features[0].p_adjusted < 0.01
    check = blind(pixels, is_member)
    assert check.status == "failed" and check.p_value < 1e-4


@pytest.mark.parametrize("kind", ["garments", "photographs"])
def test_control_the_same_images_untouched(images, kind):
    pixels, is_member = halves(images[kind], unchanged)
    found = shift_test(basis_of(pixels), is_member, "seed")
    assert found.p_value > 0.01 and found.features[0].p_adjusted > 0.01  # the level of a check that blocks
    assert blind(pixels, is_member).status == "passed"


def test_the_most_telling_difference_is_named(images):
    def flatter(pixels: Pixels) -> Pixels:
        return np.rint(0.7 * pixels + 0.3 * pixels.mean((2, 3), keepdims=True)).astype(np.uint8)

    pixels, is_member = halves(images["photographs"], flatter)
    named = [feature.name for feature in shift_test(basis_of(pixels), is_member, "seed").features]
    assert any("contrast" in name or "detail" in name or "energy" in name or "sharpness" in name for name in named)
    assert sum("grey level " in name for name in named) <= 1
    pixels, is_member = halves(images["photographs"], PLANTS["JPEG 75"])
    jpeg = [feature.name for feature in shift_test(basis_of(pixels), is_member, "seed").features]
    assert any("JPEG" in name or "high frequencies" in name or "sharpness" in name for name in jpeg)


def test_differences_are_in_pooled_standard_deviations_members_above():
    draw = np.random.default_rng(0)
    values = np.concatenate([draw.normal(1, 1, 400), draw.normal(0, 1, 400)])
    is_member = np.arange(800) < 400
    found = shift_test(describe(values[:, None].astype(np.float32), ["value"]), is_member, "seed")
    assert found.features[0].difference == pytest.approx(
        (values[:400].mean() - values[400:].mean()) / values.std(), abs=1e-6
    )
    assert found.features[0].p_adjusted == pytest.approx(1 / 1001)


def test_leave_one_out_predictions_equal_plain_refits():
    """Ridge without intercept on centred labels, refitted 30 times with one image left out."""
    draw = np.random.default_rng(1)
    basis = describe(draw.normal(size=(30, 4)).astype(np.float32), list("abcd"))
    y = (draw.permutation(30) < 12) - 12 / 30
    x = basis.axes * np.sqrt(basis.power)
    for penalty, agreed in zip(PENALTIES, _agreement(basis, y[:, None])[:, 0], strict=True):
        predicted = []
        for row in range(30):
            others = np.arange(30) != row
            gram = x[others].T @ x[others] + penalty * 30 * np.eye(x.shape[1])
            predicted.append(x[row] @ np.linalg.solve(gram, x[others].T @ y[others]))
        cosine = y @ predicted / np.linalg.norm(y) / np.linalg.norm(predicted)
        assert agreed == pytest.approx(cosine, abs=1e-9)


@pytest.mark.parametrize("members", [30, 100])
def test_p_values_are_uniform_under_exchangeable_labels(members):
    """400 meaningless splits of 200 points in 30 dimensions, 199 permutations each: KS, and 5% within three errors."""
    draw = np.random.default_rng(2)
    basis = describe(draw.normal(size=(200, 30)).astype(np.float32), [f"x{k}" for k in range(30)])
    results: list[Shift] = [
        shift_test(basis, draw.permutation(200) < members, str(repeat), permutations=199) for repeat in range(400)
    ]
    p_values = np.array([result.p_value for result in results])
    # a p-value of B permutations is uniform on 1/(B + 1), ..., 1: half a step aside it is close to continuous
    assert kstest(p_values - 0.5 / 200, "uniform").pvalue > 0.001
    assert abs(np.mean(p_values <= 0.05) - 0.05) < 3 * 0.011
    smallest = np.array([min(feature.p_adjusted for feature in result.features) for result in results])
    assert abs(np.mean(smallest <= 0.05) - 0.05) < 3 * 0.011


def test_the_seed_alone_decides(images):
    pixels, is_member = halves(images["garments"][:100], brightened)
    basis = basis_of(pixels)
    assert shift_test(basis, is_member, "a") == shift_test(basis, is_member, "a")


def test_too_few_images_are_refused():
    basis = describe(np.eye(5, dtype=np.float32), list("abcde"))
    with pytest.raises(DataError, match="at least 2 of each"):
        shift_test(basis, np.arange(5) < 1, "seed")
    with pytest.raises(DataError, match="names"):
        describe(np.eye(5, dtype=np.float32), ["a"])


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 16, 16), (3, 32, 24), (3, 4, 4), (1, 1, 9)])
def test_every_statistic_has_its_own_name(shape):
    names = statistic_names(*shape)
    assert len(names) == image_statistics(np.zeros((2, *shape), np.uint8)).shape[1]
    assert len(set(names)) == len(names)


def test_level_shares_are_histograms():
    pixels = np.random.default_rng(3).integers(0, 256, (3, 2, 5, 7), dtype=np.uint8)
    shares = level_shares(pixels)
    assert shares.shape == (3, 256) and shares.sum(1) == pytest.approx(1)
    assert shares[1, 200] == pytest.approx((pixels[1] == 200).mean())
