"""Canaries through the whole audit on micro inputs: verified, measured, left out of the members, and reported."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import auditor
from auditor.canaries.files import read_ledger
from auditor.config import AuditConfig
from auditor.errors import ConfigError
from auditor.membership import ATTACKS
from auditor.stages.inputs import open_inputs
from auditor.stages.membership import sides
from auditor.store.record import Record
from tests.micro import micro_config, write_checkpoint, write_micro_inputs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("canaries")
    write_micro_inputs(path)
    add, *_ = auditor.make_canaries(path / "train", out=path / "canary", per_tier=24, tiers=(1, 3), salt="micro")
    for file in add.iterdir():
        shutil.copy(file, path / "train")
    return path


def config(folder: Path, **changes: dict[str, object]) -> AuditConfig:
    return micro_config(folder, canaries={"ledger": str(folder / "canary" / "canaries.json")}, **changes)


@pytest.fixture(scope="module")
def record(folder: Path) -> Record:
    return auditor.run(config(folder), folder / "run")


def test_an_untrained_network_gives_no_canary_away(record: Record) -> None:
    found = record.canaries
    assert found is not None
    assert [tier.repetitions for tier in found.tiers] == [1, 3]
    assert all(tier.included + tier.excluded == 24 for tier in found.tiers)
    assert found.training_images == sum(tier.included * tier.repetitions for tier in found.tiers)
    for tier in found.tiers:
        assert tier.epsilon.value == tier.epsilon_per_record.value == 0.0
        assert tier.landed.value == tier.landed_excluded.value == 0.0
        assert tier.auc.lower is not None and tier.auc.lower < 0.5
    assert found.certified == 0


def test_the_attack_is_the_best_on_ordinary_images(record: Record) -> None:
    assert record.membership is not None and record.canaries is not None
    alone = [attack for attack in record.membership.attacks if attack.name in ATTACKS]  # a sweep can repeat them
    best = max(alone, key=lambda attack: attack.auc.value or 0.0)
    assert (record.canaries.attack, record.canaries.variant) == (best.name, best.variant)


def test_canaries_are_no_members(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    statistics = sides.statistics_of

    def listen(*both: tuple[object, list[str]], **more: object) -> object:
        seen.extend(both[0][1])
        return statistics(*both, **more)

    monkeypatch.setattr("auditor.stages.membership.statistics_of", listen)
    without = config(folder, membership={"members": 400, "nonmembers": 100})
    auditor.run(without, folder / "many")
    assert len(seen) == 96 and not any("canary" in name for name in seen)


def test_without_membership_a_fixed_attack_is_taken(folder: Path) -> None:
    found = auditor.run(config(folder, membership={"enabled": False}), folder / "off").canaries
    assert found is not None
    assert found.attack == "loss" and found.variant.startswith("mean over")


def test_canaries_of_a_class_conditional_checkpoint_are_tested_under_their_classes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from auditor.stages import canaries

    write_micro_inputs(tmp_path, train=96)
    shutil.rmtree(tmp_path / "checkpoint")
    write_checkpoint(tmp_path / "checkpoint", num_class_embeds=3)
    for place, file in enumerate(sorted((tmp_path / "train").iterdir())):
        file.with_suffix(".txt").write_text(str(place % 3))
    add, *_ = auditor.make_canaries(tmp_path / "train", out=tmp_path / "canary", per_tier=8, tiers=(1,), salt="micro")
    for file in add.iterdir():
        shutil.copy(file, tmp_path / "train")
    labelled: list[bool] = []
    attack = canaries.attack

    def listen(*given: object) -> object:
        labelled.append(bool(given[5]))
        return attack(*given)

    monkeypatch.setattr(canaries, "attack", listen)
    asked = config(tmp_path, membership={"enabled": False}, generation={"probes": 32}, regime={"probes": 0})
    found = auditor.run(asked, tmp_path / "run").canaries
    assert found is not None and labelled == [True]
    assert {canary.caption for canary in read_ledger(tmp_path / "canary" / "canaries.json").canaries} <= {"0", "1", "2"}


def test_reports_say_what_canaries_show(record: Record, folder: Path) -> None:
    for name in ("report.md", "report.html"):
        text = (folder / "run" / name).read_text()
        assert "Canaries" in text and "negative control" in text
        assert "gives no canary away" in text


def test_nothing_is_said_without_canaries(folder: Path, record: Record) -> None:
    from auditor.report import html, markdown

    bare = record.model_copy(update={"canaries": None})
    assert "anar" not in markdown(bare).replace("canary-", "").replace(str(folder), "").split("## Provenance")[0]
    assert 'id="canaries"' not in html(bare, folder / "run")


def test_records_from_before_canaries_are_read(record: Record) -> None:
    content = json.loads(record.model_dump_json())
    del content["canaries"]
    assert Record.model_validate(content).canaries is None


def test_another_ledger_is_another_audit(record: Record, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="canaries"):
        auditor.run(micro_config(folder), folder / "run")


def test_a_training_set_that_lacks_a_canary_is_refused_at_once(folder: Path, tmp_path: Path) -> None:
    for name in ("train", "holdout", "checkpoint", "canary"):
        shutil.copytree(folder / name, tmp_path / name)
    thrice = next(file for file in sorted((tmp_path / "train").iterdir()) if file.name.startswith("canary-03x"))
    thrice.unlink()
    with pytest.raises(ConfigError, match="2 times instead of 3"):
        open_inputs(config(tmp_path))
    shutil.rmtree(tmp_path / "canary" / "canaries")
    with pytest.raises(ConfigError, match="no such file or folder"):
        open_inputs(config(tmp_path))


def test_paths_are_taken_from_the_files_own_folder(tmp_path: Path) -> None:
    file = tmp_path / "audit.toml"
    file.write_text(
        '[checkpoint]\npath = "c"\n[data]\ntrain = "t"\nholdout = "h"\n'
        '[canaries]\nledger = "k/canaries.json"\nimages = "k/all"\ndelta = 1e-5\n'
    )
    found = auditor.read_config(file).canaries
    assert found.ledger == tmp_path / "k/canaries.json" and found.images == tmp_path / "k/all"
    assert np.isclose(found.delta, 1e-5)
