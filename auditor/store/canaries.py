"""Canaries: the ledger that is written before training, and what a record says about them afterwards.

A canary is an image that exists nowhere else. A fair coin of its own decided whether it was trained on, so that what
tells included canaries from left-out ones is the training run and nothing else.
"""

from __future__ import annotations

from typing import Literal

from auditor.store.parts import Estimate, Part


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


class CanaryTier(Part):
    """Canaries of one number of repetitions: what the checkpoint gives away about them."""

    repetitions: int
    included: int
    excluded: int  # never-trained twins: the negative control of every figure below
    auc: Estimate  # of the membership score, included against excluded
    tpr_at_5pct_fpr: Estimate
    landed: Estimate  # share of the included that some generation reproduces
    landed_excluded: Estimate  # the same of the excluded
    epsilon: Estimate  # lower bound, towards adding or removing one canary with all its repetitions
    epsilon_per_record: Estimate  # lower bound, towards adding or removing one record


class CanaryAudit(Part):
    """Leakage measured on images whose inclusion was random."""

    ledger_digest: str
    training_images: int  # images of the training set that are canaries, repetitions counted
    attack: str  # chosen on other images than canaries
    variant: str
    encoder: str
    delta: float
    tiers: list[CanaryTier]  # fewest repetitions first; all lower bounds hold together
    certified: int  # canaries among the certified and verbatim copies listed under that encoder
    unscored: list[tuple[str, str]] = []  # (id, reason): no guess is made about them
    denoiser_evaluations: int
