"""What looking image files up in an index gives."""

from __future__ import annotations

from auditor.store.parts import Estimate, Outcome, Part


class NearRow(Part):
    """One image of the index near the one asked for."""

    id: str
    similarity: float  # cosine in float64, of the image as it is or in a mirror, whichever is larger
    mirrored: bool
    same_pixels: bool  # the very picture, in the index's size and channels


class FoundImage(Part):
    """One image asked for."""

    asked: str
    unscored: str | None = None  # why nothing can be said
    stored_as: str | None = None  # its own shape, where it was brought to the index's
    nearest: list[NearRow] = []  # most similar first


class FoundInIndex(Part):
    """All of them, and whether silence means anything."""

    index: str
    digest: str
    images: int
    encoder: str
    approximate: str | None  # the approximate index that proposed rows; None = the search was exact
    recall: Estimate | None  # of the nearest row, as measured on that index; None = exact
    silence: Outcome  # "pass": what was not found is not there, as far as the policy asks; else "cannot conclude"
    reasons: list[str]
    remedies: list[str]
    found: list[FoundImage]
