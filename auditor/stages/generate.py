"""Probes to generations: one deterministic image per probe, in parts that survive a kill.

A part is one denoiser batch. Its composition is fixed by the batch size in the specification, so a resumed run makes
the same batches, and with them the same bits, as an undisturbed one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from auditor.checkpoint.load import LoadedCheckpoint
from auditor.config import GenerationConfig
from auditor.diffusion.denoiser import Denoiser
from auditor.diffusion.samplers import SAMPLERS
from auditor.errors import CheckpointError
from auditor.probes import choose, probe_noise
from auditor.progress import Progress
from auditor.stages.black_box import pieces_in_place
from auditor.stages.generated import Generations, Part
from auditor.stages.inputs import Inputs
from auditor.stages.memorizer import DeferredMemorizer
from auditor.stages.pieces import Piece, Spread
from auditor.stages.reopen import Opened
from auditor.store.digest import value_digest
from auditor.store.prompting import Prompting
from auditor.store.record import Generation
from auditor.store.run_directory import RunDirectory

__all__ = ["Generations", "Made", "conditions_of", "generate", "generate_all", "sample_part"]

CONTROL_PROBES = 256  # generations of the closed-form memorizer
MEMORIZER_POINTS = 4_096


def conditions_of(probes: range, num_classes: int | None) -> torch.Tensor | None:
    """Class labels Int64[B] of class-conditional checkpoints: probe i asks for class i modulo their number.

    Places of prompts for a checkpoint bound to prompts; either of them under a scale for one bound to several scales.
    """
    return None if num_classes is None else torch.tensor([probe % num_classes for probe in probes])


def sampling(
    run: RunDirectory,
    stage: str,
    key: object,
    checkpoint: LoadedCheckpoint,
    denoiser: Denoiser,
    config: GenerationConfig,
    seed: str,
    device: str,
) -> list[Piece]:
    """Every probe's image under ``denoiser``, one denoiser batch a piece.

    Args:
      run, stage, key: Where the parts are kept, and what determines them.
      checkpoint: Gives the way from model space to pixels and the number of classes.
      denoiser: Usually the checkpoint's own; the positive control passes the closed-form memorizer.
      config: Sampler, steps, number of probes, batch size.
      seed: Root seed of the probe noise.
      device: Where the denoiser runs.
    """

    def piece(start: int) -> Piece:
        probes = range(start, min(start + config.batch_size, config.probes))
        compute = partial(sample_part, checkpoint, denoiser, config, seed, probes, device)
        name = f"{stage}/{start // config.batch_size:05d}"
        return Piece(run, name, {"of": key, "start": start}, len(probes), compute)

    return [piece(start) for start in range(0, config.probes, config.batch_size)]


def generate(
    run: RunDirectory,
    stage: str,
    key: object,
    checkpoint: LoadedCheckpoint,
    denoiser: Denoiser,
    config: GenerationConfig,
    seed: str,
    device: str,
    progress: Progress,
    title: str | None = None,
) -> Generations:
    """The images of :func:`sampling`, made in this process; ``title`` is what is shown, None = the stage."""
    pieces = sampling(run, stage, key, checkpoint, denoiser, config, seed, device)
    with progress.stage(f"{title or stage}: {config.probes} images", config.probes, "image") as meter:
        Spread()(pieces, None, meter)
    return collect(pieces, checkpoint)


def collect(pieces: Sequence[Piece], checkpoint: LoadedCheckpoint) -> Generations:
    """The images of :func:`sampling`, in the order of probes.

    Raises:
      CheckpointError: Not one probe gave a finite image.
    """
    generations = Generations([piece.get() for piece in pieces], sum(piece.items for piece in pieces))
    if len(generations.probe) == 0:
        raise CheckpointError(
            checkpoint.info.path, "NaN or infinity from every probe", "finite samples",
            "Check the weights, the prediction type and the noise schedule of the checkpoint.",
        )  # fmt: skip
    return generations


@dataclass(frozen=True)
class Made:
    """What an audit generates: from the checkpoint, and from the closed-form memorizer as the positive control."""

    generations: Generations
    control: Generations
    key: dict[str, Any]  # what determined both, as plain values

    def describe(
        self, config: GenerationConfig, salt: str, seed: str, prompting: Prompting | None = None, each: int = 1
    ) -> Generation:
        """The record's entry; ``each`` is how many evaluations a prediction takes under guidance."""
        return Generation(
            sampler=config.sampler,
            steps=config.steps,
            probes=config.probes,
            guidance_scale=config.guidance_scale,
            batch_size=config.batch_size,
            seed_pinned=config.salt is not None,
            salt=salt,
            root_seed=seed,
            denoiser_evaluations=config.probes * SAMPLERS[config.sampler].evaluations(config.steps) * each,
            non_finite=self.generations.non_finite,
            deterministic=True,
            prompts=prompting,
        )


def parts_again(run: RunDirectory, inputs: Inputs, config: GenerationConfig, seed: str) -> dict[str, list[Part]]:
    """Everything generated, for a worker that reads it from the run directory."""
    made = {"generations": checkpoint_pieces, "memorizer": memorizer_pieces}
    return {
        name: [Part(piece.items, piece.get) for piece in pieces_of(run, inputs, config, seed)]
        for name, pieces_of in made.items()
    }


def generate_all(run: RunDirectory, inputs: Inputs, config: GenerationConfig, seed: str, show: Progress) -> Made:
    """The checkpoint's generations, and those of the closed-form memorizer of its training set."""
    own = checkpoint_pieces(run, inputs, config, seed)
    control = memorizer_pieces(run, inputs, config, seed)
    total = sum(piece.items for piece in own + control)
    with show.stage(f"generate: {total} images", total, "image") as meter:
        inputs.spread(own + control, generated_again, meter)
    key = generation_key(inputs, config, seed)
    return Made(collect(own, inputs.checkpoint), collect(control, inputs.checkpoint), key)


def generated_again(opened: Opened) -> list[Piece]:
    """The same pieces in a worker."""
    given = opened.run, opened.inputs, opened.config.generation, opened.seed
    return checkpoint_pieces(*given) + memorizer_pieces(*given)


def generation_key(inputs: Inputs, config: GenerationConfig, seed: str) -> dict[str, Any]:
    """What determines all generations, as plain values."""
    key = {"checkpoint": inputs.scan.digest, "generation": config.model_dump(mode="json"), "seed": seed}
    return key | {"prompts": value_digest(list(inputs.prompts.texts))} if inputs.prompts else key


def checkpoint_pieces(run: RunDirectory, inputs: Inputs, config: GenerationConfig, seed: str) -> list[Piece]:
    """The checkpoint's own generations; images made elsewhere in their place."""
    if inputs.given is not None:
        return pieces_in_place(run, inputs, seed)["generations"]
    checkpoint = inputs.asked.at_scales(config.guidance_scales)
    key = {"probes": config.probes, "key": generation_key(inputs, config, seed)}
    return sampling(run, "generate", key, checkpoint, checkpoint.denoiser, config, seed, inputs.device)


def memorizer_pieces(run: RunDirectory, inputs: Inputs, config: GenerationConfig, seed: str) -> list[Piece]:
    """Generations of the closed-form memorizer of the training set.

    It stands on at most 4,096 training images, drawn at random, so that its cost and memory do not grow with the
    training set; it walks the same sampler over the same noise schedule. Without a checkpoint there is neither, and
    planted copies stand in its place.
    """
    if inputs.given is not None:
        return pieces_in_place(run, inputs, seed)["memorizer"]
    chosen = choose(seed, "memorizer", inputs.train.distinct_ids, MEMORIZER_POINTS)
    memorizer = DeferredMemorizer(inputs.train, chosen, inputs.checkpoint)
    fewer = config.model_copy(update={"probes": CONTROL_PROBES})
    key = generation_key(inputs, config, seed)
    key_of_control = {"points": value_digest(chosen), "set": inputs.train.info.digest, "key": key}
    return sampling(run, "memorizer", key_of_control, inputs.checkpoint, memorizer, fewer, seed, inputs.device)


@torch.inference_mode()
def sample_part(
    checkpoint: LoadedCheckpoint, denoiser: Denoiser, config: GenerationConfig, seed: str, probes: range, device: str
) -> dict[str, NDArray[Any]]:
    """One batch: noise of these probes, sampled, brought to pixels; non-finite samples dropped."""
    noise = probe_noise(seed, "start", probes, denoiser.sample_shape).to(device)
    condition = conditions_of(probes, checkpoint.num_classes)
    if condition is not None:
        condition = condition.to(device)
    ladder = denoiser.schedule.ladder(config.steps)
    x0 = SAMPLERS[config.sampler].sample(denoiser, noise, ladder, condition=condition)
    finite = torch.isfinite(x0).flatten(1).all(dim=1)
    pixels = checkpoint.codec.to_pixels(x0[finite].float())
    return {"pixels": pixels, "probe": np.asarray(probes, np.int64)[finite.cpu().numpy()]}
