"""The attacks that no sweep of the audited checkpoint alone can serve: against other checkpoints, and by gradients."""

from __future__ import annotations

from collections.abc import Sequence

from auditor.config import AuditConfig
from auditor.diffusion.score_table import ScoreTable
from auditor.membership.combined import NAME as COMBINED
from auditor.membership.evaluate import Side
from auditor.membership.gsa import GSA
from auditor.membership.references import LEAST_REFERENCES
from auditor.progress import Progress
from auditor.stages.inputs import Inputs
from auditor.stages.membership.gradients import attack_by_gradients
from auditor.stages.membership.references import attack_with_references
from auditor.stages.membership.scores import Source, swept
from auditor.store.run_directory import RunDirectory
from auditor.store.wording import AGAINST_BASE


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


def further_evaluations(config: AuditConfig, table: ScoreTable) -> int:
    """Evaluations per image for these attacks, as if all networks cost the same.

    Args:
      config: What is asked for.
      table: The sweep of one image, for what its attacks cost.
    """
    asked = config.membership
    cost = {"base": table.evaluations, "reference": table.per_image.get("loss", 0)}
    gradients = GSA().evaluations_per_image if "gsa" in asked.attacks else 0
    return gradients + sum(cost[reference.role] for reference in asked.references)


def reported_attacks(config: AuditConfig) -> list[str]:
    """Names of all attacks that a record has if every image has references enough; they share lower bounds."""
    kinds = swept(config)
    names = list(kinds)
    roles = [reference.role for reference in config.membership.references]
    if "base" in roles:
        names += [f"{kind}{AGAINST_BASE}" for kind in kinds]
    if "reference" in roles:
        names += ["lira"] * (roles.count("reference") >= LEAST_REFERENCES) + ["rmia"]
    return [*names, *(kind for kind in config.membership.attacks if kind not in kinds), COMBINED]
