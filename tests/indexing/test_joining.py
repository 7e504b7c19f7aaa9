"""Indexes that grow and that are put together; and what may not be."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from auditor.config import EncoderConfig
from auditor.errors import ConfigError, DataError
from auditor.indexing import IndexInfo, add_to_index, index_info, merge_indexes, verify_index
from auditor.indexing.read import read_rows
from tests.indexing.pictures import write_pictures

Build = Callable[..., IndexInfo]


def ids_of(folder: Path) -> list[str]:
    return [name for part in sorted((folder / "partitions").iterdir()) for name in read_rows(part).ids]


def test_adding_embeds_only_ids_that_are_not_there(build: Build, pictures: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    build(pictures, index)
    larger = shutil.copytree(pictures, tmp_path / "larger")
    write_pictures(larger, 18, prefix="a", unreadable=(3,))
    info = add_to_index(index, larger, partition_size=10)
    assert (info.planned, info.images, info.unreadable, info.partitions) == (88, 84, 4, 7)
    assert ids_of(index)[67:] == [f"a{number:04d}" for number in range(18) if number != 3]
    assert verify_index(index) == []
    assert add_to_index(index, larger, partition_size=10) == info  # nothing is left to add
    assert add_to_index(index, pictures) == info
    assert build(pictures, index) == info  # what was added does not keep the first set from being gone over again


def test_an_addition_that_was_cut_off_goes_on(build: Build, pictures: Path, tmp_path: Path) -> None:
    index, more = tmp_path / "index", write_pictures(tmp_path / "more", 20, prefix="b")
    build(pictures, index)
    digest = add_to_index(index, more, partition_size=8).digest
    shutil.rmtree(index / "partitions" / "00006")
    with pytest.raises(ConfigError, match=f"partition 00006 missing or damaged; .*began it from {more}, again"):
        add_to_index(index, write_pictures(tmp_path / "third", 3, prefix="c"))
    assert add_to_index(index, more, partition_size=8).digest == digest


def test_an_addition_that_was_cut_off_begins_again_if_its_source_changed(
    build: Build, pictures: Path, tmp_path: Path
) -> None:
    """Else the index could never be completed again, and everything in it would be lost."""
    index, more = tmp_path / "index", write_pictures(tmp_path / "more", 20, prefix="b")
    first = build(pictures, index)
    add_to_index(index, more, partition_size=8)
    for file in [more / "b0001.png", *(more / f"b{number:04d}.png" for number in range(10, 20))]:
        file.unlink()
    shutil.rmtree(index / "partitions" / "00006")
    info = add_to_index(index, more, partition_size=8)
    assert (info.planned, info.partitions, info.missing) == (70 + 9, 7, []) and verify_index(index) == []
    shutil.rmtree(index / "partitions" / "00006")
    for file in more.glob("*.png"):
        file.unlink()
    shutil.copyfile(pictures / "0001.png", more / "0001.png")
    assert add_to_index(index, more).digest == first.digest  # nothing is left to add
    assert verify_index(index) == []


def test_merged_indexes_hold_both_in_order(build: Build, pictures: Path, tmp_path: Path) -> None:
    build(pictures, tmp_path / "a")
    build(write_pictures(tmp_path / "more", 20, prefix="b"), tmp_path / "b")
    info = merge_indexes([tmp_path / "a", tmp_path / "b"], tmp_path / "c")
    assert (info.planned, info.images, info.unreadable, info.partitions) == (90, 87, 3, 7)
    assert ids_of(tmp_path / "c") == ids_of(tmp_path / "a") + ids_of(tmp_path / "b")
    assert verify_index(tmp_path / "c") == []
    shutil.rmtree(tmp_path / "c" / "partitions" / "00003")  # as a kill leaves it
    assert merge_indexes([tmp_path / "a", tmp_path / "b"], tmp_path / "c") == info
    added = add_to_index(tmp_path / "c", write_pictures(tmp_path / "third", 4, prefix="c"))
    assert added.images == 91 and verify_index(tmp_path / "c") == []


def test_indexes_that_differ_are_not_merged(build: Build, pictures: Path, tmp_path: Path, fixtures: Path) -> None:
    more = write_pictures(tmp_path / "more", 20, prefix="b")
    build(pictures, tmp_path / "a")
    build(more, tmp_path / "small", size=(6, 5), resize=True)
    build(more, tmp_path / "clip", encoder=EncoderConfig(name="clip", model=f"local-dir:{fixtures / 'tiny-clip'}"))
    build(shutil.copytree(pictures, tmp_path / "copy"), tmp_path / "same ids")
    for other, told in (
        ("small", r"shape.height: 12 -> 6; shape.resize: False -> True; shape.width: 10 -> 5"),
        ("clip", r"encoder.name: 'pixel' -> 'clip'"),
        ("same ids", r"70 ids that an index before it has too \(such as '0000'\)"),
    ):
        with pytest.raises(ConfigError, match=told):
            merge_indexes([tmp_path / "a", tmp_path / other], tmp_path / "out")
        assert not (tmp_path / "out").exists()
    with pytest.raises(ConfigError, match="got 1 index; expected two or more"):
        merge_indexes([tmp_path / "a"], tmp_path / "out")


def test_a_partition_without_a_file_is_not_taken_for_a_full_disk(build: Build, pictures: Path, tmp_path: Path) -> None:
    build(pictures, tmp_path / "a")
    build(write_pictures(tmp_path / "more", 20, prefix="b"), tmp_path / "b")
    (tmp_path / "b" / "partitions" / "00001" / "embeddings.npy").unlink()
    with pytest.raises(DataError, match=r"b/partitions/00001: got no embeddings.npy; expected a whole partition"):
        merge_indexes([tmp_path / "a", tmp_path / "b"], tmp_path / "out")


def test_a_damaged_index_is_not_merged(build: Build, pictures: Path, tmp_path: Path) -> None:
    build(pictures, tmp_path / "a")
    build(write_pictures(tmp_path / "more", 20, prefix="b"), tmp_path / "b")
    file = tmp_path / "b" / "partitions" / "00001" / "embeddings.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataError, match="files of another SHA-256 than its entry"):
        merge_indexes([tmp_path / "a", tmp_path / "b"], tmp_path / "c")
    assert index_info(tmp_path / "c").missing == ["00006"]
