"""Membership: all attacks in one sweep over members and non-members, beside a baseline that sees no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from auditor.config import AuditConfig
from auditor.membership.evaluate import Side, calibration_slice, membership_record
from auditor.probes import choose
from auditor.progress import Progress
from auditor.stages.copies import CopySearch
from auditor.stages.embed import Embedded
from auditor.stages.inputs import Inputs
from auditor.stages.membership.further import attack_further
from auditor.stages.membership.labels import count_unlabelled, label_notes
from auditor.stages.membership.references import Source
from auditor.stages.membership.scores import attack
from auditor.stages.membership.sides import distinct, group_images, statistics_of
from auditor.stages.slices import HeldOut
from auditor.store.membership import Membership
from auditor.store.record import Check
from auditor.store.run_directory import RunDirectory
from auditor.validity.blind import blind_check, blind_scores

BLIND_SAMPLE = 1_000  # images a side for the blind check where membership is not tested


@dataclass(frozen=True)
class Tested:
    """What was found about membership, and the check that its comparison rests on."""

    membership: Membership | None
    checks: list[Check]
    notes: list[str] = field(default_factory=list)  # what was not tested


def test_membership(
    run: RunDirectory,
    inputs: Inputs,
    embedded: Embedded,
    searches: Sequence[CopySearch],
    held_out: HeldOut,
    config: AuditConfig,
    seed: str,
    show: Progress,
) -> Tested:
    """Attack members and non-members, and try to tell them apart without the model.

    Members are distinct training images, drawn at random, no canaries, of which no exact repeat is held out;
    non-members are the membership slice. Where membership is not asked for, the blind check is made on a sample all the same, since the
    copy test rests on it too.

    Args:
      embedded: The first encoder's, whose similarities say which images are duplicates.
      searches: The first one's duplicate threshold is used.
    """
    asked = config.membership.enabled and len(held_out.membership) > 0
    apart = inputs.planted.union(inputs.holdout.digests.values())
    candidates = [name for name in inputs.train.distinct_ids if inputs.train.digests[name] not in apart]
    members = choose(seed, "members", candidates, config.membership.members if asked else BLIND_SAMPLE)
    others = held_out.membership or choose(seed, "blind sample", held_out.competition, BLIND_SAMPLE)
    nonmembers = distinct(inputs.holdout, others)

    groups = group_images(inputs, embedded, members, nonmembers, searches[0].competition.duplicate_threshold)
    is_member = np.arange(len(members) + len(nonmembers)) < len(members)
    blind = blind_scores(statistics_of((inputs.train, members), (inputs.holdout, nonmembers)), is_member, groups, seed)
    checks = [blind_check(blind, is_member, groups)]
    if not asked:
        return Tested(None, checks)
    total = len(members) + len(nonmembers)
    unlabelled = count_unlabelled(inputs, members, nonmembers)
    sources = Source(inputs.train, members, "members"), Source(inputs.holdout, nonmembers, "nonmembers")
    with show.stage(f"membership of {total} images", total, "image") as meter:
        sides = []
        for source, seen in zip(sources, (blind[is_member], blind[~is_member]), strict=True):
            images, ids, name = source.images, source.ids, source.name
            table = attack(run, inputs, images, ids, name, config, seed, unlabelled == 0, meter)
            calibration = calibration_slice(table.ids, config.membership.calibration, f"{seed}/{name}")
            sides.append(Side(table, seen[table.positions], calibration))
    sides, notes = attack_further(run, inputs, sides, sources, config, seed, unlabelled == 0, show)
    record = membership_record(*sides, level=config.copies.level)
    return Tested(record, checks, label_notes(unlabelled, total) + notes)
