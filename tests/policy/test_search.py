"""What an approximate index's silence is worth."""

from __future__ import annotations

import pytest

from auditor.policy import Policy, recall_rule
from auditor.policy.schema import SearchPolicy
from auditor.stats.intervals import clopper_pearson
from auditor.store.parts import Estimate


def recall(hits: int, queries: int, level: float = 0.95) -> Estimate:
    lower, upper = clopper_pearson(hits, queries, level)
    return Estimate(name="recall at 1", value=hits / queries, lower=lower, upper=upper, level=level, n=queries)


@pytest.mark.parametrize(
    ("hits", "queries", "outcome"),
    [
        (1_000, 1_000, "pass"),
        (965, 1_000, "pass"),  # lower bound 0.9516
        (950, 1_000, "cannot conclude"),  # the value meets 0.95, its lower bound 0.935 does not
        (60, 60, "cannot conclude"),  # none missed, but among too few: lower bound 0.940
        (10, 1_000, "cannot conclude"),
    ],
)
def test_the_lower_bound_decides(hits: int, queries: int, outcome: str) -> None:
    assert recall_rule(recall(hits, queries), Policy()).outcome == outcome


def test_the_remedy_names_what_is_short() -> None:
    assert "more queries" in recall_rule(recall(60, 60), Policy()).remedies[0]
    assert "more of its lists" in recall_rule(recall(10, 1_000), Policy()).remedies[0]


def test_recall_never_measured_or_at_too_low_a_level_cannot_conclude() -> None:
    unmeasured = recall_rule(Estimate(name="recall at 1", value=None, unscored="recall was never measured"), Policy())
    assert unmeasured.outcome == "cannot conclude" and "never measured" in unmeasured.reasons[0]
    point = recall_rule(recall(960, 1_000, level=0.01), Policy())
    assert point.outcome == "cannot conclude" and "at 95% confidence" in point.reasons[0]


def test_a_policy_may_ask_for_less() -> None:
    assert recall_rule(recall(60, 60), Policy(search=SearchPolicy(min_recall=0.9))).outcome == "pass"
