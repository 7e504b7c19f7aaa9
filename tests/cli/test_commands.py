"""Commands as a user types them, on micro inputs."""

from __future__ import annotations

from pathlib import Path

import pytest

from auditor.cli.main import main
from tests.micro import write_micro_inputs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("commands")
    write_micro_inputs(path)
    return path


def test_run_then_gate(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = [
        "run", str(folder / "checkpoint"), "--train", str(folder / "train"), "--holdout", str(folder / "holdout"),
        "--split", "group", "--probes", "32", "--steps", "4", "--sampler", "dpmpp_2m", "--salt", "s",
        "--set", "membership.members=60", "--set", "membership.nonmembers=60", "--run-dir", str(folder / "run"),
    ]  # fmt: skip
    assert main(run) == 0  # complete, whatever it found
    assert {"record.json", "report.html", "report.md"} <= {path.name for path in (folder / "run").iterdir()}
    assert main(["gate", str(folder / "run")]) == 3
    shown = " ".join(capsys.readouterr().err.split())
    assert "CANNOT CONCLUDE" in shown and "report.html" in shown
    assert main([*run, "--steps", "5"]) == 4
    assert "generation.steps: 4 -> 5" in capsys.readouterr().err


def test_the_gate_keeps_the_policy_of_the_run(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A relative policy path means nothing in another folder, or another file there; an edit must be asked for."""
    monkeypatch.chdir(tmp_path)
    policy = Path("policy.toml")
    policy.write_text("[probes]\nallow_pinned = true\n")
    run = [
        "run", str(folder / "checkpoint"), "--train", str(folder / "train"), "--holdout", str(folder / "holdout"),
        "--probes", "16", "--steps", "2", "--salt", "s", "--no-membership", "--policy", str(policy), "--run-dir", "r",
    ]  # fmt: skip
    assert main(run) == 0
    policy.write_text("[probes]\nallow_pinned = false\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    capsys.readouterr()
    assert main(["gate", "../r", "--json"]) == 3
    kept = capsys.readouterr().out
    assert "which the policy allows" in kept
    assert main(["gate", "../r", "--json", "--policy", "../policy.toml"]) == 3
    assert "which the policy allows" not in capsys.readouterr().out


def test_scan_prints_digests(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scan", str(folder / "checkpoint")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].endswith("(checkpoint)")
    assert any(line.endswith("diffusion_pytorch_model.safetensors") for line in lines)


def test_init_prints_the_template(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init"]) == 0
    assert "[checkpoint]" in capsys.readouterr().out


def test_doctor_finds_what_the_tests_run_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    assert "torch" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["run", "plan", "gate", "report", "split", "canary", "scan", "init", "doctor"])
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert "Usage" in capsys.readouterr().out
