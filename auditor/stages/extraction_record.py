"""What extract.json keeps of the attacks: verdicts per record, figures per attack, pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from auditor.copies.compete import Contest
from auditor.copies.extraction import Outcome
from auditor.stages.contestants import Contestants
from auditor.stages.extraction import Answers, AttackPlan
from auditor.stages.inputs import Inputs
from auditor.stages.pictures import save_images, save_png
from auditor.stats.power import competition_floor
from auditor.store.digest import value_digest
from auditor.store.extraction import AttackedRecord, AttackResult, Attempt, Verdict
from auditor.store.parts import Estimate
from auditor.store.wording import count

SUSPICIOUS = 0.05  # p-value of one record over all attacks
SHOWN = 24  # records with pictures, extracted ones first
ORDER: dict[Verdict, int] = {"extracted": 0, "suspect": 1, "not extracted": 2, "untestable": 3}


def records_of(
    wanted: Sequence[str],
    contestants: Contestants,
    plans: Sequence[AttackPlan],
    answers: Answers,
    margin: NDArray[np.float64],
    outcome: Outcome,
    alpha: float,
) -> list[AttackedRecord]:
    """One entry per distinct named record, extracted ones first, then by their largest margin."""
    place = {name: row for row, name in enumerate(contestants.records)}
    untestable = set(contestants.untestable)
    entries = []
    for name in wanted:
        if name in untestable:
            entries.append(_untestable(name, contestants))
        elif name in place:
            entries.append(_entry(place[name], contestants, plans, answers, margin, outcome, alpha))
    best = {entry.id: max((attempt.margin for attempt in entry.attempts), default=-np.inf) for entry in entries}
    return sorted(entries, key=lambda entry: (ORDER[entry.verdict], -best[entry.id], entry.id))


def _untestable(name: str, contestants: Contestants) -> AttackedRecord:
    why = "a near-duplicate is among the held-out images, so nothing tells the two apart"
    return AttackedRecord(
        id=name, verdict="untestable", why=why, also=contestants.also.get(name, []),
        times_in_set=contestants.times[name], nearest_other=0.0,
    )  # fmt: skip


def _entry(
    row: int,
    contestants: Contestants,
    plans: Sequence[AttackPlan],
    answers: Answers,
    margin: NDArray[np.float64],
    outcome: Outcome,
    alpha: float,
) -> AttackedRecord:
    n, name = len(contestants.records), contestants.records[row]
    matched = contestants.matched[row]
    attempts = [
        Attempt(
            attack=plan.name,
            similarity=float(np.nan_to_num(answers.similarity[attack, row], nan=-1.0)),
            margin=float(max(margin[attack, row], -99.0)),
            matched=len(matched),
            matched_below=int((margin[attack, n + matched] < margin[attack, row]).sum()),
            p_value=float(outcome.p_value[attack, row]),
        )
        for attack, plan in enumerate(plans)
    ]
    q_value = float(outcome.q_value[row])
    verdict, why = _verdict(row, contestants, attempts, outcome, q_value, alpha)
    return AttackedRecord(
        id=name,
        verdict=verdict,
        why=why,
        also=contestants.also[name],
        times_in_set=contestants.times[name],
        nearest_other=float(contestants.nearest_other[row]),
        q_value=None if np.isnan(q_value) else q_value,
        p_value=min(1.0, len(plans) * min(attempt.p_value for attempt in attempts)),
        attempts=attempts,
        matched_id=contestants.holdout[int(matched[0])] if len(matched) else None,
    )


def _verdict(
    row: int,
    contestants: Contestants,
    attempts: Sequence[Attempt],
    outcome: Outcome,
    q_value: float,
    alpha: float,
) -> tuple[Verdict, str]:
    """A record with p <= 0.05 of its own over all attacks, not certified among the others, is a suspect."""
    p_value = len(attempts) * min(attempt.p_value for attempt in attempts)
    if outcome.certified[row] and contestants.resolving:
        best = max(attempts, key=lambda attempt: (-attempt.p_value, attempt.margin))
        return "extracted", f"{best.attack} brings it back as held-out images are not brought back"
    if p_value > SUSPICIOUS:
        return "not extracted", _no_suspect(len(contestants.holdout), attempts, p_value)
    if not contestants.resolving:
        return "suspect", "the encoder does not tell copies from look-alikes on this data"
    return "suspect", f"p = {p_value:.2g} by itself, but q = {q_value:.2g} among the records named is above {alpha:g}"


def _no_suspect(holdout: int, attempts: Sequence[Attempt], p_value: float) -> str:
    """Why a record is not even a suspect: its rivals, or that there are too few to show anything."""
    if min(attempt.p_value for attempt in attempts) * (holdout + 1) > 1 + 1e-9:
        return "held-out images are brought back as well"
    return (
        f"one attack at least brings it back better than all {holdout:,} held-out images, but p = {p_value:.2g} over "
        f"{count(len(attempts), 'attack')} is the least that so few can show"
    )


def attack_results(
    plans: Sequence[AttackPlan],
    outcome: Outcome,
    margin: NDArray[np.float64],
    contestants: Contestants,
    answers: Answers,
    draws: int,
    level: float,
) -> list[AttackResult]:
    """One entry per attack, in their order."""
    n, m = len(contestants.records), len(contestants.holdout)
    results = []
    for attack, (plan, contest) in enumerate(zip(plans, outcome.contests, strict=True)):
        results.append(
            AttackResult(
                name=plan.name,
                sigma=plan.sigma,
                hidden_share=None if plan.measurement is None else plan.measurement.hidden_share,
                records=n,
                holdout=m,
                record_hits=int((margin[attack, :n] > 0).sum()),
                holdout_hits=int((margin[attack, n:] > 0).sum()),
                certified=int(contest.certified.sum()) if contestants.resolving else 0,
                lower_bound=bound_of_attack(contest, contestants, len(plans), level),
                failed_answers=int(answers.failed[attack]),
                denoiser_evaluations=(n + m) * draws * plan.evaluations,
            )
        )
    return results


def bound_of_attack(contest: Contest, contestants: Contestants, attacks: int, level: float) -> Estimate:
    """X of one attack, or why there is none: an encoder that takes look-alikes for copies bounds no extraction."""
    name, unit = "records extracted by this attack, at least", "distinct records"
    if not contestants.resolving:
        reason = "the encoder does not tell copies from look-alikes on this data"
        return Estimate(name=name, value=None, level=level, unit=unit, unscored=reason)
    bound = float(contest.lower_bound)
    method = f"exact negative hypergeometric bounds, Bonferroni over {attacks} attacks"
    total = len(contestants.ids)
    return Estimate(name=name, value=bound, lower=bound, level=level, method=method, n=total, unit=unit)


def notes_of(contestants: Contestants, named: int, alpha: float, attacks: int) -> list[str]:
    """What a reader has to know about these sizes and images."""
    n, m = len(contestants.records), len(contestants.holdout)
    notes = []
    also = sum(map(len, contestants.also.values()))
    if also:
        notes.append(f"{also:,} of the {named:,} named records are near-duplicates of others, and count with them.")
    if contestants.untestable:
        notes.append(
            f"{len(contestants.untestable):,} have a near-duplicate among the held-out images and cannot be tested."
        )
    floor = competition_floor(n, m, alpha / attacks) if n else 0
    if floor > n:
        notes.append(
            f"With {m:,} held-out images and {attacks} attacks none of {n:,} records could be called: attack at least "
            f"{int(np.ceil(attacks / alpha))} held-out images (--against), or try fewer attacks."
        )
    elif floor > 1:
        notes.append(f"{floor:,} records have to be hit by one attack before any can be called.")
    if not contestants.resolving:
        notes.append(
            "The first encoder does not tell copies from look-alikes on this data, so that nothing can be certified; "
            "list another encoder first."
        )
    return notes


def prompt_notes(inputs: Inputs, captioned: bool) -> list[str]:
    """What a text-to-image checkpoint was asked for."""
    if inputs.checkpoint.text is None:
        return []
    if captioned:
        return ["Every image, record or held out, was attacked under its own caption."]
    return ["Every image was attacked under the empty prompt, since not every named record has a caption."]


def illustrate(
    run: Path,
    inputs: Inputs,
    contestants: Contestants,
    plans: Sequence[AttackPlan],
    answers: Answers,
    records: Sequence[AttackedRecord],
) -> list[AttackedRecord]:
    """The same with pictures of the first 24: record, answers, matched held-out image, answers to that."""
    place = {name: row for row, name in enumerate(contestants.ids[: len(contestants.records)])}
    held = {name: len(place) + row for row, name in enumerate(contestants.holdout)}
    shown = [record for record in records if record.id in place][:SHOWN]
    images = save_images(run, "train", inputs.train, {record.id for record in shown})
    others = save_images(run, "holdout", inputs.holdout, {r.matched_id for r in shown if r.matched_id is not None})

    def answer(side: str, name: str, row: int) -> list[str]:
        paths = []
        for attack, plan in enumerate(plans):
            path = f"pictures/answers/{value_digest([side, name, plan.name])[:16]}.png"
            save_png(run / path, answers.pixels(attack, row))
            paths.append(path)
        return paths

    pictured = {}
    for record in shown:
        paths = answer("train", record.id, place[record.id])
        attempts = [one.model_copy(update={"image": path}) for one, path in zip(record.attempts, paths, strict=True)]
        update: dict[str, object] = {"image": images[record.id], "attempts": attempts}
        if record.matched_id is not None:
            matched = answer("holdout", record.matched_id, held[record.matched_id])
            update |= {"matched_image": others[record.matched_id], "matched_answers": matched}
        pictured[record.id] = record.model_copy(update=update)
    return [pictured.get(record.id, record) for record in records]
