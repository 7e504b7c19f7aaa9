"""Stable Diffusion XL: two text encoders side by side, a pooled prompt, and the image's size as a condition.

Podell et al. 2023 (arXiv 2307.01952).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from auditor.checkpoint.components import SAVE_AGAIN
from auditor.checkpoint.family import Parts, Trained, families
from auditor.checkpoint.scan import Scan
from auditor.checkpoint.stable_diffusion import load_conditional_unet, refuse_other_width
from auditor.checkpoint.text import Embedding, Prompts, TextDenoiser
from auditor.checkpoint.text_encoders import TextEncoder, load_text_encoder
from auditor.checkpoint.unet import refuse_exploding
from auditor.errors import CheckpointError


@dataclass(frozen=True)
class StableDiffusionXLDenoiser(TextDenoiser):
    """A UNet2DConditionModel that is also told what size the image had, and what was cut from it."""

    time_ids: tuple[int, ...]  # original height and width, top and left of the crop, target height and width; pixels

    def raw(self, x_t: torch.Tensor, t: torch.Tensor, text: Embedding) -> torch.Tensor:
        sizes = torch.tensor([self.time_ids], dtype=torch.float32, device=x_t.device).expand(len(x_t), -1)
        added = {"text_embeds": text["pooled"], "time_ids": sizes}
        output: torch.Tensor = self.network(
            x_t, t, encoder_hidden_states=text["states"], added_cond_kwargs=added
        ).sample
        return output


@dataclass(frozen=True)
class PairedClipStates:
    """Both encoders' states before their last layer, side by side, and the second's projection of its end of text.

    ``states`` Float32[1 length width], ``pooled`` Float32[1 projected].
    """

    first: TextEncoder
    second: TextEncoder

    def __call__(self, text: str) -> Embedding:
        first, second = (
            encoder.network(encoder.tokens(text)[0], output_hidden_states=True) for encoder in (self.first, self.second)
        )
        states = torch.cat([first.hidden_states[-2], second.hidden_states[-2]], dim=-1)
        return {"states": states, "pooled": second.text_embeds}

    def zeros(self) -> Embedding:
        """What guidance is away from where the pipeline forces zeros for the empty prompt."""
        return {name: torch.zeros_like(value) for name, value in self("").items()}


@families.register("StableDiffusionXLPipeline")
def load_stable_diffusion_xl(scan: Scan, trained: Trained, device: str) -> Parts:
    """A UNet with its autoencoder and both text encoders, for uncropped images of its own size."""
    refuse_exploding(scan, trained)
    network, codec, shape = load_conditional_unet(scan, trained, device, "text_time")
    if codec.network.config.get("latents_mean") is not None:
        remedy = "Latents of other means are not audited by this version."
        raise CheckpointError(f"{scan.path}: vae: latents_mean", "means per channel", "none", remedy)
    first = load_text_encoder(scan, "CLIPTextModel", device)
    second = load_text_encoder(scan, "CLIPTextModelWithProjection", device, "_2")
    refuse_other_width(scan, network, first.network.config.hidden_size + second.network.config.hidden_size)
    _, height, width = codec.pixel_shape
    time_ids = (height, width, 0, 0, height, width)
    told = len(time_ids) * network.config.addition_time_embed_dim + second.network.config.projection_dim
    if told != network.config.projection_class_embeddings_input_dim:
        got = f"a condition of {network.config.projection_class_embeddings_input_dim} numbers beside the text's states"
        remedy = "Refiners, which take a score of aesthetics, are not audited by this version."
        raise CheckpointError(f"{scan.path}: unet", got, f"{told}: pooled text and six sizes", remedy)
    if first.length != second.length:
        got = f"{first.length} and {second.length} tokens"
        raise CheckpointError(f"{scan.path}: tokenizer", got, "as many in both", SAVE_AGAIN)
    zero = bool(scan.model_index.get("force_zeros_for_empty_prompt", True))
    encode = PairedClipStates(first, second)
    prompts = Prompts(encode, null=encode.zeros if zero else None)
    denoiser = StableDiffusionXLDenoiser(network, trained.prediction_type, trained.schedule, shape, prompts, time_ids)
    notes = ["guidance is away from embeddings of zeros, as the pipeline says"] if zero else []
    encoders = {"text_encoder": first.network, "text_encoder_2": second.network}
    return Parts(denoiser, codec, network, notes=notes, encoders=encoders)
