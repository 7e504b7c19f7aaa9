"""The attacks of an extraction, in pieces that survive a kill."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from auditor.checkpoint.load import LoadedCheckpoint
from auditor.config import GenerationConfig
from auditor.data import pixels_of
from auditor.diffusion.denoiser import Denoiser
from auditor.diffusion.inverse import SOLVERS
from auditor.diffusion.measurement import MEASUREMENTS, Measurement
from auditor.diffusion.regenerate import ladder_from, regenerate
from auditor.diffusion.samplers import SAMPLERS
from auditor.encoders.base import Encoder
from auditor.errors import ConfigError
from auditor.extraction_config import ExtractionConfig
from auditor.probes import probe_noise
from auditor.progress import Progress
from auditor.stages.contestants import Contestants
from auditor.stages.extraction_conditions import all_classes_stated, conditioned
from auditor.stages.guidance import one_scale
from auditor.stages.inputs import Images, Inputs
from auditor.store.run_directory import RunDirectory


@dataclass(frozen=True)
class AttackPlan:
    """One attack, ready to be run on any image."""

    name: str
    ladder: list[int]
    measurement: Measurement | None  # None for noise
    sigma: float | None
    evaluations: int  # denoiser evaluations per answer


@dataclass(frozen=True)
class Answers:
    """What all attacks brought back; A attacks, N contestants."""

    similarity: NDArray[np.float64]  # [A N] of the nearest answer to its image; NaN where no draw gave one
    parts: list[list[NDArray[np.uint8]]]  # per attack, blocks [B C H W] of those answers, memory-mapped
    failed: NDArray[np.int64]  # [A] answers that were not finite

    def pixels(self, attack: int, row: int) -> NDArray[np.uint8]:
        """The nearest answer to one contestant, UInt8[C H W]."""
        for part in self.parts[attack]:
            if row < len(part):
                image: NDArray[np.uint8] = part[row]
                return image
            row -= len(part)
        raise IndexError(row)


def plan_attacks(
    checkpoint: LoadedCheckpoint, asked: ExtractionConfig, generation: GenerationConfig
) -> list[AttackPlan]:
    """Every attack with its ladder, refused before anything is spent if one cannot be run.

    Raises:
      ConfigError: Too few steps for a level, or images too small for a mask.
    """
    denoiser, sampler = checkpoint.denoiser, SAMPLERS[generation.sampler]
    schedule = denoiser.schedule
    ladder = schedule.ladder(generation.steps)
    names, plans = iter(asked.attacks), []
    for level in asked.levels:
        below = ladder_from(ladder, len(schedule), level)
        sigma = float(schedule.sigma[below[0]])
        plans.append(AttackPlan(next(names), below, None, sigma, sampler.evaluations(len(below) - 1)))
    for problem in asked.problems:
        hidden = MEASUREMENTS[f"inpaint, {problem}"](*denoiser.sample_shape[1:])
        plans.append(AttackPlan(next(names), ladder, hidden, None, SOLVERS[asked.solver].evaluations(generation.steps)))
    return plans


def read_named(inputs: Inputs, ids: Sequence[str]) -> list[str]:
    """Training ids to attack, each once, in their order.

    Raises:
      ConfigError: One is not in the training set.
    """
    unknown = [name for name in ids if name not in inputs.train.digests]
    if unknown:
        are = "id that is" if len(unknown) == 1 else "ids that are"
        got = f"{len(unknown):,} {are} not in the training set (such as {unknown[0]!r})"
        raise ConfigError("--ids", got, "training ids", "Correct the list; `auditor lookup` finds a file's id.")
    return list(dict.fromkeys(ids))


def run_attacks(
    run: RunDirectory,
    inputs: Inputs,
    contestants: Contestants,
    plans: Sequence[AttackPlan],
    asked: ExtractionConfig,
    generation: GenerationConfig,
    seed: str,
    show: Progress,
) -> Answers:
    """Every attack on every contestant. An answer depends on the image, the attack and the draw alone."""
    sides = ((inputs.train, contestants.records), (inputs.holdout, contestants.holdout))
    stated = contestants.captioned or all_classes_stated(inputs.checkpoint, sides)
    size = max(1, generation.batch_size // asked.draws)
    found: list[list[dict[str, NDArray[Any]]]] = []
    with show.stage(f"attack {len(contestants.ids)} images", len(plans) * len(contestants.ids), "image") as meter:
        for plan in plans:
            parts = []
            for images, ids in sides:
                for start in range(0, len(ids), size):
                    names = ids[start : start + size]
                    key = {
                        "checkpoint": inputs.scan.digest, "set": images.info.digest, "ids": names, "seed": seed,
                        "attack": plan.name, "ladder": plan.ladder, "asked": asked.model_dump(mode="json"),
                        "generation": generation.model_dump(mode="json"), "stated": stated,
                        "encoder": asdict(inputs.encoders[0].spec),
                    }  # fmt: skip
                    stage = f"extract/{plan.name.replace(' ', '-')}/{inputs.name_of(images)}/{start // size:05d}"

                    def compute(plan: AttackPlan = plan, images: Images = images, names: list[str] = names) -> Any:
                        return attack_block(inputs, images, names, plan, asked, generation, seed, labelled=stated)

                    parts.append(run.arrays(stage, key, compute))
                    meter(len(names))
            found.append(parts)
    return Answers(
        similarity=np.stack(
            [np.concatenate([np.empty(0), *(part["similarity"] for part in parts)]) for parts in found]
        ),
        parts=[[part["pixels"] for part in parts] for parts in found],
        failed=np.array([sum(int(part["failed"].sum()) for part in parts) for parts in found]),
    )


def attack_block(
    inputs: Inputs,
    images: Images,
    names: Sequence[str],
    plan: AttackPlan,
    asked: ExtractionConfig,
    generation: GenerationConfig,
    seed: str,
    *,
    labelled: bool,
) -> dict[str, NDArray[Any]]:
    """The nearest of some draws to each image: its similarity, its pixels, and how many draws gave no image.

    Args:
      labelled: Whether every contestant states its class, or its caption.
    """
    checkpoint, encoder = inputs.checkpoint, inputs.encoders[0]
    denoiser, condition = conditioned(checkpoint, images, names, asked.draws, one_scale(generation), stated=labelled)
    truth = pixels_of(images.source, names)
    repeated = np.repeat(truth, asked.draws, axis=0)
    x0 = checkpoint.codec.to_model(repeated)
    noise = torch.cat(
        [probe_noise(seed, f"{plan.name}/{name}", range(asked.draws), denoiser.sample_shape) for name in names]
    ).to(x0.device)
    condition = None if condition is None else condition.to(x0.device)
    answer = answer_of(denoiser, plan, asked, generation, x0, noise, condition)
    finite = torch.isfinite(answer).flatten(1).all(dim=1)
    made = checkpoint.codec.to_pixels(torch.where(finite.view(-1, 1, 1, 1), answer, torch.zeros_like(answer)).float())
    similarity = similarity_of(encoder, truth, made, asked.draws)
    similarity[~finite.cpu().numpy().reshape(-1, asked.draws)] = np.nan
    best = np.nan_to_num(similarity, nan=-2.0).argmax(axis=1)
    rows = np.arange(len(names))
    return {
        "similarity": similarity[rows, best],
        "pixels": made.reshape(len(names), asked.draws, *made.shape[1:])[rows, best],
        "failed": np.isnan(similarity).sum(axis=1),
    }


def answer_of(
    denoiser: Denoiser,
    plan: AttackPlan,
    asked: ExtractionConfig,
    generation: GenerationConfig,
    x0: torch.Tensor,
    noise: torch.Tensor,
    condition: torch.Tensor | None,
) -> torch.Tensor:
    """One answer per row, in model space."""
    if plan.measurement is None:
        sampler = SAMPLERS[generation.sampler]
        return regenerate(denoiser, sampler, x0, noise, plan.ladder, condition=condition)
    y = plan.measurement.measure(x0)
    return SOLVERS[asked.solver].solve(denoiser, noise, plan.ladder, plan.measurement, y, condition=condition)


def similarity_of(
    encoder: Encoder, truth: NDArray[np.uint8], made: NDArray[np.uint8], draws: int
) -> NDArray[np.float64]:
    """Float64[B draws]: each answer's similarity to the image that it was made of."""
    images = encoder(truth).astype(np.float64)
    answers = encoder(np.ascontiguousarray(made)).astype(np.float64).reshape(len(truth), draws, -1)
    similarity: NDArray[np.float64] = np.einsum("bd,bkd->bk", images, answers)
    return similarity
