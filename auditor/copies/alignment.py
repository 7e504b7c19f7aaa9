"""What part of a generation repeats what part of a real picture: patches matched where they agree on one placement.

A generation g is cut into overlapping square patches. Each is held against every position of the other picture x, at
given scales, by normalised cross-correlation after a plane was taken out of both (so smooth shading matches nothing).
Both are smoothed by one pixel first: a crop lies between the pixels, and fine texture half a pixel off matches nothing,
either. One scale and one offset must place all matching patches at once:

    c_p(q)      correlation of patch p of g with x at position q, both without mean and slope
    w           max(0, (c - 0.8) / 0.2): 0 below a correlation of 0.8, 1 where patch and picture agree
    score       max over scales and offsets o of sum over informative patches p of w(c_p(p + o)), over all patches
    informative a patch that is not flat: 6 of 255 levels or more, root mean square, beside its slope

Pictures are first reduced to a fixed raster, so that the cost does not depend on their size, and only shortlisted pairs
are looked at, so that it does not depend on the training set's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditor.encoders.pixel import area_weights

LEAST_CORRELATION = 0.8
LEAST_CONTRAST = 6.0  # levels of 255

Pixels = NDArray[np.float32]  # [B C side side], levels


@dataclass(frozen=True)
class Raster:
    """How finely pictures are compared."""

    side: int  # of a generation; the other picture is kept at twice that, to be looked at enlarged
    patch: int
    stride: int
    scales: tuple[float, ...]  # x enlarged by so much looks as it does in g: 2 where g shows half of its side

    @property
    def starts(self) -> range:
        """First pixel of each patch along one side."""
        return range(0, self.side - self.patch + 1, self.stride)

    @property
    def grid(self) -> int:
        """Patches along one side."""
        return len(self.starts)


@dataclass(frozen=True)
class Placement:
    """How one picture x lies in each of B generations."""

    score: NDArray[np.float64]  # [B] in 0..1
    scale: NDArray[np.float64]  # [B]
    found: NDArray[np.bool_]  # [B grid grid] patches of g that repeat x there


def rasters(pixels: NDArray[np.uint8], side: int) -> Pixels:
    """UInt8[B C H W] reduced or enlarged to a square by exact area averaging, Float32[B C side side]."""
    down, across = (area_weights(length, side) for length in pixels.shape[2:])
    return np.asarray(down @ pixels.astype(np.float64) @ across.T, np.float32)


class Patches:
    """The patches of B generations, made ready to be looked for."""

    def __init__(self, raster: Raster, generations: Pixels) -> None:
        self.raster, channels = raster, generations.shape[1]
        windows = _windows(smooth(generations), raster.patch)[:, :, :: raster.stride, :: raster.stride]
        flat = windows.transpose(0, 2, 3, 1, 4, 5).reshape(len(generations), raster.grid**2, -1)
        each, basis = flat.reshape(*flat.shape[:-1], channels, -1), _plane(raster.patch)
        level = (each - (each @ basis.T) @ basis).reshape(flat.shape)
        norm = np.sqrt(np.square(level).sum(axis=2))
        self.informative: NDArray[np.bool_] = norm >= LEAST_CONTRAST * np.sqrt(level.shape[2])
        scaled = level / np.where(self.informative, norm, 1)[..., None]
        self.unit = np.asarray(np.where(self.informative[..., None], scaled, 0), np.float32)

    def only(self, rows: NDArray[np.int64]) -> Patches:
        """Those of some generations."""
        chosen = object.__new__(Patches)
        chosen.raster, chosen.informative, chosen.unit = self.raster, self.informative[rows], self.unit[rows]
        return chosen


def place(patches: Patches, picture: NDArray[np.float32]) -> Placement:
    """The best placement of one picture, Float32[C 2*side 2*side], in each of B generations."""
    raster, batch = patches.raster, len(patches.unit)
    score, scale = np.full(batch, -1.0), np.ones(batch)
    found = np.zeros((batch, raster.grid, raster.grid), np.bool_)
    for factor in raster.scales:
        weights = _weights(patches, smooth(_resized(picture, round(factor * raster.side))))
        total = _aligned(raster, weights)
        flat = total.reshape(batch, -1)
        best = flat.argmax(axis=1)
        for row in np.flatnonzero(flat[np.arange(batch), best] > score):
            score[row], scale[row] = flat[row, best[row]], factor
            down, right = np.unravel_index(best[row], total.shape[1:])
            room = raster.side - raster.patch
            found[row] = _found(raster, weights[row], int(down) - room, int(right) - room)
    return Placement(np.clip(score / raster.grid**2, 0, 1), scale, found)


def _weights(patches: Patches, picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """w of every patch at every position, one pixel of play allowed: Float32[B grid*grid h w]."""
    windows = _windows(picture[None], patches.raster.patch)[0]
    places = windows.shape[1:3]
    flat = np.ascontiguousarray(windows.transpose(1, 2, 0, 3, 4)).reshape(places[0] * places[1], -1)
    in_plane = np.square(flat.reshape(len(flat) * len(picture), -1) @ _plane(patches.raster.patch).T)
    norm = np.sqrt(np.maximum(np.square(flat).sum(axis=1) - in_plane.reshape(len(flat), -1).sum(axis=1), 0))
    usable = norm >= LEAST_CONTRAST / 2 * np.sqrt(flat.shape[1])
    correlation = patches.unit.reshape(-1, patches.unit.shape[-1]) @ flat.T
    correlation *= np.where(usable, 1 / np.where(usable, norm, 1), 0).astype(np.float32)
    weight = np.maximum(correlation - np.float32(LEAST_CORRELATION), 0) / np.float32(1 - LEAST_CORRELATION)
    return _with_play(weight.reshape(len(patches.unit), -1, *places))


def _aligned(raster: Raster, weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sum of w over the patches for every offset, Float32[B h+room w+room]; offset 0 stands at [room, room]."""
    room, (tall, wide) = raster.side - raster.patch, weights.shape[2:]
    total = np.zeros((len(weights), tall + room, wide + room), np.float32)
    for patch, (top, left) in enumerate((top, left) for top in raster.starts for left in raster.starts):
        total[:, room - top : room - top + tall, room - left : room - left + wide] += weights[:, patch]
    return total


def _found(raster: Raster, weights: NDArray[np.float32], down: int, right: int) -> NDArray[np.bool_]:
    """Bool[grid grid]: patches of one generation with w > 0 at an offset."""
    found = np.zeros((raster.grid, raster.grid), np.bool_)
    for row, top in enumerate(raster.starts):
        for column, left in enumerate(raster.starts):
            y, x = top + down, left + right
            if 0 <= y < weights.shape[1] and 0 <= x < weights.shape[2]:
                found[row, column] = weights[row * raster.grid + column, y, x] > 0
    return found


def painted(raster: Raster, found: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Bool[side side]: the pixels of a generation's raster that lie in patches found, Bool[grid grid]."""
    mask = np.zeros((raster.side, raster.side), np.bool_)
    for row, column in zip(*np.nonzero(found), strict=True):
        top, left = raster.starts[row], raster.starts[column]
        mask[top : top + raster.patch, left : left + raster.patch] = True
    return mask


def smooth(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each pixel averaged with its neighbours, 1:2:1 down and across, edges repeated; any leading axes."""
    for axis in (-1, -2):
        lines = np.moveaxis(images, axis, -1)
        before = np.concatenate([lines[..., :1], lines[..., :-1]], axis=-1)
        after = np.concatenate([lines[..., 1:], lines[..., -1:]], axis=-1)
        images = np.moveaxis((before + 2 * lines + after) / np.float32(4), -1, axis)
    return images


def _windows(images: Pixels, patch: int) -> NDArray[np.float32]:
    """Every patch x patch window, Float32[B C h w patch patch]."""
    return np.lib.stride_tricks.sliding_window_view(images, (patch, patch), axis=(2, 3))


def _plane(patch: int) -> NDArray[np.float32]:
    """Float32[3 patch*patch]: an orthonormal basis of constant, slope down and slope across."""
    slope = np.arange(patch) - (patch - 1) / 2
    basis = np.stack([np.ones(patch * patch), np.repeat(slope, patch), np.tile(slope, patch)])
    return np.asarray(basis / np.linalg.norm(basis, axis=1, keepdims=True), np.float32)


def _with_play(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """The largest of each 3 x 3 neighbourhood of the last two axes: offsets are no whole pixels."""
    for axis in (-1, -2):
        moved = np.moveaxis(maps, axis, -1)
        wide = moved.copy()
        np.maximum(wide[..., 1:], moved[..., :-1], out=wide[..., 1:])
        np.maximum(wide[..., :-1], moved[..., 1:], out=wide[..., :-1])
        maps = np.moveaxis(wide, -1, axis)
    return maps


def _resized(picture: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Float32[C side side] of a square picture."""
    if side == picture.shape[-1]:
        return picture
    weights = area_weights(picture.shape[-1], side).astype(np.float32)
    return np.asarray(weights @ picture @ weights.T, np.float32)
