"""The record's part about images that were made elsewhere, where no checkpoint was audited."""

from __future__ import annotations

from auditor.store.parts import Part


class GivenImage(Part):
    """One of them, as whoever made it describes it."""

    id: str
    prompt: str | None = None
    seed: str | None = None


class GivenImages(Part):
    """A set of images, of which it is not known which pipeline made them, nor whether others were left out."""

    path: str  # as the user gave it
    digest: str  # SHA-256 over the set's digest, its unreadable ids, prompts and seeds
    images: int  # readable
    unreadable: list[tuple[str, str]] = []  # (id, reason)
    repeats: int  # readable ones left out, since another has the same pixels, prompt and seed
    shape: list[int]  # C, H, W
    prompted: int  # images of known prompt, of those that are left
    prompts: int  # distinct
    seeded: int  # images of known seed
    units: int  # independent trials of the rates
    unit: str  # what one is
    shown: dict[int, GivenImage] = {}  # by number: those that the record names as probes
