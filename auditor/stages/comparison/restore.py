"""Inverse problems: what checkpoints fill in where part of a real image is hidden, and whether it is that image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from auditor.checkpoint.latents import LatentCodec, PixelScaling
from auditor.comparison_config import ComparisonConfig
from auditor.data import pixels_of
from auditor.diffusion.inverse import SOLVERS
from auditor.diffusion.measurement import Measurement, hidden_error
from auditor.encoders.base import Encoder
from auditor.indexing.stream import BATCH
from auditor.probes import choose, probe_noise
from auditor.progress import Progress
from auditor.regime.landing import land
from auditor.regime.reproducibility import reproducibility
from auditor.regime.shares import share, unscored
from auditor.stages.comparison.inputs import MEASUREMENT_OF, Compared, ComparedInputs, measurement_of, relation
from auditor.stages.comparison.landings import Landed
from auditor.stages.comparison.regimes import Regimes
from auditor.stages.embed import named
from auditor.stages.generate import conditions_of
from auditor.stages.inputs import Images
from auditor.stats.delong import auc_interval
from auditor.stats.intervals import mean_interval
from auditor.store.comparison import TaskResult
from auditor.store.digest import value_digest
from auditor.store.parts import Estimate
from auditor.store.run_directory import RunDirectory

HIDDEN_PART = "hidden part"  # what answers are compared by: what they were free to fill in
ALONE, TOGETHER = "one checkpoint is judged here", "see each checkpoint by itself"


@dataclass(frozen=True)
class Restored:
    """One checkpoint's answers to one problem on P images."""

    pixels: NDArray[np.uint8]  # [P C H W]
    hidden: NDArray[np.float32]  # [P D] the hidden part, centred on each image's own mean, at unit length
    error: NDArray[np.float64]  # [P] root mean square over the hidden part, pixels in [0, 1] or latent units


def restore_images(
    run: RunDirectory, inputs: ComparedInputs, found: Regimes, config: ComparisonConfig, seed: str, show: Progress
) -> list[TaskResult]:
    """Every problem under every solver: each checkpoint by itself, and each pair on the same held-out images.

    Held-out images serve as many as training images: they say how well an image that it never saw is restored.
    """
    problems = [(problem, solver) for problem in config.tasks.problems for solver in config.tasks.solvers]
    if not problems or inputs.holdout is None:
        return []
    results = []
    total = len(problems) * len(inputs.models)
    with show.stage(f"restore {config.tasks.images} images", total, "checkpoint") as meter:
        for problem, solver in problems:
            task = Task(run, inputs, config, seed, problem, solver)
            held_out = {}
            for model in inputs.models:
                held_out[model.name] = task.restore(model, inputs.holdout)
                if model.train is not None:
                    trained = task.restore(model, model.train)
                    results += task.alone(model, trained, held_out[model.name], found)
                meter(1)
            results += [task.pair(a, b, held_out) for a, b in combinations(inputs.models, 2)]
    return results


class Task:
    """One inverse problem under one solver."""

    def __init__(
        self, run: RunDirectory, inputs: ComparedInputs, config: ComparisonConfig, seed: str, problem: str, solver: str
    ) -> None:
        self.run, self.inputs, self.config, self.seed, self.solver = run, inputs, config, seed, solver
        self.measurement = measurement_of(problem, inputs.models[0].checkpoint.denoiser.sample_shape)
        self.name = f"{MEASUREMENT_OF[problem]}, {solver}"
        self.probes = range(config.tasks.images)

    def ids(self, images: Images) -> list[str]:
        """The images that are restored, drawn at random from the distinct ones."""
        return choose(self.seed, "restored images", images.distinct_ids, self.config.tasks.images)

    def restore(self, model: Compared, images: Images) -> Restored:
        """The model's answers on a sample of a set."""
        ids = self.ids(images)
        key = {
            "checkpoint": model.scan.digest, "set": images.info.digest, "ids": ids, "task": self.name,
            "seed": self.seed, "generation": self.config.generation.model_dump(mode="json"),
        }  # fmt: skip

        def compute() -> dict[str, NDArray[Any]]:
            restored = self._solve(model, pixels_of(images.source, ids))
            return vars(restored)

        stage = f"restore/{value_digest(key)[:16]}"
        return Restored(**self.run.arrays(stage, key, compute))

    def _solve(self, model: Compared, pixels: NDArray[np.uint8]) -> Restored:
        """Hide, restore, and compare with what was hidden, one batch at a time."""
        checkpoint, size = model.checkpoint, self.config.generation.batch_size
        denoiser, parts = checkpoint.denoiser, []
        ladder = denoiser.schedule.ladder(self.config.generation.steps)
        for first in range(0, len(pixels), size):
            truth = checkpoint.codec.to_model(pixels[first : first + size])
            rows = range(first, first + len(truth))
            noise = probe_noise(self.seed, "restore", rows, denoiser.sample_shape).to(truth.device)
            condition = conditions_of(rows, checkpoint.num_classes)
            y = self.measurement.measure(truth)
            x0 = SOLVERS[self.solver].solve(
                denoiser, noise, ladder, self.measurement, y,
                condition=None if condition is None else condition.to(truth.device),
            )  # fmt: skip
            error = hidden_error(self.measurement, x0, truth) * pixels_per_unit(checkpoint.codec)
            parts.append((checkpoint.codec.to_pixels(x0), hidden_vectors(self.measurement, x0), error.cpu().numpy()))
        return Restored(*(np.concatenate(part) for part in zip(*parts, strict=True)))

    def alone(self, model: Compared, trained: Restored, held_out: Restored, found: Regimes) -> list[TaskResult]:
        """Training images against held-out ones, under every encoder that can say where an answer lands."""
        level, results = self.config.level, []
        assert model.train is not None and self.inputs.holdout is not None
        for name, encoder in named(self.inputs.encoders).items():
            landed = next(at for at in found.landed if at.column.model is model and at.encoder == name)
            on_own = self.lands_on_truth(trained, self.ids(model.train), encoder, landed, training=True)
            on_others = self.lands_on_truth(held_out, self.ids(self.inputs.holdout), encoder, landed, training=False)
            results.append(
                TaskResult(
                    task=self.name,
                    encoder=name,
                    left=model.name,
                    right=model.name,
                    images=min(len(trained.error), len(held_out.error)),
                    matched=unscored("similarity of answers", ALONE),
                    mismatched=unscored("similarity of answers to others", ALONE),
                    error_training=mean_error("error on training images", trained.error, level),
                    error_holdout=mean_error("error on held-out images", held_out.error, level),
                    training_better=auc_interval(
                        -trained.error, -held_out.error, level=level, name="training image restored better"
                    ),
                    restored_training=share("training images restored", *on_own, level, unit="share of images"),
                    restored_holdout=share("held-out images restored", *on_others, level, unit="share of images"),
                )
            )
        return results

    def lands_on_truth(
        self, restored: Restored, ids: Sequence[str], encoder: Encoder, landed: Landed, *, training: bool
    ) -> tuple[int, int]:
        """(answers that land on the very image that was hidden, answers)."""
        pool, n = landed.real.pool, landed.real.pool.training
        first, last = (0, n) if training else (n, len(pool.ids))
        row = {name: place for place, name in enumerate(pool.ids[first:last], start=first)}
        item = landed.group[[row[name] for name in ids]]
        batches = np.array_split(restored.pixels, -(-len(restored.pixels) // BATCH))
        vectors = np.concatenate([encoder(np.ascontiguousarray(batch)) for batch in batches])
        landing = land(vectors, pool.embeddings, landed.group)
        return int((landing.landed == item).sum()), len(ids)

    def pair(self, left: Compared, right: Compared, answers: dict[str, Restored]) -> TaskResult:
        """Two checkpoints on the same held-out images and noise."""
        level = self.config.level
        alike = reproducibility(
            answers[left.name].hidden, answers[right.name].hidden, encoder=HIDDEN_PART, names=(left.name, right.name),
            data=relation(left.train, right.train), level=level,
        )  # fmt: skip
        return TaskResult(
            task=self.name,
            encoder=HIDDEN_PART,
            left=left.name,
            right=right.name,
            images=alike.probes,
            matched=alike.matched,
            mismatched=alike.mismatched,
            error_training=unscored("error on training images", TOGETHER),
            error_holdout=unscored("error on held-out images", TOGETHER),
            training_better=unscored("training image restored better", TOGETHER),
            restored_training=unscored("training images restored", TOGETHER),
            restored_holdout=unscored("held-out images restored", TOGETHER),
        )


def pixels_per_unit(codec: LatentCodec) -> float:
    """What one unit of model space is in pixels of [0, 1]; 1 for latents, which have no such unit."""
    return 1 / (1 - codec.low) if isinstance(codec, PixelScaling) else 1.0


def mean_error(name: str, errors: NDArray[np.float64], level: float) -> Estimate:
    """Mean of per-image errors with its interval."""
    return mean_interval(errors, level=level, name=name, unit="root mean square, pixels in [0, 1]")


def hidden_vectors(measurement: Measurement, x0: torch.Tensor) -> NDArray[np.float32]:
    """What was filled in, Float32[B D] unit rows: the part of x0 that the measurement does not see.

    A row without any hidden contrast becomes the first unit vector, so that it resembles other such rows alone.
    """
    hidden = (x0 - measurement.invert(measurement.measure(x0))).flatten(1).double()
    length = hidden.norm(dim=1, keepdim=True)
    unit = torch.where(
        length > 1e-6, hidden / length.clamp_min(1e-6), torch.eye(1, hidden.shape[1], dtype=hidden.dtype)
    )
    return unit.float().cpu().numpy()
