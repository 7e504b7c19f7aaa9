"""Kill -9 at random moments: the resumed run's record equals the undisturbed one.

The audit runs in processes forked from a server that has imported everything, so that a kill falls into the audit, not
into seconds of imports. Moments are drawn over the undisturbed run's duration; whatever has been written by then, the
resumed run must end with the same record but for the times in it.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.micro import micro_config, write_micro_inputs

KILLS = 20


def audit(folder: str, run_dir: str) -> None:
    """One audit from beginning or resumption to end; runs in a process of its own."""
    import torch

    from auditor.audit import run

    torch.set_num_threads(1)
    run(micro_config(Path(folder)), Path(run_dir))


def record_without_times(run_dir: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((run_dir / "record.json").read_text())
    return {key: value for key, value in record.items() if key not in ("started", "seconds")}


@pytest.mark.slow
def test_a_run_killed_at_any_moment_ends_with_the_same_record(tmp_path: Path) -> None:
    write_micro_inputs(tmp_path)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["auditor.audit", "diffusers", "tests.micro"])

    def start(run_dir: Path) -> multiprocessing.process.BaseProcess:
        process = context.Process(target=audit, args=(str(tmp_path), str(run_dir)))
        process.start()
        return process

    def finish(run_dir: Path) -> None:
        process = start(run_dir)
        process.join()
        assert process.exitcode == 0

    finish(tmp_path / "warm-up")  # the server's imports
    began = time.monotonic()
    finish(tmp_path / "undisturbed")
    duration = time.monotonic() - began
    expected = record_without_times(tmp_path / "undisturbed")
    assert expected["membership"] is not None and expected["copies"]

    finished_at_kill = []
    for kill, share in enumerate(np.random.default_rng(7).uniform(0.02, 0.98, KILLS)):
        run_dir = tmp_path / f"killed-{kill}"
        process = start(run_dir)
        time.sleep(share * duration)
        if process.pid is not None and process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
        process.join()
        finished_at_kill.append(len(list(run_dir.glob("ledger/**/*.json"))))
        finish(run_dir)
        assert record_without_times(run_dir) == expected, f"killed at {share:.0%}, {finished_at_kill[-1]} pieces done"
    assert len(set(finished_at_kill)) > 3, "the kills fell into different stages"
