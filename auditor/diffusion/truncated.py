"""The closed-form memorizer of a large set: cheap where that is provably enough, exact where it is not.

Each output comes with a bound on its distance from the exact posterior mean m = sum_i w_i y_i: the largest absolute
difference over the pixels, in model space, rounding included. Every sample takes the first of three ways whose bound is
within the tolerance. That depends on the schedule, the sample and the set alone, never on the rest of the batch.

    float32     all N points, exponents in float32. Their errors grow as 1 / s^2, so this serves high noise.
    truncated   the k nearest points, exponents in float64. What is left out shrinks with s, so this serves low noise.
    exact       all points, exponents in float64 (:class:`IdealDenoiser`), for the few in between.

**Truncation.** Symbols as in :mod:`auditor.diffusion.rounding`, which bounds the rounding. Let the k nearest points
have weight W = sum e^(e_i - e_1) and mean m_near, and let every other point lie at least b away from x_t / a. The M
others weigh at most T = M e^(e_b - e_1), e_b = -(a b / s)^2 / 2, hence have a share p <= T / (W + T). Since
m = (1 - p) m_near + p m_rest, and m_rest lies within [lo, hi],

    |m - m_near|_j = p |m_rest - m_near|_j <= p max(hi_j - m_near_j, m_near_j - lo_j)        for every pixel j.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from auditor.diffusion.ideal import IdealDenoiser, SoftmaxMean, exclude
from auditor.diffusion.prediction import PredictionType
from auditor.diffusion.rounding import CHUNK, Noised, Rounding
from auditor.diffusion.schedule import NoiseSchedule
from auditor.errors import ConfigError

NEAREST = 256  # points that keep their weight where the sum is truncated
TOLERANCE = 1e-3  # an eighth of a grey level, where pixels span [-1, 1]


class Near(NamedTuple):
    """The points nearest to each query, and how far away every other point is."""

    rows: NDArray[np.int64]  # [B k], distinct, in any order
    beyond: NDArray[np.float64]  # [B] no row that is not listed is nearer than this; inf if all are listed


class NearestRows(Protocol):
    """Finds nearest points by Euclidean distance; :class:`auditor.search.euclidean.EuclideanIndex` is one."""

    def __call__(self, queries: NDArray[np.float64], k: int) -> Near:
        """The min(k, N) points nearest to each query Float64[B D], and a proven lower bound for the others."""

    def __len__(self) -> int:
        """N, the number of points."""


class Way(IntEnum):
    """How an output was computed."""

    FLOAT32 = 0
    TRUNCATED = 1
    EXACT = 2


class Bounded(NamedTuple):
    """Posterior means with what they can be off by."""

    x0: torch.Tensor  # Float32[B C H W]
    bound: torch.Tensor  # Float64[B], on max |x0 - m| over the pixels
    way: torch.Tensor  # Int64[B] of Way


class TruncatedDenoiser:
    """:class:`IdealDenoiser` at the cost of about one nearest-neighbour search, each output within a stated bound."""

    prediction_type = PredictionType.SAMPLE

    def __init__(
        self,
        x0: torch.Tensor,
        schedule: NoiseSchedule,
        nearest: NearestRows,
        labels: torch.Tensor | None = None,
        *,
        k: int = NEAREST,
        tolerance: float = TOLERANCE,
    ) -> None:
        """Take the points Float32[N C H W] in model space and a search over the same rows; reads the points once.

        Args:
          x0: The points, N >= 1; may be memory-mapped and are not copied.
          schedule: Scales of each training time.
          nearest: Search over ``x0`` flattened to [N D], in the same order.
          labels: Class of each point, Int64[N], for calls with a condition.
          k: Points that keep their weight where the sum is truncated.
          tolerance: Largest bound that the two cheap ways may have. The exact way's bound is rounding: 6e-5 times the
            largest pixel, and more only where s < 1e-4 a.

        Raises:
          ConfigError: No points, not [N C H W], labels or search of another length, k < 1, or tolerance <= 0.
        """
        self.exact = IdealDenoiser(x0, schedule, labels)
        if len(nearest) != len(x0):
            got = f"a search over {len(nearest)} rows for {len(x0)} points"
            raise ConfigError("truncated denoiser", got, "one row per point", "Build the index from these points.")
        if k < 1 or not tolerance > 0:
            got = f"k={k}, tolerance={tolerance}"
            raise ConfigError("truncated denoiser", got, "k >= 1 and tolerance > 0", "Leave them at their defaults.")
        self.schedule, self.nearest, self.k, self.tolerance = schedule, nearest, min(k, len(x0)), tolerance
        self._rounding = Rounding(self.exact.blocks, self.exact.half_norms)

    @property
    def sample_shape(self) -> tuple[int, int, int]:
        return self.exact.sample_shape

    def __call__(self, x_t: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        """E[x0 | x_t], or E[x0 | x_t, class], as Float32[B C H W]; arguments and errors as :class:`IdealDenoiser`."""
        return self.with_bound(x_t, t, condition).x0

    @torch.inference_mode()
    def with_bound(self, x_t: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None = None) -> Bounded:
        """The same, with what each output can be off by; arguments and errors as :class:`IdealDenoiser`."""
        signal, noise = self.schedule.scales_at(t, x_t.new_empty((len(x_t), 1), dtype=torch.float64))
        noised = Noised(x_t.flatten(1).double(), signal, noise, self.exact.classes(condition))
        mean, way = torch.empty_like(noised.x), torch.full_like(t, int(Way.FLOAT32))
        bound = self._rounding.of_single_exponents(noised)
        left = self._beyond_tolerance(bound)
        if len(left) < len(x_t):
            quick = torch.nonzero(bound <= self.tolerance).flatten()
            mean[quick] = self._single_mean(noised.of(quick))
        if len(left):
            way[left] = int(Way.TRUNCATED)
            mean[left], bound[left] = self._nearest_mean(noised.of(left))
            left = left[self._beyond_tolerance(bound[left])]
        x0 = mean.float().view_as(x_t)
        if len(left):
            way[left] = int(Way.EXACT)
            x0[left] = self.exact(x_t[left], t[left], None if condition is None else condition[left])
            bound[left] = self._rounding.of_double_exponents(noised.of(left))
        return Bounded(x0, bound, way)

    def _beyond_tolerance(self, bound: torch.Tensor) -> torch.Tensor:
        """The rows Int64[b] that go on to the next way; NaN does."""
        return torch.nonzero(~(bound <= self.tolerance)).flatten()

    def _single_mean(self, noised: Noised) -> torch.Tensor:
        """Posterior mean Float64[B D] over all points, exponents in float32."""
        query = (noised.x * (noised.signal / noised.noise.square())).float()
        scale = (noised.signal / noised.noise).square().float()
        mean, exact = SoftmaxMean(query), self.exact
        for points, half_norms, labels in zip(exact.blocks, exact.half_norms, exact.label_blocks, strict=True):
            exponent = query.new_zeros((len(query), len(points)))
            for first in range(0, query.shape[1], CHUNK):
                part = slice(first, first + CHUNK)
                exponent += query[:, part] @ points[:, part].T
            exponent -= half_norms.float() * scale
            mean.add(exclude(exponent, labels, noised.classes), points)
        return mean.value()

    def _nearest_mean(self, noised: Noised) -> tuple[torch.Tensor, torch.Tensor]:
        """Posterior mean Float64[B D] over the k nearest points, and what it can be off by, Float64[B]."""
        query = torch.where(noised.signal > 0, noised.x / noised.signal, 0)  # without signal all exponents are 0
        scale = 0.5 * (noised.signal / noised.noise).square()
        near = self.nearest(query.cpu().numpy(), self.k)
        rows = torch.from_numpy(near.rows).to(query.device)
        beyond = torch.from_numpy(near.beyond).to(query.device)
        exponent, mean = scale.new_empty(rows.shape), torch.empty_like(query)
        for sample, own in enumerate(rows):  # one at a time: its k * D numbers stay in the cache
            exponent[sample] = (self.exact.points[own].double() - query[sample]).square().sum(1) * -scale[sample]
        if self.exact.labels is not None:
            exclude(exponent, self.exact.labels[rows], noised.classes)
        peak = exponent.amax(1, keepdim=True)
        weight = (exponent - peak).exp()  # all NaN, and so is the bound, where no near point is of the class
        total = weight.sum(1)
        for sample, own in enumerate(rows):
            mean[sample] = weight[sample] @ self.exact.points[own].double() / total[sample]
        others = self._admitted(noised.classes) - exponent.isfinite().sum(1)
        tail = torch.where(others > 0, others * (-scale[:, 0] * beyond.square() - peak[:, 0]).exp(), 0)
        share = torch.where(tail.isinf(), 1, tail / (total + tail))
        reach = torch.maximum(self._rounding.high - mean, mean - self._rounding.low).amax(1)
        return mean, share * reach + self._rounding.of_double(noised)

    def _admitted(self, classes: torch.Tensor | None) -> torch.Tensor | int:
        """How many points each sample may be made of, Int64[B], or one number for all."""
        labels = self.exact.labels
        if labels is None or classes is None:
            return len(self.exact.points)
        ordered = labels.sort().values
        return torch.searchsorted(ordered, classes, right=True) - torch.searchsorted(ordered, classes)
