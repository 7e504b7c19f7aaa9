"""What a checkpoint is asked for while a record is attacked: the record's own caption or class, if all state one."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from auditor.checkpoint.load import LoadedCheckpoint
from auditor.diffusion.denoiser import Denoiser
from auditor.errors import ConfigError
from auditor.stages.inputs import Images, Inputs
from auditor.stages.memorizer import class_labels

BLOCK = 512  # images whose captions are read at a time


def stated_captions(images: Images, ids: Sequence[str]) -> dict[str, str]:
    """Captions by id, of those images that state one."""
    found: dict[str, str] = {}
    for batch in images.source.batches(BLOCK, only=frozenset(ids)):
        texts = zip(batch.ids, batch.captions, strict=True)
        found.update({name: caption.strip() for name, caption in texts if caption and caption.strip()})
    return found


def attacks_by_caption(inputs: Inputs, named: Sequence[str], guidance: float | None) -> bool:
    """Whether every image is attacked under its own caption: of a text-to-image checkpoint, if all records state one.

    Otherwise none is: a record under its caption beside one without would be no competition on equal terms.

    Raises:
      ConfigError: Guidance to captions that are not there.
    """
    if inputs.checkpoint.text is None:
        return False
    missing = sorted(set(named) - stated_captions(inputs.train, named).keys())
    if missing and guidance is not None:
        got = f"{guidance} and {len(missing):,} named records without a caption (such as {missing[0]!r})"
        raise ConfigError("generation.guidance_scale", got, "captions to guide to", "Add them, or remove the option.")
    return not missing


def all_classes_stated(checkpoint: LoadedCheckpoint, sides: Sequence[tuple[Images, Sequence[str]]]) -> bool:
    """Whether every image of both sides states its class."""
    labels = [class_labels(images, ids, checkpoint.num_classes) for images, ids in sides if ids]
    return len(labels) > 0 and all(label is not None for label in labels)


def conditioned(
    checkpoint: LoadedCheckpoint,
    images: Images,
    names: Sequence[str],
    draws: int,
    guidance: float | None,
    *,
    stated: bool,
) -> tuple[Denoiser, torch.Tensor | None]:
    """The denoiser, and its condition Int64[len(names) draws]; None of a checkpoint that is asked for nothing.

    Args:
      stated: Whether every contestant states its caption or class. Otherwise text-to-image checkpoints are asked for
        nothing, and the draws of each image ask class-conditional ones for class 0, 1, ..., the same for every image.
    """
    condition: torch.Tensor | None = None
    if checkpoint.text is not None:
        if stated:
            captions = stated_captions(images, names)
            checkpoint = checkpoint.with_prompts([captions[name] for name in names])
            condition = torch.arange(len(names)).repeat_interleave(draws)
    elif checkpoint.num_classes is not None:
        labels = class_labels(images, names, checkpoint.num_classes) if stated else None
        if labels is None:
            condition = (torch.arange(draws) % checkpoint.num_classes).repeat(len(names))
        else:
            condition = labels.repeat_interleave(draws)
    return checkpoint.denoiser if guidance is None else checkpoint.guided(guidance), condition
