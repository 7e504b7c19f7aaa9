"""An unrelated checkpoint as negative control: refused early where it cannot serve, used where it can."""

from __future__ import annotations

from pathlib import Path

import pytest

import auditor
from auditor.checkpoint.load import load
from auditor.checkpoint.scan import scan
from auditor.config import validate
from auditor.errors import ConfigError
from auditor.stages.control import open_control
from tests.conftest import FIXTURES
from tests.micro import micro_config, write_checkpoint, write_micro_inputs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("control")
    write_micro_inputs(path)
    write_checkpoint(path / "unrelated", block_out_channels=(8, 12))
    write_checkpoint(path / "larger", sample_size=16)
    return path


def opened(folder: Path, control: str | None):
    given = {} if control is None else {"control": str(folder / control)}
    audited = scan(folder / "checkpoint")
    return open_control(micro_config(folder, membership=given), audited, load(audited, device="cpu"), "cpu")


@pytest.mark.parametrize(
    ("control", "said"), [("checkpoint", "the audited checkpoint itself"), ("larger", r"images of \(1, 16, 16\)")]
)
def test_a_control_that_cannot_serve_is_refused(folder: Path, control: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        opened(folder, control)


def test_without_one_the_untrained_network_serves(folder: Path) -> None:
    assert opened(folder, None) is None


def test_an_unrelated_checkpoint_is_attacked_in_its_place(folder: Path) -> None:
    config = micro_config(folder, membership={"control": str(folder / "unrelated")}, regime={"probes": 0})
    record = auditor.run(config, folder / "run")
    check = next(check for check in record.checks if check.id == "untrained")
    assert "On the unrelated checkpoint" in check.statement and check.p_value is not None
    assert len(check.estimates) == 4 and record.membership.control_evaluations > 0  # those that a sweep serves
    # 72 members of 90 and 104 of 130 are reported, far fewer than 300: an AUC of 0.65 could hide
    assert check.status == "not tested"
    again = auditor.run(config, folder / "run")
    assert [c for c in again.checks if c.id == "untrained"] == [check]
    moved = micro_config(folder, membership={}, regime={"probes": 0})
    with pytest.raises(ConfigError, match=r"membership\.control"):
        auditor.run(moved, folder / "run")


def test_a_set_that_counts_as_used_is_put_to_every_network_that_knows_neither_side(tmp_path: Path) -> None:
    """128 memorized images; the base has scored them already, and costs nothing more."""
    fixture = FIXTURES / "memorized"
    base = {"name": "the base", "checkpoint": str(FIXTURES / "general-b" / "checkpoint"), "role": "base"}
    sections = {
        "checkpoint": {"path": str(fixture / "checkpoint")},
        "data": {"train": str(fixture / "train"), "holdout": str(fixture / "holdout"), "split": "group"},
        "generation": {"probes": 64, "steps": 4, "salt": "a set"},
        "membership": {
            "attacks": ["loss"], "members": 128, "nonmembers": 128, "references": [base],
            "control": str(FIXTURES / "general-a" / "checkpoint"),
        },
        "regime": {"probes": 0},
    }  # fmt: skip
    found = auditor.run(validate(sections, "a set"), tmp_path / "run").membership.dataset_inference
    assert found.outcome == "used" and found.p_value <= 0.01
    assert [control.network for control in found.controls] == ["the unrelated checkpoint", "the base"]
    assert min(control.p_value for control in found.controls) > 0.05
    assert min(found.shift_p_value, found.blind_check_p_value) > 0.05
    assert found.control_evaluations == 3 * (found.suspects + found.heldout)
    assert "the unrelated checkpoint (p = " in found.statement
