"""The classes under which the images of a class-conditional checkpoint are tested."""

from __future__ import annotations

from auditor.data.captions import stated_class
from auditor.stages.inputs import Inputs
from auditor.store.digest import value_digest

PART = 128  # images read at a time


def count_unlabelled(inputs: Inputs, members: list[str], nonmembers: list[str]) -> int:
    """How many images a class-conditional checkpoint has no true class for; 0 for an unconditional one."""
    classes, count = inputs.checkpoint.num_classes, 0
    if classes is None:
        return 0
    for images, ids in ((inputs.train, members), (inputs.holdout, nonmembers)):
        for batch in images.source.batches(PART, only=frozenset(ids)):
            count += sum(stated_class(caption, classes) is None for caption in batch.captions)
    return count


def label_notes(unlabelled: int, total: int) -> list[str]:
    """What the record says where membership was tested without the classes that the images were trained under."""
    if unlabelled == 0:
        return []
    return [
        f"Membership under the true classes: {unlabelled:,} of {total:,} images state no class number as caption, so "
        "that members and non-members alike were tested under classes drawn at random, where signals are weaker."
    ]


def label_of(name: str, caption: str | None, stream: str, classes: int) -> int:
    """The class that a caption names by its number; else one that depends on the image's id and nothing else."""
    stated = stated_class(caption, classes)
    if stated is not None:
        return stated
    return int(value_digest([stream, name])[:12], 16) % classes
