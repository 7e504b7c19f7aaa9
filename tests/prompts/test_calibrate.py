"""Calls beside controls: uniform p-values on real scores, false calls within the level, length and style taken out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, kstest

from auditor.checkpoint.load import LoadedCheckpoint
from auditor.checkpoint.tokens import read
from auditor.prompts.calibrate import calibrate
from auditor.prompts.style import style_features
from tests.prompts.conftest import Captions, bind, scores, setting

DEALINGS, HELD_OUT = 400, 200


@pytest.fixture(scope="module")
def world(twemoji: LoadedCheckpoint, captions: Captions) -> tuple[np.ndarray, np.ndarray]:
    """Real scores and features: 40 repeated captions, then 200 held out."""
    texts = captions.repeated + captions.held_out[:HELD_OUT]
    found = scores(twemoji, texts, ["magnitude"], setting(2, batch_size=64))["magnitude"]
    lengths = [reading.tokens for reading in read(bind(twemoji, texts).denoiser, texts)]
    return found, style_features(texts, lengths)


def dealt(world: tuple[np.ndarray, np.ndarray], dealing: int, tested: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of held-out captions dealt at random into tested ones and controls."""
    rows = 40 + np.random.default_rng([7, dealing]).permutation(HELD_OUT)
    return rows[:tested], rows[tested:]


def test_p_values_of_held_out_captions_are_uniform(world: tuple[np.ndarray, np.ndarray]) -> None:
    found, features = world
    p_values = []
    for dealing in range(DEALINGS):
        tested, controls = dealt(world, dealing, 60)
        one = calibrate(found[tested], found[controls], features[tested], features[controls])
        p_values.append(one.p_values[0])  # one of each dealing: those of one dealing depend on each other
    # steps of 1 / 141 shift the distribution by as much
    assert kstest(p_values, "uniform").statistic < 1.63 / DEALINGS**0.5 + 1 / 141


def test_nothing_to_find_is_called_no_more_often_than_the_level(world: tuple[np.ndarray, np.ndarray]) -> None:
    found, features = world
    calls = 0
    for dealing in range(DEALINGS):
        tested, controls = dealt(world, dealing, 60)
        q_values = calibrate(found[tested], found[controls], features[tested], features[controls]).q_values
        calls += bool((q_values <= 0.10).any())
    assert calls <= binom.isf(0.001, DEALINGS, 0.10)


def test_repeated_captions_are_called_and_few_others(world: tuple[np.ndarray, np.ndarray]) -> None:
    found, features = world
    power, false = [], []
    for dealing in range(100):
        tested, controls = dealt(world, dealing, 60)
        rows = np.concatenate([np.arange(40), tested])
        called = calibrate(found[rows], found[controls], features[rows], features[controls]).q_values <= 0.10
        power.append(called[:40].mean())
        false.append(called[40:].sum() / max(1, called.sum()))
    assert np.mean(power) > 0.9
    # the mean of 100 shares, each within about 0.05 of its expectation
    assert np.mean(false) < 0.10 + 3 * np.std(false) / 10


def test_style_is_not_taken_for_memorisation() -> None:
    """Longer prompts score higher here, and nothing is memorised: length is taken out, and nothing is called."""
    draw = np.random.default_rng(8)
    calls, naive, adjusted = 0, [], []
    for _ in range(50):
        lengths = [draw.integers(8, 16, 60), draw.integers(4, 16, 200)]
        texts = [[" ".join(["word"] * length) for length in side] for side in lengths]
        features = [style_features(text, length) for text, length in zip(texts, lengths, strict=True)]
        values = [length + 0.3 * draw.standard_normal(len(length)) for length in lengths]
        found = calibrate(*values, *features)
        calls += bool((found.q_values <= 0.10).any())
        adjusted.append(found.p_values.mean())
        naive.append(calibrate(*values, *(np.zeros((len(side), 0), np.float32) for side in values)).p_values.mean())
    assert calls <= binom.isf(0.001, 50, 0.10)
    # lengths 8..15 among 4..15 lie at 1/3 of the ranks from the top on average; adjusted, in the middle
    assert np.mean(naive) < 0.4 and abs(np.mean(adjusted) - 0.5) < 0.05


def test_unscored_prompts_stay_unscored_and_cost_nothing() -> None:
    draw = np.random.default_rng(9)
    tested, controls = draw.standard_normal(10), draw.standard_normal(50)
    tested[3], controls[7] = np.nan, np.nan
    features = np.zeros((60, 2), np.float32)
    found = calibrate(tested, controls, features[:10], features[10:])
    assert np.isnan([found.adjusted[3], found.p_values[3], found.q_values[3]]).all()
    keep = np.arange(10) != 3
    without = calibrate(tested[keep], np.delete(controls, 7), features[:9], features[10:59])
    assert found.p_values[keep] == pytest.approx(without.p_values)


def test_features_say_length_and_style() -> None:
    rows = style_features(["A dog", "a dog", "a dog, 1!", "犬", ""], [2, 2, 5, 1, 0])
    assert rows.shape == (5, 136) and np.isfinite(rows).all()
    capitals, digits, marks, foreign = rows[:, 4:8].T
    assert capitals[0] > 0 == capitals[1] and digits[2] > 0 and marks[2] > 0 and foreign[3] == 1
    assert rows[:, 0].tolist() == [2, 2, 5, 1, 0]
    assert np.array_equal(rows[0, 8:], rows[1, 8:])  # n-grams are folded
    assert not np.array_equal(rows[1, 8:], rows[2, 8:])
    assert style_features([], []).shape == (0, 136)
