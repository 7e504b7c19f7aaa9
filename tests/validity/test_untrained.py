"""The negative control fails where a network that knows nothing tells the sets apart, either way round."""

from __future__ import annotations

import numpy as np
import pytest

from auditor.validity.placebo import holm_checks
from auditor.validity.untrained import BLINDNESS, UNTRAINED, untrained_check

NETWORK = UNTRAINED


def scores(shifts: dict[str, float], count: int = 300, seed: int = 0):
    draw = np.random.default_rng(seed)
    return {name: (draw.normal(shift, 1, count), draw.normal(0, 1, count)) for name, shift in shifts.items()}


@pytest.mark.parametrize("shift", [0.5, -0.5])
def test_one_attack_that_tells_them_apart_is_enough(shift):
    check = untrained_check(scores({"loss": 0.0, "pia": shift, "pian": 0.0}), NETWORK)
    assert check.status == "failed" and check.p_value < 0.001
    assert "PIA ranks 300 members against 300 non-members" in check.statement and NETWORK in check.statement
    assert [estimate.name for estimate in check.estimates][1] == f"AUC of PIA on {NETWORK}"


def test_control_attacks_without_signal_pass():
    check = untrained_check(scores(dict.fromkeys(("loss", "secmi", "pia", "pian"), 0.0)), NETWORK)
    assert check.status == "passed" and check.p_value > 0.01
    # one-sided 0.01 / 2 / 4 and 80%: (3.02 + 0.84) sqrt(601 / (12 * 90,000)) = 0.091
    assert "AUC of 0.59 on that network is found with 80% power" in check.power


def test_what_an_untrained_network_cannot_see_is_said_of_that_one_alone():
    given = scores({"loss": 0.0})
    assert untrained_check(given, UNTRAINED).power.endswith(BLINDNESS)
    assert "untrained" not in untrained_check(given, "the unrelated checkpoint").power


def test_many_attacks_do_not_block_by_number():
    """Eight useless attacks, 300 repeats: blocked in at most 1% and three binomial errors."""
    blocked = [
        untrained_check(scores({f"a{k}": 0.0 for k in range(8)}, 100, seed), NETWORK).p_value <= 0.01
        for seed in range(300)
    ]
    assert np.mean(blocked) <= 0.01 + 3 * 0.0057


def test_it_joins_the_family_of_checks():
    check = untrained_check(scores({"loss": 0.0}), NETWORK)
    other = check.model_copy(update={"id": "blind", "p_value": 0.004})
    adjusted = holm_checks([check.model_copy(update={"p_value": 0.006}), other])
    assert [found.p_adjusted for found in adjusted] == pytest.approx([0.008, 0.008])
    assert {found.status for found in adjusted} == {"failed"}


@pytest.mark.parametrize(("count", "status"), [(60, "not tested"), (1, "not tested"), (300, "passed")])
def test_few_images_are_not_tested(count, status):
    assert untrained_check(scores({"loss": 0.0}, count), NETWORK).status == status
