"""Findings: stable ids, most severe first, one per training image."""

from __future__ import annotations

from pathlib import Path

from auditor.policy import judge, read_policy
from auditor.report import findings
from auditor.report.findings import SEVERITIES
from auditor.store.record import Record
from tests.exhibits import failing_record
from tests.records import attack, checks, competition, membership, record
from tests.report.test_html import evidence


def judged(r: Record) -> Record:
    return r.model_copy(update={"judgement": judge(r, read_policy())})


def test_most_severe_first_and_each_id_once(tmp_path: Path, fixtures: Path) -> None:
    found = findings(failing_record(tmp_path, fixtures, found=6))
    ranks = [SEVERITIES.index(item.severity) for item in found]
    assert ranks == sorted(ranks) and found[0].severity == "critical" and "verbatim" in found[0].statement
    assert len({item.id for item in found}) == len(found)
    assert [item.rule for item in found if item.training_id].count("copies.certified") == 3  # 6 less 1 and 2 suspects


def test_a_clean_audit_has_no_findings() -> None:
    assert findings(judged(record())) == []


def test_ids_depend_on_rule_image_and_probe_only() -> None:
    def ids(**changes: object) -> list[str]:
        return [item.id for item in findings(record(copies=[competition(evidence=[evidence(**changes)])]))]

    assert ids() == ids(similarity=0.5, margin=0.001, q_value=0.09)
    assert len({*ids(), *ids(id="other"), *ids(probe=8), *ids(tier="verbatim")}) == 4


def test_an_image_found_by_two_encoders_is_one_finding_at_its_highest_tier() -> None:
    weak, strong = evidence(tier="suspect", why="too near to held-out images"), evidence(probe=9)
    twice = record(copies=[competition("clip", evidence=[weak]), competition("sscd", evidence=[strong])])
    (only,) = findings(twice)
    assert only.severity == "high" and only.probe == 9 and "sscd" in only.statement


def test_failed_rules_and_checks_are_findings_and_open_ones_are_notes() -> None:
    leaking = judged(record(membership=membership(attack(auc=0.9, excess=0.4)), checks=checks(placebo="failed")))
    assert [(item.rule, item.severity) for item in findings(leaking)] == [
        ("membership.loss", "high"),
        ("validity.placebo.pixel", "medium"),
    ]
    opened = judged(record(membership=None, checks=checks(blind="not tested")))
    assert [(item.rule, item.severity) for item in findings(opened)] == [
        ("membership.tested", "note"),
        ("validity.blind", "note"),
    ]
