"""Where on its way from noise a network that memorises decides on the image: ``python reports/basins.py``.

`memorized` and the closed-form memorizer of its training set walk the same probes. At a *hand-over* noise level one
of the two takes the trajectory over from the other; the share of trajectories that still end on the image that the
memorizer alone reaches says above or below which noise the two part. Beside it, at the states of the memorizer's own
trajectories, the distance between what the two predict. Rewrites the table in reports/README.md; a minute on two cores.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from auditor.checkpoint.load import LoadedCheckpoint, load
from auditor.checkpoint.scan import scan
from auditor.data import Geometry, open_source
from auditor.diffusion.denoiser import Denoiser, predict
from auditor.diffusion.ideal import IdealDenoiser
from auditor.diffusion.prediction import PredictionType
from auditor.diffusion.samplers import SAMPLERS
from auditor.diffusion.schedule import NoiseSchedule
from auditor.probes import probe_noise

ROOT = Path(__file__).parent.parent
FIXTURE = ROOT / "fixtures" / "memorized"
BEGIN, END = "<!-- basins:begin -->", "<!-- basins:end -->"
PROBES, STEPS = 512, 50
LEVELS = (100.0, 20.0, 10.0, 5.0, 3.0, 2.0, 1.0, 0.5)  # sigma of the hand-over


@dataclass(frozen=True)
class HandOver:
    """``first`` while the noise-to-signal ratio is above ``sigma``, ``then`` below it; the output is x0."""

    first: Denoiser
    then: Denoiser
    sigma: float
    prediction_type = PredictionType.SAMPLE

    @property
    def schedule(self) -> NoiseSchedule:
        return self.first.schedule

    @property
    def sample_shape(self) -> tuple[int, int, int]:
        return self.first.sample_shape

    def __call__(self, x_t: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        """See :class:`auditor.diffusion.denoiser.Denoiser`; all rows are at one time."""
        early = self.schedule.sigma[int(t[0])] > self.sigma
        return predict(self.first if early else self.then, x_t, t).x0.float()


def main() -> None:
    """Measure, print, and rewrite the table."""
    checkpoint = load(scan(FIXTURE / "checkpoint"))
    network, points = checkpoint.denoiser, training_points(checkpoint)
    memorizer = IdealDenoiser(points, network.schedule)
    noise = probe_noise("basins", "start", range(PROBES), network.sample_shape)
    states: list[torch.Tensor] = []
    reached = landed(memorizer, noise, points, states)
    lines = [
        f"Alone, `memorized` ends where the memorizer does on {share(landed(network, noise, points), reached)} of "
        f"{PROBES} probes (DDIM, {STEPS} steps).\n",
        "| sigma | network, then memorizer | memorizer, then network | network from memorizer | memorizer from mean |",
        "|--:|--:|--:|--:|--:|",
    ]
    for sigma in LEVELS:
        late = landed(HandOver(network, memorizer, sigma), noise, points)
        early = landed(HandOver(memorizer, network, sigma), noise, points)
        error, signal = apart(network, memorizer, points, states, sigma)
        agree = f"{share(late, reached)} | {share(early, reached)}"
        lines.append(f"| {sigma:g} | {agree} | {error:.2f} | {signal:.2f} |")
    table = "\n".join(lines)
    print(table)
    file = ROOT / "reports" / "README.md"
    head, _, rest = file.read_text().partition(BEGIN)
    file.write_text(f"{head}{BEGIN}\n{table}\n{END}{rest.partition(END)[2]}")


def training_points(checkpoint: LoadedCheckpoint) -> torch.Tensor:
    """Float32[N C H W] training images in model space."""
    source = open_source(FIXTURE / "train", Geometry(*checkpoint.codec.pixel_shape))
    return torch.cat([checkpoint.codec.to_model(batch.pixels) for batch in source.batches(256)])


def landed(
    denoiser: Denoiser, noise: torch.Tensor, points: torch.Tensor, states: list[torch.Tensor] | None = None
) -> torch.Tensor:
    """The nearest training image of every probe's sample, Int64[B]; ``states`` gathers what each step leaves."""
    keep = None if states is None else lambda step, x: states.append(x.clone())
    x0 = SAMPLERS["ddim"].sample(denoiser, noise, denoiser.schedule.ladder(STEPS), on_step=keep)
    return torch.cdist(x0.flatten(1), points.flatten(1)).argmin(dim=1)


def share(found: torch.Tensor, reached: torch.Tensor) -> str:
    """How many end on the same image."""
    return f"{(found == reached).double().mean():.1%}"


def apart(
    network: Denoiser, memorizer: Denoiser, points: torch.Tensor, states: list[torch.Tensor], sigma: float
) -> tuple[float, float]:
    """Medians over the memorizer's states at the first rung below sigma of |x0_network - x0_memorizer| and
    |x0_memorizer - mean of the set|, Euclidean over pixels in [-1, 1]."""
    ladder = network.schedule.ladder(STEPS)
    rung = next(step for step, t in enumerate(ladder) if network.schedule.sigma[t] <= sigma)
    x, t = states[rung - 1].float(), torch.full((PROBES,), ladder[rung])
    ideal = memorizer(x, t)
    error = (predict(network, x, t).x0 - ideal).flatten(1).norm(dim=1).median()
    return float(error), float((ideal - points.mean(0)).flatten(1).norm(dim=1).median())


if __name__ == "__main__":
    main()
