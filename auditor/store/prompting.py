"""The record's part about the prompts of a text-to-image checkpoint."""

from __future__ import annotations

from typing import Literal

from auditor.store.parts import Estimate, Part

PromptSource = Literal["captions", "training", "file", "empty"]
Origin = Literal["training caption", "held-out caption", "both", "given"]


class Prompting(Part):
    """What was asked for."""

    source: PromptSource  # captions: of either set, drawn label-blind; training: of training images alone
    reworded: Literal["no", "shuffle", "drop"] = "no"  # whether words were put in another order, or one left out
    prompts: int  # distinct
    from_training: int  # of them captions of training images
    from_holdout: int  # of held-out images; one may be both
    seeds: float  # generations per prompt, on average
    digest: str  # SHA-256 of the prompts in their order


class CopiedPrompt(Part):
    """A prompt under which at least one generation lands on a certified or verbatim copy."""

    prompt: str
    origin: Origin
    generations: int
    landing: int  # of these on a copied training image
    images: list[str]  # ids of the training images landed on, at most 10


class GuidanceRate(Part):
    """How many generations of one guidance scale land on copied images, of an audit under several."""

    scale: float
    generations: int  # counted: under a prompt, as many for every scale
    images: int  # distinct training images landed on
    copy_rate: Estimate
