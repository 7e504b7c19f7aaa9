"""PIA: a member's own predicted noise is predicted again (Kong et al. 2024, arXiv 2305.18355)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from auditor.diffusion.evaluations import Request
from auditor.diffusion.sweep import Rounds, Samples
from auditor.membership.base import ATTACKS, mean_power, training_time


@dataclass(frozen=True)
class PIA:
    """Minus the norm |e0 - eps(a x0 + s e0, t)|_p with e0 = eps(x0, 0), at several (t, p); their equation 9.

    Norms are means over pixels, root taken, so that they do not depend on the image's size; their code takes p = 4.
    """

    times: tuple[int, ...] = (100, 200, 300)
    powers: tuple[int, ...] = (2, 4)
    name: str = "pia"

    def rounds(self, samples: Samples) -> Rounds:
        """Two rounds: e0, then all times together."""
        (clean,) = yield [Request(samples.x0, 0)]
        e0 = self.start_noise(clean.eps)
        requests = []
        for published in self.times:
            t = training_time(samples.schedule, published)
            signal, noise = samples.schedule.signal_scale[t], samples.schedule.noise_scale[t]
            requests.append(Request(float(signal) * samples.x0 + float(noise) * e0, t))
        answers = yield requests
        return {
            f"t={t}, p={p}": -mean_power(e0 - answer.eps, p).pow(1 / p)
            for t, answer in zip(self.times, answers, strict=True)
            for p in self.powers
        }

    def start_noise(self, eps: torch.Tensor) -> torch.Tensor:
        """The predicted noise as it is."""
        return eps


ATTACKS.register("pia")(PIA())
