"""What a detector may ask of a text-conditional denoiser beyond its output: where it looked in the text."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import torch

from auditor.diffusion.denoiser import Denoiser


class Tokens(NamedTuple):
    """The tokens that the T columns of attention to text are; of several encoders, one's after the other's."""

    ids: torch.Tensor  # Int64[B T], each of its own encoder's; -1 where no encoder's state stands
    closing: torch.Tensor  # Bool[B T], the end of text and the padding behind it, of each encoder
    ends: torch.Tensor | None  # Int64[B], the end-of-text token, CLIP's if there are two; None = text has no end


@runtime_checkable
class AttentionMaps(Denoiser, Protocol):
    """A denoiser that can also say where it looked."""

    def with_attention(
        self, x_t: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Raw output, and attention of pixels to text by layer name, in the order in which the network computes them.

        Each is Float32[B pixels tokens], mean over heads, pixels row by row; a pixel's row sums to 1, attention to
        other pixels left out. Costs one evaluation of the network.
        """

    def tokens(self, condition: torch.Tensor | None, count: int) -> Tokens:
        """Tokens of the prompts at Int64[B] places; without places, ``count`` times the empty prompt's."""
