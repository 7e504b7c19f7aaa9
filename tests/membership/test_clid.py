"""CLiD against a plain re-implementation, and under the captions of other images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from auditor.checkpoint.load import LoadedCheckpoint, load
from auditor.checkpoint.scan import scan
from auditor.data import Geometry, open_source
from auditor.diffusion.denoiser import CountingDenoiser, predict
from auditor.diffusion.sweep import samples_of, sweep
from auditor.membership import ATTACKS
from auditor.membership.clid import SHUFFLED
from auditor.stats.roc import auc
from tests.text_pipelines import PROMPTS, save_sd

SEED = "clid"
TIMES = (440, 450, 460)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> LoadedCheckpoint:
    return load(scan(save_sd(tmp_path_factory.mktemp("clid") / "sd")))


def errors(checkpoint: LoadedCheckpoint, ids: list[str], x0: torch.Tensor, prompts: list[str] | None) -> np.ndarray:
    """Mean squared error of eps over the three times, Float64[B], one image at a time."""
    assert checkpoint.text is not None
    denoiser, schedule = checkpoint.denoiser, checkpoint.denoiser.schedule
    found = np.zeros(len(ids))
    for row, name in enumerate(ids):
        for t in TIMES:
            eps = samples_of(schedule, SEED, [name], x0[row : row + 1]).noise(f"membership/loss/{t}/0")
            x_t = schedule.signal_scale[t] * x0[row].double() + schedule.noise_scale[t] * eps
            bound = denoiser if prompts is None else checkpoint.text.with_prompts([prompts[row]])
            given = None if prompts is None else torch.tensor([0])
            found[row] += float((predict(bound, x_t, torch.tensor([t]), given).eps - eps).square().mean()) / len(TIMES)
    return found


def test_both_ways_equal_the_sums_written_out(checkpoint: LoadedCheckpoint, normal) -> None:
    ids, x0 = ["a", "b", "c"], normal(3, 3, *checkpoint.denoiser.sample_shape)
    bound = checkpoint.with_prompts(PROMPTS)
    counting = CountingDenoiser(bound.denoiser)
    batch = (ids, x0, torch.arange(3))
    table = sweep(counting, [batch], [ATTACKS["clid"], ATTACKS[SHUFFLED]], seed=SEED)
    none, own = errors(checkpoint, ids, x0, None), errors(checkpoint, ids, x0, PROMPTS)
    other = errors(checkpoint, ids, x0, [PROMPTS[-1], *PROMPTS[:-1]])
    np.testing.assert_allclose(table.scores["clid"]["discrepancy"], none - own, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(table.scores["clid"]["relative"], (none - own) / none, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(table.scores[SHUFFLED]["discrepancy"], none - other, rtol=1e-4, atol=1e-7)
    assert np.abs(own - other).max() > 1e-5  # captions matter to this network
    assert counting.evaluations == 3 * 9  # without caption once for both
    assert table.per_image == {"clid": 6, SHUFFLED: 6}


def test_an_image_is_never_controlled_by_its_own_caption(checkpoint: LoadedCheckpoint, normal) -> None:
    """Four images, two of one caption side by side: the second one takes that before both."""
    ids, x0 = ["a", "b", "c", "d"], normal(4, 4, *checkpoint.denoiser.sample_shape)
    own, other = [PROMPTS[k] for k in (0, 0, 1, 2)], [PROMPTS[k] for k in (2, 2, 0, 1)]
    bound = checkpoint.with_prompts(own)
    table = sweep(bound.denoiser, [(ids, x0, torch.tensor([0, 0, 2, 3]))], [ATTACKS[SHUFFLED]], seed=SEED)
    expected = errors(checkpoint, ids, x0, None) - errors(checkpoint, ids, x0, other)
    np.testing.assert_allclose(table.scores[SHUFFLED]["discrepancy"], expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("count", [1, 3])
def test_where_no_image_has_another_caption_there_is_no_control(checkpoint: LoadedCheckpoint, normal, count) -> None:
    ids, x0 = ["a", "b", "c"][:count], normal(5, count, *checkpoint.denoiser.sample_shape)
    bound = checkpoint.with_prompts([PROMPTS[0]] * count)
    batch = ids, x0, torch.zeros(count, dtype=torch.int64)
    table = sweep(bound.denoiser, [batch], [ATTACKS[SHUFFLED]], seed=SEED)
    assert table.ids == [] and [name for name, _ in table.unscored] == ids
    assert sweep(bound.denoiser, [batch], [ATTACKS["clid"]], seed=SEED).ids == ids  # the attack itself needs no other


def test_conditions_follow_their_images_whatever_the_batch(checkpoint: LoadedCheckpoint, normal) -> None:
    ids, x0 = ["a", "b", "c"], normal(3, 3, *checkpoint.denoiser.sample_shape)
    bound = checkpoint.with_prompts(PROMPTS)
    batch = (ids, x0, torch.arange(3))
    whole = sweep(bound.denoiser, [batch], [ATTACKS["clid"]], seed=SEED)
    small = sweep(bound.denoiser, [batch], [ATTACKS["clid"]], seed=SEED, batch_size=2)
    ours, theirs = (table.scores["clid"]["discrepancy"] for table in (whole, small))
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-6)


@pytest.mark.slow
def test_repeated_pairs_are_told_by_their_captions_and_not_by_those_of_others(fixtures: Path) -> None:
    """Really trained: the 40 repeated pairs, pairs seen once, and held-out ones."""
    trained = load(scan(fixtures / "twemoji" / "checkpoint"))
    repeated = set(json.loads((fixtures / "twemoji" / "truth.json").read_text())["repeated"])

    def scores(name: str, only: set[str] | None) -> dict[str, np.ndarray]:
        geometry = Geometry(*trained.codec.pixel_shape)
        source = open_source(fixtures / "twemoji" / f"{name}.parquet", geometry, id_column="id")
        read = next(iter(source.batches(40, only=only)))
        bound = trained.with_prompts([caption or "" for caption in read.captions])
        batch = (read.ids, trained.codec.to_model(read.pixels), torch.arange(len(read.ids)))
        table = sweep(bound.denoiser, [batch], [ATTACKS["clid"], ATTACKS[SHUFFLED]], seed=SEED)
        return {kind: variants["relative"] for kind, variants in table.scores.items()}

    members, others = scores("train", repeated), scores("holdout", None)
    found = {kind: auc(members[kind], others[kind]) for kind in members}
    assert found["clid"] > 0.9
    assert found[SHUFFLED] < 0.2  # another caption than the learnt one misleads
