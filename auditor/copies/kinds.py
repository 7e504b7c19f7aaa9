"""What kind of copy a pair is, from how the picture lies in the generation and what the two have in common.

exact     verbatim, as it is
mirrored  most of the generation repeats the picture, left and right exchanged
cropped   most of the generation repeats a part of the picture, enlarged
part      some of the generation repeats some of the picture
blend     two pictures together explain the generation, neither does alone
template  the same layout with other details: agreement at 8 pixels a side, none in the details at 32, though the
          generation has as many (a blurred copy has none)
near      nearly the picture, or near it to the encoder alone
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditor.copies.alignment import rasters, smooth
from auditor.copies.parts import LEAST_SIZE
from auditor.store.kinds import CopyKind

MOST = 0.6  # share of a generation's patches with contrast from which on it repeats "mostly"
ENLARGED = 1.1
COARSE, FINE = 8, 32  # pixels a side
SAME_LAYOUT, OTHER_DETAILS = 0.8, 0.3  # correlations
LEAST_DETAIL = 0.5  # of the picture's fine contrast, below which a generation is blurred, not differently detailed


@dataclass(frozen=True)
class Likeness:
    """How two pictures agree, coarsely and in their details."""

    coarse: float  # correlation of both at 8 pixels a side
    fine: float  # correlation of the details that 32 pixels a side hold
    detail: float  # fine contrast of the generation over that of the picture


def likeness(generation: NDArray[np.uint8], picture: NDArray[np.uint8]) -> Likeness:
    """UInt8[C H W] each, of one shape; 0 for a correlation with something flat."""
    coarse, fine = zip(*(_bands(pixels) for pixels in (generation, picture)), strict=True)
    contrast = [float(np.linalg.norm(band)) for band in fine]
    return Likeness(_correlation(*coarse), _correlation(*fine), contrast[0] / contrast[1] if contrast[1] > 0 else 0.0)


def is_template(like: Likeness) -> bool:
    """The same layout with other details."""
    return like.coarse >= SAME_LAYOUT and like.fine <= OTHER_DETAILS and like.detail >= LEAST_DETAIL


def kind_of(
    like: Likeness,
    *,
    verbatim: bool = False,
    mirrored: bool = False,
    blended: bool = False,
    size: float = 0.0,
    covered: float = 0.0,
    scale: float = 1.0,
) -> CopyKind:
    """The first kind in the order of the module's list that the pair is, blends before parts.

    Args:
      like: Of the generation in the view that counts and the picture.
      verbatim: The pixels agree.
      mirrored: That view is a mirror.
      blended: The generation's best explanation is a blend with this picture in it.
      size, covered, scale: Of the pair's alignment; a size of 0 where none was made.
    """
    if verbatim:
        return "mirrored" if mirrored else "exact"
    if blended:
        return "blend"
    placed = size >= LEAST_SIZE
    if placed and covered >= MOST:
        if scale > ENLARGED:
            return "cropped"
        if scale > 1 / ENLARGED:
            return "mirrored" if mirrored else "near"
    if placed and covered < MOST and not (like.coarse >= SAME_LAYOUT and like.fine > OTHER_DETAILS):
        return "part"
    if is_template(like):
        return "template"
    return "mirrored" if mirrored else "near"


def _bands(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(coarse, fine), flattened: averages over blocks without their mean, and what smoothing takes away."""
    whole = rasters(pixels[None], FINE)[0]
    blocks = whole.reshape(len(whole), COARSE, FINE // COARSE, COARSE, FINE // COARSE)
    coarse = blocks.mean(axis=(2, 4))
    fine = whole - smooth(smooth(whole))
    return (coarse - coarse.mean(axis=(1, 2), keepdims=True)).ravel().astype(float), fine.ravel().astype(float)


def _correlation(left: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    length = float(np.linalg.norm(left) * np.linalg.norm(right))
    return float(left @ right) / length if length > 0 else 0.0
