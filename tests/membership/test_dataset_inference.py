"""Dataset inference: uniform where nothing was used, by real scores; finds what was; withheld where images differ."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom, kstest

from auditor.membership.combined import robust_scale, signals_of
from auditor.membership.dataset_inference import (
    Evidence,
    Looks,
    confirm,
    infer,
    power_by_size,
    smallest_size,
)
from auditor.membership.set_conclusion import conclude, grounds
from auditor.stats.cross_validated import cross_validated_test
from tests.swept import swept

SPLITS = 500


@pytest.fixture(scope="module")
def heldout(request: pytest.FixtureRequest) -> Evidence:
    """600 real images that general-a never saw."""
    fixtures = Path(request.config.rootpath) / "fixtures"
    found = swept(fixtures, "general-a", "nonmembers", 600)
    return Evidence(signals_of(found.table.scores), found.statistics)


def null_p_values(x: np.ndarray, stream: int, size: int, *, permutations: int = 199) -> np.ndarray:
    """One-sided p-values of 500 random splits of held-out images into suspects and others."""
    p_values = np.empty(SPLITS)
    for split in range(SPLITS):
        draw = np.random.default_rng([stream, split])
        rows = draw.permutation(len(x))[: 2 * size]
        chosen = robust_scale(x[rows])(x[rows])
        test = cross_validated_test(chosen, np.arange(2 * size) < size, draw, permutations=permutations)
        p_values[split] = test.p_value
    return p_values


def spread(p_values: np.ndarray, permutations: int = 199) -> np.ndarray:
    """Uniform where p-values are uniform on the multiples of 1 / (B + 1): each moves within the step below it."""
    return p_values - np.random.default_rng(0).random(len(p_values)) / (permutations + 1)


@pytest.mark.parametrize("size", [20, 300])
def test_p_values_of_real_images_that_were_not_used_are_uniform(heldout: Evidence, size: int):
    """Also the rejections at 5%: 500 of them exceed the 99.9% quantile of a binomial once in a thousand runs."""
    p_values = null_p_values(heldout.signals, size, size)
    assert kstest(spread(p_values), "uniform").pvalue > 0.001
    rejected = int((p_values <= 0.05).sum())
    assert binom.ppf(0.001, SPLITS, 0.05) <= rejected <= binom.ppf(0.999, SPLITS, 0.05)


def test_blind_p_values_of_images_of_one_origin_are_uniform(heldout: Evidence):
    p_values = null_p_values(heldout.blind, 7, 40, permutations=99)
    assert kstest(spread(p_values, 99), "uniform").pvalue > 0.001


def test_a_t_test_of_out_of_fold_scores_would_not_be_uniform(heldout: Evidence):
    """The control of the tests above, and why labels are permuted through the fits: Welch's test at its nominal 5%.

    Scores are out of fold, by the same learners; only the reference distribution is another.
    """
    from scipy.stats import ttest_ind
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    p_values, size = np.empty(SPLITS), 60
    for split in range(SPLITS):
        rows = np.random.default_rng([3, split]).permutation(len(heldout.signals))[: 2 * size]
        x, y = robust_scale(heldout.signals[rows])(heldout.signals[rows]), np.arange(2 * size) < size
        folds = StratifiedKFold(5, shuffle=True, random_state=split)
        scores = cross_val_predict(LogisticRegression(C=0.1), x, y, cv=folds, method="decision_function")
        p_values[split] = ttest_ind(scores[y], scores[~y], equal_var=False, alternative="greater").pvalue
    assert kstest(p_values, "uniform").pvalue < 1e-6


def test_a_used_set_is_found_and_the_size_that_would_have_been_caught(fixtures: Path):
    """The power control: 128 members of ``memorized``, and 300 of ``partial``, of which one in fifty was repeated."""
    for name, count in (("memorized", 128), ("partial", 300)):
        ours, theirs = swept(fixtures, name, "members", count), swept(fixtures, name, "nonmembers", 300)
        found = infer(
            Evidence(signals_of(ours.table.scores), ours.statistics),
            Evidence(signals_of(theirs.table.scores), theirs.statistics),
            "seed",
            listed=False,
        )
        assert found.outcome == "used", name
        assert found.p_value <= 0.01 < 0.05 < found.blind_p_value
        assert found.familiarity > 0.5
        assert (found.suspects, found.heldout) == (count, 300)
        assert found.sizes[0].records == 20
        if name == "memorized":
            assert found.caught_at_1pct == found.caught_at_5pct == 20
            assert len(found.sizes) == 1  # every set of 20 was caught: larger ones need not be tried
        else:
            assert found.sizes[0].caught_at_5pct < 0.8 and len(found.sizes) == 3


def test_held_out_images_are_not_called_used(heldout: Evidence):
    halves = [Evidence(heldout.signals[rows], heldout.blind[rows]) for rows in (slice(0, 300), slice(300, None))]
    found = infer(*halves, "seed", listed=True)
    assert found.outcome == "not shown" and found.p_value > 0.01
    assert found.caught_at_1pct is None and [size.records for size in found.sizes] == [20, 50, 100]
    assert all(size.caught_at_1pct < 0.1 for size in found.sizes)


def test_the_same_seed_gives_the_same_answer(heldout: Evidence):
    parts = [Evidence(heldout.signals[rows], heldout.blind[rows]) for rows in (slice(0, 30), slice(30, 60))]
    assert infer(*parts, "seed", listed=True) == infer(*parts, "seed", listed=True)
    assert infer(*parts, "seed", listed=True) != infer(*parts, "other", listed=True)


def test_a_set_that_the_images_alone_tell_apart_is_withheld(heldout: Evidence):
    """Suspects that score higher, and are brighter as well: the checkpoint need not be why."""
    suspects = Evidence(heldout.signals[:100] + heldout.signals.std(0), heldout.blind[:100] + heldout.blind.std(0))
    found = infer(suspects, Evidence(heldout.signals[100:200], heldout.blind[100:200]), "seed", listed=True)
    assert found.p_value <= 0.01 and found.blind_p_value <= 0.05
    assert found.outcome == "withheld" and "images alone" in found.statement


def test_suspects_that_are_less_familiar_are_not_called_used(heldout: Evidence):
    suspects = Evidence(heldout.signals[:100] - heldout.signals.std(0), heldout.blind[:100])
    found = infer(suspects, Evidence(heldout.signals[100:200], heldout.blind[100:200]), "seed", listed=True)
    assert found.p_value <= 0.01 and found.familiarity < 0.5
    assert found.outcome == "withheld" and "familiar" in found.statement


def test_conclusions_at_their_limits():
    assert conclude(0.01, {"blind": 0.051}, 0.501, "") == ("used", conclude(0.01, {}, 0.501, "")[1])
    assert conclude(0.011, {"blind": 0.9}, 0.9, "")[0] == "not shown"
    assert conclude(0.01, {"blind": 0.05}, 0.9, "")[0] == "withheld"
    assert conclude(0.01, {"blind": 0.9}, 0.5, "")[0] == "withheld"
    outcome, statement = conclude(0.01, {"blind": 0.9, "shift": 0.05}, 0.9, "")
    assert outcome == "withheld" and "shift: p = 0.05" in statement and "blind" not in statement


@pytest.mark.parametrize(
    "looks", [Looks(shift_p_value=0.04, blind_check_p_value=0.5), Looks(shift_p_value=0.5, blind_check_p_value=0.04)]
)
def test_a_shift_or_a_blind_classifier_withholds_it(looks: Looks):
    found = infer(*difficult(0, used=0.5, harder=0)[0], "seed", listed=False, looks=looks)
    assert found.p_value <= 0.01 and found.blind_p_value > 0.05
    assert found.outcome == "withheld" and "p = 0.04" in found.statement
    assert infer(*difficult(0, used=0.5, harder=0)[0], "seed", listed=False).outcome == "used"


def test_what_it_rests_on_is_said_and_how_the_split_was_drawn():
    told = {(listed, split): grounds(listed, split) for listed in (True, False) for split in ("group", "unknown")}
    for (listed, split), ground in told.items():
        assert "assumption" in ground and "cannot prove it" in ground and "explain" not in ground
        assert ("listed records were chosen" in ground) == listed
        assert ("unknown" in ground) == (split == "unknown")
    assert "auditor split" in told[False, "group"]


Pair = tuple[Evidence, Evidence]


def difficult(study: int, *, used: float, harder: float) -> tuple[Pair, tuple[np.ndarray, np.ndarray]]:
    """150 suspects and as many others: evidence under the audited network, and signals under an unrelated one.

    Eight signals fall with an image's hardness, by half of their variance, under either network. Others are ``harder``
    by as many standard deviations; the audited network raises a suspect's signals by ``used``. Twenty statistics of the
    images know nothing of it.
    """
    draw, sets = np.random.default_rng(study), []
    for raised, shift in ((used, 0.0), (0.0, harder)):
        hardness = draw.normal(shift, 1, (150, 1))
        own, other = (np.sqrt(0.5) * (draw.normal(size=(150, 8)) - hardness) for _ in range(2))
        sets.append((Evidence(own + raised, draw.normal(size=(150, 20))), other))
    return (sets[0][0], sets[1][0]), (sets[0][1], sets[1][1])


def test_sets_of_unlike_difficulty_are_withheld_where_an_unrelated_network_sees_it_too():
    """Innocent suspects, easier by 0.6 deviations, pass the images alone; without such a network most are convicted.

    The power control: suspects as hard as the others, whose signals the checkpoint raised, stay "used".
    """
    outcomes: dict[str, list[tuple[str, str]]] = {"easier": [], "used": []}
    for study in range(10):
        for name, plant in (("easier", {"used": 0, "harder": 0.6}), ("used", {"used": 0.6, "harder": 0})):
            evidence, other = difficult(study, **plant)
            found = infer(*evidence, f"study {study}", listed=True)
            asked = confirm(found, *other, f"study {study}", "the unrelated checkpoint")
            outcomes[name].append((found.outcome, asked.outcome))
            assert [control.network for control in asked.controls] == ["the unrelated checkpoint"] * (
                found.outcome == "used"
            )
    assert sum(before == "used" for before, _ in outcomes["easier"]) >= 7
    assert all(after == "withheld" for before, after in outcomes["easier"] if before == "used")
    assert sum(after == "used" for _, after in outcomes["used"]) >= 7


def test_an_answer_that_a_network_confirms_names_it():
    evidence, other = difficult(1, used=0.8, harder=0)
    found = confirm(infer(*evidence, "seed", listed=False), *other, "seed", "the unrelated checkpoint")
    assert found.outcome == "used" and found.controls[0].p_value > 0.05
    assert "the unrelated checkpoint (p =" in found.statement and "assumption" not in found.statement
    again = confirm(found, *difficult(1, used=0, harder=0.8)[1], "seed", "base")
    assert again.outcome == "withheld" and "base tells them apart as well" in again.statement
    assert confirm(again, *other, "seed", "third") == again


def test_fewer_than_twenty_records_are_not_tested(heldout: Evidence):
    few = Evidence(heldout.signals[:19], heldout.blind[:19])
    found = infer(few, heldout, "seed", listed=True)
    assert found.outcome == "not tested" and found.p_value is None and "19 suspect" in found.statement


def test_sizes_between_those_tested_are_interpolated_over_log_size():
    assert smallest_size([(20, 0.9)]) == 20
    assert smallest_size([(20, 0.1), (50, 0.79)]) is None
    assert smallest_size([]) is None
    # 0.8 lies halfway between 0.7 and 0.9; halfway between log 50 and log 200 lies log 100
    assert smallest_size([(20, 0.2), (50, 0.7), (200, 0.9)]) == 100
    # a dip counts for nothing: 0.7 was reached before
    assert smallest_size([(50, 0.7), (100, 0.5), (400, 0.9)]) == 200


def test_subsets_stop_at_half_of_the_records():
    x = np.random.default_rng(0).normal(size=(100, 3))
    assert [size.records for size in power_by_size(x, x + 0.01, "seed")] == [20, 50]
    assert power_by_size(x[:39], x[:39], "seed") == []
