"""Views: what a picture is turned into before it is compared, so that a mirrored or framed copy is found as well."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from auditor.config import ViewName
from auditor.encoders.preprocess import as_rgb, resize

Pixels = NDArray[np.uint8]  # [B C H W]

IDENTITY = "identity"
MIRROR = "mirror"
# (top, left, side) as shares of height and width: a training image that a generation shows small, or within a border
WINDOWS = {
    "middle 80%": (0.1, 0.1, 0.8),
    "top left 60%": (0.0, 0.0, 0.6),
    "top right 60%": (0.0, 0.4, 0.6),
    "bottom left 60%": (0.4, 0.0, 0.6),
    "bottom right 60%": (0.4, 0.4, 0.6),
}
VIEWS: dict[ViewName, tuple[str, ...]] = {"identity": (IDENTITY,), "mirror": (MIRROR,), "crop": tuple(WINDOWS)}
ITS_OWN_INVERSE = frozenset({MIRROR})


def names_of(chosen: Sequence[ViewName]) -> list[str]:
    """The single views that a configuration asks for, beyond the picture as it is."""
    return [name for view in chosen if view != IDENTITY for name in VIEWS[view]]


def view(pixels: Pixels, name: str) -> Pixels:
    """UInt8[B C H W] under one view, of the same shape: mirrored, or one window enlarged bilinearly."""
    if name == IDENTITY:
        return pixels
    if name == MIRROR:
        return np.ascontiguousarray(pixels[..., ::-1])
    top, left, bottom, right = window(name, *pixels.shape[-2:])
    part = pixels[..., top:bottom, left:right]
    enlarged: Pixels = resize(as_rgb(part), pixels.shape[-2], pixels.shape[-1], "bilinear").numpy()
    return enlarged[:, : pixels.shape[1]]


def window(name: str, height: int, width: int) -> tuple[int, int, int, int]:
    """(top, left, bottom, right) of a window in pixels: inside the image, at least one pixel each way."""
    top, left, side = WINDOWS[name]
    tall, wide = max(1, round(side * height)), max(1, round(side * width))
    first_row, first_column = min(round(top * height), height - tall), min(round(left * width), width - wide)
    return first_row, first_column, first_row + tall, first_column + wide
