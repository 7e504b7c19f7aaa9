"""The pixel encoder against its definition: Pearson correlation, computed by NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.encoders.pixel import PixelEncoder, area_weights
from tests.encoders.pictures import garments, jpeg, noisy, ranks_of_originals

# two unit vectors rounded to float32 (2^-24 relative per entry) keep their inner product to 2 * 2^-24 = 1.2e-7
FLOAT32 = 2e-7


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 16, 16), (1, 28, 28), (3, 32, 20)])
def test_similarity_is_the_correlation_of_the_pixels(shape: tuple[int, int, int]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (9, *shape), dtype=np.uint8)
    embedding = PixelEncoder(*shape)(pixels)
    expected = np.corrcoef(pixels.reshape(9, -1).astype(np.float64))
    assert np.abs(embedding.astype(np.float64) @ embedding.T.astype(np.float64) - expected).max() < FLOAT32
    assert np.abs(np.linalg.norm(embedding, axis=1) - 1).max() < FLOAT32


def test_brightness_and_contrast_drop_out_and_mirroring_does_not() -> None:
    rng = np.random.default_rng(2)
    encode = PixelEncoder(1, 16, 16)
    pixels = rng.integers(0, 100, (4, 1, 16, 16), dtype=np.uint8)
    original, brighter, mirrored = encode(pixels), encode(2 * pixels + 50), encode(pixels[..., ::-1].copy())
    assert np.abs(original - brighter).max() < FLOAT32
    assert ((original * mirrored).sum(axis=1) < 0.5).all()  # independent noise: 0 +- 1/16, and 0.5 is eight deviations


def test_flat_images_are_alike_and_orthogonal_to_all_others() -> None:
    levels = np.array([0, 128, 255], np.uint8).reshape(3, 1, 1, 1) * np.ones((1, 3, 8, 8), np.uint8)
    one_pixel_off = np.full((1, 3, 8, 8), 77, np.uint8)
    one_pixel_off[0, 1, 2, 3] += 1
    encode = PixelEncoder(3, 8, 8)
    flat, other = encode(levels), encode(one_pixel_off)
    assert (flat @ flat.T == 1).all()
    assert (flat @ other.T == 0).all() and abs(np.linalg.norm(other) - 1) < FLOAT32


def test_a_large_flat_image_is_flat_after_reduction() -> None:
    encode = PixelEncoder(1, 50, 77)  # area weights that are no round numbers
    assert (encode(np.full((1, 1, 50, 77), 200, np.uint8))[:, -1] == 1).all()


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.integers(1, 90), st.integers(1, 90))
def test_area_weights_average_and_cover_every_pixel_equally(size: int, reduced: int) -> None:
    weights = area_weights(max(size, reduced), min(size, reduced))
    assert np.abs(weights.sum(axis=1) - 1).max() < 1e-12
    assert np.abs(weights.sum(axis=0) - min(size, reduced) / max(size, reduced)).max() < 1e-12
    assert (weights >= 0).all()


def test_reduction_of_a_whole_factor_is_block_averaging() -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (5, 3, 64, 128), dtype=np.uint8)
    blocks = pixels.reshape(5, 3, 32, 2, 32, 4).astype(np.float64).mean(axis=(3, 5)).reshape(5, -1)
    embedding = PixelEncoder(3, 64, 128)(pixels).astype(np.float64)
    assert np.abs(embedding @ embedding.T - np.corrcoef(blocks)).max() < FLOAT32


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 70, 45)])
def test_an_embedding_is_bit_equal_whatever_the_batch(shape: tuple[int, int, int]) -> None:
    pixels = np.random.default_rng(4).integers(0, 256, (13, *shape), dtype=np.uint8)
    encode = PixelEncoder(*shape)
    assert np.array_equal(encode(pixels), np.concatenate([encode(pixels[i : i + 1]) for i in range(13)]))


def test_copies_of_garments_are_nearer_than_other_garments(fixtures: Path) -> None:
    pixels = garments(fixtures, 300)
    encode = PixelEncoder(1, 16, 16)
    originals = encode(pixels)
    for copies in (jpeg(pixels, 75), noisy(pixels, 8, seed=5)):
        assert (ranks_of_originals(encode(copies), originals) == 0).mean() > 0.97
    # negative control: originals that are not in the set are not found; ranks are those of strangers
    strangers = np.roll(originals, 1, axis=0)
    assert (ranks_of_originals(encode(jpeg(pixels, 75)), strangers) == 0).mean() < 0.02


def test_images_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected uint8\[B"):
        PixelEncoder(1, 16, 16)(np.zeros((1, 1, 16, 17), np.uint8))
    with pytest.raises(ValueError, match="float"):
        PixelEncoder(1, 16, 16)(np.zeros((1, 1, 16, 16), np.float32))
