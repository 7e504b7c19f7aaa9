"""Worse numbers never give a better verdict, and failed checks never cover verbatim evidence."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.policy import Policy, copies_rule, judge, membership_rule
from auditor.store.membership import Membership
from auditor.store.record import Competition
from tests.records import attack, centred, check, checks, competition, membership, record, share

RANK = {"pass": 0, "cannot conclude": 1, "fail": 2}
POLICY = Policy()
UNIT = st.floats(0, 1, allow_nan=False)


def found(v: dict[str, Any]) -> Competition:
    """A competition as (un)favourable as its coordinates, each of which is worse when larger."""
    base = competition()
    return competition(
        verbatim=v["verbatim"],
        certified=v["certified"],
        lower_bound=base.lower_bound.model_copy(update={"value": v["x"]}),
        copy_rate=base.copy_rate.model_copy(update={"upper": v["rate"]}),
        floor=v["floor"],
        planted_recall=base.planted_recall.model_copy(update={"lower": 1 - v["blindness"]}),
    )


def attacked(v: dict[str, Any]) -> Membership:
    measured = attack().model_copy(
        update={
            "auc": centred("AUC", v["auc"], 0.03),
            "excess_over_blind": centred("excess", v["excess"], 0.04),
            "tpr_at_1pct_fpr": share("TPR", v["tpr"], 700),
        }
    )
    return membership(measured)


COPIES = st.fixed_dictionaries(
    {
        "verbatim": st.integers(0, 2),
        "certified": st.integers(0, 3),
        "x": st.integers(0, 3),
        "rate": st.floats(0, 0.004),
        "floor": st.integers(1, 40),
        "blindness": UNIT,
    }
)
ATTACK = st.fixed_dictionaries({"auc": st.floats(0.4, 1), "excess": st.floats(-0.2, 0.6), "tpr": st.integers(0, 100)})


def worsened(v: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    return {key: max(v[key], other[key]) for key in v}


@settings(max_examples=100, deadline=None)
@given(COPIES, COPIES)
def test_worse_copy_evidence_never_improves_the_verdict(v: dict[str, Any], other: dict[str, Any]) -> None:
    better, worse = found(v), found(worsened(v, other))
    assert RANK[copies_rule([worse], POLICY).outcome] >= RANK[copies_rule([better], POLICY).outcome]
    verdicts = [judge(record(copies=[c]), POLICY).outcome for c in (better, worse)]
    assert RANK[verdicts[1]] >= RANK[verdicts[0]]


@settings(max_examples=100, deadline=None)
@given(ATTACK, ATTACK)
def test_worse_attacks_never_improve_the_verdict(v: dict[str, Any], other: dict[str, Any]) -> None:
    # One exception is meant, and cannot arise here: an excess that shrinks turns a fail into "cannot conclude".
    better, worse = membership_rule(attacked(v), POLICY), membership_rule(attacked(worsened(v, other)), POLICY)
    assert RANK[worse.outcome] >= RANK[better.outcome]


@settings(max_examples=100, deadline=None)
@given(COPIES, st.sets(st.sampled_from(["placebo", "blind", "positive_control", "resolving"])))
def test_failed_checks_never_pass_and_never_cover_verbatim_copies(v: dict[str, Any], failed: set[str]) -> None:
    before = judge(record(copies=[found(v)]), POLICY)
    after = judge(record(copies=[found(v)], checks=checks(**dict.fromkeys(failed, "failed"))), POLICY)
    if v["verbatim"]:
        assert before.exit_code == after.exit_code == 1
    elif failed:
        assert after.exit_code == 3
    else:
        assert after == before


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2000), st.integers(0, 2000), st.integers(0, 200))
def test_lost_data_never_makes_a_pass(training: int, non_finite: int, unscored: int) -> None:
    clean = record()
    damaged = record(
        training=clean.training.model_copy(update={"unreadable": [(str(k), "truncated") for k in range(training)]}),
        generation=clean.generation.model_copy(update={"non_finite": non_finite}),
        membership=membership(unscored=[(str(k), "not finite") for k in range(unscored)]),
        checks=[*checks(), check("coverage")],
    )
    # 1% of 20,000 readable, 2,048 probes, 1,400 scores: the share lost may be at most 1% of each
    tolerable = training / (20_000 + training) <= 0.01 and non_finite / 2048 <= 0.01 and unscored / 1400 <= 0.01
    assert (judge(damaged, POLICY).outcome == "pass") == tolerable
