"""Stable Diffusion 3 and 3.5: a flow by a transformer that attends to image and text together.

Esser et al. 2024 (arXiv 2403.03206). Two CLIP encoders give states and a pooled prompt; T5, which may be left out,
gives further states after them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from auditor.checkpoint.components import image_size, load_network
from auditor.checkpoint.family import Parts, Trained, families
from auditor.checkpoint.flow import flow_schedule, refuse_no_flow
from auditor.checkpoint.scan import Scan
from auditor.checkpoint.sized import load_kl_autoencoder, refuse_other_channels
from auditor.checkpoint.text import Embedding, Prompts
from auditor.checkpoint.text_encoders import TextEncoder, load_text_encoder
from auditor.checkpoint.text_flow import FlowDenoiser
from auditor.errors import ConfigError

T5_LENGTH = 256  # tokens, as the pipeline pads them


@dataclass(frozen=True)
class StableDiffusion3Denoiser(FlowDenoiser):
    """An SD3Transformer2DModel as a denoiser."""

    def raw(self, x_t: torch.Tensor, t: torch.Tensor, text: Embedding) -> torch.Tensor:
        output: torch.Tensor = self.network(
            x_t, timestep=self.time(t, 1000), encoder_hidden_states=text["states"], pooled_projections=text["pooled"]
        ).sample
        return output


@dataclass(frozen=True)
class ClipsThenT5:
    """Both CLIP encoders' states side by side, widened by zeros, then T5's, or zeros in their place.

    ``states`` Float32[1 tokens width], ``pooled`` Float32[1 projected].
    """

    clips: tuple[TextEncoder, TextEncoder]
    t5: TextEncoder | None
    width: int

    def __call__(self, text: str) -> Embedding:
        found = [clip.network(clip.tokens(text)[0], output_hidden_states=True) for clip in self.clips]
        clip = torch.cat([one.hidden_states[-2] for one in found], dim=-1)
        clip = torch.nn.functional.pad(clip, (0, self.width - clip.shape[-1]))
        t5 = clip.new_zeros(1, T5_LENGTH, self.width)
        if self.t5 is not None:
            t5 = self.t5.network(self.t5.tokens(text)[0])[0]
        return {"states": torch.cat([clip, t5], dim=1), "pooled": torch.cat([one.text_embeds for one in found], dim=-1)}


@families.register("StableDiffusion3Pipeline")
def load_stable_diffusion_3(scan: Scan, trained: Trained, device: str) -> Parts:
    """A transformer with its autoencoder, two CLIP encoders and, if it is there, T5."""
    refuse_no_flow(scan, trained)
    network = load_network(scan, "transformer", "SD3Transformer2DModel", device)
    refuse_other_channels(scan, "transformer", network.config.in_channels, network.out_channels)
    size, patch = image_size(scan, "transformer", network.config.sample_size), network.config.patch_size
    codec, shape = load_kl_autoencoder(scan, trained, device, network.config.in_channels, size, patch)
    refuse_beyond(codec.pixel_shape[1:], shape[1:], network.config.pos_embed_max_size * patch)
    clips = (
        load_text_encoder(scan, "CLIPTextModelWithProjection", device),
        load_text_encoder(scan, "CLIPTextModelWithProjection", device, "_2"),
    )
    without = scan.model_index.get("text_encoder_3") in (None, [None, None])
    t5 = None if without else load_text_encoder(scan, "T5EncoderModel", device, "_3", length=T5_LENGTH)
    schedule = flow_schedule(trained.config, (shape[1] // patch) * (shape[2] // patch))
    prompts = Prompts(ClipsThenT5(clips, t5, network.config.joint_attention_dim))
    denoiser = StableDiffusion3Denoiser(network, trained.prediction_type, schedule, shape, prompts)
    notes = ["without its third text encoder: zeros in its place"] if without else []
    encoders = {"text_encoder": clips[0].network, "text_encoder_2": clips[1].network}
    return Parts(denoiser, codec, network, notes=notes, encoders=encoders)


def refuse_beyond(pixels: tuple[int, int], latents: tuple[int, int], most: int) -> None:
    """Raise ConfigError for a size with more latents a side than the network has places for."""
    if max(latents) > most:
        expected = f"at most {most * pixels[0] // latents[0]} a side, for this checkpoint"
        raise ConfigError("checkpoint.image_size", f"{pixels[0]}x{pixels[1]}", expected, "Ask for another size.")
