"""The pixel rule: what it calls, and what it must not."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from auditor.copies.verbatim import MOST_TILE_RMSE, entropy, verbatim_copies, worst_tile_rmse


def garments(fixtures: Path, name: str, count: int) -> np.ndarray:
    paths = sorted((fixtures / "memorized" / name).glob("*.png"))[:count]
    return np.stack([np.asarray(Image.open(path)) for path in paths])[:, None]


def test_worst_tile_is_computed_by_hand() -> None:
    # 8x8, tiles of 2x2: one pixel off by 8 in one tile: sqrt(64 / 4) = 4; spread over the image it is sqrt(64 / 64) = 1
    left = np.full((1, 1, 8, 8), 100, np.uint8)
    right = left.copy()
    right[0, 0, 3, 5] = 108
    assert worst_tile_rmse(left, right) == pytest.approx([4.0])


@pytest.mark.parametrize("size", [1, 3, 5, 18])
def test_sides_that_four_does_not_divide(size: int) -> None:
    left = np.zeros((2, 3, size, size), np.uint8)
    assert worst_tile_rmse(left, left + np.uint8(7)) == pytest.approx([7.0, 7.0])


def test_entropy_of_known_histograms() -> None:
    two = np.tile(np.array([0, 255], np.uint8), 32).reshape(1, 1, 8, 8)  # halves: one bit
    sixteen = np.repeat(np.arange(0, 256, 16, np.uint8), 4).reshape(1, 1, 8, 8)  # uniform over 16: four bits
    flat = np.full((1, 1, 8, 8), 9, np.uint8)
    assert entropy(np.concatenate([two, sixteen, flat])) == pytest.approx([1.0, 4.0, 0.0])


def test_copies_with_little_noise_are_verbatim_and_others_are_not(fixtures: Path) -> None:
    originals = garments(fixtures, "train", 128)
    rng = np.random.default_rng(6)
    for deviation, share in ((0, 1.0), (2, 1.0), (12, 0.0)):
        noisy = np.clip(np.rint(originals + deviation * rng.standard_normal(originals.shape)), 0, 255).astype(np.uint8)
        assert verbatim_copies(noisy, originals).mean() == pytest.approx(share, abs=0.02)


def test_no_other_garment_passes_for_a_copy(fixtures: Path) -> None:
    # Every held-out garment against every training garment: 128,000 pairs, none verbatim.
    originals, others = garments(fixtures, "train", 128), garments(fixtures, "holdout", 1_000)
    for original in originals:
        assert not verbatim_copies(others, np.broadcast_to(original, others.shape)).any()


def test_a_different_object_on_an_equal_background_is_not_verbatim() -> None:
    rng = np.random.default_rng(7)
    left = rng.integers(0, 256, (1, 3, 64, 64), np.uint8)
    right = left.copy()
    right[:, :, 16:32, 16:32] = 255 - right[:, :, 16:32, 16:32]  # one tile of sixteen
    assert verbatim_copies(left, left).all()
    assert not verbatim_copies(right, left).any()


def test_flat_images_are_left_out() -> None:
    blank = np.full((1, 3, 32, 32), 250, np.uint8)
    assert worst_tile_rmse(blank, blank) == [0.0]
    assert not verbatim_copies(blank, blank).any()


def test_a_stored_photograph_is_still_verbatim() -> None:
    # Smooth colours with fine noise of 3 levels, as a photograph has; JPEG at quality 90 stays below the limit.
    rng = np.random.default_rng(8)
    y, x = np.mgrid[0:64, 0:64] / 64
    picture = np.stack([255 * x, 255 * y, 127 + 120 * np.sin(6 * x * y)], axis=2) + 3 * rng.standard_normal((64, 64, 3))
    pixels = np.clip(picture, 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90, subsampling=0)
    stored = np.asarray(Image.open(file)).transpose(2, 0, 1)[None]
    assert 0 < worst_tile_rmse(stored, pixels.transpose(2, 0, 1)[None])[0] < MOST_TILE_RMSE


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="expected equal"):
        verbatim_copies(np.zeros((1, 1, 4, 4), np.uint8), np.zeros((1, 1, 4, 5), np.uint8))
