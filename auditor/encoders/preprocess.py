"""Pixels made ready for a network: channels, size, normalisation, always on uint8 batches and always on the CPU.

Resizing happens in uint8 with antialiasing, as Pillow does it, so that it agrees with the transforms that published
weights were trained behind: at most 2 of 255 levels off, in under 5% of the pixels (the tests measure it).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

Interpolation = Literal["bilinear", "bicubic"]
ResizeMode = Literal["shortest", "longest", "squash"]

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def as_rgb(pixels: NDArray[np.uint8]) -> torch.Tensor:
    """UInt8[B 3 H W]; grey images get three equal channels."""
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1] not in (1, 3):
        raise ValueError(f"pixels: got {pixels.dtype}{list(pixels.shape)}; expected uint8[B C H W] with C = 1 or 3")
    copy = np.array(pixels, order="C")  # the array may be read-only, or run backwards
    return torch.from_numpy(copy).expand(-1, 3, -1, -1).contiguous()


def resize(images: torch.Tensor, height: int, width: int, interpolation: Interpolation) -> torch.Tensor:
    """UInt8[B 3 height width], antialiased: first the width, then the height, each only if it changes.

    The order shows, since between the passes values are rounded and clipped. Pillow had this one up to version 12; from
    13 on it takes the height first where that shrinks most. An embedding must not depend on Pillow's version.
    """
    for size in ((images.shape[-2], width), (height, width)):
        if images.shape[-2:] != size:
            images = F.interpolate(images, size, mode=interpolation, antialias=True, align_corners=False)
    return images


@dataclass(frozen=True)
class Preprocess:
    """A network's own way with images; fields as in open_clip's preprocessing configuration."""

    height: int
    width: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: Interpolation = "bicubic"
    resize_mode: ResizeMode = "squash"
    fill_color: int = 0  # of the border that "longest" leaves

    def __call__(self, pixels: NDArray[np.uint8]) -> torch.Tensor:
        """UInt8[B C H W] (C = 1 or 3) to Float32[B 3 height width] on the CPU, normalised by mean and std.

        ``squash`` ignores the aspect ratio; ``shortest`` fits the shorter side and cuts the middle out; ``longest``
        fits the longer side and fills the border.
        """
        images = as_rgb(pixels)
        height, width = self._scaled(*images.shape[-2:])
        square = self.height == self.width
        # open_clip enlarges bicubically, whatever it was told, where a target that is not square meets "shortest"
        interpolation = "bicubic" if self.resize_mode == "shortest" and not square else self.interpolation
        images = self._fit(resize(images, height, width, interpolation))
        mean, std = (torch.tensor(values).reshape(1, -1, 1, 1) for values in (self.mean, self.std))
        return (images.float() / 255 - mean) / std

    def __str__(self) -> str:
        numbers = (f"{name} {' '.join(f'{v:.6g}' for v in getattr(self, name))}" for name in ("mean", "std"))
        return f"{self.resize_mode} to {self.width}x{self.height}, {self.interpolation}, {', '.join(numbers)}"

    def _scaled(self, height: int, width: int) -> tuple[int, int]:
        """Size after resizing and before fitting; each rounding is that of the transform it stands for."""
        if self.resize_mode == "squash":
            return self.height, self.width
        if self.resize_mode == "shortest" and self.height == self.width:  # torchvision cuts the longer side down
            short = min(height, width)
            return int(self.height * height / short), int(self.height * width / short)
        choose = max if self.resize_mode == "longest" else min
        ratio = choose(height / self.height, width / self.width)
        return round(height / ratio), round(width / ratio)

    def _fit(self, images: torch.Tensor) -> torch.Tensor:
        """Fill up to, then cut to, the target size about the middle."""
        down, right = (max(want - have, 0) for want, have in zip(self._target, images.shape[-2:], strict=True))
        if down or right:
            border = (right // 2, (right + 1) // 2, down // 2, (down + 1) // 2)
            images = F.pad(images, border, value=self.fill_color)
        top, left = (round((have - want) / 2) for want, have in zip(self._target, images.shape[-2:], strict=True))
        return images[..., top : top + self.height, left : left + self.width]

    @property
    def _target(self) -> tuple[int, int]:
        return self.height, self.width


def to_device(images: torch.Tensor, device: str) -> torch.Tensor:
    """The images on ``device``, there when this returns; copied to a GPU beside what that computes meanwhile."""
    if not device.startswith("cuda"):
        return images.to(device)
    own = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch's is
    with torch.cuda.stream(own):
        copied = images.pin_memory().to(device, non_blocking=True)
    own.synchronize()
    copied.record_stream(torch.cuda.default_stream(device))  # where the network reads it: not to be reused before
    return copied


def unit_rows(vectors: torch.Tensor) -> NDArray[np.float32]:
    """Float32[B D] on the CPU, each row divided by its norm in float64; a zero row becomes NaN, never a direction."""
    rows = vectors.detach().to("cpu", torch.float64)
    unit: NDArray[np.float32] = (rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True)).float().numpy()
    return unit
