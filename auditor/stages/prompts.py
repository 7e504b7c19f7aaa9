"""Prompts as a checkpoint reads them, and their scores in pieces that survive a kill."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from auditor.checkpoint.attention import attending
from auditor.checkpoint.load import LoadedCheckpoint
from auditor.checkpoint.tokens import read
from auditor.diffusion.denoiser import Denoiser
from auditor.probes import probe_noise
from auditor.progress import Progress
from auditor.prompts import (  # noqa: F401  # each registers
    bright_ending,
    entropy,
    magnitude,
    one_step,
    regeneration,
    sharpness,
)
from auditor.prompts.base import DETECTORS, Detector
from auditor.prompts.bright_ending import EndingMask
from auditor.prompts.calibrate import Calibrated
from auditor.prompts.score import Setting, score_prompts
from auditor.ranking_config import OPENED, RankingConfig
from auditor.store.digest import value_digest
from auditor.store.prompts import PromptList, PromptScore
from auditor.store.run_directory import RunDirectory

PIECE = 256  # prompts scored before a kill costs nothing any more
MASK_SIDE = 128  # pixels of a mask's picture


@dataclass(frozen=True)
class Listed:
    """One distinct prompt: what the checkpoint sees is the same for all its lines."""

    prompt: str
    seen: str
    tokens: int
    cut: int
    lines: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Scores:
    """Under every detector, of the prompts at the places scored."""

    by_detector: dict[str, NDArray[np.float64]]  # [P] each
    evaluations: dict[str, int]
    made: int


def list_prompts(denoiser: Denoiser, prompts: Sequence[str]) -> list[Listed]:
    """Distinct prompts in the order of their first lines; those of the same tokens are one."""
    found: dict[str, Listed] = {}
    for line, (prompt, reading) in enumerate(zip(prompts, read(denoiser, prompts), strict=True), 1):
        listed = found.setdefault(reading.seen, Listed(prompt, reading.seen, reading.tokens, reading.cut))
        listed.lines.append(line)
    return list(found.values())


def describe_list(source: str, prompts: Sequence[str], listed: Sequence[Listed]) -> PromptList:
    """The list's entry in the record."""
    return PromptList(
        source=source,
        digest=value_digest(list(prompts)),
        prompts=len(prompts),
        distinct=len(listed),
        truncated=sum(one.cut > 0 for one in listed),
    )


def choose_detectors(
    checkpoint: LoadedCheckpoint, denoiser: Denoiser, asked: RankingConfig
) -> tuple[list[Detector], dict[str, str]]:
    """Detectors that this checkpoint allows, and why the others are left out."""
    left_out: dict[str, str] = {}
    chosen = []
    attends = attending(denoiser)
    for name in asked.detectors:
        detector = DETECTORS[name]
        if "attention" in detector.needs and attends is None:
            left_out[name] = f"{checkpoint.info.network} does not lay its attention to text open"
        elif "ending" in detector.needs and attends is not None and not attends.marks_end:
            left_out[name] = f"the text that {checkpoint.info.network} attends to has no token that ends it"
        else:
            chosen.append(detector)
    return chosen, left_out


def score_list(
    run: RunDirectory,
    checkpoint: LoadedCheckpoint,
    texts: Sequence[str],
    detectors: Sequence[Detector],
    asked: RankingConfig,
    seed: str,
    device: str,
    show: Progress,
    *,
    under: str = "prompts",
) -> Scores:
    """Scores of all texts, bound to the checkpoint as one list; pieces are kept ``under`` this stage."""
    bound = checkpoint.with_prompts(texts)
    denoiser = attending(bound.denoiser) or bound.denoiser
    setting = setting_of(checkpoint, asked, seed, device)
    pieces: list[dict[str, NDArray[Any]]] = []
    on = "" if under == "prompts" else " on the base"
    with show.stage(f"score {len(texts):,} prompts{on}", len(texts), "prompt") as meter:
        for start in range(0, len(texts), PIECE):
            places = range(start, min(start + PIECE, len(texts)))
            key = {
                "checkpoint": checkpoint.info.digest, "texts": value_digest([texts[place] for place in places]),
                "asked": asked.model_dump(mode="json", exclude={"alpha", "column", "base", *OPENED}), "seed": seed,
            }  # fmt: skip

            def compute(places: range = places) -> dict[str, NDArray[Any]]:
                parts = []
                for part in score_prompts(denoiser, places, len(texts), detectors, setting):
                    parts.append(part)
                    meter(len(next(iter(part.scores.values()))))
                arrays = {name: np.concatenate([part.scores[name] for part in parts]) for name in parts[0].scores}
                spent = [[part.made, *part.evaluations.values()] for part in parts]
                return arrays | {"evaluations": np.array(spent, np.int64).sum(0)}

            stage = f"{under}/{start // PIECE:05d}"
            if run.done(stage, key):
                meter(len(places))
            pieces.append(run.arrays(stage, key, compute))
    names = [detector.name for detector in detectors]
    spent = np.sum([piece["evaluations"] for piece in pieces], axis=0)
    return Scores(
        {name: np.concatenate([piece[name] for piece in pieces]) for name in names},
        dict(zip(names, map(int, spent[1:]), strict=True)),
        int(spent[0]),
    )


def calibrated_score(row: int, values: NDArray[np.float64], calibrated: Calibrated | None) -> PromptScore:
    """One prompt under one detector, in the record's words."""
    if np.isnan(values[row]):
        return PromptScore(score=None)
    if calibrated is None:
        return PromptScore(score=float(values[row]))
    own = (calibrated.adjusted, calibrated.p_values, calibrated.q_values)
    adjusted, p_value, q_value = (float(array[row]) for array in own)
    return PromptScore(score=float(values[row]), adjusted=adjusted, p_value=p_value, q_value=q_value)


def setting_of(checkpoint: LoadedCheckpoint, asked: RankingConfig, seed: str, device: str) -> Setting:
    """Noises, steps and guidance, and the way from model space to pixels."""
    noise = probe_noise(seed, "prompts", range(asked.noises), checkpoint.denoiser.sample_shape).to(device)

    def to_pixels(x0: torch.Tensor) -> torch.Tensor:
        finite = torch.nan_to_num(x0, 0.0, 0.0, 0.0)
        return torch.from_numpy(checkpoint.codec.to_pixels(finite)).to(device, torch.float32) / 255

    return Setting(noise, asked.steps, asked.guidance_scale, asked.batch_size, to_pixels)


def write_masks(
    run: RunDirectory,
    checkpoint: LoadedCheckpoint,
    texts: Sequence[str],
    asked: RankingConfig,
    seed: str,
    device: str,
) -> list[str]:
    """Pictures of where attention to the end of the text is bright under each prompt, brightest white: their paths."""
    if not texts:
        return []
    bound = checkpoint.with_prompts(texts)
    denoiser = attending(bound.denoiser)
    assert denoiser is not None  # the caller ran bright_ending
    setting = setting_of(checkpoint, asked, seed, device)
    parts = score_prompts(denoiser, range(len(texts)), len(texts), [EndingMask()], setting)
    masks = np.concatenate([part.scores["ending_mask"] for part in parts])
    folder = run.path / "prompts" / "masks"
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for place, mask in enumerate(masks):
        paths.append(save_mask(mask, folder / f"{place:03d}.png").relative_to(run.path).as_posix())
    return paths


def save_mask(mask: NDArray[np.float64], file: Path) -> Path:
    """Float64[H W] as a grey picture, its largest value white."""
    grey = np.rint(255 * mask / max(float(mask.max()), 1e-12)).astype(np.uint8)
    scale = max(1, MASK_SIDE // max(mask.shape))
    Image.fromarray(grey).resize((mask.shape[1] * scale, mask.shape[0] * scale), Image.Resampling.NEAREST).save(file)
    return file
