"""Canaries: the ledger that is written before training, and what a record says about them afterwards.

A canary is an image that exists nowhere else. A fair coin of its own decided whether it was trained on, so that what
tells included canaries from left-out ones is the training run and nothing else.
"""

from __future__ import annotations

from typing import Literal

from auditor.store.parts import Part


class Canary(Part):
    """One image, and what its coin said."""

    id: str
    repetitions: int  # how often it stands in the training set if included: its tier
    included: bool
    sha256: str  # over shape and pixels UInt8[C H W], as auditor.data.survey.pixel_digest
    caption: str | None = None  # the one it is trained under, where the data have captions


class Ledger(Part):
    """canaries.json: every canary, included or not. Keep it secret until the audit."""

    schema_version: Literal[1] = 1
    tool_version: str
    salt: str  # of the patterns and the coins
    data: str  # the images that size and contrast were taken from, as given
    shape: list[int]  # C, H, W of every canary
    canaries: list[Canary]
