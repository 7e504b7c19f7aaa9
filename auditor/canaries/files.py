"""Canaries on disk: PNG folders, webdataset tars and parquet files, byte for byte the same for the same canaries."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError

from auditor.errors import ConfigError
from auditor.store.canaries import Ledger

Format = Literal["folder", "tar", "parquet"]


class Drawn(NamedTuple):
    """One image under its id."""

    id: str
    png: bytes
    caption: str | None


def png(pixels: NDArray[np.uint8]) -> bytes:
    """UInt8[C H W] as a PNG file."""
    image = Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def write_images(images: Iterable[Drawn], out: Path, form: Format, columns: tuple[str, str] = ("id", "image")) -> Path:
    """All images as ``out`` (a folder), ``out.tar`` or ``out.parquet``; captions beside them where there are any.

    ``columns`` are what parquet calls the ids and the images; these are {bytes, path} as on the Hugging Face hub.
    """
    if form == "folder":
        out.mkdir(parents=True)
        for image in images:
            (out / f"{image.id}.png").write_bytes(image.png)
            if image.caption is not None:
                (out / f"{image.id}.txt").write_text(image.caption)
        return out
    if form == "tar":
        return _write_tar(images, out.with_suffix(".tar"))
    rows = list(images)
    table: dict[str, list[Any]] = {
        columns[0]: [image.id for image in rows],
        columns[1]: [{"bytes": image.png, "path": f"{image.id}.png"} for image in rows],
    }
    captions = [image.caption for image in rows]
    if any(caption is not None for caption in captions):
        table["caption"] = captions
    pq.write_table(pa.table(table), out.with_suffix(".parquet"), compression="zstd")
    return out.with_suffix(".parquet")


def _write_tar(images: Iterable[Drawn], file: Path) -> Path:
    """Members with no metadata of their own, so that the same images give the same bytes."""
    with tarfile.open(file, "w", format=tarfile.USTAR_FORMAT) as tar:
        for image in images:
            parts = {"png": image.png} | ({} if image.caption is None else {"txt": image.caption.encode()})
            for extension, content in parts.items():
                member = tarfile.TarInfo(f"{image.id}.{extension}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return file


def read_ledger(file: Path) -> Ledger:
    """What `auditor canary` wrote.

    Raises:
      ConfigError: No such file, not a ledger, or a ledger without canaries or with one id twice.
    """
    expected = "the canaries.json that `auditor canary` wrote"
    if not file.is_file():
        raise ConfigError("canaries.ledger", file, expected, "Correct the path.")
    try:
        ledger = Ledger.model_validate(json.loads(file.read_bytes()))
    except ValidationError as error:
        first = error.errors()[0]
        got = f"{'.'.join(map(str, first['loc'])) or 'its text'}: {first['msg']}"
        raise ConfigError(str(file), got, expected, "Give the file unchanged.") from error
    except ValueError as error:
        raise ConfigError(str(file), "no JSON", expected, "Give the file unchanged.") from error
    if not ledger.canaries or len({canary.id for canary in ledger.canaries}) < len(ledger.canaries):
        raise ConfigError(str(file), f"{len(ledger.canaries)} canaries", "canaries of distinct ids", "Make new ones.")
    return ledger
