"""The combined score: never scored by a fit that saw the image, centred on 1/2 without signal, above its parts with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from auditor.diffusion.score_table import ScoreTable, extend
from auditor.membership.combined import NAME, combine, fit_combination, robust_scale, signals_of
from auditor.membership.evaluate import Side, calibration_slice, evaluate
from auditor.stats.roc import auc
from tests.swept import swept


def side(table: ScoreTable, seed: str, rows: np.ndarray | None = None) -> Side:
    """A side of some rows of a table, 30% of them for calibration, beside a blind baseline that knows nothing."""
    rows = np.arange(len(table.ids)) if rows is None else rows
    ids = [table.ids[row] for row in rows]
    part = replace(
        table,
        ids=ids,
        positions=np.arange(len(ids)),
        scores={name: {v: x[rows] for v, x in variants.items()} for name, variants in table.scores.items()},
    )
    return Side(part, np.random.default_rng(0).random(len(ids)), calibration_slice(ids, 0.3, seed))


def normal_side(draw: np.random.Generator, shift: np.ndarray, count: int, prefix: str) -> Side:
    """Scores of one attack with one variant per entry of ``shift``."""
    scores = draw.normal(size=(count, len(shift))) + shift
    variants = {f"t={place}": column for place, column in enumerate(scores.T)}
    ids = [f"{prefix}-{row}" for row in range(count)]
    table = ScoreTable(ids, np.arange(count), {"loss": variants}, [], 3 * count, 3 * count, {"loss": 3})
    return side(table, prefix)


def reported_auc(members: Side, nonmembers: Side, name: str, variant: str) -> float:
    return auc(*(s.table.scores[name][variant][~s.calibration] for s in (members, nonmembers)))


def test_signals_leave_out_attacks_that_use_labels():
    scores = {name: {"a": np.zeros(3), "b": np.ones(3)} for name in ("loss", "gsa", "rmia", "lira", NAME, "loss-base")}
    assert signals_of(scores).shape == (3, 4)
    assert signals_of({"gsa": {"a": np.zeros(3)}}).shape == (3, 0)


def test_scales_are_robust_and_never_divide_by_zero():
    x = np.column_stack([np.arange(101.0), np.full(101, 7.0), np.r_[np.zeros(90), np.ones(11)], np.arange(101.0)])
    x[0, 3] = 1e9
    scaled = robust_scale(x)(x)
    assert scaled[:, 0] == pytest.approx((np.arange(101) - 50) / (50 / 1.349))
    assert (scaled[:, 1] == 0).all()
    assert np.isfinite(scaled).all() and scaled[:, 2].max() > 1
    assert scaled[0, 3] == 8  # an outlier is pulled in, and does not squeeze the others
    assert scaled[1:, 3].std() == pytest.approx(scaled[1:, 0].std(), rel=0.05)


def test_the_fit_is_the_best_of_its_penalties_out_of_fold():
    draw = np.random.default_rng(1)
    y = np.arange(300) < 150
    x = draw.normal(size=(300, 5)) + 0.8 * y[:, None] * np.array([1, 0, 0, 0, 0])
    found = fit_combination(x, y, "seed")
    scaled = found.scale(x)
    oracle = LogisticRegression(C=1 / (found.penalty * 300), tol=1e-10, max_iter=10_000).fit(scaled, y)
    assert found(x) == pytest.approx(oracle.decision_function(scaled), abs=1e-3)
    noise = fit_combination(draw.normal(size=(300, 5)), y, "seed")
    assert noise.penalty > found.penalty


def test_no_image_is_scored_by_a_fit_that_saw_it():
    """Changing the labels' side of one slice moves the scores of the other slice only."""
    draw = np.random.default_rng(2)
    members, nonmembers = (normal_side(draw, np.full(4, shift), 200, name) for shift, name in ((0.5, "m"), (0.0, "n")))
    before = combine(members, nonmembers, "seed")
    moved = {v: np.where(members.calibration, x + 5, x) for v, x in members.table.scores["loss"].items()}
    after = combine(replace(members, table=replace(members.table, scores={"loss": moved})), nonmembers, "seed")
    ours = [found.nonmembers.table.scores[NAME]["all signals"] for found in (before, after)]
    report = ~nonmembers.calibration
    assert np.array_equal(before.on_report.fit.weights, after.on_report.fit.weights)
    assert np.array_equal(ours[0][nonmembers.calibration], ours[1][nonmembers.calibration])
    assert not np.allclose(ours[0][report], ours[1][report])
    assert np.array_equal(before.on_calibration(signals_of(nonmembers.table.scores))[report], ours[0][report])


def test_without_signal_it_stays_centred_on_a_half_and_its_interval_covers():
    """200 meaningless splits of 20 noise signals, 140 against 140 reported.

    sd of one AUC 0.0345, of the mean of 200 0.0024: 0.0073 is three. Coverage 95%: fewer than 181 of 200 with
    probability 0.004.
    """
    draw, values, covered = np.random.default_rng(3), [], 0
    for _ in range(200):
        found = combine(*(normal_side(draw, np.zeros(20), 200, name) for name in "mn"), "seed")
        attack = evaluate(found.members, found.nonmembers)[-1]
        assert attack.name == NAME and attack.variant == "all signals"
        values.append(attack.auc.value)
        unshared = evaluate(*(only_combined(s) for s in (found.members, found.nonmembers)))[0].auc
        covered += unshared.lower <= 0.5 <= unshared.upper
    assert abs(np.mean(values) - 0.5) < 0.0073
    assert covered >= 181


def only_combined(side: Side) -> Side:
    return replace(side, table=replace(side.table, scores={NAME: side.table.scores[NAME]}))


def test_scored_by_its_own_fit_it_would_look_like_a_signal():
    """The control of the test above: 20 noise signals, scored where they were fitted."""
    draw, y = np.random.default_rng(4), np.arange(200) < 100
    values = []
    for _ in range(20):
        x = draw.normal(size=(200, 20))
        values.append(roc_auc_score(y, LogisticRegression(C=1.0).fit(x, y).decision_function(x)))
    assert np.mean(values) > 0.65


def test_real_held_out_images_split_at_random_stay_centred(fixtures: Path):
    """100 splits of 600 images that general-a never saw, 210 against 210 reported; the mean's sd is at most 0.0028."""
    table, values = swept(fixtures, "general-a", "nonmembers", 600).table, []
    for split in range(100):
        order = np.random.default_rng([5, split]).permutation(600)
        sides = [side(table, "s", order[half]) for half in (slice(0, 300), slice(300, 600))]
        found = combine(*sides, "seed")
        values.append(reported_auc(found.members, found.nonmembers, NAME, "all signals"))
    assert abs(np.mean(values) - 0.5) < 0.0085


def test_contrasts_of_signals_are_found():
    """Two signals share an image's own difficulty, which hides what their difference shows."""
    draw = np.random.default_rng(6)
    sides = []
    for name, shift in (("m", 0.5), ("n", 0.0)):
        made = normal_side(draw, np.zeros(2), 1000, name)
        hardness = 3 * draw.normal(size=1000)
        variants = {"t=0": hardness + 0.3 * draw.normal(size=1000) + shift, "t=1": hardness}
        sides.append(replace(made, table=replace(made.table, scores={"loss": variants})))
    found = combine(*sides, "seed")
    # the difference has d' = 0.5 / 0.3: an AUC of Phi(1.18) = 0.88; a signal alone has Phi(0.5 / 3 / sqrt 2) = 0.55
    assert reported_auc(found.members, found.nonmembers, NAME, "all signals") > 0.85
    assert reported_auc(found.members, found.nonmembers, "loss", "t=0") < 0.62


def test_real_members_are_told_at_least_as_well_as_by_the_best_attack(fixtures: Path):
    """On ``memorized`` all are perfect; on ``partial`` the combination must not lose more than 0.02 to any."""
    for name, count in (("memorized", 128), ("partial", 300)):
        sides = [
            side(swept(fixtures, name, kind, n).table, kind) for kind, n in (("members", count), ("nonmembers", 300))
        ]
        found = combine(*sides, "seed")
        attacks = {attack.name: attack.auc.value for attack in evaluate(found.members, found.nonmembers)}
        assert attacks[NAME] >= max(attacks.values()) - 0.02, attacks
        if name == "memorized":
            assert attacks[NAME] > 0.99


def test_what_it_costs_is_what_its_signals_cost():
    draw = np.random.default_rng(7)
    sides = [normal_side(draw, np.zeros(3), 50, name) for name in "mn"]
    found = combine(*sides, "seed")
    assert found.members.table.per_image == {"loss": 3, NAME: 3}
    assert found.members.table.evaluations == 150
    # gradients at 30 an image, and RMIA's two references at 3 each, are paid for but are no signals
    dear = [replace(s, table=extend(s.table, {}, {"gsa": 30, "rmia": 9}, 50 * (30 + 6))) for s in sides]
    assert combine(*dear, "seed").members.table.per_image[NAME] == 3


def test_a_single_signal_or_a_single_image_is_not_combined():
    draw = np.random.default_rng(8)
    assert combine(*(normal_side(draw, np.zeros(1), 50, name) for name in "mn"), "seed") is None
    members, nonmembers = (normal_side(draw, np.zeros(3), 50, name) for name in "mn")
    one = np.arange(50) == 0
    assert combine(replace(members, calibration=one), nonmembers, "seed") is None
