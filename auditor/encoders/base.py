"""What an encoder is: uint8 pixels in, unit vectors out, with preprocessing inside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from auditor.errors import DataError

NORM_TOLERANCE = 1e-4  # float32 unit vectors of 10,000 dimensions are within 1e-6


@dataclass(frozen=True)
class EncoderSpec:
    """What determines an encoder's result."""

    name: str  # registry name, such as "clip"
    detail: str  # model and preprocessing, readable
    dim: int
    weights_sha256: str | None = None


class Encoder(Protocol):
    """Cosine similarity of two embeddings is their inner product; larger = more alike."""

    @property
    def spec(self) -> EncoderSpec:
        """What determines the result."""

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """UInt8[B C H W] (C = 1 or 3) to Float32[B D] unit vectors; a row depends on its own image only."""


@runtime_checkable
class Prepares(Protocol):
    """An encoder whose work on the CPU can run ahead of the network; ``forward(prepare(pixels))`` is its result."""

    def prepare(self, pixels: NDArray[np.uint8]) -> Any:
        """UInt8[B C H W] to what the network takes; several threads may call it at once."""

    def forward(self, prepared: Any) -> NDArray[np.float32]:
        """Float32[B D] unit vectors of prepared images."""


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
