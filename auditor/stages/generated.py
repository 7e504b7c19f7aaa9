"""What was generated: parts in the run directory, and all of them together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Part:
    """Some generations, read when they are needed."""

    images: int
    read: Callable[[], Mapping[str, NDArray[Any]]]  # "pixels" UInt8[B C H W], "probe" Int64[B]


@dataclass(frozen=True)
class Generations:
    """All generations of a run, memory-mapped in parts.

    A probe whose trajectory became NaN or infinite has no image; it is counted, and left out of ``pixels``.
    """

    parts: list[dict[str, NDArray[Any]]]  # "pixels" UInt8[B C H W], "probe" Int64[B]
    probes: int

    @property
    def sources(self) -> list[Part]:
        """The parts as those who did not make them have them."""
        return [Part(len(part["probe"]), partial(dict, part)) for part in self.parts]

    @property
    def probe(self) -> NDArray[np.int64]:
        """Probe number of every generation, Int64[G], ascending."""
        return np.concatenate([part["probe"] for part in self.parts])

    @property
    def non_finite(self) -> int:
        """How many probes gave no image."""
        return self.probes - len(self.probe)

    def batches(self) -> Iterator[NDArray[np.uint8]]:
        """Pixels in probe order, UInt8[B C H W], one part at a time."""
        for part in self.parts:
            if len(part["pixels"]):
                yield part["pixels"]

    def pixels(self, row: int) -> NDArray[np.uint8]:
        """One generation by its row, UInt8[C H W]."""
        for part in self.parts:
            if row < len(part["pixels"]):
                image: NDArray[np.uint8] = part["pixels"][row]
                return image
            row -= len(part["pixels"])
        raise IndexError(row)
