"""What parts and blends do to a verdict: a bound fails it, what is as good as certain withholds a pass, no more."""

from __future__ import annotations

import numpy as np
import pytest

from auditor.copies.compete import compete
from auditor.policy import Policy, copies_rule
from auditor.policy.closer import SURE, closer_rulings
from auditor.policy.schema import CopiesPolicy
from auditor.stages.kind_evidence import level_of_each
from auditor.store.kinds import KindEvidence, KindSearch
from auditor.store.parts import Estimate
from tests.records import competition


def searched(least: int | None, q_value: float | None = None, what: str = "parts") -> KindSearch:
    unscored = None if least is not None else "0 held-out items can compete"
    evidence = [] if q_value is None else [
        KindEvidence(
            id="a", members=["a"], kind="part", certified=True, score=0.3, q_value=q_value, probe=3, mirrored=False
        )
    ]  # fmt: skip
    return KindSearch.model_validate({
        "what": what, "generations": 40, "n_items": 100, "m_items": 200, "training_hits": len(evidence),
        "holdout_hits": 0, "alpha": 0.1, "certified": len(evidence), "floor": 5,
        "lower_bound": Estimate(name="parts", value=least, level=0.995, unscored=unscored), "evidence": evidence,
    })  # fmt: skip


@pytest.mark.parametrize("what", ["parts", "blends"])
@pytest.mark.parametrize(
    ("least", "q_value", "allowed", "expected"),
    [
        (0, None, 0, "pass"),
        (None, None, 0, "pass"),  # nothing could compete: the rules on whole copies say what is missing
        (0, 0.09, 0, "pass"),
        (0, SURE, 0, "cannot conclude"),
        (2, 0.01, 2, "cannot conclude"),
        (3, 0.01, 2, "fail"),
    ],
)
def test_outcome(what: str, least: int | None, q_value: float | None, allowed: int, expected: str) -> None:
    policy = Policy(copies=CopiesPolicy(max_copies=allowed))
    found = copies_rule([competition(closer=[searched(least, q_value, what)])], policy)
    assert found.outcome == expected
    said = "repeated in part" if what == "parts" else "blended"
    assert any(said in reason for reason in found.reasons) == (expected != "pass")


def test_the_primary_encoder_alone_decides() -> None:
    shown = searched(5, 0.001)
    assert copies_rule([competition("pixel"), competition("clip", closer=[shown])], Policy()).outcome == "pass"
    assert [r.rule.id for r in closer_rulings(competition(closer=[shown]), Policy())] == ["copies.parts"]


def test_clean_checkpoints_fail_by_parts_and_blends_as_seldom_as_is_said() -> None:
    """Labels dealt at random: each bound is above zero in at most 0.5%, so both fail at most 1% of clean audits."""
    rng, level, wrong = np.random.default_rng(7), level_of_each(0.95), 0
    assert level == pytest.approx(0.995)
    for _ in range(4000):
        is_training = rng.permutation(60) < 30
        wrong += compete(rng.random(60), np.ones(60, bool), is_training, level=level).lower_bound > 0
    assert wrong <= 34  # 20 expected at most; three standard deviations beyond
