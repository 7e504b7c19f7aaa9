"""How a text checkpoint reads prompts: what it sees of each, and what it cuts off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from auditor.checkpoint.attention import text_encoders
from auditor.checkpoint.pixart import MaskedT5
from auditor.checkpoint.sana import InstructedGemma
from auditor.checkpoint.text import TextDenoiser
from auditor.diffusion.denoiser import Denoiser


class Reading(NamedTuple):
    """One prompt as its text encoder sees it."""

    seen: str  # prompts of the same tokens have the same one
    tokens: int  # without those that begin, end and pad
    cut: int  # tokens that no longer fit


def read(denoiser: Denoiser, prompts: Sequence[str]) -> list[Reading]:
    """Of each prompt, counted by the encoder that takes most tokens; without one, words stand in for tokens."""
    encoders = text_encoders(denoiser)
    if not encoders:
        return [Reading(prompt, len(prompt.split()), 0) for prompt in prompts]
    widest = max(encoders, key=lambda encoder: encoder.length)
    around = len(widest.tokenizer("").input_ids)
    found = []
    for prompt in map(cleaned(denoiser), prompts):
        ids = [encoder.tokenizer(prompt, verbose=False).input_ids for encoder in encoders]
        kept = [own[: encoder.length - 1] for own, encoder in zip(ids, encoders, strict=True)]  # the last place ends it
        count = len(ids[encoders.index(widest)])
        seen = "/".join(" ".join(map(str, own)) for own in kept)
        found.append(Reading(seen, max(0, min(count, widest.length) - around), max(0, count - widest.length)))
    return found


def cleaned(denoiser: Denoiser) -> Callable[[str], str]:
    """What the family does to a prompt before a tokenizer sees it: PixArt and Sana lower its case."""
    encode = denoiser.prompts.encode if isinstance(denoiser, TextDenoiser) else None
    return encode.cleaned if isinstance(encode, (MaskedT5, InstructedGemma)) else str
