"""The rules about copies and membership at their limits, and the remedies they compute."""

from __future__ import annotations

import math
import re

import pytest

from auditor.policy import Policy, copies_rule, judge, membership_rule, primary_competition
from auditor.policy.copies import copies_rulings
from auditor.policy.ruling import combine
from auditor.policy.schema import CopiesPolicy
from auditor.store.parts import Estimate
from auditor.store.record import Competition
from tests.records import attack, centred, check, competition, membership, record, share

POLICY = Policy()


def bound(value: int | None) -> Estimate:
    return Estimate(
        name="X", value=value, level=0.95, unscored=None if value is not None else "too few held-out images"
    )


def rule_outcome(copies: list[Competition], id: str, policy: Policy = POLICY) -> str:
    return next(ruling.rule.outcome for ruling in copies_rulings(copies, policy) if ruling.rule.id == id)


@pytest.mark.parametrize(
    ("least", "allowed", "expected"),
    [(0, 0, "pass"), (1, 0, "fail"), (3, 3, "cannot conclude"), (4, 3, "fail"), (0, 3, "pass")],
)
def test_lower_bound_against_what_is_allowed(least: int, allowed: int, expected: str) -> None:
    policy = Policy(copies=CopiesPolicy(max_copies=allowed))
    found = competition(lower_bound=bound(least), certified=0)
    assert rule_outcome([found], "copies.bound", policy) == expected
    assert copies_rule([found], policy).outcome == expected


def test_certified_items_without_a_bound_cannot_pass_and_do_not_fail() -> None:
    assert copies_rule([competition(certified=1)], POLICY).outcome == "cannot conclude"
    assert copies_rule([competition(certified=0)], POLICY).outcome == "pass"


def test_unknown_bound_cannot_conclude() -> None:
    verdict = copies_rule([competition(lower_bound=bound(None))], POLICY)
    assert verdict.outcome == "cannot conclude" and "too few held-out images" in verdict.reasons[0]


def test_primary_is_the_first_that_resolves() -> None:
    blurred, sharp, other = (competition(name, resolving=name != "clip") for name in ("clip", "pixel", "sscd"))
    assert primary_competition([blurred, sharp, other]) is sharp
    assert primary_competition([blurred]) is None
    verdict = copies_rule([blurred], POLICY)
    assert verdict.outcome == "cannot conclude" and "tells copies from look-alikes" in verdict.reasons[0]


def test_supporting_encoders_withhold_a_pass_and_never_fail() -> None:
    seeing = competition("sscd", certified=5, lower_bound=bound(4))
    assert copies_rule([competition(), seeing], POLICY).outcome == "cannot conclude"
    assert copies_rule([competition(), competition("sscd")], POLICY).outcome == "pass"
    # one that does not resolve has suspects only, whatever it counts
    assert copies_rule([competition(), seeing.model_copy(update={"resolving": False})], POLICY).outcome == "pass"
    # listed first, it decides
    assert copies_rule([seeing, competition()], POLICY).outcome == "fail"


def test_verbatim_copies_count_under_any_encoder() -> None:
    assert copies_rule([competition(), competition("clip", resolving=False, verbatim=1)], POLICY).outcome == "fail"


@pytest.mark.parametrize(("n", "max_floor"), [(20_000, 20), (3_000, 7), (1_000_000, 13), (2_000, 1)])
def test_remedy_for_the_floor_names_the_least_held_out_set_that_meets_it(n: int, max_floor: int) -> None:
    policy = Policy(copies=CopiesPolicy(max_floor=max_floor))

    def floor(m: int) -> int:
        return math.ceil(n / (0.1 * (m + 1)) - 1e-9)  # the least T with T >= n / (alpha (m + 1))

    short = competition(n_items=n, m_items=50, floor=floor(50))
    remedies = copies_rule([short], policy).remedies
    needed = int(re.findall(r"at least ([\d,]+) held-out images", remedies[0])[0].replace(",", ""))
    assert floor(needed) <= max_floor < floor(needed - 1)


@pytest.mark.parametrize("recall", [(512, 512), (400, 512), (300, 512)])
def test_remedy_for_the_rate_names_the_fewest_probes_that_meet_it(recall: tuple[int, int]) -> None:
    planted = share("planted", *recall)
    few = competition(planted_recall=planted, copy_rate=share("copy rate", 0, 300, recall=planted.lower or 0))
    remedy = next(remedy for remedy in copies_rule([few], POLICY).remedies if "probes" in remedy)
    probes = int(re.findall(r"at least ([\d,]+) probes", remedy)[0].replace(",", ""))

    def upper(generations: int) -> float:
        return (1 - 0.05 ** (1 / generations)) / (planted.lower or 0)

    # exact to one probe: the remedy solves ln(0.05) / ln(1 - max_rate recall), the bound divides after the fact
    assert upper(probes) <= POLICY.copies.max_rate < upper(probes - 1)


def test_remedy_for_a_rate_of_prompts_asks_for_prompts_as_more_noises_are_no_trials() -> None:
    rate = share("copy rate", 0, 300).model_copy(update={"unit": "share of prompts"})
    remedies = " ".join(copies_rule([competition(copy_rate=rate)], POLICY).remedies)
    assert re.search(r"at least [\d,]+ different prompts", remedies) and "probes: with" not in remedies


@pytest.mark.parametrize(("unit", "more"), [("prompts", "More prompts"), ("generations", "More probes")])
def test_what_narrows_a_rate_with_copies_is_more_of_what_it_counts(unit: str, more: str) -> None:
    rate = share("copy rate", 3, 300).model_copy(update={"unit": f"share of {unit}"})
    remedies = copies_rule([competition(copy_rate=rate)], POLICY).remedies
    assert any(f"{more} narrow the interval" in remedy for remedy in remedies)


def test_no_number_of_probes_is_promised_at_a_recall_of_zero() -> None:
    blind = competition(planted_recall=share("planted", 0, 512), copy_rate=share("copy rate", 0, 300))
    assert any("no number of probes" in remedy for remedy in copies_rule([blind], POLICY).remedies)


@pytest.mark.parametrize(
    ("auc", "excess", "tpr", "expected"),
    [
        # half-widths: AUC 0.03, excess 0.04; limits 0.60, 0.10, 0.05
        (0.51, 0.01, 0.01, "pass"),
        (0.64, 0.15, 0.01, "fail"),  # lower bounds 0.61 and 0.11
        (0.62, 0.15, 0.01, "cannot conclude"),  # AUC [0.59, 0.65]
        (0.80, 0.05, 0.01, "cannot conclude"),  # the images explain it: excess [0.01, 0.09]
        (0.58, 0.01, 0.01, "cannot conclude"),  # AUC reaches 0.61
        (0.55, 0.07, 0.01, "cannot conclude"),  # excess reaches 0.11
        (0.51, 0.01, 0.20, "cannot conclude"),  # a few members stand out
    ],
)
def test_attack_against_its_limits(auc: float, excess: float, tpr: float, expected: str) -> None:
    tested = membership(attack(auc=auc, excess=excess, tpr=tpr))
    assert membership_rule(tested, POLICY).outcome == expected
    assert judge(record(membership=tested), POLICY).outcome == expected


def test_one_leaking_attack_among_four_fails_and_is_named() -> None:
    attacks = [attack("loss"), attack("secmi"), attack("pia", auc=0.9, excess=0.4), attack("pian")]
    verdict = membership_rule(membership(*attacks), POLICY)
    assert verdict.outcome == "fail" and len(verdict.reasons) == 1 and "PIA tells" in verdict.reasons[0]


def test_signal_that_the_blind_baseline_explains_is_withheld_and_said() -> None:
    shifted = membership(attack(auc=0.80, excess=0.02), blind_auc=centred("blind AUC", 0.78, 0.03))
    verdict = membership_rule(shifted, POLICY)
    assert verdict.outcome == "cannot conclude"
    assert "blind baseline (AUC 0.780" in verdict.reasons[0] and "same pool" in verdict.remedies[0]


def test_remedy_for_an_uncertain_attack_grows_the_sample_by_the_square() -> None:
    # AUC 0.56 +- 0.06 must shrink to +- 0.04: (0.06 / 0.04)^2 = 2.25 times 700 = 1,575
    uncertain = attack().model_copy(update={"auc": centred("AUC", 0.56, 0.06)})
    verdict = membership_rule(membership(uncertain), POLICY)
    found = re.findall(r"about ([\d,]+) members and ([\d,]+) non-members", verdict.remedies[0])[0]
    assert [int(number.replace(",", "")) for number in found] == pytest.approx([1575, 1575], abs=1)  # rounded up


def test_nothing_ruled_is_no_verdict() -> None:
    with pytest.raises(ValueError, match="nothing was ruled"):
        combine([])


def test_groups_left_out_of_the_contest_withhold_a_pass() -> None:
    # 200 of 20,200 groups left out is 0.9901; 203 is 0.98995.
    assert copies_rule([competition(uncompeting_groups=197, untestable_groups=3)], POLICY).outcome == "pass"
    verdict = copies_rule([competition(uncompeting_groups=200, untestable_groups=3)], POLICY)
    assert verdict.outcome == "cannot conclude" and "203 groups" in verdict.reasons[0]
    # the hole that this closes: nearly every image repeated, a handful left to compete, a floor of 1
    few = competition(n_items=10, m_items=9_000, floor=1, uncompeting_groups=9_990, untestable_groups=0)
    assert copies_rule([few], POLICY).outcome == "cannot conclude"
    # a finding stands all the same
    assert copies_rule([few.model_copy(update={"lower_bound": bound(5)})], POLICY).outcome == "fail"


def test_bounds_of_little_confidence_do_not_pass() -> None:
    certain, point = judge(record(), POLICY), membership(attack("loss"))
    weak = point.attacks[0].model_copy(
        update={"auc": centred("AUC", 0.55, 0.0).model_copy(update={"level": 0.01})},
    )
    verdict = judge(record(membership=point.model_copy(update={"attacks": [weak]})), POLICY)
    assert (certain.outcome, verdict.outcome) == ("pass", "cannot conclude")
    assert "1% confidence; the policy asks for 95%" in verdict.reason


def test_membership_that_was_asked_for_is_not_to_be_enabled() -> None:
    """The remedy is more images where it was enabled all along, and enabling it where it was not."""
    asked = record(membership=None, config={"membership": {"enabled": True}})
    off = record(membership=None, config={"membership": {"enabled": False}})
    verdict, other = judge(asked, POLICY), judge(off, POLICY)
    assert verdict.outcome == other.outcome == "cannot conclude"
    assert any("membership.nonmembers" in remedy for remedy in verdict.remedies)
    assert not any("membership.enabled" in remedy for remedy in verdict.remedies)
    assert any("membership.enabled = true" in remedy for remedy in other.remedies)
    assert membership_rule(None, POLICY, asked=True).remedies != membership_rule(None, POLICY).remedies


@pytest.mark.parametrize("id", ["blind", "untrained", "placebo", "captions"])
def test_membership_is_withheld_where_the_sets_differ_by_themselves(id: str) -> None:
    leaking, failed = membership(attack(auc=0.9, excess=0.4)), check(id, "failed")
    withheld = membership_rule(leaking, POLICY, [check("resolving", encoder="pixel"), failed])
    assert withheld.outcome == "cannot conclude"
    assert failed.statement in withheld.reasons[0] and "same pool" in withheld.remedies[0]
    assert (
        membership_rule(leaking, POLICY, [check(id)]).outcome == "fail"
    )  # the control: passed checks withhold nothing
