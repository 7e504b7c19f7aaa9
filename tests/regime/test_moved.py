"""What moved onto fine-tuning images, against plain counting and against a fine-tuning that did nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from auditor.errors import DataError
from auditor.regime.landing import Landing
from auditor.regime.moved import moved
from auditor.stats.intervals import clopper_pearson
from auditor.store.comparison import Moved

TRAINING = np.array([True, True, False])  # items 0 and 1 were trained on


def landing(item: np.ndarray, on_item: np.ndarray, similarity: np.ndarray | None = None) -> Landing:
    near = np.full(len(item), 0.9) if similarity is None else similarity
    return Landing(item, on_item, near, item)


def compare(base: Landing, tuned: Landing, probes: np.ndarray | None = None) -> Moved:
    numbers = np.arange(len(base.item)) if probes is None else probes
    return moved(base, tuned, TRAINING, numbers, encoder="pixel", names=("base", "tuned"))


def test_probes_are_counted_by_where_they_were_and_are() -> None:
    base = landing(np.array([0, 2, 1, 2, 0, 1]), np.array([True, True, False, True, True, True]))
    near = np.array([0.8, 0.7, 0.99, 0.9, 0.9, 0.9])
    tuned = landing(np.array([1, 0, 1, 2, 2, 1]), np.array([True, True, True, True, True, False]), near)
    found = compare(base, tuned, np.array([10, 11, 12, 13, 14, 15]))
    assert found.onto.value == pytest.approx(2 / 6)  # probes 11 and 12
    assert (found.onto.lower, found.onto.upper) == clopper_pearson(2, 6)
    assert found.off.value == pytest.approx(2 / 6)  # probes 14 and 15
    assert found.stayed == pytest.approx(1 / 6)  # probe 10, though on another image
    assert found.p_value == pytest.approx(binomtest(2, 4, 0.5, alternative="greater").pvalue)
    assert found.examples == [12, 11]  # nearest first
    assert (found.base, found.tuned, found.probes) == ("base", "tuned", 6)


def test_a_fine_tuning_that_copies_is_seen_with_its_examples() -> None:
    rng = np.random.default_rng(1)
    base = landing(np.full(500, 2), np.ones(500, bool))
    drawn = rng.random(500) < 0.2
    found = compare(base, landing(np.where(drawn, 0, 2), np.ones(500, bool), rng.random(500)))
    assert found.p_value < 1e-10 and found.onto.lower > 0.1 and found.off.value == 0.0
    assert len(found.examples) == 32 and all(drawn[probe] for probe in found.examples)


def test_a_fine_tuning_that_changed_nothing_is_not_accused() -> None:
    rng = np.random.default_rng(2)
    p = []
    for _ in range(400):
        base, tuned = (landing(rng.integers(0, 3, 200), rng.random(200) < 0.3) for _ in range(2))
        p.append(compare(base, tuned).p_value)
    assert np.mean(np.array(p) <= 0.05) < 0.05 + 2 * math.sqrt(0.05 * 0.95 / 400)
    same = landing(np.array([0, 2, 1]), np.ones(3, bool))
    assert compare(same, same).p_value == 1.0 and compare(same, same).examples == []


def test_no_probes() -> None:
    none = landing(np.empty(0, np.int64), np.empty(0, bool))
    found = compare(none, none)
    assert found.onto.value is None and found.stayed == 0.0 and found.p_value == 1.0


def test_other_probes_are_refused() -> None:
    few, many = landing(np.zeros(2, np.int64), np.ones(2, bool)), landing(np.zeros(3, np.int64), np.ones(3, bool))
    with pytest.raises(DataError, match="one row per probe"):
        compare(few, many)


def test_prompts_are_counted_once_each() -> None:
    """Ten prompts of four probes: two move on with all, one with one and off with two; the rest stay off."""
    prompt, training = np.arange(40) % 10, np.array([True, False])
    before, after = np.ones(40, int), np.ones(40, int)
    after[prompt < 2] = 0
    third = np.flatnonzero(prompt == 2)
    before[third[:2]], after[third[2]] = 0, 0

    def by_prompt(asked: np.ndarray | None) -> Moved:
        sides = landing(before, np.ones(40, bool)), landing(after, np.ones(40, bool))
        return moved(*sides, training, np.arange(40), encoder="pixel", names=("a", "b"), prompt=asked)

    found = by_prompt(prompt)
    assert found.onto.value == pytest.approx(9 / 40) and found.onto.n == 10
    assert (found.onto.lower, found.onto.upper) == (clopper_pearson(2, 10).lower, clopper_pearson(3, 10).upper)
    assert found.p_value == pytest.approx(binomtest(2, 3, 0.5, alternative="greater").pvalue)
    assert by_prompt(None).p_value < 0.05 < found.p_value  # eleven probes of three prompts
