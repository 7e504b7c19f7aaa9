"""Files appear whole, whoever else writes them at the same time."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import time
from pathlib import Path

import numpy as np
import pytest

from auditor.errors import ConfigError, DataError
from auditor.store.atomic import ABANDONED, create, partial_of, sweep_partials, written
from auditor.store.run_directory import RunDirectory


def begin(path: str, salt: str, barrier: object) -> str:
    """One process that begins a run at the same moment as the others; the salt that it then works with."""
    barrier.wait(timeout=60)
    return RunDirectory.open(Path(path), {"steps": 4}, salt).salt


def test_of_several_that_begin_a_run_at_once_one_draws_the_salt(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, context.Pool(4) as pool:
        for attempt in range(5):
            barrier = manager.Barrier(4)
            run = str(tmp_path / f"run-{attempt}")
            salts = pool.starmap(begin, [(run, f"salt-{number}", barrier) for number in range(4)])
            assert len(set(salts)) == 1
            assert RunDirectory.open(Path(run), {"steps": 4}, "late").salt == salts[0]


def test_only_the_first_creates_a_file(tmp_path: Path) -> None:
    assert create(tmp_path / "file", b"first")
    assert not create(tmp_path / "file", b"second")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"first"


def test_a_file_system_without_links_still_has_one_creator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*paths: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    assert create(tmp_path / "file", b"first")
    assert not create(tmp_path / "file", b"second")
    assert (tmp_path / "file").read_bytes() == b"first"


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(RuntimeError), written(tmp_path / "file") as file:
        file.write(b"ne")
        raise RuntimeError
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"old")]


def test_two_writers_do_not_share_a_partial_file(tmp_path: Path) -> None:
    with written(tmp_path / "file") as one, written(tmp_path / "file") as other:
        one.write(b"1" * 10)
        other.write(b"2" * 5)
    assert (tmp_path / "file").read_bytes() in (b"1" * 10, b"2" * 5)


def test_partial_files_go_once_they_are_a_day_old(tmp_path: Path) -> None:
    old, fresh = partial_of(tmp_path / "deep" / "old.npy"), partial_of(tmp_path / "fresh.npy")
    old.parent.mkdir()
    for file in (old, fresh, tmp_path / "kept.npy"):
        file.write_bytes(b"x")
    past = time.time() - ABANDONED - 60
    os.utime(old, (past, past))
    os.utime(tmp_path / "kept.npy", (past, past))
    sweep_partials(tmp_path)
    assert not old.exists() and fresh.exists() and (tmp_path / "kept.npy").exists()


def test_a_run_begins_beside_the_partial_file_of_another_that_begins(tmp_path: Path) -> None:
    partial_of(tmp_path / "run.json").write_bytes(b"{")
    assert RunDirectory.open(tmp_path, {}, "s").salt == "s"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file.txt").write_bytes(b"")
    with pytest.raises(ConfigError, match="empty folder"):
        RunDirectory.open(tmp_path / "other", {}, "s")


def test_errors_travel_between_processes_with_type_text_and_code() -> None:
    error = DataError("set: image a", np.int64(3), "4", "Look.")
    back = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own bytes
    assert type(back) is DataError and str(back) == str(error) and back.exit_code == error.exit_code
