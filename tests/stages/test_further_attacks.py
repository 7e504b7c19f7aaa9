"""A small audit with a base, two references and gradients: what it costs, what it records, what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import auditor
from auditor.checkpoint.scan import scan
from auditor.errors import ConfigError
from auditor.planning import plan
from auditor.stages.inputs import open_inputs
from auditor.stages.membership.further import reported_attacks
from auditor.stages.reopen import specification
from auditor.store.record import Record
from auditor.store.wording import attack_name
from tests.micro import micro_config, write_checkpoint, write_micro_inputs

SIZES = {"members": 60, "nonmembers": 60, "calibration": 0.3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Inputs of the micro-audit, and three other checkpoints of the same images."""
    folder = tmp_path_factory.mktemp("further")
    write_micro_inputs(folder)
    for layers, name in ((2, "base"), (3, "one"), (4, "two")):
        write_checkpoint(folder / name, layers_per_block=layers)
    write_checkpoint(folder / "large", sample_size=16)
    return folder


def section(folder: Path, name: str, role: str = "reference", **more: object) -> dict[str, object]:
    return {"name": name, "checkpoint": str(folder / name), "role": role, **more}


def config_of(folder: Path, *references: dict[str, object], attacks: tuple[str, ...] = ("loss", "pia", "gsa")):
    return micro_config(folder, membership={**SIZES, "attacks": list(attacks), "references": list(references)})


def others(folder: Path) -> list[dict[str, object]]:
    return [section(folder, "base", "base"), section(folder, "one"), section(folder, "two")]


@pytest.fixture(scope="module")
def run_dir(folder: Path) -> Path:
    auditor.run(config_of(folder, *others(folder)), folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def record(run_dir: Path) -> Record:
    return auditor.read_record(run_dir)


def test_every_attack_is_reported_with_its_cost(record: Record, folder: Path) -> None:
    """Loss 3 and PIA 4 evaluations; a base doubles them, two references make three times the loss; GSA 10 and back."""
    assert record.membership is not None
    costs = {attack.name: attack.evaluations_per_image for attack in record.membership.attacks}
    assert list(costs) == reported_attacks(config_of(folder, *others(folder)))
    del costs["combined"]
    assert costs == {"loss": 3, "pia": 4, "loss-base": 6, "pia-base": 8, "lira": 9, "rmia": 9, "gsa": 30}
    images = record.membership.members + record.membership.nonmembers + len(record.membership.unscored)
    assert record.membership.denoiser_evaluations == (7 + 7 + 3 + 3 + 30) * images
    assert record.membership.evaluations_unshared == sum(costs.values()) * images
    for attack in record.membership.attacks:
        assert attack.auc.value is not None and attack.excess_over_blind.lower is not None


def test_the_record_names_the_other_checkpoints(record: Record, folder: Path) -> None:
    assert record.membership is not None
    base, one, two = record.membership.references
    assert [(known.name, known.role) for known in (base, one, two)] == [
        ("base", "base"), ("one", "reference"), ("two", "reference"),
    ]  # fmt: skip
    assert base.digest == scan(folder / "base").digest
    assert base.trained_members is None and base.trained_nonmembers is None


def test_untrained_networks_tell_nobody_apart(record: Record) -> None:
    """The control: no network here was trained on anything; seven attacks share each lower bound."""
    assert record.membership is not None
    assert all(attack.auc.lower < 0.5 for attack in record.membership.attacks)


def test_what_was_not_tested_follows_what_was(record: Record, folder: Path) -> None:
    assert not any("LiRA" in line or "GSA" in line for line in record.not_tested)
    assert any("base, one, two" in line and "no list was given" in line for line in record.not_tested)
    bare = auditor.run(config_of(folder, attacks=("loss",)), folder / "bare")
    assert any("LiRA, RMIA" in line for line in bare.not_tested)
    assert any("GSA" in line for line in bare.not_tested)


def test_attacks_have_names_in_the_report(run_dir: Path) -> None:
    text = (run_dir / "report.md").read_text()
    for name in ("LiRA", "RMIA", "GSA gradient norms", "Denoising loss against the base"):
        assert name in text
    assert attack_name("small_noise-base") == "Small-noise aggregation against the base"


def test_a_killed_run_goes_on_with_what_it_has(run_dir: Path, folder: Path) -> None:
    """One part of the gradients and one of a reference are lost; only these are made again, bit for bit."""
    copy = folder / "copy"
    shutil.copytree(run_dir, copy)
    kept = {path: path.stat().st_mtime_ns for path in (copy / "ledger").rglob("*.json")}
    other = next((copy / "ledger/references").glob("*/nonmembers/00000.json"))
    lost = [copy / "ledger/gradients/members/00001.json", other]
    for path in lost:
        path.unlink()
    again = auditor.run(config_of(folder, *others(folder)), copy)
    assert again.membership == auditor.read_record(run_dir).membership
    made = {path for path, time in kept.items() if path.stat().st_mtime_ns != time}
    assert made == set(lost)


def test_other_checkpoints_determine_the_run_by_their_digests(folder: Path) -> None:
    asked = config_of(folder, section(folder, "one"))
    moved = folder / "moved"
    shutil.copytree(folder / "one", moved, dirs_exist_ok=True)
    elsewhere = config_of(folder, section(folder, "one") | {"checkpoint": str(moved)})
    changed = config_of(folder, section(folder, "two") | {"name": "one"})
    first, second, third = (specification(config, open_inputs(config)) for config in (asked, elsewhere, changed))
    assert json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)
    assert first != third


def test_plans_count_the_further_attacks(folder: Path) -> None:
    """Per image: loss and PIA share nothing, 7; a base 7 more, a reference 3, gradients 30."""
    planned = plan(config_of(folder, section(folder, "base", "base"), section(folder, "one")))
    assert planned.membership_evaluations == (7 + 7 + 3 + 30) * (planned.members + planned.membership)


@pytest.mark.parametrize(
    "sections, attacks, message",
    [
        ([("checkpoint", "reference")], ("loss",), "the audited checkpoint itself"),
        ([("large", "reference")], ("loss",), "images of"),
        ([("one", "base"), ("two", "base")], ("loss",), "2 of role base"),
        ([("one", "base"), ("one", "reference")], ("loss",), "'one' twice"),
        ([("one", "reference")], ("pia",), "without the attack loss"),
    ],
)
def test_checkpoints_that_do_not_fit_are_refused_at_once(folder: Path, sections, attacks, message) -> None:
    config = config_of(folder, *(section(folder, *pair) for pair in sections), attacks=attacks)
    with pytest.raises(ConfigError, match=message):
        open_inputs(config)


@pytest.mark.parametrize(
    "role, listed, message",
    [
        ("base", ["holdout-0003"], "1 held-out images"),
        ("base", ["train-0003"], None),  # hides members, accuses nobody
        ("reference", ["holdout-0003", "elsewhere"], None),
        ("reference", ["elsewhere"], "none of this audit's images"),
    ],
)
def test_lists_of_training_images_are_held_against_the_sets(folder: Path, tmp_path, role, listed, message) -> None:
    (tmp_path / "ids.txt").write_text("\n".join(listed))
    config = config_of(folder, section(folder, "one", role, trained_on=str(tmp_path / "ids.txt")))
    if message is None:
        assert open_inputs(config).references[0].trained_on == frozenset(listed)
        return
    with pytest.raises(ConfigError, match=message):
        open_inputs(config)


def test_references_that_know_an_image_leave_lira_out(folder: Path, tmp_path) -> None:
    """Both references were trained on every training image: nothing is left to compare members with."""
    ids = [path.stem for path in (folder / "train").iterdir()]
    (tmp_path / "ids.txt").write_text("\n".join(ids))
    references = [section(folder, name, trained_on=str(tmp_path / "ids.txt")) for name in ("one", "two")]
    record = auditor.run(config_of(folder, *references, attacks=("loss",)), tmp_path / "run")
    assert record.membership is not None
    assert [attack.name for attack in record.membership.attacks] == ["loss", "combined"]
    known = record.membership.references[0]
    assert (known.trained_members, known.trained_nonmembers) == (record.membership.members, 0)
    for name in ("LiRA", "RMIA"):
        assert any(line.startswith(f"{name}: every image needs") for line in record.not_tested)


def test_paths_are_taken_from_the_files_folder(tmp_path: Path) -> None:
    text = '[checkpoint]\npath = "c"\n[data]\ntrain = "t"\nholdout = "h"\n[[membership.references]]\nname = "b"\n'
    (tmp_path / "audit.toml").write_text(text + 'checkpoint = "../base"\nrole = "base"\ntrained_on = "ids.txt"\n')
    (reference,) = auditor.read_config(tmp_path / "audit.toml").membership.references
    assert reference.checkpoint == tmp_path.parent / "base"
    assert reference.trained_on == tmp_path / "ids.txt"
