"""The shared sweep: nothing evaluated twice, nothing changed by sharing, batches or order."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from auditor.diffusion.denoiser import CountingDenoiser
from auditor.diffusion.evaluations import Request
from auditor.diffusion.ideal import IdealDenoiser
from auditor.diffusion.prediction import PredictionType
from auditor.diffusion.score_table import join
from auditor.diffusion.sweep import sweep
from auditor.errors import ConfigError
from auditor.membership import ATTACKS
from auditor.membership.clid import BY_CAPTION

EVERY = [ATTACKS[name] for name in ATTACKS if name not in BY_CAPTION]
# loss: 3 times. pia: x0 at t = 0, then 3. pian: the same first, then 3. secmi: 0, 10, ..., 100, its first shared too.
# sima: 3 times. pfami: 10 times and 2 images, 3 shared with loss. small_noise: 5 from each of 3 times, the first shared
# with pfami. rediffuse: 10 from t = 100 and 20 from t = 200, a first one of each shared with loss.
FLOOR = 3 + (1 + 3) + 3 + (11 - 1) + 3 + (20 - 3) + (15 - 3) + (30 - 2)
UNSHARED = {
    "loss": 3, "pia": 4, "pian": 4, "secmi": 11, "sima": 3, "pfami": 20, "small_noise": 15, "rediffuse": 30,
}  # fmt: skip


def batched(x0: torch.Tensor, size: int, order: list[int] | None = None):
    order = list(range(len(x0))) if order is None else order
    parts = [order[first : first + size] for first in range(0, len(order), size)]
    return [([f"image-{row}" for row in part], x0[part], None) for part in parts]


@pytest.fixture
def denoiser(network_denoiser, linear):
    return CountingDenoiser(network_denoiser(PredictionType.EPSILON, linear))


def test_evaluations_come_to_the_declared_floor(denoiser, normal):
    table = sweep(denoiser, batched(normal(1, 6, 1, 8, 8), 4), EVERY, seed="s")
    assert table.per_image == UNSHARED
    assert table.evaluations == denoiser.evaluations == 6 * FLOOR
    assert table.evaluations_unshared == 6 * sum(UNSHARED.values())


def test_a_round_is_one_call_when_it_fits(denoiser, normal):
    sweep(denoiser, batched(normal(1, 4, 1, 8, 8), 4), EVERY, seed="s", batch_size=1000)
    assert denoiser.calls == 11  # SecMI's path has the most rounds; all others ride along


def test_calls_stay_within_the_batch_size(network_denoiser, linear, normal):
    sizes = []

    class Watched(CountingDenoiser):
        def __call__(self, x_t, t, condition=None):
            sizes.append(len(x_t))
            return super().__call__(x_t, t, condition)

    sweep(
        Watched(network_denoiser(PredictionType.EPSILON, linear)),
        batched(normal(1, 6, 1, 8, 8), 6),
        EVERY,
        seed="s",
        batch_size=5,
    )
    assert max(sizes) == 5 and sum(sizes) == 6 * FLOOR


# The network's own last digits depend on the size of its batch: 1e-7 relative per call, up to 11 calls in a row. SecMI
# squares the difference of two nearly equal states, 1e-3 of their size here, which multiplies that by about 1,000.
TOLERANCE = 1e-4


def worst(one, other) -> float:
    """Largest difference between two tables, relative to the size of each column."""
    assert one.ids == other.ids
    return max(
        float(np.abs(column - other.scores[name][variant]).max() / np.abs(column).max())
        for name, columns in one.scores.items()
        for variant, column in columns.items()
    )


def test_sharing_changes_no_score(denoiser, normal):
    batches = batched(normal(2, 5, 1, 8, 8), 5)
    together = sweep(denoiser, batches, EVERY, seed="s")
    for attack in EVERY:
        alone = sweep(denoiser, batches, [attack], seed="s")
        for variant, column in alone.scores[attack.name].items():
            assert np.allclose(column, together.scores[attack.name][variant], rtol=TOLERANCE, atol=0)


@pytest.mark.parametrize("size, batch_size", [(1, 1), (2, 3), (7, 64)])
def test_batches_do_not_matter(size, batch_size, denoiser, normal):
    x0 = normal(3, 7, 1, 8, 8)
    reference = sweep(denoiser, batched(x0, 7), EVERY, seed="s")
    assert worst(reference, sweep(denoiser, batched(x0, size), EVERY, seed="s", batch_size=batch_size)) < TOLERANCE


def test_order_does_not_matter_but_the_seed_does(denoiser, normal):
    x0, order = normal(4, 5, 1, 8, 8), [3, 0, 4, 2, 1]
    straight = sweep(denoiser, batched(x0, 5), [ATTACKS["loss"]], seed="s")
    shuffled = sweep(denoiser, batched(x0, 2, order), [ATTACKS["loss"]], seed="s")
    other = sweep(denoiser, batched(x0, 5), [ATTACKS["loss"]], seed="other")
    column = straight.scores["loss"]["t=100"]
    assert np.allclose(column[order], shuffled.scores["loss"]["t=100"], rtol=TOLERANCE)
    assert not np.allclose(column, other.scores["loss"]["t=100"], rtol=1e-2)


def test_joined_tables_equal_one_sweep(denoiser, normal):
    batches = batched(normal(5, 6, 1, 8, 8), 3)
    whole = sweep(denoiser, batches, EVERY, seed="s")
    joined = join([sweep(denoiser, [batch], EVERY, seed="s") for batch in batches])
    assert worst(whole, joined) == 0
    assert np.array_equal(whole.positions, joined.positions)
    assert (whole.evaluations, whole.evaluations_unshared) == (joined.evaluations, joined.evaluations_unshared)


@dataclass(frozen=True)
class RootOfMean:
    """Scores the square root of each image's mean: not a number where that is negative."""

    name: str = "root"

    def rounds(self, samples):
        (answer,) = yield [Request(samples.x0, 0)]
        return {"only": samples.x0.mean((1, 2, 3)).sqrt() + 0 * answer.eps.mean((1, 2, 3))}


def test_a_score_that_is_not_finite_is_unscored_with_its_reason(denoiser, normal):
    x0 = normal(6, 4, 1, 8, 8).abs()
    x0[2] *= -1
    table = sweep(denoiser, batched(x0, 2), [RootOfMean(), ATTACKS["pia"]], seed="s")
    assert table.ids == ["image-0", "image-1", "image-3"] and table.positions.tolist() == [0, 1, 3]
    assert table.unscored == [("image-2", "root, only: the score is nan")]
    assert all(len(column) == 3 for columns in table.scores.values() for column in columns.values())


def test_conditions_reach_the_network_row_by_row(linear, normal):
    class Labelled(IdealDenoiser):
        """Answers with the label, so that a score shows whose label its row was given."""

        def __call__(self, x_t, t, condition=None):
            return torch.zeros_like(x_t) + condition.view(-1, 1, 1, 1)

    @dataclass(frozen=True)
    class Label:
        name: str

        def rounds(self, samples):
            first, second = yield [Request(samples.x0, 10), Request(samples.x0, 20)]
            return {"first": first.x0.mean((1, 2, 3)), "second": second.x0.mean((1, 2, 3))}

    labels = torch.tensor([5, 6, 7])
    denoiser = Labelled(normal(7, 2, 1, 8, 8), linear)
    table = sweep(
        denoiser, [(["a", "b", "c"], normal(8, 3, 1, 8, 8), labels)], [Label("label")], seed="s", batch_size=2
    )
    assert table.scores["label"]["first"].tolist() == table.scores["label"]["second"].tolist() == [5, 6, 7]


def test_bad_input_is_refused_before_any_evaluation(denoiser, normal):
    with pytest.raises(ConfigError, match="distinct names"):
        sweep(denoiser, [], [ATTACKS["pia"], ATTACKS["pia"]], seed="s")
    with pytest.raises(ConfigError, match="as the checkpoint was trained"):
        sweep(denoiser, batched(normal(9, 2, 1, 4, 4), 2), EVERY, seed="s")
    assert denoiser.calls == 0


def test_an_id_that_comes_twice_is_refused(denoiser, normal):
    twice = [*batched(normal(9, 2, 1, 8, 8), 2)] * 2
    with pytest.raises(ConfigError, match="image-0"):
        sweep(denoiser, twice, [ATTACKS["loss"]], seed="s")


def test_memory_does_not_grow_with_the_number_of_records() -> None:
    """A sweep over ten times the records, in a process of its own, has the same peak but for the records' scores."""
    script = Path(__file__).parent.parent.parent / "reports" / "bench_sweep.py"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(script.parent.parent)}

    def peak(records: int) -> int:
        command = [sys.executable, str(script), "memory", str(records)]
        return int(subprocess.check_output(command, text=True, env=environment)) * 1024

    grown = peak(12_000) - peak(2_000)
    assert grown < 10_000 * 5_000  # 18 scores and an id take some 400 bytes; 24,000 a record were once kept
