"""Denoising loss: members are denoised better (Matsumoto et al. 2023, arXiv 2302.03262; Carlini et al., 2301.13188)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from auditor.diffusion.sweep import Rounds, Samples
from auditor.membership.base import ATTACKS, mean_power, noised


@dataclass(frozen=True)
class DenoisingLoss:
    """Minus the mean squared error of eps at x_t = a x0 + s eps, at each time and averaged over the times.

    The error is taken in eps whatever the network predicts. Every (time, draw) has its own noise, keyed by the image.
    """

    times: tuple[int, ...] = (50, 100, 200)
    draws: int = 1  # noises per time
    name: str = "loss"

    def rounds(self, samples: Samples) -> Rounds:
        """One round: all times and draws together."""
        requests, noises = [], []
        for published in self.times:
            for draw in range(self.draws):
                request, eps = noised(samples, samples.x0, published, draw)
                requests.append(request)
                noises.append(eps)
        answers = yield requests
        losses = torch.stack(
            [mean_power(answer.eps - eps, 2) for answer, eps in zip(answers, noises, strict=True)]
        ).view(len(self.times), self.draws, -1)
        scores = {f"t={t}": -loss.mean(0) for t, loss in zip(self.times, losses, strict=True)}
        return scores | {f"mean over t={min(self.times)}..{max(self.times)}": -losses.mean((0, 1))}


ATTACKS.register("loss")(DenoisingLoss())
