"""SecMI: members are reproduced better by one deterministic step up and back (Duan et al. 2023, arXiv 2302.01316)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from auditor.diffusion.evaluations import Request
from auditor.diffusion.prediction import Prediction
from auditor.diffusion.schedule import NoiseSchedule
from auditor.diffusion.sweep import Rounds, Samples
from auditor.membership.base import ATTACKS, mean_power, training_time


@dataclass(frozen=True)
class SecMI:
    """Minus the t-error |x_t - phi(phi(x_t, t -> t + k), t + k -> t)|^2 (their SecMI_stat), at several t.

    x_t is reached from x0 (taken as the state at time 0) by DDIM inversion in steps of k. The step up from t is the
    inversion's own next step, so one path gives the t-error at all its times for a single evaluation more; their
    default t_sec = 100, k = 10 compares at t = 90 and costs 11. We average over pixels where they sum.
    """

    step: int = 10
    times: tuple[int, ...] = (50, 90)  # where the path is compared; multiples of step
    name: str = "secmi"

    def rounds(self, samples: Samples) -> Rounds:
        """One request a round along the path, up to one step past the last time."""
        schedule = samples.schedule
        published = range(0, max(self.times) + self.step + 1, self.step)
        path = [training_time(schedule, time) for time in published]
        x, scores = samples.x0, {}
        below: torch.Tensor | None = None
        for place, (here, time) in enumerate(zip(path, published, strict=True)):
            (answer,) = yield [Request(x, here)]
            if below is not None and time - self.step in self.times:
                back = transport(answer, schedule, path[place - 1])
                scores[f"t={time - self.step}, k={self.step}"] = -mean_power(below - back, 2)
            if here != path[-1]:
                below, x = x, transport(answer, schedule, path[place + 1])
        return scores


def transport(prediction: Prediction, schedule: NoiseSchedule, t: int) -> torch.Tensor:
    """phi: the state at time t that has the predicted x0 and eps (a DDIM step of eta 0, in either direction)."""
    return float(schedule.signal_scale[t]) * prediction.x0 + float(schedule.noise_scale[t]) * prediction.eps


ATTACKS.register("secmi")(SecMI())
