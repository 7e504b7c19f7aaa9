"""Copies of real pictures, one kind each, as a checkpoint might show them; and their embeddings, kept on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from auditor.encoders.base import Encoder
from auditor.probes import generator
from auditor.validity.transformations import Pixels, blur, crop, jpeg, mirror, noise

BATCH = 32
PATCH = 0.5  # side of a pasted part, as a share of the picture's
ONE = {
    "JPEG q30": jpeg(30),
    "noise, sigma 25": noise(25.0),
    "mirror": mirror,
    "crop 80%": crop(0.8),
    "crop 50%": crop(0.5),
}
KINDS = (
    "JPEG q30",
    "blur, radius 2",
    "noise, sigma 25",
    "mirror",
    "crop 80%",
    "crop 50%",
    "patch pasted",
    "blend",
)


def planted(kind: str, originals: Pixels, hosts: Pixels) -> Pixels:
    """UInt8[P 3 S S]: a copy of each original; of a blend, of each pair (original 2p, original 2p + 1).

    Args:
      hosts: Pictures UInt8[P 3 S S] that a part is pasted into.
    """
    side = originals.shape[-1]
    change = blur(2.0 / side) if kind == "blur, radius 2" else ONE.get(kind)
    if change is not None:
        return np.stack([change(image, generator("recall", kind, i)) for i, image in enumerate(originals)])
    if kind == "patch pasted":
        rngs = (generator("recall", kind, i) for i in range(len(originals)))
        return np.stack([pasted(*args) for args in zip(originals, hosts, rngs, strict=True)])
    pairs = originals.astype(np.float64).reshape(-1, 2, *originals.shape[1:])
    return np.rint(pairs.mean(axis=1)).astype(np.uint8)


def pasted(original: Pixels, host: Pixels, rng: np.random.Generator) -> Pixels:
    """A square part of the original, from anywhere, anywhere in another picture."""
    side = original.shape[-1]
    part = round(PATCH * side)
    (top, left), (below, right) = rng.integers(0, side - part + 1, (2, 2))
    whole = host.copy()
    whole[:, below : below + part, right : right + part] = original[:, top : top + part, left : left + part]
    return whole


def kept(file: Path, compute: Callable[[], NDArray[np.float32]]) -> NDArray[np.float32]:
    """An array from its file, or made and written whole: a killed run goes on from the last one."""
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file.with_suffix(".part.npy"), compute())
        file.with_suffix(".part.npy").replace(file)
    found: NDArray[np.float32] = np.load(file)
    return found


def embed(pixels: Pixels, encoder: Encoder) -> NDArray[np.float32]:
    """Float32[B D], in batches."""
    return np.concatenate(
        [encoder(np.ascontiguousarray(pixels[at : at + BATCH])) for at in range(0, len(pixels), BATCH)]
    )
