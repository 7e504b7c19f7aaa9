"""Readings of a raw output, noise schedules and their ladders."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from hypothesis import given
from hypothesis import strategies as st

from auditor.diffusion.denoiser import CountingDenoiser, predict
from auditor.diffusion.prediction import PredictionType, read_output
from auditor.diffusion.schedule import CLEAN, NoiseSchedule


@pytest.mark.parametrize("kind", list(PredictionType))
@pytest.mark.parametrize("t", [0, 10, 500, 900])
def test_every_reading_recovers_both_parts(kind, t, linear, normal):
    x0, eps = normal(1, 3, 1, 4, 4).double(), normal(2, 3, 1, 4, 4).double()
    a, s = float(linear.signal_scale[t]), float(linear.noise_scale[t])
    output = {"epsilon": eps, "sample": x0, "v_prediction": a * eps - s * x0, "flow_prediction": eps - x0}[kind]
    read = read_output(kind, output, a * x0 + s * eps, a, s)
    # float64: 1e-16 over the smallest scale, 0.01
    assert (read.x0 - x0).abs().max() < 1e-12
    assert (read.eps - eps).abs().max() < 1e-12


def test_noising_and_velocity_agree_with_diffusers(linear, normal):
    scheduler = DDPMScheduler()
    x0, eps, t = normal(3, 4, 1, 4, 4), normal(4, 4, 1, 4, 4), torch.tensor([0, 10, 500, 999])
    schedule = NoiseSchedule.from_alphas_cumprod(scheduler.alphas_cumprod.numpy())
    assert (schedule.add_noise(x0, eps, t) - scheduler.add_noise(x0, eps, t)).abs().max() < 1e-6
    velocity, x_t = scheduler.get_velocity(x0, eps, t), schedule.add_noise(x0, eps, t)
    signal, noise = schedule.scales_at(t, x_t)
    read = read_output(PredictionType.V_PREDICTION, velocity, x_t, signal, noise)
    assert (read.x0 - x0).abs().max() < 2e-6 and (read.eps - eps).abs().max() < 2e-6


def test_predict_is_one_evaluation_in_the_callers_dtype(affine_denoiser, linear, normal):
    denoiser = CountingDenoiser(affine_denoiser(0.0, 1.0, PredictionType.EPSILON, linear))
    prediction = predict(denoiser, normal(5, 3, 1, 4, 4).double(), torch.tensor([1, 500, 999]))
    assert (denoiser.calls, denoiser.evaluations) == (1, 3)
    assert prediction.x0.dtype == prediction.eps.dtype == torch.float64


def test_sigma_is_noise_to_signal(linear, exploding):
    assert linear.sigma == pytest.approx(np.sqrt(1 / linear.signal_scale**2 - 1), rel=1e-9)
    assert not linear.exploding and linear.start_scale == 1
    assert exploding.exploding and exploding.start_scale == 50
    assert NoiseSchedule(np.array([1.0, 0.0]), np.array([0.0, 1.0])).sigma[-1] == np.inf


def test_the_clean_rung_has_no_noise(linear, normal):
    x0, eps = normal(6, 2, 1, 4, 4), normal(7, 2, 1, 4, 4)
    assert torch.equal(linear.add_noise(x0, eps, torch.tensor([CLEAN, CLEAN])), x0)


@given(st.integers(1, 300), st.sampled_from(["leading", "linspace", "trailing"]), st.integers(300, 1000))
def test_ladders_descend_strictly_to_clean(num_steps, spacing, total):
    schedule = NoiseSchedule.from_alphas_cumprod(np.linspace(0.999, 0.001, total))
    ladder = schedule.ladder(num_steps, spacing)
    assert len(ladder) == num_steps + 1 and ladder[-1] == CLEAN
    assert all(t > t_prev for t, t_prev in pairwise(ladder))
    assert ladder[-2] >= 0 and ladder[0] < total


@pytest.mark.parametrize("spacing", ["leading", "linspace", "trailing"])
@pytest.mark.parametrize("num_steps", [10, 20, 50, 999])
def test_ladders_agree_with_diffusers(spacing, num_steps, linear):
    scheduler = DDIMScheduler(timestep_spacing=spacing)
    scheduler.set_timesteps(num_steps)
    assert linear.ladder(num_steps, spacing)[:-1] == scheduler.timesteps.tolist()


@pytest.mark.parametrize("num_steps", [0, 1001])
def test_impossible_step_numbers_are_refused(num_steps, linear):
    with pytest.raises(ValueError, match="num_steps"):
        linear.ladder(num_steps)
