"""The audit's verdicts on really trained checkpoints, at a fraction of the probes of the reference audits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import auditor
from auditor.config import AuditConfig
from auditor.store.record import Competition, Record


def quick(fixtures: Path, name: str, probes: int) -> AuditConfig:
    """A fixture's own configuration with the pixel encoder alone, DPM-Solver++ at 20 steps and few probes."""
    config = auditor.read_config(fixtures / name / "audit.toml")
    generation = config.generation.model_copy(update={"sampler": "dpmpp_2m", "steps": 20, "probes": probes})
    membership = config.membership.model_copy(update={"members": 300, "nonmembers": 300})
    update = {"generation": generation, "membership": membership, "encoders": config.encoders[:1]}
    return config.model_copy(update=update)


def certified_ids(competition: Competition) -> set[str]:
    return {name for item in competition.evidence if item.tier != "suspect" for name in item.members}


def outcome(record: Record) -> str:
    assert record.judgement is not None
    return record.judgement.outcome


@pytest.mark.slow
def test_memorized_fails_with_nearly_all_its_images(fixtures: Path, tmp_path: Path) -> None:
    record = auditor.run(quick(fixtures, "memorized", 768), tmp_path)
    found = record.copies[0]
    truth = set(json.loads((fixtures / "memorized" / "truth.json").read_text())["memorized"])
    assert outcome(record) == "fail"
    # 768 draws from 128 equally likely images miss each with probability (1 - 1/128)^768 = 0.002
    assert len(certified_ids(found) & truth) >= 115
    assert found.lower_bound.value is not None and found.lower_bound.value >= 110
    assert record.membership is not None
    aucs = [attack.auc.value or 0.0 for attack in record.membership.attacks]
    assert max(aucs) > 0.95 and min(aucs) > 0.5  # every attack points the right way
    assert record.regime is not None and record.regime.verdict.regime == "memorization"


@pytest.mark.slow
def test_partial_fails_with_its_repeated_images(fixtures: Path, tmp_path: Path) -> None:
    record = auditor.run(quick(fixtures, "partial", 768), tmp_path)
    found = record.copies[0]
    truth = set(json.loads((fixtures / "partial" / "truth.json").read_text())["repeated"])
    assert outcome(record) == "fail"
    assert len(certified_ids(found) & truth) >= 36
    assert found.lower_bound.value is not None and found.lower_bound.value >= 30
    assert record.regime is not None and record.regime.verdict.regime == "transition"


@pytest.mark.slow
def test_general_a_is_not_accused(fixtures: Path, tmp_path: Path) -> None:
    record = auditor.run(quick(fixtures, "general-a", 512), tmp_path)
    assert record.copies[0].certified == record.copies[0].verbatim == 0
    assert record.copies[0].lower_bound.value == 0
    assert outcome(record) == "cannot conclude"  # 512 probes cannot bound the copy rate at one in 500
    assert all(check.status != "failed" for check in record.checks)
    # 512 probes may leave it open, but accuse nobody
    assert record.regime is not None and record.regime.verdict.regime in ("generalization", "cannot conclude")
    assert record.regime.agreement is not None and record.regime.agreement.certified == 0
