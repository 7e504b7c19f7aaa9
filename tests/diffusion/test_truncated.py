"""The truncated memorizer's bound against the posterior mean, computed pair by pair in float64."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.data import Geometry, open_source
from auditor.diffusion.ideal import IdealDenoiser
from auditor.diffusion.prediction import PredictionType
from auditor.diffusion.samplers import SAMPLERS
from auditor.diffusion.schedule import NoiseSchedule
from auditor.diffusion.truncated import Near, TruncatedDenoiser, Way
from auditor.errors import ConfigError
from auditor.probes import probe_noise
from auditor.search.euclidean import EuclideanIndex
from tests.conftest import FIXTURES
from tests.denoisers import AffineDenoiser

SCHEDULES = {
    "linear": NoiseSchedule.from_alphas_cumprod(np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))),
    "exploding": NoiseSchedule(np.ones(1000), np.geomspace(0.01, 50, 1000)),
}


def posterior_means(points, x_t, a, s):
    """sum_i w_i y_i, Float64[B D], by explicit differences; float64's own error is below 1e-9 here."""
    flat, x = points.flatten(1).double().numpy(), x_t.flatten(1).double().numpy()
    exponent = -((x[:, None] - a * flat[None]) ** 2).sum(2) / (2 * s**2)
    weight = np.exp(exponent - exponent.max(1, keepdims=True))
    return weight @ flat / weight.sum(1, keepdims=True)


def largest_error(output, points, x_t, a, s):
    return np.abs(output.flatten(1).double().numpy() - posterior_means(points, x_t, a, s)).max(1)


def truncated(points, schedule, labels=None, **options):
    return TruncatedDenoiser(points, schedule, EuclideanIndex(points.flatten(1).numpy()), labels, **options)


def clustered(seed, count, side):
    """Points in tight clusters of several widths, with exact repeats: what truncation and rounding are worst at."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(-1, 1, (max(1, count // 8), side * side))
    points = centres[rng.integers(0, len(centres), count)]
    points = points + rng.choice([0.0, 1e-3, 0.05, 0.4], (count, 1)) * rng.standard_normal(points.shape)
    return torch.from_numpy(points.astype(np.float32)).view(count, 1, side, side)


def queries_at(points, a, s, seed):
    """Noised points, midpoints of two points, and pure noise."""
    draw = torch.Generator().manual_seed(seed)
    pick = torch.randint(len(points), (3, 8), generator=draw)
    eps = torch.randn((8, *points.shape[1:]), generator=draw)
    middle = (points[pick[1]] + points[pick[2]]) / 2
    return torch.cat([a * points[pick[0]] + s * eps, a * middle, a * middle + 0.1 * s * eps, s * eps])


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.integers(0, 10**6), st.sampled_from(["linear", "exploding"]), st.integers(0, 999), st.integers(1, 400),
    st.sampled_from([2, 5, 12]), st.sampled_from([1, 3, 20, 256]), st.sampled_from([1e-6, 1e-3, 0.1]),
)  # fmt: skip
def test_no_output_is_further_off_than_its_bound(seed, name, t, count, side, k, tolerance):
    schedule, points = SCHEDULES[name], clustered(seed, count, side)
    a, s = float(schedule.signal_scale[t]), float(schedule.noise_scale[t])
    x_t = queries_at(points, a, s, seed)
    made = truncated(points, schedule, k=k, tolerance=tolerance).with_bound(x_t, torch.full((len(x_t),), t))
    bound = made.bound.numpy()
    assert (largest_error(made.x0, points, x_t, a, s) <= bound).all()
    cheap = made.way.numpy() != Way.EXACT
    assert (bound[cheap] <= tolerance).all()
    assert (bound <= max(tolerance, 6.3e-5 * float(points.abs().max()) + 1e-6)).all()  # BLOCK * 2^-24 = 6.1e-5


@pytest.fixture(scope="module")
def crowd() -> Iterator[torch.Tensor]:
    """5,000 points of 256 pixels in clusters."""
    yield clustered(1, 5000, 16)


def ways_along(denoiser, points, schedule):
    """Way of noised points at times from 0 to 999, [times, B]."""
    ways = []
    for t in range(0, 1000, 37):
        a, s = float(schedule.signal_scale[t]), float(schedule.noise_scale[t])
        x_t = queries_at(points, a, s, t)[:16]
        ways.append(denoiser.with_bound(x_t, torch.full((16,), t)).way.numpy())
    return np.array(ways)


@pytest.mark.parametrize("name", ["linear", "exploding"])
def test_every_way_is_taken_where_it_should_be(name, crowd):
    ways = ways_along(truncated(crowd, SCHEDULES[name]), crowd, SCHEDULES[name])
    assert (ways[0] == Way.TRUNCATED).all() and (ways[-1] == Way.FLOAT32).all()
    assert {int(way) for way in ways.flatten()} >= {Way.TRUNCATED, Way.FLOAT32}
    assert (ways == Way.EXACT).mean() < 0.4


def test_a_search_that_bounds_nothing_leaves_the_exact_way(crowd):
    class Ignorant:
        """Any rows, and no word on the rest."""

        def __call__(self, queries, k):
            return Near(np.tile(np.arange(k), (len(queries), 1)), np.zeros(len(queries)))

        def __len__(self):
            return 5000

    schedule = SCHEDULES["linear"]
    ways = ways_along(TruncatedDenoiser(crowd, schedule, Ignorant()), crowd, schedule)
    assert not (ways == Way.TRUNCATED).any() and (ways[0] == Way.EXACT).all()


def test_truncation_without_the_bound_would_be_wrong(crowd):
    """Negative control: at medium noise the three nearest rows alone miss the mean by more than the tolerance."""
    schedule, t = SCHEDULES["linear"], 400
    a, s = float(schedule.signal_scale[t]), float(schedule.noise_scale[t])
    x_t = queries_at(crowd, a, s, 5)
    hasty = truncated(crowd, schedule, k=3, tolerance=1e9)  # accepts whatever comes first ...
    hasty._rounding.of_single_exponents = lambda noised: torch.full((len(noised.x),), torch.inf, dtype=torch.float64)
    made = hasty.with_bound(x_t, torch.full((len(x_t),), t))  # ... of the nearest rows
    error = largest_error(made.x0, crowd, x_t, a, s)
    assert (made.way == Way.TRUNCATED).all() and error.max() > 0.05
    assert (error <= made.bound.numpy()).all()  # and its bound says so


def test_reduced_precision_products_are_not_trusted(crowd):
    denoiser, x_t, t = truncated(crowd, SCHEDULES["linear"]), crowd[:4], torch.full((4,), 999)
    assert (denoiser.with_bound(x_t, t).way == Way.FLOAT32).all()
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        made = denoiser.with_bound(x_t, t)
        assert (made.way == Way.EXACT).all() and (made.bound > 1).all()
    finally:
        torch.set_float32_matmul_precision(before)


def test_batches_and_order_do_not_matter(crowd):
    schedule = SCHEDULES["linear"]
    t = torch.arange(0, 960, 30)
    a, s = schedule.scales_at(t, crowd[:32])
    x_t = (a * crowd[:32] + s * torch.randn(crowd[:32].shape, generator=torch.Generator().manual_seed(3))).float()
    denoiser = truncated(crowd, schedule, k=8)
    whole = denoiser.with_bound(x_t, t)
    assert len(whole.way.unique()) == 3
    single = [denoiser.with_bound(x_t[i : i + 1], t[i : i + 1]) for i in range(32)]
    flipped = truncated(crowd.flip(0), schedule, k=8).with_bound(x_t.flip(0), t.flip(0))
    # products in float32 are summed in another order: 2e-5 is what their errors, not their worst case, come to
    assert torch.equal(torch.cat([made.way for made in single]), whole.way)
    assert (torch.cat([made.x0 for made in single]) - whole.x0).abs().max() < 2e-5
    assert torch.equal(flipped.way.flip(0), whole.way)
    assert (flipped.x0.flip(0) - whole.x0).abs().max() < 2e-5


@pytest.mark.parametrize("t", [0, 150, 300, 500, 999])
def test_a_condition_leaves_only_its_class(t, crowd):
    schedule, labels = SCHEDULES["linear"], torch.arange(5000) % 7
    a, s = float(schedule.signal_scale[t]), float(schedule.noise_scale[t])
    x_t, condition = queries_at(crowd, a, s, t), torch.arange(32) % 7
    made = truncated(crowd, schedule, labels).with_bound(x_t, torch.full((32,), t), condition)
    for wanted in range(7):
        rows = condition == wanted
        error = largest_error(made.x0[rows], crowd[labels == wanted], x_t[rows], a, s)
        assert (error <= made.bound[rows].numpy()).all()
    assert (made.bound <= 1e-3).all()


@pytest.fixture(scope="module")
def garments() -> torch.Tensor:
    """The 128 real images of the memorized fixture, in model space."""
    source = open_source(FIXTURES / "memorized" / "train", Geometry(1, 16, 16))
    return torch.from_numpy(np.concatenate([batch.pixels for batch in source.batches(64)])).float() / 127.5 - 1


def distance_to_nearest(samples, points):
    """Largest pixel difference from the nearest point, [B]."""
    return (samples[:, None] - points[None]).abs().flatten(2).amax(2).amin(1)


@pytest.mark.parametrize("sampler", ["ddim", "dpmpp_2m", "heun"])
@pytest.mark.parametrize("name", ["linear", "exploding"])
@pytest.mark.parametrize("k", [None, 4])  # exact, and truncated to so few that all three ways are taken
def test_samples_are_training_points(sampler, name, k, garments):
    schedule = SCHEDULES[name]
    denoiser = IdealDenoiser(garments, schedule) if k is None else truncated(garments, schedule, k=k)
    noise = probe_noise("memorizer", "start", range(256), (1, 16, 16))
    samples = SAMPLERS[sampler].sample(denoiser, noise, schedule.ladder(50))
    assert distance_to_nearest(samples, garments).max() < 1e-3


@pytest.mark.parametrize("sampler", ["ddim", "dpmpp_2m", "heun"])
def test_samples_of_a_gaussian_are_not(sampler, garments):
    """Negative control: the denoiser of N(mean, deviation^2) of the same garments."""
    schedule = SCHEDULES["linear"]
    gaussian = AffineDenoiser(float(garments.mean()), float(garments.std()), PredictionType.SAMPLE, schedule)
    noise = probe_noise("memorizer", "start", range(64), (1, 16, 16))
    samples = SAMPLERS[sampler].sample(gaussian, noise, schedule.ladder(50))
    assert distance_to_nearest(samples, garments).min() > 0.1


def test_samples_of_a_class_are_points_of_that_class(garments):
    schedule, labels = SCHEDULES["linear"], torch.arange(128) % 4
    noise, condition = probe_noise("memorizer", "start", range(64), (1, 16, 16)), torch.arange(64) % 4
    denoiser = truncated(garments, schedule, labels, k=4)
    samples = SAMPLERS["ddim"].sample(denoiser, noise, schedule.ladder(50), condition=condition)
    for wanted in range(4):
        of_class, others = garments[labels == wanted], garments[labels != wanted]
        assert distance_to_nearest(samples[condition == wanted], of_class).max() < 1e-3
        assert distance_to_nearest(samples[condition == wanted], others).min() > 0.1


def test_memory_mapped_points_give_the_same(crowd, tmp_path):
    np.save(tmp_path / "points.npy", crowd.numpy())
    mapped = torch.from_numpy(np.load(tmp_path / "points.npy", mmap_mode="c"))
    t = torch.tensor([0, 200, 400, 999])
    schedule = SCHEDULES["linear"]
    assert torch.equal(truncated(mapped, schedule)(crowd[:4], t), truncated(crowd, schedule)(crowd[:4], t))


def test_without_signal_the_output_is_the_mean_of_the_points():
    points, schedule = clustered(2, 300, 4), NoiseSchedule(np.array([1.0, 0.0]), np.array([0.1, 1.0]))
    x_t = torch.randn((3, 1, 4, 4), generator=torch.Generator().manual_seed(1))
    for tolerance in (1e-3, 1e-9):
        made = truncated(points, schedule, k=4, tolerance=tolerance).with_bound(x_t, torch.ones(3, dtype=torch.int64))
        assert (made.x0 - points.mean(0)).abs().max() < 1e-5


def test_what_cannot_work_is_refused(crowd):
    schedule, index = SCHEDULES["linear"], EuclideanIndex(crowd[:10].flatten(1).numpy())
    with pytest.raises(ConfigError, match="10 rows for 5000 points"):
        TruncatedDenoiser(crowd, schedule, index)
    with pytest.raises(ConfigError, match="k=0"):
        TruncatedDenoiser(crowd[:10], schedule, index, k=0)
    with pytest.raises(ConfigError, match="labels"):
        TruncatedDenoiser(crowd[:10], schedule, index, torch.zeros(9))
    with pytest.raises(ConfigError, match="class 3"):
        denoiser = TruncatedDenoiser(crowd[:10], schedule, index, torch.arange(10) % 3)
        denoiser(crowd[:1], torch.zeros(1, dtype=torch.int64), torch.tensor([3]))
