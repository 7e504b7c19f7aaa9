"""PixArt-alpha and PixArt-sigma: a diffusion transformer that attends to T5's states.

Chen et al. 2023 (arXiv 2310.00426) and 2024 (arXiv 2403.04692). Prompts are lower-cased and stripped, as the pipelines
do without their optional cleaning of captions from the web.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from auditor.checkpoint.components import SAVE_AGAIN, image_size, load_network, refuse_shift
from auditor.checkpoint.family import Parts, Trained, families
from auditor.checkpoint.scan import Scan
from auditor.checkpoint.sized import load_kl_autoencoder
from auditor.checkpoint.text import Embedding, Prompts, TextDenoiser
from auditor.checkpoint.text_encoders import TextEncoder, load_text_encoder
from auditor.checkpoint.unet import refuse_exploding
from auditor.errors import CheckpointError

LENGTHS = {"PixArtAlphaPipeline": 120, "PixArtSigmaPipeline": 300}  # tokens


@dataclass(frozen=True)
class PixArtDenoiser(TextDenoiser):
    """A PixArtTransformer2DModel as a denoiser; the channels of a learned variance are cut off."""

    told_size: tuple[int, int] | None  # height and width in pixels; None = a network that is not told

    def raw(self, x_t: torch.Tensor, t: torch.Tensor, text: Embedding) -> torch.Tensor:
        added: dict[str, torch.Tensor | None] = {"resolution": None, "aspect_ratio": None}
        if self.told_size is not None:
            height, width = self.told_size
            added["resolution"] = x_t.new_tensor([[height, width]]).expand(len(x_t), 2)
            added["aspect_ratio"] = x_t.new_tensor([[height / width]]).expand(len(x_t), 1)
        output: torch.Tensor = self.network(
            x_t,
            encoder_hidden_states=text["states"],
            encoder_attention_mask=text["mask"],
            timestep=t,
            added_cond_kwargs=added,
        ).sample
        return output[:, : self.sample_shape[0]]


@dataclass(frozen=True)
class MaskedT5:
    """T5's ``states`` Float32[1 tokens width], and their ``mask`` Int64[1 tokens], 0 on padding."""

    encoder: TextEncoder

    @staticmethod
    def cleaned(text: str) -> str:
        """The prompt as the tokenizer is given it."""
        return text.lower().strip()

    def __call__(self, text: str) -> Embedding:
        ids, mask = self.encoder.tokens(self.cleaned(text))
        return {"states": self.encoder.network(ids, attention_mask=mask)[0], "mask": mask}


@families.register("PixArtAlphaPipeline")
@families.register("PixArtSigmaPipeline")
def load_pixart(scan: Scan, trained: Trained, device: str) -> Parts:
    """A transformer with its autoencoder and T5; alpha's largest is also told the image's size."""
    refuse_exploding(scan, trained)
    network = load_network(scan, "transformer", "PixArtTransformer2DModel", device)
    channels, out = network.config.in_channels, network.out_channels
    if out not in (channels, 2 * channels):
        expected = f"{channels}, or {2 * channels} with a learned variance"
        raise CheckpointError(f"{scan.path}: transformer: out_channels", out, expected, SAVE_AGAIN)
    size = image_size(scan, "transformer", network.config.sample_size)
    codec, shape = load_kl_autoencoder(scan, trained, device, channels, size, network.config.patch_size)
    refuse_shift(scan, codec.network)
    length = LENGTHS[str(scan.model_index["_class_name"])]
    encoder = load_text_encoder(scan, "T5EncoderModel", device, length=length)
    told = codec.pixel_shape[1:] if network.use_additional_conditions else None
    denoiser = PixArtDenoiser(
        network, trained.prediction_type, trained.schedule, shape, Prompts(MaskedT5(encoder)), told
    )
    notes = [f"learned variance: channels {channels}..{out - 1} of the output are not used"] if out > channels else []
    return Parts(denoiser, codec, network, notes=notes)
