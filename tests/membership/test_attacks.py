"""Every attack against its paper's formula written out plainly, and against denoisers whose members are known."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
import torch

from auditor.config import MembershipConfig
from auditor.diffusion.ideal import IdealDenoiser
from auditor.diffusion.prediction import PredictionType
from auditor.diffusion.schedule import NoiseSchedule
from auditor.diffusion.sweep import sweep
from auditor.errors import ConfigError
from auditor.membership import ATTACKS
from auditor.membership.base import training_time
from auditor.membership.clid import BY_CAPTION
from auditor.membership.pfami import centre_crop
from auditor.membership.secmi import SecMI
from auditor.probes import probe_noise
from auditor.stats.roc import auc
from auditor.store.wording import ATTACK_NAMES

SEED = "attack tests"
UNCAPTIONED = [name for name in ATTACKS if name not in BY_CAPTION]


def scores_of(denoiser, attack, x0, prefix="image", seed=SEED):
    ids = [f"{prefix}-{row}" for row in range(len(x0))]
    return sweep(denoiser, [(ids, x0, None)], [attack], seed=seed).scores[attack.name]


class Plain:
    """eps(x, t) and the scales, in float64 around the float32 network, as the papers write them."""

    def __init__(self, denoiser) -> None:
        self.denoiser, self.schedule = denoiser, denoiser.schedule

    def scales(self, t: int) -> tuple[float, float]:
        return float(self.schedule.signal_scale[t]), float(self.schedule.noise_scale[t])

    def eps(self, x: torch.Tensor, t: int) -> torch.Tensor:
        a, s = self.scales(t)
        output = self.denoiser(x.float(), torch.full((len(x),), t)).double()
        kind = self.denoiser.prediction_type
        if kind is PredictionType.EPSILON:
            return output
        if kind is PredictionType.FLOW:
            return (x + a * output) / (a + s)
        return (x - a * output) / s if kind is PredictionType.SAMPLE else s * x + a * output

    def phi(self, x: torch.Tensor, t: int, t_next: int) -> torch.Tensor:
        """SecMI's equation for one deterministic step, up or down."""
        (a, s), (a_next, s_next) = self.scales(t), self.scales(t_next)
        eps = self.eps(x, t)
        return a_next * (x - s * eps) / a + s_next * eps


def noise_of(x0: torch.Tensor, t: int, draw: int = 0) -> torch.Tensor:
    """Each image's own noise for a time and a draw."""
    ids = [hashlib.sha256(f"image-{row}".encode()).digest()[:8] for row in range(len(x0))]
    keys = [int.from_bytes(digest, "little") for digest in ids]
    return probe_noise(SEED, f"membership/loss/{t}/{draw}", keys, tuple(x0.shape[1:])).double()


def plain_loss(plain: Plain, x0: torch.Tensor, t: int) -> torch.Tensor:
    """|eps - eps(a x0 + s eps, t)|^2 / d with each image's own noise."""
    eps, (a, s) = noise_of(x0, t), plain.scales(t)
    return (eps - plain.eps(a * x0 + s * eps, t)).square().sum((1, 2, 3)) / x0[0].numel()


def plain_secmi(plain: Plain, x0: torch.Tensor, t: int, k: int) -> torch.Tensor:
    x = x0
    for step in range(0, t, k):
        x = plain.phi(x, step, step + k)
    up = plain.phi(x, t, t + k)
    return (x - plain.phi(up, t + k, t)).square().sum((1, 2, 3)) / x0[0].numel()


def plain_pia(plain: Plain, x0: torch.Tensor, t: int, p: int, normalise: bool) -> torch.Tensor:
    e0 = plain.eps(x0, 0)
    if normalise:
        e0 = e0 * math.sqrt(2 / math.pi) * x0[0].numel() / e0.abs().sum((1, 2, 3), keepdim=True)
    a, s = plain.scales(t)
    error = (e0 - plain.eps(a * x0 + s * e0, t)).abs()
    return ((error**p).sum((1, 2, 3)) / x0[0].numel()) ** (1 / p)


def plain_sima(plain: Plain, x0: torch.Tensor, t: int, p: int) -> torch.Tensor:
    return ((plain.eps(x0, t).abs() ** p).sum((1, 2, 3)) / x0[0].numel()) ** (1 / p)


def plain_crop(x0: torch.Tensor) -> torch.Tensor:
    """The central 6 x 6 of an 8 x 8 image (int(8 * 0.825) = 6), interpolated linearly at pixel centres."""
    weights = torch.zeros(8, 8, dtype=torch.float64)
    for out in range(8):
        place = min(max((out + 0.5) * 6 / 8 - 0.5, 0), 5)
        low = min(int(place), 4)
        weights[out, 1 + low], weights[out, 2 + low] = 1 - (place - low), place - low
    return weights @ x0 @ weights.T


def plain_pfami(plain: Plain, x0: torch.Tensor, relative: bool) -> torch.Tensor:
    """Mean over t of L_t(x0) - L_t(crop), over L_t(x0) if relative; negative for members."""
    rows = []
    for t in range(0, 451, 50):
        loss, of_crop = plain_loss(plain, x0, t), plain_loss(plain, plain_crop(x0), t)
        rows.append((loss - of_crop) / (loss + 1e-6 if relative else 1))
    return sum(rows) / len(rows)


def plain_small_noise(plain: Plain, x0: torch.Tensor, t: int) -> torch.Tensor:
    """Mean distance between all two of eps(x_t), eps(x_t-10), ..., eps(x_t-40) down a DDIM path."""
    a, s = plain.scales(t)
    x, noises = a * x0 + s * noise_of(x0, t), []
    for time in range(t, t - 50, -10):
        noises.append(plain.eps(x, time))
        if time > t - 40:
            x = plain.phi(x, time, time - 10)
    pairs = [(i, j) for i in range(5) for j in range(i)]
    return sum(((noises[i] - noises[j]) ** 2).mean((1, 2, 3)) ** 0.5 for i, j in pairs) / len(pairs)


def plain_rediffuse(plain: Plain, x0: torch.Tensor, t: int) -> torch.Tensor:
    total, (a, s) = torch.zeros_like(x0), plain.scales(t)
    for draw in range(10):
        x = a * x0 + s * noise_of(x0, t, draw)
        for time in range(t, 0, -100):
            x = plain.phi(x, time, time - 100)
        total += x
    return ((x0 - total / 10) ** 2).mean((1, 2, 3)) ** 0.5


PLAIN = {
    "loss": lambda plain, x0, t, p: plain_loss(plain, x0, t),
    "secmi": lambda plain, x0, t, p: plain_secmi(plain, x0, t, 10),
    "pia": lambda plain, x0, t, p: plain_pia(plain, x0, t, p, normalise=False),
    "pian": lambda plain, x0, t, p: plain_pia(plain, x0, t, p, normalise=True),
    "sima": plain_sima,
    "pfami": lambda plain, x0, t, p: plain_pfami(plain, x0, relative=p == 1),
    "small_noise": lambda plain, x0, t, p: plain_small_noise(plain, x0, t),
    "rediffuse": lambda plain, x0, t, p: plain_rediffuse(plain, x0, t),
}
VARIANTS = [
    ("loss", "t=50", 50, 0),
    ("loss", "t=200", 200, 0),
    ("secmi", "t=50, k=10", 50, 0),
    ("secmi", "t=90, k=10", 90, 0),
    ("pia", "t=100, p=2", 100, 2),
    ("pia", "t=300, p=4", 300, 4),
    ("pian", "t=100, p=2", 100, 2),
    ("pian", "t=200, p=4", 200, 4),
    ("sima", "t=20, p=2", 20, 2),
    ("sima", "t=100, p=4", 100, 4),
    ("pfami", "crop=0.825", 0, 0),
    ("pfami", "crop=0.825, relative", 0, 1),
    ("small_noise", "t=50, m=10", 50, 0),
    ("small_noise", "t=150, m=10", 150, 0),
    ("rediffuse", "t=100, n=10", 100, 0),
    ("rediffuse", "t=200, n=10", 200, 0),
]


@pytest.mark.parametrize("kind", list(PredictionType))
@pytest.mark.parametrize("name, variant, t, p", VARIANTS)
def test_score_is_minus_the_papers_error(name, variant, t, p, kind, network_denoiser, linear, normal):
    denoiser, x0 = network_denoiser(kind, linear), normal(1, 3, 1, 8, 8).clamp(-1, 1)
    score = scores_of(denoiser, ATTACKS[name], x0)[variant]
    expected = -PLAIN[name](Plain(denoiser), x0.double(), t, p).numpy()
    # same evaluations up to the batch they are in: float32 outputs differ by 1e-7, read from `sample` at t = 0 through
    # a division by 0.01; pfami is a difference of losses, so it is as exact as a loss near 1 and no more
    size = np.maximum(np.abs(expected), 1) if name == "pfami" else np.abs(expected)
    assert (np.abs(score - expected) / size).max() < (1e-6 if kind is not PredictionType.SAMPLE else 2e-5)


def test_mean_over_times_is_the_mean_of_the_losses(network_denoiser, linear, normal):
    scores = scores_of(network_denoiser(PredictionType.EPSILON, linear), ATTACKS["loss"], normal(2, 3, 1, 8, 8))
    mean = np.mean([scores[f"t={t}"] for t in (50, 100, 200)], axis=0)
    assert scores["mean over t=50..200"] == pytest.approx(mean, rel=1e-12)


def test_one_path_gives_what_separate_paths_give(network_denoiser, linear, normal):
    denoiser, x0 = network_denoiser(PredictionType.EPSILON, linear), normal(3, 3, 1, 8, 8)
    together = scores_of(denoiser, SecMI(times=(20, 50, 90)), x0)
    for t in (20, 50, 90):
        alone = scores_of(denoiser, SecMI(times=(t,)), x0)
        assert alone[f"t={t}, k=10"] == pytest.approx(together[f"t={t}, k=10"], rel=1e-9)


@pytest.fixture(scope="module")
def two_sets(normal):
    """Two sets of 60 images of one population: smooth random fields, clipped to [-1, 1]."""
    fields = torch.nn.functional.avg_pool2d(normal(4, 120, 1, 10, 10), 3, stride=1) * 3
    return fields[:60].clamp(-1, 1), fields[60:].clamp(-1, 1)


@pytest.mark.parametrize("name", UNCAPTIONED)
@pytest.mark.parametrize("schedule_name", ["linear", "exploding"])
def test_members_of_a_memorizer_score_higher(name, schedule_name, request, two_sets):
    """Direction and strength where the truth is known: the closed-form memorizer of one set, asked about both."""
    members, others = two_sets
    denoiser = IdealDenoiser(members, request.getfixturevalue(schedule_name))
    inside, outside = scores_of(denoiser, ATTACKS[name], members, "m"), scores_of(denoiser, ATTACKS[name], others, "o")
    areas = {variant: auc(inside[variant], outside[variant]) for variant in inside}
    # small_noise sees straight paths, and the memorizer's path is nearly straight from any image to its nearest member
    assert max(areas.values()) > (0.95 if name == "small_noise" else 0.99)
    assert min(areas.values()) > 0.5  # no variant points the wrong way


@pytest.mark.parametrize("name", UNCAPTIONED)
def test_a_memorizer_of_other_images_accuses_nobody(name, linear, normal, two_sets):
    """The control: neither set was the denoiser's. 60 against 60: AUC 0.5 with sd 0.053; 0.16 is three of them."""
    foreign = torch.nn.functional.avg_pool2d(normal(5, 60, 1, 10, 10), 3, stride=1) * 3
    denoiser = IdealDenoiser(foreign.clamp(-1, 1), linear)
    first, second = (
        scores_of(denoiser, ATTACKS[name], side, prefix) for side, prefix in zip(two_sets, "mo", strict=True)
    )
    for variant in first:
        assert abs(auc(first[variant], second[variant]) - 0.5) < 0.16


@pytest.mark.parametrize("shape", [(1, 1, 16, 16), (2, 3, 32, 20), (1, 4, 2, 1)])
def test_a_crop_keeps_the_shape_and_invents_no_colour(shape):
    x = torch.full(shape, 0.25, dtype=torch.float64)
    assert torch.allclose(centre_crop(x, 0.825), x, rtol=1e-12)


def test_a_perfect_prediction_has_a_finite_score(linear, affine_denoiser):
    """Data of one point, which the closed form predicts exactly; a logarithm of its distances would be infinite."""
    denoiser = affine_denoiser(0.0, 0.0, PredictionType.SAMPLE, linear)
    for name in UNCAPTIONED:
        for column in scores_of(denoiser, ATTACKS[name], torch.zeros(2, 1, 4, 4)).values():
            assert np.isfinite(column).all() and len(column) == 2


def test_every_attack_can_be_asked_for_and_has_a_name_to_read():
    names = [*UNCAPTIONED, "clid", "gsa"]
    assert MembershipConfig(attacks=names).attacks == names
    assert set(names) < set(ATTACK_NAMES)


def test_published_times_scale_with_the_schedule(linear, exploding):
    assert [training_time(linear, t) for t in (0, 10, 100, 999)] == [0, 10, 100, 999]
    short = NoiseSchedule.from_alphas_cumprod(np.cumprod(1 - np.linspace(1e-3, 0.2, 100)))
    assert [training_time(short, t) for t in (0, 10, 100, 999)] == [0, 1, 10, 99]
    # variance-exploding: same noise-to-signal ratio, within the schedule's own spacing (a factor of 5000^(1/999))
    t = training_time(exploding, 100)
    assert exploding.sigma[t] == pytest.approx(linear.sigma[100], rel=0.005)


def test_schedules_too_short_for_the_attacks_are_refused():
    tiny = NoiseSchedule.from_alphas_cumprod(np.linspace(0.99, 0.01, 50))
    with pytest.raises(ConfigError, match="50 training times"):
        training_time(tiny, 100)
