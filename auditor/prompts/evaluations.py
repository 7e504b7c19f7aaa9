"""Answers to what detectors ask, each distinct network input evaluated once, whoever asks."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch

from auditor.diffusion.attention import AttentionMaps
from auditor.diffusion.denoiser import Denoiser
from auditor.diffusion.prediction import Prediction, read_output
from auditor.diffusion.slopes import EVALUATIONS, eps_slope
from auditor.prompts.base import Answer, Ask

Key = tuple[int, int, bytes, bytes]  # training time, place of the prompt, digests of x_t and of the direction


class Seen(NamedTuple):
    """What is known of one network input."""

    output: torch.Tensor  # Float32[C H W], raw; of a derivative, that of eps
    attention: Mapping[str, torch.Tensor] | None  # mean over heads, Float32[pixels tokens]; None: not recorded


class PromptEvaluations:
    """One network, its answers by (t, prompt, content of x_t), row by row.

    Answers under the empty prompt at the first step are the same for every prompt and stay; :meth:`forget` drops the
    others, so that memory holds one batch of prompts.
    """

    def __init__(self, denoiser: Denoiser, null: int, batch_size: int) -> None:
        self.denoiser, self.null, self.batch_size = denoiser, null, batch_size
        self.known: dict[Key, Seen] = {}
        self.used: dict[str, dict[Key, int]] = {}  # by detector: its evaluations, and what each costs
        self.evaluations = 0  # made in all; a derivative counts as two

    def answer(self, asked: Mapping[str, list[Ask]], condition: torch.Tensor) -> dict[str, list[Answer]]:
        """Answers to each detector's requests of one round, for rows of prompts Int64[R]."""
        keys = {name: [self._keys(ask, condition) for ask in asks] for name, asks in asked.items()}
        for attention in (True, False):  # with attention first: that output serves those who do without
            rows: dict[Key, tuple[torch.Tensor, torch.Tensor | None]] = {}
            for name, asks in asked.items():
                for ask, own in zip(asks, keys[name], strict=True):
                    if ask.attention == attention:
                        rows |= {key: _row(ask, place) for place, key in enumerate(own) if self._lacks(key, attention)}
            self._evaluate({key: row for key, row in rows.items() if key[3] == b""}, attention)
            self._differentiate({key: row for key, row in rows.items() if key[3] != b""})
        for name, own_keys in keys.items():
            used = self.used.setdefault(name, {})
            used |= {key: EVALUATIONS if key[3] else 1 for own in own_keys for key in own}
        return {
            name: [self._read(ask, own) for ask, own in zip(asks, keys[name], strict=True)]
            for name, asks in asked.items()
        }

    def forget(self, first: int) -> None:
        """Drop all answers but those under the empty prompt at the first step, training time ``first``."""
        self.known = {key: seen for key, seen in self.known.items() if key[:2] == (first, self.null) and not key[3]}

    def _lacks(self, key: Key, attention: bool) -> bool:
        return key not in self.known or (attention and self.known[key].attention is None)

    def _keys(self, ask: Ask, condition: torch.Tensor) -> list[Key]:
        prompts = condition.tolist() if ask.prompted else [self.null] * len(condition)
        digests = _digests(ask.x_t)
        along = [b""] * len(digests) if ask.along is None else _digests(ask.along)
        return [(ask.t, *rest) for rest in zip(prompts, digests, along, strict=True)]

    def _evaluate(self, rows: Mapping[Key, tuple[torch.Tensor, torch.Tensor | None]], attention: bool) -> None:
        for part in _chunks(list(rows), self.batch_size):
            x_t = torch.stack([rows[key][0] for key in part])
            t, condition = self._indices(part, x_t.device)
            maps: dict[str, torch.Tensor] = {}
            if attention:
                assert isinstance(self.denoiser, AttentionMaps)  # detectors that need it are refused elsewhere
                output, maps = self.denoiser.with_attention(x_t, t, condition)
            else:
                output = self.denoiser(x_t, t, condition)
            self.evaluations += len(part)
            for place, key in enumerate(part):
                own = {layer: found[place] for layer, found in maps.items()} if attention else None
                self.known[key] = Seen(output[place], own)

    def _differentiate(self, rows: Mapping[Key, tuple[torch.Tensor, torch.Tensor | None]]) -> None:
        for part in _chunks(list(rows), self.batch_size):
            x_t = torch.stack([rows[key][0] for key in part])
            along = torch.stack([direction for key in part if (direction := rows[key][1]) is not None])
            slopes = eps_slope(self.denoiser, x_t, *self._indices(part, x_t.device), along)
            self.evaluations += EVALUATIONS * len(part)
            self.known |= {key: Seen(slope, None) for key, slope in zip(part, slopes, strict=True)}

    def _indices(self, part: Sequence[Key], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Training times and places of prompts, Int64 each."""
        t, condition = torch.tensor([key[:2] for key in part], device=device).T
        return t.contiguous(), condition.contiguous()

    def _read(self, ask: Ask, keys: Sequence[Key]) -> Answer:
        seen = [self.known[key] for key in keys]
        output = torch.stack([one.output for one in seen]).to(ask.x_t.dtype)
        if ask.along is not None:
            return Answer(Prediction(output, output), {})
        schedule = self.denoiser.schedule
        signal, noise = float(schedule.signal_scale[ask.t]), float(schedule.noise_scale[ask.t])
        prediction = read_output(self.denoiser.prediction_type, output, ask.x_t, signal, noise)
        if not ask.attention:
            return Answer(prediction, {})
        layers = list(seen[0].attention or {})
        maps = [one.attention or {} for one in seen]
        return Answer(prediction, {layer: torch.stack([one[layer] for one in maps]) for layer in layers})


def _row(ask: Ask, place: int) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The network's input of one row, in its own float32, and the direction."""
    return ask.x_t[place].float(), None if ask.along is None else ask.along[place].float()


def _digests(rows: torch.Tensor) -> list[bytes]:
    """A digest of each row as the network would see it, in float32."""
    content = rows.detach().float().cpu().contiguous().numpy()
    return [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in content]


def _chunks(keys: list[Key], size: int) -> list[list[Key]]:
    return [keys[start : start + size] for start in range(0, len(keys), size)]
