"""Nearest rows by Euclidean distance, with a proven lower bound on the distance of every row not found.

FAISS finds, in float32, and its distances are used only to bound what it left out:

    F_i      FAISS's float32 squared distance of row y_i from the query rounded to float32, q
    eta      bound on |F_i - |q - y_i|^2|, for every row
    b        sqrt(F_k - eta) - |query - q|, F_k the largest F among the rows found

A row not found has F_i >= F_k, hence |q - y_i|^2 >= F_k - eta, and lies at least b from the query by the triangle
inequality.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditor.diffusion.truncated import Near
from auditor.errors import ConfigError, DataError
from auditor.search.index import GPU_MAX_K, import_faiss, search_device

CHECKED_ROWS = 64  # queries that show, on this machine, that the rounding bound describes the index


class EuclideanIndex:
    """A flat FAISS index of points, exact up to the rounding that its bound accounts for."""

    def __init__(self, points: NDArray[np.float32]) -> None:
        """Copy the points Float32[N D] into an index, on a GPU where one works.

        Args:
          points: N >= 1 rows; may be an ``np.memmap``. The index's copy is the only one.

        Raises:
          DataError: Not float32, not [N D], no rows, or not finite.
          ConfigError: No FAISS.
        """
        if points.dtype != np.float32 or points.ndim != 2 or points.size == 0:
            raise DataError("points", f"{points.dtype}{list(points.shape)}", "float32[N D], N >= 1", "Give images.")
        square = np.einsum("nd,nd->n", points, points)
        if not np.isfinite(square).all():
            subject = f"points[{int(np.argmin(np.isfinite(square)))}]"
            raise DataError(subject, "not finite", "finite pixels", "Check the images.")
        self._radius = float(np.sqrt(square.max() * (1 + points.shape[1] * 2.0**-23)))  # square is float32's
        self._shape = points.shape
        index = import_faiss().IndexFlatL2(points.shape[1])
        index.add(np.ascontiguousarray(points))
        self._index, self._on_gpu = self._placed(index, np.ascontiguousarray(points[:CHECKED_ROWS]))

    def __len__(self) -> int:
        """N, the number of points."""
        return int(self._shape[0])

    def __call__(self, queries: NDArray[np.float64], k: int) -> Near:
        """The min(k, N) points nearest to each query, and how far away every other point is at least.

        Args:
          queries: Float64[B D], any norm; what rounding to float32 changes is part of the bound.
          k: Points wanted, at least 1; at most 2,048 on a GPU.

        Returns:
          Rows Int64[B k] by ascending float32 distance, and Float64[B] >= 0: no other row is nearer. It is inf where
          all rows are listed, and 0, which says nothing, where float32 cannot tell.

        Raises:
          DataError: Queries of another D, or not finite.
          ConfigError: k < 1, or beyond what a GPU can serve.
        """
        if queries.ndim != 2 or queries.shape[1] != self._shape[1] or not np.isfinite(queries).all():
            expected = f"finite [B {self._shape[1]}]"
            raise DataError("queries", f"{list(queries.shape)}", expected, "Query with images of the points' size.")
        if k < 1 or (self._on_gpu and k > GPU_MAX_K):
            expected = f"1 to {GPU_MAX_K}" if self._on_gpu else "at least 1"
            raise ConfigError("k", k, expected, "Ask for another number of neighbours.")
        k, rounded = min(k, len(self)), queries.astype(np.float32)
        found, rows = self._index.search(rounded, k)
        if k == len(self):
            return Near(rows, np.full(len(queries), np.inf))
        square = found[:, -1].astype(np.float64) - self._rounding(rounded)
        return Near(rows, np.maximum(np.sqrt(np.maximum(square, 0)) - np.linalg.norm(queries - rounded, axis=1), 0))

    def _rounding(self, queries: NDArray[np.float32]) -> NDArray[np.float64]:
        """eta for each query, Float64[B]: bound on the error of FAISS's squared distances to all rows.

        FAISS sums either D squared differences or |q|^2 + |y|^2 - 2 q y, in any order. Either way at most D + 4
        roundings of terms whose absolute values sum to at most (|q| + R)^2 (Higham, Accuracy and Stability, 2002,
        section 3.1), with 1% for terms of second order.
        """
        norms = np.linalg.norm(queries.astype(np.float64), axis=1)
        return np.asarray(1.01 * (self._shape[1] + 4) * 2.0**-24 * (norms + self._radius) ** 2)

    def _placed(self, index: Any, rows: NDArray[np.float32]) -> tuple[Any, bool]:
        """The index on the GPUs where they work and keep to the rounding bound, as reduced precision would not."""
        if search_device() != "gpu":
            return index, False
        placed = import_faiss().index_cpu_to_all_gpus(index)
        found, nearest = placed.search(rows, min(2, len(self)))
        for column in range(found.shape[1]):
            there = np.stack([index.reconstruct(int(row)) for row in nearest[:, column]]).astype(np.float64)
            error = np.abs(found[:, column] - np.square(rows.astype(np.float64) - there).sum(1))
            if (error > self._rounding(rows)).any():
                return index, False
        return placed, True
