"""Null behaviour on a real checkpoint: held-out images, 500 times dealt into false members and non-members.

No split means anything, so every p-value must be uniform: of each attack at its calibrated variant, of the shift test,
and of the negative control. The scores are those of general-a and of the same network untrained, swept once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from scipy.stats import binom, kstest

from auditor.checkpoint.fresh import reinitialise
from auditor.checkpoint.load import LoadedCheckpoint, load
from auditor.checkpoint.scan import scan
from auditor.diffusion.score_table import ScoreTable
from auditor.diffusion.sweep import sweep
from auditor.encoders.pixel import PixelEncoder
from auditor.membership import ATTACKS
from auditor.membership.evaluate import Side, calibration_slice, evaluate
from auditor.validity.image_statistics import image_statistics, level_names, level_shares, statistic_names
from auditor.validity.shift import Basis, describe, shift_test
from auditor.validity.untrained import untrained_check
from tests.conftest import FIXTURES
from tests.validity.plants import Pixels, garments

IMAGES, SPLITS = 600, 500
KINDS = ("loss", "pia")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@dataclass(frozen=True)
class World:
    """Held-out images and everything about them that is no matter of labels."""

    table: ScoreTable
    untrained: ScoreTable
    basis: Basis


def swept(checkpoint: LoadedCheckpoint, pixels: Pixels) -> ScoreTable:
    ids = [f"image-{row:03d}" for row in range(len(pixels))]
    batch = (ids, checkpoint.codec.to_model(pixels), None)
    return sweep(checkpoint.denoiser, [batch], [ATTACKS[kind] for kind in KINDS], seed="null")


@pytest.fixture(scope="module")
def world() -> World:
    pixels = garments(IMAGES, seed=5)
    trained = load(scan(FIXTURES / "general-a" / "checkpoint"), device="cpu")
    seen = np.concatenate([image_statistics(pixels), level_shares(pixels)], axis=1)
    names = [*statistic_names(1, 16, 16), *level_names()]
    basis = describe(seen, names, PixelEncoder(1, 16, 16)(pixels))
    return World(swept(trained, pixels), swept(reinitialise(trained, "null"), pixels), basis)


@pytest.fixture(scope="module")
def splits() -> list[np.ndarray]:
    draw = np.random.default_rng(6)
    return [draw.permutation(IMAGES) < IMAGES // 2 for _ in range(SPLITS)]


def side(table: ScoreTable, rows: np.ndarray, seed: str) -> Side:
    ids = [table.ids[row] for row in rows]
    scores = {name: {v: x[rows] for v, x in variants.items()} for name, variants in table.scores.items()}
    part = replace(table, ids=ids, positions=np.arange(len(rows)), scores=scores)
    return Side(part, np.random.default_rng(int(rows.sum())).random(len(rows)), calibration_slice(ids, 0.3, seed))


def refuse_unless_uniform(p_values: np.ndarray, step: float = 0.0) -> None:
    """KS, and rejections at 5% within three binomial errors of 0.0097; ``step`` is the lattice of permutation tests."""
    assert len(p_values) == SPLITS
    assert kstest(p_values - step / 2, "uniform").pvalue > 0.001
    assert abs(np.mean(p_values <= 0.05) - 0.05) < 3 * 0.0097


def attacked(world: World, is_member: np.ndarray, seed: str) -> list[tuple[str, float, float]]:
    sides = [side(world.table, np.flatnonzero(mask), seed) for mask in (is_member, ~is_member)]
    return [(attack.name, attack.p_value, attack.p_adjusted) for attack in evaluate(*sides)]


def test_membership_p_values_are_uniform(world, splits):
    results = [attacked(world, is_member, str(number)) for number, is_member in enumerate(splits)]
    for place, kind in enumerate(KINDS):
        assert {result[place][0] for result in results} == {kind}
        refuse_unless_uniform(np.array([result[place][1] for result in results]))
    # any attack at 5%, adjusted: at most that often, and three binomial errors
    any_of_them = np.mean([min(adjusted for _, _, adjusted in result) <= 0.05 for result in results])
    assert any_of_them <= 0.05 + 3 * 0.0097


def test_shift_p_values_are_uniform(world, splits):
    found = [
        shift_test(world.basis, is_member, str(number), permutations=99) for number, is_member in enumerate(splits)
    ]
    refuse_unless_uniform(np.array([shift.p_value for shift in found]), step=0.01)


def test_the_negative_control_blocks_as_rarely_as_it_may(world, splits):
    blocked, any_direction = 0, []
    for is_member in splits:
        scores = {
            kind: tuple(next(iter(world.untrained.scores[kind].values()))[mask] for mask in (is_member, ~is_member))
            for kind in KINDS
        }
        check = untrained_check(scores, "an untrained network")
        blocked += check.status == "failed"
        any_direction.append(check.p_value)
    assert blocked <= binom.ppf(0.999, SPLITS, 0.01)
    assert np.mean(np.array(any_direction) <= 0.05) <= 0.05 + 3 * 0.0097


def test_control_a_split_that_means_something_is_seen_by_all(world):
    """Members are the half that the loss favours most: every test must leave its null."""
    favoured = np.argsort(-world.table.scores["loss"]["t=200"])
    is_member = np.isin(np.arange(IMAGES), favoured[: IMAGES // 2])
    assert attacked(world, is_member, "control")[0][2] < 1e-6
    assert shift_test(world.basis, is_member, "control", permutations=99).p_value == pytest.approx(0.01)
    scores = {"loss": tuple(world.untrained.scores["loss"]["t=200"][mask] for mask in (is_member, ~is_member))}
    assert untrained_check(scores, "an untrained network").p_value < 0.05
