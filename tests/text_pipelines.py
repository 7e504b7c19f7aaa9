"""Small random-weight pipelines that take text, saved as users have them; each test module opens its own families."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import tokenizers
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


def save_sdxl(folder: Path, zeros: bool = True, **options: object) -> Path:
    """StableDiffusionXLPipeline whose second text encoder is wider than the first."""
    pipeline = diffusers.StableDiffusionXLPipeline(
        vae=autoencoder(), text_encoder=clip_encoder(16), text_encoder_2=clip_encoder(24, 12, seed=1),
        tokenizer=clip_tokenizer(), tokenizer_2=clip_tokenizer(),
        unet=text_unet(
            cross_attention_dim=40, addition_embed_type="text_time", addition_time_embed_dim=4,
            projection_class_embeddings_input_dim=6 * 4 + 12, **options,
        ),
        scheduler=ddim(),
        force_zeros_for_empty_prompt=zeros, add_watermarker=False,
    )  # fmt: skip
    pipeline.save_pretrained(folder)
    return folder


def words() -> list[str]:
    """Pieces enough to read the prompts, the empty one and what stands before a prompt of Sana."""
    return sorted({*"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ:.,-", "red", "apple", "dog"})


def t5_tokenizer() -> transformers.T5Tokenizer:
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    pieces += [(word, -2.0 - 1 / len(word)) for word in words()]
    return transformers.T5Tokenizer(vocab=pieces, extra_ids=0)


def t5_encoder(width: int = 24, seed: int = 2) -> transformers.T5EncoderModel:
    config = transformers.T5Config(
        vocab_size=len(t5_tokenizer()), d_model=width, d_kv=8, d_ff=32, num_layers=2, num_heads=2,
        feed_forward_proj="gated-gelu", dropout_rate=0.0,
    )  # fmt: skip
    return spread(seeded(lambda: transformers.T5EncoderModel(config), seed), 0.1, seed).eval()


def gemma_tokenizer() -> transformers.GemmaTokenizer:
    """Letters, and whole words of what stands before a prompt of Sana, which is hundreds of tokens as in real ones."""
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", "\n"]
    letters = [word for word in words() if len(word) == 1]
    stated = inspect.signature(diffusers.SanaPipeline.__call__).parameters["complex_human_instruction"].default
    found = [f"▁{word}" for line in stated for word in line.split() if set(word) <= set(letters)]
    merges = list(dict.fromkeys((word[:end], word[end]) for word in found for end in range(1, len(word))))
    pieces = [*special, *letters, *(first + last for first, last in merges)]
    tokenizer = transformers.GemmaTokenizer(vocab={piece: place for place, piece in enumerate(pieces)}, merges=merges)
    first = tokenizers.processors.TemplateProcessing("<bos> $A", "<bos> $A $B", [("<bos>", 2)])
    tokenizer.backend_tokenizer.post_processor = first
    return tokenizer


def gemma_encoder(width: int = 16) -> transformers.Gemma2Model:
    config = transformers.Gemma2Config(
        vocab_size=len(gemma_tokenizer()), hidden_size=width, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, head_dim=8, pad_token_id=0, eos_token_id=1, bos_token_id=2,
    )  # fmt: skip
    return spread(seeded(lambda: transformers.Gemma2Model(config), 3), 0.1, 3).eval()


def flow_euler(**options: object) -> diffusers.FlowMatchEulerDiscreteScheduler:
    return diffusers.FlowMatchEulerDiscreteScheduler(**({"shift": 3.0} | options))


def flow_solver(**options: object) -> diffusers.DPMSolverMultistepScheduler:
    """What Sana is published with."""
    defaults = {
        "use_flow_sigmas": True, "flow_shift": 3.0, "prediction_type": "flow_prediction", "final_sigmas_type": "zero",
    }  # fmt: skip
    return diffusers.DPMSolverMultistepScheduler(**(defaults | options))


def save_sd3(folder: Path, t5: bool = True, scheduler: Any = None, moved: float = 0.05, **options: object) -> Path:
    """StableDiffusion3Pipeline, its T5 left out on demand."""
    defaults: dict[str, object] = {
        "sample_size": 8, "patch_size": 2, "in_channels": 4, "num_layers": 2, "attention_head_dim": 8,
        "num_attention_heads": 2, "joint_attention_dim": 40, "caption_projection_dim": 16, "pooled_projection_dim": 20,
        "out_channels": 4, "pos_embed_max_size": 8,
    }  # fmt: skip
    transformer = seeded(lambda: diffusers.SD3Transformer2DModel(**(defaults | options)))
    pipeline = diffusers.StableDiffusion3Pipeline(
        vae=autoencoder(shift_factor=0.06, scaling_factor=1.5), transformer=spread(transformer, moved),
        text_encoder=clip_encoder(16, 8), text_encoder_2=clip_encoder(16, 12, seed=1),
        text_encoder_3=t5_encoder(40) if t5 else None, tokenizer=clip_tokenizer(), tokenizer_2=clip_tokenizer(),
        tokenizer_3=t5_tokenizer() if t5 else None, scheduler=scheduler or flow_euler(),
    )  # fmt: skip
    pipeline.save_pretrained(folder)
    return folder


def save_flux(
    folder: Path, guidance: bool = True, scheduler: Any = None, moved: float = 0.05, **options: object
) -> Path:
    """FluxPipeline over 8x8 latents; with ``guidance``, told it as FLUX.1 dev is."""
    defaults: dict[str, object] = {
        "patch_size": 1, "in_channels": 16, "num_layers": 1, "num_single_layers": 1, "attention_head_dim": 8,
        "num_attention_heads": 2, "joint_attention_dim": 24, "pooled_projection_dim": 16, "guidance_embeds": guidance,
        "axes_dims_rope": (2, 2, 4),
    }  # fmt: skip
    transformer = seeded(lambda: diffusers.FluxTransformer2DModel(**(defaults | options)))
    pipeline = diffusers.FluxPipeline(
        vae=autoencoder(shift_factor=0.1, scaling_factor=0.8), transformer=spread(transformer, moved),
        text_encoder=clip_encoder(16), text_encoder_2=t5_encoder(24), tokenizer=clip_tokenizer(),
        tokenizer_2=t5_tokenizer(), scheduler=scheduler or flow_euler(use_dynamic_shifting=True),
    )  # fmt: skip
    pipeline.save_pretrained(folder)
    return folder


def save_pixart(
    folder: Path, kind: str = "PixArtSigmaPipeline", told: bool = False, moved: float = 0.05, **options: object
) -> Path:
    """PixArt with a learned variance; with ``told``, a network that is told the image's size."""
    defaults: dict[str, object] = {
        "sample_size": 8, "patch_size": 2, "in_channels": 4, "out_channels": 8, "num_layers": 2,
        "attention_head_dim": 12, "num_attention_heads": 2, "cross_attention_dim": 24, "caption_channels": 24,
        "use_additional_conditions": told,
    }  # fmt: skip
    transformer = seeded(lambda: diffusers.PixArtTransformer2DModel(**(defaults | options)))
    pipeline = getattr(diffusers, kind)(
        tokenizer=t5_tokenizer(), text_encoder=t5_encoder(24), vae=autoencoder(),
        transformer=spread(transformer, moved), scheduler=ddim(),
    )  # fmt: skip
    pipeline.save_pretrained(folder)
    return folder


def save_sana(folder: Path, scheduler: Any = None, moved: float = 0.05, **options: object) -> Path:
    """SanaPipeline over the latents of a deep-compression autoencoder."""
    defaults: dict[str, object] = {
        "sample_size": 8, "patch_size": 1, "in_channels": 4, "out_channels": 4, "num_layers": 2,
        "num_attention_heads": 2, "attention_head_dim": 8, "num_cross_attention_heads": 2,
        "cross_attention_head_dim": 8, "cross_attention_dim": 16, "caption_channels": 16,
    }  # fmt: skip
    transformer = seeded(lambda: diffusers.SanaTransformer2DModel(**(defaults | options)))
    vae = seeded(
        lambda: diffusers.AutoencoderDC(
            in_channels=3, latent_channels=4, attention_head_dim=2, encoder_block_types=("ResBlock", "ResBlock"),
            decoder_block_types=("ResBlock", "ResBlock"), encoder_block_out_channels=(8, 8),
            decoder_block_out_channels=(8, 8), encoder_qkv_multiscales=((), ()), decoder_qkv_multiscales=((), ()),
            encoder_layers_per_block=(1, 1), decoder_layers_per_block=(1, 1), downsample_block_type="conv",
            upsample_block_type="interpolate", decoder_norm_types="rms_norm", decoder_act_fns="silu",
            scaling_factor=0.5,
        )
    )  # fmt: skip
    pipeline = diffusers.SanaPipeline(
        tokenizer=gemma_tokenizer(),
        text_encoder=gemma_encoder(),
        vae=vae,
        transformer=spread(transformer, moved),
        scheduler=scheduler or flow_euler(),
    )
    pipeline.save_pretrained(folder)
    return folder
