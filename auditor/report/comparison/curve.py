"""The regime curve: what models in a series do, against the number of training images or the training step.

Only the decisive encoder is drawn. Two checkpoints count for reproducibility at a size when both were trained on that
many images and sampled the same way; a model beside itself does not count.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from auditor.report.comparison.story import column, decisive_regimes, is_checkpoint, model
from auditor.store.comparison import ComparedModel, Comparison
from auditor.store.parts import Estimate
from auditor.store.regime import Regime, RegimeVerdict
from auditor.store.wording import count


@dataclass(frozen=True)
class Point:
    """One pair or one checkpoint at its place on the curve."""

    x: int
    label: str
    estimate: Estimate


@dataclass(frozen=True)
class Series:
    name: str
    points: Sequence[Point]

    def at(self, x: int) -> list[Point]:
        """Scored points at a place."""
        return [point for point in self.points if point.x == x and point.estimate.value is not None]

    def means(self) -> list[tuple[int, float]]:
        """Mean over the scored points of every place, in order of place."""
        found = [(x, [p.estimate.value for p in self.at(x)]) for x in sorted({point.x for point in self.points})]
        scored = [(x, [value for value in values if value is not None]) for x, values in found]
        return [(x, sum(values) / len(values)) for x, values in scored if values]


def series(comparison: Comparison) -> list[Series]:
    """What the curve shows, without series that have no point; empty where models are in no order."""
    if comparison.curve is None:
        return []
    made = [
        Series("agreement with the memorizer", list(_own(comparison, "share"))),
        Series("GL, calibrated", list(_own(comparison, "gl"))),
    ]
    if comparison.curve == "size":
        made.append(Series("RP, disjoint data", list(_between(comparison, "disjoint"))))
        made.append(Series("RP, same data", list(_between(comparison, "same"))))
    return [one for one in made if one.points]


def place(comparison: Comparison, model: ComparedModel) -> int | None:
    """Where a model stands on the curve; ``None`` if it was given no place."""
    at = model.size if comparison.curve == "size" else model.step
    return at if at is not None and (at > 0 or comparison.curve == "step") else None


def places(comparison: Comparison) -> list[int]:
    """All places on the curve, in order."""
    return sorted({x for point in series(comparison) for x in (p.x for p in point.points)})


def curve_sentence(comparison: Comparison) -> str:
    """Where the regime changes: by size of the training set, or the step from which training should not go on."""
    judged = [(place(comparison, model(comparison, v.column)), v) for v in decisive_regimes(comparison)]
    known = sorted(((x, v) for x, v in judged if x is not None), key=lambda pair: pair[0])
    if not known:
        return "No checkpoint on the curve was judged."
    return _steps_sentence(known) if comparison.curve == "step" else _sizes_sentence(known)


def _own(comparison: Comparison, figure: str) -> Iterator[Point]:
    for agreement in comparison.memorizer:
        x = place(comparison, model(comparison, agreement.column))
        if x is not None and agreement.encoder == comparison.decisive and is_checkpoint(comparison, agreement.column):
            yield Point(x, agreement.column, getattr(agreement, figure))


def _between(comparison: Comparison, relation: str) -> Iterator[Point]:
    for pair in comparison.pairs:
        left, right = (column(comparison, name) for name in (pair.left, pair.right))
        x, other = (place(comparison, model(comparison, name)) for name in (pair.left, pair.right))
        alike = left.kind == right.kind == "checkpoint" and (left.sampler, left.steps) == (right.sampler, right.steps)
        wanted = pair.encoder == comparison.decisive and pair.data == relation
        if wanted and alike and left.model != right.model and x is not None and x == other:
            yield Point(x, f"{pair.left} × {pair.right}", pair.rp)


def _steps_sentence(known: Sequence[tuple[int, RegimeVerdict]]) -> str:
    """When to stop. Early steps that are left open do not count: who has learnt little draws nothing real yet."""
    regimes: dict[int, set[Regime]] = {}
    for x, verdict in known:
        regimes.setdefault(x, set()).add(verdict.regime)
    last = max(regimes)
    onset = next((x for x in regimes if regimes[x] & {"memorization", "transition"}), None)
    good = [x for x in regimes if regimes[x] == {"generalization"}]
    before = [x for x in good if onset is None or x < onset]
    if good and good[-1] == last and onset is None:
        return f"Step {last:,}, the last that was looked at, still generalises: no step is shown to memorise."
    said = [f"It memorises from step {onset:,} on." if onset is not None else "No step is shown to memorise."]
    if before:
        which = "last before" if onset is not None else "last"
        said.append(f"Step {before[-1]:,} is the {which} that is shown to generalise: train no longer than that.")
    else:
        said.append("No step before is shown to generalise." if onset is not None else "None is shown to generalise.")
    again = [f"{x:,}" for x in good if onset is not None and x > onset]
    if again:
        said.append(f"Later steps that generalise again: {', '.join(again)}.")
    return " ".join(said)


def _sizes_sentence(known: Sequence[tuple[int, RegimeVerdict]]) -> str:
    memorising = [x for x, verdict in known if verdict.regime == "memorization"]
    others = [x for x, verdict in known if verdict.regime != "generalization"]
    sizes = [x for x, _ in known]
    free = [x for x in sizes if not others or x > max(others)]
    said = []
    if memorising:
        said.append(f"Checkpoints memorise with up to {count(max(memorising), 'training image')}.")
    else:
        said.append("No checkpoint on the curve is shown to memorise.")
    if free:
        said.append(f"From {count(min(free), 'training image')} on, all of them generalise.")
    else:
        said.append(
            f"At {count(sizes[-1], 'training image')}, the largest set, not all of them are shown to generalise."
        )
    return " ".join(said)
