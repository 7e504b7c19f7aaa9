"""An audit whose checkpoint is on the device part by part leaves what any other leaves, and goes on as any other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import auditor
from auditor.checkpoint.offload import ROOMS, Room
from auditor.cli.main import main
from tests.checkpoint.test_offload import unusable
from tests.micro import micro_config, write_micro_inputs

PASSING = {"started", "seconds", "config"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("offloading")
    write_micro_inputs(path)
    return path


def test_a_whole_audit_is_the_same_and_can_be_gone_on_with(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attacks = {"attacks": ["loss", "pia", "gsa"], "members": 90, "nonmembers": 130, "calibration": 0.2}
    whole = auditor.run(micro_config(folder, membership=attacks), folder / "whole")
    asked = micro_config(folder, membership=attacks, execution={"offload": "blocks"})
    room = Room("cpu", torch.clone, unusable)
    monkeypatch.setitem(ROOMS, "cpu", room)
    apart = auditor.run(asked, folder / "apart")
    assert room.arrivals["network"] >= 2  # the audited one, and an untrained one in its place
    assert apart.model_dump(exclude=PASSING) == whole.model_dump(exclude=PASSING)
    assert apart.config["execution"]["offload"] == "blocks"
    resumed = auditor.run(asked, folder / "whole")  # a run begun without
    assert resumed.started == whole.started and resumed.model_dump(exclude=PASSING) == whole.model_dump(exclude=PASSING)


def test_the_option_reaches_the_audit(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = ["--train", str(folder / "train"), "--holdout", str(folder / "holdout")]
    small = ["--probes", "16", "--steps", "2", "--no-membership", "--run-dir", str(folder / "by option")]
    command = ["run", str(folder / "checkpoint"), *paths, *small]
    assert main([*command, "--offload", "parts"]) == 0
    record = json.loads((folder / "by option" / "record.json").read_text())
    assert record["config"]["execution"]["offload"] == "parts"
    assert main([*command, "--offload", "some"]) == 4
    assert "'none', 'parts', 'blocks'" in capsys.readouterr().err
