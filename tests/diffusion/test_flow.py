"""Flows: the straight path, its steps where diffusers takes them, and DDIM on it as Euler's method."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler

from auditor.checkpoint.flow import flow_schedule, is_flow
from auditor.diffusion.flow import FlowSchedule
from auditor.diffusion.prediction import PredictionType, read_output, true_output
from auditor.diffusion.samplers import sample_ddim, sample_dpmpp_2m
from auditor.diffusion.schedule import CLEAN
from auditor.errors import CheckpointError, ConfigError
from auditor.membership.base import training_time
from tests.text_pipelines import flow_solver

CONFIGS = {
    "plain": {},
    "shift": {"shift": 3.0},
    "by resolution": {"use_dynamic_shifting": True},
    "linear in resolution": {"use_dynamic_shifting": True, "time_shift_type": "linear"},
    "to a terminal": {"shift": 3.0, "shift_terminal": 0.1},
}
TOKENS = 1024


def own(scheduler: object) -> dict[str, object]:
    return {"_class_name": type(scheduler).__name__, **scheduler.config}


def mu(scheduler: FlowMatchEulerDiscreteScheduler, tokens: int) -> float | None:
    if not scheduler.config.use_dynamic_shifting:
        return None
    return 0.5 + (1.15 - 0.5) / (4096 - 256) * (tokens - 256)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("steps", [1, 4, 28, 50])
def test_steps_begin_where_diffusers_begins_them(name: str, steps: int) -> None:
    scheduler = FlowMatchEulerDiscreteScheduler(**CONFIGS[name])
    for to_noise in (False, True):
        if name == "to a terminal" and steps == 1:
            continue  # a single step at sigma 1 has nothing to stretch: diffusers divides 0 by 0
        sigmas = np.linspace(1.0, 1 / steps, steps) if to_noise else None
        scheduler.set_timesteps(steps if sigmas is None else None, sigmas=sigmas, mu=mu(scheduler, TOKENS))
        ours = flow_schedule(own(scheduler), TOKENS, to_noise=to_noise)
        assert np.abs(ours.sigmas(steps) - scheduler.sigmas[:-1].numpy()).max() < 2e-7  # theirs are float32
        ladder = ours.ladder(steps)
        assert ladder[-1] == CLEAN and ladder[0] == 999_999
        times = ours.network_time(torch.tensor(ladder[:-1]), 1000)
        assert (times - scheduler.timesteps).abs().max() < 1e-3  # half a millionth, a thousand times, and float32


@pytest.mark.parametrize("steps", [1, 5, 14, 20, 50])
def test_a_solver_on_a_flow_begins_where_diffusers_begins_it_and_tells_whole_times(steps: int) -> None:
    scheduler = flow_solver()
    scheduler.set_timesteps(steps)
    assert is_flow(own(scheduler)) and not is_flow(own(DPMSolverMultistepScheduler()))
    schedule = flow_schedule(own(scheduler))
    assert np.abs(schedule.sigmas(steps) - scheduler.sigmas[:-1].numpy()).max() < 1e-6
    times = torch.tensor(schedule.ladder(steps)[:-1])
    assert torch.equal(schedule.network_time(times, 1000), scheduler.timesteps.float())
    exact = FlowSchedule.of(3.0).network_time(times, 1000)  # negative control: Euler's networks are told the rest too
    assert 0.1 < (exact - scheduler.timesteps).abs().max() < 1


@pytest.mark.parametrize("name", ["plain", "shift", "by resolution"])
def test_ddim_is_eulers_method_on_the_flow(name: str, affine_denoiser, normal) -> None:
    scheduler = FlowMatchEulerDiscreteScheduler(**CONFIGS[name])
    scheduler.set_timesteps(10, mu=mu(scheduler, TOKENS))
    schedule = flow_schedule(own(scheduler), TOKENS)
    denoiser = affine_denoiser(0.3, 0.5, PredictionType.FLOW, schedule)
    noise = normal(1, 3, 1, 4, 4)
    x, ladder = noise.clone(), schedule.ladder(10)
    for t, place in zip(scheduler.timesteps, ladder, strict=False):
        x = scheduler.step(denoiser(x, torch.full((3,), place)), t, x).prev_sample
    assert (sample_ddim(denoiser, noise, ladder) - x).abs().max() < 2e-6
    assert (sample_ddim(denoiser, noise, schedule.ladder(9)) - x).abs().max() > 1e-4  # negative control


def test_solvers_find_the_exact_flow_of_gaussian_data(affine_denoiser, normal) -> None:
    """Data N(m, d^2) flow in closed form: x at sigma has variance (1 - s)^2 d^2 + s^2, and quantiles are kept."""
    schedule = FlowSchedule.of(3.0)
    denoiser, noise = affine_denoiser(0.3, 0.5, PredictionType.FLOW, schedule), normal(2, 3, 1, 4, 4)
    exact = 0.3 + 0.5 * noise
    errors = [(sample_ddim(denoiser, noise, schedule.ladder(n)) - exact).abs().max().item() for n in (50, 100, 200)]
    assert errors[0] / errors[1] == pytest.approx(2, abs=0.2) and errors[1] / errors[2] == pytest.approx(2, abs=0.2)
    assert (sample_dpmpp_2m(denoiser, noise, schedule.ladder(50)) - exact).abs().max() < errors[2]


def test_a_flow_reads_back_at_both_ends(normal) -> None:
    x0, eps = normal(3, 2, 1, 4, 4).double(), normal(4, 2, 1, 4, 4).double()
    for s in (0.0, 0.3, 1.0):
        output = true_output(PredictionType.FLOW, x0, eps, 1 - s, s)
        read = read_output(PredictionType.FLOW, output, (1 - s) * x0 + s * eps, 1 - s, s)
        assert (read.x0 - x0).abs().max() < 1e-12 and (read.eps - eps).abs().max() < 1e-12


def test_published_times_keep_their_noise_on_a_flow(linear) -> None:
    schedule = FlowSchedule.of(3.0)
    for published in (50, 200, 500):
        t = training_time(schedule, published)
        assert schedule.sigma[t] == pytest.approx(linear.sigma[published], rel=1e-4)
        assert not schedule.preserving and not schedule.exploding and linear.preserving


def test_other_spacings_and_too_many_steps_are_refused(affine_denoiser, normal) -> None:
    euler, solver = own(FlowMatchEulerDiscreteScheduler()), own(flow_solver())
    changes: list[tuple[dict[str, object], dict[str, object]]] = [
        (euler, {"use_karras_sigmas": True}),
        (euler, {"invert_sigmas": True}),
        (euler, {"shift": 0.0}),
        (euler, {"shift": "3"}),
        (euler, {"num_train_timesteps": 500}),
        (solver, {"num_train_timesteps": 500}),
        (solver, {"use_dynamic_shifting": True}),
        (solver, {"shift_terminal": 0.1}),
    ]
    for sound, change in changes:
        flow_schedule(sound)  # negative control
        with pytest.raises(CheckpointError, match=next(iter(change))):
            flow_schedule(sound | change)
    schedule = FlowSchedule.of(3.0)
    denoiser = affine_denoiser(0.3, 0.5, PredictionType.FLOW, schedule)
    with pytest.raises(ConfigError, match="descending"):
        sample_ddim(denoiser, normal(5, 1, 1, 4, 4), schedule.ladder(900_000))
