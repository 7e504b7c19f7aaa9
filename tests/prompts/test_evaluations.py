"""Each distinct network input is evaluated once, whoever asks; and what each detector costs alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pytest
import torch
from torch.autograd.forward_ad import unpack_dual

from auditor.checkpoint.attention import Attending
from auditor.checkpoint.load import LoadedCheckpoint
from auditor.diffusion.attention import AttentionMaps, Tokens
from auditor.prompts.score import score_prompts
from auditor.stages.prompts import DETECTORS
from tests.prompts.conftest import Captions, bind, setting

PROMPTS, NOISES, STEPS = 3, 2, 4
Rows = tuple[int, int, bytes]


@dataclass
class Recording:
    """A denoiser that notes every row it is asked for, and how."""

    inner: Attending
    rows: Counter[Rows] = field(default_factory=Counter)
    calls: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.prediction_type, self.schedule = self.inner.prediction_type, self.inner.schedule
        self.sample_shape = self.inner.sample_shape

    def note(self, x_t: torch.Tensor, t: torch.Tensor, condition: torch.Tensor) -> None:
        self.calls.append(len(x_t))
        if unpack_dual(x_t).tangent is None:  # derivatives are counted by their calls
            rows = zip(t.tolist(), condition.tolist(), x_t, strict=True)
            self.rows.update((time, place, x.numpy().tobytes()) for time, place, x in rows)

    def __call__(self, x_t: torch.Tensor, t: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        self.note(x_t, t, condition)
        return self.inner(x_t, t, condition)

    def with_attention(
        self, x_t: torch.Tensor, t: torch.Tensor, condition: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        self.note(x_t, t, condition)
        return self.inner.with_attention(x_t, t, condition)

    def tokens(self, condition: torch.Tensor, count: int) -> Tokens:
        return self.inner.tokens(condition, count)


def run(checkpoint: LoadedCheckpoint, captions: Captions, names: list[str], batch_size: int = 64):
    recording = Recording(bind(checkpoint, captions.held_out[:PROMPTS]))
    assert isinstance(recording, AttentionMaps)
    how = setting(NOISES, STEPS, batch_size=batch_size)
    detectors = [DETECTORS[name] for name in names]
    parts = list(score_prompts(recording, range(PROMPTS), PROMPTS, detectors, how))
    return recording, sum(part.made for part in parts), parts


ALONE = {
    "magnitude": PROMPTS * NOISES + NOISES,  # under each prompt, and once under the empty one
    "one_step": PROMPTS * NOISES + NOISES,
    "consistency": PROMPTS * NOISES,
    "first_entropy": PROMPTS * NOISES,
    "sharpness": PROMPTS * NOISES * (1 + 2 + 2) + NOISES,  # two derivatives, each counted as two
    "path_magnitude": PROMPTS * NOISES * (2 * STEPS - 1) + NOISES,  # later steps differ also under the empty prompt
    "entropy": PROMPTS * NOISES * (2 * STEPS - 1) + NOISES,
    "bright_ending": PROMPTS * NOISES * (2 * STEPS - 1) + NOISES,
    "regeneration": PROMPTS * NOISES * (2 * STEPS - 1) + NOISES,
}


@pytest.mark.parametrize(("name", "count"), ALONE.items())
def test_what_a_detector_costs_alone(twemoji: LoadedCheckpoint, captions: Captions, name: str, count: int) -> None:
    recording, made, parts = run(twemoji, captions, [name])
    assert made == count == sum(part.evaluations[name] for part in parts)
    assert set(recording.rows.values()) == {1}
    assert sum(recording.calls) == count - (2 * PROMPTS * NOISES if name == "sharpness" else 0)


@pytest.mark.parametrize("batch_size", [64, 2])
def test_all_together_cost_a_path_and_the_derivatives(
    twemoji: LoadedCheckpoint, captions: Captions, batch_size: int
) -> None:
    recording, made, parts = run(twemoji, captions, list(ALONE), batch_size)
    assert set(recording.rows.values()) == {1}  # also over batches of one prompt: the first step's null stays
    assert sum(recording.rows.values()) == ALONE["path_magnitude"]
    assert made == ALONE["path_magnitude"] + 4 * PROMPTS * NOISES
    if batch_size == 64:
        assert {name: sum(part.evaluations[name] for part in parts) for name in ALONE} == ALONE
    assert max(recording.calls) <= batch_size


def test_the_first_step_costs_two_evaluations_a_noise(twemoji: LoadedCheckpoint, captions: Captions) -> None:
    recording = Recording(bind(twemoji, captions.held_out[:1]))
    (part,) = score_prompts(recording, [0], 1, [DETECTORS["magnitude"]], setting(1))
    assert part.made == sum(recording.calls) == 2
