"""What a classifier that never sees the model may look at: small pictures and simple statistics of images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

THUMBNAIL = 16  # side of the brightness thumbnail
BANDS = 8  # rings of the power spectrum
LEVELS = 16  # bins of the brightness histogram
BLOCK = 8  # JPEG codes blocks of 8 x 8
LEVEL = "share of pixels at grey level"  # begins the names of level shares
CONTENT = "content: "  # begins the names of columns that show the picture rather than describe it


def image_statistics(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Float32[B D] from UInt8[B C H W]: content, brightness, contrast, sharpness and traces of compression.

    D depends on C, H and W only. In order: thumbnail of the brightness and mean of each channel in 4 x 4 fields
    (content and class mix); channel means and deviations, quantiles and a histogram of brightness, shares of the
    darkest and brightest levels (exposure, saturation, backgrounds that lossy coding makes unclean); log power of
    differences, of the Laplacian and in rings of the spectrum (sharpness, noise, resampling); excess of differences
    across the borders of 8 x 8 blocks (JPEG); number of distinct levels and share of even ones (requantisation).
    """
    images: NDArray[np.float32] = pixels.astype(np.float32) / np.float32(255)
    grey = images.mean(1, dtype=np.float32)
    colour = [images.mean((2, 3)), images.std((2, 3))] + ([_shrink(images, 4)] if images.shape[1] > 1 else [])
    parts = [_shrink(grey[:, None], THUMBNAIL), *colour, _tones(grey), _levels(pixels), _sharpness(grey), _blocks(grey)]
    return np.concatenate([part.reshape(len(pixels), -1) for part in parts], axis=1).astype(np.float32)


def _shrink(images: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Area means on at most side x side fields, Float32[B C h w]."""
    height, width = images.shape[2:]
    rows = np.linspace(0, height, min(side, height) + 1).astype(int)
    columns = np.linspace(0, width, min(side, width) + 1).astype(int)
    sums = np.add.reduceat(np.add.reduceat(images, rows[:-1], axis=2), columns[:-1], axis=3)
    return np.asarray(sums / (np.diff(rows)[:, None] * np.diff(columns)), np.float32)


def _tones(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    flat = grey.reshape(len(grey), -1)
    quantiles = np.quantile(flat, [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1], axis=1).T
    level = np.minimum((flat * LEVELS).astype(int), LEVELS - 1)
    histogram = np.stack([(level == bin).mean(1) for bin in range(LEVELS)], axis=1)
    return np.concatenate([quantiles, histogram], axis=1, dtype=np.float32)


def _levels(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    flat = pixels.reshape(len(pixels), -1)
    distinct = [len(np.unique(image)) for image in flat]
    shares = [flat == 0, (flat > 0) & (flat <= 8), flat >= 247, flat == 255, flat % 2 == 0]
    return np.column_stack([*(share.mean(1) for share in shares), np.log(distinct)]).astype(np.float32)


def _log_power(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Log of the mean square over the last two axes (0 if empty), floored at the power of an eighth of a grey level."""
    count = max(values.shape[-2] * values.shape[-1], 1)
    return np.asarray(np.log((values**2).sum((-2, -1)) / count + (0.125 / 255) ** 2), np.float32)


def _sharpness(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    across, down = np.diff(grey, axis=2), np.diff(grey, axis=1)
    laplacian = across[:, 1:-1, 1:] - across[:, 1:-1, :-1] + down[:, 1:, 1:-1] - down[:, :-1, 1:-1]
    power = np.abs(np.fft.rfft2(grey - grey.mean((1, 2), keepdims=True))) ** 2 / grey[0].size
    radius = np.hypot(np.fft.fftfreq(grey.shape[1])[:, None], np.fft.rfftfreq(grey.shape[2])) / 0.5
    ring = np.minimum((radius * BANDS).astype(int), BANDS - 1)
    rings = [np.log(power[:, ring == band].mean(1) + 1e-6) for band in range(BANDS) if (ring == band).any()]
    return np.column_stack([_log_power(across), _log_power(down), _log_power(laplacian), *rings]).astype(np.float32)


def _blocks(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """Log power of differences across block borders over that of all others, both directions."""
    ratios = []
    for steps in (np.diff(grey, axis=2), np.diff(grey, axis=1).swapaxes(1, 2)):
        border = np.arange(1, steps.shape[2] + 1) % BLOCK == 0
        ratios.append(_log_power(steps[:, :, border]) - _log_power(steps[:, :, ~border]) if border.any() else None)
    found = [ratio for ratio in ratios if ratio is not None]
    return np.column_stack(found) if found else np.zeros((len(grey), 0), np.float32)


def level_shares(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Share of an image's values at each of the 256 grey levels, Float32[B 256] from UInt8[B C H W].

    Any brightening, contrast change or requantisation after an 8-bit image was made leaves levels that never occur.
    """
    flat = pixels.reshape(len(pixels), -1).astype(np.int64)
    places = flat + 256 * np.arange(len(flat))[:, None]
    counts = np.bincount(places.ravel(), minlength=256 * len(flat)).reshape(len(flat), 256)
    return (counts / max(flat.shape[1], 1)).astype(np.float32)


def level_names() -> list[str]:
    """What each column of :func:`level_shares` is, in words."""
    return [f"{LEVEL} {level} of 255" for level in range(256)]


def statistic_names(channels: int, height: int, width: int) -> list[str]:
    """What each column of :func:`image_statistics` is, in words; :data:`CONTENT` marks fields of the picture itself."""
    fields = [(row, column) for row in range(min(THUMBNAIL, height)) for column in range(min(THUMBNAIL, width))]
    coarse = [(row, column) for row in range(min(4, height)) for column in range(min(4, width))]
    colours = ["red", "green", "blue"] if channels == 3 else [f"channel {number + 1}" for number in range(channels)]
    if channels == 1:
        colours = ["brightness"]
    bins = [f"share of pixels in brightness band {number + 1} of {LEVELS}" for number in range(LEVELS)]
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)) / 0.5
    rings = np.unique(np.minimum((radius * BANDS).astype(int), BANDS - 1))
    return [
        *(f"{CONTENT}brightness at row {row + 1}, column {column + 1}" for row, column in fields),
        *(f"mean {colour}" for colour in colours),
        *(f"contrast of {colour}" for colour in colours),
        *(
            f"{CONTENT}{colour} at row {row + 1}, column {column + 1}"
            for colour in (colours if channels > 1 else [])
            for row, column in coarse
        ),
        "darkest brightness", *(f"brightness at its {share}% quantile" for share in (5, 25, 50, 75, 95)),
        "brightest brightness", *bins,
        "share of black pixels", "share of nearly black pixels", "share of nearly white pixels",
        "share of white pixels", "share of even grey levels", "number of grey levels",
        "horizontal detail", "vertical detail", "sharpness",
        *(f"energy at {_pitch(int(ring))} frequencies (ring {ring + 1} of {BANDS})" for ring in rings),
        *(["JPEG blockiness across"] if width > BLOCK else []), *(["JPEG blockiness down"] if height > BLOCK else []),
    ]  # fmt: skip


def _pitch(ring: int) -> str:
    return "low" if ring < BANDS // 4 else "middle" if ring < BANDS // 2 else "high"
