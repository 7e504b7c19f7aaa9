"""What the reports say about images made elsewhere, in the place of a checkpoint and its probes."""

from __future__ import annotations

from auditor.store.given import GivenImage, GivenImages
from auditor.store.record import Record
from auditor.store.wording import count

UNKNOWN = "none was given: which pipeline made the images, with which sampler and weights, is unknown"
PROBE = (
    "One of the images made elsewhere, by its number in the order of ids. It stands where an audit of a checkpoint "
    "would draw noise and generate."
)


def size_sentence(given: GivenImages) -> str:
    """How many images, and what was left out."""
    said = f"{count(given.images, 'image')} of {' x '.join(map(str, given.shape))} (channels x height x width)"
    if given.unreadable:
        said += f", {len(given.unreadable):,} unreadable besides"
    if given.repeats:
        said += f"; {count(given.repeats, 'repeat')} of another's pixels, prompt and seed left out"
    return f"{said}."


def unit_sentence(given: GivenImages) -> str:
    """What is known of prompts and seeds, and what counts as one trial."""
    left = given.images - given.repeats
    if not given.prompted and not given.seeded:
        return "Neither prompts nor seeds are known: each image counts as one independent generation."
    prompts = f"{given.prompted:,} of {left:,} ({given.prompts:,} distinct)"
    said = f"Prompts are known for {prompts}, seeds for {given.seeded:,}. "
    if given.units == left:
        return f"{said}No two share one, so each counts as one trial."
    return f"{said}Images of one prompt are no independent trials: rates count {given.units:,} {given.unit}."


def probe_name(record: Record, probe: int) -> str:
    """What a report calls a generation: the id of an image made elsewhere, else the number of its probe."""
    image = named(record, probe)
    return f"probe {probe}" if image is None else f"image {image.id}"


def named(record: Record, probe: int) -> GivenImage | None:
    """What is known of an image made elsewhere that the record names; None for a checkpoint's generation."""
    return record.images.shown.get(probe) if record.images else None
