"""Planted copies: real images of the pool, distorted as copies are, to measure what the encoder can recognise.

They fix the similarity at which two images count as one (5th percentile over a set of transformations), and they are
the positive control: a search that misses them would miss real copies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditor.encoders.base import Encoder
from auditor.encoders.views import view
from auditor.probes import generator
from auditor.store.parts import Estimate
from auditor.store.record import Check
from auditor.validity.transformations import Pixels, Transformation, transformations_for

ORIGINALS = 200
LEAST_RECALL = 0.5  # of planted copies: a search below it is no search
BATCH = 64


@dataclass(frozen=True)
class PlantedCopies:
    """Embedded copies of P pool images."""

    rows: NDArray[np.int64]  # [P] pool rows of the originals
    embeddings: Mapping[str, NDArray[np.float32]]  # per transformation [P D]
    similarity: Mapping[str, NDArray[np.float64]]  # per transformation [P], copy to original
    views: Mapping[str, Mapping[str, NDArray[np.float32]]] = field(default_factory=dict)  # per transformation and view


def sample_originals(pixel_digest: NDArray[Any], seed: str, count: int = ORIGINALS) -> NDArray[np.int64]:
    """Int64[P] pool rows, sorted: a random sample of the pool's distinct images that knows no labels."""
    _, first = np.unique(pixel_digest, return_index=True)
    chosen = generator(seed, "planted originals").permutation(len(first))[:count]
    return np.sort(first[chosen])


def plant(pixels: Pixels, transformations: Mapping[str, Transformation], seed: str) -> dict[str, Pixels]:
    """Every image under every transformation: name to UInt8[P C H W]; draws depend on (seed, name, position)."""
    return {
        name: np.stack([change(image, generator(seed, f"planted/{name}", index)) for index, image in enumerate(pixels)])
        for name, change in transformations.items()
    }


def embed_planted(
    rows: NDArray[np.int64],
    pixels: Pixels,
    encoder: Encoder,
    seed: str,
    transformations: Mapping[str, Transformation] | None = None,
    views: Sequence[str] = (),
) -> PlantedCopies:
    """Planted copies under an encoder.

    Args:
      rows: Int64[P] from :func:`sample_originals`.
      pixels: UInt8[P C H W] of those rows.
      transformations: Default: those that fit the encoder's name.
      views: Further views that generations, and so planted copies, are looked at in.
    """
    chosen = transformations_for(encoder.spec.name) if transformations is None else transformations
    originals = _embed(pixels, encoder).astype(np.float64)
    planted = plant(pixels, chosen, seed)
    embeddings = {name: _embed(copies, encoder) for name, copies in planted.items()}
    similarity = {name: np.einsum("pd,pd->p", originals, copies) for name, copies in embeddings.items()}
    further = {
        name: {turned: _embed(view(copies, turned), encoder) for turned in views} for name, copies in planted.items()
    }
    return PlantedCopies(rows, embeddings, similarity, further)


def planted_check(encoder: str, recall: Estimate, by_transformation: Mapping[str, float]) -> Check:
    """Positive control: planted copies, queried as if generated, must be found."""
    lower = recall.lower or 0.0
    each = ", ".join(f"{name} {share:.0%}" for name, share in by_transformation.items())
    return Check(
        id="positive-control",
        title="Planted copies are found",
        encoder=encoder,
        status="not tested" if recall.value is None else "passed" if lower >= LEAST_RECALL else "failed",
        statement=f"At least {lower:.0%} of planted copies are nearest to their original and nearer than any other "
        f"image ({recall.level or 0.95:.0%} confidence): {each}.",
        power=f"{recall.n or 0} originals, {len(by_transformation)} transformations; fails below {LEAST_RECALL:.0%}.",
        estimates=[recall],
    )


def _embed(pixels: Pixels, encoder: Encoder) -> NDArray[np.float32]:
    return np.concatenate([encoder(pixels[start : start + BATCH]) for start in range(0, len(pixels), BATCH)])
