"""What an inverse problem shows of an image: y = A x0, linear and without noise, in model space.

    A      measurement: hides part of the image (inpainting) or averages it (super-resolution)
    A^+    its pseudo-inverse: the smallest image with that measurement
    P      A^+ A, the orthogonal projection onto what A sees; I - P is onto what it hides

For a latent model both act on latents: a hidden region of the latent grid, an average of latents.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch

from auditor.errors import ConfigError
from auditor.registry import Registry


class Measurement(Protocol):
    """A linear operator A with its pseudo-inverse, on Float[B C H W] of any float dtype and device."""

    @property
    def hidden_share(self) -> float:
        """Share of an image's dimensions that A does not see, in (0, 1)."""

    def measure(self, x0: torch.Tensor) -> torch.Tensor:
        """y = A x0 in x0's dtype.

        Raises:
          ConfigError: Images of another size than the measurement is made for.
        """

    def invert(self, y: torch.Tensor) -> torch.Tensor:
        """A^+ y, Float[B C H W]: the image of least norm among those with measurement y."""

    def project(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """x + A^+ (y - A x): of all images with measurement y the nearest to x, in x's dtype."""


@dataclass(frozen=True, eq=False)
class Inpainting:
    """A x0 = x0 where ``known``, 0 elsewhere; known is Bool[H W], the same for every channel. A^+ = A."""

    known: torch.Tensor

    def __post_init__(self) -> None:
        share = self.hidden_share
        if self.known.dim() != 2 or self.known.dtype != torch.bool or not 0 < share < 1:
            got = f"{self.known.dtype} {list(self.known.shape)}, {1 - share:.0%} known"
            raise ConfigError("inpainting mask", got, "Bool[H W], partly known", "Hide less, or take larger images.")

    @property
    def hidden_share(self) -> float:
        return 1 - float(self.known.double().mean())

    def measure(self, x0: torch.Tensor) -> torch.Tensor:
        return torch.where(self._known(x0), x0, 0.0)

    def invert(self, y: torch.Tensor) -> torch.Tensor:
        return y

    def project(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """y where known, x elsewhere: exact, without rounding."""
        return torch.where(self._known(x), y.to(x.dtype), x)

    def _known(self, like: torch.Tensor) -> torch.Tensor:
        if like.shape[-2:] != self.known.shape:
            expected = f"{list(self.known.shape)}, the size of the mask"
            raise ConfigError("inpainting", f"images of {list(like.shape[-2:])}", expected, "Make the mask for them.")
        return self.known.to(like.device)


@dataclass(frozen=True)
class Superresolution:
    """A x0 = averages over squares of factor x factor, Float[B C H/factor W/factor].

    A A^T = I / factor^2, so that A^+ = factor^2 A^T repeats each average over its square.
    """

    factor: int

    def __post_init__(self) -> None:
        if self.factor < 2:
            raise ConfigError("super-resolution: factor", self.factor, "2 or more", "Correct the factor.")

    @property
    def hidden_share(self) -> float:
        return 1 - 1 / self.factor**2

    def measure(self, x0: torch.Tensor) -> torch.Tensor:
        height, width = x0.shape[-2:]
        if height % self.factor or width % self.factor:
            expected = f"sides that {self.factor} divides"
            raise ConfigError("super-resolution", f"images of {height}x{width}", expected, "Take another factor.")
        return x0.unfold(-2, self.factor, self.factor).unfold(-2, self.factor, self.factor).mean((-2, -1))

    def invert(self, y: torch.Tensor) -> torch.Tensor:
        return y.repeat_interleave(self.factor, -2).repeat_interleave(self.factor, -1)

    def project(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return x + self.invert(y.to(x.dtype) - self.measure(x))


def hidden_error(measurement: Measurement, x0: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Root mean square of (I - P)(x0 - truth) over the dimensions that A hides, Float64[B], in model-space units.

    For inpainting the error over hidden pixels. Where model space is pixels in [-1, 1], halve it for pixels in [0, 1].
    """
    error = x0.double() - truth.double()
    hidden = error - measurement.invert(measurement.measure(error))
    return (hidden.flatten(1).square().mean(1) / measurement.hidden_share).sqrt()


MEASUREMENTS: Registry[Callable[[int, int], Measurement]] = Registry("measurement")  # (height, width) of model space


def _hide(rows: slice, columns: slice, height: int, width: int) -> Inpainting:
    known = torch.ones(height, width, dtype=torch.bool)
    known[rows, columns] = False
    return Inpainting(known)


@MEASUREMENTS.register("inpaint, left half")
def hide_left_half(height: int, width: int) -> Inpainting:
    """Columns below width // 2 are hidden."""
    return _hide(slice(None), slice(None, width // 2), height, width)


@MEASUREMENTS.register("inpaint, right half")
def hide_right_half(height: int, width: int) -> Inpainting:
    """Columns from width // 2 on are hidden."""
    return _hide(slice(None), slice(width // 2, None), height, width)


@MEASUREMENTS.register("inpaint, centre")
def hide_centre(height: int, width: int) -> Inpainting:
    """The middle half of the rows and columns is hidden, a quarter of the area."""
    rows, columns = height // 4, width // 4
    return _hide(slice(rows, height - rows), slice(columns, width - columns), height, width)


@MEASUREMENTS.register("inpaint, every other pixel")
def hide_every_other_pixel(height: int, width: int) -> Inpainting:
    """Pixels whose row and column add up to an odd number are hidden, a chessboard."""
    return Inpainting((torch.arange(height)[:, None] + torch.arange(width)) % 2 == 0)


def _average(factor: int, height: int, width: int) -> Superresolution:
    measurement = Superresolution(factor)
    measurement.measure(torch.empty(1, 1, height, width))  # refuses a factor that does not divide
    return measurement


MEASUREMENTS.register("super-resolution, factor 2")(partial(_average, 2))
MEASUREMENTS.register("super-resolution, factor 4")(partial(_average, 4))
