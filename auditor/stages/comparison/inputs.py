"""What goes into a comparison, opened and checked: checkpoints that can share start noise, and their image sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from auditor.checkpoint.asked import Asked
from auditor.checkpoint.latents import same_space
from auditor.checkpoint.load import LoadedCheckpoint, load
from auditor.checkpoint.scan import Scan, scan
from auditor.comparison_config import ComparisonConfig, ModelConfig
from auditor.data import Geometry
from auditor.diffusion.measurement import MEASUREMENTS, Measurement
from auditor.diffusion.steps import read_ladder
from auditor.encoders.base import Encoder
from auditor.encoders.build import build_encoder
from auditor.errors import ConfigError
from auditor.stages.inputs import Images, open_images, refuse_overlap
from auditor.stages.prompt_list import Prompts, listed
from auditor.stages.suitability import try_network
from auditor.store.comparison import ComparedModel, DataRelation

MEASUREMENT_OF = {"inpaint": "inpaint, right half", "superresolve": "super-resolution, factor 4"}


@dataclass(frozen=True)
class Compared:
    """One checkpoint of a comparison, ready to be used."""

    name: str
    config: ModelConfig
    scan: Scan
    checkpoint: LoadedCheckpoint
    asked: LoadedCheckpoint  # what answers the probes: bound to the prompts, under guidance
    train: Images | None

    def describe(self) -> ComparedModel:
        """The record's entry."""
        known = None if self.train is None else self.train.info.distinct
        return ComparedModel(
            name=self.name,
            checkpoint=self.checkpoint.info,
            training=None if self.train is None else self.train.info,
            size=self.config.size or known,
            step=self.config.step,
            base=self.config.base,
        )


@dataclass(frozen=True)
class ComparedInputs:
    """Everything that a comparison reads."""

    models: list[Compared]
    holdout: Images | None
    encoders: list[Encoder]
    device: str
    prompts: Prompts | None = None  # that probes ask for, in turn

    def model(self, name: str) -> Compared:
        """The checkpoint of that name."""
        return next(model for model in self.models if model.name == name)


def open_compared(config: ComparisonConfig) -> ComparedInputs:
    """Scan and load every checkpoint, open every image set once, build the encoders.

    Raises:
      UnsafeArtifactError, CheckpointError: See :func:`auditor.checkpoint.scan.scan` and ``load``.
      ConfigError: Checkpoints that cannot share start noise, missing paths, sets that overlap, unknown ids.
      DataError: No image is readable, or one has another shape than the checkpoints'.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if len(config.models) * len(config.generation.samplers) == 1 and config.models[0].train is None:
        got = "one checkpoint without training images"
        raise ConfigError("comparison", got, "something to compare it with", "Give its training set, or another one.")
    for path in paths_of(config):
        if not path.exists():
            raise ConfigError("comparison", path, "a file or folder that exists", "Correct the path.")
    scans = [
        scan(model.checkpoint, allow_pickle=model.allow_pickle, asked=asked_for(model, config))
        for model in config.models
    ]
    loaded = [load(scanned, device=device, dtype=config.generation.dtype) for scanned in scans]
    names = config.names()
    refuse_incomparable(names, loaded)
    refuse_unfit_tasks(config, loaded[0].denoiser.sample_shape)
    for checkpoint in loaded:
        refuse_steps(checkpoint, config.generation.steps)
        refuse_unfit_prompts(checkpoint, config)
        try_network(checkpoint, device)
    channels, height, width = loaded[0].codec.pixel_shape
    geometry = Geometry(channels, height, width, resize=config.data.resize)
    encoders = [
        build_encoder(encoder, channels=channels, height=height, width=width, device=device)
        for encoder in config.encoders
    ]
    training = open_training(config, geometry)
    holdout = open_holdout(config, geometry)
    for images in training:
        if images is not None and holdout is not None:
            refuse_overlap(images, holdout)
    asked = [one if config.prompts.given else one.at_scales(config.generation.guidance_scales) for one in loaded]
    models = [Compared(*parts) for parts in zip(names, config.models, scans, loaded, asked, training, strict=True)]
    return ComparedInputs(models, holdout, encoders, device)


def asked_for(model: ModelConfig, config: ComparisonConfig) -> Asked:
    """What one of the checkpoints is opened with; the dtype is asked of the loader alone, since keys have it apart."""
    side = config.generation.image_size
    size = None if side is None else (side, side)
    return Asked(model.adapter, model.adapter_scale, size, model.config, offload=config.offload)


def paths_of(config: ComparisonConfig) -> list[Path]:
    """Every image set, list of ids and checkpoint that the configuration names."""
    named = [config.data.holdout, config.data.holdout_ids, config.prompts.file]
    for model in config.models:
        named += [model.checkpoint, model.config, model.train, model.ids]
    return [path for path in named if path is not None]


def open_training(config: ComparisonConfig, geometry: Geometry) -> list[Images | None]:
    """Each model's training images; models of the same set share one."""
    opened: dict[tuple[Path | None, Path | None, int | None], Images | None] = {(None, None, None): None}
    keys = [(m.train, m.ids, m.size if m.ids is not None else None) for m in config.models]
    data = config.data
    for train, ids, first in keys:
        if train is not None and (train, ids, first) not in opened:
            columns = data.id_column, data.image_column
            opened[train, ids, first] = open_images(train, geometry, *columns, ids=ids, first=first)
    return [opened[key if key[0] is not None else (None, None, None)] for key in keys]


def open_holdout(config: ComparisonConfig, geometry: Geometry) -> Images | None:
    """The held-out images, if there are any."""
    data = config.data
    if data.holdout is None:
        return None
    return open_images(data.holdout, geometry, data.id_column, data.image_column, ids=data.holdout_ids)


def refuse_steps(checkpoint: LoadedCheckpoint, steps: int) -> None:
    """Raise ConfigError if a checkpoint has fewer training times, or no signal where the ladder starts."""
    schedule = checkpoint.denoiser.schedule
    if steps > len(schedule):
        expected = f"at most {len(schedule)}, the training times of {checkpoint.info.path}"
        raise ConfigError("generation.steps", steps, expected, "Take fewer steps.")
    read_ladder(checkpoint.denoiser, schedule.ladder(steps))


def refuse_unfit_prompts(checkpoint: LoadedCheckpoint, config: ComparisonConfig) -> None:
    """Raise ConfigError for prompts or guidance that a checkpoint does not take, or a file without prompts."""
    bound = checkpoint.with_prompts([""]) if config.prompts.given else checkpoint
    bound.at_scales(config.generation.guidance_scales)
    if config.prompts.file:
        listed(config.prompts.file)


def refuse_unfit_tasks(config: ComparisonConfig, shape: tuple[int, int, int]) -> None:
    """Raise ConfigError for problems without held-out images, or ones that model space C, H, W is too small for.

    How well images that a checkpoint never saw are restored is what its training images are judged by.
    """
    if config.tasks.problems and config.data.holdout is None:
        expected = "held-out images, whose restoration is the standard"
        raise ConfigError("tasks.problems", config.tasks.problems, expected, "Give a held-out set (holdout).")
    for problem in config.tasks.problems:
        measurement_of(problem, shape)


def measurement_of(problem: str, shape: tuple[int, int, int]) -> Measurement:
    """What a problem shows of an image of model space C, H, W.

    Raises:
      ConfigError: The size does not allow it.
    """
    return MEASUREMENTS[MEASUREMENT_OF[problem]](*shape[1:])


def refuse_incomparable(names: Sequence[str], loaded: Sequence[LoadedCheckpoint]) -> None:
    """Checkpoints answer the same probe only where they start from the same noise and are asked the same.

    Prediction type, noise schedule and architecture may differ: a start state is the probe's noise at the schedule's
    own start scale, so that two schedules begin at the same point of model space up to its scale. Model space itself
    may not differ: noise of another shape, or in the latents of another autoencoder, is other noise.

    Raises:
      ConfigError: Another shape, another autoencoder, or other class labels than the first checkpoint's.
    """
    first, whose = loaded[0], names[0]
    for name, other in zip(names[1:], loaded[1:], strict=True):
        subject = f"models {whose} and {name}"
        shapes = first.denoiser.sample_shape, other.denoiser.sample_shape
        if shapes[0] != shapes[1] or first.codec.pixel_shape != other.codec.pixel_shape:
            got = " and ".join("x".join(map(str, shape)) for shape in shapes)
            raise ConfigError(subject, got, "one shape in model space", "Noise of two shapes is not the same noise.")
        if not same_space(first.codec, other.codec):
            remedy = "Noise in two latent spaces is not the same noise; compare checkpoints of one autoencoder."
            raise ConfigError(subject, "different autoencoders", "one model space", remedy)
        if first.num_classes != other.num_classes:
            got = f"{first.num_classes or 'no'} and {other.num_classes or 'no'} class labels"
            raise ConfigError(subject, got, "the same classes, or none", "Compare checkpoints that are asked the same.")


def relation(left: Images | None, right: Images | None) -> DataRelation:
    """How two training sets relate, by exact pixels: the same set, no image in common, or some."""
    if left is None or right is None:
        return "unknown"
    ours, theirs = set(left.digests.values()), set(right.digests.values())
    if ours == theirs:
        return "same"
    return "overlapping" if ours & theirs else "disjoint"
