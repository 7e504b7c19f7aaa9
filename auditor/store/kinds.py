"""What the record keeps of a closer look at shortlisted pairs: parts and blends, each a competition of its own."""

from __future__ import annotations

from typing import Literal

from auditor.store.parts import Estimate, Part

CopyKind = Literal["exact", "near", "mirrored", "cropped", "part", "template", "blend"]


class KindEvidence(Part):
    """One training item of which a generation repeats a part, or that it blends with another."""

    id: str  # the member that was compared
    members: list[str]  # all ids of its duplicate group
    kind: CopyKind
    certified: bool
    score: float  # patches, or explained share, beyond what any other real picture gives
    q_value: float | None
    probe: int
    mirrored: bool
    covered: float | None = None  # share of the generation's patches with contrast that repeat the picture
    scale: float | None = None  # the picture enlarged by so much looks as it does in the generation
    explained: float | None = None  # by the two pictures of a blend
    beside: str | None = None  # the other picture of a blend
    beside_training: bool = False  # whether that is a training image
    image: str | None = None  # relative paths of PNG files in the run directory
    generation_image: str | None = None
    mask_image: str | None = None  # the generation with what repeats the picture marked
    beside_image: str | None = None


class KindSearch(Part):
    """Training against held-out items on what a closer look found, under one encoder's shortlist."""

    what: Literal["parts", "blends"]
    generations: int  # looked at, the first of the audit's
    n_items: int
    m_items: int
    training_hits: int
    holdout_hits: int
    alpha: float
    certified: int
    floor: int
    lower_bound: Estimate  # at least so many distinct training images; see stages/kind_evidence.py for its level
    evidence: list[KindEvidence]
