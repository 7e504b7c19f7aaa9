"""Scores of named images under every attack, in parts that survive a kill."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from auditor.checkpoint.tokens import read as read_prompts
from auditor.config import AuditConfig
from auditor.data.survey import pixel_digest
from auditor.diffusion.denoiser import Denoiser
from auditor.diffusion.score_table import ScoreTable, join
from auditor.diffusion.sweep import Batch, sweep
from auditor.membership import ATTACKS
from auditor.progress import Meter
from auditor.stages.inputs import Images, Inputs
from auditor.stages.membership.labels import label_of
from auditor.stages.networks import under
from auditor.stages.pieces import Piece
from auditor.stages.reopen import Opened
from auditor.store.digest import value_digest
from auditor.store.run_directory import RunDirectory

PART = 128  # images per ledger entry and sweep batch


@dataclass(frozen=True)
class Source:
    """The images of one side of the test, in the order asked for."""

    images: Images
    ids: list[str]
    name: str  # such as "members" or "nonmembers": the noise of its images depends on it


def attack(
    run: RunDirectory,
    inputs: Inputs,
    sources: Sequence[Source],
    config: AuditConfig,
    seed: str,
    labelled: bool,
    meter: Meter,
    *,
    kinds: Sequence[str] | None = None,
    stage: str = "membership",
) -> list[ScoreTable]:
    """Scores of each side, in parts that survive a kill.

    Args:
      kinds: Names of the attacks; None = all that the configuration asks for and a sweep can serve.
      stage: Where in the run directory the parts lie.
    """
    attacks = tuple(swept(config) if kinds is None else kinds)
    sides = [Sweeps(stage, one.name, inputs.name_of(one.images), tuple(one.ids), attacks, labelled) for one in sources]
    pieces = [side.pieces(run, inputs, config, seed) for side in sides]
    inputs.spread([piece for side in pieces for piece in side], partial(sweeps_again, sides, inputs.network), meter)
    # Read once all are made: small arrays between the large ones of a sweep would keep the heap from shrinking.
    return [join([from_plain(piece.get()) for piece in side]) for side in pieces]


@dataclass(frozen=True)
class Sweeps:
    """The attacks on one side under one network, as plain values."""

    stage: str
    name: str  # of the side: its noise depends on it
    images: str  # the set that the ids come from
    ids: tuple[str, ...]
    kinds: tuple[str, ...]  # names of the attacks
    labelled: bool

    def pieces(self, run: RunDirectory, inputs: Inputs, config: AuditConfig, seed: str) -> list[Piece]:
        """One sweep batch a piece."""
        images, attacks = inputs.sets[self.images], [ATTACKS[kind] for kind in self.kinds]
        size = config.generation.batch_size

        def compute(part: list[str]) -> dict[str, Any]:
            denoiser, batch = conditioned(inputs, images, part, f"{self.name}/{seed}", self.labelled)
            return to_plain(sweep(denoiser, [batch], attacks, seed=f"{seed}/{self.name}", batch_size=size))

        def piece(start: int) -> Piece:
            part = list(self.ids[start : start + PART])
            key = {
                "checkpoint": inputs.scan.digest, "set": images.info.digest, "ids": value_digest(part), "seed": seed,
                "attacks": [repr(attack) for attack in attacks], "batch": size, "labelled": self.labelled,
            }  # fmt: skip
            place = f"{self.stage}/{self.name}/{start // PART:05d}"
            return Piece(run, place, key, len(part), partial(compute, part), plain=True)

        return [piece(start) for start in range(0, len(self.ids), PART)]


def sweeps_again(sides: Sequence[Sweeps], network: str, opened: Opened) -> list[Piece]:
    """The same pieces in a worker."""
    inputs = under(opened.inputs, network, opened.seed)
    return [piece for side in sides for piece in side.pieces(opened.run, inputs, opened.config, opened.seed)]


def swept(config: AuditConfig) -> list[str]:
    """The attacks asked for that a sweep serves: all that see nothing but predictions."""
    return [kind for kind in config.membership.attacks if kind in ATTACKS]


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


def conditioned(inputs: Inputs, images: Images, ids: list[str], stream: str, labelled: bool) -> tuple[Denoiser, Batch]:
    """The named images as one batch in model space with their conditions, and the denoiser that reads these.

    A class-conditional checkpoint takes class numbers; a text-to-image checkpoint is bound to the captions, of which
    those that it sees the same of are one condition. Both only if all members and all non-members state one
    (``labelled``): true conditions on one side and others on the other would look like membership. Otherwise classes
    are drawn at random, and texts are empty.
    """
    read = next(iter(images.source.batches(len(ids), only=frozenset(ids))))
    images.check(read.ids, [pixel_digest(pixels) for pixels in read.pixels])
    checkpoint = inputs.checkpoint
    x0 = checkpoint.codec.to_model(read.pixels)
    if checkpoint.text is not None and labelled:
        captions = [caption or "" for caption in read.captions]
        bound = checkpoint.with_prompts(captions)
        places = same_places([one.seen for one in read_prompts(bound.denoiser, captions)])
        return bound.denoiser, (read.ids, x0, torch.tensor(places, device=x0.device))
    classes = checkpoint.num_classes
    if classes is None:
        return checkpoint.denoiser, (read.ids, x0, None)
    texts = read.captions if labelled else [None] * len(read.ids)
    labels = [label_of(name, text, stream, classes) for name, text in zip(read.ids, texts, strict=True)]
    return checkpoint.denoiser, (read.ids, x0, torch.tensor(labels).to(x0.device))


def same_places(seen: Sequence[str]) -> list[int]:
    """Of each text, the place of the first one that is the same."""
    first: dict[str, int] = {}
    return [first.setdefault(text, place) for place, text in enumerate(seen)]
