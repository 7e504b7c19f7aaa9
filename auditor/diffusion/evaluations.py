"""Predictions on request, each distinct network input of a batch evaluated once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch

from auditor.diffusion.denoiser import Denoiser
from auditor.diffusion.prediction import Prediction, read_output

Given = Literal["own", "none", "other"]


class Request(NamedTuple):
    """Ask for the prediction at x_t, Float[B C H W], where every row is at training time t.

    Under each row's own condition, under none, or under that of the nearest row before it that has another one (before
    the first comes the last). Where no row of the batch has another one, that answer is NaN.
    """

    x_t: torch.Tensor
    t: int
    given: Given = "own"


class SharedEvaluations:
    """Raw outputs of one batch by (t, given, content of x_t), so that nothing is evaluated twice."""

    def __init__(self, denoiser: Denoiser, condition: torch.Tensor | None, batch_size: int) -> None:
        self.denoiser, self.condition, self.batch_size = denoiser, condition, batch_size
        self.inputs: list[tuple[int, Given, torch.Tensor]] = []
        self.outputs: list[torch.Tensor] = []
        self.used: dict[str, set[int]] = {}

    def answer(self, asked: Mapping[str, list[Request]]) -> dict[str, list[Prediction]]:
        """Predictions for each attack's requests of one round."""
        places = {name: [self._place(request) for request in requests] for name, requests in asked.items()}
        self._evaluate_pending()
        for name, own in places.items():
            self.used.setdefault(name, set()).update(own)
        return {
            name: [self._read(request, place) for request, place in zip(requests, places[name], strict=True)]
            for name, requests in asked.items()
        }

    def _place(self, request: Request) -> int:
        """Where the output of this request is or will be; equal network inputs share a place."""
        x_t = request.x_t.float()
        given: Given = "none" if self.condition is None else request.given
        for place, (t, known_given, known) in enumerate(self.inputs):
            if (t, known_given) == (request.t, given) and torch.equal(known, x_t):
                return place
        self.inputs.append((request.t, given, x_t))
        return len(self.inputs) - 1

    def _evaluate_pending(self) -> None:
        first = len(self.outputs)
        pending = self.inputs[first:]
        self.outputs.extend(torch.empty_like(x_t) for _, _, x_t in pending)
        for conditioned in (True, False):  # a call is under conditions, or under none
            places = [first + k for k, (_, given, _) in enumerate(pending) if (given != "none") == conditioned]
            if places:
                for place, output in zip(places, self._evaluate(places, conditioned), strict=True):
                    self.outputs[place] = output

    def _evaluate(self, places: list[int], conditioned: bool) -> torch.Tensor:
        """Raw outputs of inputs by place, Float32[P B C H W], in as few calls as the batch size allows."""
        asked = [self.inputs[place] for place in places]
        x_t = torch.cat([x for *_, x in asked])
        size = len(x_t) // len(asked)
        t = torch.tensor([t for t, *_ in asked], device=x_t.device).repeat_interleave(size)
        condition = torch.cat([self._condition(given) for _, given, _ in asked]) if conditioned else None
        outputs = []
        for start in range(0, len(x_t), self.batch_size):
            part = slice(start, start + self.batch_size)
            outputs.append(self.denoiser(x_t[part], t[part], None if condition is None else condition[part]))
        return torch.cat(outputs).view(len(asked), size, *x_t.shape[1:])

    def _condition(self, given: Given) -> torch.Tensor:
        assert self.condition is not None
        return other_conditions(self.condition) if given == "other" else self.condition

    def _read(self, request: Request, place: int) -> Prediction:
        """The output in the request's own dtype and reading."""
        schedule = self.denoiser.schedule
        signal, noise = float(schedule.signal_scale[request.t]), float(schedule.noise_scale[request.t])
        output = self.outputs[place].to(request.x_t.dtype)
        if request.given == "other" and self.condition is not None:
            same = other_conditions(self.condition) == self.condition
            output = torch.where(same.view(-1, *[1] * (output.ndim - 1)), torch.nan, output)
        return read_output(self.denoiser.prediction_type, output, request.x_t, signal, noise)


def other_conditions(condition: torch.Tensor) -> torch.Tensor:
    """Int64[B]: of each row, the condition of the nearest row before it that has another one; its own if none has."""
    other = condition
    for step in range(1, len(condition)):
        other = torch.where(other == condition, condition.roll(step), other)
    return other
