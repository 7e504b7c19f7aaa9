"""What a detector may ask of a text-conditional denoiser beyond its output: where it looked in the text."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import torch

from auditor.diffusion.denoiser import Denoiser


class Tokens(NamedTuple):
    """The tokens that some prompts are read as."""

    ids: torch.Tensor  # Int64[B T], padded or cut to the T that the text encoder takes
    ends: torch.Tensor  # Int64[B], the place of the end-of-text token; what follows it is padding


@runtime_checkable
class AttentionMaps(Denoiser, Protocol):
    """A denoiser that can also say where it looked."""

    def with_attention(
        self, x_t: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Raw output, and cross-attention by layer name in the order of the network.

        Each is Float32[B heads pixels tokens]; a pixel's row sums to 1. Costs one evaluation of the network.
        """

    def tokens(self, condition: torch.Tensor | None, count: int) -> Tokens:
        """Tokens of the prompts at Int64[B] places; without places, ``count`` times the empty prompt's."""
