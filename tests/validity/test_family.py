"""All checks with a p-value together, on real garments: an honest audit is blocked as rarely as promised."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import binom

from auditor.copies.compete import compete
from auditor.copies.groups import GroupClass, competing, duplicate_groups
from auditor.copies.items import score_items
from auditor.copies.placebo_hits import placebo_hits
from auditor.copies.pool import Pool
from auditor.encoders.pixel import PixelEncoder
from auditor.stages.slices import slice_holdout, slice_sizes
from auditor.store.record import Check
from auditor.validity.blind import blind_check, blind_scores
from auditor.validity.image_statistics import image_statistics
from auditor.validity.placebo import holm_checks, placebo_check
from tests.conftest import FIXTURES

REPETITIONS = 120
TRAINING, HELD_OUT, TESTED, GENERATIONS = 500, 500, 200, 300
THRESHOLD = 0.998  # planted copies' 5th percentile on these garments


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Thousands of tiny searches: two threads would mostly wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@dataclass(frozen=True)
class World:
    """Garments that no fixture but ``general`` holds out, and everything about them that is no matter of labels."""

    vectors: NDArray[np.float32]  # [W D]
    statistics: NDArray[np.float32]
    digest: NDArray[np.str_]
    group: NDArray[np.int64]

    def pool(self, rows: NDArray[np.int64], training: int) -> Pool:
        is_training = np.arange(len(rows)) < training
        return Pool(self.vectors[rows], [str(row) for row in rows], is_training, self.digest[rows])


@pytest.fixture(scope="module")
def world() -> World:
    table = pq.read_table(FIXTURES / "general" / "holdout.parquet", columns=["image"])
    rows = np.random.default_rng(0).permutation(len(table))[:4_000]
    cells = table.column("image").take(rows).to_pylist()
    files = [cell["bytes"] if isinstance(cell, dict) else cell for cell in cells]
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(file))) for file in files])[:, None]
    vectors, digest = PixelEncoder(1, 16, 16)(pixels), np.array([image.tobytes().hex() for image in pixels])
    everyone = Pool(vectors, [str(row) for row in range(len(rows))], np.ones(len(rows), np.bool_), digest)
    return World(vectors, image_statistics(pixels), digest, duplicate_groups(everyone, THRESHOLD).group)


@dataclass(frozen=True)
class Audit:
    checks: list[Check]
    called: bool  # any training image certified
    bounded: bool  # X > 0


def honest_audit(world: World, seed: int) -> Audit:
    """Random garments trained on, others held out and sliced as an audit does, others in place of generations."""
    rows = np.random.default_rng(seed).permutation(len(world.vectors))
    training, held, made = np.split(rows[: TRAINING + HELD_OUT + GENERATIONS], [TRAINING, TRAINING + HELD_OUT])
    sizes = slice_sizes(TRAINING, HELD_OUT, TESTED)
    dealt = slice_holdout([str(row) for row in held], world.group[held].tolist(), sizes, str(seed))
    slices = (dealt.competition, dealt.placebo, dealt.membership)
    competition, placebo, nonmembers = (np.array([int(row) for row in part]) for part in slices)

    everything = world.pool(np.concatenate([training, competition, placebo, nonmembers]), TRAINING)
    pool = everything.first(TRAINING + len(competition))
    groups = duplicate_groups(everything, THRESHOLD, rows=len(pool.ids))
    competes = competing(groups, "image")
    hits = placebo_hits(pool, groups, competes, world.vectors[placebo], duplicate_threshold=THRESHOLD)
    first = placebo_check("pixel", hits.queries, hits.training_hits, hits.holdout_hits, hits.n, hits.m)

    tested = np.concatenate([training[:TESTED], nonmembers])
    is_member = np.arange(len(tested)) < TESTED
    scores = blind_scores(world.statistics[tested], is_member, world.group[tested], str(seed))
    second = blind_check(scores, is_member, world.group[tested])

    items = score_items(pool, groups, world.vectors[made], competes, alpha=0.1)
    is_training = (groups.kind == GroupClass.TRAINING)[competes]
    contest = compete(items.score[competes], items.is_hit[competes], is_training)
    return Audit(holm_checks([first, second]), bool(contest.certified.any()), contest.lower_bound > 0)


def test_an_honest_audit_is_blocked_and_accused_as_rarely_as_promised(world: World) -> None:
    audits = [honest_audit(world, seed) for seed in range(REPETITIONS)]
    assert np.mean([all(check.p_adjusted is not None for check in audit.checks) for audit in audits]) > 0.9
    blocked = sum(any(check.status == "failed" for check in audit.checks) for audit in audits)
    assert blocked <= binom.ppf(0.999, REPETITIONS, 0.01)
    assert sum(audit.called for audit in audits) <= binom.ppf(0.999, REPETITIONS, 0.10)
    assert sum(audit.bounded for audit in audits) <= binom.ppf(0.999, REPETITIONS, 0.05)


def test_control_a_held_out_set_of_the_brightest_garments_is_blocked(world: World) -> None:
    bright = np.argsort(-world.statistics[:, :256].mean(axis=1))  # the first 256 statistics are a 16x16 thumbnail
    rows = np.concatenate([bright[TRAINING : 2 * TRAINING], bright[:TRAINING]])
    is_member = np.arange(2 * TRAINING) < TRAINING
    scores = blind_scores(world.statistics[rows], is_member, world.group[rows], "control")
    assert holm_checks([blind_check(scores, is_member, world.group[rows])])[0].status == "failed"
