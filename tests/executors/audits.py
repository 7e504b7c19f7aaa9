"""A small audit that has every kind of piece, and what it leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from auditor.config import AuditConfig
from auditor.store.digest import file_digest
from tests.micro import micro_config, write_checkpoint, write_micro_inputs

TIMED = {"run.json", "record.json", "report.html", "report.md"}  # say when, how long, and by whom it was made


def write_inputs(folder: Path) -> None:
    """Images, a checkpoint, and another one that it is compared with as its base."""
    write_micro_inputs(folder, train=64, holdout=260)
    write_checkpoint(folder / "base", block_out_channels=(8, 8))


def small_audit(folder: Path, executor: str = "local", **changes: dict[str, object]) -> AuditConfig:
    """Generations, two sets, two views, sweeps under three networks, and gradients.

    One thread for each worker: two on each of two cores would spend their time waiting for each other.
    """
    base = {"name": "base", "checkpoint": str(folder / "base"), "role": "base"}
    sections: dict[str, dict[str, object]] = {
        "generation": {"probes": 48, "steps": 2, "batch_size": 8},
        "membership": {"members": 40, "nonmembers": 100, "attacks": ["loss", "pia", "gsa"], "references": [base]},
        "regime": {"probes": 0},
        "execution": {"executor": executor, "workers": 2},
    }
    config = micro_config(folder, **{name: {**sections.get(name, {}), **changes.get(name, {})} for name in sections})
    return config.model_copy(update={"threads": 1})


def artifacts(run_dir: Path) -> dict[str, str]:
    """Digest of every file that a run left, but for those with times in them and what a killed writer began."""
    files = sorted(path for path in run_dir.rglob("*") if path.is_file() and path.name not in TIMED)
    files = [path for path in files if path.suffix != ".part"]
    return {str(path.relative_to(run_dir)): file_digest(path) for path in files}


def record_of(run_dir: Path) -> dict[str, Any]:
    """The record without times and without who made it."""
    record: dict[str, Any] = json.loads((run_dir / "record.json").read_text())
    del record["started"], record["seconds"], record["config"]["execution"]
    return record
