"""The classes under which the images of a class-conditional checkpoint are tested."""

from __future__ import annotations

from auditor.config import AuditConfig
from auditor.data.captions import stated_class
from auditor.errors import ConfigError
from auditor.stages.inputs import Inputs
from auditor.store.digest import value_digest

PART = 128  # images read at a time


def count_unlabelled(inputs: Inputs, members: list[str], nonmembers: list[str]) -> int:
    """How many images state no class (or no caption) for a checkpoint that takes one; 0 for an unconditional one."""
    classes, count = inputs.checkpoint.num_classes, 0
    by_text = inputs.checkpoint.text is not None
    if classes is None and not by_text:
        return 0
    for images, ids in ((inputs.train, members), (inputs.holdout, nonmembers)):
        for batch in images.source.batches(PART, only=frozenset(ids)):
            count += sum(not states(caption, classes) for caption in batch.captions)
    return count


def states(caption: str | None, classes: int | None) -> bool:
    """Whether a caption can be given to the checkpoint: as text where it has no classes, else as a class number."""
    if classes is None:
        return bool(caption and caption.strip())
    return stated_class(caption, classes) is not None


def label_notes(unlabelled: int, total: int, *, by_text: bool) -> list[str]:
    """What the record says where membership was tested without the conditions that the images were trained under."""
    if unlabelled == 0:
        return []
    if by_text:
        return [
            f"Membership under the true captions: {unlabelled:,} of {total:,} images state none, so that members and "
            "non-members alike were tested under the empty prompt, where signals are weaker."
        ]
    return [
        f"Membership under the true classes: {unlabelled:,} of {total:,} images state no class number as caption, so "
        "that members and non-members alike were tested under classes drawn at random, where signals are weaker."
    ]


def refuse_uncaptioned(config: AuditConfig, unlabelled: int, total: int) -> None:
    """CLiD compares with and without caption, so every image needs one.

    Raises:
      ConfigError: It is asked for, and an image states no caption.
    """
    if unlabelled and "clid" in config.membership.attacks:
        got = f"clid, and {unlabelled:,} of {total:,} images without caption"
        raise ConfigError("membership.attacks", got, "a caption for every image", "Leave clid out, or add captions.")


def label_of(name: str, caption: str | None, stream: str, classes: int) -> int:
    """The class that a caption names by its number; else one that depends on the image's id and nothing else."""
    stated = stated_class(caption, classes)
    if stated is not None:
        return stated
    return int(value_digest([stream, name])[:12], 16) % classes
