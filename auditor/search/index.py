"""The flat FAISS index, its device, and the checks that every searched array passes."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditor.errors import ConfigError, DataError
from auditor.search.rows import Rows

NORM_TOLERANCE = 1e-3
GPU_MAX_K = 2048  # FAISS's limit for flat search on a GPU


@functools.cache
def import_faiss() -> Any:
    """The module ``faiss``, which the extras ``cpu`` and ``gpu`` both provide."""
    try:
        import faiss
    except ImportError as error:
        remedy = "Run pip install 'diffusion-auditor[cpu]', or 'diffusion-auditor[gpu]' on a CUDA machine."
        raise ConfigError("faiss", f"no usable module ({error})", "FAISS installed", remedy) from error
    return faiss


@functools.cache
def search_device() -> str:
    """Where searches run: ``"gpu"``, ``"cpu"``, or ``"cpu (gpu failed: ...)"``; found out once per process.

    ``faiss.get_num_gpus`` exists in the CPU wheel too. A GPU counts only if an index really was placed and searched
    on it, since a driver that does not fit the wheel fails there and not at import.
    """
    faiss = import_faiss()
    if faiss.get_num_gpus() == 0:
        return "cpu"
    try:
        probe = np.eye(4, dtype=np.float32)
        trial = faiss.index_cpu_to_all_gpus(faiss.IndexFlatIP(4))
        trial.add(probe)
        trial.search(probe, 1)
    except Exception as error:  # FAISS raises RuntimeError, its bindings also AttributeError
        return f"cpu (gpu failed: {str(error).splitlines()[0][:120]})"
    return "gpu"


def flat_index(references: NDArray[np.float32], *, k: int | None = 1) -> Any:
    """A FAISS index of inner products over ``references``, exact up to float32 rounding.

    Args:
      references: Float32[G D], copied into the index.
      k: Neighbours that searches will ask for; beyond 2,048, or None for range search, only the CPU can serve.
    """
    faiss = import_faiss()
    index = faiss.IndexFlatIP(references.shape[1])
    if k is not None and k <= GPU_MAX_K and search_device() == "gpu":
        index = faiss.index_cpu_to_all_gpus(index)
    index.add(np.ascontiguousarray(references))
    return index


def nearest_in(
    block: NDArray[np.float32], queries: NDArray[np.float32], k: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The k rows of one block most similar to each query, (Float32[Q k] descending, Int64[Q k]), k <= its rows.

    On the CPU the block is searched where it lies: an index would be a second copy of it.
    """
    faiss = import_faiss()
    if k <= GPU_MAX_K and search_device() == "gpu":
        found, rows = flat_index(block, k=k).search(queries, k)
    else:
        found, rows = faiss.knn(queries, block, k, metric=faiss.METRIC_INNER_PRODUCT)
    return found, rows


def rounding(dim: int) -> float:
    """Bound on the error of a float32 inner product of two unit vectors, in any order of summation.

    |error| <= D u sum|a_i b_i| <= D u with u = 2^-24 (Higham, Accuracy and Stability, 2002, section 3.1), with 1% for
    norms that are only nearly one and for terms of second order, and 2 u for a threshold that FAISS rounds to float32.
    """
    return (1.01 * dim + 2) * 2.0**-24


def check_comparable(**arrays: Rows) -> None:
    """Refuse arrays that cannot be compared: not float32, not [rows D], or of different D; touches no values."""
    for name, array in arrays.items():
        if array.dtype != np.float32 or array.ndim != 2 or array.shape[1] == 0:
            raise DataError(name, f"{array.dtype}{list(array.shape)}", "float32[rows D]", "Embed the images first.")
    dims = {name: array.shape[1] for name, array in arrays.items()}
    if len(set(dims.values())) > 1:
        raise DataError(" and ".join(dims), f"D = {list(dims.values())}", "one D", "Use one encoder on all sets.")


def unit_blocks(
    array: Rows, block_rows: int, name: str, stop: int | None = None
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """(first row, contiguous block) over the rows up to ``stop``, each block's norms checked.

    Raises:
      DataError: A row is not finite or its norm is off one by more than 1e-3.
    """
    if block_rows < 1:
        raise ConfigError("block_rows", block_rows, "at least 1", "Leave it at its default.")
    for start in range(0, len(array) if stop is None else stop, block_rows):
        block = np.ascontiguousarray(array[start : start + block_rows])
        norms = np.sqrt(np.einsum("nd,nd->n", block, block))
        wrong = ~(np.abs(norms - 1) <= NORM_TOLERANCE)  # NaN compares false
        if wrong.any():
            row = int(np.argmax(wrong))
            subject = f"{name}[{start + row}]"
            raise DataError(subject, f"norm {norms[row]:.6g}", "a finite unit vector", "Check the encoder's output.")
        yield start, block


def inner_products(
    left: NDArray[np.float32],
    right: NDArray[np.float32],
    right_rows: NDArray[np.int64],
    left_rows: NDArray[np.int64] | None = None,
) -> NDArray[np.float64]:
    """Float64[N]: inner product of ``left[n]`` with ``right[right_rows[n]]``, every product and sum in float64.

    With ``left_rows``, Int64[N], it is that of ``left[left_rows[n]]``.
    """
    result = np.empty(len(right_rows))
    for start in range(0, len(right_rows), 512):  # stays in the cache: a quarter faster than whole blocks
        rows = slice(start, start + 512)
        ours = left[rows] if left_rows is None else left[left_rows[rows]]
        pair = ours.astype(np.float64), right[right_rows[rows]].astype(np.float64)
        result[rows] = np.einsum("nd,nd->n", *pair)
    return result
