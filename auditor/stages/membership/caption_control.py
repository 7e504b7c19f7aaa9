"""CLiD under the captions of other images: what remains of its signal is not about an image and its caption."""

from __future__ import annotations

from collections.abc import Sequence

from auditor.config import AuditConfig
from auditor.membership.clid import SHUFFLED
from auditor.membership.evaluate import Side
from auditor.progress import Progress
from auditor.stages.inputs import Inputs
from auditor.stages.membership.negative_control import reported
from auditor.stages.membership.scores import Source, attack
from auditor.stats.delong import auc_interval
from auditor.store.membership import Attack, CaptionControl
from auditor.store.run_directory import RunDirectory


def caption_control(
    run: RunDirectory,
    inputs: Inputs,
    sides: Sequence[Side],
    attacks: Sequence[Attack],
    config: AuditConfig,
    seed: str,
    show: Progress,
) -> CaptionControl | None:
    """The same attack on the reported images, each under the caption of another one of its side; None without CLiD.

    Args:
      sides: Members and non-members as reported.
      attacks: As reported; CLiD's variant is repeated.
    """
    own = next((entry for entry in attacks if entry.name == "clid"), None)
    if own is None:
        return None
    names, images = ("members", "nonmembers"), (inputs.train, inputs.holdout)
    chosen = [sorted(reported(side)) for side in sides]
    sources = [Source(*source) for source in zip(images, chosen, names, strict=True)]
    total = sum(len(ids) for ids in chosen)
    with show.stage(f"captions of other images on {total} images", total, "image") as meter:
        tables = attack(run, inputs, sources, config, seed, True, meter, kinds=[SHUFFLED], stage="captions")
    ours, theirs = (table.scores[SHUFFLED][own.variant] for table in tables)
    shuffled = auc_interval(ours, theirs, level=config.copies.level, name="AUC of CLiD under captions of other images")
    return CaptionControl(own=own.auc, shuffled=shuffled, evaluations=sum(table.evaluations for table in tables))
