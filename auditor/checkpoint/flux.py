"""FLUX.1: a flow by a transformer over packed latents, told where each patch lies (Black Forest Labs 2024).

Two by two neighbours of the latents are one token. Of a network distilled from its guided self (FLUX.1 dev), the
guidance is a number it is told: no second evaluation, and 1 is what it was distilled from without guidance.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from auditor.checkpoint.components import load_network
from auditor.checkpoint.family import Parts, Trained, families
from auditor.checkpoint.flow import flow_schedule, refuse_no_flow
from auditor.checkpoint.scan import Scan
from auditor.checkpoint.sized import load_kl_autoencoder, refuse_other_channels
from auditor.checkpoint.text import Embedding, Prompts
from auditor.checkpoint.text_encoders import TextEncoder, load_text_encoder
from auditor.checkpoint.text_flow import FlowDenoiser

T5_LENGTH = 512  # tokens, as the pipeline pads them
SIDE = 128  # of latents, where nothing else is asked for: the configuration states no size


@dataclass(frozen=True)
class FluxDenoiser(FlowDenoiser):
    """A FluxTransformer2DModel as a denoiser of latents that are packed here."""

    guidance: float | torch.Tensor | None = None  # that the network is told, or Float[B]; None = it takes none

    def raw(self, x_t: torch.Tensor, t: torch.Tensor, text: Embedding) -> torch.Tensor:
        packed = pack(x_t)
        told = None if self.guidance is None else torch.as_tensor(self.guidance).to(packed).expand(len(packed))
        height, width = x_t.shape[-2] // 2, x_t.shape[-1] // 2
        output = self.network(
            packed,
            timestep=self.time(t, 1),
            guidance=told,
            pooled_projections=text["pooled"],
            encoder_hidden_states=text["states"],
            txt_ids=packed.new_zeros(text["states"].shape[1], 3),
            img_ids=places(height, width).to(packed.device),
        ).sample
        return unpack(output, height, width)

    def told(self, scale: float | torch.Tensor) -> FluxDenoiser | None:
        """The network under a guidance that it is told; None if it must be guided from outside."""
        return None if self.guidance is None else replace(self, guidance=scale)


def pack(x: torch.Tensor) -> torch.Tensor:
    """Float[B C H W] to Float[B HW/4 4C]: one token for two by two neighbours, channels outermost."""
    return torch.nn.functional.pixel_unshuffle(x, 2).flatten(2).transpose(1, 2)


def unpack(tokens: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """The inverse of :func:`pack`, for ``height`` x ``width`` tokens."""
    grid = tokens.transpose(1, 2).reshape(len(tokens), -1, height, width)
    return torch.nn.functional.pixel_shuffle(grid, 2)


def places(height: int, width: int) -> torch.Tensor:
    """Float32[HW 3]: 0, row and column of every token."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([torch.zeros_like(rows), rows, columns], dim=-1).flatten(0, 1).float()


@dataclass(frozen=True)
class PooledClipAndT5:
    """T5's ``states`` Float32[1 512 width], and as ``pooled`` CLIP's at its end of text, Float32[1 width]."""

    clip: TextEncoder
    t5: TextEncoder

    def __call__(self, text: str) -> Embedding:
        pooled = self.clip.network(self.clip.tokens(text)[0]).pooler_output
        return {"states": self.t5.network(self.t5.tokens(text)[0])[0], "pooled": pooled}


@families.register("FluxPipeline")
def load_flux(scan: Scan, trained: Trained, device: str) -> Parts:
    """A transformer over packed latents with its autoencoder, CLIP and T5."""
    refuse_no_flow(scan, trained)
    network = load_network(scan, "transformer", "FluxTransformer2DModel", device)
    refuse_other_channels(scan, "transformer", network.config.in_channels, network.out_channels)
    channels = network.config.in_channels // 4
    codec, shape = load_kl_autoencoder(scan, trained, device, channels, (SIDE, SIDE), 2)
    clip = load_text_encoder(scan, "CLIPTextModel", device)
    t5 = load_text_encoder(scan, "T5EncoderModel", device, "_2", length=T5_LENGTH)
    schedule = flow_schedule(trained.config, (shape[1] // 2) * (shape[2] // 2), to_noise=True)
    guidance = 1.0 if network.config.guidance_embeds else None
    prompts = Prompts(PooledClipAndT5(clip, t5))
    denoiser = FluxDenoiser(network, trained.prediction_type, schedule, shape, prompts, guidance)
    notes = [] if guidance is None else ["guidance is told to the network, in one evaluation; 1 if none is asked for"]
    return Parts(denoiser, codec, network, notes=notes, encoders={"text_encoder": clip.network})
