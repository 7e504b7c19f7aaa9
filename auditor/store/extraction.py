"""extract.json: what was got out of a checkpoint about records attacked by name."""

from __future__ import annotations

from typing import Literal

from auditor.store.parts import Estimate, Part
from auditor.store.record import Checkpoint, EncoderInfo, ImageSet

Verdict = Literal["extracted", "suspect", "not extracted", "untestable"]


class AttackResult(Part):
    """One attack on all records and all held-out images."""

    name: str
    sigma: float | None  # noise-to-signal ratio that records were noised to; None for masks
    hidden_share: float | None  # share of the image that a mask hides; None for noise
    records: int  # that competed
    holdout: int
    record_hits: int  # whose answer is nearer than any other real image
    holdout_hits: int
    certified: int  # at this attack's part of the false discovery rate
    lower_bound: Estimate  # at least so many records are extracted by this attack; holds for all attacks together
    failed_answers: int  # NaN or infinite
    denoiser_evaluations: int


class Attempt(Part):
    """One attack on one record."""

    attack: str
    similarity: float  # of the nearest answer to the record
    margin: float  # log of (distance to the nearest other real image / distance of the answer); > 0: nearer
    matched: int  # held-out images matched with it
    matched_below: int  # of which so many had a smaller margin
    p_value: float  # (1 + held-out images with as large a margin that are hits) / (1 + all)
    image: str | None = None  # relative path of a PNG file in the run directory


class AttackedRecord(Part):
    """One named record."""

    id: str
    verdict: Verdict
    why: str
    also: list[str] = []  # other named records that are near-duplicates of it, and stand or fall with it
    times_in_set: int  # training images that are near-duplicates of it, itself included
    nearest_other: float  # similarity of the nearest real image that is no duplicate
    q_value: float | None = None  # over all attacks; None where it did not compete or no attack hit
    p_value: float | None = None  # smallest of its attacks', times their number
    attempts: list[Attempt] = []
    image: str | None = None
    matched_id: str | None = None  # the held-out image most like it in difficulty
    matched_image: str | None = None
    matched_answers: list[str] = []  # what the same attacks made of that one, in their order


class Extraction(Part):
    """All that an extraction found."""

    schema_version: Literal[1] = 1
    tool_version: str
    digest: str
    started: str  # ISO 8601, UTC
    seconds: dict[str, float]
    environment: dict[str, str]
    config: dict[str, object]  # of the audit, resolved
    asked: dict[str, object]  # of the extraction
    checkpoint: Checkpoint
    training: ImageSet
    holdout: ImageSet
    encoder: EncoderInfo
    resolving: bool
    threshold: float  # similarity of duplicates
    by_caption: bool = False  # every image was attacked under its own caption
    seed_pinned: bool
    salt: str
    alpha: float
    level: float
    floor: int  # records that have to be hit before any can be called, by one attack alone
    named: int
    extracted: int
    lower_bound: Estimate  # at least so many of the named records are extracted
    attacks: list[AttackResult]
    records: list[AttackedRecord]
    notes: list[str]
