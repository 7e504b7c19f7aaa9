"""Copies, regime and membership side by side: where they agree, where not, and what that means."""

from __future__ import annotations

from auditor.report.agreement import sentence, side_by_side
from auditor.store.parts import Estimate
from auditor.store.record import Record
from auditor.store.regime import CheckpointRegime
from tests.comparisons import landings, verdict
from tests.records import attack, checks, competition, membership, record, share
from tests.report.test_canaries import LEAKS, SILENT


def told(record_: Record) -> tuple[dict[str, str], str]:
    shown = side_by_side(record_)
    return {said.test: said.sign for said in shown}, sentence(shown)


def regime(agreed: float) -> CheckpointRegime:
    return CheckpointRegime(verdict=verdict("checkpoint", agreed), agreement=landings("checkpoint", agreed))


def bound(value: float | None) -> Estimate:
    missing = "few images" if value is None else None
    return Estimate(name="X", value=value, lower=value, level=0.95, unscored=missing)


CLEAN = {"lower_bound": bound(0), "certified": 0, "verbatim": 0}
COPIED = {"lower_bound": bound(40), "certified": 44, "verbatim": 3}


def test_copies_that_no_average_shows_are_said_to_weigh_more() -> None:
    signs, said = told(
        record(copies=[competition(**COPIED)], regime=regime(0.2), membership=membership(attack(auc=0.505, excess=0.0)))
    )
    assert signs == {"copies": "exposes", "regime": "exposes", "membership": "no sign"}
    assert said.startswith("They differ: copies and regime show exposure, membership shows no sign of it. What is")


def test_membership_without_copies_is_a_trace() -> None:
    strong = membership(attack(auc=0.9, excess=0.4))
    signs, said = told(record(copies=[competition(**CLEAN)], regime=regime(0.0), membership=strong))
    assert signs == {"copies": "no sign", "regime": "no sign", "membership": "exposes"}
    assert "somebody who holds a record may learn that it was trained on" in said


def test_agreement_either_way_is_called_so() -> None:
    strong = membership(attack(auc=0.99, excess=0.5))
    assert told(record(copies=[competition(**COPIED)], regime=regime(0.8), membership=strong))[1] == (
        "They agree: copies, regime and membership show exposure."
    )
    clean = record(copies=[competition(**CLEAN)], regime=regime(0.0), membership=membership(attack(auc=0.5, excess=0)))
    assert told(clean)[1] == "None shows exposure: copies, regime and membership show no sign of it."


def test_canaries_take_a_side() -> None:
    leaking, silent = (told(record(canaries=found))[0]["canaries"] for found in (LEAKS, SILENT))
    assert (leaking, silent) == ("exposes", "no sign")


def test_a_few_members_recognised_outright_are_exposure_though_the_average_is_not() -> None:
    tail = attack(auc=0.51, excess=0.0).model_copy(update={"tpr_at_1pct_fpr": share("TPR at 1% FPR", 64, 700)})
    signs, _ = told(record(membership=membership(attack(auc=0.52, excess=0.0), tail)))
    assert signs["membership"] == "exposes"


def test_membership_takes_no_side_where_the_sets_differ_by_themselves() -> None:
    strong = membership(attack(auc=0.9, excess=0.4))
    assert told(record(membership=strong, checks=checks(blind="failed")))[0]["membership"] == "open"
    assert told(record(membership=strong, checks=checks()))[0]["membership"] == "exposes"


def test_what_could_not_be_told_is_open_and_takes_no_side() -> None:
    unknown = record(copies=[competition(**{**CLEAN, "lower_bound": bound(None)})], membership=None)
    assert told(unknown) == ({"copies": "open"}, "None of them could tell.")
