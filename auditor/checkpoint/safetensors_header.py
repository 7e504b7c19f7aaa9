"""Whether a .safetensors file is what it says, from its header alone; no tensor is read.

Layout (huggingface/safetensors, README, "Format"): an unsigned little-endian 64-bit length N, N bytes of JSON
``{name: {"dtype", "shape", "data_offsets": [begin, end]}, "__metadata__": {text: text}}``, then the data, to which the
offsets are relative, without gaps or overlaps.
"""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import NamedTuple

MAX_HEADER = 100_000_000  # bytes, the format's own limit
BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "U16": 16, "I16": 16, "F16": 16, "BF16": 16,
    "U32": 32, "I32": 32, "F32": 32, "U64": 64, "I64": 64, "F64": 64, "C64": 64,
}  # fmt: skip


class Tensor(NamedTuple):
    """One entry of the header."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int  # bytes, relative to the end of the header
    end: int


class HeaderError(ValueError):
    """The header disagrees with the file; the message says where."""


def check_header(path: Path) -> list[Tensor]:
    """The tensors of a safetensors file in the order of their bytes.

    Raises:
      HeaderError: Not safetensors, malformed, gaps or overlaps, byte ranges that do not fit dtype and shape, or a
        file shorter or longer than its header says.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or length > min(MAX_HEADER, size - 8):
            raise HeaderError(f"a header of {length} bytes in a file of {size}")
        header = parse(stream.read(length))
    tensors = sorted(
        (read_entry(name, entry) for name, entry in header.items()), key=lambda item: (item.begin, item.end)
    )
    position = 0
    for tensor in tensors:
        if tensor.begin != position:
            raise HeaderError(f"{tensor.name} begins at byte {tensor.begin} of the data, not at {position}")
        position = tensor.end
    if position != size - 8 - length:
        raise HeaderError(f"tensors end at byte {position} of {size - 8 - length} bytes of data")
    return tensors


def parse(text: bytes) -> dict[str, object]:
    """The header's tensor entries by name, the metadata checked and taken out."""
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise HeaderError(f"a header that is not JSON ({str(error)[:80]})") from error
    if not isinstance(header, dict):
        raise HeaderError("a header that is not a JSON object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise HeaderError("metadata that is not a map of text to text")
    return header


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise HeaderError("a name that stands twice")
    return found


def read_entry(name: str, entry: object) -> Tensor:
    """One checked entry: known dtype, natural shape and offsets, and bytes = elements x size of one."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise HeaderError(f"{name} without exactly dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if dtype not in BITS:
        raise HeaderError(f"{name} of unknown dtype {dtype!r}")
    if not _naturals(shape) or not _naturals(offsets) or len(offsets) != 2:
        raise HeaderError(f"{name} with shape {shape!r} and offsets {offsets!r}")
    begin, end = offsets
    if 8 * (end - begin) != prod(shape) * BITS[dtype]:
        raise HeaderError(f"{name}: {dtype} {shape} in {end - begin} bytes")
    return Tensor(name, dtype, tuple(shape), begin, end)


def _naturals(values: object) -> bool:
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)
