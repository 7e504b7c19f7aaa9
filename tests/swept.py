"""Scores of fixture checkpoints' images under cheap attacks, swept once a session, and what the images show alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from auditor.checkpoint.load import load
from auditor.checkpoint.scan import scan
from auditor.data import Geometry, open_source, pixels_of, survey
from auditor.diffusion.score_table import ScoreTable
from auditor.diffusion.sweep import sweep
from auditor.membership import ATTACKS
from auditor.probes import generator
from auditor.validity.image_statistics import image_statistics

CHEAP = ("loss", "sima", "pia")  # 10 evaluations an image
SETS = {
    "memorized": ("memorized/train", "memorized/holdout"),
    "partial": ("partial/train.tar", "partial/holdout.tar"),
    "general-a": ("general/train-a.parquet", "general/holdout.parquet"),
}


@dataclass(frozen=True)
class Swept:
    """One side: distinct images, in a random choice."""

    table: ScoreTable
    statistics: np.ndarray


@lru_cache
def swept(fixtures: Path, name: str, side: str, count: int, attacks: tuple[str, ...] = CHEAP) -> Swept:
    """``count`` distinct images of the "members" or "nonmembers" of a fixture, in random order."""
    path = SETS[name][side == "nonmembers"]
    source = open_source(fixtures / path, Geometry(1, 16, 16), id_column="id" if path.endswith("parquet") else None)
    first: dict[bytes, str] = {}
    for id, digest in survey(source)[1].items():
        first.setdefault(digest, id)
    different = list(first.values())
    ids = [different[row] for row in generator("tests", side).permutation(len(different))[:count]]  # not by class
    checkpoint, pixels = load(scan(fixtures / name / "checkpoint"), device="cpu"), pixels_of(source, ids)
    batches = (
        (ids[row : row + 128], checkpoint.codec.to_model(pixels[row : row + 128]), None)
        for row in range(0, len(ids), 128)
    )
    table = sweep(checkpoint.denoiser, batches, [ATTACKS[kind] for kind in attacks], seed=f"tests/{side}")
    return Swept(table, image_statistics(pixels))
