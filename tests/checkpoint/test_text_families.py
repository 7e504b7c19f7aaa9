"""Each family that takes text makes what diffusers' own pipeline makes of the same latents and prompts."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import diffusers
import pytest
import torch

from auditor.checkpoint.load import LoadedCheckpoint, load
from auditor.checkpoint.scan import scan
from auditor.diffusion.denoiser import CountingDenoiser
from auditor.diffusion.samplers import sample_ddim
from tests.text_pipelines import PROMPTS, save_sd, save_sdxl

STEPS = 5
FAMILIES = {"sd": save_sd, "sdxl": save_sdxl, "sdxl-empty": partial(save_sdxl, zeros=False)}
ZEROED = {"sdxl"}  # guided away from zeros
PLACES = torch.arange(len(PROMPTS))
# Largest difference of latents in their standard deviations: kernels round otherwise at other addresses and batch
# sizes, and the pipelines carry float32.
CLOSE = 1e-5


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One folder per family, not to be changed."""
    root = tmp_path_factory.mktemp("text")
    return {name: save(root / name) for name, save in FAMILIES.items()}


def start(checkpoint: LoadedCheckpoint) -> torch.Tensor:
    shape = len(PROMPTS), *checkpoint.denoiser.sample_shape
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def reference(folder: Path, noise: torch.Tensor, scale: float, output: str) -> torch.Tensor:
    """Latents, or images Float32[B C H W] in [0, 1], of diffusers' own call."""
    kind = getattr(diffusers, diffusers.DiffusionPipeline.load_config(folder)["_class_name"])
    pipeline = kind.from_pretrained(folder, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline(PROMPTS, latents=noise, num_inference_steps=STEPS, guidance_scale=scale, output_type=output).images


def ours(
    checkpoint: LoadedCheckpoint, noise: torch.Tensor, scale: float, places: torch.Tensor = PLACES
) -> tuple[torch.Tensor, CountingDenoiser]:
    """Latents by this package's loader and sampler, and the counter that stood before the network."""
    counted = CountingDenoiser(checkpoint.denoiser)
    denoiser = counted if scale == 1 else replace(checkpoint, denoiser=counted).guided(scale)
    return sample_ddim(denoiser, noise, denoiser.schedule.ladder(STEPS), condition=places), counted


def apart(made: torch.Tensor, wanted: torch.Tensor) -> float:
    return ((made - wanted).abs().max() / wanted.std()).item()


@pytest.mark.parametrize("scale", [1.0, 4.0])
@pytest.mark.parametrize("family", FAMILIES)
def test_images_are_those_of_the_pipeline(family: str, scale: float, folders: dict[str, Path]) -> None:
    checkpoint = load(scan(folders[family])).with_prompts(PROMPTS)
    noise = start(checkpoint)
    made, counted = ours(checkpoint, noise, scale)
    assert apart(made, reference(folders[family], noise, scale, "latent")) < CLOSE
    assert counted.calls == STEPS
    assert counted.evaluations == STEPS * len(PROMPTS) * (1 if scale == 1 else 2)
    wanted = (reference(folders[family], noise, scale, "pt") * 255).round()
    images = torch.from_numpy(checkpoint.codec.to_pixels(made)).float()
    assert (images - wanted).abs().max() <= 1  # of 255: what lies on the edge of two values may round to either
    assert wanted.std() > 5
    # negative control: under other prompts the same latents end elsewhere, farther than rounding could bring them
    other, _ = ours(checkpoint, noise, scale, PLACES.roll(1))
    assert all(apart(a, b) > 1_000 * CLOSE for a, b in zip(made, other, strict=True))


@pytest.mark.parametrize("family", FAMILIES)
def test_no_condition_and_the_place_after_the_last_are_the_empty_prompt(family: str, folders: dict[str, Path]) -> None:
    free = load(scan(folders[family]))
    bound = free.with_prompts([*PROMPTS, ""])
    noise, t = start(free), torch.tensor([400, 400, 400])
    empty = free.denoiser(noise, t)
    assert (bound.num_classes, bound.null_class, bound.info.conditional) == (4, 4, True)
    assert (free.num_classes, free.null_class, free.info.conditional, free.info.text) == (None, None, False, True)
    for condition in (None, torch.full((3,), 4)):
        torch.testing.assert_close(bound.denoiser(noise, t, condition), empty)
    stated = bound.denoiser(noise, t, torch.full((3,), 3))
    assert torch.allclose(stated, empty, atol=1e-5) != (family in ZEROED)
    assert not torch.allclose(bound.denoiser(noise, t, PLACES), empty, atol=1e-3)
    with pytest.raises(ValueError, match=r"got 5; expected places of prompts, 0\.\.4"):
        bound.denoiser(noise, t, torch.full((3,), 5))
