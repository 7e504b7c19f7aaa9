"""What surrounds an image: duplicates, the nearest other image, generations that land, held-out images as near."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from auditor.copies.lookup import Surroundings, listed, survey_surroundings

THRESHOLD = 0.9


def unit(*angles: float) -> NDArray[np.float32]:
    """Unit vectors in the plane at angles in degrees."""
    radians = np.deg2rad(np.array(angles))
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def survey(image: float, training: list[float], holdout: list[float], generations: list[float]) -> Surroundings:
    none = np.empty((0, 2), np.float32)
    held = unit(*holdout) if holdout else none
    return survey_surroundings(unit(image), unit(*training), held, unit(*generations), THRESHOLD)


def test_duplicates_are_no_rivals_for_landing() -> None:
    """Training images at 0 and 5 degrees are duplicates (cosine 0.996), that at 60 is another one (0.5)."""
    around = survey(0, [0, 5, 60], [90], [10, 70, 59])
    assert [name for name, _ in listed(around.training, 0, THRESHOLD, "abc")] == ["a", "b"]
    assert around.other[0] == pytest.approx(0.5)
    assert around.landing[0] == 2  # cos 10 and cos 59 exceed 0.5, cos 70 does not
    assert around.generation[0] == 0


def test_a_generation_nearer_to_another_image_than_that_one_is_does_not_land() -> None:
    around = survey(0, [0, 30], [90], [40])
    assert around.landing[0] == 0 and around.other[0] == pytest.approx(np.cos(np.deg2rad(30)))


def test_hundreds_of_duplicates_do_not_hide_the_nearest_other_image() -> None:
    around = survey(0, [0.01 * step for step in range(500)] + [80], [85], [10])
    assert around.other[0] == pytest.approx(np.cos(np.deg2rad(80)))
    assert around.landing[0] == 1


def test_held_out_images_as_near_are_counted_without_its_own_duplicates() -> None:
    """Best generations of held-out images: 0 for 0 degrees (a duplicate of the image), 2 for 102, 20 for 120."""
    around = survey(1, [200], [0, 102, 120], [0, 100])
    assert around.rivals[0] == 2  # one of the three is its duplicate
    assert around.as_near[0] == 0 and around.p_value[0] == pytest.approx(1 / 3)
    assert survey(4, [200], [0, 102, 120], [0, 100]).as_near[0] == 1


def test_an_image_that_has_no_other_image_is_landed_on_by_all() -> None:
    around = survey(0, [0], [], [10, 170])
    assert around.other[0] == -1 and around.landing[0] == 2 and around.p_value[0] == 1


def test_p_values_of_held_out_images_are_uniform() -> None:
    """An image like the held-out ones has p <= a with probability a at most: 400 images, 5 standard deviations."""
    rng = np.random.default_rng(0)

    def vectors(count: int) -> NDArray[np.float32]:
        rows = rng.standard_normal((count, 12))
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    around = survey_surroundings(vectors(400), vectors(50), vectors(800), vectors(100), THRESHOLD)
    for level in (0.05, 0.25, 0.5):
        assert abs((around.p_value <= level).mean() - level) < 5 * np.sqrt(level / 400 + level / 800)
