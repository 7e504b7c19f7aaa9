"""Each family that takes text makes what diffusers' own pipeline makes of the same latents and prompts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from auditor.checkpoint.asked import Asked
from auditor.checkpoint.flux import pack
from auditor.checkpoint.load import LoadedCheckpoint, load
from auditor.checkpoint.scan import scan
from auditor.checkpoint.text import Prompts
from auditor.diffusion.denoiser import CountingDenoiser
from auditor.diffusion.samplers import SampleFunction, sample_ddim, sample_dpmpp_2m
from auditor.errors import ConfigError
from tests.text_pipelines import (
    PROMPTS,
    flow_euler,
    flow_solver,
    save_flux,
    save_pixart,
    save_sana,
    save_sd,
    save_sd3,
    save_sdxl,
    seeded,
)

STEPS = 5
PLACES = torch.arange(len(PROMPTS))


@dataclass(frozen=True)
class Family:
    """How a small checkpoint is saved, how its pipeline is called, and what sets it apart."""

    save: Callable[[Path], Path]
    call: dict[str, object] = field(default_factory=dict)
    size: tuple[int, int] | None = None  # of images, for families whose checkpoints state none
    packed: bool = False  # the pipeline takes and gives packed latents
    told: bool = False  # guidance is an input of the network
    null: bool = True  # guidance is away from the empty prompt
    sampler: SampleFunction = sample_ddim  # that its scheduler is


AS_GIVEN = {"clean_caption": False, "use_resolution_binning": False}
FLUX = {"size": (16, 16), "packed": True}
SMALL = {"height": 16, "width": 16}
AWAY = {"negative_prompt": [""] * len(PROMPTS)}
FAMILIES = {
    "sd": Family(save_sd),
    "sdxl": Family(save_sdxl, null=False),
    "sdxl, empty prompt": Family(partial(save_sdxl, zeros=False)),
    "sd3": Family(save_sd3),
    "sd3.5, shift by resolution": Family(partial(save_sd3, scheduler=flow_euler(use_dynamic_shifting=True))),
    "sd3 without t5": Family(partial(save_sd3, t5=False)),
    "flux dev": Family(save_flux, SMALL, told=True, **FLUX),
    "flux schnell": Family(partial(save_flux, guidance=False, scheduler=flow_euler(shift=1.0)), SMALL | AWAY, **FLUX),
    "pixart alpha": Family(partial(save_pixart, kind="PixArtAlphaPipeline"), AS_GIVEN),
    "pixart sigma": Family(save_pixart, AS_GIVEN),
    "sana": Family(save_sana, AS_GIVEN, null=False),
    "sana, its solver": Family(
        partial(save_sana, scheduler=flow_solver()), AS_GIVEN, null=False, sampler=sample_dpmpp_2m
    ),
}
# Largest difference of latents in their standard deviations. Kernels round otherwise at other addresses and batch
# sizes, and the pipelines carry float32: 2e-6 as seen. A flow's sigmas are rounded to millionths: 5e-6.
CLOSE = 1e-5


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One folder per family, not to be changed."""
    root = tmp_path_factory.mktemp("text")
    return {name: family.save(root / name.replace(" ", "-")) for name, family in FAMILIES.items()}


def start(checkpoint: LoadedCheckpoint) -> torch.Tensor:
    shape = len(PROMPTS), *checkpoint.denoiser.sample_shape
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def reference(name: str, folder: Path, noise: torch.Tensor, scale: float, output: str) -> torch.Tensor:
    """Latents, or images Float32[B C H W] in [0, 1], of diffusers' own call."""
    family = FAMILIES[name]
    index = diffusers.DiffusionPipeline.load_config(folder)
    left_out = {name: None for name, entry in index.items() if entry == [None, None]}
    kind = getattr(diffusers, index["_class_name"])
    pipeline = seeded(lambda: kind.from_pretrained(folder, local_files_only=True, **left_out))
    pipeline.set_progress_bar_config(disable=True)
    guidance = {"true_cfg_scale" if family.packed and not family.told else "guidance_scale": scale}
    latents: Any = pack(noise) if family.packed else noise
    return pipeline(
        PROMPTS, latents=latents, num_inference_steps=STEPS, output_type=output, **guidance, **family.call
    ).images


def ours(
    name: str, checkpoint: LoadedCheckpoint, noise: torch.Tensor, scale: float, places: torch.Tensor = PLACES
) -> tuple[torch.Tensor, CountingDenoiser]:
    """Latents by this package's loader and sampler, and the counter that stood before the network."""
    told = FAMILIES[name].told
    counted = CountingDenoiser(checkpoint.guided(scale) if told else checkpoint.denoiser)
    guided = scale != 1 and not told
    denoiser: Any = replace(checkpoint, denoiser=counted).guided(scale) if guided else counted
    sampler = FAMILIES[name].sampler
    return sampler(denoiser, noise, denoiser.schedule.ladder(STEPS), condition=places), counted


def opened(name: str, folder: Path) -> LoadedCheckpoint:
    return load(scan(folder, asked=Asked(image_size=FAMILIES[name].size)))


def apart(made: torch.Tensor, wanted: torch.Tensor) -> float:
    return ((made - wanted).abs().max() / wanted.std()).item()


@pytest.mark.parametrize("scale", [1.0, 4.0])
@pytest.mark.parametrize("name", FAMILIES)
def test_images_are_those_of_the_pipeline(
    name: str, scale: float, folders: dict[str, Path], record_property: Callable[[str, object], None]
) -> None:
    family, checkpoint = FAMILIES[name], opened(name, folders[name]).with_prompts(PROMPTS)
    noise = start(checkpoint)
    made, counted = ours(name, checkpoint, noise, scale)
    wanted = reference(name, folders[name], noise, scale, "latent")
    difference = apart(pack(made) if family.packed else made, wanted)
    record_property("difference", difference)
    assert difference < CLOSE
    assert counted.calls == STEPS
    assert counted.evaluations == STEPS * len(PROMPTS) * (1 if scale == 1 or family.told else 2)
    shown = (reference(name, folders[name], noise, scale, "pt") * 255).round()
    images = torch.from_numpy(checkpoint.codec.to_pixels(made)).float()
    assert (images - shown).abs().max() <= 1  # of 255: what lies on the edge of two values may round to either
    assert shown.std() > 5
    # negative control: under other prompts the same latents end elsewhere, farther than rounding could bring them
    other, _ = ours(name, checkpoint, noise, scale, PLACES.roll(1))
    assert all(apart(a, b) > 1_000 * CLOSE for a, b in zip(made, other, strict=True))


@pytest.mark.parametrize("name", FAMILIES)
def test_no_condition_and_the_place_after_the_last_are_the_null_prompt(name: str, folders: dict[str, Path]) -> None:
    free = opened(name, folders[name])
    bound = free.with_prompts([*PROMPTS, ""])
    noise, t = start(free), torch.tensor([400, 400, 400])
    empty = free.denoiser(noise, t)
    assert (bound.num_classes, bound.null_class, bound.info.conditional) == (4, 4, True)
    assert (free.num_classes, free.null_class, free.info.conditional, free.info.text) == (None, None, False, True)
    for condition in (None, torch.full((3,), 4)):
        torch.testing.assert_close(bound.denoiser(noise, t, condition), empty)
    stated = bound.denoiser(noise, t, torch.full((3,), 3))
    assert torch.allclose(stated, empty, atol=1e-5) == FAMILIES[name].null
    assert not torch.allclose(bound.denoiser(noise, t, PLACES), empty, atol=1e-3)
    with pytest.raises(ValueError, match=r"got 5; expected places of prompts, 0\.\.4"):
        bound.denoiser(noise, t, torch.full((3,), 5))


@pytest.mark.parametrize("name", FAMILIES)
def test_in_bfloat16_the_network_answers_nearly_the_same(name: str, folders: dict[str, Path]) -> None:
    scanned = scan(folders[name], asked=Asked(image_size=FAMILIES[name].size))
    full, half = (load(scanned, dtype=dtype).with_prompts(PROMPTS) for dtype in ("float32", "bfloat16"))
    noise, t = start(full), torch.tensor([300, 500, 700]) * (len(full.denoiser.schedule) // 1000)
    wanted, made = full.denoiser(noise, t, PLACES), half.denoiser(noise, t, PLACES)
    assert made.dtype == torch.float32 and half.info.notes[-1] == "the network and its text encoders ran in bfloat16"
    assert 0 < (made - wanted).square().mean().sqrt() < 0.05 * wanted.std()  # eight bits of mantissa, a few layers
    asked = scan(folders[name], asked=replace(scanned.asked, dtype="bfloat16"))
    assert asked.digest != scanned.digest
    assert torch.equal(load(asked).with_prompts(PROMPTS).denoiser(noise, t, PLACES), made)


@pytest.mark.parametrize("name", ["sd", "sdxl", "sd3.5, shift by resolution", "pixart sigma", "sana"])
def test_images_of_another_size_on_demand(name: str, folders: dict[str, Path]) -> None:
    own, asked = scan(folders[name]), scan(folders[name], asked=Asked(image_size=(8, 8)))
    small = load(asked)
    assert small.codec.pixel_shape == (3, 8, 8) and asked.digest != own.digest
    assert small.denoiser(start(small), torch.tensor([400, 400, 400])).shape == (3, *small.denoiser.sample_shape)
    if name != "sana":  # whose patches are single places
        with pytest.raises(ConfigError, match="multiples of 4"):
            load(scan(folders[name], asked=Asked(image_size=(10, 10))))


def test_images_beyond_the_places_of_sd3_are_refused(folders: dict[str, Path]) -> None:
    """Its network would stop at its first call, once all else is prepared."""
    load(scan(folders["sd3"], asked=Asked(image_size=(32, 32))))  # negative control
    with pytest.raises(ConfigError, match="got 64x64; expected at most 32 a side"):
        load(scan(folders["sd3"], asked=Asked(image_size=(64, 64))))


def test_other_checkpoints_take_no_size(saved: dict[str, Path]) -> None:
    with pytest.raises(ConfigError, match="image_size"):
        scan(saved["ddpm"], asked=Asked(image_size=(8, 8)))


def test_a_guidance_without_prompts_says_so(folders: dict[str, Path], saved: dict[str, Path]) -> None:
    with pytest.raises(ConfigError, match="without prompts"):
        opened("sd", folders["sd"]).guided(3.0)
    with pytest.raises(ConfigError, match="at least one"):
        opened("sd", folders["sd"]).with_prompts([])
    with pytest.raises(ConfigError, match="text-to-image"):
        load(scan(saved["ddpm"])).with_prompts(PROMPTS)


def test_memory_for_embeddings_is_bounded_and_each_is_made_once(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts, made = noting(opened("sd", folders["sd"]), 50)
    monkeypatch.setattr("auditor.checkpoint.text.KEPT_BYTES", 5 * 24 * 16 * 4)  # five prompts of 24 states of width 16
    monkeypatch.setattr("auditor.checkpoint.text.KEPT_PROMPTS", 0)
    for first in range(0, 50, 10):
        found = prompts.at(torch.tensor([first, first + 1, first]), 3)["states"]
        assert torch.equal(found[0], found[2]) and not torch.equal(found[0], found[1])
        assert len(prompts.kept) <= 5
    assert len(made) == 10
    prompts.at(torch.tensor([40, 41]), 2)
    assert len(made) == 10  # still kept
    prompts.at(torch.tensor([0]), 1)
    assert made[-1] == "dog 0" and len(made) == 11  # left, and made again


def noting(checkpoint: LoadedCheckpoint, count: int) -> tuple[Prompts, list[str]]:
    """So many prompts for the checkpoint's encoder, and the list of those that it has read."""
    denoiser: Any = checkpoint.denoiser
    made: list[str] = []
    encode = denoiser.prompts.encode

    def noted(text: str) -> Any:
        made.append(text)
        return encode(text)

    return replace(denoiser.prompts, encode=noted).of([f"dog {k}" for k in range(count)]), made


def test_batches_in_turn_are_embedded_once_though_more_than_memory_is_for(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("auditor.checkpoint.text.KEPT_BYTES", 24 * 16 * 4)  # one prompt
    monkeypatch.setattr("auditor.checkpoint.text.KEPT_PROMPTS", 8)
    short, made = noting(opened("sd", folders["sd"]), 7)
    for _ in range(3):  # as the steps of an attack on images in two batches
        for places in ([0, 1, 2, 3], [4, 5, 6, 7]):
            short.at(torch.tensor(places), 4)
    assert len(made) == 8 and made[:7] == [f"dog {k}" for k in range(7)]  # a short list as a whole, then the null
    long, made = noting(opened("sd", folders["sd"]), 40)
    for first in (0, 20):
        for _ in range(3):  # the steps of one batch
            long.at(torch.arange(first, first + 20), 20)
    assert len(made) == 40 and len(long.kept) == 20  # the batch's own, and no more


def test_gradients_pass_through_a_text_denoiser_first_used_in_inference_mode(folders: dict[str, Path]) -> None:
    checkpoint = opened("sd", folders["sd"]).with_prompts(PROMPTS)
    x, t = start(checkpoint), torch.tensor([10, 500, 900])
    with torch.inference_mode():
        checkpoint.denoiser(x, t, PLACES)
    x.requires_grad_(True)
    checkpoint.denoiser(x, t, PLACES).square().sum().backward()
    assert x.grad is not None and x.grad.abs().sum() > 0
