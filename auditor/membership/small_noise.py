"""Small-noise aggregation: a member's predicted noises lie close together (Li, Chen, Fan 2025, arXiv 2510.21783)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import torch

from auditor.diffusion.evaluations import Request
from auditor.diffusion.sweep import Rounds, Samples
from auditor.membership.base import ATTACKS, mean_power, noised, training_time
from auditor.membership.secmi import transport


@dataclass(frozen=True)
class SmallNoise:
    """Minus the mean pairwise distance of the noises predicted at t, t - m, ..., after one small noise, at several t.

    x0 is noised once, to t (theirs: 50 to 150), then denoised by DDIM steps of m = 10, which gives five predictions;
    where the image is known the path is straight and they agree. Their score is minus the logarithm of this distance:
    the same order, but infinite for a perfect memorizer. Distances are root mean squares over pixels. The weak side: a
    denoiser that draws other images straight to a training image agrees with itself about those too.
    """

    times: tuple[int, ...] = (50, 100, 150)
    step: int = 10
    predictions: int = 5
    name: str = "small_noise"

    def rounds(self, samples: Samples) -> Rounds:
        """One round per prediction, all times together."""
        schedule = samples.schedule
        requests = [noised(samples, samples.x0, time)[0] for time in self.times]
        noises: list[list[torch.Tensor]] = [[] for _ in self.times]
        for number in range(1, self.predictions + 1):
            answers = yield requests
            requests = []
            for time, seen, answer in zip(self.times, noises, answers, strict=True):
                seen.append(answer.eps)
                below = training_time(schedule, max(0, time - number * self.step))
                requests.append(Request(transport(answer, schedule, below), below))
        return {f"t={time}, m={self.step}": -spread(seen) for time, seen in zip(self.times, noises, strict=True)}


def spread(points: list[torch.Tensor]) -> torch.Tensor:
    """Mean over all pairs of the root mean square difference per sample, Float[B]."""
    distances = [mean_power(one - other, 2).sqrt() for one, other in combinations(points, 2)]
    return torch.stack(distances).mean(0)


ATTACKS.register("small_noise")(SmallNoise())
