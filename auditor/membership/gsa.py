"""GSA: training has already flattened the loss at its members (Pang, Wang, Kang, Huai, Zhang 2025, arXiv 2308.06405).

A white-box attack: it reads, per image, how large the gradient of the denoising loss is in every parameter tensor.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from auditor.diffusion.evaluations import Request
from auditor.diffusion.prediction import true_output
from auditor.diffusion.sweep import Samples
from auditor.diffusion.white_box import WhiteBox
from auditor.membership.base import noised
from auditor.probes import generator
from auditor.stats.ridge import ridge_scores

RESOLUTION = 1e-6  # of the whole gradient: smaller norms are rounding (a bias that softmax cancels has none at all)
FOLDS = 5


@dataclass(frozen=True)
class GSA:
    """Gradient norms of the loss summed over evenly spaced times, and two scores made of them.

    The loss is the training's own: the mean squared error of the raw output, one noise a time, each keyed by the image
    and the published time as in all attacks. Summing over the times before the one backward pass is their GSA_1.

    Differences: theirs is fitted to shadow models' gradients by XGBoost and applied to the target. We have the target's
    own calibration slice, and a ridge regression on logarithms, which a few dozen images can fit. Liang and You 2024
    (arXiv 2410.03640) found GSA fitted and judged on the same images at an AUC of 1.000, and at .455 on others.
    """

    times: tuple[int, ...] = tuple(range(50, 1000, 100))
    name: str = "gsa"

    @property
    def evaluations_per_image(self) -> int:
        """In forward passes: a backward pass costs about two more."""
        return 3 * len(self.times)

    def gradient_norms(
        self, denoiser: WhiteBox, samples: Samples, condition: torch.Tensor | None, batch_size: int = 64
    ) -> NDArray[np.float64]:
        """Euclidean norm of each image's gradient in each parameter tensor, Float64[B P], in the network's order.

        Images come one after the other, their times together in one pass: memory is one gradient beside the
        activations of at most ``batch_size`` noised images.

        Args:
          denoiser: The audited network.
          samples: The images and their noise.
          condition: Labels Int64[B], or None.
          batch_size: Most noised images in one pass; no effect on the result but for rounding.
        """
        asked = [noised(samples, samples.x0, time) for time in self.times]
        requests, noises = [request for request, _ in asked], [eps for _, eps in asked]
        rows = []
        for row in range(len(samples.x0)):
            total: list[torch.Tensor] = []
            for first in range(0, len(requests), batch_size):
                part = slice(first, first + batch_size)
                label = None if condition is None else condition[row]
                found = _gradient(denoiser, samples, requests[part], noises[part], row, label)
                total = [a + b for a, b in zip(total, found, strict=True)] if total else found
            rows.append(torch.stack([torch.linalg.vector_norm(part, dtype=torch.float64) for part in total]))
        return torch.stack(rows).cpu().numpy()


def _gradient(
    denoiser: WhiteBox,
    samples: Samples,
    requests: list[Request],
    noises: list[torch.Tensor],
    row: int,
    label: torch.Tensor | None,
) -> list[torch.Tensor]:
    """Gradient of one image's loss, summed over the requests, by each parameter tensor; zero where it has no part."""
    t = torch.tensor([request.t for request in requests], device=samples.x0.device)
    x_t = torch.stack([request.x_t[row] for request in requests])
    eps = torch.stack([noise[row] for noise in noises])
    target = true_output(denoiser.prediction_type, samples.x0[row], eps, *denoiser.schedule.scales_at(t, x_t))
    condition = None if label is None else label.repeat(len(t))
    with torch.enable_grad():
        parameters = {name: value.detach().requires_grad_() for name, value in denoiser.parameters().items()}
        output = denoiser.with_parameters(parameters)(x_t.float(), t, condition)
        loss = (output - target.float()).square().flatten(1).mean(1).sum()
        return list(torch.autograd.grad(loss, list(parameters.values()), allow_unused=True, materialize_grads=True))


def total_scores(norms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Minus the logarithm of the whole gradient's norm, Float64[N]: at a member the gradient is smaller.

    Args:
      norms: Float64[N P], one column per parameter tensor. A gradient of exactly zero gives infinity.
    """
    with np.errstate(divide="ignore"):
        return np.asarray(-0.5 * np.log((norms**2).sum(1)))


def calibrated_scores(
    norms: NDArray[np.float64], is_member: NDArray[np.bool_], calibration: NDArray[np.bool_], seed: str
) -> NDArray[np.float64]:
    """The supervised form: a classifier of log norms that learned on the calibration slice alone; Float64[N].

    An image outside the slice is scored by the classifier fitted to all of it. One inside is scored out of fold, so
    that the variant chosen there is not the one that learned those images by heart.

    Args:
      norms: Float64[N P] of members and non-members, no row zero.
      is_member: Bool[N]; read inside the calibration slice only.
      calibration: Bool[N], at least two of each side.
      seed: The audit's root seed, for the folds.
    """
    total = np.sqrt((norms**2).sum(1, keepdims=True))
    features = np.log(np.maximum(norms, RESOLUTION * total))
    scores = ridge_scores(features[calibration], is_member[calibration], features)
    for fold in _folds(is_member, calibration, seed):
        rest = calibration & ~fold
        scores[fold] = ridge_scores(features[rest], is_member[rest], features[fold])
    return scores


def _folds(is_member: NDArray[np.bool_], calibration: NDArray[np.bool_], seed: str) -> Iterator[NDArray[np.bool_]]:
    """The calibration slice in parts, Bool[N] each: dealt at random, members and non-members evenly."""
    sides = [np.flatnonzero(calibration & is_member), np.flatnonzero(calibration & ~is_member)]
    folds, draw = min(FOLDS, *map(len, sides)), generator(seed, "membership/gsa/folds")
    place = np.full(len(is_member), -1)
    for side in sides:
        place[draw.permutation(side)] = np.arange(len(side)) % folds
    for fold in range(folds):
        yield place == fold
