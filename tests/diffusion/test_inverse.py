"""Inverse problems against closed forms: the literal algorithms, Gaussian data, and finite training sets."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from auditor.diffusion.denoiser import CountingDenoiser
from auditor.diffusion.ideal import IdealDenoiser
from auditor.diffusion.inverse import SOLVERS, solve_null_space, solve_posterior, solve_replacement
from auditor.diffusion.measurement import MEASUREMENTS, Inpainting, Superresolution, hidden_error
from auditor.diffusion.prediction import PredictionType
from auditor.diffusion.samplers import sample_ddim
from auditor.diffusion.schedule import CLEAN, NoiseSchedule
from auditor.errors import ConfigError

TASKS = ["inpaint, right half", "inpaint, every other pixel", "super-resolution, factor 2"]


class GaussianDenoiser:
    """E[x0 | x_t] for x0 ~ N(mean, covariance) over all pixels together: mean + a C (a^2 C + s^2)^-1 (x - a mean)."""

    sample_shape = (1, 4, 4)
    prediction_type = PredictionType.SAMPLE

    def __init__(self, mean: torch.Tensor, covariance: torch.Tensor, schedule: NoiseSchedule) -> None:
        self.mean, self.schedule = mean, schedule
        self.variances, self.axes = torch.linalg.eigh(covariance)

    def gain(self, a: float, s: float) -> torch.Tensor:
        scale = a * self.variances / (a**2 * self.variances + s**2)
        return self.axes * scale @ self.axes.T

    def __call__(self, x_t: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        a, s = float(self.schedule.signal_scale[t[0]]), float(self.schedule.noise_scale[t[0]])
        x = x_t.flatten(1).double()
        return (self.mean + (x - a * self.mean) @ self.gain(a, s)).float().view_as(x_t)


@pytest.fixture(scope="module")
def gaussian(linear):
    """Smooth random fields on 4x4: covariance 0.25 exp(-distance^2 / 4)."""
    places = torch.cartesian_prod(torch.arange(4.0), torch.arange(4.0)).double()
    covariance = 0.25 * torch.exp(-torch.cdist(places, places).square() / 4)
    return GaussianDenoiser(torch.linspace(-0.5, 0.5, 16).double(), covariance, linear)


@pytest.mark.parametrize("name", list(MEASUREMENTS))
def test_measurements_have_their_pseudo_inverse(name, normal):
    measurement, x, z = MEASUREMENTS[name](8, 8), normal(1, 3, 2, 8, 8).double(), normal(2, 3, 2, 8, 8).double()
    y = measurement.measure(x)
    smallest = measurement.invert(y)
    torch.testing.assert_close(measurement.measure(smallest), y)  # A A^+ y = y
    hidden = z - measurement.invert(measurement.measure(z))
    torch.testing.assert_close(measurement.measure(hidden), torch.zeros_like(y))  # I - P is hidden
    assert abs(float((smallest * hidden).sum())) < 1e-9  # P is orthogonal
    torch.testing.assert_close(measurement.project(z, y), smallest + hidden)
    # trace of I - P, by the basis
    basis = torch.eye(64, dtype=torch.float64).view(64, 1, 8, 8)
    seen = measurement.invert(measurement.measure(basis)).view(64, 64).trace()
    assert measurement.hidden_share == pytest.approx(1 - float(seen) / 64)


def test_named_masks_hide_what_they_say(normal):
    x = normal(3, 1, 1, 4, 6)
    hidden = {name: MEASUREMENTS[name](4, 6).measure(x)[0, 0] == 0 for name in MEASUREMENTS if name.startswith("inp")}
    assert hidden["inpaint, left half"][:, :3].all() and not hidden["inpaint, left half"][:, 3:].any()
    assert torch.equal(hidden["inpaint, right half"], ~hidden["inpaint, left half"])
    assert torch.equal(
        hidden["inpaint, centre"].nonzero(), torch.cartesian_prod(torch.arange(1, 3), torch.arange(1, 5))
    )
    assert hidden["inpaint, every other pixel"].sum() == 12
    assert not (hidden["inpaint, every other pixel"][:, 1:] & hidden["inpaint, every other pixel"][:, :-1]).any()


def test_hidden_error_is_the_error_of_hidden_pixels(normal):
    measurement, x, truth = MEASUREMENTS["inpaint, right half"](4, 4), normal(4, 2, 3, 4, 4), normal(5, 2, 3, 4, 4)
    expected = (x - truth)[..., 2:].flatten(1).square().mean(1).sqrt()
    torch.testing.assert_close(hidden_error(measurement, x, truth), expected.double())


@pytest.mark.parametrize("solver", list(SOLVERS))
@pytest.mark.parametrize("name", TASKS)
def test_every_result_has_the_measurement(solver, name, network_denoiser, linear, normal):
    denoiser, measurement = network_denoiser(PredictionType.EPSILON, linear), MEASUREMENTS[name](8, 8)
    y, noise = measurement.measure(normal(6, 3, 1, 8, 8)), normal(7, 3, 1, 8, 8)
    made = SOLVERS[solver].solve(denoiser, noise, linear.ladder(8), measurement, y)
    assert made.dtype == torch.float32
    if name.startswith("inpaint"):
        assert torch.equal(measurement.measure(made), y)
    else:  # float32 pixels of an untrained network, up to 100 large, averaged
        assert (measurement.measure(made) - y).abs().max() < 1e-6 * made.abs().max()
    plain = sample_ddim(denoiser, noise, linear.ladder(8))  # the control: sampling knows nothing of y
    assert (measurement.measure(plain) - y).abs().max() > 0.1


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("schedule_name", ["linear", "exploding"])
def test_replacement_is_the_replacement_of_the_noised_known_part(
    name, schedule_name, request, affine_denoiser, gaussian, normal
):
    """Projecting x0 is the same as overwriting what A sees of x_t with a y + s A eps, one eps for all steps."""
    schedule = request.getfixturevalue(schedule_name)
    denoiser = GaussianDenoiser(gaussian.mean, (gaussian.axes * gaussian.variances) @ gaussian.axes.T, schedule)
    measurement, noise, ladder = MEASUREMENTS[name](4, 4), normal(8, 3, 1, 4, 4), schedule.ladder(20)
    y = measurement.measure(normal(9, 3, 1, 4, 4))
    x = noise.double() * schedule.start_scale
    for t, t_prev in pairwise(ladder):
        a, s = schedule.signal_scale[t], schedule.noise_scale[t]
        noised = a * y.double() + s * measurement.measure(noise.double())
        x = x + measurement.invert(noised - measurement.measure(x))
        x0 = denoiser(x.float(), torch.full((3,), t)).double()
        a_prev, s_prev = (1, 0) if t_prev == CLEAN else (schedule.signal_scale[t_prev], schedule.noise_scale[t_prev])
        x = a_prev * x0 + s_prev * (x - a * x0) / s
    x = x + measurement.invert(y - measurement.measure(x))
    # the network's answers are float32: 20 roundings of 6e-8 of values up to 5
    assert (solve_replacement(denoiser, noise, ladder, measurement, y) - x).abs().max() < 1e-5


def test_replacement_converges_to_the_flow_beside_a_prescribed_known_part(gaussian, normal):
    """In sigma, z = x / a: dz_hidden / d sigma = (z - x0)_hidden / sigma, z_known = y + sigma eps; by an ODE solver."""
    schedule, measurement = gaussian.schedule, MEASUREMENTS["inpaint, right half"](4, 4)
    known = measurement.known.flatten().numpy()
    noise, y = normal(10, 1, 1, 4, 4), measurement.measure(normal(11, 1, 1, 4, 4))
    eps, seen = noise.flatten().double().numpy(), y.flatten().double().numpy()
    mean, variances, axes = gaussian.mean.numpy(), gaussian.variances.numpy(), gaussian.axes.numpy()

    def slope(log_sigma: float, hidden: np.ndarray) -> np.ndarray:
        z = seen + np.exp(log_sigma) * eps
        z[~known] = hidden
        x0 = mean + axes @ (variances / (variances + np.exp(2 * log_sigma)) * (axes.T @ (z - mean)))
        return (z - x0)[~known]

    first = np.log(schedule.sigma[[-1, 0]])
    start = eps[~known] / schedule.signal_scale[-1]
    z = solve_ivp(slope, first, start, rtol=1e-8, atol=1e-9).y[:, -1]
    exact = z - slope(first[1], z)  # the last step takes the predicted x0
    error = {}
    for steps in (100, 400):
        made = solve_replacement(gaussian, noise, schedule.ladder(steps), measurement, y)
        error[steps] = np.abs(made.flatten().numpy()[~known] - exact).max()
    assert error[400] < 0.5 * error[100]  # first order
    assert error[400] < 0.03  # of deviations of 0.5


def test_null_space_is_the_predicted_image_with_predicted_noise(gaussian, normal):
    """x' = a' (x0 + A^+ (y - A x0)) + s' eps, written out."""
    schedule, measurement, noise = gaussian.schedule, Superresolution(2), normal(12, 3, 1, 4, 4)
    y, x, ladder = measurement.measure(normal(13, 3, 1, 4, 4)), noise.double(), schedule.ladder(20)
    for t, t_prev in pairwise(ladder):
        a, s = schedule.signal_scale[t], schedule.noise_scale[t]
        x0 = gaussian(x.float(), torch.full((3,), t)).double()
        eps = (x - a * x0) / s
        a_prev, s_prev = (1, 0) if t_prev == CLEAN else (schedule.signal_scale[t_prev], schedule.noise_scale[t_prev])
        x = a_prev * (x0 + measurement.invert(y - measurement.measure(x0))) + s_prev * eps
    made = solve_null_space(gaussian, noise, ladder, measurement, y)
    assert (made - x).abs().max() < 1e-4  # float32 answers, whose errors are fed back
    assert (made - solve_replacement(gaussian, noise, ladder, measurement, y)).abs().max() > 0.05


def test_posterior_follows_the_gaussian_recursion(gaussian, normal):
    """For Gaussian data x0_hat is affine with symmetric gain G, so that the gradient of r^2 is -2 G A^T (y - A x0)."""
    schedule, measurement, noise = gaussian.schedule, MEASUREMENTS["inpaint, right half"](4, 4), normal(14, 3, 1, 4, 4)
    y, ladder = measurement.measure(normal(15, 3, 1, 4, 4)), schedule.ladder(20)
    seen, x = y.flatten(1).double(), noise.flatten(1).double()
    for t, t_prev in pairwise(ladder):
        a, s = float(schedule.signal_scale[t]), float(schedule.noise_scale[t])
        gain = gaussian.gain(a, s)
        x0 = gaussian.mean + (x - a * gaussian.mean) @ gain
        residual = (seen - x0) * measurement.known.flatten()
        if t_prev == CLEAN:
            x = x0 + residual
            break
        step = 0.3 * a * -2 * (residual @ gain) / residual.norm(dim=1, keepdim=True)
        x = schedule.signal_scale[t_prev] * x0 + schedule.noise_scale[t_prev] * (x - a * x0) / s - step
    made = solve_posterior(gaussian, noise, ladder, measurement, y, step=0.3)
    assert (made.flatten(1) - x).abs().max() < 1e-4
    unguided = measurement.project(sample_ddim(gaussian, noise, ladder), y)
    assert (made - unguided).abs().max() > 0.05
    torch.testing.assert_close(solve_posterior(gaussian, noise, ladder, measurement, y, step=0.0), unguided)


@pytest.mark.parametrize("solver", list(SOLVERS))
def test_independent_pixels_are_filled_in_without_regard_to_y(solver, affine_denoiser, linear, normal):
    """Nothing known bears on the hidden pixels: they are the ordinary sample's, whatever y is; correlated ones move."""
    measurement, noise, ladder = MEASUREMENTS["inpaint, right half"](4, 4), normal(16, 3, 1, 4, 4), linear.ladder(20)
    denoiser = affine_denoiser(0.3, 0.5, PredictionType.SAMPLE, linear)
    hidden = sample_ddim(denoiser, noise, ladder)[..., 2:]
    for seed in (17, 18):
        y = measurement.measure(normal(seed, 3, 1, 4, 4))
        made = SOLVERS[solver].solve(denoiser, noise, ladder, measurement, y)
        torch.testing.assert_close(made[..., 2:], hidden, rtol=0, atol=1e-6)


@pytest.mark.parametrize("solver", list(SOLVERS))
def test_correlated_pixels_are_drawn_towards_the_conditional_mean(solver, gaussian, normal):
    """Over many noises, the mean fill-in is nearer to E[hidden | y] than the mean of data is, and than another y's."""
    measurement, noise = MEASUREMENTS["inpaint, every other pixel"](4, 4), normal(19, 64, 1, 4, 4)
    truth = gaussian.mean + normal(20, 2, 16).double() * gaussian.variances.clamp_min(0).sqrt() @ gaussian.axes.T
    known = measurement.known.flatten()
    covariance = (gaussian.axes * gaussian.variances) @ gaussian.axes.T
    weights = torch.linalg.solve(covariance[known][:, known], covariance[known][:, ~known])
    means = gaussian.mean[~known] + (truth - gaussian.mean)[:, known] @ weights  # one per y
    filled = []
    for one in truth:
        y = measurement.measure(one.float().view(1, 1, 4, 4)).expand(64, -1, -1, -1)
        made = SOLVERS[solver].solve(gaussian, noise, gaussian.schedule.ladder(50), measurement, y)
        filled.append(made.flatten(1).double()[:, ~known].mean(0))
    for own, other in ((0, 1), (1, 0)):
        distance = (filled[own] - means[own]).norm()
        assert distance < 0.6 * (gaussian.mean[~known] - means[own]).norm()
        assert distance < 0.6 * (filled[other] - means[own]).norm()


class DifferentiableIdeal:
    """The closed-form memorizer in plain autograd, for the solver that needs gradients."""

    prediction_type = PredictionType.SAMPLE

    def __init__(self, x0: torch.Tensor, schedule: NoiseSchedule) -> None:
        self.points, self.schedule, self.sample_shape = x0.flatten(1).double(), schedule, tuple(x0.shape[1:])

    def __call__(self, x_t: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        x = x_t.flatten(1).double()
        a, s = self.schedule.scales_at(t, x)
        weights = (-torch.cdist(x, a[0] * self.points).square() / (2 * s.square())).softmax(1)
        return (weights @ self.points).float().view_as(x_t)


def memorizer_errors(kind, solver, linear, normal):
    """Hidden error Float64[16] of its own 16 points and of 16 others, the centre hidden: three quarters known."""
    points, others = normal(21, 16, 1, 8, 8).clamp(-1, 1), normal(22, 16, 1, 8, 8).clamp(-1, 1)
    denoiser, measurement = kind(points, linear), MEASUREMENTS["inpaint, centre"](8, 8)
    return [
        hidden_error(
            measurement,
            SOLVERS[solver].solve(
                denoiser, normal(23, 16, 1, 8, 8), linear.ladder(50), measurement, measurement.measure(x0)
            ),
            x0,
        )
        for x0 in (points, others)
    ]


@pytest.mark.parametrize("solver", ["replacement", "null_space"])
def test_the_memorizer_fills_in_its_own_training_image(solver, linear, normal):
    """No other point agrees with as many pixels; a held-out image is not restored."""
    own, others = memorizer_errors(IdealDenoiser, solver, linear, normal)
    assert own.max() < 1e-3
    assert others.min() > 0.3


def test_posterior_guides_the_memorizer_to_its_own_training_image(linear, normal):
    """Mostly: once one point has all the weight, the gradient vanishes, wrong point or right. Unguided: 1 in 16."""
    own, others = memorizer_errors(DifferentiableIdeal, "posterior", linear, normal)
    assert (own < 1e-3).sum() >= 8  # of a binomial(16, 1/16): probability 2e-6
    assert others.min() > 0.3


@pytest.mark.parametrize("solver", list(SOLVERS))
def test_a_result_is_a_function_of_its_own_noise_and_y(solver, network_denoiser, linear, normal):
    """Also under inference mode, as stages call it; batch neighbours change last bits only."""
    denoiser, measurement = network_denoiser(PredictionType.EPSILON, linear), MEASUREMENTS["inpaint, centre"](8, 8)
    solve, ladder = SOLVERS[solver].solve, linear.ladder(6)
    y, noise = measurement.measure(normal(24, 3, 1, 8, 8)), normal(25, 3, 1, 8, 8)
    together = solve(denoiser, noise, ladder, measurement, y)
    assert torch.equal(together, solve(denoiser, noise, ladder, measurement, y))
    with torch.inference_mode():
        inner = solve(denoiser, noise + 0, ladder, measurement, y + 0)
    assert torch.equal(inner, together)
    alone = torch.cat([solve(denoiser, noise[[i]], ladder, measurement, y[[i]]) for i in range(3)])
    assert (alone - together).abs().max() < 1e-4 * together.abs().max()


@pytest.mark.parametrize("solver", list(SOLVERS))
def test_evaluations_are_as_declared(solver, network_denoiser, linear, normal):
    denoiser, measurement = CountingDenoiser(network_denoiser(PredictionType.EPSILON, linear)), Superresolution(2)
    y = measurement.measure(normal(26, 1, 1, 8, 8))
    SOLVERS[solver].solve(denoiser, normal(27, 1, 1, 8, 8), linear.ladder(7), measurement, y)
    assert denoiser.calls == SOLVERS[solver].evaluations(7)


def test_what_cannot_be_solved_is_refused(linear, normal):
    noise, measurement, ladder = normal(28, 2, 1, 8, 8), MEASUREMENTS["inpaint, centre"](8, 8), linear.ladder(5)
    denoiser = CountingDenoiser(IdealDenoiser(normal(29, 4, 1, 8, 8), linear))
    with pytest.raises(ConfigError, match="size of the mask"):
        solve_replacement(denoiser, normal(30, 2, 1, 4, 4), ladder, measurement, noise)
    with pytest.raises(ValueError, match="one measurement per row"):
        solve_replacement(denoiser, noise, ladder, measurement, noise[:1])
    with pytest.raises(ConfigError, match="partly known"):
        Inpainting(torch.ones(8, 8, dtype=torch.bool))
    with pytest.raises(ConfigError, match="2 divides"):
        MEASUREMENTS["super-resolution, factor 2"](7, 8)
    with pytest.raises(ConfigError, match="2 or more"):
        Superresolution(1)
    assert denoiser.calls == 0
    with pytest.raises(ConfigError, match="without gradients"):  # the memorizer computes under inference mode
        solve_posterior(denoiser, noise, ladder, measurement, measurement.measure(noise))
