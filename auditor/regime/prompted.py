"""Whether two columns give the same image to the same noise under a prompt, against different noise under that prompt.

Two checkpoints that follow a prompt are alike for that reason alone. What the noise decides shows among the answers to
one prompt: each column's mean answer to it is taken off, and only answers to the same prompt are compared.

l_pk, r_pk  unit embeddings of the left's and the right's answer to noise k under prompt p, centred within the prompt;
            P prompts, K noises each (they may differ in K)
matched     <l_pk, r_pk>
mismatched  <l_pj, r_pk>, j != k
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditor.errors import DataError
from auditor.regime import pairs
from auditor.regime.reproducibility import (
    IDENTIFIED,
    MATCHED,
    MISMATCHED,
    MISMATCHED_SHARE,
    PUBLISHED,
    RP,
    RP_PUBLISHED,
    Embeddings,
    histogram,
    mean_similarity,
    too_few,
)
from auditor.regime.shares import CALIBRATION, REPORTED, rows_by_prompt, share_by_prompt
from auditor.search.index import check_comparable
from auditor.store.comparison import DataRelation, Reproducibility

LEAST_PROMPTS = 30  # as many as there have to be probes where there are no prompts
_EACH = "mean of each prompt; t interval over prompts"


@dataclass(frozen=True)
class Answers:
    """Similarities under one prompt: K probes that both columns answered, K >= 2."""

    matched: NDArray[np.float64]  # [K]
    mismatched: NDArray[np.float64]  # [K (K - 1)]
    identified: NDArray[np.bool_]  # [K] the right's answer to the same noise is the most similar of its K


def prompted_reproducibility(
    left: Embeddings,
    right: Embeddings,
    prompt: NDArray[np.int64],
    *,
    encoder: str,
    names: tuple[str, str],
    data: DataRelation,
    level: float = 0.95,
) -> Reproducibility:
    """How alike two columns' answers are on the same noise, and on different noise, under the same prompt.

    Prompts are the unit: every figure is a mean over prompts of what their K answers give, shares with Clopper-Pearson
    intervals of P trials, whole ones taken outwards. The threshold comes from prompts at even places and the RP score
    from those at odd ones. Where the right's answers do not depend on the noise beyond the prompt, matched and
    mismatched answers are exchangeable: 1% of probes exceed the threshold, and one in K is identified.

    The centre of K answers moves the mismatched mean by -matched / (K - 1), and the threshold with it: of columns that
    agree, more probes exceed it the smaller K is, so RP scores are compared at one K.

    Args:
      left: Unit embeddings Float32[G D] of one column's answers, one row per probe that both answered.
      right: The other's, Float32[G D], row by row on the same noise.
      prompt: Int64[G], which prompt each probe asked for; a prompt with one answer says nothing and is left out.
      names: Names of the two columns.
      data: How their training sets relate.
      level: Coverage of each interval.

    Returns:
      Below 30 prompts with two answers everything centred is unscored, as in
      :func:`auditor.regime.reproducibility.reproducibility`. `probes` counts those under such prompts.

    Raises:
      DataError: The columns differ in rows or D, or a row is no unit vector.

    Source:
      Zhang et al. 2024, arXiv 2310.05264, who give text-to-image models the same prompt and noise and read similarity
      itself. Differs: the prompt's share in it is taken off.
    """
    check_comparable(left=left, right=right)
    if not len(left) == len(right) == len(prompt):
        got = f"{len(left)}, {len(right)} and {len(prompt)} rows"
        raise DataError("left, right and prompt", got, "one row per probe", "Match the probes.")
    asked = [rows for rows in rows_by_prompt(prompt) if len(rows) > 1]
    plain = np.einsum("gd,gd->g", left.astype(np.float64), right.astype(np.float64))
    above = [float((plain[rows] > RP_PUBLISHED).mean()) for rows in asked]
    published = share_by_prompt(PUBLISHED, above, level, method="uncalibrated threshold; ")
    answers = [answers_to(left[rows], right[rows]) for rows in asked]
    scores = _scores(answers, level) if len(asked) >= LEAST_PROMPTS else too_few(len(asked), "prompt", LEAST_PROMPTS)
    fixed = {"encoder": encoder, "left": names[0], "right": names[1], "data": data}
    counts = {"probes": sum(map(len, asked)), "prompts": len(asked)}
    return Reproducibility.model_validate({**fixed, **counts, "rp_published": published, **scores})


def answers_to(left: Embeddings, right: Embeddings) -> Answers:
    """Both columns' answers to one prompt, Float32[K D] each, compared; K >= 2."""
    block = pairs.centred(left, "left") @ pairs.centred(right, "right").T
    own, other = np.diag(block).copy(), ~np.eye(len(block), dtype=bool)
    rival = np.where(other, block, -np.inf).max(axis=1)
    return Answers(own, block[other], own > rival + pairs.SAME)


def _scores(answers: Sequence[Answers], level: float) -> dict[str, object]:
    """Every field that rests on centred similarity."""
    threshold = threshold_of([one.mismatched for one in answers[CALIBRATION]])
    reported = answers[REPORTED]
    seeds = np.array([len(one.matched) for one in answers])
    chance = float((1 / seeds).mean())
    matched, mismatched = (
        np.concatenate([getattr(one, name) for one in answers]) for name in ("matched", "mismatched")
    )
    return {
        "matched": mean_similarity(MATCHED, np.array([one.matched.mean() for one in answers]), level, _EACH),
        "mismatched": mean_similarity(MISMATCHED, np.array([one.mismatched.mean() for one in answers]), level, _EACH),
        "rp": share_by_prompt(
            RP, [float((one.matched > threshold).mean()) for one in reported], level,
            method="threshold from the other half of the prompts; ",
        ),
        "threshold": threshold,
        "mismatched_above": float(np.mean([(one.mismatched > threshold).mean() for one in reported])),
        "identified": share_by_prompt(
            IDENTIFIED, [float(one.identified.mean()) for one in answers], level,
            method=f"most similar of {seeds.mean():.3g} to a prompt, by chance {chance:.0%}; ",
        ),
        "similarity": histogram(matched, mismatched),
    }  # fmt: skip


def threshold_of(mismatched: Sequence[NDArray[np.float64]]) -> float:
    """Least similarity that at most 1% of mismatched pairs exceed, each prompt weighing the same."""
    values = np.concatenate(mismatched)
    weight = np.concatenate([np.full(len(one), 1 / len(one)) for one in mismatched]) / len(mismatched)
    order = np.argsort(-values, kind="stable")
    beyond = np.cumsum(weight[order]) - weight[order]  # share at larger similarity than each, ties in order
    return float(values[order][beyond <= MISMATCHED_SHARE + 1e-12][-1])
