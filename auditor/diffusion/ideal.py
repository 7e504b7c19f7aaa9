"""The closed-form memorizer: the optimal denoiser of a finite training set, every audit's standing positive control.

x_t = a x0 + s eps        a = signal_scale[t], s = noise_scale[t]
e_i = -|x_t - a y_i|^2 / (2 s^2)        exponent of point y_i; what all points share is left out
w   = softmax(e)                        probability that x_t was made of y_i
"""

from __future__ import annotations

import torch

from auditor.diffusion.prediction import PredictionType
from auditor.diffusion.schedule import NoiseSchedule
from auditor.errors import ConfigError

BLOCK = 1024  # points per block: BLOCK * (D + B) float64 numbers of memory, BLOCK float32 roundings in the mean


class IdealDenoiser:
    """A denoiser whose output is the posterior mean E[x0 | x_t] when x0 is uniform over the given points.

        D(x_t) = sum_i w_i y_i,   w = softmax_i( -|x_t - a y_i|^2 / (2 s^2) )

    It minimises the training loss of that set (Karras et al. 2022, arXiv 2206.00364, appendix B.3; used as the
    memorizing model by Zhang et al. 2024, arXiv 2310.05264), and its samples are training points. With labels, a
    condition restricts the points to those of its class: E[x0 | x_t, class], the memorizer of a class-conditional set.

    The exponents divide by s^2 = 1e-4 or less near t = 0, where a float32 inner product of 256 pixels would be wrong
    by order one; they are taken in float64 and combined block by block with a running maximum, in one pass over the
    points. The output is x0 itself (``sample``), which stays as exact as the points at every noise level; reading
    eps from it divides by s.
    """

    prediction_type = PredictionType.SAMPLE

    def __init__(self, x0: torch.Tensor, schedule: NoiseSchedule, labels: torch.Tensor | None = None) -> None:
        """Take the points Float32[N C H W] in model space; they may be memory-mapped and are not copied.

        Args:
          x0: The points, N >= 1.
          schedule: Scales of each training time.
          labels: Class of each point, Int64[N], for calls with a condition.

        Raises:
          ConfigError: No points, not [N C H W], or not one label per point.
        """
        if x0.dim() != 4 or len(x0) == 0:
            raise ConfigError(
                "ideal denoiser", f"points of shape {tuple(x0.shape)}", "[N C H W], N >= 1", "Give images."
            )
        if labels is not None and labels.shape != (len(x0),):
            got = f"labels of shape {tuple(labels.shape)} for {len(x0)} points"
            raise ConfigError("ideal denoiser", got, "one label per point", "Give the labels of these images.")
        self.schedule, self.labels = schedule, labels
        self.points = x0.reshape(len(x0), -1)
        self._shape = (int(x0.shape[1]), int(x0.shape[2]), int(x0.shape[3]))
        starts = range(0, len(x0), BLOCK)
        self.blocks = [self.points[start : start + BLOCK] for start in starts]  # views
        self.half_norms = [0.5 * block.double().square().sum(1) for block in self.blocks]
        self.label_blocks = [None if labels is None else labels[start : start + BLOCK] for start in starts]

    @property
    def sample_shape(self) -> tuple[int, int, int]:
        return self._shape

    @torch.inference_mode()
    def __call__(self, x_t: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        """E[x0 | x_t], or E[x0 | x_t, class], as Float32[B C H W].

        Args:
          x_t: Noised images, Float32[B C H W].
          t: Training times with noise, Int64[B].
          condition: Class of each row, Int64[B]; ignored if the points carry no labels.

        Raises:
          ConfigError: A class that no point has.
        """
        signal, noise = self.schedule.scales_at(t, x_t.new_empty((len(x_t), 1), dtype=torch.float64))
        classes = self.classes(condition)
        query = x_t.flatten(1).double() * (signal / noise.square())
        scale = (signal / noise).square()
        mean = SoftmaxMean(query)
        for points, half_norms, labels in zip(self.blocks, self.half_norms, self.label_blocks, strict=True):
            # -|x - a y|^2 / (2 s^2) without its term in |x|^2, which is the same for every point
            exponent = torch.addmm(half_norms * -scale, query, points.double().T)
            mean.add(exclude(exponent, labels, classes), points)
        return mean.value().float().view_as(x_t)

    def classes(self, condition: torch.Tensor | None) -> torch.Tensor | None:
        """The condition where it restricts the points: None without labels; refused where no point has its class."""
        if condition is None or self.labels is None:
            return None
        missing = ~torch.isin(condition, self.labels)
        if missing.any():
            got = f"class {int(condition[missing][0])}, which no point has"
            expected = f"a class of the points ({int(self.labels.min())} to {int(self.labels.max())})"
            raise ConfigError("condition", got, expected, "Ask for classes that the set has.")
        return condition


class SoftmaxMean:
    """The mean of points under softmax weights, gathered block by block with a running maximum.

    Weights are taken in the dtype of the exponents and the products within a block in float32; everything across
    blocks is float64.
    """

    def __init__(self, query: torch.Tensor) -> None:
        """Start empty for queries Float[B D]."""
        # finite, so that a block without any admitted point (exponents -inf) leaves no NaN
        self.peak = query.new_full((len(query), 1), torch.finfo(torch.float32).min, dtype=torch.float64)
        self.total = torch.zeros_like(self.peak)
        self.sum = torch.zeros_like(query, dtype=torch.float64)

    def add(self, exponent: torch.Tensor, points: torch.Tensor) -> None:
        """Take in a block: exponents Float[B n], overwritten, of points Float32[n D]."""
        higher = torch.maximum(self.peak, exponent.amax(1, keepdim=True).double())
        weight = exponent.sub_(higher.to(exponent.dtype)).exp_()
        keep = (self.peak - higher).exp_()
        self.total = self.total * keep + weight.sum(1, keepdim=True, dtype=torch.float64)
        self.sum = self.sum * keep + (weight.float() @ points).double()
        self.peak = higher

    def value(self) -> torch.Tensor:
        """The mean so far, Float64[B D]."""
        return self.sum / self.total


def exclude(exponent: torch.Tensor, labels: torch.Tensor | None, classes: torch.Tensor | None) -> torch.Tensor:
    """Exponents Float[B n] with -inf, in place, where the point's label (Int64[n] or [B n]) is not the row's class."""
    if labels is None or classes is None:
        return exponent
    return exponent.masked_fill_(labels != classes[:, None], -torch.inf)
