"""The header check accepts what safetensors writes, and nothing whose bytes it does not describe."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from auditor.checkpoint.safetensors_header import HeaderError, check_header

F32 = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}  # 6 values x 4 bytes


def write(file: Path, header: object, data: bytes = b"\0" * 24, length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return file


def test_files_written_by_safetensors_pass(tmp_path: Path) -> None:
    tensors = {
        "half": torch.zeros(3, 5, dtype=torch.float16), "brain": torch.zeros(7, dtype=torch.bfloat16),
        "scalar": torch.tensor(1.0), "empty": torch.zeros(0, 4), "flags": torch.zeros(3, dtype=torch.bool),
        "whole": torch.zeros(2, 2, dtype=torch.int64), "tiny": torch.zeros(4, dtype=torch.float8_e4m3fn),
    }  # fmt: skip
    save_file(tensors, tmp_path / "a.safetensors", metadata={"format": "pt"})
    found = {tensor.name: tensor.shape for tensor in check_header(tmp_path / "a.safetensors")}
    assert found == {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def test_header_of_640_bytes_passes_although_it_starts_like_a_pickle(tmp_path: Path) -> None:
    # 640 = 0x280, little-endian bytes 80 02: those of a protocol 2 pickle.
    text = json.dumps({"a": F32}).encode()
    file = write(tmp_path / "a.safetensors", text + b" " * (640 - len(text)))
    assert file.read_bytes()[:2] == b"\x80\x02"
    assert len(check_header(file)) == 1


FAULTS = {
    "not JSON": (b"{'a': 1}", {}),
    "not an object": ([1], {}),
    "a name twice": (b'{"a": 1, "a": 2}', {}),
    "metadata of numbers": ({"__metadata__": {"a": 1}, "a": F32}, {}),
    "an entry too many": ({"a": F32 | {"more": 1}}, {}),
    "an unknown dtype": ({"a": F32 | {"dtype": "F33"}}, {}),
    "a wrong dtype": ({"a": F32 | {"dtype": "F64"}}, {}),
    "a wrong shape": ({"a": F32 | {"shape": [2, 4]}}, {}),
    "a negative size": ({"a": F32 | {"shape": [-2, -3]}}, {}),
    "a boolean size": ({"a": F32 | {"shape": [True, 6]}}, {}),
    "an overlap": ({"a": F32, "b": F32}, {}),
    "a gap": ({"a": F32, "b": F32 | {"data_offsets": [32, 56]}}, {"data": b"\0" * 56}),
    "data missing": ({"a": F32}, {"data": b"\0" * 20}),
    "data left over": ({"a": F32}, {"data": b"\0" * 28}),
    "a length beyond the file": ({"a": F32}, {"length": 10_000}),
    "a length beyond reason": ({"a": F32}, {"length": 2**63}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_header_that_disagrees_is_refused(fault: str, tmp_path: Path) -> None:
    check_header(write(tmp_path / "sound.safetensors", {"a": F32}))  # negative control
    header, options = FAULTS[fault]
    with pytest.raises(HeaderError):
        check_header(write(tmp_path / "a.safetensors", header, **options))


@pytest.mark.parametrize("size", [0, 4, 8])
def test_stump_is_refused(size: int, tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    file.write_bytes(b"\x01" * size)
    with pytest.raises(HeaderError):
        check_header(file)
