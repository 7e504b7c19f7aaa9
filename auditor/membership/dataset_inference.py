"""Was this set of records used? One test for a whole set, where no single record would convince anyone.

Whoever asks has P suspect records and as many of the same origin that were surely not used. If the checkpoint was not
trained on the suspects, the two are exchangeable: no rule learned on a part of both, from any of the attacks' signals,
tells the other parts apart better than it would under labels dealt at random.

Source:
  Dubinski, Kowalczuk, Boenisch and Dziedzic 2025 (CVPR), arXiv 2411.12858. Differs: their code compares out-of-fold
  scores by a two-sided Welch test, which takes scores of one fit for independent; we permute the labels through the
  whole cross-validation. And we ask the same question of the images alone, without the checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from auditor.membership.combined import robust_scale
from auditor.membership.set_conclusion import conclude, conclude_under, grounds
from auditor.probes import generator
from auditor.stats.cross_validated import cross_validated_test
from auditor.stats.roc import auc
from auditor.store.membership import DatasetInference, SetControl, SetSize

LEAST = 20  # suspects, and held-out records; fewer leave four a fold
MOST = 2_000  # of either, drawn at random: enough for a difference of a twelfth of a standard deviation
PERMUTATIONS = 999
SIZES = (20, 50, 100, 200, 400, 800)
SUBSETS = 100  # drawn per size
SUBSET_PERMUTATIONS = 199  # enough for p = 0.005
POWER = 0.8


@dataclass(frozen=True)
class Evidence:
    """What the test sees of one set: independent records, near-duplicates left out.

    Attributes:
      signals: Float64[N D], every variant of attacks that learn from no labels, larger = more likely a member.
      blind: Float64[N E], statistics of the images themselves.
    """

    signals: NDArray[np.float64]
    blind: NDArray[np.float64]


@dataclass(frozen=True)
class Looks:
    """What is known of the two sets without the checkpoint, beside the blind signals.

    Attributes:
      split: How the held-out set was drawn from what is now the training set and it.
      shift_p_value: Of the two-sample test of images and embeddings; None = not made.
      blind_check_p_value: Of the blind classifier's check; None = not made.
    """

    split: Literal["group", "image", "unknown"] = "unknown"
    shift_p_value: float | None = None
    blind_check_p_value: float | None = None


def infer(
    suspects: Evidence, heldout: Evidence, seed: str, *, listed: bool, looks: Looks | None = None
) -> DatasetInference:
    """The test of all suspects, its blind counterpart, and the sizes at which such a set would have been caught.

    Args:
      suspects: Records of which it is asked whether they were used.
      heldout: Records of the same origin that were not.
      seed: The audit's root seed, for folds, permutations and subsets.
      listed: Whether the suspects were named, or are the members that the audit tests.
      looks: What else the images say; None = nothing, and an unknown split.

    Returns:
      "used" where p <= 0.01, no such difference shows in the images alone (each p > 0.05), and the suspects are the
      more familiar ones to the checkpoint; "withheld" where only the first holds; "not tested" below 20 records. Sets
      of unlike difficulty can pass all of this; :func:`confirm` asks a network that knows neither.
    """
    looks = looks or Looks()
    counts = {
        "suspects": len(suspects.signals), "heldout": len(heldout.signals), "listed": listed,
        "signals": suspects.signals.shape[1],
    }  # fmt: skip
    if min(counts["suspects"], counts["heldout"]) < LEAST:
        statement = (
            f"{counts['suspects']:,} suspect and {counts['heldout']:,} held-out records, near-duplicates counted once, "
            f"are too few: {LEAST} of each are needed."
        )
        return DatasetInference(**counts, outcome="not tested", statement=statement)
    p_value = _p_value(suspects.signals, heldout.signals, seed, "signals")
    blind_p_value = _p_value(suspects.blind, heldout.blind, seed, "blind")
    pairs = zip(suspects.signals.T, heldout.signals.T, strict=True)
    familiarity = float(np.mean([auc(ours, theirs) for ours, theirs in pairs]))
    without = {
        "the same test on their statistics": blind_p_value, "the two-sample test": looks.shift_p_value,
        "the blind classifier": looks.blind_check_p_value,
    }  # fmt: skip
    seen = {what: p for what, p in without.items() if p is not None}
    outcome, statement = conclude(p_value, seen, familiarity, grounds(listed, looks.split))
    sizes = power_by_size(suspects.signals, heldout.signals, seed)
    return DatasetInference(
        **counts,
        outcome=outcome,
        statement=statement,
        p_value=p_value,
        blind_p_value=blind_p_value,
        shift_p_value=looks.shift_p_value,
        blind_check_p_value=looks.blind_check_p_value,
        familiarity=familiarity,
        permutations=PERMUTATIONS,
        sizes=sizes,
        subsets=SUBSETS if sizes else 0,
        caught_at_5pct=smallest_size([(size.records, size.caught_at_5pct) for size in sizes]),
        caught_at_1pct=smallest_size([(size.records, size.caught_at_1pct) for size in sizes]),
    )


def confirm(
    found: DatasetInference, suspects: NDArray[np.float64], heldout: NDArray[np.float64], seed: str, network: str
) -> DatasetInference:
    """The answer after the same test under a network that knows neither set; only "used" is put to it.

    Where the sets differ by nature, easier images on one side, such a network tells them apart as well. It may see less
    than the audited one, so that its silence supports "used" and does not prove it.

    Args:
      found: What :func:`infer` said, or this function of another network.
      suspects: Float64[N D], the signals under that network; so for ``heldout``.
      network: What it is, such as "the unrelated checkpoint".
    """
    if found.outcome != "used":
        return found
    control = SetControl(network=network, p_value=_p_value(suspects, heldout, seed, f"under {network}"))
    controls = [*found.controls, control]
    outcome, statement = conclude_under(controls)
    return found.model_copy(update={"outcome": outcome, "statement": statement, "controls": controls})


def power_by_size(suspects: NDArray[np.float64], heldout: NDArray[np.float64], seed: str) -> list[SetSize]:
    """How often random subsets of each size would have been caught, beside as many held-out records.

    Sizes go up to half the records, so that subsets differ, and end where every subset was caught at 1%. Subsets
    overlap: the shares describe these records, and an interval would claim more.
    """
    results = []
    for size in SIZES:
        if 2 * size > min(len(suspects), len(heldout)):
            break
        p_values = np.empty(SUBSETS)
        for subset in range(SUBSETS):
            draw = generator(seed, f"dataset inference/subsets of {size}", subset)
            ours, theirs = (side[draw.permutation(len(side))[:size]] for side in (suspects, heldout))
            p_values[subset] = _test(ours, theirs, draw, SUBSET_PERMUTATIONS)
        caught = {level: float((p_values <= level + 1e-9).mean()) for level in (0.05, 0.01)}
        results.append(SetSize(records=size, caught_at_5pct=caught[0.05], caught_at_1pct=caught[0.01]))
        if caught[0.01] == 1:
            break
    return results


def smallest_size(power: Sequence[tuple[int, float]]) -> int | None:
    """The size at which 80% of sets are caught, between tested sizes by interpolation over log size.

    Args:
      power: (size, share caught), sizes ascending; shares are made non-decreasing first.

    Returns:
      None where no tested size reaches it; the smallest tested size where that one does already.
    """
    reached, before = 0.0, (0, 0.0)
    for size, share in power:
        reached = max(reached, share)
        if reached >= POWER:
            if before[0] == 0:
                return size
            part = (POWER - before[1]) / (reached - before[1])
            return math.ceil(before[0] * math.exp(part * math.log(size / before[0])) - 1e-9)
        before = (size, reached)
    return None


def _p_value(suspects: NDArray[np.float64], heldout: NDArray[np.float64], seed: str, what: str) -> float:
    return _test(suspects, heldout, generator(seed, f"dataset inference/{what}"), PERMUTATIONS)


def _test(
    suspects: NDArray[np.float64], heldout: NDArray[np.float64], draw: np.random.Generator, permutations: int
) -> float:
    """The p-value; signals are standardised on both sets together, which no label enters."""
    both = np.concatenate([suspects, heldout])
    is_suspect = np.arange(len(both)) < len(suspects)
    return cross_validated_test(robust_scale(both)(both), is_suspect, draw, permutations=permutations).p_value
