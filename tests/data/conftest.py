"""The same small images in every format that users have."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image

from auditor.data import Geometry

GREY = Geometry(1, 6, 5)  # height and width differ, so that a transposition shows


def encode(pixels: NDArray[np.uint8], kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


@pytest.fixture
def grey() -> Geometry:
    return GREY


@pytest.fixture
def pixels() -> NDArray[np.uint8]:
    """UInt8[11 6 5]: 11, so that ids without padding would sort 10 before 2."""
    return np.random.default_rng(0).integers(0, 256, (11, 6, 5), dtype=np.uint8)


def write_tar(file: Path, members: Mapping[str, bytes]) -> Path:
    with tarfile.open(file, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file


def table(images: NDArray[np.uint8], ids: list[str] | None = None, struct: bool = True) -> pa.Table:
    blobs = [encode(image) for image in images]
    columns: dict[str, object] = {"image": [{"bytes": blob, "path": None} for blob in blobs] if struct else blobs}
    columns |= {"caption": [f"number {i}" for i in range(len(blobs))]}
    return pa.table(columns | ({"key": ids} if ids else {}))


def as_folder(root: Path, images: NDArray[np.uint8]) -> Path:
    for i, image in enumerate(images):
        folder = root / "images" / f"part{i % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{i:02d}.png").write_bytes(encode(image))
    return root / "images"


def as_tar(root: Path, images: NDArray[np.uint8]) -> Path:
    return write_tar(root / "a.tar", {f"part{i % 2}/{i:02d}.png": encode(image) for i, image in enumerate(images)})


def as_tars(root: Path, images: NDArray[np.uint8]) -> Path:
    (root / "tars").mkdir()
    for shard in range(2):  # ids alternate between the shards
        members = {f"{i:02d}.png": encode(images[i]) for i in range(shard, len(images), 2)}
        write_tar(root / "tars" / f"{shard}.tar", members)
    return root / "tars"


def as_parquet(root: Path, images: NDArray[np.uint8]) -> Path:
    pq.write_table(table(images), root / "a.parquet", row_group_size=4)
    return root / "a.parquet"


def as_parquets(root: Path, images: NDArray[np.uint8]) -> Path:
    (root / "tables").mkdir()
    pq.write_table(table(images[:3], struct=False), root / "tables" / "a.parquet")
    pq.write_table(table(images[3:], struct=False), root / "tables" / "a-b.parquet")  # "-" sorts before "/"
    return root / "tables"


def as_arrow_file(root: Path, images: NDArray[np.uint8]) -> Path:
    with pa.ipc.new_file(root / "a.arrow", (content := table(images)).schema) as writer:
        writer.write_table(content, max_chunksize=4)
    return root / "a.arrow"


def as_arrow_stream(root: Path, images: NDArray[np.uint8]) -> Path:
    with pa.ipc.new_stream(root / "a.arrow", (content := table(images)).schema) as writer:
        writer.write_table(content, max_chunksize=4)
    return root / "a.arrow"


def as_npz(root: Path, images: NDArray[np.uint8]) -> Path:
    np.savez(root / "a.npz", images=images)
    return root / "a.npz"


def as_compressed_npz(root: Path, images: NDArray[np.uint8]) -> Path:
    np.savez_compressed(root / "a.npz", images=images[..., None], labels=np.arange(len(images)))
    return root / "a.npz"


WRITERS = [
    as_folder, as_tar, as_tars, as_parquet, as_parquets, as_arrow_file, as_arrow_stream, as_npz, as_compressed_npz,
]  # fmt: skip


@pytest.fixture(params=WRITERS, ids=lambda writer: writer.__name__)
def write(request: pytest.FixtureRequest) -> Callable[[Path, NDArray[np.uint8]], Path]:
    """Writes images in one format; a test that asks for it runs once per format."""
    return request.param


@pytest.fixture
def png() -> Callable[..., bytes]:
    return encode


@pytest.fixture
def tar() -> Callable[..., Path]:
    return write_tar


@pytest.fixture
def make_table() -> Callable[..., pa.Table]:
    return table
