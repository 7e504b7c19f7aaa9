"""How a text checkpoint reads prompts: what it sees of each, and what it cuts off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from auditor.checkpoint.attention import text_encoder
from auditor.diffusion.denoiser import Denoiser


class Reading(NamedTuple):
    """One prompt as its text encoder sees it."""

    seen: str  # prompts of the same tokens have the same one
    tokens: int  # without those that begin, end and pad
    cut: int  # tokens that no longer fit


def read(denoiser: Denoiser, prompts: Sequence[str]) -> list[Reading]:
    """Of each prompt; of a family whose tokenizer is not known here, words stand in for tokens and nothing is cut."""
    encoder = text_encoder(denoiser)
    if encoder is None:
        return [Reading(prompt, len(prompt.split()), 0) for prompt in prompts]
    around = len(encoder.tokenizer("").input_ids)
    found = []
    for prompt in prompts:
        ids = encoder.tokenizer(prompt, verbose=False).input_ids
        kept = ids[: encoder.length - 1]  # the last place is the end of text
        inner = min(len(ids), encoder.length) - around
        found.append(Reading(" ".join(map(str, kept)), max(0, inner), max(0, len(ids) - encoder.length)))
    return found
