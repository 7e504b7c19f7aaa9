"""Planted copies: what the transformations do, and what they measure on real garments."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from auditor.copies.pool import floor_of_planted
from auditor.encoders.pixel import PixelEncoder
from auditor.store.parts import Estimate
from auditor.validity.planted import embed_planted, plant, planted_check, sample_originals
from auditor.validity.transformations import FAITHFUL, PHOTOGRAPHIC, crop, jpeg, mirror, noise, quantise, tone

RNG = np.random.default_rng(0)
EVERY = {**FAITHFUL, **{f"photo {name}": change for name, change in PHOTOGRAPHIC.items()}}


def garments(fixtures: Path, count: int) -> np.ndarray:
    paths = sorted((fixtures / "memorized" / "holdout").glob("*.png"))[:count]
    return np.stack([np.asarray(Image.open(path)) for path in paths])[:, None]


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 20, 31)])
def test_shape_and_type_are_kept_and_the_input_is_not_changed(name: str, shape: tuple[int, ...]) -> None:
    image = RNG.integers(0, 256, shape, np.uint8)
    before = image.copy()
    changed = EVERY[name](image, np.random.default_rng(1))
    assert (changed.shape, changed.dtype) == (shape, np.uint8)
    assert np.array_equal(image, before)


def test_values_by_hand() -> None:
    image = np.array([[[0, 100, 253]]], np.uint8)
    assert tone(1.0, 6.0)(image, RNG).tolist() == [[[6, 106, 255]]]
    assert quantise(6)(image, RNG).tolist() == [[[2, 102, 254]]]  # steps of 4, middle 1.5 rounded half to even
    assert mirror(image, RNG).tolist() == [[[253, 100, 0]]]
    assert crop(1.0)(image, RNG).tolist() == image.tolist()


def test_noise_has_its_deviation() -> None:
    # 10,000 pixels in mid-range: standard error of a standard deviation 4 / sqrt(2e4) = 0.028, plus rounding 1/12.
    changed = noise(4.0)(np.full((1, 100, 100), 128, np.uint8), np.random.default_rng(2))
    assert changed.std() == pytest.approx(np.sqrt(16 + 1 / 12), abs=0.12)


def test_jpeg_is_the_file_round_trip() -> None:
    image = RNG.integers(0, 256, (3, 16, 16), np.uint8)
    file = io.BytesIO()
    Image.fromarray(image.transpose(1, 2, 0)).save(file, "JPEG", quality=50, subsampling=0)
    assert np.array_equal(jpeg(50)(image, RNG), np.asarray(Image.open(file)).transpose(2, 0, 1))


def test_draws_depend_on_seed_and_position_alone() -> None:
    images = RNG.integers(0, 256, (6, 1, 8, 8), np.uint8)
    whole = plant(images, FAITHFUL, "seed")
    assert np.array_equal(whole["noise 1%"][:3], plant(images[:3], FAITHFUL, "seed")["noise 1%"])
    assert not np.array_equal(whole["noise 1%"], plant(images, FAITHFUL, "other")["noise 1%"])
    same = plant(np.repeat(images[:1], 2, axis=0), FAITHFUL, "seed")["noise 1%"]
    assert not np.array_equal(same[0], same[1])


def test_originals_are_distinct_and_know_no_order() -> None:
    digest = np.array([5, 5, 1, 2, 3, 3, 4])
    rows = sample_originals(digest, "s", 4)
    assert len(set(digest[rows])) == 4
    order = np.array([6, 3, 2, 0, 4, 1, 5])
    again = order[sample_originals(digest[order], "s", 4)]
    assert set(digest[rows]) == set(digest[again])
    assert len(sample_originals(digest, "s")) == 5  # all, where there are fewer than asked for


def test_faithful_copies_stand_out_from_other_garments_and_photographic_ones_do_not(fixtures: Path) -> None:
    images = garments(fixtures, 1_500)
    encoder = PixelEncoder(1, 16, 16)
    similarity = encoder(images) @ encoder(images).T
    np.fill_diagonal(similarity, -1)
    other = np.quantile(similarity.max(axis=1), 0.99)
    rows = np.arange(100)
    assert floor_of_planted(embed_planted(rows, images[rows], encoder, "s")) > other
    assert floor_of_planted(embed_planted(rows, images[rows], encoder, "s", PHOTOGRAPHIC)) < other


def test_positive_control() -> None:
    found = Estimate(name="recall", value=0.9, lower=0.85, level=0.95, n=200)
    missed = Estimate(name="recall", value=0.5, lower=0.43, level=0.95, n=200)
    assert planted_check("pixel", found, {"noise": 0.9}).status == "passed"
    assert planted_check("pixel", missed, {"noise": 0.5}).status == "failed"
    none = Estimate(name="recall", value=None, unscored="no copies were planted")
    assert planted_check("pixel", none, {}).status == "not tested"
