"""A closer look at an audit's shortlisted pairs, and what kind of copy each piece of evidence is."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from auditor.config import AuditConfig
from auditor.copies.blends import blends
from auditor.copies.closer import CloserLook, look_closer
from auditor.copies.decide import CopyDecision
from auditor.copies.kinds import kind_of, likeness
from auditor.copies.parts import LEAST_SIDE, align
from auditor.copies.pool import Pool
from auditor.copies.queries import Queries
from auditor.copies.shortlist import Pairs
from auditor.data import pixels_of
from auditor.encoders.views import IDENTITY, MIRROR, view
from auditor.indexing.stream import BATCH
from auditor.stages.generate import Generations
from auditor.stages.inputs import Images, Inputs
from auditor.stages.kind_evidence import blend_search, level_of_each, part_search
from auditor.stages.masks import write_masks
from auditor.store.record import Competition, CopyEvidence

NO_LOOK = "Parts and blends of training images: copies.closer is 0."
TOO_SMALL = f"Parts of pictures: below {LEAST_SIDE} pixels a side a patch holds too little to be told from another."


@dataclass(frozen=True)
class Sight:
    """The pixels that a closer look asks for, a few pictures at a time."""

    pool: Pool
    inputs: Inputs
    generations: Generations

    def made(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """UInt8[Q C H W] of generations by row."""
        return np.stack([self.generations.pixels(int(row)) for row in rows])

    def images(self, rows: NDArray[np.int64]) -> Iterator[tuple[Images, NDArray[np.int64]]]:
        """The training and the held-out set, each with those of the pool rows that are its own."""
        of_train = rows < self.pool.training
        yield self.inputs.train, rows[of_train]
        yield self.inputs.holdout, rows[~of_train]


class Pictures:
    """Pictures of pool rows, read from their sets in one pass.

    A set may be readable forwards only, and a closer look asks for the same few pictures again and again. They wait in
    a file without a name, so that neither memory nor a killed audit suffers.
    """

    def __init__(self, folder: Path, sight: Sight, rows: NDArray[np.int64]) -> None:
        self.rows, shape = np.unique(rows), sight.made(np.zeros(1, np.int64)).shape[1:]
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - it lives as long as the pictures
        size = len(self.rows) * int(np.prod(shape))
        os.posix_fallocate(self._file.fileno(), 0, max(size, 1))  # a full disk is an error here, not a crash later
        self._pixels = np.memmap(self._file, np.uint8, "r+", shape=(len(self.rows), *shape))
        for images, which in sight.images(self.rows):
            row_of = {sight.pool.ids[row]: int(row) for row in which}
            lost = set(row_of)
            for batch in images.source.batches(BATCH, only=frozenset(row_of)) if row_of else ():
                self._pixels[self.places(np.array([row_of[name] for name in batch.ids]))] = batch.pixels
                lost.difference_update(batch.ids)
            if lost:
                pixels_of(images.source, sorted(lost))  # says which and why

    def places(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where rows stand among those that were read."""
        return np.searchsorted(self.rows, rows)

    def __call__(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """UInt8[Q C H W]."""
        return np.asarray(self._pixels[self.places(rows)])


def closer_look(
    folder: Path, sight: Sight, decision: CopyDecision, asked: Queries, config: AuditConfig
) -> tuple[Competition, list[str]]:
    """The decision's competition with the kind of every copy and the searches for parts and blends; and notes.

    The first ``copies.closer`` generations are looked at, whatever they show, so that the cost is bounded and no choice
    depends on labels.

    Args:
      folder: The run directory; masks of what was repeated are written into it.
    """
    small = min(sight.made(np.zeros(1, np.int64)).shape[2:]) < LEAST_SIDE
    looked_at = np.arange(asked.generations) < config.copies.closer
    read: list[Pictures] = []

    def pictures(pairs: Pairs) -> Pictures:
        if not read:
            read.append(Pictures(folder, sight, pairs.row))  # parts and blends are asked about the same pairs
        return read[0]

    look = look_closer(
        sight.pool, decision, asked.only(looked_at),
        align=None if small else lambda pairs: align(pairs, sight.made, pictures(pairs)),
        blend=lambda pairs: blends(pairs, sight.made, pictures(pairs)),
        alpha=config.copies.alpha, level=level_of_each(config.copies.level),
    )  # fmt: skip
    searches = [blend_search(sight.pool, decision, look, config)]
    if not small:
        parts = part_search(sight.pool, decision, look, config)
        searches.insert(0, write_masks(folder, decision.competition.encoder, parts, look, sight.made))
    evidence = described(folder, sight, decision, look)
    competition = decision.competition.model_copy(update={"evidence": evidence, "closer": searches})
    notes = [TOO_SMALL] if small else []
    if not looked_at.all():
        notes.append(f"Parts and blends in {(~looked_at).sum():,} of {len(looked_at):,} generations (copies.closer).")
    return competition, notes


def described(folder: Path, sight: Sight, decision: CopyDecision, look: CloserLook) -> list[CopyEvidence]:
    """The evidence with the kind of each piece; its ``probe`` is still the generation's row.

    The generation that is nearest to an item need not have it on its shortlist; so each pair is placed for itself.
    """
    listed = decision.competition.evidence
    row_of = {name: row for row, name in enumerate(sight.pool.ids[: sight.pool.training])}
    row = np.array([row_of[item.id] for item in listed], np.int64)
    made, group = np.array([item.probe for item in listed], np.int64), decision.groups.group[row]
    pictures, order = Pictures(folder, sight, row), np.argsort(made, kind="stable")
    pairs = Pairs(made[order], row[order], group[order], both_ways=look.pairs.both_ways)
    placed = None if look.alignments is None else align(pairs, sight.made, pictures)
    found = dict[int, CopyEvidence]()
    for place, number in enumerate(order.tolist()):
        known = {} if placed is None or placed.size[place] <= 0 else {
            name: float(getattr(placed, name)[place]) for name in ("size", "covered", "scale")
        }  # fmt: skip
        item, pair = listed[number], look.pair_of(int(made[number]), int(group[number]))
        mirrored = bool(placed.mirrored[place]) if known and placed is not None else item.view == MIRROR
        kind = kind_of(
            likeness(view(sight.made(made[[number]]), MIRROR if mirrored else IDENTITY)[0], pictures(row[[number]])[0]),
            verbatim=item.tier == "verbatim",
            mirrored=mirrored,
            blended=pair >= 0 and bool(np.isfinite(look.blends.score[pair])),
            **known,
        )
        found[number] = item.model_copy(update={"kind": kind, "covered": known.get("covered")})
    return [found[number] for number in range(len(listed))]
