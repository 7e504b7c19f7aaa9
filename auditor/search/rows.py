"""Many arrays searched as one: shards stay files, and no joined copy is written.

part     Float32[n D], one array, memory-mapped file or :class:`ShardFile`; n = 0 allowed
stacked  all parts below one another, Float32[N D], N = sum of n
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, overload

import numpy as np
from numpy.typing import DTypeLike, NDArray

from auditor.errors import DataError

Floats = NDArray[np.float32]


class Part(Protocol):
    """Rows that can be sliced and picked: an ndarray, an ``np.memmap``, or anything that makes them when asked."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, D)."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32."""

    def __getitem__(self, rows: Any, /) -> Any:
        """Float32[m D] for a slice of step 1, or for Int64[m] rows."""


class ShardFile:
    """An ``.npy`` file of vectors that is open only while rows of it are read, so that thousands can be searched."""

    def __init__(self, path: Path) -> None:
        """Read the file's header.

        Raises:
          DataError: Missing, not an .npy file, or not float32[n D].
        """
        self.path = path
        try:
            mapped = self._mapped()
        except (OSError, ValueError, EOFError) as error:
            raise DataError(
                str(path), str(error)[:120], "an .npy file of vectors", "Embed the images again."
            ) from error
        if mapped.dtype != np.float32 or mapped.ndim != 2:
            got = f"{mapped.dtype}{list(mapped.shape)}"
            raise DataError(str(path), got, "float32[n D]", "Embed the images first.")
        self.shape, self.dtype = mapped.shape, mapped.dtype

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, rows: Any) -> Floats:
        found: Floats = self._mapped()[rows]
        return found

    def _mapped(self) -> Any:
        if self.path.stat().st_size == 0:
            raise ValueError("an empty file")
        return np.load(self.path, mmap_mode="r", allow_pickle=False)


class Picked:
    """Rows of a part in another order, picked when they are asked for."""

    def __init__(self, part: Part, rows: NDArray[np.int64]) -> None:
        self._part, self._rows = part, rows
        self.shape, self.dtype = (len(rows), part.shape[-1]), part.dtype

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: Any) -> Floats:
        found: Floats = np.asarray(self._part[self._rows[rows]])
        return found


class Stacked:
    """Parts below one another, read where they lie. Slices are views; ``np.asarray`` reads them into memory."""

    ndim = 2

    def __init__(self, parts: Sequence[Part], *, start: int = 0, stop: int | None = None) -> None:
        """A window on rows start..stop of the parts, all rows by default.

        Raises:
          DataError: No parts, or parts that are not all float32[n D] of one D.
        """
        kinds = {(str(part.dtype), len(part.shape), part.shape[-1]) for part in parts}
        if len(kinds) != 1 or next(iter(kinds))[:2] != ("float32", 2):
            raise DataError("shards", sorted(kinds), "float32[n D] of one D", "Embed all of them with one encoder.")
        self._parts = parts
        self._ends = np.cumsum([part.shape[0] for part in parts])
        self._start, self._stop = start, int(self._ends[-1]) if stop is None else stop
        self.dtype = np.dtype(np.float32)

    @property
    def shape(self) -> tuple[int, int]:
        """(N, D)."""
        return self._stop - self._start, int(self._parts[0].shape[1])

    def __len__(self) -> int:
        return self._stop - self._start

    @overload
    def __getitem__(self, rows: slice) -> Stacked: ...

    @overload
    def __getitem__(self, rows: NDArray[Any]) -> Floats: ...

    def __getitem__(self, rows: slice | NDArray[Any]) -> Stacked | Floats:
        """A view of a slice of step 1, or the picked rows Float32[m D] in memory (Int64[m] or Bool[N])."""
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step != 1:
                raise ValueError(f"rows: got a step of {step}; expected 1")
            window = self._start + start, self._start + max(start, stop)
            return Stacked(self._parts, start=window[0], stop=window[1])
        return self._picked(np.flatnonzero(rows) if rows.dtype == np.bool_ else rows)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """All rows; a view where one part holds them."""
        pieces = list(self._pieces())
        whole = pieces[0] if len(pieces) == 1 else np.concatenate([np.empty((0, self.shape[1]), np.float32), *pieces])
        return np.array(whole, dtype=dtype, copy=True) if copy else np.asarray(whole, dtype=dtype)

    def _pieces(self) -> Iterator[Floats]:
        """The window's rows, part by part."""
        for part, end in zip(self._parts, self._ends, strict=True):
            begin = int(end) - part.shape[0]
            first, last = max(self._start, begin), min(self._stop, int(end))
            if first < last:
                yield part[first - begin : last - begin]

    def _picked(self, rows: NDArray[np.int64]) -> Floats:
        if len(rows) and not (-len(self) <= rows.min() and rows.max() < len(self)):
            raise IndexError(f"rows: got {rows.min()} to {rows.max()}; expected 0 to {len(self) - 1}")
        wanted = np.where(rows < 0, rows + len(self), rows) + self._start
        which = np.searchsorted(self._ends, wanted, side="right")
        found = np.empty((len(rows), self.shape[1]), np.float32)
        for number in np.unique(which):  # each part once, whatever the order of rows
            here = which == number
            part = self._parts[number]
            found[here] = part[wanted[here] - (int(self._ends[number]) - part.shape[0])]
        return found


Rows = Floats | Stacked
