"""What cannot be opened ends with one clear line and the right exit code."""

from __future__ import annotations

import gzip
import io
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from auditor.data import Geometry, open_source, survey
from auditor.data.webdataset import split_name
from auditor.errors import AuditError, ConfigError, DataError

GREY = Geometry(1, 6, 5)
IMAGES = np.zeros((2, 6, 5), np.uint8)


def empty_folder(root: Path) -> Path:
    return root


def only_text(root: Path) -> Path:
    (root / "readme.txt").write_text("nothing here")
    return root


def empty_file(root: Path) -> Path:
    (root / "a.parquet").write_bytes(b"")
    return root / "a.parquet"


def a_pickle(root: Path) -> Path:
    (root / "a.pkl").write_bytes(pickle.dumps([1]))
    return root / "a.pkl"


def a_gzip(root: Path) -> Path:
    (root / "a.tar.gz").write_bytes(gzip.compress(b"content"))
    return root / "a.tar.gz"


def one_image(root: Path) -> Path:
    (root / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return root / "a.png"


def images_beside_shards(root: Path) -> Path:
    one_image(root)
    np.savez(root / "a.npz", images=IMAGES)
    return root


def shards_of_two_kinds(root: Path) -> Path:
    np.savez(root / "a.npz", images=IMAGES)
    pq.write_table(pa.table({"image": [b""]}), root / "b.parquet")
    return root


def tar_with_pickle(root: Path) -> Path:
    with tarfile.open(root / "a.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("1.pyd"), io.BytesIO())
    return root / "a.tar"


def tar_without_images(root: Path) -> Path:
    with tarfile.open(root / "a.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("1.txt"), io.BytesIO())
    return root / "a.tar"


def table_without_images(root: Path) -> Path:
    pq.write_table(pa.table({"a": [1], "b": ["x"]}), root / "a.parquet")
    return root / "a.parquet"


def npz_of_objects(root: Path) -> Path:
    np.savez(root / "a.npz", images=IMAGES, captions=np.array(["a", None], object))
    return root / "a.npz"


def npz_of_floats(root: Path) -> Path:
    np.savez(root / "a.npz", images=IMAGES.astype(np.float32))
    return root / "a.npz"


def npz_without_rows(root: Path) -> Path:
    np.savez(root / "a.npz", images=IMAGES[:0])
    return root / "a.npz"


REFUSED = [
    empty_folder, only_text, empty_file, a_pickle, a_gzip, one_image, images_beside_shards, shards_of_two_kinds,
    tar_with_pickle, tar_without_images, table_without_images, npz_of_objects, npz_of_floats, npz_without_rows,
]  # fmt: skip


@pytest.mark.parametrize("make", REFUSED)
def test_sources_that_cannot_be_opened(make: Callable[[Path], Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        open_source(make(tmp_path), GREY)
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


def test_missing_path_and_missing_columns(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file or folder"):
        open_source(tmp_path / "nowhere", GREY)
    pq.write_table(pa.table({"a": [b"x"], "b": [b"y"], "n": [None]}), tmp_path / "a.parquet")
    faults = {
        "columns: got q": {"image_column": "q"}, "columns: got r": {"image_column": "a", "id_column": "r"},
        "data.image_column": {}, "no id in row 0": {"image_column": "a", "id_column": "n"},
    }  # fmt: skip
    for named, options in faults.items():
        with pytest.raises(ConfigError, match=named):
            open_source(tmp_path / "a.parquet", GREY, **options)
    assert len(open_source(tmp_path / "a.parquet", GREY, image_column="b")) == 1  # negative control


@pytest.mark.parametrize("cut", [100, 300, 512])
def test_truncated_shards_are_named(
    cut: int, pixels: NDArray[np.uint8], write: Callable[..., Path], grey: Geometry, tmp_path: Path
) -> None:
    path = write(tmp_path, pixels)
    survey(open_source(path, grey))  # negative control
    if path.is_dir() and not any(path.glob("*.parquet")) and not any(path.glob("*.tar")):
        pytest.skip("a folder of images has no shards; truncated images are counted as unreadable")
    file = path if path.is_file() else max(path.iterdir())
    content = file.read_bytes().rstrip(b"\0")  # a tar is padded with zeros, which it may lose
    # Half a file, cut inside and at the end of a tar block: in a header, in a member, or between two.
    file.write_bytes(content[: len(content) // 2 // 512 * 512 + cut])
    with pytest.raises(AuditError) as caught:
        survey(open_source(path, grey))
    assert isinstance(caught.value, DataError) and str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a/b.c/d.seg.png", ("a/b.c/d", "seg.png")), ("./1.JPG", ("1", "jpg")), ("plain", ("plain", "")),
        (".png", (".png", "png")), ("a/.png", ("a/.png", "png")),
    ],
)  # fmt: skip
def test_keys_end_at_the_first_dot_of_the_last_component(name: str, expected: tuple[str, str]) -> None:
    assert split_name(name) == expected


def test_damaged_shards_end_in_one_clear_line(
    pixels: NDArray[np.uint8], write: Callable[..., Path], grey: Geometry, tmp_path: Path
) -> None:
    """Random bytes overwritten: the set is read, counted as partly unreadable, or refused; nothing else escapes."""
    path = write(tmp_path, pixels)
    file = path if path.is_file() else max(file for file in path.rglob("*") if file.is_file())
    sound, draw, refused = file.read_bytes(), np.random.default_rng(0), 0
    for _ in range(60):
        damaged = bytearray(sound)
        for place in draw.integers(0, len(sound), draw.integers(1, 6)):
            damaged[place] = draw.integers(0, 256)
        file.write_bytes(damaged)
        try:
            info = survey(open_source(path, grey)).images
            assert info.images + len(info.unreadable) <= len(pixels)
        except AuditError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused or path.is_dir()  # the damage does reach what a reader depends on
