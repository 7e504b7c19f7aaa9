"""An index holds what the encoder makes of the images, and is the same however it came about."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import shutil
import signal
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from auditor.cli.main import main
from auditor.config import EncoderConfig
from auditor.data import Geometry, open_source, survey
from auditor.data.survey import pixel_digest
from auditor.encoders.pixel import PixelEncoder
from auditor.errors import ConfigError, DataError
from auditor.executors import Executor, LocalExecutor, ProcessExecutor
from auditor.executors.shard import ShardExecutor
from auditor.indexing import IndexInfo, build_index, index_info, verify_index
from auditor.indexing.layout import read_manifest
from auditor.indexing.partition import VectorFile
from auditor.indexing.read import read_embeddings, read_rows
from auditor.indexing.work import BuildPartitions
from tests.indexing.conftest import build_small
from tests.indexing.pictures import RGB, write_pictures

Build = Callable[..., IndexInfo]


def contents(folder: Path) -> dict[str, bytes]:
    """Bytes of every file that is no ledger entry: those carry times."""
    files = (file for file in (folder / "partitions").rglob("*") if file.is_file() and file.name != "entry.json")
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def test_rows_are_those_of_the_encoder(build: Build, pictures: Path, tmp_path: Path) -> None:
    info = build(pictures, tmp_path / "index")
    assert (info.planned, info.images, info.unreadable, info.partitions, info.missing) == (70, 67, 3, 5, [])
    assert [name for name, _ in info.unreadable_first] == ["0005", "0020", "0069"]
    images = next(open_source(pictures, RGB).batches(100))
    folders = [tmp_path / "index" / "partitions" / f"{number:05d}" for number in range(5)]
    rows = [read_rows(folder) for folder in folders]
    assert [name for part in rows for name in part.ids] == images.ids
    assert [text for part in rows for text in part.captions] == images.captions
    assert [digest for part in rows for digest in part.pixels] == [pixel_digest(pixels) for pixels in images.pixels]
    vectors = np.concatenate([read_embeddings(folder) for folder in folders])
    assert vectors.dtype == np.float32 and np.array_equal(vectors, PixelEncoder(3, 12, 10)(images.pixels))
    assert [len(part.ids) for part in rows] == [15, 15, 16, 16, 5]  # unreadable ones leave gaps, not shifts
    assert verify_index(tmp_path / "index") == []


def test_the_digest_is_that_of_the_content(build: Build, pictures: Path, tmp_path: Path) -> None:
    first = build(pictures, tmp_path / "a")
    moved = shutil.copytree(pictures, tmp_path / "elsewhere")
    assert build(moved, tmp_path / "b", workers=0).digest == first.digest
    (moved / "0003.txt").write_text("another caption")
    assert build(moved, tmp_path / "c").digest != first.digest
    assert build(pictures, tmp_path / "d", partition_size=32).digest != first.digest


EXECUTORS: dict[str, list[Callable[[], Executor]]] = {  # one command, or several that make their own part each
    "local": [LocalExecutor],
    "processes": [lambda: ProcessExecutor(2)],
    "shards": [lambda: ShardExecutor(1, 2), lambda: ShardExecutor(0, 2)],
}


@pytest.mark.parametrize("kind", EXECUTORS)
def test_every_executor_makes_the_same_files(pictures: Path, tmp_path: Path, fixtures: Path, kind: str) -> None:
    clip = EncoderConfig(name="clip", model=f"local-dir:{fixtures / 'tiny-clip'}")
    for begin in EXECUTORS[kind]:
        with closing(begin()) as executor:
            info = build_small(pictures, tmp_path / "other", encoder=clip, executor=executor)
    assert info.digest == build_small(pictures, tmp_path / "one", encoder=clip).digest
    assert contents(tmp_path / "other") == contents(tmp_path / "one")


def test_a_shard_makes_its_own_partitions(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["index", "build", str(pictures), "--out", str(tmp_path / "index"), "--size", "12x10"]
    arguments += ["--channels", "3", "--partition-size", "16"]
    assert main([*arguments, "--shard", "1/2"]) == 0
    assert index_info(tmp_path / "index").missing == ["00000", "00002", "00004"]
    assert "none before it is complete: 3 partitions missing" in capsys.readouterr().out
    for option, told in (
        ("--shard=2/2", "i/n with 0 <= i < n"),
        ("--shard=one", "I/N"),
        ("--executor=a", "one of local"),
    ):
        assert main([*arguments, option]) == 4
        assert told in capsys.readouterr().err
    assert main([*arguments, "--executor", "processes", "--workers", "1"]) == 0
    assert index_info(tmp_path / "index").missing == []


@pytest.mark.parametrize("also", [["--executor", "processes"], ["--workers", "2"]])
def test_a_shard_takes_no_executor(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], also: list[str]
) -> None:
    source = [str(pictures), "--out", str(tmp_path / "index"), "--size", "12x10", "--channels", "3"]
    assert main(["index", "build", *source, "--shard", "0/2", *also]) == 4
    assert "--shard 0/2 with --executor" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "index").exists()


def test_what_is_done_is_not_made_again_and_what_is_damaged_is(build: Build, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "index"
    digest, before = build(pictures, out).digest, contents(out)
    folders = sorted((out / "partitions").iterdir())
    harmed = {
        folders[0]: lambda: (folders[0] / "entry.json").write_text("{"),
        folders[1]: lambda: (folders[1] / "entry.json").write_bytes((folders[2] / "entry.json").read_bytes()),
        folders[3]: lambda: (folders[3] / "embeddings.npy").write_bytes(b"damaged"),
        folders[4]: lambda: (folders[4] / "rows.parquet").unlink(),
    }
    for harm in harmed.values():
        harm()
    stamps = {folder: folder.stat().st_ino for folder in folders}
    assert len(verify_index(out)) >= len(harmed)
    assert build(pictures, out).digest == digest and contents(out) == before
    assert {folder for folder in folders if folder.stat().st_ino != stamps[folder]} == set(harmed)
    assert sorted((out / "partitions").iterdir()) == folders  # nothing unfinished is left behind


@pytest.mark.parametrize("count", ["images", "unreadable"])
def test_a_changed_count_damages_a_ledger_entry(build: Build, pictures: Path, tmp_path: Path, count: str) -> None:
    build(pictures, tmp_path / "index")
    file = tmp_path / "index" / "partitions" / "00000" / "entry.json"
    entry = json.loads(file.read_text())
    entry[count] = 16 if count == "images" else []  # the loss of an image, hidden
    file.write_text(json.dumps(entry))
    info = index_info(tmp_path / "index")
    assert info.digest is None and info.missing == ["00000"]


def test_another_index_or_other_files_are_not_overwritten(build: Build, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "index"
    build(pictures, out)
    with pytest.raises(ConfigError, match="partition_size: 16 -> 8; expected the source and options that it began"):
        build(pictures, out, partition_size=8)
    with pytest.raises(ConfigError, match=r"shape\.resize: False -> True"):
        build(pictures, out, resize=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    with pytest.raises(ConfigError, match="expected an empty folder or an earlier index"):
        build(pictures, tmp_path / "mine")
    for inside in (pictures, pictures / "deep" / "index"):
        with pytest.raises(ConfigError, match="expected a folder outside the images"):
            build(pictures, inside)


def test_an_index_does_not_go_on_with_another_column(build: Build, tmp_path: Path) -> None:
    """Two image columns under the same ids: a half-made index of one would be filled up from the other."""
    files = [sorted(write_pictures(tmp_path / name, 20, seed=seed).glob("*.png")) for seed, name in enumerate("ab")]
    shown, other = ([file.read_bytes() for file in side] for side in files)
    pq.write_table(
        pa.table({"id": [f"{n:04d}" for n in range(20)], "shown": shown, "other": other}), tmp_path / "t.parquet"
    )
    whole = build(tmp_path / "t.parquet", tmp_path / "index", id_column="id", image_column="shown")
    shutil.rmtree(tmp_path / "index" / "partitions" / "00001")
    with pytest.raises(ConfigError, match="image_column: 'shown' -> 'other'; expected the source and options"):
        build(tmp_path / "t.parquet", tmp_path / "index", id_column="id", image_column="other")
    again = build(tmp_path / "t.parquet", tmp_path / "index", id_column="id", image_column="shown")
    assert again.digest == whole.digest


def test_a_source_that_changes_under_the_workers_is_an_error(build: Build, tmp_path: Path) -> None:
    source = write_pictures(tmp_path / "pictures", 20)
    build(source, tmp_path / "index")
    work = pickle.loads(pickle.dumps(BuildPartitions(tmp_path / "index", 0, 1, 1)))  # noqa: S301  # as an executor does
    shutil.rmtree(tmp_path / "index" / "partitions" / "00001")
    assert work.open()("00001") == 4
    write_pictures(source, 1, seed=9)  # another picture under the same name
    with pytest.raises(DataError, match="files added, removed or changed"):
        work.open()
    with pytest.raises(ConfigError, match=r"source\.files"):
        build(source, tmp_path / "index")


@pytest.mark.parametrize("count", [1, 17])
def test_small_sets_and_sets_without_one_readable_image(build: Build, tmp_path: Path, count: int) -> None:
    info = build(write_pictures(tmp_path / "good", count), tmp_path / "a")
    assert (info.images, info.unreadable) == (count, 0)
    info = build(write_pictures(tmp_path / "bad", count, unreadable=range(count)), tmp_path / "b")
    assert (info.images, info.unreadable, info.bottleneck) == (0, count, None)
    assert verify_index(tmp_path / "a") == verify_index(tmp_path / "b") == []
    with pytest.raises(ConfigError, match="0 files, none an image or a shard"):
        (tmp_path / "none").mkdir()
        build(tmp_path / "none", tmp_path / "c")


def test_a_vector_file_is_what_numpy_would_write(tmp_path: Path) -> None:
    rows: NDArray[np.float32] = np.random.default_rng(0).random((37, 8), np.float32)
    with VectorFile(tmp_path / "a.npy", 100_000, 8) as file:
        for part in np.array_split(rows, 5):
            file.append(part)
        file.finish()
    np.save(tmp_path / "b.npy", rows)
    assert np.array_equal(np.load(tmp_path / "a.npy"), rows)
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()
    with VectorFile(tmp_path / "c.npy", 30, 8) as file, pytest.raises(ValueError, match="rows up to 37"):
        file.append(rows)


def kill_in_the_middle(source: str, out: str) -> None:
    """Build, and die as soon as one partition is done and another has been begun."""
    from auditor.data import indexed

    decode = indexed.decode

    def dying(name: str, payload: object, geometry: Geometry) -> NDArray[np.uint8]:
        if name == "0040":  # in the third partition
            os.kill(os.getpid(), signal.SIGKILL)
        return decode(name, payload, geometry)  # type: ignore[arg-type]

    indexed.decode = dying
    build_small(Path(source), Path(out))


def test_a_build_killed_in_a_partition_goes_on_to_the_same_digest(build: Build, pictures: Path, tmp_path: Path) -> None:
    expected = build(pictures, tmp_path / "undisturbed")
    out = tmp_path / "killed"
    process = multiprocessing.get_context("spawn").Process(target=kill_in_the_middle, args=(str(pictures), str(out)))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    done = index_info(out)
    assert done.missing == ["00002", "00003", "00004"] and done.digest is None
    assert list((out / "partitions").glob("00002.*.part"))  # it had been begun
    first = (out / "partitions" / "00000").stat().st_ino
    assert build(pictures, out).digest == expected.digest
    assert contents(out) == contents(tmp_path / "undisturbed") | {
        name: content for name, content in contents(out).items() if ".part/" in name
    }
    assert (out / "partitions" / "00000").stat().st_ino == first and verify_index(out) == []


def build_at_once(source: str, out: str, turn: object) -> None:
    turn.wait()  # type: ignore[attr-defined]
    build_small(Path(source), Path(out), partition_size=70)


def test_two_processes_that_make_one_partition_leave_one_whole(build: Build, pictures: Path, tmp_path: Path) -> None:
    expected = build(pictures, tmp_path / "alone", partition_size=70)
    out = tmp_path / "together"
    context = multiprocessing.get_context("spawn")
    turn = context.Barrier(2)
    both = [context.Process(target=build_at_once, args=(str(pictures), str(out), turn)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert index_info(out).digest == expected.digest and verify_index(out) == []
    assert [folder.name for folder in (out / "partitions").iterdir()] == ["00000"]


def test_the_pixel_digests_are_those_of_a_survey(build: Build, pictures: Path, tmp_path: Path) -> None:
    build(pictures, tmp_path / "index")
    rows = [read_rows(tmp_path / "index" / "partitions" / f"{number:05d}") for number in range(5)]
    found = {name: digest[:16] for part in rows for name, digest in zip(part.ids, part.pixels, strict=True)}
    assert found == survey(open_source(pictures, RGB)).digests


def test_a_foreign_index_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "train.faiss"
    file.write_bytes(b"IxFI")
    for path in (file, tmp_path):
        with pytest.raises(ConfigError, match=r"train.faiss, an index file of another program.*auditor index build"):
            read_manifest(path)
    with pytest.raises(ConfigError, match="an index file of another program"):
        build_index(file, tmp_path / "out", size=(8, 8), channels=1)
