"""A stage whose pieces are lost, or come out otherwise than asked for, ends with their names and loses nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from auditor.errors import AuditError, ConfigError
from auditor.executors import LocalExecutor, ProcessExecutor, ShardExecutor
from auditor.stages.pieces import Share, Spread, Unfinished
from auditor.store.run_directory import RunDirectory
from tests.executors.works import Cubes, cubes, reopen_cubes


@pytest.fixture(scope="module")
def executor() -> Iterator[ProcessExecutor]:
    made = ProcessExecutor(2)
    yield made
    made.close()


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.open(tmp_path / "run", {}, "salt")


def finished(run: RunDirectory) -> list[str]:
    return sorted(entry.stem for entry in (run.path / "ledger" / "cubes").glob("*.json"))


def test_a_lost_piece_is_named_and_tried_again(executor: ProcessExecutor, run: RunDirectory) -> None:
    spread = Spread(executor, partial(reopen_cubes, run.path, "kills"))
    with pytest.raises(AuditError) as caught:
        spread(cubes(Cubes(run)), cubes, lambda done: None)
    assert caught.value.exit_code == 2
    assert "got 1 of 4 pieces that no worker could make (cubes/2: killed by SIGKILL" in str(caught.value)
    assert "tries them again" in str(caught.value)
    assert finished(run) == ["0", "1", "3"]

    done: list[int] = []
    Spread(executor, partial(reopen_cubes, run.path, ""))(cubes(Cubes(run)), cubes, done.append)
    assert finished(run) == ["0", "1", "2", "3"]
    assert done == [3, 1]  # those that were there, then the lost one
    assert [piece.get() for piece in cubes(Cubes(run))] == [0, 1, 8, 27]


def test_pieces_made_of_other_inputs_are_not_taken(executor: ProcessExecutor, run: RunDirectory) -> None:
    spread = Spread(executor, partial(reopen_cubes, run.path, "another key"))
    with pytest.raises(AuditError, match=r"cubes/2: a worker made it from other inputs, or with another version"):
        spread(cubes(Cubes(run)), cubes, lambda done: None)


def test_finished_pieces_start_no_worker(run: RunDirectory) -> None:
    Spread()(cubes(Cubes(run)), None, lambda done: None)
    unused = ProcessExecutor(2)
    Spread(unused, partial(reopen_cubes, run.path, "kills"))(cubes(Cubes(run)), cubes, lambda done: None)
    assert not unused.alive


def test_the_local_executor_works_with_what_is_open(run: RunDirectory) -> None:
    def refuse() -> Cubes:
        raise AssertionError("opened again")

    Spread(LocalExecutor(), refuse)(cubes(Cubes(run)), cubes, lambda done: None)
    assert finished(run) == ["0", "1", "2", "3"]


def test_a_shard_makes_its_own_and_waits_for_nobody(run: RunDirectory) -> None:
    with pytest.raises(Unfinished) as caught:
        Share(ShardExecutor(1, 3))(cubes(Cubes(run)), cubes, lambda done: None)
    assert finished(run) == ["1"] and (caught.value.stage, caught.value.pieces) == ("cubes", 3)
    with pytest.raises(Unfinished):
        Share(ShardExecutor(0, 3))(cubes(Cubes(run)), cubes, lambda done: None)
    assert finished(run) == ["0", "1", "3"]
    Share(ShardExecutor(2, 3))(cubes(Cubes(run)), cubes, lambda done: None)  # the last one may go on
    assert finished(run) == ["0", "1", "2", "3"]


@pytest.mark.parametrize("text", ["3/3", "1", "a/b", "1/0", "-1/3", ""])
def test_a_shard_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="shard"):
        ShardExecutor.parse(text)
