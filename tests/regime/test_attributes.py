"""The attribute classifier against brute force, and the shares and ratios it leads to."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from auditor.errors import DataError
from auditor.regime.attributes import distribution, knn_labels, zero_shot_labels
from auditor.regime.ratio import koopman
from auditor.stats.intervals import clopper_pearson
from tests.regime.columns import unit


def classes(rng: np.random.Generator, count: int, spread: float = 0.6) -> tuple[np.ndarray, np.ndarray]:
    labels = rng.integers(0, 4, count)
    return unit(np.eye(4, 10)[labels] + spread * rng.standard_normal((count, 10))), labels


def brute(query: np.ndarray, reference: np.ndarray, labels: np.ndarray, k: int) -> int:
    nearest = labels[np.argsort(-(reference.astype(np.float64) @ query.astype(np.float64)), kind="stable")[:k]]
    counts = Counter(nearest.tolist())
    return next(int(label) for label in nearest if counts[int(label)] == max(counts.values()))


@pytest.mark.parametrize("k", [1, 2, 10, 200])
def test_labels_are_those_of_most_neighbours(k: int) -> None:
    rng = np.random.default_rng(1)
    reference, labels = classes(rng, 120)
    queries, _ = classes(rng, 80)
    expected = [brute(query, reference, labels, min(k, 120)) for query in queries]
    assert knn_labels(queries, reference, labels, k=k).tolist() == expected


def test_ties_go_to_the_nearest_image() -> None:
    angles = np.deg2rad([10, 20, 30, 40])
    reference = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    query = np.array([[1, 0]], np.float32)
    assert knn_labels(query, reference, np.array([2, 0, 0, 2]), k=4).tolist() == [2]
    assert knn_labels(query, reference, np.array([0, 2, 2, 0]), k=4).tolist() == [0]


def test_an_image_has_no_vote_on_itself() -> None:
    rng = np.random.default_rng(2)
    reference, _ = classes(rng, 150)
    labels = rng.integers(0, 4, 150)  # labels that say nothing: an honest accuracy is 1/4
    own = knn_labels(reference, reference, labels, k=1)
    assert (own == labels).all()
    without = knn_labels(reference, reference, labels, k=1, own_row=np.arange(150))
    assert (without == labels).mean() == pytest.approx(0.25, abs=4 * math.sqrt(0.25 * 0.75 / 150))
    for k in (1, 10):
        expected = [brute(reference[i], np.delete(reference, i, 0), np.delete(labels, i), k) for i in range(150)]
        assert knn_labels(reference, reference, labels, k=k, own_row=np.arange(150)).tolist() == expected


def test_repeats_keep_their_vote_and_strangers_lose_none() -> None:
    reference = np.repeat(np.eye(3, dtype=np.float32), 5, axis=0)  # each image five times, hidden from its own search
    labels = np.repeat([0, 1, 2], 5)
    assert np.array_equal(knn_labels(reference, reference, labels, k=2, own_row=np.arange(15)), labels)
    stranger = unit(np.array([[0.1, 1.0, 0.0]]))
    assert knn_labels(stranger, reference, labels, k=3, own_row=np.array([-1])).tolist() == [1]


def test_reference_images_are_needed() -> None:
    eye = np.eye(3, dtype=np.float32)
    with pytest.raises(DataError, match="labels: got 2; expected 3"):
        knn_labels(eye, eye, np.array([0, 1]))
    with pytest.raises(DataError, match="reference: got 1 images"):
        knn_labels(eye[:1], eye[:1], np.array([0]), own_row=np.array([0]))
    with pytest.raises(DataError, match="reference: got 0 images"):
        knn_labels(eye, eye[:0], np.array([], np.int64))


def test_zero_shot_takes_the_most_similar_text() -> None:
    texts = unit(np.array([[1.0, 0.2, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]))
    queries = unit(np.array([[0.1, 0.9, 0.2], [0.9, 0.0, 0.1], [0.1, 0.1, 0.9]]))
    assert zero_shot_labels(queries, texts).tolist() == [1, 0, 2]


def test_shares_accuracy_and_ratios() -> None:
    predicted, training = np.repeat([0, 1, 2], [60, 40, 0]), np.repeat([0, 1, 3], [100, 300, 100])
    names = ["coat", "bag", "shoe", "shirt"]
    found = distribution(predicted, names, encoder="pixel", source="a", training=training)
    assert [part.value for part in found.shares] == names
    assert [part.share.value for part in found.shares] == [0.6, 0.4, 0.0, 0.0]
    each = 1 - 0.05 / 4
    assert (found.shares[0].share.lower, found.shares[0].share.upper) == pytest.approx(clopper_pearson(60, 100, each))
    coat, bag, shoe, shirt = (part.share for part in found.amplification)
    assert coat.value == pytest.approx(3.0) and (coat.lower, coat.upper) == pytest.approx(
        koopman(60, 100, 100, 500, each)
    )
    assert bag.value == pytest.approx(2 / 3) and shirt.value == 0.0 and shirt.lower == 0.0 and shirt.upper < 1
    assert shoe.value is None and "no training image" in (shoe.unscored or "")
    assert found.accuracy.value is None and "no labels" in (found.accuracy.unscored or "")
    assert type(found).model_validate_json(found.model_dump_json()) == found  # no infinity that JSON cannot hold


def test_real_images_have_accuracy_and_no_amplification() -> None:
    found = distribution(
        np.array([0, 1, 1, 0]), ["x", "y"], encoder="pixel", source="held-out", truth=np.array([0, 1, 0, 0])
    )
    assert found.accuracy.value == 0.75 and found.accuracy.n == 4 and found.amplification == []


def test_no_generation_leaves_shares_and_ratios_unscored() -> None:
    found = distribution(np.array([], np.int64), ["x", "y"], encoder="pixel", source="a", training=np.array([0, 1]))
    assert all(part.share.value is None for part in (*found.shares, *found.amplification))


def test_all_shares_and_all_ratios_hold_together() -> None:
    rng = np.random.default_rng(3)
    truth, repetitions, missed, ratios_missed = np.array([0.7, 0.2, 0.09, 0.01]), 300, 0, 0
    for _ in range(repetitions):
        generated, trained = rng.choice(4, 200, p=truth), rng.choice(4, 400, p=truth)
        found = distribution(generated, list("abcd"), encoder="pixel", source="a", training=trained)
        shares = zip(found.shares, truth, strict=True)
        missed += not all(part.share.lower <= p <= part.share.upper for part, p in shares)
        scored = [part.share for part in found.amplification if part.share.value is not None]
        ratios_missed += not all(ratio.lower <= 1 <= ratio.upper for ratio in scored)
    for count in (missed, ratios_missed):
        assert count / repetitions < 0.05 + 2 * math.sqrt(0.05 * 0.95 / repetitions)


def test_exaggeration_is_seen() -> None:
    rng = np.random.default_rng(4)
    generated, trained = rng.choice(2, 2_000, p=[0.75, 0.25]), rng.choice(2, 2_000, p=[0.5, 0.5])
    more, less = distribution(generated, ["a", "b"], encoder="pixel", source="a", training=trained).amplification
    assert more.share.lower > 1.3 and less.share.upper < 0.7
