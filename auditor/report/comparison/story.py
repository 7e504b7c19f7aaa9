"""The sentences of a comparison, each a pure function of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from auditor.report.comparison.blocks import Figure
from auditor.report.story import estimate_text
from auditor.store.comparison import AttributeDistribution, Column, ComparedModel, Comparison, Moved, TaskResult
from auditor.store.parts import Estimate, Part
from auditor.store.prompting import Prompting
from auditor.store.record import ImageSet
from auditor.store.regime import MemorizerAgreement, Regime, RegimeVerdict
from auditor.store.wording import count, decimal, missing, percent

VERBS: dict[Regime, tuple[str, str]] = {
    "memorization": ("memorises", "memorise"),
    "transition": ("memorises in part", "memorise in part"),
    "generalization": ("generalises", "generalise"),
    "cannot conclude": ("is left open", "are left open"),
}
MANY = 6  # verdicts beyond which each is told in fewer words
GRAVEST: tuple[Regime, ...] = ("memorization", "transition", "cannot conclude", "generalization")


@dataclass(frozen=True)
class Headline:
    """What stands on the first screen."""

    title: str
    gravest: Regime | None  # None where nothing was judged
    meaning: str


MEANINGS: dict[Regime, str] = {
    "memorization": "A checkpoint that memorises gives its training images back. Treat its outputs as copies of them.",
    "transition": "Some probes come back as training images, others do not. The section on the memorizer says where.",
    "generalization": "From the same noise, other training images would have led to much the same pictures.",
    "cannot conclude": "The evidence supports neither regime. Treat such a checkpoint as not cleared.",
}


def decisive_regimes(comparison: Comparison) -> list[RegimeVerdict]:
    """The verdicts under the encoder that decides; the others' stand in the tables."""
    return [verdict for verdict in comparison.regimes if verdict.encoder == comparison.decisive]


def headline(comparison: Comparison) -> Headline:
    """How many checkpoints are in which regime, the gravest first."""
    verdicts = decisive_regimes(comparison)
    if not verdicts:
        title = "Compared, not judged"
        return Headline(title, None, "A regime is judged where a checkpoint's training set is given; none was here.")
    counts = Counter(verdict.regime for verdict in verdicts)
    gravest = next(regime for regime in GRAVEST if counts[regime])
    things = _things(comparison, len(verdicts))
    if len(verdicts) == 1:
        return Headline(f"The {things} {VERBS[gravest][0]}", gravest, MEANINGS[gravest])
    if len(counts) == 1:
        return Headline(f"All {len(verdicts)} {things} {VERBS[gravest][1]}", gravest, MEANINGS[gravest])
    parts = [f"{counts[regime]} {VERBS[regime][counts[regime] > 1]}" for regime in GRAVEST if counts[regime]]
    return Headline(f"Of {len(verdicts)} {things}, {enumerated(parts)}", gravest, MEANINGS[gravest])


def _things(comparison: Comparison, number: int) -> str:
    """What is counted: checkpoints, or their answers where one was sampled in several ways."""
    models = {column(comparison, verdict.column).model for verdict in decisive_regimes(comparison)}
    noun = "checkpoint" if len(models) == number else "answer"
    return noun if number == 1 else f"{noun}s"


def enumerated(parts: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""


def verdict_sentence(comparison: Comparison, verdict: RegimeVerdict) -> str:
    """The share that lands where the memorizer does, beside chance; why, where there is no such share."""
    share = verdict.memorised
    if verdict.regime == "cannot conclude" and verdict.reasons:
        return verdict.reasons[0]
    if share.value is None:
        return missing(share)
    found = agreement(comparison, verdict.column, verdict.encoder)
    chance = f" (chance {percent(found.chance)})" if found else ""
    shown = estimate_text(share, share=True)
    if len(decisive_regimes(comparison)) > MANY:
        return f"{shown} land where the memorizer does{chance}"
    return f"{shown} of probes land on the image that the closed-form memorizer reaches{chance}"


def column(comparison: Comparison, name: str) -> Column:
    """The column of a name; every name in a comparison is one of its columns."""
    return next(column for column in comparison.columns if column.name == name)


def model(comparison: Comparison, name: str) -> ComparedModel:
    """The model that a column answers for."""
    wanted = column(comparison, name).model
    return next(model for model in comparison.models if model.name == wanted)


def agreement(comparison: Comparison, name: str, encoder: str) -> MemorizerAgreement | None:
    """A column's agreement with its memorizer under an encoder, if it was measured."""
    return next((a for a in comparison.memorizer if (a.column, a.encoder) == (name, encoder)), None)


def is_checkpoint(comparison: Comparison, name: str) -> bool:
    return column(comparison, name).kind == "checkpoint"


def image_sets(comparison: Comparison) -> list[tuple[str, ImageSet | None]]:
    """Training sets by model and the held-out set, under the names they have in the report."""
    return [*((f"training of {m.name}", m.training) for m in comparison.models), ("held-out", comparison.holdout)]


def encoders(comparison: Comparison, used: Sequence[str]) -> list[str]:
    """Encoders in use, the decisive one first."""
    names = dict.fromkeys(used)
    return sorted(names, key=lambda name: name != comparison.decisive)


def prompts_sentence(asked: Prompting) -> str:
    """What the checkpoints were asked for."""
    origin = "from a list"
    if asked.source == "captions":
        origin = (
            f"captions drawn without regard to which set they are from, {asked.from_training:,} of training and "
            f"{asked.from_holdout:,} of held-out images"
        )
    return (
        f"All were asked for the same {count(asked.prompts, 'prompt')} ({origin}), each from {asked.seeds:.3g} noises. "
        "Two answers to one prompt are alike because of the prompt, so only answers to the same prompt are compared, "
        "and what these have in common is taken off: “different noise” is different noise under the same prompt."
    )


def matrix_sentence(comparison: Comparison) -> str:
    """What checkpoints of disjoint data have in common on the same noise: the fact that all this rests on."""
    apart = [
        pair
        for pair in comparison.pairs
        if pair.encoder == comparison.decisive
        and pair.data == "disjoint"
        and pair.matched.value is not None
        and is_checkpoint(comparison, pair.left)
        and is_checkpoint(comparison, pair.right)
    ]
    if not apart:
        return (
            "No two checkpoints are known to be trained on disjoint images, so what their answers share may come from "
            "the images that they share."
        )
    if len(apart) == 1:
        pair = apart[0]
        return (
            f"{pair.left} and {pair.right} were trained on disjoint images. Their answers to the same noise have a "
            f"similarity of {estimate_text(pair.matched)}, to different noise {estimate_text(pair.mismatched)}."
        )
    low, high = _range([pair.matched for pair in apart])
    low_other, high_other = _range([pair.mismatched for pair in apart])
    return (
        f"Over {len(apart)} pairs of checkpoints that were trained on disjoint images, the similarity of answers to "
        f"the same noise lies between {low} and {high}; to different noise, between {low_other} and {high_other}."
    )


def _range(estimates: Sequence[Estimate]) -> tuple[str, str]:
    values = [estimate.value for estimate in estimates if estimate.value is not None]
    return (decimal(min(values)), decimal(max(values))) if values else ("unknown", "unknown")


def memorizer_sentence(comparison: Comparison) -> str:
    """The column that agrees most with its memorizer, against chance and control."""
    scored = [a for a in comparison.memorizer if a.encoder == comparison.decisive and a.share.value is not None]
    if not scored:
        return "No checkpoint could be held against the memorizer of its training set."
    most = max(scored, key=lambda a: a.share.value or 0.0)
    return (
        f"{most.column} lands on the very image that the memorizer of its training set reaches for "
        f"{estimate_text(most.share, share=True)} of probes. By chance it would for {percent(most.chance)}. With "
        f"held-out images in place of the training set: {estimate_text(most.control, share=True)}."
    )


def moved_sentence(moved: Moved) -> str:
    if moved.onto.value is None:
        return f"Whether fine-tuning moved {moved.tuned} onto its images is not known: {missing(moved.onto)}."
    return (
        f"Between {moved.base} and {moved.tuned}, {estimate_text(moved.onto, share=True)} of probes moved onto images "
        f"of the fine-tuning set, and {estimate_text(moved.off, share=True)} moved off them (p = {moved.p_value:.3g})."
    )


def task_sentence(tasks: Sequence[TaskResult]) -> str:
    """The task in which training images come back most."""
    scored = [task for task in tasks if task.restored_training.value is not None]
    if not scored:
        return "Whether what is filled in is the training image could not be measured."
    most = max(scored, key=lambda task: task.restored_training.value or 0.0)
    return (
        f"In “{most.task}”, {most.left} restores {estimate_text(most.restored_training, share=True)} of its training "
        f"images so that they are recognised, and {estimate_text(most.restored_holdout, share=True)} of held-out ones. "
        "Nothing else that was tried here brings more of them back."
    )


def attribute_sentence(distributions: Sequence[AttributeDistribution]) -> str:
    """The value whose share grew most beyond its interval, or that none did."""
    grown = [
        (item.share.lower, item.share, item.value, distribution.source)
        for distribution in distributions
        for item in distribution.amplification
        if item.share.lower is not None and item.share.lower > 1 and item.share.value is not None
    ]
    if not grown:
        return "No value is shown to be generated more often than it occurs in the training set."
    _, factor, value, source = max(grown, key=lambda row: row[0])
    return (
        f"{source} generates “{value}” {estimate_text(factor)} times as often as it occurs in its training set: the "
        "largest amplification that is shown here."
    )


def estimates(comparison: Comparison) -> Iterator[tuple[str, Figure]]:
    """Every estimate of the comparison with where it comes from."""
    groups: list[tuple[str, Part]] = [
        *((f"{p.left} × {p.right}, {p.encoder}", p) for p in comparison.pairs),
        *((f"{a.column} × memorizer, {a.encoder}", a) for a in comparison.memorizer),
        *((f"regime of {v.column}, {v.encoder}", v) for v in comparison.regimes),
        *((f"{m.base} → {m.tuned}, {m.encoder}", m) for m in comparison.moved),
        *((f"{t.task}: {t.left} × {t.right}, {t.encoder}", t) for t in comparison.tasks),
        *((f"attributes of {d.source}, {d.encoder}", d) for d in comparison.attributes),
    ]
    for origin, part in groups:
        yield from ((origin, Figure(found)) for found in _estimates(part))


def _estimates(part: object) -> Iterator[Estimate]:
    """Estimates inside a part in the order of its fields, those of its lists included."""
    if isinstance(part, Estimate):
        yield part
    elif isinstance(part, Part):
        for name in type(part).model_fields:
            yield from _estimates(getattr(part, name))
    elif isinstance(part, list):
        for item in part:
            yield from _estimates(item)
