"""What an encoder is: uint8 pixels in, unit vectors out, with preprocessing inside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


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
