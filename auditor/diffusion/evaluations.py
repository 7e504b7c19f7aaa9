"""Predictions on request, each distinct network input of a batch evaluated once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch

from auditor.diffusion.denoiser import Denoiser
from auditor.diffusion.prediction import Prediction, read_output


class Request(NamedTuple):
    """Ask for the prediction at x_t, Float[B C H W], where every row is at training time t."""

    x_t: torch.Tensor
    t: int


class SharedEvaluations:
    """Raw outputs of one batch by (t, content of x_t), so that nothing is evaluated twice."""

    def __init__(self, denoiser: Denoiser, condition: torch.Tensor | None, batch_size: int) -> None:
        self.denoiser, self.condition, self.batch_size = denoiser, condition, batch_size
        self.inputs: list[tuple[int, torch.Tensor]] = []
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
        for place, (t, known) in enumerate(self.inputs):
            if t == request.t and torch.equal(known, x_t):
                return place
        self.inputs.append((request.t, x_t))
        return len(self.inputs) - 1

    def _evaluate_pending(self) -> None:
        pending = self.inputs[len(self.outputs) :]
        if not pending:
            return
        size = len(pending[0][1])
        x_t = torch.cat([x for _, x in pending])
        t = torch.tensor([t for t, _ in pending], device=x_t.device).repeat_interleave(size)
        rows = torch.arange(size, device=x_t.device).repeat(len(pending))
        outputs = []
        for first in range(0, len(x_t), self.batch_size):
            part = slice(first, first + self.batch_size)
            condition = None if self.condition is None else self.condition[rows[part]]
            outputs.append(self.denoiser(x_t[part], t[part], condition))
        self.outputs.extend(torch.cat(outputs).view(len(pending), size, *x_t.shape[1:]))

    def _read(self, request: Request, place: int) -> Prediction:
        """The output in the request's own dtype and reading."""
        schedule = self.denoiser.schedule
        signal, noise = float(schedule.signal_scale[request.t]), float(schedule.noise_scale[request.t])
        output = self.outputs[place].to(request.x_t.dtype)
        return read_output(self.denoiser.prediction_type, output, request.x_t, signal, noise)
