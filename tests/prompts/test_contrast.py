"""Who knows a prompt, the fine-tune or its base: few false charges, whatever a prompt is instead; true ones found."""

from __future__ import annotations

import numpy as np
import pytest

from auditor.prompts.calibrate import calibrate
from auditor.prompts.contrast import Contrast, contrast

ALPHA, M = 0.10, 400


def told(draw: np.random.Generator, effects: list[tuple[float, float]], moved: float = 0.0) -> Contrast:
    """Prompts with (effect on the base, effect on the fine-tune) beside controls without; ``moved`` lifts everything.

    What both checkpoints see of a prompt is shared, as it is between a base and its fine-tune.
    """

    def scores(extra: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        shared = draw.standard_normal(len(extra))
        base = shared + extra[:, 0] + 0.3 * draw.standard_normal(len(extra))
        return shared + extra[:, 1] + moved + 0.3 * draw.standard_normal(len(extra)), base

    fine_tune, base = scores(np.array(effects))
    controls, base_controls = scores(np.zeros((M, 2)))
    features = tuple(np.zeros((size, 0), np.float32) for size in (len(effects), M))
    return contrast((fine_tune, controls), (base, base_controls), features, ALPHA)


def test_each_origin_is_told() -> None:
    none, added, base, lost = [(0.0, 0.0)] * 40, [(0.0, 8.0)] * 10, [(8.0, 8.0)] * 10, [(8.0, 0.0)] * 10
    found = told(np.random.default_rng(1), none + added + base + lost, moved=3.0)
    assert found.origin[40:50] == ("added",) * 10
    assert found.origin[50:60] == ("base",) * 10 and (found.p_values[50:60] == 1).all()
    assert found.origin[60:] == ("base alone",) * 10
    assert found.origin[:40].count("none") >= 35


def test_false_charges_keep_to_the_level_whatever_a_prompt_is_instead() -> None:
    """Two kinds of prompts that are not added stand beside added ones: the base's, too weak for it to be called on the
    base alone, and risen ones that do not stand out. Only one of the two tests rejects either.
    """
    draw, shares, power = np.random.default_rng(2), [], []
    for _ in range(300):
        effects = [(0.0, 0.0)] * 30 + [(2.5, 2.5)] * 20 + [(-2.5, 0.0)] * 20 + [(0.0, 6.0)] * 20
        added = np.array([origin == "added" for origin in told(draw, effects).origin])
        shares.append(added[:70].sum() / max(1, added.sum()))
        power.append(added[70:].mean())
    # three standard errors of the mean of 300 shares
    assert np.mean(shares) < ALPHA + 3 * np.std(shares) / 300**0.5
    assert np.mean(power) > 0.9


def test_one_test_alone_would_charge_the_base_s_prompts_and_those_that_only_rose() -> None:
    """The control of the test above: either p-value alone breaks the level on the same prompts."""
    draw = np.random.default_rng(3)
    shares: dict[str, list[float]] = {"score": [], "rise": []}
    for _ in range(50):
        extra = np.array([(0.0, 0.0)] * 30 + [(2.5, 2.5)] * 20 + [(-2.5, 0.0)] * 20 + [(0.0, 6.0)] * 20)
        shared, controls = draw.standard_normal(len(extra)), draw.standard_normal(M)
        noise = [0.3 * draw.standard_normal(len(extra) + M) for _ in range(2)]
        own = np.concatenate([shared + extra[:, 1], controls]) + noise[0]
        base = np.concatenate([shared + extra[:, 0], controls]) + noise[1]
        nothing = np.zeros((len(extra), 0), np.float32), np.zeros((M, 0), np.float32)
        for name, values in (("score", own), ("rise", own - base)):
            called = calibrate(values[: len(extra)], values[len(extra) :], *nothing).q_values <= ALPHA
            shares[name].append(called[:70].sum() / max(1, called.sum()))
    assert np.mean(shares["score"]) > 2 * ALPHA and np.mean(shares["rise"]) > 2 * ALPHA


def test_nothing_is_added_where_the_fine_tune_is_its_base() -> None:
    draw = np.random.default_rng(4)
    tested, controls = draw.standard_normal(60) + 6 * (np.arange(60) < 20), draw.standard_normal(M)
    features = tuple(draw.standard_normal((size, 3)).astype(np.float32) for size in (60, M))
    found = contrast((tested, controls), (tested, controls), features, ALPHA)
    assert set(found.origin) == {"base", "none"} and found.origin[:20].count("base") == 20
    assert found.q_values == pytest.approx(1)


def test_what_has_no_score_on_either_is_not_charged() -> None:
    draw = np.random.default_rng(5)
    tested, base = draw.standard_normal(30) + 9, draw.standard_normal(30)
    tested[3], base[4] = np.nan, np.nan
    controls = draw.standard_normal(M), draw.standard_normal(M)
    features = tuple(np.zeros((size, 0), np.float32) for size in (30, M))
    found = contrast((tested, controls[0]), (base, controls[1]), features, ALPHA)
    assert np.isnan(found.q_values[[3, 4]]).all() and np.isfinite(np.delete(found.q_values, [3, 4])).all()
    assert found.origin[3] == "none" and found.origin[4] == "undecided" and found.origin.count("added") == 28
