"""Schedules are those of diffusers, bit for bit; what is not supported is refused by name."""

from __future__ import annotations

import diffusers
import numpy as np
import pytest
import torch

from auditor.checkpoint.schedule import alphas_cumprod, noise_schedule, prediction_type
from auditor.errors import CheckpointError

BASE = {"_class_name": "DDIMScheduler", "num_train_timesteps": 1000, "beta_start": 1e-4, "beta_end": 0.02}
CURVES = {
    "linear": {"beta_schedule": "linear"},
    "scaled_linear": {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
    "cosine": {"beta_schedule": "squaredcos_cap_v2"},
    "trained": {"trained_betas": np.linspace(1e-3, 0.3, 40).tolist(), "num_train_timesteps": 40},
    "odd length": {"beta_schedule": "linear", "num_train_timesteps": 137},
}


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("rescaled", [False, True])
@pytest.mark.parametrize(
    "kind", ["DDIMScheduler", "DDPMScheduler", "UniPCMultistepScheduler", "DPMSolverMultistepScheduler"]
)
def test_alphas_cumprod_equal_those_of_diffusers(curve: str, rescaled: bool, kind: str) -> None:
    options = {key: value for key, value in (BASE | CURVES[curve]).items() if key != "_class_name"}
    scheduler = getattr(diffusers, kind)(**options, rescale_betas_zero_snr=rescaled)
    expected = scheduler.alphas_cumprod.double().numpy()
    found = alphas_cumprod(dict(scheduler.config))
    # Multistep solvers put 2^-24 in place of the terminal zero to be able to divide; the training had the zero.
    last = -1 if rescaled and "Multistep" in kind else None
    assert np.array_equal(found[:last], expected[:last])
    assert not rescaled or found[-1] == 0.0


def test_sigmoid_and_pndm_equal_those_of_diffusers() -> None:
    sigmoid = diffusers.DDPMScheduler(beta_schedule="sigmoid")
    assert np.array_equal(alphas_cumprod(dict(sigmoid.config)), sigmoid.alphas_cumprod.double().numpy())
    pndm = diffusers.PNDMScheduler(beta_schedule="scaled_linear")
    assert np.array_equal(alphas_cumprod(dict(pndm.config)), pndm.alphas_cumprod.double().numpy())


def test_noised_samples_equal_those_of_diffusers() -> None:
    scheduler = diffusers.DDPMScheduler(beta_schedule="squaredcos_cap_v2")
    schedule = noise_schedule({"_class_name": "DDPMScheduler", **scheduler.config})
    draw = torch.Generator().manual_seed(0)
    x0, eps = torch.randn(2, 4, 1, 5, 5, generator=draw)
    t = torch.tensor([0, 10, 500, 999])
    # Ours takes square roots in float64 and rounds once; theirs in float32: a few units in the last place (6e-8).
    torch.testing.assert_close(schedule.add_noise(x0, eps, t), scheduler.add_noise(x0, eps, t), rtol=1e-6, atol=1e-6)


def test_exploding_sigmas_equal_those_of_diffusers() -> None:
    scheduler = diffusers.ScoreSdeVeScheduler(num_train_timesteps=200, sigma_min=0.01, sigma_max=50.0)
    schedule = noise_schedule({"_class_name": "ScoreSdeVeScheduler", **scheduler.config})
    # diffusers exponentiates float32 logarithms of size 4.6: relative error about 4.6 * 6e-8 * 2.
    np.testing.assert_allclose(schedule.noise_scale, scheduler.discrete_sigmas.numpy(), rtol=2e-6)
    assert schedule.exploding and schedule.start_scale == pytest.approx(scheduler.init_noise_sigma, rel=1e-12)
    # The noise level that its pipeline hands to the network at time u in [0, 1] is the same curve at u (T - 1).
    scheduler.set_timesteps(5)
    scheduler.set_sigmas(5)
    places = scheduler.timesteps.double().numpy() * 199
    at = np.exp(np.interp(places, np.arange(200), np.log(schedule.noise_scale)))
    np.testing.assert_allclose(at, scheduler.sigmas.numpy(), rtol=2e-6)


FAULTS = {
    "another scheduler": {"_class_name": "FlowMatchEulerDiscreteScheduler"},
    "another curve": {"beta_schedule": "laplace"},
    "no end": {"beta_end": None},
    "not finite": {"beta_end": float("inf")},
    "betas above 1": {"beta_end": 2.0},
    "negative betas": {"beta_start": -1e-4},
    "no length": {"num_train_timesteps": None},
    "a fractional length": {"num_train_timesteps": 10.5},
    "trained betas of another length": {"trained_betas": [0.1, 0.2]},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_unsupported_schedule_is_refused(fault: str) -> None:
    sound = BASE | {"beta_schedule": "linear"}
    noise_schedule(sound)  # negative control
    with pytest.raises(CheckpointError, match="scheduler"):
        noise_schedule(sound | FAULTS[fault])


def test_prediction_types() -> None:
    assert [str(prediction_type({"prediction_type": name})) for name in ("epsilon", "sample", "v_prediction")] == [
        "epsilon", "sample", "v_prediction",
    ]  # fmt: skip
    assert prediction_type({}) == "epsilon"
    with pytest.raises(CheckpointError, match="v_prediction"):
        prediction_type({"prediction_type": "flow_prediction"})
    euler = dict(diffusers.EulerDiscreteScheduler(timestep_type="continuous").config)
    assert prediction_type(euler) == "epsilon"  # whose network is told training times all the same
    with pytest.raises(CheckpointError, match="timestep_type"):
        prediction_type(euler | {"prediction_type": "v_prediction"})
