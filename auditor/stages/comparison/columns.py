"""Every column of a comparison: each checkpoint, and the memorizer of its training set, on the same probes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from auditor.comparison_config import ComparisonConfig, SamplerName
from auditor.config import GenerationConfig
from auditor.diffusion.denoiser import Denoiser
from auditor.diffusion.samplers import SAMPLERS
from auditor.diffusion.schedule import NoiseSchedule
from auditor.probes import choose
from auditor.progress import Progress
from auditor.stages.comparison.inputs import Compared, ComparedInputs
from auditor.stages.generate import Generations, generate
from auditor.stages.guidance import one_scale
from auditor.stages.inputs import Images
from auditor.stages.memorizer import DeferredMemorizer
from auditor.store.comparison import Column, Kind
from auditor.store.digest import value_digest
from auditor.store.run_directory import RunDirectory

LEAST_CONTROL = 0.5  # of the training set's distinct images must be there as held-out ones
SAME_SIZE = 0.9  # from this share on the two sets count as equally large


@dataclass(frozen=True)
class MadeColumn:
    """One column with its generations."""

    name: str
    model: Compared
    kind: Kind
    config: GenerationConfig
    generations: Generations
    key: dict[str, Any]  # what determined them, as plain values

    def describe(self) -> Column:
        """The record's entry."""
        per_sample = SAMPLERS[self.config.sampler].evaluations(self.config.steps)
        each = self.model.asked.evaluations([]) if self.kind == "checkpoint" else 1
        return Column(
            name=self.name,
            model=self.model.name,
            kind=self.kind,
            sampler=self.config.sampler,
            steps=self.config.steps,
            generations=len(self.generations.probe),
            denoiser_evaluations=self.config.probes * per_sample * each,
            guidance_scale=one_scale(self.config) if self.kind == "checkpoint" else None,
        )


@dataclass(frozen=True)
class Answers:
    """A checkpoint's column with those of its memorizers, None where there is no such set."""

    checkpoint: MadeColumn
    memorizer: MadeColumn | None  # of its training set
    control: MadeColumn | None  # of as many held-out images; never shown as a column
    control_ids: list[str]


def answer_probes(
    run: RunDirectory, inputs: ComparedInputs, config: ComparisonConfig, seed: str, show: Progress
) -> list[Answers]:
    """Generations of every checkpoint under every sampler, and of its memorizers.

    A memorizer walks its checkpoint's own noise schedule with the same sampler. Checkpoints of one schedule and one
    training set share it, and checkpoints of one schedule and sets of one size share the held-out control. Under
    prompts there are none: the closed form does not read.
    """
    maker = ColumnMaker(run, inputs, config.generation.dtype, seed, show)
    answers = []
    for sampler in config.generation.samplers:
        asked = generation_config(config, sampler)
        suffix = f" · {sampler}" if len(config.generation.samplers) > 1 else ""
        for model in inputs.models:
            made = maker.checkpoint(model, asked, f"{model.name}{suffix}")
            memorizer = control = None
            chosen: list[str] = []
            if model.train is not None and inputs.prompts is None:
                memorizer = maker.memorizer(model, model.train, list(model.train.digests), asked, suffix)
                chosen = control_ids(model.train, inputs.holdout, seed)
            if chosen and inputs.holdout is not None:
                control = maker.memorizer(model, inputs.holdout, chosen, asked, suffix)
            answers.append(Answers(made, memorizer, control, chosen))
    return answers


def generation_config(config: ComparisonConfig, sampler: SamplerName) -> GenerationConfig:
    """What every column of one sampler is asked for."""
    asked = config.generation
    return GenerationConfig(
        probes=asked.probes, sampler=sampler, steps=asked.steps, batch_size=asked.batch_size, salt=asked.salt,
        guidance_scale=asked.guidance_scale,
    )  # fmt: skip


def control_ids(train: Images, holdout: Images | None, seed: str) -> list[str]:
    """As many distinct held-out images as there are distinct training ones, at random; none if there are too few.

    Half as many suffice: the sign test allows for the difference in size, at the price of power. They are repeated as
    the training images are, so that both memorizers favour some images equally. Images that also stand in the training
    set do not serve.
    """
    if holdout is None:
        return []
    trained = set(train.digests.values())
    candidates = [name for name in holdout.distinct_ids if holdout.digests[name] not in trained]
    wanted = train.info.distinct
    if len(candidates) < LEAST_CONTROL * wanted:
        return []
    chosen = choose(seed, "held-out memorizer", candidates, wanted)
    repeats = list(train.repeats().values())
    kept = np.linspace(0, wanted - 1, len(chosen)).astype(int)  # all of them where the sizes are equal
    return [name for name, row in zip(chosen, kept, strict=True) for _ in range(repeats[row])]


class ColumnMaker:
    """Makes columns, each distinct memorizer once."""

    def __init__(self, run: RunDirectory, inputs: ComparedInputs, dtype: str, seed: str, show: Progress) -> None:
        self.run, self.inputs, self.dtype, self.seed, self.show = run, inputs, dtype, seed, show
        self.made: dict[str, MadeColumn] = {}

    def checkpoint(self, model: Compared, asked: GenerationConfig, name: str) -> MadeColumn:
        """The checkpoint's own answers."""
        key: dict[str, Any] = {"checkpoint": model.scan.digest, "dtype": self.dtype}
        if self.inputs.prompts is not None:
            key["prompts"] = value_digest(list(self.inputs.prompts.texts))
        return self._make(model, "checkpoint", model.asked.denoiser, asked, name, key)

    def memorizer(
        self, model: Compared, images: Images, ids: Sequence[str], asked: GenerationConfig, suffix: str
    ) -> MadeColumn:
        """The answers of the optimal denoiser of these images under the model's schedule."""
        schedule = model.checkpoint.denoiser.schedule
        key = {
            "memorizer": images.info.digest, "ids": value_digest(list(ids)), "schedule": schedule_digest(schedule),
            "classes": model.checkpoint.num_classes,
        }  # fmt: skip
        known = self.made.get(value_digest([key, asked.model_dump(mode="json")]))
        if known is not None:
            return known
        denoiser = DeferredMemorizer(images, ids, model.checkpoint)
        return self._make(model, "memorizer", denoiser, asked, f"memorizer of {model.name}{suffix}", key)

    def _make(
        self, model: Compared, kind: Kind, denoiser: Denoiser, asked: GenerationConfig, name: str, key: dict[str, Any]
    ) -> MadeColumn:
        whole = {**key, "generation": asked.model_dump(mode="json"), "seed": self.seed}
        stage = f"generate/{value_digest(whole)[:16]}"
        generations = generate(
            self.run,
            stage,
            whole,
            model.asked,
            denoiser,
            asked,
            self.seed,
            self.inputs.device,
            self.show,
            title=name,
        )
        made = MadeColumn(name, model, kind, asked, generations, whole)
        self.made[value_digest([key, asked.model_dump(mode="json")])] = made
        return made


def schedule_digest(schedule: NoiseSchedule) -> str:
    """Digest of a schedule's scales."""
    return value_digest([schedule.signal_scale.tolist(), schedule.noise_scale.tolist()])
