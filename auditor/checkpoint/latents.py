"""Between pixels and model space: the scaling of a pixel-space model, or the autoencoder of a latent one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

Shape = tuple[int, int, int]
# Decoded or encoded at once: 4 images of 256 pixels a side, 1 of 512. Stable Diffusion's decoder takes 1 GB for them.
PIXELS = 2**18
ROUNDED, NEAR_ZERO = 2.0**-8, 1e-6  # bfloat16 keeps 8 bits; float16 more, but for values near 0


class LatentCodec(Protocol):
    """Deterministic both ways, so that the same images always mean the same points of model space."""

    @property
    def pixel_shape(self) -> Shape:
        """(C, H, W) of an image."""

    def to_model(self, pixels: NDArray[np.uint8]) -> torch.Tensor:
        """UInt8[B C H W] pixels to Float32[B ...] points of model space, on the model's device."""

    def to_pixels(self, x0: torch.Tensor) -> NDArray[np.uint8]:
        """Float[B ...] points of model space to UInt8[B C H W] pixels, clamped and rounded half to even.

        Raises:
          ValueError: A value is not finite; such samples are counted, not shown.
        """


class Autoencoder(Protocol):
    """What the codecs of latent models have in common."""

    @property
    def pixel_shape(self) -> Shape:
        """(C, H, W) of an image."""

    @property
    def device(self) -> str:
        """As torch names it."""


@dataclass(frozen=True)
class PixelScaling:
    """Model space is pixels in [low, 1]: low = -1 for most models, 0 for score-SDE VE."""

    pixel_shape: Shape
    device: str = "cpu"
    low: float = -1.0

    def to_model(self, pixels: NDArray[np.uint8]) -> torch.Tensor:
        check_pixels(pixels, self.pixel_shape)
        unit = torch.from_numpy(pixels).to(self.device, torch.float32) / 255
        return unit * (1 - self.low) + self.low

    def to_pixels(self, x0: torch.Tensor) -> NDArray[np.uint8]:
        return quantise((x0.float() - self.low) / (1 - self.low))


@dataclass(frozen=True)
class KlAutoencoder:
    """Model space is ``scaling_factor * (posterior mean - shift_factor)`` of a variational autoencoder.

    The posterior mean rather than a draw: evidence must not depend on noise in the encoder. The autoencoder sees
    pixels in [-1, 1].
    """

    network: Any  # diffusers.AutoencoderKL
    pixel_shape: Shape
    device: str = "cpu"

    @torch.no_grad()
    def to_model(self, pixels: NDArray[np.uint8]) -> torch.Tensor:
        mean = in_pieces(lambda given: self.network.encode(given).latent_dist.mean, centred_on(self, pixels), self)
        return (mean - shift(self.network)) * float(self.network.config.scaling_factor)

    @torch.no_grad()
    def to_pixels(self, x0: torch.Tensor) -> NDArray[np.uint8]:
        latents = x0.to(self.device, torch.float32) / self.network.config.scaling_factor + shift(self.network)
        return quantise(in_pieces(lambda given: self.network.decode(given).sample, latents, self) / 2 + 0.5)


@dataclass(frozen=True)
class DcAutoencoder:
    """Model space is ``scaling_factor *`` the latents of a deep-compression autoencoder, which draws nothing.

    Chen et al. 2024 (arXiv 2410.10733).
    """

    network: Any  # diffusers.AutoencoderDC
    pixel_shape: Shape
    device: str = "cpu"

    @torch.no_grad()
    def to_model(self, pixels: NDArray[np.uint8]) -> torch.Tensor:
        latents = in_pieces(lambda given: self.network.encode(given).latent, centred_on(self, pixels), self)
        return latents * float(self.network.config.scaling_factor)

    @torch.no_grad()
    def to_pixels(self, x0: torch.Tensor) -> NDArray[np.uint8]:
        latents = x0.to(self.device, torch.float32) / self.network.config.scaling_factor
        return quantise(in_pieces(lambda given: self.network.decode(given).sample, latents, self) / 2 + 0.5)


@dataclass(frozen=True)
class VqAutoencoder:
    """Model space is ``scaling_factor *`` the encoder output before quantisation, which the decoder applies itself."""

    network: Any  # diffusers.VQModel
    pixel_shape: Shape
    device: str = "cpu"

    @torch.no_grad()
    def to_model(self, pixels: NDArray[np.uint8]) -> torch.Tensor:
        latents = in_pieces(lambda given: self.network.encode(given).latents, centred_on(self, pixels), self)
        return latents * float(self.network.config.scaling_factor)

    @torch.no_grad()
    def to_pixels(self, x0: torch.Tensor) -> NDArray[np.uint8]:
        latents = x0.to(self.device, torch.float32) / self.network.config.scaling_factor
        return quantise(in_pieces(lambda given: self.network.decode(given).sample, latents, self) / 2 + 0.5)


def same_space(left: LatentCodec, right: LatentCodec) -> bool:
    """Whether two latent codecs mean the same pixels by the same point of model space, up to half-precision rounding.

    Pixel spaces count as one: that a model has pixels from 0, not from -1, moves and stretches points but turns none.
    Autoencoders are told apart by their weights and scaling, not by their files: one is published in several
    precisions, and inside single files.
    """
    ours, theirs = getattr(left, "network", None), getattr(right, "network", None)
    if ours is None or theirs is None:
        return ours is theirs
    scales = [(type(one).__name__, float(one.config.scaling_factor), shift(one)) for one in (ours, theirs)]
    own, other = dict(ours.named_parameters()), dict(theirs.named_parameters())
    if scales[0] != scales[1] or own.keys() != other.keys():
        return False
    return all(
        mine.shape == other[name].shape and torch.allclose(mine, other[name], rtol=ROUNDED, atol=NEAR_ZERO)
        for name, mine in own.items()
    )


def shift(network: Any) -> float:
    """The autoencoder's shift_factor, 0 where it has none."""
    return float(getattr(network.config, "shift_factor", None) or 0.0)


def centred_on(codec: Autoencoder, pixels: NDArray[np.uint8]) -> torch.Tensor:
    """UInt8[B C H W] as Float32 in [-1, 1], on the codec's device."""
    return PixelScaling(codec.pixel_shape, codec.device).to_model(pixels)


def in_pieces(network: Callable[[torch.Tensor], torch.Tensor], batch: torch.Tensor, codec: Autoencoder) -> torch.Tensor:
    """What a network gives for a batch, of at most :data:`PIXELS` or one image at a time, so that memory is bounded.

    A piece's images depend on their places in the batch alone, and so do their last bits.
    """
    if not len(batch):  # every sample of it was not finite, say; networks reshape no empty batch
        return network(batch.new_zeros(1, *batch.shape[1:]))[:0]
    size = max(1, PIXELS // (codec.pixel_shape[1] * codec.pixel_shape[2]))
    return torch.cat([network(piece) for piece in torch.split(batch, size)]) if len(batch) > size else network(batch)


def check_pixels(pixels: NDArray[np.uint8], shape: Shape) -> None:
    """Raise ValueError unless the pixels are UInt8[B, *shape]."""
    if pixels.dtype != np.uint8 or pixels.shape[1:] != shape:
        raise ValueError(f"pixels: got {pixels.dtype}{list(pixels.shape)}; expected uint8 [B, {shape}]")


def quantise(unit: torch.Tensor) -> NDArray[np.uint8]:
    """Values in [0, 1] as UInt8, clamped and rounded half to even, as diffusers' pipelines do."""
    if not torch.isfinite(unit).all():
        raise ValueError("x0: got values that are not finite; expected finite samples only")
    pixels: NDArray[np.uint8] = (unit.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
    return pixels
