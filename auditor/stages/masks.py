"""Masks: a generation with everything darkened that it does not repeat of a training picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from auditor.copies.closer import CloserLook
from auditor.copies.shortlist import PixelsOf
from auditor.encoders.views import IDENTITY, MIRROR, view
from auditor.stages.pictures import save_png
from auditor.store.digest import value_digest
from auditor.store.kinds import KindEvidence, KindSearch

DARK = 4  # what is not repeated is shown at a quarter of its brightness


def write_masks(folder: Path, encoder: str, search: KindSearch, look: CloserLook, made: PixelsOf) -> KindSearch:
    """The search for parts with a mask picture for each piece of evidence, whose ``probe`` is the generation's row."""
    if look.alignments is None or look.parts is None:
        return search
    aligned, shown = look.alignments, look.parts.pair[look.parts.pair >= 0]
    pair_of = dict(zip(look.pairs.generation[shown].tolist(), shown.tolist(), strict=True))  # a generation has one best

    def masked(item: KindEvidence) -> KindEvidence:
        path = f"pictures/masks/{value_digest([encoder, item.id, item.probe])[:16]}.png"
        pixels = view(made(np.array([item.probe])), MIRROR if item.mirrored else IDENTITY)[0]
        shown = darkened(pixels, aligned.mask[pair_of[item.probe]])
        save_png(folder / path, view(shown[None], MIRROR)[0] if item.mirrored else shown)
        return item.model_copy(update={"mask_image": path})

    return search.model_copy(update={"evidence": [masked(item) for item in search.evidence]})


def darkened(pixels: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """UInt8[C H W] with everything outside a mask Bool[h w], enlarged to it, at a quarter of its brightness."""
    rows = np.arange(pixels.shape[1]) * mask.shape[0] // pixels.shape[1]
    columns = np.arange(pixels.shape[2]) * mask.shape[1] // pixels.shape[2]
    return np.where(mask[np.ix_(rows, columns)], pixels, pixels // DARK)
