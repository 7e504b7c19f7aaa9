"""Images behind fsspec addresses and in folders that Hugging Face ``datasets`` saved are those of the local files."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from auditor.data import Geometry, open_source, survey
from auditor.data.places import place_of
from auditor.errors import ConfigError, DataError

Write = Callable[[Path, NDArray[np.uint8]], Path]


def to_memory(path: Path) -> str:
    memory = fsspec.filesystem("memory")
    for file in [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]:
        memory.pipe(f"/set/{file.relative_to(path) if path.is_dir() else file.name}", file.read_bytes())
    return "memory://set" if path.is_dir() else f"memory://set/{path.name}"


def to_file(path: Path) -> str:
    return f"file://{path}"


def to_zip(path: Path) -> str:
    target = path.parent.parent / "whole.zip"
    with zipfile.ZipFile(target, "w") as archive:
        for file in [path, *path.rglob("*")]:
            archive.write(file, file.relative_to(path.parent))
    return f"zip://{path.name}::file://{target}"


@pytest.fixture(autouse=True)
def empty_memory() -> Iterator[None]:
    yield
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "local").mkdir()
    return tmp_path / "local"


@pytest.mark.parametrize("move", [to_memory, to_file, to_zip])
def test_an_address_gives_what_the_files_give(
    write: Write, pixels: NDArray[np.uint8], grey: Geometry, folder: Path, move: Callable[[Path], str]
) -> None:
    path = write(folder, pixels)
    local, remote = open_source(path, grey), open_source(move(path), grey)
    expected, found = survey(local).images, survey(remote).images
    assert found.images == len(pixels) and found.digest == expected.digest
    assert found.path == remote.path and "://" in found.path
    assert remote.files_digest() != local.files_digest()
    assert remote.files_digest() == open_source(found.path, grey).files_digest()


def test_captions_and_unreadable_images_of_an_address(grey: Geometry, folder: Path, png: Callable[..., bytes]) -> None:
    (folder / "a.png").write_bytes(png(np.zeros((6, 5), np.uint8)))
    (folder / "a.txt").write_text("a caption")
    (folder / "b.png").write_bytes(b"none")
    (folder / ".hidden.png").write_bytes(b"none")
    source = open_source(to_memory(folder), grey)
    batch = next(source.batches(4))
    assert (batch.ids, batch.captions) == (["a"], ["a caption"])
    assert source.unreadable == [("b", "not PNG, JPEG or WEBP")]


def test_captions_that_a_folder_at_an_address_lists(grey: Geometry, folder: Path, png: Callable[..., bytes]) -> None:
    (folder / "a.png").write_bytes(png(np.zeros((6, 5), np.uint8)))
    (folder / "metadata.jsonl").write_text('{"file_name": "a.png", "text": "a caption"}\n')
    assert next(open_source(to_memory(folder), grey).batches(4)).captions == ["a caption"]


def test_a_file_that_changes_changes_the_digest_of_the_files(
    grey: Geometry, folder: Path, png: Callable[..., bytes]
) -> None:
    (folder / "a.png").write_bytes(png(np.zeros((6, 5), np.uint8)))
    before = open_source(to_memory(folder), grey).files_digest()
    fsspec.filesystem("memory").pipe("/set/a.png", png(np.ones((6, 5), np.uint8)) + b"longer")
    assert open_source("memory://set", grey).files_digest() != before


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("pipe:curl http://example.org/a.tar", "which would run a command"),
        ("zip://a::pipe:cat a.zip", "which would run a command"),
        ("nonsense://a", "Protocol not known: nonsense"),
        ("s3://user:hunter2@bucket/a", "an address with a password in it"),
        ("memory://nothing/there", "no such file or folder"),
        ("file:///nothing/there", "no such file or folder"),
    ],
)
def test_what_cannot_be_opened_is_refused_by_name(text: str, told: str, grey: Geometry) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        open_source(text, grey)
    assert "hunter2" not in str(caught.value)


def test_a_missing_library_is_named(grey: Geometry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "s3fs", None)  # as where it is not installed
    with pytest.raises(ConfigError, match=r"Run pip install s3fs"):
        open_source("s3://bucket/images", grey)
    with pytest.raises(ConfigError, match=r"Run pip install s3fs"):
        open_source("zip://images::s3://bucket/a.zip", grey)


def test_a_network_that_fails_is_one_line(grey: Geometry) -> None:
    class Gone(fsspec.AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
        protocol = "gone"

        def info(self, path: str, **options: object) -> dict[str, object]:
            raise TimeoutError("the bucket does not answer")

    fsspec.register_implementation("gone", Gone, clobber=True)
    with pytest.raises(DataError, match="gone://images: got the bucket does not answer; expected a file that can be"):
        place_of("gone://images").is_file()


def save_as_datasets_does(root: Path, table: pa.Table, shards: int = 2) -> Path:
    """The files of ``Dataset.save_to_disk``: Arrow streams, their list, and what the columns are."""
    root.mkdir(parents=True)
    size = -(-len(table) // shards)
    names = [f"data-{number:05d}-of-{shards:05d}.arrow" for number in range(shards)]
    for number, name in enumerate(names):
        with pa.ipc.new_stream(root / name, table.schema) as writer:
            writer.write_table(table.slice(number * size, size))
    state = {"_data_files": [{"filename": name} for name in names], "_fingerprint": "0", "_split": "train"}
    (root / "state.json").write_text(json.dumps(state))
    (root / "dataset_info.json").write_text(json.dumps({"features": {"image": {"_type": "Image"}}}))
    return root


def test_a_saved_data_set_without_its_caches(
    pixels: NDArray[np.uint8], grey: Geometry, tmp_path: Path, make_table: Callable[..., pa.Table]
) -> None:
    saved = save_as_datasets_does(tmp_path / "saved", make_table(pixels))
    shutil.copy(saved / "data-00000-of-00002.arrow", saved / "cache-0123456789abcdef.arrow")
    batch = next(open_source(saved, grey).batches(20))
    assert batch.ids[0] == "data-00000-of-00002/00000000" and np.array_equal(batch.pixels[:, 0], pixels)
    assert batch.captions == [f"number {i}" for i in range(11)]


def test_splits_and_rows_chosen_by_an_index_are_refused(
    pixels: NDArray[np.uint8], grey: Geometry, tmp_path: Path, make_table: Callable[..., pa.Table]
) -> None:
    saved = save_as_datasets_does(tmp_path / "saved" / "train", make_table(pixels))
    save_as_datasets_does(tmp_path / "saved" / "test", make_table(pixels))
    (tmp_path / "saved" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    with pytest.raises(
        ConfigError, match=r"several splits; expected one split\. Point at one of its folders: test, train"
    ):
        open_source(tmp_path / "saved", grey)
    state = json.loads((saved / "state.json").read_text())
    (saved / "state.json").write_text(json.dumps({**state, "_indices_data_files": [{"filename": "indices.arrow"}]}))
    with pytest.raises(ConfigError, match="rows chosen by an index"):
        open_source(saved, grey)
    (saved / "state.json").write_text('{"_data_files": [{"filename": "absent.arrow"}]}')
    with pytest.raises(DataError, match=r"state\.json: got KeyError: 'absent.arrow'"):
        open_source(saved, grey)


def test_a_damaged_row_group_costs_its_own_rows(
    grey: Geometry, tmp_path: Path, make_table: Callable[..., pa.Table]
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (60, 6, 5), dtype=np.uint8)
    file = tmp_path / "a.parquet"
    pq.write_table(make_table(images), file, row_group_size=20, compression="zstd")
    start = pq.ParquetFile(file).metadata.row_group(1).column(0).data_page_offset
    content = bytearray(file.read_bytes())
    content[start : start + 200] = bytes(200)
    file.write_bytes(content)
    found = survey(open_source(file, grey)).images
    assert found.images == 40
    assert [name for name, _ in found.unreadable] == [f"a/{row:08d}" for row in range(20, 40)]
    assert all("a damaged part of a.parquet" in reason for _, reason in found.unreadable)
