"""Whether the audit itself can be relied on: blocking checks, coverage, and how the probes were drawn."""

from __future__ import annotations

from collections.abc import Sequence

from auditor.policy.copies import primary_competition
from auditor.policy.ruling import Precedence, Ruling, ruling
from auditor.policy.schema import Policy
from auditor.store.record import Check, Competition, Record
from auditor.store.wording import percent

# What each failed or missing check calls for.
REMEDIES = {
    "placebo": "Held-out images and training images are not alike: draw the held-out set at random from the same pool, "
    "by duplicate group (`auditor split`, before training), and audit again.",
    "blind": "Training and held-out images can be told apart without the model: draw both from the same pool, with the "
    "same filters, resolution and file format (`auditor split`, before training), and audit again.",
    "positive-control": "The audit does not find copies that are there: use an encoder suited to the images, or more "
    "images, until the positive control is found.",
    "resolving": "List an encoder first that tells copies from look-alikes on this data.",
    "untrained": "A network that was not trained on the members tells them from the others, so the sets differ by "
    "themselves: draw both from the same pool, with the same filters, resolution and file format (`auditor split`, "
    "before training), and audit again.",
    "prompts": "Draw prompts from the captions of both sets alike, as is the default, and audit again.",
    "captions": "Training and held-out captions can be told apart without the model, and what a caption says moves "
    "whatever is asked for by it: draw both from the same pool, with the captions they had in training "
    "(`auditor split`, before training), and audit again.",
    "coverage": "Repair or replace the unreadable images named in the record, and audit again.",
}
MORE_IMAGES = "Give more training and held-out images: with these, the check could not have seen a fault."
SPLIT_CHECKS = ("placebo", "blind", "captions", "untrained")  # about the two sets, whatever encoder saw them


def validity_rulings(record: Record, policy: Policy) -> list[Ruling]:
    """Blocking checks first, then what the policy requires besides."""
    primary = primary_competition(record.copies)
    checks = [check for check in record.checks if _concerns(check, primary.encoder if primary else None)]
    made = {check.id for check in checks}
    absent = [_absent(id) for id in policy.validity.required if id not in made]
    required = frozenset(policy.validity.required)
    made_or_missed = [*(_check(check, check.id in required) for check in checks), *absent]
    return [*made_or_missed, _coverage(record, policy), *_level(record, primary, policy)]


def _concerns(check: Check, primary: str | None) -> bool:
    """Whether a check bears on the verdict: not if it concerns an encoder that takes no part in it.

    A training set that differs from the held-out set under any encoder does bear on it.
    """
    return check.encoder in (None, primary) or (check.id in SPLIT_CHECKS and check.status == "failed")


def _check(check: Check, required: bool) -> Ruling:
    id = f"validity.{check.id}" + (f".{check.encoder}" if check.encoder else "")
    statement = check.statement
    if check.p_adjusted is not None:
        statement = f"{statement.removesuffix('.')} (p = {check.p_adjusted:.3g}, adjusted over all checks)."
    if check.status == "failed":
        return ruling(id, check.title, "cannot conclude", statement, REMEDIES[check.id], Precedence.BLOCKED)
    if check.status == "passed":
        return ruling(id, check.title, "pass", statement)
    if not required:
        return ruling(id, check.title, "pass", f"Not tested, and not required: {statement}")
    return ruling(id, check.title, "cannot conclude", f"Not tested: {statement}", MORE_IMAGES)


def _absent(id: str) -> Ruling:
    statement = f"The check {id} was not made, and the policy requires it."
    return ruling(f"validity.{id}", f"Check {id}", "cannot conclude", statement, REMEDIES[id])


def _coverage(record: Record, policy: Policy) -> Ruling:
    least, wanted = min(_shares(record), key=lambda share: share[1]), policy.power.min_coverage
    statement = f"{percent(least[1])} of {least[0]} could be used; the policy asks for {percent(wanted)}."
    if least[1] >= wanted:
        return ruling("power.coverage", "Coverage", "pass", statement)
    remedy = f"Find out why some {least[0]} could not be used (the record names them), repair them, and audit again."
    return ruling("power.coverage", "Coverage", "cannot conclude", statement, remedy)


def _level(record: Record, primary: Competition | None, policy: Policy) -> list[Ruling]:
    """A rule only where a bound that the verdict rests on holds with less confidence than the policy asks for."""
    bounds = [] if primary is None else [primary.lower_bound, primary.copy_rate, primary.planted_recall]
    for attack in record.membership.attacks if record.membership else []:
        bounds += [attack.auc, attack.excess_over_blind, attack.tpr_at_1pct_fpr]
    least = min((bound.level for bound in bounds if bound.level is not None), default=1.0)
    if least >= policy.power.min_level:
        return []
    statement = (
        f"The bounds hold with {percent(least)} confidence; the policy asks for {percent(policy.power.min_level)}."
    )
    remedy = f"Set copies.level to {policy.power.min_level:g} or more and audit again."
    return [ruling("power.level", "Confidence of the bounds", "cannot conclude", statement, remedy)]


def _shares(record: Record) -> Sequence[tuple[str, float]]:
    """What was used of what there was, by kind; 0 of 0 is no coverage."""
    generation = record.generation
    shares = [
        ("training images", _share(record.training.images, len(record.training.unreadable))),
        ("held-out images", _share(record.holdout.images, len(record.holdout.unreadable))),
        ("generations", _share(generation.probes - generation.non_finite, generation.non_finite)),
    ]
    if record.membership is not None:
        scored, lost = record.membership.members + record.membership.nonmembers, len(record.membership.unscored)
        shares.append(("membership scores", _share(scored, lost)))
    return shares


def _share(used: int, lost: int) -> float:
    return used / (used + lost) if used + lost > 0 else 0.0


def probes_ruling(record: Record, policy: Policy) -> Ruling:
    """Pinned probes withhold a pass unless the policy allows them: the trainer could have known them."""
    title = "Probes unknown to the trainer"
    if record.images is not None:
        return _given_ruling(policy)
    if not record.generation.seed_pinned:
        statement = "The probe noise was drawn from a secret salt at audit time."
        return ruling("probes.secret", title, "pass", statement)
    if policy.probes.allow_pinned:
        statement = "The probe noise was pinned in the configuration, which the policy allows."
        return ruling("probes.secret", title, "pass", statement)
    statement = (
        "The probe noise was pinned in the configuration, so a trainer could have prepared the checkpoint for it."
    )
    remedy = "Remove generation.salt from the configuration and audit again; only demos should allow pinned probes."
    return ruling("probes.secret", title, "cannot conclude", statement, remedy)


def _given_ruling(policy: Policy) -> Ruling:
    """Images made elsewhere withhold a pass unless the policy allows them: nobody can see whether they were chosen."""
    id, title = "probes.given", "Images not chosen"
    statement = "The images were made elsewhere; whether any were left out cannot be tested"
    if policy.probes.allow_given:
        return ruling(id, title, "pass", f"{statement}, which the policy allows.")
    remedy = (
        "Audit the checkpoint itself, on probes that are drawn at audit time; or make the images yourself, leave none "
        "out, and say so in the policy (probes.allow_given = true)."
    )
    return ruling(id, title, "cannot conclude", f"{statement}.", remedy)
