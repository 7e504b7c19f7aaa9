"""A checkpoint really trained on canaries gives them away; one that never saw them does not, with the same ledger."""

from __future__ import annotations

from pathlib import Path

import pytest

import auditor
from auditor.canaries.files import read_ledger
from auditor.config import AuditConfig
from auditor.data import Geometry, open_source, pixel_digests
from auditor.store.canaries import CanaryAudit

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
GREY = Geometry(1, 16, 16)


def small_audit(checkpoint: str, run_dir: Path) -> CanaryAudit:
    """Few probes and few members: the canaries need neither."""
    config = auditor.read_config(FIXTURES / "canary" / "audit.toml").model_dump()
    config["checkpoint"]["path"] = FIXTURES / checkpoint / "checkpoint"
    config["generation"] |= {"probes": 256, "steps": 20}
    config["membership"] |= {"members": 200, "nonmembers": 200}
    config["regime"]["probes"] = 0
    found = auditor.run(AuditConfig.model_validate(config), run_dir).canaries
    assert found is not None
    return found


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> CanaryAudit:
    return small_audit("canary", tmp_path_factory.mktemp("canary") / "run")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> CanaryAudit:
    """general-a has seen no canary."""
    return small_audit("general-a", tmp_path_factory.mktemp("general") / "run")


def test_the_bound_on_epsilon_is_positive_for_the_repeated_tiers(trained: CanaryAudit) -> None:
    _, four, sixteen = trained.tiers
    assert sixteen.repetitions == 16
    for tier in (four, sixteen):
        assert tier.epsilon.value is not None and tier.epsilon.value > 1.0
        assert tier.auc.lower is not None and tier.auc.lower > 0.8


def test_repetition_leaks(trained: CanaryAudit) -> None:
    aucs = [tier.auc.value or 0.0 for tier in trained.tiers]
    assert aucs == sorted(aucs)
    reproduced = [tier.landed.value or 0.0 for tier in trained.tiers]
    assert reproduced == sorted(reproduced) and reproduced[2] > 0.7  # of 256 probes
    assert all(tier.landed_excluded.value == 0.0 for tier in trained.tiers)
    assert trained.certified > 10


def test_a_checkpoint_that_saw_no_canary_bounds_nothing(stranger: CanaryAudit) -> None:
    for tier in stranger.tiers:
        assert tier.epsilon.value == tier.epsilon_per_record.value == 0.0
        assert tier.auc.lower is not None and tier.auc.upper is not None and tier.auc.lower < 0.5 < tier.auc.upper
        assert tier.landed.value == tier.landed_excluded.value == 0.0
    assert stranger.certified == 0


def test_the_training_set_is_made_again_from_the_salt(fixtures: Path, tmp_path: Path) -> None:
    """The ledger and images of the fixture are what `auditor canary` makes of the 1,000 garments."""
    ledger = read_ledger(fixtures / "canary" / "canaries.json")
    names = open_source(fixtures / "canary" / "train.parquet", GREY, id_column="id").ids
    garments = [name for name in names if not name.startswith("canary")]
    assert len(garments) == 1_000 and len(names) == 1_679
    (tmp_path / "ids.txt").write_text("\n".join(garments))
    data = fixtures / "partial" / "train.tar"
    _, folder, file = auditor.make_canaries(data, ids=tmp_path / "ids.txt", salt=ledger.salt, out=tmp_path / "again")
    assert read_ledger(file).canaries == ledger.canaries
    known = set(pixel_digests(open_source(data, GREY)).values())
    trained = pixel_digests(open_source(FIXTURES / "canary" / "train.parquet", GREY, id_column="id"))
    assert all(trained[name] in known for name in garments)
    kept = pixel_digests(open_source(fixtures / "canary" / "canaries.tar", GREY))
    assert pixel_digests(open_source(folder, GREY)) == kept
