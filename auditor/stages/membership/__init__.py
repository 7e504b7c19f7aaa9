"""Membership: all attacks in one sweep over members and non-members, beside a baseline that sees no model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from auditor.config import AuditConfig
from auditor.membership.combined import combine
from auditor.membership.evaluate import LEAST_A_SLICE, Side, calibration_slice, membership_record
from auditor.probes import choose
from auditor.progress import Progress
from auditor.stages.copies import CopySearch
from auditor.stages.embed import Embedded
from auditor.stages.inputs import Inputs
from auditor.stages.membership.caption_control import caption_control
from auditor.stages.membership.captions import captions_check
from auditor.stages.membership.dataset_inference import infer_dataset
from auditor.stages.membership.few import no_signals, none_set_aside, slice_counts, too_few, unscored
from auditor.stages.membership.further import attack_further
from auditor.stages.membership.labels import count_unlabelled, label_notes, refuse_uncaptioned
from auditor.stages.membership.negative_control import negative_control
from auditor.stages.membership.records import list_records
from auditor.stages.membership.references import describe
from auditor.stages.membership.scores import Source, attack
from auditor.stages.membership.shift import shift_of
from auditor.stages.membership.sides import stand, statistics_of
from auditor.stages.slices import HeldOut
from auditor.store.membership import Membership
from auditor.store.record import Check
from auditor.store.run_directory import RunDirectory
from auditor.validity.blind import blind_check, blind_scores

UNRESOLVED = (
    "Near-duplicates on both sides of the membership test: the first encoder does not tell them apart, so only exact "
    "repeats are left out."
)
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

    Members are distinct training images, drawn at random, of which no exact repeat is held out, and no canaries;
    non-members are the membership slice. Near-duplicates count once a side, and not at all where they lie on both.
    Where membership is not asked for, the blind check is made on a sample all the same, since the copy test rests on it
    too.

    Args:
      embedded: The first encoder's, whose similarities say which images are duplicates.
      searches: The first one's duplicate threshold is used, if its encoder resolves; else only exact repeats count.
    """
    asked = config.membership.enabled and len(held_out.membership) > 0
    apart = inputs.planted.union(inputs.holdout.digests.values())
    candidates = [name for name in inputs.train.distinct_ids if inputs.train.digests[name] not in apart]
    chosen = choose(seed, "members", candidates, config.membership.members if asked else BLIND_SAMPLE)
    others = held_out.membership or choose(seed, "blind sample", held_out.competition, BLIND_SAMPLE)
    # An encoder that does not resolve finds near everything alike (CLIP on small images: all held-out ones).
    resolving = searches[0].competition.resolving
    threshold = searches[0].competition.duplicate_threshold if resolving else math.inf
    standing = stand(inputs, embedded, chosen, others, threshold)
    members, nonmembers = standing.members, standing.nonmembers
    is_member = np.arange(len(members) + len(nonmembers)) < len(members)
    singles = np.arange(len(is_member))  # each image that stands is a group of its own
    if min(len(members), len(nonmembers)) < LEAST_A_SLICE:  # the check says so, too
        few = too_few(len(members), len(nonmembers), config.membership.calibration) if asked else none_set_aside(config)
        return Tested(None, [blind_check(np.zeros(len(is_member)), is_member, singles)], few)
    seen_of_them = statistics_of((inputs.train, members), (inputs.holdout, nonmembers), levels=True)
    blind = blind_scores(seen_of_them, is_member, singles, seed)
    checks = [blind_check(blind, is_member, singles)]
    checks += captions_check(inputs, members, nonmembers, config, seed)
    if not asked:
        return Tested(None, checks, none_set_aside(config))
    few = too_few(len(members), len(nonmembers), config.membership.calibration)
    if few:
        return Tested(None, checks, few)
    total = len(members) + len(nonmembers)
    unlabelled = count_unlabelled(inputs, members, nonmembers)
    refuse_uncaptioned(config, unlabelled, total)
    sources = Source(inputs.train, members, "members"), Source(inputs.holdout, nonmembers, "nonmembers")
    with show.stage(f"membership of {total} images", total, "image") as meter:
        tables = attack(run, inputs, sources, config, seed, unlabelled == 0, meter)
    sides = []
    for table, source, seen in zip(tables, sources, (blind[is_member], blind[~is_member]), strict=True):
        calibration = calibration_slice(table.ids, config.membership.calibration, f"{seed}/{source.name}")
        sides.append(Side(table, seen[table.positions], calibration))
    if min(slice_counts(sides)) < LEAST_A_SLICE:
        return Tested(None, checks, unscored(sides))
    sides, notes = attack_further(run, inputs, sides, sources, config, seed, unlabelled == 0, show)
    if min(slice_counts(sides)) < LEAST_A_SLICE:
        return Tested(None, checks, unscored(sides))
    combined = combine(sides[0], sides[1], seed)
    sides = sides if combined is None else [combined.members, combined.nonmembers]
    shift = shift_of(run, inputs, embedded, members, nonmembers, seen_of_them, seed)
    inferred = no_signals(inputs, sides, config) or infer_dataset(
        run, inputs, embedded, sides, sources, shift, checks[0], threshold, config, seed, unlabelled == 0, show
    )
    measured = membership_record(*sides, level=config.copies.level)
    control = negative_control(run, inputs, sides, measured.attacks, config, seed, unlabelled == 0, show)
    added = {"mixed_groups": standing.mixed, "shift": shift, "control_evaluations": control.evaluations}
    added |= {"caption_control": caption_control(run, inputs, sides, measured.attacks, config, seed, show)}
    listed = list_records(run, inputs, sides, searches, config.copies.alpha)
    added |= {"dataset_inference": inferred, "records": listed.scores, "exposed": listed.exposed}
    record = measured.model_copy(update=added | {"references": describe(inputs, sides)})
    return Tested(
        record,
        [*checks, control.check],
        label_notes(unlabelled, total, by_text=inputs.checkpoint.text is not None)
        + notes
        + ([] if resolving else [UNRESOLVED]),
    )
