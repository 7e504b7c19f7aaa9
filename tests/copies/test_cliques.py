"""Cliques: what a smooth law makes by chance, what repeats, and the distances that tell them apart."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from auditor.copies.clique_search import PATCHED, search_cliques
from auditor.copies.cliques import CHANCE, chance_law, find_cliques, join_cliques
from auditor.copies.distances import Cloud, embedded, patched
from auditor.copies.verbatim import worst_tile_rmse


def smooth(count: int, seed: int, dim: int = 8, scale: tuple[float, ...] = ()) -> Cloud:
    """Normal points; scales stretch the first axes, so that no single dimension describes the cloud."""
    points = np.random.default_rng(seed).standard_normal((count, dim))
    points[:, : len(scale)] *= scale
    return Cloud([points.astype(np.float32)])


def with_repeats(cloud: Cloud, pictures: int, each: int, scatter: float, seed: int = 1) -> Cloud:
    """The cloud, its last points replaced by ``pictures`` atoms of ``each`` scattered points."""
    points = cloud.parts[0].copy()
    rng = np.random.default_rng(seed)
    for picture in range(pictures):
        rows = np.arange(picture * each, (picture + 1) * each)
        points[-1 - rows] = points[picture] + scatter * rng.standard_normal((each, points.shape[1]))
    return Cloud([points])


def search(cloud: Cloud, least: int = 5) -> tuple[int | None, list[NDArray[np.int64]]]:
    found = search_cliques(cloud, rows=np.arange(len(cloud)), measure="test", generations=len(cloud), least=least)
    return found.search.pictures, found.members


@pytest.mark.parametrize("scale", [(), (5.0, 3.0, 2.0), (4.0, 4.0, 4.0, 4.0)])
@pytest.mark.parametrize("least", [2, 5, 10])
def test_chance_cliques_are_as_rare_as_said(scale: tuple[float, ...], least: int) -> None:
    """60 searches of smooth clouds: with an expectation of at most 0.05 each, 8 or more have probability 0.01."""
    false = [search(smooth(600, seed, scale=scale), least)[0] for seed in range(60)]
    assert None not in false
    assert sum(bool(count) for count in false) < 8


@pytest.mark.parametrize("dim", [3, 4, 32])
def test_so_are_they_whatever_the_dimension(dim: int) -> None:
    assert sum(bool(search(smooth(600, seed, dim=dim))[0]) for seed in range(60)) < 8


def test_clusters_as_wide_as_kinds_of_pictures_are_no_cliques() -> None:
    """Ten kinds of pictures, each with half of the spread of the whole: many near neighbours, none a repeat."""
    rng = np.random.default_rng(3)
    centres = 2 * rng.standard_normal((10, 8))
    points = centres[rng.integers(0, 10, 1_000)] + rng.standard_normal((1_000, 8))
    assert search(Cloud([points.astype(np.float32)]))[0] == 0


def test_every_repeated_picture_is_found_once() -> None:
    count, members = search(with_repeats(smooth(800, 0, dim=12), pictures=7, each=12, scatter=0.01))
    assert count == 7
    assert sorted(map(len, members)) == [13] * 7  # the 12 and the point that they repeat
    for found in members:
        assert len({int(row) % 800 for row in found if row < 7}) == 1


def test_a_picture_that_most_generations_show_is_found() -> None:
    cloud = with_repeats(smooth(1_000, 0), pictures=1, each=700, scatter=0.01)
    count, members = search(cloud)
    assert count == 1 and len(members[0]) > 690


def test_too_few_different_pictures_give_no_radius() -> None:
    cloud = with_repeats(smooth(400, 0), pictures=10, each=39, scatter=0.001)
    found = search_cliques(cloud, rows=np.arange(400), measure="test", generations=400)
    assert found.search.pictures is None and "bunch" in (found.search.unscored or "")


def test_a_few_pictures_that_share_most_generations_are_no_law() -> None:
    """Eight pictures of 90 generations among 1,000: pairs within pictures pass for the nearest 3% of all."""
    found = search_cliques(
        with_repeats(smooth(1_000, 0), pictures=8, each=90, scatter=0.01), rows=np.arange(1_000), measure="test",
        generations=1_000,
    )  # fmt: skip
    assert found.search.pictures is None and "bunch" in (found.search.unscored or "")


@pytest.mark.parametrize("count", [0, 1, 3])
def test_hardly_any_generations_give_no_radius(count: int) -> None:
    cloud = smooth(count, 0)
    found = search_cliques(cloud, rows=np.arange(count), measure=PATCHED, generations=count)
    assert found.search.unscored and found.search.published == 0 and not found.members


def test_the_radius_is_where_the_expectation_is_the_chance_allowed() -> None:
    law = chance_law(smooth(1_000, 0))
    assert not isinstance(law, str)
    radius = law.radius(1_000)
    assert law.expected(1_000, radius) == pytest.approx(CHANCE)
    assert law.radius(100_000) < radius  # more generations, more chance
    assert 3 < law.dimension < 8  # of 8 dimensions; at a distance it looks lower


def test_cliques_are_complete_and_disjoint() -> None:
    cloud = smooth(300, 0, dim=2)
    cliques = find_cliques(cloud, 0.3, 3)
    assert len(cliques) > 5
    points = cloud.parts[0].astype(np.float64)
    for members in cliques:
        assert max(np.linalg.norm(points[a] - points[b]) for a, b in combinations(members, 2)) <= 0.3
    rows = np.concatenate(cliques)
    assert len(set(rows.tolist())) == len(rows)
    joined = join_cliques(cloud, cliques, 0.3)
    assert sorted(np.concatenate(joined).tolist()) == sorted(rows.tolist()) and len(joined) < len(cliques)


def test_patched_distance_is_the_worst_tile() -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 3, 17, 22)).astype(np.uint8)
    pairs = np.array(list(combinations(range(6), 2)))
    cloud = patched([images[:4], images[4:]])
    every = np.arange(6)
    found = cloud.to(every, every)[pairs[:, 0], pairs[:, 1]]
    expected = worst_tile_rmse(images[pairs[:, 0]], images[pairs[:, 1]]) / 255
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    ((_, whole),) = cloud.blocks()
    np.testing.assert_allclose(whole[pairs[:, 0], pairs[:, 1]], expected, rtol=1e-3)


def test_large_images_are_reduced_first() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 1, 128, 96)).astype(np.uint8)
    assert patched([images]).parts[0].shape == (3, 16 * 16)


def test_embedded_distance_is_of_unit_vectors() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((5, 7))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    distance = embedded(vectors).to(np.array([0]), np.arange(5))[0]
    np.testing.assert_allclose(distance, np.sqrt(np.maximum(2 - 2 * (vectors @ vectors[0]), 0)), atol=1e-3)


def test_a_picture_of_thousands_is_joined_from_cliques_of_bounded_size() -> None:
    cloud = with_repeats(smooth(4_000, 0, dim=6), pictures=1, each=3_000, scatter=0.001)
    cliques = find_cliques(cloud, 0.05, 5)
    assert [len(members) for members in cliques] == [2_048, 953]  # with the point that they repeat
    assert [len(members) for members in join_cliques(cloud, cliques, 0.1)] == [3_001]


def test_generations_of_one_prompt_are_not_independent_of_each_other() -> None:
    """Nothing is learnt by heart, yet what one prompt is answered with bunches: one generation a prompt is compared."""
    rng = np.random.default_rng(0)
    asked = np.repeat(rng.standard_normal((100, 32)), 10, axis=0)
    answered = Cloud([(asked + 0.3 * rng.standard_normal(asked.shape)).astype(np.float32)])
    assert (search(answered)[0] or 0) > 10
    assert search(answered.take(np.arange(0, len(answered), 10)))[0] == 0
