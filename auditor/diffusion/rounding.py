"""What rounding can do to a posterior mean m = sum_i w_i y_i: proven bounds, in max |difference| over the pixels.

    e_i     exponent -|x_t - a y_i|^2 / (2 s^2), up to a shift that all points share; w = softmax(e)
    lo, hi  least and largest value of each pixel over the points; span = max(hi - lo)
    Y, R    max |y_ij| and max |y_i|_2
    u       unit roundoff: 2^-24 in float32, 2^-53 in float64

**Exponents.** A sum of n products, in any order, is off by at most n u / (1 - n u) times the sum of their absolute
values (Higham, Accuracy and Stability, 2002, section 3.1). float32 exponents are summed over CHUNK pixels at a time and
then over the chunks, so n is CHUNK + D / CHUNK and not D.

**Weights.** If every exponent is off by at most delta, up to a shift that all share, the weights that result differ
from w by at most tanh(delta / 2) < delta / 2 in total variation: with a mass p of points at +delta and 1 - p at -delta,
p e^delta / (p e^delta + (1 - p) e^-delta) - p is largest at p = 1 / (1 + e^delta), and no other errors move more. A
mean over points within [lo, hi] then moves by at most (delta / 2) span in every pixel. Weights that underflow, N 2^-126
together at most, vanish in the slack.

**The mean.** The weighted sum over one block of points is taken in float32, n = BLOCK; across blocks it is float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from auditor.diffusion.ideal import BLOCK

CHUNK = 32  # pixels per float32 inner product; shorter is more accurate and slower
SINGLE, DOUBLE, REDUCED = 2.0**-24, 2.0**-53, 2.0**-8  # the last: bfloat16 or TF32, where torch may use them
SLACK = 1.01  # second-order terms: n u / (1 - n u) <= 1.01 n u for n u <= 0.0099
EXPONENTIAL = 128  # roundings of a float32 weight: up to 104 from subtracting the peak (beyond it is 0), 2 from exp


class Noised(NamedTuple):
    """A batch with its scales, in float64."""

    x: torch.Tensor  # [B D]
    signal: torch.Tensor  # [B 1]
    noise: torch.Tensor  # [B 1]
    classes: torch.Tensor | None  # Int64[B]

    def of(self, rows: torch.Tensor) -> Noised:
        """The rows Int64[b] of the batch."""
        classes = None if self.classes is None else self.classes[rows]
        return Noised(self.x[rows], self.signal[rows], self.noise[rows], classes)


class Rounding:
    """Bounds for one set of points; all are Float64[B], known before anything is computed."""

    def __init__(self, blocks: Sequence[torch.Tensor], half_norms: Sequence[torch.Tensor]) -> None:
        """Read the points once: blocks Float32[n D] with their |y|^2 / 2, Float64[n]."""
        self.low = torch.stack([block.amin(0) for block in blocks]).amin(0).double()
        self.high = torch.stack([block.amax(0) for block in blocks]).amax(0).double()
        self.span = float((self.high - self.low).max())
        self.largest = float(torch.maximum(self.high.abs(), self.low.abs()).max())
        self.radius = float(torch.stack([half.max() for half in half_norms]).max() * 2) ** 0.5

    def of_single_exponents(self, noised: Noised) -> torch.Tensor:
        """For float32 exponents over all points; infinite where torch may take products in less than float32."""
        if torch.get_float32_matmul_precision() != "highest":
            return torch.full_like(noised.noise[:, 0], torch.inf)
        cross, own = self._terms(noised)
        sums = CHUNK + -(-noised.x.shape[1] // CHUNK) + 2  # and the query's own rounding, and the norm's subtraction
        delta = SLACK * SINGLE * (sums * cross + 4 * own + EXPONENTIAL)
        return delta / 2 * self.span + self._of_sums()

    def of_double_exponents(self, noised: Noised) -> torch.Tensor:
        """For float64 exponents over all points (:class:`auditor.diffusion.ideal.IdealDenoiser`)."""
        return self.of_double(noised) + self._of_sums()

    def of_double(self, noised: Noised) -> torch.Tensor:
        """For exponents and means in float64 throughout, rounded to float32 at the end."""
        cross, own = self._terms(noised)
        square = 0.5 * (noised.x / noised.noise).square().sum(1)  # explicit differences: all of |x - a y|^2 / (2 s^2)
        delta = SLACK * DOUBLE * (noised.x.shape[1] + 8) * (cross + own + square)
        return delta / 2 * self.span + SLACK * SINGLE * self.largest

    def _terms(self, noised: Noised) -> tuple[torch.Tensor, torch.Tensor]:
        """Largest a |x_t| |y| / s^2 and (a |y| / s)^2 / 2 over the points."""
        reach = (noised.signal * self.radius / noised.noise)[:, 0]
        return reach * (noised.x / noised.noise).norm(dim=1), 0.5 * reach.square()

    def _of_sums(self) -> float:
        """For weighted sums over blocks: products, weights and result in float32."""
        unit = SINGLE if torch.get_float32_matmul_precision() == "highest" else REDUCED
        return SLACK * (BLOCK + 3) * unit * self.largest
