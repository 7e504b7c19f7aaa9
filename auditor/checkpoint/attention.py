"""Cross-attention of a UNet2DConditionModel, recorded while it runs as it would without a recorder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from auditor.checkpoint.text import TextDenoiser
from auditor.checkpoint.text_encoders import TextEncoder
from auditor.diffusion.attention import Tokens
from auditor.diffusion.denoiser import Denoiser
from auditor.diffusion.prediction import PredictionType
from auditor.diffusion.schedule import NoiseSchedule

ATTENDED = "UNet2DConditionModel"
CROSS = ".attn2.processor"  # how diffusers names the processors of attention to text


@dataclass(frozen=True)
class AttendingUNet:
    """An :class:`auditor.diffusion.attention.AttentionMaps` around a text denoiser whose network is a UNet."""

    denoiser: TextDenoiser
    encoder: TextEncoder  # whose states the network attends to, token by token

    @property
    def prediction_type(self) -> PredictionType:
        return self.denoiser.prediction_type

    @property
    def schedule(self) -> NoiseSchedule:
        return self.denoiser.schedule

    @property
    def sample_shape(self) -> tuple[int, int, int]:
        return self.denoiser.sample_shape

    def __call__(self, x_t: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        return self.denoiser(x_t, t, condition)

    def with_attention(
        self, x_t: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """See :class:`auditor.diffusion.attention.AttentionMaps`."""
        with recorded(self.denoiser.network) as maps:
            output = self.denoiser(x_t, t, condition)
        return output, maps

    def tokens(self, condition: torch.Tensor | None, count: int) -> Tokens:
        """See :class:`auditor.diffusion.attention.AttentionMaps`."""
        prompts = self.denoiser.prompts
        texts = [prompts.text(place) for place in prompts.places(condition, count)]
        found = {text: self.encoder.tokens(text) for text in dict.fromkeys(texts)}
        ids = torch.cat([found[text][0] for text in texts])
        return Tokens(ids, torch.cat([found[text][1] for text in texts]).sum(1) - 1)


def attending(denoiser: Denoiser) -> AttendingUNet | None:
    """The denoiser with its attention laid open; None where that is not known how to do.

    Needs a UNet with cross-attention to text states, token by token: Stable Diffusion 1.x, 2.x and XL, whose two
    encoders' states lie side by side. Of transformers no map is taken.
    """
    encoders = text_encoders(denoiser)
    if not isinstance(denoiser, TextDenoiser) or not encoders or type(denoiser.network).__name__ != ATTENDED:
        return None
    crossing = any(name.endswith(CROSS) for name in denoiser.network.attn_processors)
    return AttendingUNet(denoiser, encoders[0]) if crossing else None


def text_encoders(denoiser: Denoiser) -> list[TextEncoder]:
    """The tokenizers and encoders of a text denoiser, in its own order; none of a denoiser without text."""
    encode = denoiser.prompts.encode if isinstance(denoiser, TextDenoiser) else None
    values = vars(encode).values() if encode else ()
    held = [part for value in values for part in (value if isinstance(value, tuple) else (value,))]
    return [part for part in held if isinstance(part, TextEncoder)]


@contextmanager
def recorded(network: Any) -> Iterator[dict[str, torch.Tensor]]:
    """Maps Float32[B heads pixels tokens] by layer, filled by each call of the network inside."""
    before = dict(network.attn_processors)
    maps: dict[str, torch.Tensor] = {}
    recorders = {
        name: Recorder(name.removesuffix(".processor"), maps) if name.endswith(CROSS) else processor
        for name, processor in before.items()
    }
    network.set_attn_processor(recorders)
    try:
        yield maps
    finally:
        network.set_attn_processor(before)


class Recorder:
    """An attention processor that forms the weights, softmax(q k' / sqrt(d)), and keeps them."""

    def __init__(self, layer: str, maps: dict[str, torch.Tensor]) -> None:
        self.layer, self.maps = layer, maps

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        temb: torch.Tensor | None = None,
        **others: object,
    ) -> torch.Tensor:
        """Attention of pixels Float[B N D] to text Float[B T E]; arguments as diffusers' ``Attention`` passes them."""
        if hidden_states.dim() != 3 or encoder_hidden_states is None:
            raise ValueError("cross-attention: got no text or pixels on a grid; expected [B N D] and [B T E]")
        text = attn.norm_encoder_hidden_states(encoder_hidden_states) if attn.norm_cross else encoder_hidden_states
        query, key, value = (
            states.unflatten(2, (attn.heads, -1)).transpose(1, 2)
            for states in (attn.to_q(hidden_states), attn.to_k(text), attn.to_v(text))
        )
        logits = query @ key.transpose(2, 3) * query.shape[-1] ** -0.5
        if attention_mask is not None:
            mask = attn.prepare_attention_mask(attention_mask, text.shape[1], len(query))
            logits = logits + mask.view(len(query), attn.heads, -1, mask.shape[-1])
        weights = logits.float().softmax(dim=3)
        self.maps[self.layer] = weights
        mixed = (weights.to(value.dtype) @ value).transpose(1, 2).flatten(2)
        added = attn.to_out[1](attn.to_out[0](mixed))
        whole: torch.Tensor = (
            added + hidden_states if attn.residual_connection else added
        ) / attn.rescale_output_factor
        return whole
