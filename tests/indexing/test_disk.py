"""A disk that is full: a clear error, nothing finished is lost, and the same command goes on once there is room."""

from __future__ import annotations

import multiprocessing
import resource
from pathlib import Path

from auditor.errors import EXIT_ERROR
from auditor.indexing import index_info, verify_index
from tests.indexing.conftest import build_small
from tests.indexing.pictures import write_pictures


def build_with_small_files(arguments: list[str], limit: int, answer: str) -> None:
    """The command in a process that may write no file over ``limit`` bytes: the system refuses, as on a full disk."""
    import sys

    from auditor.cli.main import main

    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    with Path(answer).open("w") as stream:
        sys.stderr = stream
        code = main(arguments)
    sys.exit(code)


def test_no_room_for_a_partition(tmp_path: Path) -> None:
    # 361 float32 a row: 16 rows are 23,104 bytes, the last partition's 4 rows 5,776
    source = write_pictures(tmp_path / "pictures", 20)
    out, said = tmp_path / "index", tmp_path / "said"
    arguments = ["index", "build", str(source), "--out", str(out), "--size", "12x10", "--channels", "3"]
    arguments += ["--partition-size", "4"]
    first = build_small(source, out, partition_size=4)
    assert first.partitions == 5
    for harmed in ("00002", "00003"):
        (out / "partitions" / harmed / "entry.json").unlink()
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=build_with_small_files, args=(arguments, 4_096, str(said)))
    process.start()
    process.join()
    assert process.exitcode == EXIT_ERROR
    text = said.read_text()
    assert "00002: got File too large; expected a disk with room that can be written. Free space" in text
    assert "Traceback" not in text
    info = index_info(out)
    assert info.missing == ["00002", "00003"]  # the others stay
    assert not list((out / "partitions").glob("*.part"))  # what was begun does not take up the little room
    assert build_small(source, out, partition_size=4).digest == first.digest and verify_index(out) == []
