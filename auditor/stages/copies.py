"""Copies under one encoder: pool, decision, and the checks that say whether the decision can be relied on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditor.config import AuditConfig
from auditor.copies.compete import compete
from auditor.copies.decide import CopyDecision, decide
from auditor.copies.groups import GroupClass, duplicate_groups
from auditor.copies.items import score_items
from auditor.copies.placebo_hits import placebo_hits
from auditor.copies.pool import Pool, floor_of_planted
from auditor.copies.verbatim import verbatim_copies
from auditor.data import pixels_of
from auditor.encoders.base import Encoder
from auditor.progress import Progress
from auditor.stages.embed import Vectors, embed_generations, embed_images, join
from auditor.stages.generate import Generations, Made
from auditor.stages.inputs import Images, Inputs
from auditor.stages.slices import HeldOut, slice_holdout
from auditor.store.digest import value_digest
from auditor.store.record import Check, Competition, Part
from auditor.store.run_directory import RunDirectory
from auditor.validity.placebo import placebo_check
from auditor.validity.planted import PlantedCopies, embed_planted, planted_check, sample_originals


@dataclass(frozen=True)
class Embedded:
    """Everything that one encoder made of the audit's images; rows follow the ids."""

    name: str  # of the encoder; numbered where one kind is listed twice
    encoder: Encoder
    train: Vectors
    holdout: Vectors
    generations: Vectors
    control: Vectors  # generations of the closed-form memorizer of the training set


class CopySearch(Part):
    """What was found under one encoder."""

    competition: Competition
    checks: list[Check]  # not yet adjusted for their number
    notes: list[str]


def search_every_encoder(
    run: RunDirectory,
    inputs: Inputs,
    made: Made,
    everything: Sequence[Embedded],
    held_out: HeldOut,
    config: AuditConfig,
    seed: str,
    show: Progress,
) -> list[CopySearch]:
    """The copy decision under each encoder, in the order listed."""
    searches = []
    for embedded in everything:
        key = {
            "made": made.key, "encoder": asdict(embedded.encoder.spec), "copies": config.copies.model_dump(mode="json"),
            "sets": [inputs.train.info.digest, inputs.holdout.info.digest], "split": config.data.split,
            "held-out": value_digest(asdict(held_out)),
        }  # fmt: skip

        def compute(embedded: Embedded = embedded) -> dict[str, Any]:
            found = search_copies(run, inputs, embedded, held_out, made.generations, config, seed)
            return found.model_dump(mode="json")

        with show.stage(f"copies under {embedded.name}", 1, "encoder") as meter:
            searches.append(CopySearch.model_validate(run.value(f"copies/{embedded.name}", key, compute)))
            meter(1)
    return searches


def named(encoders: Sequence[Encoder]) -> dict[str, Encoder]:
    """Encoders by name; a second one of the same kind is ``clip-2``."""
    names: dict[str, Encoder] = {}
    for encoder in encoders:
        kind = encoder.spec.name
        same = sum(name.split("-")[0] == kind for name in names)
        names[kind if same == 0 else f"{kind}-{same + 1}"] = encoder
    return names


def embed_everything(run: RunDirectory, inputs: Inputs, made: Made, show: Progress) -> list[Embedded]:
    """All images of the audit under every encoder."""
    return [
        Embedded(
            name=name,
            encoder=encoder,
            train=embed_images(run, f"{name}/train", inputs.train, encoder, show),
            holdout=embed_images(run, f"{name}/holdout", inputs.holdout, encoder, show),
            generations=embed_generations(run, f"{name}/generations", made.generations, made.key, encoder, show),
            control=embed_generations(run, f"{name}/memorizer", made.control, made.key, encoder, show),
        )
        for name, encoder in named(inputs.encoders).items()
    ]


def deal_holdout(inputs: Inputs, embedded: Embedded, seed: str) -> HeldOut:
    """Held-out slices by whole duplicate groups of the first encoder, so that no group is cut by a slice."""
    ids = list(inputs.holdout.digests)
    groups = held_out_groups(inputs, embedded, seed)
    return slice_holdout(ids, groups.tolist(), inputs.sizes, seed)


def held_out_groups(inputs: Inputs, embedded: Embedded, seed: str) -> NDArray[np.int64]:
    """Duplicate group of every held-out image, in the order of ids; planted copies give the threshold."""
    ids, digests = list(inputs.holdout.digests), digests_of(inputs.holdout)
    rows = sample_originals(digests, seed)
    planted = embed_planted(rows, pixels_of(inputs.holdout.source, [ids[r] for r in rows]), embedded.encoder, seed)
    pool = Pool(embedded.holdout, ids, np.ones(len(ids), np.bool_), digests)
    return duplicate_groups(pool, floor_of_planted(planted)).group


def search_copies(
    run: RunDirectory,
    inputs: Inputs,
    embedded: Embedded,
    held_out: HeldOut,
    generations: Generations,
    config: AuditConfig,
    seed: str,
) -> CopySearch:
    """The copy decision of one encoder with its placebo and positive controls."""
    name = embedded.name
    pool = build_pool(run, inputs, embedded, held_out)
    planted = plant_in(pool, inputs, embedded.encoder, seed)

    def verbatim(rows: NDArray[np.int64], originals: NDArray[np.int64]) -> NDArray[np.bool_]:
        return compare_pixels(inputs.train, pool, generations, rows, originals)

    decision = decide(
        pool, embedded.generations, encoder=name, planted=planted, alpha=config.copies.alpha,
        level=config.copies.level, split=config.data.split, evidence=config.copies.evidence, verbatim=verbatim,
    )  # fmt: skip
    competition = name_probes(decision.competition, generations)
    checks = [
        resolving_check(competition),
        planted_check(name, competition.planted_recall, competition.recall_by_transformation),
    ]
    if competition.resolving:
        checks.append(placebo(pool, decision, embedded, inputs, held_out, config))
        checks.append(memorizer_check(pool, decision, embedded.control, config))
    return CopySearch(competition=competition, checks=checks, notes=decision.notes)


def build_pool(run: RunDirectory, inputs: Inputs, embedded: Embedded, held_out: HeldOut) -> Pool:
    """Training rows, then the held-out rows of the competition slice; their vectors stay on disk."""
    competing = rows_of(inputs.holdout, held_out.competition)
    train_ids = list(inputs.train.digests)
    return Pool(
        embeddings=join(run, f"embed/{embedded.name}/pool", [embedded.train, embedded.holdout[competing]]),
        ids=[*train_ids, *held_out.competition],
        is_training=np.arange(len(train_ids) + len(competing)) < len(train_ids),
        pixel_digest=np.concatenate([digests_of(inputs.train), digests_of(inputs.holdout)[competing]]),
    )


def plant_in(pool: Pool, inputs: Inputs, encoder: Encoder, seed: str) -> PlantedCopies:
    """Planted copies of a label-blind sample of the pool."""
    rows = sample_originals(pool.pixel_digest, seed)
    of_train = rows[rows < pool.training]
    of_holdout = rows[rows >= pool.training]
    parts = [
        pixels_of(images.source, [pool.ids[row] for row in part])
        for images, part in ((inputs.train, of_train), (inputs.holdout, of_holdout))
        if len(part)
    ]
    return embed_planted(rows, np.concatenate(parts), encoder, seed)


def compare_pixels(
    train: Images, pool: Pool, generations: Generations, rows: NDArray[np.int64], originals: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Which generations repeat which training images pixel by pixel, Bool[P]."""
    if len(rows) == 0:
        return np.zeros(0, np.bool_)
    made = np.stack([generations.pixels(int(row)) for row in rows])
    return verbatim_copies(made, pixels_of(train.source, [pool.ids[row] for row in originals]))


def name_probes(competition: Competition, generations: Generations) -> Competition:
    """Evidence by probe number instead of generation row; they differ once a probe gave no image."""
    probe = generations.probe
    evidence = [item.model_copy(update={"probe": int(probe[item.probe])}) for item in competition.evidence]
    return competition.model_copy(update={"evidence": evidence})


def placebo(
    pool: Pool, decision: CopyDecision, embedded: Embedded, inputs: Inputs, held_out: HeldOut, config: AuditConfig
) -> Check:
    """Held-out images of the placebo slice in the place of generations."""
    hits = placebo_hits(
        pool, decision.groups, decision.competes, embedded.holdout[rows_of(inputs.holdout, held_out.placebo)],
        duplicate_threshold=decision.competition.duplicate_threshold, alpha=config.copies.alpha,
    )  # fmt: skip
    name = embedded.name
    return placebo_check(name, hits.queries, hits.training_hits, hits.holdout_hits, hits.n, hits.m)


def memorizer_check(pool: Pool, decision: CopyDecision, control: Vectors, config: AuditConfig) -> Check:
    """The closed-form memorizer of the training set must be found out by the very competition that decides."""
    items = score_items(pool, decision.groups, control, decision.competes, alpha=config.copies.alpha)
    is_training = (decision.groups.kind == GroupClass.TRAINING)[decision.competes]
    contest = compete(
        items.score[decision.competes], items.is_hit[decision.competes], is_training,
        alpha=config.copies.alpha, level=config.copies.level,
    )  # fmt: skip
    underpowered = contest.floor > len(control)
    status = "not tested" if underpowered else "passed" if contest.lower_bound > 0 else "failed"
    return Check(
        id="positive-control",
        title="The closed-form memorizer is found out",
        encoder=decision.competition.encoder,
        status=status,
        statement=f"{len(control):,} generations of the training set's optimal denoiser led to "
        f"{int(contest.certified.sum()):,} certified training images, of them at least {contest.lower_bound:,} copies.",
        power=f"{len(control):,} generations; {contest.floor:,} training hits are the least that can be called.",
    )


def resolving_check(competition: Competition) -> Check:
    """Whether the encoder tells a copy from another image of this pool."""
    verb = "do" if competition.resolving else "do not"
    return Check(
        id="resolving",
        title="Copies stand out from look-alikes",
        encoder=competition.encoder,
        status="passed" if competition.resolving else "failed",
        statement=f"Copies {verb} stand out: 95% of planted copies are at {competition.planted_p05:.4f} or more to "
        f"their original, 99% of the images at {competition.pool_p99:.4f} or less to their nearest other image.",
    )


def rows_of(images: Images, ids: Sequence[str]) -> NDArray[np.int64]:
    """Rows of some ids in the order of the set, Int64[len(ids)]."""
    row = {name: position for position, name in enumerate(images.digests)}
    return np.array([row[name] for name in ids], np.int64)


def digests_of(images: Images) -> NDArray[Any]:
    """16-byte pixel digests in the order of ids, as NumPy bytes of fixed width.

    Hexadecimal, since NumPy drops trailing zero bytes from fixed-width byte strings.
    """
    return np.array([digest.hex() for digest in images.digests.values()], dtype="S32")
