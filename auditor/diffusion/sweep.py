"""One pass of a denoiser over images that serves several attacks at once.

An attack is a generator: it yields rounds of requests (x_t, t), receives their predictions, and returns its scores.
The sweep drives all attacks through a batch of samples in lockstep, evaluates each distinct (x_t, t, condition) of the
batch once whoever asks for it, and gathers a round's requests into as few denoiser calls as ``batch_size`` allows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from auditor.diffusion.denoiser import Denoiser, widest_dtype
from auditor.diffusion.evaluations import Request, SharedEvaluations
from auditor.diffusion.prediction import Prediction
from auditor.diffusion.schedule import NoiseSchedule
from auditor.diffusion.score_table import Gathering, Scores, ScoreTable
from auditor.errors import ConfigError
from auditor.probes import probe_noise

Batch = tuple[Sequence[str], torch.Tensor, torch.Tensor | None]  # ids, x0 Float32[B C H W], labels Int64[B] or None


Rounds = Generator[list[Request], list[Prediction], Mapping[str, torch.Tensor]]


@dataclass(frozen=True)
class Samples:
    """What an attack sees of a batch: never a label, never an id."""

    x0: torch.Tensor  # Float64[B C H W] in model space
    schedule: NoiseSchedule
    noise: Callable[[str], torch.Tensor]  # stream -> standard normal Float64[B C H W], one draw per sample


class SweptAttack(Protocol):
    """Anything that scores samples by asking for predictions."""

    @property
    def name(self) -> str:
        """Unique among the attacks of a sweep."""

    def rounds(self, samples: Samples) -> Rounds:
        """Yield rounds of requests; return Float[B] scores by variant, larger = more likely a member."""


@torch.inference_mode()
def sweep(
    denoiser: Denoiser,
    batches: Iterable[Batch],
    attacks: Sequence[SweptAttack],
    *,
    seed: str,
    batch_size: int = 256,
    on_batch: Callable[[int], None] | None = None,
) -> ScoreTable:
    """Scores of every sample under every attack's variants.

    A sample's noise depends on (seed, stream, its id) and nothing else, so scores do not depend on order or batches
    (but for the last digits: kernels sum in another order at another batch size). Memory holds one batch, and per
    sample its scores.

    Args:
      denoiser: The audited network.
      batches: (ids, x0, condition) with unique ids; x0 Float32[B C H W] in model space.
      attacks: Attacks with distinct names.
      seed: The audit's root seed.
      batch_size: Most samples in one denoiser call.
      on_batch: Called after each batch with the number of samples in it, for progress.

    Raises:
      ConfigError: An id comes twice, or images do not fit the denoiser.
    """
    table = Gathering([attack.name for attack in attacks])
    for ids, x0, condition in batches:
        if tuple(x0.shape[1:]) != denoiser.sample_shape:
            expected = f"{denoiser.sample_shape}, as the checkpoint was trained"
            raise ConfigError("membership images", tuple(x0.shape[1:]), expected, "Resize them or set data.resize.")
        memo = SharedEvaluations(denoiser, condition, batch_size)
        scores = _lockstep(attacks, samples_of(denoiser.schedule, seed, ids, x0), memo)
        table.add(ids, scores, memo)
        if on_batch is not None:
            on_batch(len(ids))
    return table.finish()


def samples_of(schedule: NoiseSchedule, seed: str, ids: Sequence[str], x0: torch.Tensor) -> Samples:
    """What attacks see of a batch: x0 Float32[B C H W] in its widest dtype, with noise keyed by each id's digest."""
    dtype = widest_dtype(x0.device)
    keys = [int.from_bytes(hashlib.sha256(id.encode()).digest()[:8], "little") for id in ids]

    def noise(stream: str) -> torch.Tensor:
        return probe_noise(seed, stream, keys, tuple(x0.shape[1:])).to(x0.device, dtype)

    return Samples(x0.to(dtype), schedule, noise)


def _lockstep(attacks: Sequence[SweptAttack], samples: Samples, memo: SharedEvaluations) -> Scores:
    """Drive every attack to its end; all requests of one round are evaluated together."""
    running = {attack.name: attack.rounds(samples) for attack in attacks}
    answers: dict[str, list[Prediction] | None] = dict.fromkeys(running)
    scores: dict[str, Mapping[str, torch.Tensor]] = {}
    while running:
        asked: dict[str, list[Request]] = {}
        for name, rounds in list(running.items()):
            try:
                answer = answers[name]
                asked[name] = next(rounds) if answer is None else rounds.send(answer)
            except StopIteration as end:
                scores[name] = end.value
                del running[name]
        answers = dict(memo.answer(asked))
    return scores
