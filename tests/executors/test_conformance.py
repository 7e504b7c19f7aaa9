"""One audit by every executor: in this process, by two processes, on a Ray cluster, by three shards. The same files."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

import auditor
from auditor.executors import ShardExecutor
from auditor.working import work
from tests.executors.audits import artifacts, record_of, small_audit, write_inputs

SHARDS = 3


@pytest.fixture(scope="module", autouse=True)
def threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, threads_as_before: None) -> Path:
    """Inputs, and the run of one process in ``local``."""
    path = tmp_path_factory.mktemp("audits")
    write_inputs(path)
    auditor.run(small_audit(path), path / "local")
    return path


def assert_same(folder: Path, run_dir: Path) -> None:
    expected, found = artifacts(folder / "local"), artifacts(run_dir)
    assert {name for name, digest in found.items() if expected.get(name) != digest} == set()
    assert found.keys() == expected.keys()
    assert record_of(run_dir) == record_of(folder / "local")


def test_the_audit_has_every_kind_of_piece(folder: Path) -> None:
    """Else the others would be alike for want of anything that differs."""
    pieces = {name.split("/")[1] for name in artifacts(folder / "local") if name.startswith("ledger/")}
    assert pieces >= {"inputs", "generate", "memorizer", "embed", "search", "membership", "references", "gradients"}
    assert {"control"} <= pieces
    assert len(list((folder / "local" / "ledger" / "generate").glob("*.json"))) == 6


def test_processes_leave_the_same_files_though_one_is_killed(folder: Path) -> None:
    """SIGKILL while the first pieces are made; whatever that worker had in hand is made by another."""
    run_dir, killed, ended = folder / "processes", [], threading.Event()

    def kill() -> None:
        while not killed and not ended.wait(0.002):
            begun = list((run_dir / "ledger" / "generate").glob("*.json"))
            workers = multiprocessing.active_children()
            if begun and workers:
                killed.append(workers[0].pid)
                os.kill(workers[0].pid, signal.SIGKILL)

    with beside(kill, ended):
        auditor.run(small_audit(folder, "processes"), run_dir)
    assert killed
    assert_same(folder, run_dir)


@contextmanager
def beside(task: Callable[[], None], ended: threading.Event) -> Iterator[None]:
    """A thread that runs until what stands below is done."""
    thread = threading.Thread(target=task)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_ray_leaves_the_same_files_and_an_empty_store(folder: Path, cluster: None) -> None:
    import ray

    def stored() -> float:
        held: float = ray.cluster_resources()["object_store_memory"] - ray.available_resources()["object_store_memory"]
        return held

    seen, ended = [stored()], threading.Event()

    def watch() -> None:
        while not ended.wait(0.2):
            seen.append(stored())

    with beside(watch, ended):
        auditor.run(small_audit(folder, "ray"), folder / "ray")
    assert_same(folder, folder / "ray")
    made = sum(file.stat().st_size for file in (folder / "ray").rglob("*") if file.is_file())
    assert len(seen) > 5 and max(seen) < made / 100
    assert ray.is_initialized()  # the cluster was here before
    kept = ray.put(np.zeros(made, np.uint8))  # negative control: images in the store would have been seen
    end = time.monotonic() + 60
    while stored() < made:
        assert time.monotonic() < end
        time.sleep(0.1)
    del kept


def test_shards_leave_the_same_files(folder: Path) -> None:
    """Three that begin at once and a second one of the first, each a process of its own; then in turn, as far as they
    get; then whatever is left."""
    config, run_dir = small_audit(folder), folder / "shards"
    toml = folder / "audit.toml"
    toml.write_text(as_toml(folder))
    command = ["-m", "auditor", "worker", str(toml), "--run-dir", str(run_dir), "--stage", "generate"]
    shards = [f"{shard % SHARDS}/{SHARDS}" for shard in range(SHARDS + 1)]
    processes = [subprocess.Popen([sys.executable, *command, "--shard", shard]) for shard in shards]
    assert [process.wait(timeout=300) for process in processes] == [0] * (SHARDS + 1)
    assert len(list((run_dir / "ledger" / "generate").glob("*.json"))) == 6
    left = [set(work(config, run_dir, ShardExecutor(shard, SHARDS))) for _ in range(2) for shard in range(SHARDS)]
    assert left[0] == {"embed"} and left[SHARDS] == {"search"}  # as far as the others' pieces let each of them
    assert (run_dir / "ledger" / "membership" / "nonmembers" / "00000.json").is_file()
    auditor.run(config, run_dir)
    assert_same(folder, run_dir)


def as_toml(folder: Path) -> str:
    """The audit of :func:`tests.executors.audits.small_audit`, as a user writes it."""
    return """
threads = 1
[checkpoint]
path = "checkpoint"
[data]
train = "train"
holdout = "holdout"
split = "group"
[generation]
probes = 48
steps = 2
batch_size = 8
salt = "micro"
[membership]
members = 40
nonmembers = 100
calibration = 0.2
attacks = ["loss", "pia", "gsa"]
references = [{ name = "base", checkpoint = "base", role = "base" }]
[regime]
probes = 0
"""


def test_damaged_pieces_are_made_anew(folder: Path) -> None:
    run_dir = folder / "damaged"
    shutil.copytree(folder / "local", run_dir)
    for entry, content in (
        ("generate/00002", b"{"),
        ("embed/pixel/train/00000", b""),
        ("membership/members/00000", b"[]"),
    ):
        (run_dir / "ledger" / f"{entry}.json").write_bytes(content)
    pixels = run_dir / "generate" / "00004" / "pixels.npy"
    pixels.write_bytes(pixels.read_bytes()[:-1] + b"\x7f")
    assert artifacts(run_dir) != artifacts(folder / "local")
    auditor.run(small_audit(folder, "processes"), run_dir)
    assert_same(folder, run_dir)
