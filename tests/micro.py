"""A micro-audit: every stage on real code, seconds long. The checkpoint is small and untrained, the images made up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from auditor.config import AuditConfig, validate


def write_micro_inputs(folder: Path, *, train: int = 96, holdout: int = 260, seed: int = 0) -> None:
    """A checkpoint folder and two image folders of 8x8 pictures, each a few random rectangles."""
    rng = np.random.default_rng(seed)
    for name, count in (("train", train), ("holdout", holdout)):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            write_picture(folder / name / f"{name}-{index:04d}.png", rng)
    write_checkpoint(folder / "checkpoint")


def write_picture(path: Path, rng: np.random.Generator) -> None:
    """One 8x8 greyscale picture of three rectangles over noise."""
    pixels = rng.integers(0, 60, (8, 8))
    for _ in range(3):
        top, left = rng.integers(0, 6, 2)
        pixels[top : top + rng.integers(2, 5), left : left + rng.integers(2, 5)] = rng.integers(60, 256)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def write_checkpoint(path: Path, **changes: object) -> None:
    """An untrained DDPM pipeline of 8x8 greyscale images, seeded; ``changes`` go to the network."""
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

    with torch.random.fork_rng():
        torch.manual_seed(0)
        unet = UNet2DModel(
            **{
                "sample_size": 8, "in_channels": 1, "out_channels": 1, "layers_per_block": 1, "norm_num_groups": 4,
                "block_out_channels": (8, 16), "down_block_types": ("DownBlock2D",) * 2,
                "up_block_types": ("UpBlock2D",) * 2, **changes,
            }
        )  # fmt: skip
    DDPMPipeline(unet=unet, scheduler=DDPMScheduler(num_train_timesteps=200)).save_pretrained(path)


def micro_config(folder: Path, **changes: dict[str, object]) -> AuditConfig:
    """The audit of :func:`write_micro_inputs`; ``changes`` update whole sections."""
    sections: dict[str, dict[str, object]] = {
        "checkpoint": {"path": str(folder / "checkpoint")},
        "data": {"train": str(folder / "train"), "holdout": str(folder / "holdout"), "split": "group"},
        "generation": {"probes": 96, "steps": 4, "batch_size": 16, "salt": "micro"},
        "membership": {"members": 90, "nonmembers": 130, "calibration": 0.2},
    }
    for name, update in changes.items():
        sections[name] = {**sections.get(name, {}), **update}
    return validate(sections, "micro")
