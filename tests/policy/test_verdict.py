"""The verdict: every rule, and what decides when two rules disagree."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from auditor.errors import CheckpointError, UnsafeArtifactError
from auditor.policy import Policy, judge
from auditor.policy.schema import MembershipPolicy, ProbesPolicy, ValidityPolicy
from auditor.store.record import Judgement, Record
from tests.records import attack, check, checks, competition, membership, record, unscored

CLEAN = competition()
VERBATIM = competition(verbatim=2, certified=0)
REPRODUCED = competition(
    certified=41, lower_bound=CLEAN.lower_bound.model_copy(update={"value": 37, "lower": 37}), training_hits=41
)
POWERLESS = competition(m_items=1000, floor=200)  # 20,000 / (0.1 x 1,001) = 199.8
LEAKING = membership(attack("loss"), attack("secmi", auc=0.85, excess=0.35, tpr=0.2))


def outcome(judgement: Judgement, id: str) -> str:
    return next(rule.outcome for rule in judgement.rules if rule.id == id)


def test_a_clean_and_powerful_audit_passes_every_rule() -> None:
    judgement = judge(record(), Policy(), "house rules")
    assert (judgement.outcome, judgement.exit_code, judgement.policy) == ("pass", 0, "house rules")
    assert {rule.outcome for rule in judgement.rules} == {"pass"}
    assert judgement.remedies == []
    assert "2,048 generations" in judgement.reason and "no membership attack" in judgement.reason


@pytest.mark.parametrize(
    ("case", "exit_code", "said"),
    [
        # one thing at a time
        (record(copies=[VERBATIM]), 1, "2 training images came back verbatim"),
        (record(checks=checks(placebo="failed")), 3, "The audit cannot be relied on: 24 of 50 hits"),
        (record(copies=[REPRODUCED]), 1, "At least 37 distinct training images are reproduced (95% confidence)"),
        (record(membership=LEAKING), 1, "SecMI tells training images from others: AUC 0.850"),
        (record(copies=[POWERLESS]), 3, "it would take 200 reproduced images"),
        # verbatim evidence stands above a failed check, a fail and an open question
        (record(copies=[VERBATIM], checks=checks(placebo="failed")), 1, "verbatim"),
        (record(copies=[VERBATIM], checks=checks(blind="failed"), membership=LEAKING), 1, "verbatim"),
        (record(copies=[VERBATIM], membership=None), 1, "verbatim"),
        # a failed check stands above a fail and an open question
        (record(copies=[REPRODUCED], checks=checks(placebo="failed")), 3, "cannot be relied on"),
        (record(membership=LEAKING, checks=checks(blind="failed")), 3, "cannot be relied on"),
        (record(copies=[POWERLESS], checks=checks(positive_control="failed")), 3, "cannot be relied on"),
        # a fail stands above an open question
        (record(copies=[REPRODUCED], membership=None), 1, "At least 37"),
        (record(copies=[POWERLESS], membership=LEAKING), 1, "SecMI"),
        (record(copies=[REPRODUCED], checks=checks(placebo="not tested")), 1, "At least 37"),
        # an open question stands above a pass
        (record(membership=None), 3, "was not tested, and the policy asks for it"),
        (record(copies=[]), 3, "nothing is known about copies"),
        (record(checks=checks(blind="not tested")), 3, "Not tested: blind"),
        (record(checks=checks()[:1]), 3, "The check blind was not made"),
    ],
)
def test_precedence(case: Record, exit_code: int, said: str) -> None:
    judgement = judge(case, Policy())
    assert judgement.exit_code == exit_code
    assert said in judgement.reason
    assert {0: "pass", 1: "fail", 3: "cannot conclude"}[exit_code] == judgement.outcome
    assert judgement.remedies or judgement.outcome == "pass"


def test_what_ends_an_audit_before_there_is_a_record_has_its_own_exit_codes() -> None:
    assert UnsafeArtifactError("a", "b", "c", "d").exit_code == 5
    assert CheckpointError("a", "b", "c", "d").exit_code == 2


@pytest.mark.parametrize(
    "id", ["placebo", "blind", "positive-control", "resolving", "coverage", "untrained", "captions"]
)
def test_no_failed_check_turns_verbatim_evidence_into_cannot_conclude(id: str) -> None:
    failed = [*checks(), check(id, "failed", None)]
    assert judge(record(copies=[VERBATIM], checks=failed), Policy()).exit_code == 1
    assert judge(record(copies=[REPRODUCED], checks=failed), Policy()).exit_code == 3  # it does block the rest


def test_checks_block_only_where_they_bear_on_the_verdict() -> None:
    two = [CLEAN, competition("clip", resolving=False)]
    # an encoder that takes no part may fail its own controls
    assert judge(record(copies=two, checks=[*checks(), check("resolving", "failed", "clip")]), Policy()).exit_code == 0
    assert (
        judge(record(copies=two, checks=[*checks(), check("placebo", "not tested", "clip")]), Policy()).exit_code == 0
    )
    # but when it tells training from held-out images, the two sets differ
    assert judge(record(copies=two, checks=[*checks(), check("placebo", "failed", "clip")]), Policy()).exit_code == 3


def test_a_check_that_was_not_made_matters_only_if_required() -> None:
    unmade = record(checks=checks(blind="not tested"))
    assert judge(unmade, Policy()).exit_code == 3
    assert judge(unmade, Policy(validity=ValidityPolicy(required=["placebo"]))).exit_code == 0


def test_pinned_probes_withhold_a_pass_but_do_not_soften_a_fail() -> None:
    pinned = record().generation.model_copy(update={"seed_pinned": True})
    allowing = Policy(probes=ProbesPolicy(allow_pinned=True))
    assert judge(record(generation=pinned), Policy()).exit_code == 3
    assert "generation.salt" in judge(record(generation=pinned), Policy()).remedies[0]
    assert judge(record(generation=pinned), allowing).exit_code == 0
    assert judge(record(generation=pinned, copies=[REPRODUCED]), Policy()).exit_code == 1


def test_membership_left_out_passes_only_where_the_policy_says_so_and_the_reason_tells() -> None:
    lenient = Policy(membership=MembershipPolicy(required=False))
    judgement = judge(record(membership=None), lenient)
    assert judgement.exit_code == 0 and "membership was not tested" in judgement.reason
    assert judge(record(membership=LEAKING), lenient).exit_code == 1  # tested all the same: it counts
    assert judge(record(membership=membership(attacks=[])), lenient).exit_code == 3  # begun, and empty


def _training(r: Record) -> dict[str, object]:
    unreadable = [(f"i{k}", "truncated") for k in range(300)]  # 300 of 20,300 = 1.5% > 1%
    return {"training": r.training.model_copy(update={"unreadable": unreadable})}


def _generations(r: Record) -> dict[str, object]:
    return {"generation": r.generation.model_copy(update={"non_finite": 30})}  # 30 of 2,048 = 1.5%


def _scores(r: Record) -> dict[str, object]:
    return {"membership": membership(unscored=[(f"i{k}", "not finite") for k in range(20)])}  # 20 of 1,400 = 1.4%


@pytest.mark.parametrize("lose", [_training, _generations, _scores])
def test_lost_images_generations_or_scores_withhold_the_pass(lose: Callable[[Record], dict[str, object]]) -> None:
    judgement = judge(record(**lose(record())), Policy())
    assert judgement.exit_code == 3 and outcome(judgement, "power.coverage") == "cannot conclude"
    assert outcome(judge(record(), Policy()), "power.coverage") == "pass"


def test_nothing_generated_is_no_coverage() -> None:
    none = record().generation.model_copy(update={"probes": 0})
    assert outcome(judge(record(generation=none), Policy()), "power.coverage") == "cannot conclude"


def test_a_gate_judges_by_its_own_policy_not_by_what_the_record_says() -> None:
    forged = record(copies=[REPRODUCED]).copies_outcome.model_copy(update={"outcome": "pass", "reasons": ["fine"]})
    assert judge(record(copies=[REPRODUCED], copies_outcome=forged), Policy()).exit_code == 1


def test_estimates_without_value_never_pass() -> None:
    blank = unscored("copy rate", "no generation was finite")
    judgement = judge(record(copies=[competition(copy_rate=blank)]), Policy())
    assert judgement.exit_code == 3 and "no generation was finite" in judgement.reason
    for field in ("auc", "excess_over_blind", "tpr_at_1pct_fpr"):
        missing = attack().model_copy(update={field: unscored(field, "50 non-members are too few")})
        judgement = judge(record(membership=membership(missing)), Policy())
        assert judgement.exit_code == 3 and "50 non-members are too few" in judgement.reason


def test_reason_counts_the_further_reasons() -> None:
    judgement = judge(record(copies=[POWERLESS], membership=None), Policy())
    assert "(1 further reason below)" in judgement.reason
