"""What a finished audit knows about single images: of a rights-holder, an opt-out list, or a worried person."""

from __future__ import annotations

from typing import Literal

from auditor.store.parts import Part
from auditor.store.prompting import PromptSource
from auditor.store.record import Neighbour, Tier

Kind = Literal["file", "training id", "held-out id", "unknown"]


class LookedUnder(Part):
    """One image under one encoder."""

    encoder: str
    resolving: bool  # whether the encoder tells copies from look-alikes on this data
    threshold: float  # similarity from which two images count as duplicates
    near: list[Neighbour]  # training images at or above it, the most similar first, at most 16
    near_mirrored: list[Neighbour] = []  # the same of the mirrored image; files only
    nearest: Neighbour | None  # the most similar training image
    nearest_holdout: Neighbour | None
    nearest_other: float  # similarity of the most similar image of either set that is no duplicate of it
    probe: int  # whose generation comes nearest
    similarity: float  # of that generation
    probes_landing: int  # generations nearer to it than any image that is no duplicate of it
    holdout: int  # held-out images that it is compared with
    holdout_as_near: int  # of which so many have a generation as near as this one has
    p_value: float  # (1 + holdout_as_near) / (1 + holdout)


class RecordScore(Part):
    """A row of membership.parquet."""

    id: str
    slice: str
    scores: dict[str, float | None]  # by attack; larger = more likely a member
    p_value: float | None  # share of held-out images that score as high
    q_value: float | None


class CopyFound(Part):
    """The strongest copy evidence of the audit that names a training image."""

    encoder: str
    tier: Tier
    id: str
    probe: int
    similarity: float
    q_value: float | None


class LookedUp(Part):
    """One image."""

    asked: str
    kind: Kind
    stored_as: str | None = None  # size of a file that had to be brought to the audit's
    exact: list[str] = []  # training ids with the very same pixels
    exact_holdout: list[str] = []
    under: list[LookedUnder] = []
    membership: list[RecordScore] = []  # of the training images that it is, or is a near-duplicate of
    copy_found: CopyFound | None = None
    unscored: str | None = None  # why nothing could be looked up


class Lookup(Part):
    """All images asked for, and the audit that answers."""

    schema_version: Literal[1] = 1
    run: str
    audit_digest: str
    checkpoint: str
    training: str
    training_images: int
    probes: int
    trials: int | None = None  # independent ones among the probes: prompts, where these were asked for; None = all
    asked_for: PromptSource | None = None  # where the prompts came from; None = the checkpoint was asked for nothing
    scored: int  # training images with membership scores
    images: list[LookedUp]
