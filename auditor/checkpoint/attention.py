"""Attention to text of every family's network, recorded while it runs as it would without a recorder.

UNets, PixArt and Sana attend from pixels to text. SD3 and FLUX attend from image and text together to both: there, the
weights of image queries on text keys are taken, and divided by their sum, so that a pixel's row says where in the text
it looks, given that it looks there. Undivided, an entropy would measure how much of its attention a pixel has to spare
for the text, which is another quantity. Heads are averaged before the division, so that one that ignores the text has
as little say as it has in the network.

Entropy and bright endings were published for UNets with CLIP's text: no threshold is known for the other networks, and
what a detector is worth there shows beside control prompts alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from auditor.checkpoint.attention_tokens import columns
from auditor.checkpoint.attention_weights import recorded
from auditor.checkpoint.text import TextDenoiser
from auditor.checkpoint.text_encoders import TextEncoder
from auditor.diffusion.attention import Tokens
from auditor.diffusion.denoiser import Denoiser
from auditor.diffusion.prediction import PredictionType
from auditor.diffusion.schedule import NoiseSchedule

TINY = 1e-12  # a pixel's attention to the text, below which it looks nowhere
Keys = Literal["text", "image, text", "text, image"]  # what a layer's keys are, in their order

# By network: what the names of layers that read text end in, and what their keys are.
LAYERS: dict[str, tuple[str, Keys]] = {
    "UNet2DConditionModel": (".attn2", "text"),
    "PixArtTransformer2DModel": (".attn2", "text"),
    "SanaTransformer2DModel": (".attn2", "text"),
    "SD3Transformer2DModel": (".attn", "image, text"),  # attn2 of 3.5 is the image's own
    "FluxTransformer2DModel": (".attn", "text, image"),
}


@dataclass(frozen=True)
class Attending:
    """An :class:`auditor.diffusion.attention.AttentionMaps` around a text denoiser."""

    denoiser: TextDenoiser
    layers: dict[str, torch.nn.Module]
    keys: Keys

    @property
    def prediction_type(self) -> PredictionType:
        return self.denoiser.prediction_type

    @property
    def schedule(self) -> NoiseSchedule:
        return self.denoiser.schedule

    @property
    def sample_shape(self) -> tuple[int, int, int]:
        return self.denoiser.sample_shape

    @property
    def marks_end(self) -> bool:
        """Whether one of the tokens that the network attends to is the end of the text."""
        return columns(self.denoiser.prompts.encode, "").end is not None

    def __call__(self, x_t: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        return self.denoiser(x_t, t, condition)

    def with_attention(
        self, x_t: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """See :class:`auditor.diffusion.attention.AttentionMaps`."""
        text = self.denoiser.prompts.at(condition, len(x_t))
        tokens = text["states"].shape[1]
        with recorded(self.layers, lambda weights: pixels_to_text(weights, tokens, self.keys)) as maps:
            output = self.denoiser.raw(x_t, t, text)
        if self.keys != "text":
            maps = {layer: found / found.sum(2, keepdim=True).clamp_min(TINY) for layer, found in maps.items()}
        return output, maps

    def tokens(self, condition: torch.Tensor | None, count: int) -> Tokens:
        """See :class:`auditor.diffusion.attention.AttentionMaps`."""
        prompts = self.denoiser.prompts
        places = prompts.places(condition, count)
        null = len(prompts.texts) if prompts.null is not None else None
        read = {
            place: columns(prompts.encode, prompts.text(place), null=place == null) for place in dict.fromkeys(places)
        }
        found = [read[place] for place in places]
        device = found[0].ids.device if condition is None else condition.device
        ends = [one.end for one in found if one.end is not None]
        return Tokens(
            torch.stack([one.ids for one in found]).to(device),
            torch.stack([one.closing for one in found]).to(device),
            torch.tensor(ends, device=device) if len(ends) == len(found) else None,
        )


def attending(denoiser: Denoiser) -> Attending | None:
    """The denoiser with its attention to text laid open; None where that is not known how to do."""
    if not isinstance(denoiser, TextDenoiser) or type(denoiser.network).__name__ not in LAYERS:
        return None
    suffix, keys = LAYERS[type(denoiser.network).__name__]
    layers = {name: layer for name, layer in denoiser.network.named_modules() if name.endswith(suffix)}
    return Attending(denoiser, layers, keys) if layers else None


def pixels_to_text(weights: torch.Tensor, tokens: int, keys: Keys) -> torch.Tensor:
    """Float32[B queries keys] of a layer that reads so many tokens, cut to Float32[B pixels tokens]."""
    if keys == "text":
        return weights
    if keys == "text, image":
        return weights[:, tokens:, :tokens]
    return weights[:, :-tokens, -tokens:]


def text_encoders(denoiser: Denoiser) -> list[TextEncoder]:
    """The tokenizers and encoders of a text denoiser, in its own order; none of a denoiser without text."""
    encode = denoiser.prompts.encode if isinstance(denoiser, TextDenoiser) else None
    values = vars(encode).values() if encode else ()
    held = [part for value in values for part in (value if isinstance(value, tuple) else (value,))]
    return [part for part in held if isinstance(part, TextEncoder)]
