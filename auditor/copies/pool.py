"""What competes: the real images of both sides under one encoder, and the planted copies that calibrate it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from auditor.search.rows import Rows


@dataclass(frozen=True)
class Pool:
    """Training images followed by the held-out images of the competition slice; N = n + m rows."""

    embeddings: Rows  # Float32[N D] unit rows: an array, an np.memmap or shards
    ids: Sequence[str]
    is_training: NDArray[np.bool_]  # [N], all True before all False
    pixel_digest: NDArray[Any]  # [N] text or integers; equal exactly where the pixels are (NumPy bytes drop \0)

    def __post_init__(self) -> None:
        sizes = {len(self.embeddings), len(self.ids), len(self.is_training), len(self.pixel_digest)}
        if len(sizes) != 1 or self.training == 0 or not self.is_training[: self.training].all():
            raise ValueError("a pool has one id, label and digest per row, and its training rows first, at least one")

    @property
    def training(self) -> int:
        """Number of training rows."""
        return int(self.is_training.sum())

    def first(self, rows: int) -> Pool:
        """The pool of the first so many rows, nothing copied but ids."""
        return Pool(self.embeddings[:rows], self.ids[:rows], self.is_training[:rows], self.pixel_digest[:rows])


class Planted(Protocol):
    """Distorted copies of pool images, made to measure the encoder (``auditor.validity.planted``)."""

    @property
    def rows(self) -> NDArray[np.int64]:
        """Pool rows of the originals, Int64[P], a label-blind sample."""

    @property
    def embeddings(self) -> Mapping[str, NDArray[np.float32]]:
        """Per transformation the copies' unit vectors, Float32[P D], in the order of ``rows``."""

    @property
    def views(self) -> Mapping[str, Mapping[str, NDArray[np.float32]]]:
        """Per transformation the same copies under further views, Float32[P D] each; empty if none are looked at."""

    @property
    def similarity(self) -> Mapping[str, NDArray[np.float64]]:
        """Per transformation each copy's similarity to its original, Float64[P]."""


def floor_of_planted(planted: Planted) -> float:
    """5th percentile of planted copies' similarity to their originals, over all transformations together.

    It is the similarity at which two images count as duplicates, and below which a generation is not as near to an
    image as a copy would be.
    """
    return float(np.quantile(np.concatenate(list(planted.similarity.values())), 0.05))
