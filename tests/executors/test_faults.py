"""Workers that die, fail or refuse: one piece is tried again, then lost by name; nothing finished is."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from auditor.errors import AuditError, CheckpointError, DataError
from auditor.executors import Executor, Lost, ProcessExecutor, RayExecutor
from tests.executors.works import Squares, Unopened, squares_in

PIECES = [str(number) for number in range(8)]
ALL = {piece: int(piece) ** 2 for piece in PIECES}


@pytest.fixture(scope="module", params=["processes", "ray"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    if request.param == "ray":
        request.getfixturevalue("cluster")
    made = ProcessExecutor(2) if request.param == "processes" else RayExecutor(2)
    yield made
    made.close()


def test_every_piece_is_made_and_counted(executor: Executor, tmp_path: Path) -> None:
    done: list[int] = []
    assert executor.run(Squares(tmp_path), PIECES, done.append) == []
    assert squares_in(tmp_path) == ALL
    assert sorted(done) == list(range(8))
    assert 1 <= len(list(tmp_path.glob("opened-*"))) <= 2  # once per worker, not once per piece


def test_no_piece_needs_no_worker(tmp_path: Path) -> None:
    executor = ProcessExecutor(2)
    assert executor.run(Unopened("dies"), [], lambda done: None) == []
    assert not executor.alive


@pytest.mark.parametrize("trouble", ["kills once", "fails once"])
def test_a_piece_is_tried_again(executor: Executor, tmp_path: Path, trouble: str) -> None:
    assert executor.run(Squares(tmp_path, (("3", trouble), ("5", trouble))), PIECES, lambda done: None) == []
    assert squares_in(tmp_path) == ALL


@pytest.mark.parametrize(
    ("trouble", "reason"), [("always kills", "SIGKILL|died"), ("always fails", "ValueError: no 3 today")]
)
def test_a_piece_that_cannot_be_made_is_lost_alone(
    executor: Executor, tmp_path: Path, trouble: str, reason: str
) -> None:
    done: list[int] = []
    lost = executor.run(Squares(tmp_path, (("3", trouble),)), PIECES, done.append)
    assert [item.piece for item in lost] == ["3"] and isinstance(lost[0], Lost)
    assert re.search(reason, lost[0].reason)
    assert squares_in(tmp_path) == {piece: square for piece, square in ALL.items() if piece != "3"}
    assert sorted(done) == [0, 1, 2, 4, 5, 6, 7]  # the lost one is not counted


def test_a_fault_of_the_input_is_raised_as_it_was(executor: Executor, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"piece 0: got nothing; expected something\. Add it\.") as caught:
        executor.run(Squares(tmp_path, (("0", "refuses"),)), PIECES, lambda done: None)
    assert caught.value.exit_code == 2
    assert executor.run(Squares(tmp_path), PIECES, lambda done: None) == []  # a new attempt is whole
    assert squares_in(tmp_path) == ALL


def test_work_that_cannot_be_opened_ends_the_run(executor: Executor, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="NaN"):
        executor.run(Unopened("refuses"), PIECES, lambda done: None)
    with pytest.raises(AuditError, match="unopened: workers: got RuntimeError: no network here"):
        executor.run(Unopened("raises"), PIECES, lambda done: None)
    with pytest.raises(AuditError, match=r"SIGKILL|died"):
        executor.run(Unopened("dies"), PIECES, lambda done: None)


SCRIPT = """
import signal
import sys
from pathlib import Path
from auditor.executors import ProcessExecutor
from tests.executors.works import Squares

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell inherits it ignored
    executor = ProcessExecutor(2)
    try:
        executor.run(Squares(Path(sys.argv[1]), (("1", "takes long"),)), ["0", "1", "2", "3"], print)
    except KeyboardInterrupt:
        sys.exit(130)
"""


@pytest.mark.parametrize("signalled", [signal.SIGINT, signal.SIGKILL])
def test_workers_do_not_outlive_their_parent(tmp_path: Path, signalled: signal.Signals) -> None:
    """Ctrl-C reaches the whole group: the parent ends its workers at once. A killed parent's workers end by
    themselves after their piece, when nobody listens."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    trouble = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)], start_new_session=True, env=os.environ | {"PYTHONPATH": "."}
    )
    wait_until(lambda: len(squares_in(tmp_path)) == 3 and (tmp_path / "tried-1").exists())
    workers = [int(file.name.removeprefix("opened-")) for file in tmp_path.glob("opened-*")]
    if signalled is signal.SIGINT:
        os.killpg(trouble.pid, signal.SIGINT)
        assert trouble.wait(20) == 130
        wait_until(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))
    else:
        trouble.kill()
        trouble.wait()
        idle = len(workers) - 1  # the other one sleeps in its piece
        wait_until(lambda: sum(not Path(f"/proc/{worker}").exists() for worker in workers) >= idle)
        for worker in workers:
            if Path(f"/proc/{worker}").exists():
                os.kill(worker, signal.SIGKILL)
    assert squares_in(tmp_path) == {"0": 0, "2": 4, "3": 9}


def wait_until(holds: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)
