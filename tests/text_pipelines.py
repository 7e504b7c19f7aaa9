"""Small random-weight pipelines that take text, saved as users have them; each test module opens its own families."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers

TOKENIZER = Path(__file__).parents[1] / "fixtures" / "twemoji" / "tokenizer"
LENGTH = 24
PROMPTS = ["red apple", "dog face", "flag: chile"]


def seeded(build: Callable[[], Any], seed: int = 0) -> Any:
    """What ``build`` makes of weights drawn from this seed, without moving the global random state."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def spread(network: torch.nn.Module, factor: float, seed: int = 0) -> torch.nn.Module:
    """The network with every weight moved at random, so that none that starts at zero or small stays without effect."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += factor * torch.randn(parameter.shape, generator=draw)
    return network


def clip_tokenizer() -> transformers.CLIPTokenizer:
    return transformers.CLIPTokenizer.from_pretrained(TOKENIZER)


def clip_encoder(width: int = 16, projected: int | None = None, seed: int = 0) -> transformers.PreTrainedModel:
    """A text encoder whose states tell prompts apart; with ``projected``, one with a projection of that width."""
    config = transformers.CLIPTextConfig(
        vocab_size=1536, hidden_size=width, intermediate_size=2 * width, num_hidden_layers=3, num_attention_heads=2,
        max_position_embeddings=LENGTH, projection_dim=projected or width, bos_token_id=0, eos_token_id=1,
        pad_token_id=1,
    )  # fmt: skip
    kind = transformers.CLIPTextModelWithProjection if projected else transformers.CLIPTextModel
    return spread(seeded(lambda: kind(config), seed), 0.1, seed).eval()


def autoencoder(channels: int = 4, **options: object) -> diffusers.AutoencoderKL:
    """Pixels 16x16 to latents 8x8 and back."""
    return seeded(
        lambda: diffusers.AutoencoderKL(
            block_out_channels=(8, 8), norm_num_groups=4, latent_channels=channels, sample_size=16, layers_per_block=1,
            down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2, **options,
        )
    )  # fmt: skip


def text_unet(**options: object) -> diffusers.UNet2DConditionModel:
    defaults = {
        "sample_size": 8, "in_channels": 4, "out_channels": 4, "layers_per_block": 1, "block_out_channels": (8, 16),
        "norm_num_groups": 4, "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"), "cross_attention_dim": 16, "attention_head_dim": 2,
    }  # fmt: skip
    return seeded(lambda: diffusers.UNet2DConditionModel(**(defaults | options)))


def ddim(**options: object) -> diffusers.DDIMScheduler:
    """Stable Diffusion's betas, walked as this package walks them."""
    defaults = {
        "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "timestep_spacing": "trailing",
        "steps_offset": 1, "clip_sample": False,
    }  # fmt: skip
    return diffusers.DDIMScheduler(**(defaults | options))


def save_sd(folder: Path, scheduler: Any = None, **options: object) -> Path:
    """StableDiffusionPipeline without a safety checker."""
    pipeline = diffusers.StableDiffusionPipeline(
        vae=autoencoder(), text_encoder=clip_encoder(), tokenizer=clip_tokenizer(), unet=text_unet(**options),
        scheduler=scheduler or ddim(),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.save_pretrained(folder)
    return folder


def save_sdxl(folder: Path, zeros: bool = True) -> Path:
    """StableDiffusionXLPipeline whose second text encoder is wider than the first."""
    pipeline = diffusers.StableDiffusionXLPipeline(
        vae=autoencoder(), text_encoder=clip_encoder(16), text_encoder_2=clip_encoder(24, 12, seed=1),
        tokenizer=clip_tokenizer(), tokenizer_2=clip_tokenizer(),
        unet=text_unet(
            cross_attention_dim=40, addition_embed_type="text_time", addition_time_embed_dim=4,
            projection_class_embeddings_input_dim=6 * 4 + 12,
        ),
        scheduler=ddim(),
        force_zeros_for_empty_prompt=zeros, add_watermarker=False,
    )  # fmt: skip
    pipeline.save_pretrained(folder)
    return folder
