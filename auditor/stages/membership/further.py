"""The attacks that no sweep of the audited checkpoint alone can serve: against other checkpoints, and by gradients."""

from __future__ import annotations

from collections.abc import Sequence

from auditor.config import AuditConfig
from auditor.diffusion.score_table import ScoreTable
from auditor.membership.evaluate import Side
from auditor.membership.gsa import GSA
from auditor.progress import Progress
from auditor.stages.inputs import Inputs
from auditor.stages.membership.gradients import attack_by_gradients
from auditor.stages.membership.references import Source, attack_with_references
from auditor.store.run_directory import RunDirectory


def attack_further(
    run: RunDirectory,
    inputs: Inputs,
    sides: Sequence[Side],
    sources: Sequence[Source],
    config: AuditConfig,
    seed: str,
    labelled: bool,
    show: Progress,
) -> tuple[list[Side], list[str]]:
    """Members and non-members with what the configuration asks for beyond the sweep, and notes on what was not made.

    Sides with fewer than two images to calibrate on stay as they are: their evaluation is refused.

    Args:
      sides: Members and non-members, swept.
      sources: Their images.
      labelled: Whether captions are true classes; see :func:`auditor.stages.membership.scores.batches`.
    """
    result, notes = list(sides), list[str]()
    if min(int(side.calibration.sum()) for side in sides) < 2:
        return result, notes
    if inputs.references:
        result, said = attack_with_references(run, inputs, result, sources, config, seed, labelled, show)
        notes += said
    if "gsa" in config.membership.attacks:
        result, said = attack_by_gradients(run, inputs, result, sources, config, seed, labelled, show)
        notes += said
    return result, notes


def further_evaluations(config: AuditConfig, swept: ScoreTable) -> int:
    """Evaluations per image for these attacks, as if all networks cost the same.

    Args:
      config: What is asked for.
      swept: The sweep of one image, for what its attacks cost.
    """
    asked = config.membership
    cost = {"base": swept.evaluations, "reference": swept.per_image.get("loss", 0)}
    gradients = GSA().evaluations_per_image if "gsa" in asked.attacks else 0
    return gradients + sum(cost[reference.role] for reference in asked.references)
