"""The closed-form memorizer: the optimal denoiser of a finite training set, every audit's standing positive control."""

from __future__ import annotations

import numpy as np
import torch

from auditor.diffusion.prediction import PredictionType
from auditor.diffusion.schedule import NoiseSchedule
from auditor.errors import ConfigError

BLOCK = 4096  # training points per block; bounds memory at BLOCK * (D + B) float64 numbers


class IdealDenoiser:
    """A denoiser whose output is the posterior mean E[x0 | x_t] when x0 is uniform over the given points.

        D(x_t) = sum_i w_i y_i,   w = softmax_i( -|x_t - a y_i|^2 / (2 s^2) )

    It minimises the training loss of that set (Karras et al. 2022, arXiv 2206.00364, appendix B.3; used as the
    memorizing model by Zhang et al. 2024, arXiv 2310.05264), and its samples are training points.

    The exponents divide by s^2 = 1e-4 or less near t = 0, where a float32 inner product of 256 pixels would be wrong
    by order one; they are taken in float64 and combined block by block with a running maximum, in one pass over the
    points. The output is x0 itself (``sample``), which stays as exact as the points at every noise level; reading
    eps from it divides by s.
    """

    prediction_type = PredictionType.SAMPLE

    def __init__(self, x0: torch.Tensor, schedule: NoiseSchedule) -> None:
        """Take the points Float32[N C H W] in model space; they may be memory-mapped and are not copied."""
        if x0.dim() != 4 or len(x0) == 0:
            raise ConfigError(
                "ideal denoiser", f"points of shape {tuple(x0.shape)}", "[N C H W], N >= 1", "Give images."
            )
        self.schedule = schedule
        points = x0.reshape(len(x0), -1)
        self._shape = (int(x0.shape[1]), int(x0.shape[2]), int(x0.shape[3]))
        self._blocks = [points[first : first + BLOCK] for first in range(0, len(points), BLOCK)]  # views
        self._half_norms = [0.5 * block.double().square().sum(1) for block in self._blocks]

    @property
    def sample_shape(self) -> tuple[int, int, int]:
        return self._shape

    @torch.inference_mode()
    def __call__(self, x_t: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        """E[x0 | x_t] as Float32[B C H W]; a condition is ignored, since the points carry no labels."""
        signal, noise = self.schedule.scales_at(t, x_t.new_empty((len(x_t), 1), dtype=torch.float64))
        query = x_t.flatten(1).double() * (signal / noise.square())
        scale = (signal / noise).square()
        peak = query.new_full((len(query), 1), -np.inf)
        total = torch.zeros_like(peak)
        mean = torch.zeros_like(query)
        for points, half_norms in zip(self._blocks, self._half_norms, strict=True):
            # -|x - a y|^2 / (2 s^2) without its term in |x|^2, which is the same for every point
            exponent = torch.addmm(half_norms * -scale, query, points.double().T)
            higher = torch.maximum(peak, exponent.amax(1, keepdim=True))
            weight = exponent.sub_(higher).exp_()
            keep = (peak - higher).exp_()
            total = total * keep + weight.sum(1, keepdim=True)
            mean = mean * keep + (weight.float() @ points).double()
            peak = higher
        return (mean / total).float().view_as(x_t)
