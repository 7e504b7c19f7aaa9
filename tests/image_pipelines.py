"""Small random-weight pipelines that take no text, saved as users have them."""

from __future__ import annotations

from pathlib import Path

import diffusers
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


def save_score_sde(folder: Path, **options: object) -> Path:
    scheduler = diffusers.ScoreSdeVeScheduler(num_train_timesteps=50, sigma_max=50.0)
    defaults = {"time_embedding_type": "fourier", "in_channels": 3, "out_channels": 3}
    return save_unet(folder, scheduler, "ScoreSdeVePipeline", **(defaults | options))


def save_dit(folder: Path, scheduler: object = None, **options: object) -> Path:
    """DiTPipeline with a learned variance; its pipeline takes 1000 for the null label, whatever the classes."""
    defaults = {
        "num_attention_heads": 2, "attention_head_dim": 8, "in_channels": 4, "out_channels": 8, "num_layers": 2,
        "sample_size": 4, "patch_size": 2, "num_embeds_ada_norm": 5, "norm_num_groups": 1, "attention_bias": True,
    }  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformer = diffusers.DiTTransformer2DModel(**(defaults | options))
        vae = diffusers.AutoencoderKL(
            block_out_channels=(8, 8), norm_num_groups=4, latent_channels=4, sample_size=8, layers_per_block=1,
            down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        )  # fmt: skip
    scheduler = scheduler or diffusers.DDIMScheduler()
    pipeline = diffusers.DiTPipeline(transformer, vae, scheduler, id2label={0: "a, b", 1: "c"})
    pipeline.save_pretrained(folder)
    return folder


def save_ldm(folder: Path, scheduler: object = None, **options: object) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        vqvae = diffusers.VQModel(
            block_out_channels=(8, 8), norm_num_groups=4, latent_channels=3, sample_size=16, num_vq_embeddings=16,
            down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        )  # fmt: skip
    unet = small_unet(**({"in_channels": 3, "out_channels": 3} | options))
    scheduler = scheduler or diffusers.DDIMScheduler()
    diffusers.LDMPipeline(vqvae=vqvae, unet=unet, scheduler=scheduler).save_pretrained(folder)
    return folder
