"""Membership: all attacks in one sweep over members and non-members, beside a baseline that sees no model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from auditor.config import AuditConfig
from auditor.copies.groups import duplicate_groups
from auditor.copies.pool import Pool
from auditor.data import pixels_of
from auditor.data.captions import stated_class
from auditor.diffusion.score_table import ScoreTable, join
from auditor.diffusion.sweep import Batch, sweep
from auditor.membership import ATTACKS
from auditor.membership.evaluate import Side, calibration_slice, membership_record
from auditor.probes import choose
from auditor.progress import Meter, Progress
from auditor.stages.copies import CopySearch
from auditor.stages.embed import Embedded
from auditor.stages.inputs import Images, Inputs
from auditor.stages.pool import digests_of, rows_of
from auditor.stages.slices import HeldOut
from auditor.store.digest import value_digest
from auditor.store.membership import Membership
from auditor.store.record import Check
from auditor.store.run_directory import RunDirectory
from auditor.validity.blind import blind_check, blind_scores
from auditor.validity.image_statistics import image_statistics

PART = 128  # images per ledger entry and sweep batch
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

    Members are distinct training images, drawn at random, of which no exact repeat is held out; non-members are the
    membership slice. Where membership is not asked for, the blind check is made on a sample all the same, since the
    copy test rests on it too.

    Args:
      embedded: The first encoder's, whose similarities say which images are duplicates.
      searches: The first one's duplicate threshold is used.
    """
    asked = config.membership.enabled and len(held_out.membership) > 0
    held = set(inputs.holdout.digests.values())
    candidates = [name for name in inputs.train.distinct_ids if inputs.train.digests[name] not in held]
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
    with show.stage(f"membership of {total} images", total, "image") as meter:
        sides = []
        for images, ids, name, seen in (
            (inputs.train, members, "members", blind[is_member]),
            (inputs.holdout, nonmembers, "nonmembers", blind[~is_member]),
        ):
            table = attack(run, inputs, images, ids, name, config, seed, unlabelled == 0, meter)
            calibration = calibration_slice(table.ids, config.membership.calibration, f"{seed}/{name}")
            sides.append(Side(table, seen[table.positions], calibration))
    record = membership_record(*sides, level=config.copies.level)
    return Tested(record, checks, label_notes(unlabelled, total))


def count_unlabelled(inputs: Inputs, members: list[str], nonmembers: list[str]) -> int:
    """How many images a class-conditional checkpoint has no true class for; 0 for an unconditional one."""
    classes, count = inputs.checkpoint.num_classes, 0
    if classes is None:
        return 0
    for images, ids in ((inputs.train, members), (inputs.holdout, nonmembers)):
        for batch in images.source.batches(PART, only=frozenset(ids)):
            count += sum(stated_class(caption, classes) is None for caption in batch.captions)
    return count


def label_notes(unlabelled: int, total: int) -> list[str]:
    """What the record says where membership was tested without the classes that the images were trained under."""
    if unlabelled == 0:
        return []
    return [
        f"Membership under the true classes: {unlabelled:,} of {total:,} images state no class number as caption, so "
        "that members and non-members alike were tested under classes drawn at random, where signals are weaker."
    ]


def attack(
    run: RunDirectory,
    inputs: Inputs,
    images: Images,
    ids: Sequence[str],
    name: str,
    config: AuditConfig,
    seed: str,
    labelled: bool,
    meter: Meter,
) -> ScoreTable:
    """Scores of one side, in parts that survive a kill."""
    attacks = [ATTACKS[kind] for kind in config.membership.attacks]
    parts = []
    for start in range(0, len(ids), PART):
        part = list(ids[start : start + PART])
        key = {
            "checkpoint": inputs.scan.digest, "set": images.info.digest, "ids": value_digest(part), "seed": seed,
            "attacks": [repr(attack) for attack in attacks], "batch": config.generation.batch_size,
            "labelled": labelled,
        }  # fmt: skip

        def compute(part: list[str] = part) -> dict[str, Any]:
            batch = batches(inputs, images, part, f"{name}/{seed}", labelled)
            size = config.generation.batch_size
            return to_plain(sweep(inputs.checkpoint.denoiser, batch, attacks, seed=f"{seed}/{name}", batch_size=size))

        parts.append(from_plain(run.value(f"membership/{name}/{start // PART:05d}", key, compute)))
        meter(len(part))
    return join(parts)


def to_plain(table: ScoreTable) -> dict[str, Any]:
    """A score table as plain values; floats come back from JSON bit for bit."""
    plain = asdict(table)
    scores = {name: {v: x.tolist() for v, x in variants.items()} for name, variants in table.scores.items()}
    return plain | {"positions": table.positions.tolist(), "scores": scores}


def from_plain(plain: dict[str, Any]) -> ScoreTable:
    """The score table that :func:`to_plain` wrote."""
    scores = {
        name: {v: np.array(x, np.float64) for v, x in variants.items()} for name, variants in plain["scores"].items()
    }
    positions = np.array(plain["positions"], np.int64)
    unscored = [(name, reason) for name, reason in plain["unscored"]]
    return ScoreTable(**(plain | {"scores": scores, "positions": positions, "unscored": unscored}))


def batches(inputs: Inputs, images: Images, ids: list[str], stream: str, labelled: bool) -> Iterator[Batch]:
    """The named images as one batch in model space, with labels for a class-conditional checkpoint.

    Labels are the captions' only if all members and all non-members state one (``labelled``): true classes on one side
    and random ones on the other would look like membership.
    """
    read = next(iter(images.source.batches(len(ids), only=frozenset(ids))))
    x0 = inputs.checkpoint.codec.to_model(read.pixels)
    classes = inputs.checkpoint.num_classes
    if classes is None:
        yield read.ids, x0, None
        return
    texts = read.captions if labelled else [None] * len(read.ids)
    labels = [label_of(name, text, stream, classes) for name, text in zip(read.ids, texts, strict=True)]
    yield read.ids, x0, torch.tensor(labels).to(x0.device)


def label_of(name: str, caption: str | None, stream: str, classes: int) -> int:
    """The class that a caption names by its number; else one that depends on the image's id and nothing else."""
    stated = stated_class(caption, classes)
    if stated is not None:
        return stated
    return int(value_digest([stream, name])[:12], 16) % classes


def distinct(images: Images, ids: Sequence[str]) -> list[str]:
    """The ids without exact repeats of an earlier one."""
    first = {images.digests[name]: name for name in reversed(ids)}
    return [name for name in ids if first[images.digests[name]] == name]


def group_images(
    inputs: Inputs, embedded: Embedded, members: list[str], nonmembers: list[str], threshold: float
) -> NDArray[np.int64]:
    """Duplicate group of every member and non-member, Int64[M + N]."""
    rows = rows_of(inputs.train, members), rows_of(inputs.holdout, nonmembers)
    vectors = np.concatenate([embedded.train[rows[0]], embedded.holdout[rows[1]]])
    digests = np.concatenate([digests_of(inputs.train)[rows[0]], digests_of(inputs.holdout)[rows[1]]])
    is_member = np.arange(len(vectors)) < len(members)
    return duplicate_groups(Pool(vectors, [*members, *nonmembers], is_member, digests), threshold).group


def statistics_of(*sides: tuple[Images, Sequence[str]]) -> NDArray[np.float32]:
    """What the blind classifier sees of the named images of each side, in their order, Float32[M + N D]."""
    blocks = []
    for images, ids in sides:
        for start in range(0, len(ids), PART):
            blocks.append(image_statistics(pixels_of(images.source, ids[start : start + PART])))
    return np.concatenate(blocks)
