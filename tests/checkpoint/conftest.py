"""Small random-weight pipelines of each family, saved as users have them."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from pathlib import Path

import diffusers
import pytest
import torch


def small_unet(**options: object) -> diffusers.UNet2DModel:
    defaults = {
        "sample_size": 8, "in_channels": 1, "out_channels": 1, "layers_per_block": 1, "block_out_channels": (8, 16),
        "norm_num_groups": 4, "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "UpBlock2D"), "attention_head_dim": 8,
    }  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return diffusers.UNet2DModel(**(defaults | options))


def save_unet(folder: Path, scheduler: object = None, pipeline: str = "DDPMPipeline", **options: object) -> Path:
    scheduler = scheduler or diffusers.DDPMScheduler()
    getattr(diffusers, pipeline)(unet=small_unet(**options), scheduler=scheduler).save_pretrained(folder)
    return folder


def save_score_sde(folder: Path) -> Path:
    scheduler = diffusers.ScoreSdeVeScheduler(num_train_timesteps=50, sigma_max=50.0)
    options = {"time_embedding_type": "fourier", "in_channels": 3, "out_channels": 3}
    return save_unet(folder, scheduler, "ScoreSdeVePipeline", **options)


def save_dit(folder: Path) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformer = diffusers.DiTTransformer2DModel(
            num_attention_heads=2, attention_head_dim=8, in_channels=4, out_channels=8, num_layers=2, sample_size=4,
            patch_size=2, num_embeds_ada_norm=5, norm_num_groups=1, attention_bias=True,
        )  # fmt: skip
        vae = diffusers.AutoencoderKL(
            block_out_channels=(8, 8), norm_num_groups=4, latent_channels=4, sample_size=8, layers_per_block=1,
            down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        )  # fmt: skip
    pipeline = diffusers.DiTPipeline(transformer, vae, diffusers.DDIMScheduler(), id2label={0: "a, b", 1: "c"})
    pipeline.save_pretrained(folder)
    return folder


def save_ldm(folder: Path) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        vqvae = diffusers.VQModel(
            block_out_channels=(8, 8), norm_num_groups=4, latent_channels=3, sample_size=16, num_vq_embeddings=16,
            down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        )  # fmt: skip
    unet = small_unet(in_channels=3, out_channels=3)
    diffusers.LDMPipeline(vqvae=vqvae, unet=unet, scheduler=diffusers.DDIMScheduler()).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One folder per family, not to be changed."""
    builders = {"ddpm": save_unet, "score_sde": save_score_sde, "dit": save_dit, "ldm": save_ldm}
    root = tmp_path_factory.mktemp("families")
    return {name: build(root / name) for name, build in builders.items()}


@pytest.fixture
def ddpm(saved: dict[str, Path], tmp_path: Path) -> Path:
    """A fresh DDPM folder that the test may damage."""
    return shutil.copytree(saved["ddpm"], tmp_path / "ddpm")


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Saves a UNet pipeline with the given scheduler, pipeline class and network options."""
    return functools.partial(save_unet, tmp_path / "saved")
