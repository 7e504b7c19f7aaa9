"""Samplers against diffusers' schedulers, against closed forms, and against each other."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, HeunDiscreteScheduler

from auditor.diffusion.denoiser import CountingDenoiser
from auditor.diffusion.ideal import IdealDenoiser
from auditor.diffusion.prediction import PredictionType
from auditor.diffusion.samplers import SAMPLERS, sample_ddim, sample_dpmpp_2m, sample_heun
from auditor.diffusion.schedule import CLEAN, NoiseSchedule
from auditor.errors import ConfigError

VP_KINDS = [PredictionType.EPSILON, PredictionType.SAMPLE, PredictionType.V_PREDICTION]


def scheduler_trajectory(scheduler, denoiser, x, **step_options):
    """diffusers' own loop, state in float64, network in float32."""
    for t in scheduler.timesteps:
        scaled = scheduler.scale_model_input(x, t)
        output = denoiser(scaled.float(), t.long().repeat(len(x))).double()
        x = scheduler.step(output, t, x, **step_options).prev_sample
    return x.float()


def own_schedule(scheduler) -> NoiseSchedule:
    return NoiseSchedule.from_alphas_cumprod(scheduler.alphas_cumprod.numpy())


# Against diffusers: 20 steps of the same times. Its tables are float32, relative error 6e-8, and at the start x0 is up
# to 1 / 0.006 = 160 large: errors of 1e-5, which an untrained network passes on about one to one. A wrong formula is
# off by 1e-2 or more (see test_samplers_differ).
TOLERANCE = 5e-5


@pytest.mark.parametrize("kind", VP_KINDS)
@pytest.mark.parametrize("clip", [None, 1.0])
def test_ddim_agrees_with_diffusers(kind, clip, network_denoiser, normal):
    scheduler = DDIMScheduler(
        prediction_type=kind.value, clip_sample=clip is not None, timestep_spacing="trailing"
    )  # arithmetic t - 50 is right here: 1000 / 20 is whole
    scheduler.set_timesteps(20)
    denoiser = network_denoiser(kind, own_schedule(scheduler))
    noise = normal(1, 3, 1, 8, 8)
    theirs = scheduler_trajectory(scheduler, denoiser, noise.double(), use_clipped_model_output=clip is not None)
    ours = sample_ddim(denoiser, noise, denoiser.schedule.ladder(20), clip=clip)
    assert (ours - theirs).abs().max() < TOLERANCE * max(1, theirs.abs().max())


@pytest.mark.parametrize("kind", VP_KINDS)
@pytest.mark.parametrize("steps", [6, 20])
def test_dpmpp_2m_agrees_with_diffusers(kind, steps, network_denoiser, normal):
    scheduler = DPMSolverMultistepScheduler(prediction_type=kind.value, beta_end=0.02)
    denoiser = network_denoiser(kind, own_schedule(scheduler))
    ladder = denoiser.schedule.ladder(steps)
    scheduler.set_timesteps(timesteps=ladder[:-1])
    noise = normal(2, 3, 1, 8, 8)
    theirs = scheduler_trajectory(scheduler, denoiser, noise.double())
    ours = sample_dpmpp_2m(denoiser, noise, ladder)
    assert (ours - theirs).abs().max() < TOLERANCE * max(1, theirs.abs().max())


@pytest.mark.parametrize("kind", [PredictionType.EPSILON, PredictionType.V_PREDICTION])
def test_heun_agrees_with_diffusers(kind, network_denoiser, normal):
    scheduler = HeunDiscreteScheduler(prediction_type=kind.value, beta_start=1e-4, beta_end=0.02)
    denoiser = network_denoiser(kind, own_schedule(scheduler))
    ladder = denoiser.schedule.ladder(20)
    scheduler.set_timesteps(timesteps=ladder[:-1])
    noise = normal(3, 3, 1, 8, 8)
    # theirs walks x / signal_scale, which starts at sqrt(sigma^2 + 1) times standard normal noise
    theirs = scheduler_trajectory(scheduler, denoiser, noise.double() / denoiser.schedule.signal_scale[999])
    ours = sample_heun(denoiser, noise, ladder)
    assert (ours - theirs).abs().max() < TOLERANCE * max(1, theirs.abs().max())


def test_samplers_differ(network_denoiser, linear, normal):
    """The negative control of the comparisons above: two samplers are not within their tolerance."""
    denoiser, noise = network_denoiser(PredictionType.EPSILON, linear), normal(1, 3, 1, 8, 8)
    results = [SAMPLERS[name].sample(denoiser, noise, linear.ladder(20)) for name in SAMPLERS]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert (results[one] - results[other]).abs().max() > 100 * TOLERANCE


def gaussian_ddim(x: float, schedule: NoiseSchedule, ladder: list[int], mean: float, deviation: float) -> float:
    """DDIM on Gaussian data, scalar by scalar: each step keeps the noise that the posterior mean implies."""
    for t, t_prev in pairwise(ladder):
        a, s = schedule.signal_scale[t], schedule.noise_scale[t]
        x0 = mean + a * deviation**2 / (a**2 * deviation**2 + s**2) * (x - a * mean)
        eps = (x - a * x0) / s
        a_prev, s_prev = (
            (1.0, 0.0) if t_prev == CLEAN else (schedule.signal_scale[t_prev], schedule.noise_scale[t_prev])
        )
        x = a_prev * x0 + s_prev * eps
    return x


@pytest.mark.parametrize("schedule_name", ["linear", "exploding"])
def test_ddim_follows_the_gaussian_recursion(schedule_name, request, affine_denoiser, normal):
    schedule = request.getfixturevalue(schedule_name)
    denoiser = affine_denoiser(0.3, 0.5, PredictionType.SAMPLE, schedule)
    noise, ladder = normal(4, 2, 1, 4, 4), schedule.ladder(20)
    ours = sample_ddim(denoiser, noise, ladder)
    expected = [gaussian_ddim(float(z) * schedule.start_scale, schedule, ladder, 0.3, 0.5) for z in noise.flatten()]
    # the denoiser answers in float32: 20 roundings of 6e-8
    assert np.abs(ours.flatten().numpy() - expected).max() < 2e-6


@pytest.mark.parametrize("name", list(SAMPLERS))
@pytest.mark.parametrize("schedule_name", ["linear", "exploding"])
def test_converges_to_the_gaussian_flow(name, schedule_name, request, affine_denoiser, normal):
    """For N(m, d^2) the flow keeps (x - a m) / sqrt(a^2 d^2 + s^2), which ends as (x0 - m) / d."""
    schedule = request.getfixturevalue(schedule_name)
    denoiser = affine_denoiser(0.3, 0.5, PredictionType.SAMPLE, schedule)
    noise, top = normal(5, 4, 1, 4, 4), len(schedule) - 1
    a, s = schedule.signal_scale[top], schedule.noise_scale[top]
    exact = 0.3 + 0.5 * (noise * schedule.start_scale - a * 0.3) / math.hypot(a * 0.5, s)
    error = {
        steps: (SAMPLERS[name].sample(denoiser, noise, schedule.ladder(steps)) - exact).abs().max().item()
        for steps in (50, 200)
    }
    # first order (ddim) has halved its error about twice from 50 to 200 steps; measured 0.020 of a spread of 1
    assert error[200] < 0.03
    assert error[200] < 0.5 * error[50]


@pytest.mark.parametrize("name", list(SAMPLERS))
@pytest.mark.parametrize("schedule_name", ["linear", "exploding"])
def test_ideal_denoiser_samples_training_points(name, schedule_name, request, normal):
    schedule = request.getfixturevalue(schedule_name)
    points = normal(6, 20, 1, 8, 8).clamp(-1, 1)
    noise = normal(7, 16, 1, 8, 8)
    samples = SAMPLERS[name].sample(IdealDenoiser(points, schedule), noise, schedule.ladder(50))
    distance = torch.cdist(samples.flatten(1).double(), points.flatten(1).double()).amin(1)
    assert distance.max() < 1e-3
    others = normal(8, 20, 1, 8, 8).clamp(-1, 1)  # the control: points it was not given are far
    assert torch.cdist(samples.flatten(1), others.flatten(1)).min() > 1


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_readings_give_one_trajectory(name, affine_denoiser, linear, normal):
    noise = normal(9, 4, 1, 4, 4)
    samples = [
        SAMPLERS[name].sample(affine_denoiser(0.3, 0.5, kind, linear), noise, linear.ladder(20)) for kind in VP_KINDS
    ]
    # eps in float32 is divided by the start signal 0.006: 6e-8 / 0.006 = 1e-5 on the first x0, much of it contracted
    for other in samples[1:]:
        assert (other - samples[0]).abs().max() < 2e-5


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_a_sample_does_not_depend_on_its_batch(name, network_denoiser, linear, normal):
    denoiser, noise, ladder = (
        network_denoiser(PredictionType.EPSILON, linear),
        normal(10, 5, 1, 8, 8),
        linear.ladder(10),
    )
    together = SAMPLERS[name].sample(denoiser, noise, ladder)
    alone = torch.cat([SAMPLERS[name].sample(denoiser, one[None], ladder) for one in noise])
    assert (together - alone).abs().max() < TOLERANCE * together.abs().max()  # kernels sum in another order


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_evaluations_are_as_declared(name, network_denoiser, linear, normal):
    denoiser, steps = CountingDenoiser(network_denoiser(PredictionType.EPSILON, linear)), []
    SAMPLERS[name].sample(
        denoiser, normal(11, 2, 1, 8, 8), linear.ladder(7), on_step=lambda step, x: steps.append(step)
    )
    assert denoiser.calls == SAMPLERS[name].evaluations(7)
    assert steps == list(range(7))


@pytest.mark.parametrize("name", ["ddim", "dpmpp_2m"])
def test_a_start_without_signal_is_sampled_from_v(name, affine_denoiser, normal):
    """Zero terminal signal-to-noise (Lin et al. 2024): x0 shows in v at signal 0, and nothing becomes infinite."""
    scheduler = DDIMScheduler(rescale_betas_zero_snr=True, prediction_type="v_prediction")
    schedule = own_schedule(scheduler)
    assert schedule.signal_scale[-1] < 1e-4
    schedule = NoiseSchedule(np.append(schedule.signal_scale[:-1], 0.0), np.append(schedule.noise_scale[:-1], 1.0))
    denoiser = affine_denoiser(0.3, 0.5, PredictionType.V_PREDICTION, schedule)
    noise = normal(12, 4, 1, 4, 4)
    samples = SAMPLERS[name].sample(denoiser, noise, schedule.ladder(200))
    assert (samples - (0.3 + 0.5 * noise)).abs().max() < 0.03  # the flow of the test above, at a = 0


FAULTS = {
    "not closed": ([500, 100], "ladder"),
    "ascending": ([100, 500, CLEAN], "ladder"),
    "repeated": ([500, 500, CLEAN], "ladder"),
    "beyond the schedule": ([1000, 500, CLEAN], "ladder"),
    "empty": ([CLEAN], "ladder"),
    "no signal": ([999, 500, CLEAN], "(no signal|signal scale 0) at t=999"),
    "no noise": ([500, 0, CLEAN], "noise scale 0 at t=0"),
}


@pytest.mark.parametrize("name", list(SAMPLERS))
@pytest.mark.parametrize("fault", list(FAULTS))
def test_a_bad_ladder_is_refused_before_the_first_call(name, fault, network_denoiser, linear, normal):
    ladder, message = FAULTS[fault]
    signal, noise = linear.signal_scale.copy(), linear.noise_scale.copy()
    signal[-1], noise[-1], signal[0], noise[0] = 0, 1, 1, 0
    denoiser = CountingDenoiser(network_denoiser(PredictionType.EPSILON, NoiseSchedule(signal, noise)))
    with pytest.raises(ConfigError, match=message):
        SAMPLERS[name].sample(denoiser, normal(13, 1, 1, 8, 8), ladder)
    assert denoiser.calls == 0


def test_heun_refuses_a_start_without_signal(affine_denoiser, linear, normal):
    """Its sigma is infinite there, also where the network's output would determine x0."""
    schedule = NoiseSchedule(np.append(linear.signal_scale[:-1], 0.0), np.append(linear.noise_scale[:-1], 1.0))
    denoiser = affine_denoiser(0.0, 1.0, PredictionType.V_PREDICTION, schedule)
    with pytest.raises(ConfigError, match="finite sigma"):
        sample_heun(denoiser, normal(14, 1, 1, 4, 4), schedule.ladder(10))
