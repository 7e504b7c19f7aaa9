"""Stable Diffusion 1.x and 2.x: a UNet over the latents of a KL autoencoder that attends to CLIP's text states.

Rombach et al. 2022 (arXiv 2112.10752).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from auditor.checkpoint.components import SAVE_AGAIN, image_size, load_network, refuse_shift
from auditor.checkpoint.family import Parts, Trained, families
from auditor.checkpoint.latents import KlAutoencoder
from auditor.checkpoint.scan import Scan
from auditor.checkpoint.sized import load_kl_autoencoder, refuse_other_channels
from auditor.checkpoint.text import Embedding, Prompts, TextDenoiser
from auditor.checkpoint.text_encoders import TextEncoder, load_text_encoder
from auditor.checkpoint.unet import refuse_exploding
from auditor.errors import CheckpointError

# What a UNet2DConditionModel can be asked for beside text, and the value that asks for nothing.
PLAIN = {"class_embed_type": None, "num_class_embeds": None, "encoder_hid_dim_type": None, "time_cond_proj_dim": None}


@dataclass(frozen=True)
class StableDiffusionDenoiser(TextDenoiser):
    """A UNet2DConditionModel as a denoiser."""

    def raw(self, x_t: torch.Tensor, t: torch.Tensor, text: Embedding) -> torch.Tensor:
        output: torch.Tensor = self.network(x_t, t, encoder_hidden_states=text["states"]).sample
        return output


@dataclass(frozen=True)
class ClipStates:
    """A prompt's last hidden states, Float32[1 length width]."""

    encoder: TextEncoder

    def __call__(self, text: str) -> Embedding:
        ids, mask = self.encoder.tokens(text)
        masked = getattr(self.encoder.network.config, "use_attention_mask", False)
        return {"states": self.encoder.network(ids, attention_mask=mask if masked else None)[0]}


@families.register("StableDiffusionPipeline")
def load_stable_diffusion(scan: Scan, trained: Trained, device: str) -> Parts:
    """A UNet that knows no condition but text, its autoencoder and its text encoder."""
    refuse_exploding(scan, trained)
    network, codec, shape = load_conditional_unet(scan, trained, device, None)
    encoder = load_text_encoder(scan, "CLIPTextModel", device)
    refuse_other_width(scan, network, encoder.network.config.hidden_size)
    prompts = Prompts(ClipStates(encoder))
    denoiser = StableDiffusionDenoiser(network, trained.prediction_type, trained.schedule, shape, prompts)
    return Parts(denoiser, codec, network, encoders={"text_encoder": encoder.network})


def load_conditional_unet(
    scan: Scan, trained: Trained, device: str, addition: str | None
) -> tuple[Any, KlAutoencoder, tuple[int, int, int]]:
    """UNet, autoencoder and sample shape, if the one denoises the latents of the other and asks for text only.

    Raises:
      CheckpointError: Channels that do not fit (an inpainting network takes more), or another condition.
    """
    network = load_network(scan, "unet", "UNet2DConditionModel", device)
    for key, plain in (PLAIN | {"addition_embed_type": addition}).items():
        if network.config.get(key) != plain:
            remedy = "Other conditions are not audited by this version."
            raise CheckpointError(f"{scan.path}: unet: {key}", repr(network.config.get(key)), repr(plain), remedy)
    channels = network.config.in_channels
    refuse_other_channels(scan, "unet", channels, network.config.out_channels)
    size = image_size(scan, "unet", network.config.sample_size)
    levels = 2 ** (len(network.config.block_out_channels) - 1)
    codec, shape = load_kl_autoencoder(scan, trained, device, channels, size, levels)
    refuse_shift(scan, codec.network)
    return network, codec, shape


def refuse_other_width(scan: Scan, network: Any, width: int) -> None:
    """Raise CheckpointError unless the network attends to states of this width."""
    wanted = network.config.cross_attention_dim
    if wanted != width:
        raise CheckpointError(f"{scan.path}: text_encoder", f"states of width {width}", wanted, SAVE_AGAIN)
