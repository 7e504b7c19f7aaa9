"""Each family without text makes what diffusers' own pipeline makes of the same latents."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial, wraps
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from auditor.checkpoint.load import LoadedCheckpoint, load
from auditor.checkpoint.scan import scan
from auditor.diffusion.denoiser import CountingDenoiser
from auditor.diffusion.samplers import sample_ddim
from tests.image_pipelines import save_dit, save_ldm, save_unet
from tests.text_pipelines import seeded

STEPS = 5
LABELS = torch.tensor([0, 2, 1])


def plain(**options: object) -> diffusers.DDIMScheduler:
    """DDPM's betas, walked as this package walks them."""
    return diffusers.DDIMScheduler(timestep_spacing="trailing", clip_sample=False, **options)


@dataclass(frozen=True)
class Family:
    """How a small checkpoint is saved, and whether its pipeline takes labels."""

    save: Callable[[Path], Path]
    labels: torch.Tensor | None = None


ddim = partial(save_unet, pipeline="DDIMPipeline")
FAMILIES = {
    "ddim": Family(lambda at: ddim(at, plain())),
    "ddim, v-prediction": Family(lambda at: ddim(at, plain(prediction_type="v_prediction"))),
    "ldm": Family(lambda at: save_ldm(at, plain())),
    # its pipeline guides away from label 1000, whatever the number of classes
    "dit": Family(lambda at: save_dit(at, plain(), num_embeds_ada_norm=1000), LABELS),
}
CASES = [*((name, 1.0) for name in FAMILIES), ("dit", 4.0)]
CLOSE = 5e-6  # largest difference of latents in their standard deviations: the pipelines carry float32; 7e-7 as seen


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One folder per family, not to be changed."""
    root = tmp_path_factory.mktemp("image")
    return {name: family.save(root / str(place)) for place, (name, family) in enumerate(FAMILIES.items())}


def reference(
    name: str, folder: Path, noise: torch.Tensor, scale: float, monkeypatch: pytest.MonkeyPatch
) -> tuple[torch.Tensor, torch.Tensor]:
    """The last state, and images Float32[B C H W] in [0, 1], of diffusers' own call."""
    pipeline = seeded(lambda: diffusers.DiffusionPipeline.from_pretrained(folder, local_files_only=True))
    pipeline.set_progress_bar_config(disable=True)
    states: list[torch.Tensor] = []
    step = pipeline.scheduler.step

    @wraps(step)  # pipelines read its signature
    def noted(*arguments: Any, **named: Any) -> Any:
        found = step(*arguments, **named)
        states.append(found.prev_sample[: len(noise)])
        return found

    monkeypatch.setattr(pipeline.scheduler, "step", noted)
    # these pipelines take no latents: they draw them
    monkeypatch.setattr(sys.modules[type(pipeline).__module__], "randn_tensor", lambda *_, **__: noise)
    labels = FAMILIES[name].labels
    call = {"batch_size": len(noise)} if labels is None else {"class_labels": labels.tolist(), "guidance_scale": scale}
    images = pipeline(num_inference_steps=STEPS, output_type="np", **call).images
    return states[-1], torch.from_numpy(images).permute(0, 3, 1, 2)


def ours(
    name: str, checkpoint: LoadedCheckpoint, noise: torch.Tensor, scale: float
) -> tuple[torch.Tensor, CountingDenoiser]:
    """Latents by this package's loader and sampler, and the counter that stood before the network."""
    counted = CountingDenoiser(checkpoint.denoiser)
    denoiser: Any = counted if scale == 1 else replace(checkpoint, denoiser=counted).guided(scale)
    return sample_ddim(denoiser, noise, denoiser.schedule.ladder(STEPS), condition=FAMILIES[name].labels), counted


def apart(made: torch.Tensor, wanted: torch.Tensor) -> float:
    return ((made - wanted).abs().max() / wanted.std()).item()


@pytest.mark.parametrize(("name", "scale"), CASES)
def test_images_are_those_of_the_pipeline(
    name: str,
    scale: float,
    folders: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    checkpoint = load(scan(folders[name]))
    shape = len(LABELS), *checkpoint.denoiser.sample_shape
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    wanted, shown = reference(name, folders[name], noise, scale, monkeypatch)
    made, counted = ours(name, checkpoint, noise, scale)
    record_property("difference", apart(made, wanted))
    assert apart(made, wanted) < CLOSE
    assert counted.calls == STEPS
    assert counted.evaluations == STEPS * len(noise) * (1 if scale == 1 else 2)
    images = torch.from_numpy(checkpoint.codec.to_pixels(made)).float()
    assert (images - (shown * 255).round()).abs().max() <= 1  # what lies on the edge of two values may round to either
    assert images.std() > 5
    # negative control: from other latents, or under another guidance, they end elsewhere
    other, _ = ours(name, checkpoint, noise.roll(1, 0), scale)
    assert apart(other, wanted) > 1_000 * CLOSE
    if FAMILIES[name].labels is not None:
        assert apart(ours(name, checkpoint, noise, scale + 1)[0], wanted) > 1_000 * CLOSE


def test_a_unet_of_classes_walks_as_the_scheduler_does(tmp_path: Path) -> None:
    """diffusers has no pipeline that passes labels on to a UNet2DModel."""
    checkpoint = load(scan(ddim(tmp_path / "classes", plain(), num_class_embeds=3)))
    network, scheduler = checkpoint.denoiser.network, plain()
    noise = torch.randn(3, *checkpoint.denoiser.sample_shape, generator=torch.Generator().manual_seed(1))
    scheduler.set_timesteps(STEPS)
    x = noise
    for t in scheduler.timesteps:
        x = scheduler.step(network(x, t, class_labels=LABELS).sample, t, x).prev_sample
    ladder = checkpoint.denoiser.schedule.ladder(STEPS)
    assert apart(sample_ddim(checkpoint.denoiser, noise, ladder, condition=LABELS), x) < CLOSE
    assert apart(sample_ddim(checkpoint.denoiser, noise, ladder, condition=LABELS.roll(1)), x) > 1_000 * CLOSE
