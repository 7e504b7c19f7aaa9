"""Sana: a flow by a transformer with linear attention, over the latents of a deep-compression autoencoder.

Xie et al. 2024 (arXiv 2410.10629). Prompts are lower-cased, stripped, and set behind the instruction that the pipeline
gives its language model by default; what guidance is away from is the empty prompt without that instruction.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass

import torch

from auditor.checkpoint.components import SAVE_AGAIN, image_size, load_network
from auditor.checkpoint.family import Parts, Trained, families
from auditor.checkpoint.flow import flow_schedule, refuse_no_flow
from auditor.checkpoint.latents import DcAutoencoder
from auditor.checkpoint.scan import Scan
from auditor.checkpoint.sized import latent_size, refuse_other_channels
from auditor.checkpoint.text import Embedding, Prompts
from auditor.checkpoint.text_encoders import TextEncoder, load_text_encoder
from auditor.checkpoint.text_flow import FlowDenoiser
from auditor.errors import CheckpointError

LENGTH = 300  # tokens that the transformer attends to


@dataclass(frozen=True)
class SanaDenoiser(FlowDenoiser):
    """A SanaTransformer2DModel as a denoiser."""

    def raw(self, x_t: torch.Tensor, t: torch.Tensor, text: Embedding) -> torch.Tensor:
        output: torch.Tensor = self.network(
            x_t,
            encoder_hidden_states=text["states"],
            encoder_attention_mask=text["mask"],
            timestep=self.time(t, 1000 * self.network.config.timestep_scale),
        ).sample
        return output


@dataclass(frozen=True)
class InstructedGemma:
    """States Float32[1 300 width] of the first token and the last 299 of instruction and prompt, and their mask."""

    encoder: TextEncoder
    instruction: str

    def __call__(self, text: str) -> Embedding:
        return self.states(*self.asked(text))

    def null(self) -> Embedding:
        """The empty prompt without the instruction."""
        return self.states("", LENGTH)

    @staticmethod
    def cleaned(text: str) -> str:
        """The prompt as it is set behind the instruction."""
        return text.lower().strip()

    def asked(self, text: str) -> tuple[str, int]:
        """Instruction and prompt, and how many tokens they are padded or cut to."""
        extra = len(self.encoder.tokenizer.encode(self.instruction)) - 2
        return self.instruction + self.cleaned(text), LENGTH + extra

    def chosen(self, length: int) -> list[int]:
        """Places, of so many tokens, of those that the transformer attends to."""
        return [0, *range(length - LENGTH + 1, length)]

    def states(self, text: str, length: int) -> Embedding:
        """Of a text padded or cut to so many tokens."""
        ids, mask = self.encoder.tokens(text, length)
        states, chosen = self.encoder.network(ids, attention_mask=mask)[0], self.chosen(length)
        return {"states": states[:, chosen], "mask": mask[:, chosen]}


@families.register("SanaPipeline")
def load_sana(scan: Scan, trained: Trained, device: str) -> Parts:
    """A transformer with its autoencoder and language model."""
    import diffusers

    refuse_no_flow(scan, trained)
    network = load_network(scan, "transformer", "SanaTransformer2DModel", device)
    channels = network.config.in_channels
    refuse_other_channels(scan, "transformer", channels, network.config.out_channels or channels)
    if network.config.get("guidance_embeds"):
        remedy = "Networks distilled to few steps are not audited by this version."
        raise CheckpointError(f"{scan.path}: transformer: guidance_embeds", "true", "false", remedy)
    autoencoder = load_network(scan, "vae", "AutoencoderDC", device)
    if autoencoder.config.latent_channels != channels:
        got, expected = autoencoder.config.latent_channels, f"{channels}, as the network denoises"
        raise CheckpointError(f"{scan.path}: vae: latent_channels", got, expected, SAVE_AGAIN)
    factor = 2 ** (len(autoencoder.config.encoder_block_out_channels) - 1)
    size = image_size(scan, "transformer", network.config.sample_size)
    height, width = latent_size(trained, size, factor, network.config.patch_size)
    encoder = load_text_encoder(scan, "Gemma2Model", device, length=LENGTH)
    encoder.tokenizer.padding_side = "right"
    stated = inspect.signature(diffusers.SanaPipeline.__call__).parameters["complex_human_instruction"].default
    encode = InstructedGemma(encoder, "\n".join(stated))
    schedule = flow_schedule(trained.config, height * width)
    prompts = Prompts(encode, null=encode.null)
    denoiser = SanaDenoiser(network, trained.prediction_type, schedule, (channels, height, width), prompts)
    pixels = (autoencoder.config.in_channels, height * factor, width * factor)
    return Parts(denoiser, DcAutoencoder(autoencoder, pixels, device), network)
