"""What the record keeps of parts and blends: the certified training images first, then the strongest others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from auditor.config import AuditConfig
from auditor.copies.closer import CloserLook, certified_items
from auditor.copies.compete import Contest
from auditor.copies.decide import CopyDecision
from auditor.copies.groups import GroupClass
from auditor.copies.kinds import ENLARGED, MOST
from auditor.copies.pool import Pool
from auditor.copies.shortlist import Closest
from auditor.copies.summary import reproduced_at_least
from auditor.store.kinds import CopyKind, KindEvidence, KindSearch

OTHERS = 12  # listed beyond those that are certified
SHARE = 0.1  # of the error that the bound on whole copies may make, for each of parts and blends


def level_of_each(level: float) -> float:
    """Confidence of the bounds on parts and on blends: 0.995 beside 0.95.

    Three bounds can fail one audit. Were all at 0.95, a clean checkpoint would fail in up to 15% of audits; so the two
    further ones share a fifth of the first one's error, and it fails in at most 6%.
    """
    return 1 - SHARE * (1 - level)


def part_search(pool: Pool, decision: CopyDecision, look: CloserLook, config: AuditConfig) -> KindSearch:
    """Training images that generations repeat in part; masks are not yet written."""
    aligned, closest, contest = look.alignments, look.parts, look.part_contest
    if aligned is None or closest is None or contest is None:
        raise ValueError("parts were not looked for")

    def found(pair: int) -> dict[str, Any]:
        covered, scale = float(aligned.covered[pair]), float(aligned.scale[pair])
        return {
            "kind": _part_kind(covered, scale, bool(aligned.mirrored[pair])),
            "mirrored": bool(aligned.mirrored[pair]),
            "covered": covered,
            "scale": scale,
        }

    return _search("parts", pool, decision, look, closest, contest, config, found)


def blend_search(pool: Pool, decision: CopyDecision, look: CloserLook, config: AuditConfig) -> KindSearch:
    """Training images that generations blend with another picture."""
    blends = look.blends

    def found(pair: int) -> dict[str, Any]:
        beside = int(look.pairs.row[blends.beside[pair]])
        return {
            "kind": "blend",
            "mirrored": bool(blends.mirrored[pair]),
            "explained": float(blends.explained[pair]),
            "beside": pool.ids[beside],
            "beside_training": beside < pool.training,
        }

    return _search("blends", pool, decision, look, look.blended, look.blend_contest, config, found)


def _part_kind(covered: float, scale: float, mirrored: bool) -> CopyKind:
    """What is repeated, by how much of the generation it fills and how large it is."""
    if covered < MOST:
        return "part"
    if scale > ENLARGED:
        return "cropped"
    return "mirrored" if mirrored else "near"


def _search(
    what: Literal["parts", "blends"],
    pool: Pool,
    decision: CopyDecision,
    look: CloserLook,
    closest: Closest,
    contest: Contest,
    config: AuditConfig,
    found: Callable[[int], dict[str, Any]],
) -> KindSearch:
    groups = decision.groups
    certified = certified_items(contest, decision.competes)
    q_value = np.full(len(groups), np.nan)
    q_value[decision.competes] = contest.q_value
    hits = (closest.pair >= 0) & (groups.kind != GroupClass.HELD_OUT) & (closest.score > 0)
    hits &= look.pairs.row[np.maximum(closest.pair, 0)] < pool.training  # of mixed groups, what was trained on
    order = np.lexsort((-closest.score, ~certified))
    ranked = order[hits[order]][: min(int(certified.sum()) + OTHERS, config.copies.evidence)]
    members = _members(pool, groups.group, ranked)
    bound = reproduced_at_least(contest, level_of_each(config.copies.level), True)  # pixels resolve, not the encoder
    name = f"training images {'repeated in part or whole' if what == 'parts' else 'blended'}, at least"
    return KindSearch(
        what=what,
        generations=int(look.pairs.generation.max(initial=-1)) + 1,
        n_items=contest.n,
        m_items=contest.m,
        training_hits=contest.training_hits,
        holdout_hits=contest.holdout_hits,
        alpha=config.copies.alpha,
        certified=int(certified.sum()),
        floor=contest.floor,
        lower_bound=bound.model_copy(update={"name": name}),
        evidence=[
            KindEvidence(
                id=pool.ids[int(look.pairs.row[pair])],
                members=members[item],
                certified=bool(certified[item]),
                score=float(closest.score[item]),
                q_value=None if np.isnan(q_value[item]) else float(q_value[item]),
                probe=int(look.pairs.generation[pair]),
                **found(pair),
            )
            for item, pair in zip(ranked.tolist(), closest.pair[ranked].tolist(), strict=True)
        ],
    )


def _members(pool: Pool, group: NDArray[np.int64], listed: NDArray[np.int64]) -> dict[int, list[str]]:
    members: dict[int, list[str]] = {int(item): [] for item in listed}
    for row in np.flatnonzero(np.isin(group, listed)).tolist():
        members[int(group[row])].append(pool.ids[row])
    return members
