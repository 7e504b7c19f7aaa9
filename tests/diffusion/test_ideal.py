"""The closed-form memorizer against its definition, computed pair by pair in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from auditor.diffusion import ideal
from auditor.diffusion.ideal import IdealDenoiser
from auditor.diffusion.schedule import NoiseSchedule
from auditor.errors import ConfigError


def plain_mean(points: np.ndarray, x: np.ndarray, a: float, s: float) -> np.ndarray:
    """softmax(-|x - a y|^2 / (2 s^2)) over the points, applied to them, by explicit differences."""
    exponent = -((x[None] - a * points) ** 2).sum(1) / (2 * s**2)
    weight = np.exp(exponent - exponent.max())
    return weight @ points / weight.sum()


@pytest.mark.parametrize("schedule_name", ["linear", "exploding"])
@pytest.mark.parametrize("t", [0, 5, 100, 400, 999])
def test_output_is_the_posterior_mean(schedule_name, t, request, normal):
    schedule: NoiseSchedule = request.getfixturevalue(schedule_name)
    points, queries = normal(1, 50, 1, 4, 4), normal(2, 6, 1, 4, 4)
    # near and between the points, where weights are shared at small noise: midpoints of two points
    a, s = schedule.signal_scale[t], schedule.noise_scale[t]
    x_t = torch.cat([a * points[:6] + s * queries, a * (points[6:12] + points[12:18]) / 2])
    output = IdealDenoiser(points, schedule)(x_t, torch.full((12,), t))
    flat = points.flatten(1).double().numpy()
    expected = [plain_mean(flat, x, a, s) for x in x_t.flatten(1).double().numpy()]
    # weights and the mean go to float32: 6e-8 relative each, on values of up to 4
    assert np.abs(output.flatten(1).numpy() - expected).max() < 2e-6


def test_a_float32_inner_product_would_be_wrong(linear, normal):
    """The reason for float64: at t = 0 the same formula in float32 picks other weights between near points."""
    points = normal(3, 1, 1, 16, 16) + 2e-3 * normal(4, 40, 1, 16, 16)  # near-duplicates, some 0.03 apart
    a, s = float(linear.signal_scale[0]), float(linear.noise_scale[0])
    x_t = a * points[:8] + s * normal(5, 8, 1, 16, 16)
    flat, x = points.flatten(1), x_t.flatten(1)
    exponent = (a * (x @ flat.T) - 0.5 * a**2 * flat.square().sum(1)) / s**2
    hasty = torch.softmax(exponent, 1) @ flat
    output = IdealDenoiser(points, linear)(x_t, torch.zeros(8, dtype=torch.int64)).flatten(1)
    expected = np.stack([plain_mean(flat.double().numpy(), row, a, s) for row in x.double().numpy()])
    assert np.abs(output.numpy() - expected).max() < 2e-6
    assert np.abs(hasty.numpy() - expected).max() > 1e-5


def test_blocks_do_not_matter(linear, normal, monkeypatch):
    points, x_t, t = (
        normal(6, 100, 1, 4, 4),
        normal(7, 9, 1, 4, 4),
        torch.tensor([0, 1, 50, 100, 200, 300, 500, 800, 999]),
    )
    whole = IdealDenoiser(points, linear)(x_t, t)
    monkeypatch.setattr(ideal, "BLOCK", 7)
    assert (IdealDenoiser(points, linear)(x_t, t) - whole).abs().max() < 1e-6
    monkeypatch.setattr(ideal, "BLOCK", 100)
    assert (IdealDenoiser(points.flip(0), linear)(x_t, t) - whole).abs().max() < 1e-6


def test_at_a_training_point_without_noise_it_returns_the_point(linear, normal):
    points = normal(8, 30, 1, 8, 8)
    a = float(linear.signal_scale[0])
    assert (IdealDenoiser(points, linear)(a * points, torch.zeros(30, dtype=torch.int64)) - points).abs().max() < 1e-6


def test_a_far_query_stays_finite(linear, normal):
    output = IdealDenoiser(normal(9, 30, 1, 8, 8), linear)(1e3 * normal(10, 2, 1, 8, 8), torch.tensor([0, 999]))
    assert output.isfinite().all()


def test_memory_mapped_points_give_the_same(linear, normal, tmp_path):
    points, x_t = normal(11, 30, 1, 8, 8), normal(12, 4, 1, 8, 8)
    np.save(tmp_path / "points.npy", points.numpy())
    mapped = torch.from_numpy(np.load(tmp_path / "points.npy", mmap_mode="c"))
    t = torch.tensor([0, 100, 500, 999])
    assert torch.equal(IdealDenoiser(mapped, linear)(x_t, t), IdealDenoiser(points, linear)(x_t, t))


@pytest.mark.parametrize("t", [0, 100, 400, 999])
def test_a_condition_leaves_only_its_class(t, linear, normal, monkeypatch):
    monkeypatch.setattr(ideal, "BLOCK", 7)  # classes in turn, so the last blocks hold no point of some
    points, labels = normal(13, 40, 1, 4, 4), torch.arange(40) // 14
    a, s = linear.signal_scale[t], linear.noise_scale[t]
    x_t, condition = a * points[:9] + s * normal(14, 9, 1, 4, 4), torch.arange(9) % 3
    output = IdealDenoiser(points, linear, labels)(x_t, torch.full((9,), t), condition)
    for wanted in range(3):
        flat = points[labels == wanted].flatten(1).double().numpy()
        expected = [plain_mean(flat, x, a, s) for x in x_t[condition == wanted].flatten(1).double().numpy()]
        assert np.abs(output[condition == wanted].flatten(1).numpy() - expected).max() < 2e-6


def test_a_condition_says_nothing_without_labels_nor_labels_without_a_condition(linear, normal):
    points, x_t, t = normal(15, 20, 1, 4, 4), normal(16, 4, 1, 4, 4), torch.tensor([0, 100, 500, 999])
    plain = IdealDenoiser(points, linear)(x_t, t)
    assert torch.equal(IdealDenoiser(points, linear)(x_t, t, torch.tensor([5, 6, 7, 8])), plain)
    assert torch.equal(IdealDenoiser(points, linear, torch.arange(20) % 2)(x_t, t), plain)


def test_a_class_without_points_is_refused(linear, normal):
    denoiser = IdealDenoiser(normal(17, 6, 1, 4, 4), linear, torch.tensor([0, 0, 1, 1, 4, 4]))
    with pytest.raises(ConfigError, match=r"class 3, which no point has; expected a class of the points \(0 to 4\)"):
        denoiser(normal(18, 2, 1, 4, 4), torch.tensor([0, 0]), torch.tensor([1, 3]))
    with pytest.raises(ConfigError, match="one label per point"):
        IdealDenoiser(normal(17, 6, 1, 4, 4), linear, torch.tensor([0, 1]))


def test_no_points_are_refused(linear):
    with pytest.raises(ConfigError, match="ideal denoiser"):
        IdealDenoiser(torch.zeros(0, 1, 8, 8), linear)
