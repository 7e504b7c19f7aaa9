"""Embed a stream of images into one .npy file: memory is one batch, however many images there are."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from auditor.data.base import ImageBatch
from auditor.encoders.base import Encoder
from auditor.errors import DataError

NORM_TOLERANCE = 1e-4  # float32 unit vectors of 10,000 dimensions are within 1e-6


@dataclass(frozen=True)
class Embeddings:
    """What a set of images became; row n of ``vectors`` belongs to ``ids[n]``."""

    vectors: NDArray[np.float32]  # [N D] unit vectors, memory-mapped, read-only
    ids: list[str]


def embed(batches: Iterable[ImageBatch], encoder: Encoder, out: Path) -> Embeddings:
    """The embeddings of every image of a stream, in its order, written to ``out`` whole or not at all.

    How many images are readable shows only when the stream ends, so rows are appended to ``<out>.part`` behind a header
    that is completed last; then the file takes its name.

    Args:
      batches: From an image source; the batch size bounds memory, and moves values by no more than the encoder says.
      encoder: What embeds.
      out: A ``.npy`` file, Float32[N D] in NumPy's own format; replaced if it exists.

    Returns:
      Vectors as a read-only memory map (an empty array for an empty stream) and their ids.

    Raises:
      DataError: The encoder gave a vector that is not finite or not of unit norm; the image is named, nothing is left.
    """
    partial = out.with_name(f"{out.name}.part")
    ids: list[str] = []
    try:
        with partial.open("wb") as file:
            _write_header(file, 0, encoder.spec.dim)
            for batch in batches:
                vectors = encoder(batch.pixels)
                check_vectors(vectors, batch.ids, encoder)
                file.write(np.ascontiguousarray(vectors).data)
                ids += batch.ids
            file.seek(0)
            _write_header(file, len(ids), encoder.spec.dim)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
    return Embeddings(np.load(out, mmap_mode="r" if ids else None), ids)


def check_vectors(vectors: NDArray[np.float32], ids: list[str], encoder: Encoder) -> None:
    """Refuse what no search may see: another shape or dtype, NaN, infinity, a norm that is not one."""
    expected = (len(ids), encoder.spec.dim)
    if vectors.dtype != np.float32 or vectors.shape != expected:
        got = f"{vectors.dtype}{list(vectors.shape)}"
        raise DataError(f"encoder {encoder.spec.name}", got, f"float32{list(expected)}", "Check the encoder's file.")
    norms = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))
    wrong = ~(np.abs(norms - 1) <= NORM_TOLERANCE)  # NaN compares false
    if wrong.any():
        row = int(np.argmax(wrong))
        subject = f"encoder {encoder.spec.name}: image {ids[row]}"
        raise DataError(subject, f"an embedding of norm {norms[row]:.6g}", "a unit vector", "Check the weights.")


def _write_header(file: BinaryIO, rows: int, dim: int) -> None:
    """NumPy's header; its length is the same for every number of rows, as NumPy pads for growth."""
    header = {"descr": "<f4", "fortran_order": False, "shape": (rows, dim)}
    np.lib.format.write_array_header_1_0(file, header)
