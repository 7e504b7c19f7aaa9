"""The reported attacks on a network that was not trained on the members: fresh weights, or an unrelated checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from auditor.config import AuditConfig
from auditor.membership.evaluate import Side
from auditor.probes import choose
from auditor.progress import Progress
from auditor.stages.inputs import Inputs
from auditor.stages.membership.scores import Source, attack, swept
from auditor.stages.networks import UNTRAINED as FRESH
from auditor.stages.networks import under
from auditor.store.membership import Attack
from auditor.store.record import Check
from auditor.store.run_directory import RunDirectory
from auditor.validity.untrained import SAMPLE, UNTRAINED, untrained_check


@dataclass(frozen=True)
class Controlled:
    """The check, and what it cost."""

    check: Check
    evaluations: int


def negative_control(
    run: RunDirectory,
    inputs: Inputs,
    sides: Sequence[Side],
    attacks: Sequence[Attack],
    config: AuditConfig,
    seed: str,
    labelled: bool,
    show: Progress,
) -> Controlled:
    """The same attacks, at the variants reported, on at most 300 of the reported images a side.

    Only images of the report are taken: the variant was chosen with the labels of the others, and an attack's scores
    under two networks resemble each other where the image itself sways them.

    Args:
      sides: Members and non-members as reported.
      attacks: As reported; those that need more than a denoiser's predictions are left out.
      labelled: Whether true classes are given to a class-conditional network; never to one with other classes.

    Raises:
      CheckpointError: The control changed after it was scanned.
    """
    controlled = under(inputs, inputs.control.digest if inputs.control else FRESH, seed)
    labelled = labelled and controlled.checkpoint.num_classes == inputs.checkpoint.num_classes
    kinds = [entry.name for entry in attacks if entry.name in swept(config)]
    variants = {entry.name: entry.variant for entry in attacks}
    names = ("members", "nonmembers")
    chosen = [choose(seed, f"control/{name}", reported(side), SAMPLE) for name, side in zip(names, sides, strict=True)]
    total = sum(len(ids) for ids in chosen)
    with show.stage(f"negative control on {total} images", total, "image") as meter:
        images = inputs.train, inputs.holdout
        sources = [Source(*side) for side in zip(images, chosen, names, strict=True)]
        tables = attack(run, controlled, sources, config, seed, labelled, meter, kinds=kinds, stage="control")
    scores = {kind: (tables[0].scores[kind][variants[kind]], tables[1].scores[kind][variants[kind]]) for kind in kinds}
    network = UNTRAINED if inputs.control is None else "the unrelated checkpoint"
    check = untrained_check(scores, network, config.copies.level)
    return Controlled(check, sum(table.evaluations for table in tables))


def reported(side: Side) -> list[str]:
    """Ids of the images that the report rests on."""
    return [name for name, used in zip(side.table.ids, side.calibration, strict=True) if not used]
