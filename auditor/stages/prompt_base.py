"""Prompts on the base of a fine-tune, under the same noises, so that what it knows is not charged to the fine-tune."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from auditor.checkpoint.asked import Asked
from auditor.checkpoint.load import LoadedCheckpoint, load
from auditor.checkpoint.scan import scan
from auditor.errors import ConfigError
from auditor.prompts.base import DETECTORS, Detector
from auditor.prompts.contrast import Contrast, contrast
from auditor.ranking_config import RankingConfig
from auditor.stages.prompt_record import NO_CALLS, Sides, features_of
from auditor.stages.prompts import Scores, calibrated_score, choose_detectors
from auditor.store.prompts import BaseOfPrompts, PromptBase
from auditor.store.record import Checkpoint
from auditor.store.wording import count


@dataclass(frozen=True)
class OnBase:
    """The base and its scores of tested prompts and controls, in the order of the fine-tune's."""

    checkpoint: Checkpoint
    scores: Scores


def opened_as(asked: RankingConfig, path: Path) -> Asked:
    """What the checkpoint is opened with beside its adapter, and its base; one configuration describes single files."""
    size = None if asked.image_size is None else (asked.image_size, asked.image_size)
    config = asked.config if path.is_file() else None
    return Asked(image_size=size, config=config, dtype=asked.dtype, offload=asked.offload)


def open_base(asked: RankingConfig, fine_tune: LoadedCheckpoint, device: str) -> LoadedCheckpoint | None:
    """The base asked for, without the adapter, fit to stand beside the fine-tune; None if none was asked for.

    Raises:
      ConfigError: It takes no text, or other samples than the fine-tune, or has another schedule.
      AuditError: As for any checkpoint.
    """
    if asked.base is None:
        return None
    remedy = "Name what the checkpoint was fine-tuned from."
    base = load(scan(asked.base, allow_pickle=asked.allow_pickle, asked=opened_as(asked, asked.base)), device=device)
    if base.text is None:
        got = f"{base.info.pipeline}, which takes no text"
        raise ConfigError("base", got, "a text-to-image checkpoint", remedy)
    ours, theirs = fine_tune.denoiser, base.denoiser
    if ours.sample_shape != theirs.sample_shape:
        expected = f"{ours.sample_shape}, as of the fine-tune"
        raise ConfigError("base: samples", str(theirs.sample_shape), expected, remedy)
    if not np.array_equal(ours.schedule.signal_scale, theirs.schedule.signal_scale):
        expected = "the fine-tune's, so that the same noise asks both the same"
        raise ConfigError("base: schedule", "other noise levels", expected, remedy)
    return base


def common_detectors(
    checkpoints: Sequence[LoadedCheckpoint], asked: RankingConfig
) -> tuple[list[Detector], dict[str, str]]:
    """Detectors that all of the checkpoints allow, and why the others are left out.

    Raises:
      ConfigError: None is left.
    """
    left_out: dict[str, str] = {}
    for checkpoint in checkpoints:
        left_out = choose_detectors(checkpoint, checkpoint.with_prompts([""]).denoiser, asked)[1] | left_out
    detectors = [DETECTORS[name] for name in asked.detectors if name not in left_out]
    if not detectors:
        remedy = "Ask for magnitude, which every text-to-image checkpoint allows."
        raise ConfigError("detectors", "; ".join(left_out.values()), "one that can be run", remedy)
    return detectors, left_out


def beside_base(
    found: Mapping[str, Any], sides: Sides, scores: Scores, base: OnBase, fine_tune: Checkpoint, alpha: float
) -> dict[str, Any]:
    """What :func:`auditor.stages.prompt_record.assemble` found, joined with who is shown to know each prompt.

    Prompts that the fine-tune added come first; otherwise their order stays.
    """
    n, features, deciding = len(sides.tested), features_of(sides), found["deciding"]
    contrasts = {
        name: contrast((own[:n], own[n:]), (theirs[:n], theirs[n:]), features, alpha)
        for name, own in scores.by_detector.items()
        for theirs in (base.scores.by_detector[name],)
        if found["comparison"].status not in NO_CALLS
    }
    row_of = {one.prompt: row for row, one in enumerate(sides.tested)}
    prompts = [
        one.model_copy(update={"base": on_base(row_of[one.prompt], scores, base.scores, contrasts)})
        if one.prompt in row_of
        else one
        for one in found["prompts"]
    ]
    detectors = [
        one.model_copy(update={"added": contrasts[one.name].origin.count("added")}) if one.name in contrasts else one
        for one in found["detectors"]
    ]
    decides = contrasts.get(deciding)
    entry = describe_base(base, decides, alpha)
    risen = 0
    if decides is not None:
        risen = sum(
            origin == "base" and q <= alpha for origin, q in zip(decides.origin, decides.rise.q_values, strict=True)
        )
    return {
        **found,
        "base": entry,
        "detectors": detectors,
        "prompts": sorted(prompts, key=lambda one: not (one.base and one.base[deciding].origin == "added")),
        "notes": [*found["notes"], *base_notes(entry, fine_tune, risen)],
    }


def on_base(row: int, scores: Scores, base: Scores, found: Mapping[str, Contrast]) -> dict[str, PromptBase]:
    """One prompt's entries by detector; ``found`` is empty where nothing may be called."""
    entries = {}
    for name, theirs in base.by_detector.items():
        own, rise = found.get(name), scores.by_detector[name] - theirs
        entries[name] = PromptBase(
            score=calibrated_score(row, theirs, None if own is None else own.base),
            rise=calibrated_score(row, rise, None if own is None else own.rise),
            origin=own.origin[row] if own else None,
            p_value=None if own is None or np.isnan(own.p_values[row]) else float(own.p_values[row]),
            q_value=None if own is None or np.isnan(own.q_values[row]) else float(own.q_values[row]),
        )
    return entries


def describe_base(base: OnBase, deciding: Contrast | None, alpha: float) -> BaseOfPrompts:
    """The base's entry in the record."""
    origin = deciding.origin if deciding else ()
    return BaseOfPrompts(
        checkpoint=base.checkpoint,
        evaluations=base.scores.made,
        called=int((deciding.base.q_values <= alpha).sum()) if deciding else 0,
        added=origin.count("added"),
        shared=origin.count("base"),
        undecided=origin.count("undecided"),
    )


def base_notes(base: BaseOfPrompts, fine_tune: Checkpoint, risen: int) -> list[str]:
    """What a reader has to know of the base.

    Args:
      base: Its entry.
      fine_tune: The checkpoint beside it.
      risen: Prompts called on both whose score rose by more than controls' at the level, each by its own q-value.
    """
    said = []
    if base.checkpoint.digest == fine_tune.digest:
        said.append("The base is the checkpoint itself: nothing can be added.")
    if base.undecided:
        said.append(
            f"{count(base.undecided, 'prompt')} called on the fine-tune and not on its base, but not risen by more "
            "than control prompts: fine-tuning moves prompts that it did not see, too, so these are not charged to it."
        )
    if risen:
        said.append(f"Of the base's prompts, {risen:,} rose on the fine-tune by more than control prompts did.")
    return said
