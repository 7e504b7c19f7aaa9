"""From scores of prompts and controls to the record of a ranking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditor.checkpoint.load import LoadedCheckpoint
from auditor.prompts.base import Detector
from auditor.prompts.calibrate import Calibrated, calibrate
from auditor.prompts.style import style_features
from auditor.ranking_config import RankingConfig
from auditor.stages.prompt_comparison import compare_lists
from auditor.stages.prompts import Listed, Scores, calibrated_score, write_masks
from auditor.stats.power import competition_floor, holdout_for_floor
from auditor.store.prompts import Comparison, DetectorResult, PromptRanking, RankedPrompt
from auditor.store.run_directory import RunDirectory
from auditor.store.wording import count

NO_CALLS = ("no controls", "too different")
MASKED = 12  # prompts whose masks are drawn
NO_CONTROLS = "Without control prompts the ranking shows how prompts are written as much as what is memorised."


@dataclass(frozen=True)
class Sides:
    """The prompts of a ranking."""

    listed: Sequence[Listed]  # all distinct ones, the empty prompt among them if it was given
    tested: Sequence[Listed]
    controls: Sequence[Listed]
    overlapping: int  # controls left out: empty or tested too
    given: bool  # whether controls were given at all


def assemble(
    sides: Sides,
    scores: Scores,
    detectors: Sequence[Detector],
    left_out: Mapping[str, str],
    asked: RankingConfig,
    seed: str,
) -> dict[str, Any]:
    """The parts of a :class:`auditor.store.prompts.PromptRanking` that scores decide."""
    controls, n = sides.controls, len(sides.tested)
    ours, theirs = features_of(sides)
    comparison = compared(sides, ours, theirs, seed)
    may_call = comparison.status not in NO_CALLS
    deciding = detectors[0].name
    calibrated = {
        name: calibrate(values[:n], values[n:], ours, theirs) for name, values in scores.by_detector.items() if may_call
    }
    called = {name: one.q_values <= asked.alpha for name, one in calibrated.items()}  # NaN is not called
    usable = int(np.isfinite(scores.by_detector[deciding][n:]).sum())
    results = [
        DetectorResult(
            name=name,
            evaluations=scores.evaluations[name] / (n + len(controls)),
            scored=int(np.isfinite(scores.by_detector[name][:n]).sum()),
            called=int(called[name].sum()) if may_call else None,
        )
        for name in scores.by_detector
    ]
    results += [
        DetectorResult(name=name, evaluations=0, scored=0, called=None, unscored=why) for name, why in left_out.items()
    ]
    return {
        "comparison": comparison,
        "deciding": deciding,
        "floor": competition_floor(n, usable, asked.alpha) if may_call else None,
        "called": int(called[deciding].sum()) if may_call else 0,
        "detectors": results,
        "prompts": ranked(sides, scores, deciding, calibrated, called.get(deciding)),
        "notes": notes(sides, comparison, usable, asked, deciding, left_out),
    }


def features_of(sides: Sides) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Style of tested prompts, Float32[N D], and of controls, Float32[M D]."""
    tested, controls = (
        style_features([one.prompt for one in side], [one.tokens for one in side])
        for side in (sides.tested, sides.controls)
    )
    return tested, controls


def compared(sides: Sides, ours: NDArray[np.float32], theirs: NDArray[np.float32], seed: str) -> Comparison:
    """The comparison of both sides, where there are two."""
    if not sides.controls:
        said = "No control prompts were given." if not sides.given else "No control prompt is left to compare with."
        return Comparison(status="no controls", statement=said)
    return compare_lists(sides.tested, sides.controls, ours, theirs, seed)


def ranked(
    sides: Sides,
    scores: Scores,
    deciding: str,
    calibrated: Mapping[str, Calibrated],
    called: NDArray[np.bool_] | None,
) -> list[RankedPrompt]:
    """Prompts by the deciding detector, adjusted where there are controls, the most suspicious first; unscored last."""
    n = len(sides.tested)
    order_by = calibrated[deciding].adjusted if deciding in calibrated else scores.by_detector[deciding][:n]
    order = sorted(range(n), key=lambda row: (np.isnan(order_by[row]), -order_by[row], row))
    found = []
    for row in order:
        one = sides.tested[row]
        own = {name: calibrated_score(row, values, calibrated.get(name)) for name, values in scores.by_detector.items()}
        found.append(
            RankedPrompt(
                prompt=one.prompt, lines=one.lines, tokens=one.tokens, cut=one.cut,
                called=bool(called[row]) if called is not None else False, scores=own,
                unscored="the network's answer was not finite" if np.isnan(order_by[row]) else None,
            )
        )  # fmt: skip
    known = {one.seen for one in sides.tested}
    why = "the empty prompt is what prompts are compared with"
    return found + [
        RankedPrompt(prompt=one.prompt, lines=one.lines, tokens=one.tokens, cut=one.cut, called=False, unscored=why)
        for one in sides.listed
        if one.seen not in known
    ]


def notes(
    sides: Sides,
    comparison: Comparison,
    usable: int,
    asked: RankingConfig,
    deciding: str,
    left_out: Mapping[str, str],
) -> list[str]:
    """What a reader has to know, the gravest first."""
    said = [*_of_controls(comparison), *_of_power(len(sides.tested), usable, asked.alpha, comparison)]
    if sides.overlapping:
        said.append(f"{count(sides.overlapping, 'control')} left out: empty, or tested too.")
    cut = sum(one.cut > 0 for one in sides.tested)
    if cut:
        said.append(f"Of {count(cut, 'prompt')} the checkpoint sees the beginning only: the rest does not fit.")
    repeated = sum(len(one.lines) > 1 for one in sides.tested)
    if repeated:
        said.append(f"{count(repeated, 'prompt')} listed several times, the same to the checkpoint: each counts once.")
    if deciding != asked.detectors[0]:
        said.append(f"{asked.detectors[0]} could not be run, so {deciding} decides.")
    return said + [f"{name} was left out: {why}." for name, why in left_out.items()]


def _of_controls(comparison: Comparison) -> list[str]:
    """What is wrong with the controls."""
    if comparison.status == "no controls":
        return [f"{NO_CONTROLS} Nothing is called. Give captions that were not trained on, with --controls."]
    if comparison.status == "too different":
        return [
            "Tested and control prompts are written too differently for a score to mean the same for both, so nothing "
            "is called. Give controls of the same origin."
        ]
    if comparison.status == "differ":
        return [
            "Tested and control prompts differ in length or style by more than chance. Scores are adjusted for it; "
            "calls lean on that adjustment, and controls of the same origin would be better."
        ]
    if comparison.status == "not tested":
        return [
            "So few prompts cannot show that tested and control prompts are written alike; calls suppose that they are "
            "of the same origin."
        ]
    return []


def _of_power(n: int, controls: int, alpha: float, comparison: Comparison) -> list[str]:
    """How many prompts have to stand out before any can be called."""
    floor = competition_floor(n, controls, alpha)
    if comparison.status in NO_CALLS or floor == 1:
        return []
    one = f"{holdout_for_floor(n, 1, alpha):,} controls would let a single one be called"
    if floor <= n:
        return [f"Nothing can be called unless {floor:,} prompts beat all {controls:,} controls; {one}."]
    return [
        f"{count(controls, 'control prompt')} cannot call any of {count(n, 'prompt')} at a false discovery rate of "
        f"{alpha:g}, whatever is memorised: it takes {holdout_for_floor(n, n, alpha):,} if all stand out, and {one}."
    ]


def illustrate(
    ranking: PromptRanking, run: RunDirectory, loaded: LoadedCheckpoint, asked: RankingConfig, seed: str, device: str
) -> PromptRanking:
    """The same ranking with masks of its first prompts, if bright endings were asked for and could be looked at."""
    if not any(one.name == "bright_ending" and one.unscored is None for one in ranking.detectors):
        return ranking
    first = [one for one in ranking.prompts if one.unscored is None][:MASKED]
    paths = write_masks(run, loaded, [one.prompt for one in first], asked, seed, device)
    masked = [one.model_copy(update={"mask": path}) for one, path in zip(first, paths, strict=True)]
    return ranking.model_copy(update={"prompts": [*masked, *ranking.prompts[len(masked) :]]})
