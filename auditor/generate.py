"""Probes to generations: one deterministic image per probe, in parts that survive a kill.

A part is one denoiser batch. Its composition is fixed by the batch size in the specification, so a resumed run makes
the same batches, and with them the same bits, as an undisturbed one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from auditor.checkpoint.load import LoadedCheckpoint
from auditor.config import GenerationConfig
from auditor.diffusion.denoiser import Denoiser
from auditor.diffusion.samplers import SAMPLERS
from auditor.errors import CheckpointError
from auditor.probes import probe_noise
from auditor.progress import Progress
from auditor.store.run_directory import RunDirectory


@dataclass(frozen=True)
class Generations:
    """All generations of a run, memory-mapped in parts.

    A probe whose trajectory became NaN or infinite has no image; it is counted, and left out of ``pixels``.
    """

    parts: list[dict[str, NDArray[Any]]]  # "pixels" UInt8[B C H W], "probe" Int64[B]
    probes: int

    @property
    def probe(self) -> NDArray[np.int64]:
        """Probe number of every generation, Int64[G], ascending."""
        return np.concatenate([part["probe"] for part in self.parts])

    @property
    def non_finite(self) -> int:
        """How many probes gave no image."""
        return self.probes - len(self.probe)

    def batches(self) -> Iterator[NDArray[np.uint8]]:
        """Pixels in probe order, UInt8[B C H W], one part at a time."""
        for part in self.parts:
            if len(part["pixels"]):
                yield part["pixels"]

    def pixels(self, row: int) -> NDArray[np.uint8]:
        """One generation by its row, UInt8[C H W]."""
        for part in self.parts:
            if row < len(part["pixels"]):
                image: NDArray[np.uint8] = part["pixels"][row]
                return image
            row -= len(part["pixels"])
        raise IndexError(row)


def conditions_of(probes: range, num_classes: int | None) -> torch.Tensor | None:
    """Class labels Int64[B] of class-conditional checkpoints: probe i asks for class i modulo their number."""
    return None if num_classes is None else torch.tensor([probe % num_classes for probe in probes])


def generate(
    run: RunDirectory,
    stage: str,
    key: object,
    checkpoint: LoadedCheckpoint,
    denoiser: Denoiser,
    config: GenerationConfig,
    seed: str,
    progress: Progress,
) -> Generations:
    """Every probe's image under ``denoiser``, from the run directory where it is already there.

    Args:
      run, stage, key: Where the parts are kept, and what determines them.
      checkpoint: Gives the way from model space to pixels and the number of classes.
      denoiser: Usually the checkpoint's own; the positive control passes the closed-form memorizer.
      config: Sampler, steps, number of probes, batch size.
      seed: Root seed of the probe noise.

    Raises:
      CheckpointError: Not one probe gave a finite image.
    """
    parts = []
    with progress.stage(f"{stage} {config.probes} images", config.probes, "image") as meter:
        for start in range(0, config.probes, config.batch_size):
            probes = range(start, min(start + config.batch_size, config.probes))
            name = f"{stage}/{start // config.batch_size:05d}"

            def compute(probes: range = probes) -> dict[str, NDArray[Any]]:
                return sample_part(checkpoint, denoiser, config, seed, probes)

            parts.append(run.arrays(name, key, compute))
            meter(len(probes))
    generations = Generations(parts, config.probes)
    if len(generations.probe) == 0:
        raise CheckpointError(
            checkpoint.info.path, "NaN or infinity from every probe", "finite samples",
            "Check the weights, the prediction type and the noise schedule of the checkpoint.",
        )  # fmt: skip
    return generations


@torch.inference_mode()
def sample_part(
    checkpoint: LoadedCheckpoint, denoiser: Denoiser, config: GenerationConfig, seed: str, probes: range
) -> dict[str, NDArray[Any]]:
    """One batch: noise of these probes, sampled, brought to pixels; non-finite samples dropped."""
    noise = probe_noise(seed, "start", probes, denoiser.sample_shape).to(checkpoint.device)
    condition = conditions_of(probes, checkpoint.num_classes)
    if condition is not None:
        condition = condition.to(checkpoint.device)
    ladder = denoiser.schedule.ladder(config.steps)
    x0 = SAMPLERS[config.sampler].sample(denoiser, noise, ladder, condition=condition)
    finite = torch.isfinite(x0).flatten(1).all(dim=1)
    pixels = checkpoint.codec.to_pixels(x0[finite].float())
    return {"pixels": pixels, "probe": np.asarray(probes, np.int64)[finite.cpu().numpy()]}
