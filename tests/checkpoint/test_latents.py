"""Pixels survive the way to model space and back; autoencoders are used as their pipelines use them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from auditor.checkpoint.latents import PixelScaling
from auditor.checkpoint.load import load
from auditor.checkpoint.scan import scan
from auditor.errors import CheckpointError
from tests.image_pipelines import save_dit
from tests.text_pipelines import save_pixart, save_sana, save_sd, save_sdxl

EVERY_VALUE = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)


@pytest.mark.parametrize("low", [-1.0, 0.0])
def test_every_pixel_value_comes_back(low: float) -> None:
    codec = PixelScaling((1, 16, 16), low=low)
    x = codec.to_model(EVERY_VALUE)
    assert x.dtype == torch.float32 and (float(x.min()), float(x.max())) == (low, 1.0)
    assert np.array_equal(codec.to_pixels(x), EVERY_VALUE)


def test_values_are_clamped_and_rounded() -> None:
    codec = PixelScaling((1, 1, 4))
    x = torch.tensor([-3.0, 3.0, 0.0, 100.4 / 127.5 - 1]).view(1, 1, 1, 4)
    # 0 lies between two pixel values, at 127.5: half to even gives 128.
    assert codec.to_pixels(x).ravel().tolist() == [0, 255, 128, 100]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="not finite"):
        PixelScaling((1, 1, 1)).to_pixels(torch.full((1, 1, 1, 1), value))


def test_pixels_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        PixelScaling((3, 16, 16)).to_model(EVERY_VALUE)


def test_kl_latents_are_the_scaled_posterior_mean(saved: dict[str, Path]) -> None:
    codec = load(scan(saved["dit"])).codec
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 8), dtype=np.uint8)
    latents = codec.to_model(pixels)
    x = torch.from_numpy(pixels).float() / 127.5 - 1
    mean = codec.network.encode(x).latent_dist.mode()
    torch.testing.assert_close(latents, mean * 0.18215, rtol=1e-5, atol=1e-6)  # AutoencoderKL's default factor
    assert torch.equal(latents, codec.to_model(pixels))  # no draw
    decoded = codec.network.decode(latents / 0.18215).sample
    expected = ((decoded / 2 + 0.5).clamp(0, 1) * 255).numpy()
    assert np.abs(codec.to_pixels(latents) - expected).max() <= 0.5 + 1e-3  # rounding


def test_vq_latents_are_scaled_and_decoded_through_the_codebook(saved: dict[str, Path]) -> None:
    codec = load(scan(saved["ldm"])).codec
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 16, 16), dtype=np.uint8)
    latents = codec.to_model(pixels)
    x = torch.from_numpy(pixels).float() / 127.5 - 1
    torch.testing.assert_close(latents, codec.network.encode(x).latents * 0.18215, rtol=1e-5, atol=1e-6)
    expected = ((codec.network.decode(latents / 0.18215).sample / 2 + 0.5).clamp(0, 1) * 255).numpy()
    assert np.abs(codec.to_pixels(latents) - expected).max() <= 0.5 + 1e-3


@pytest.mark.parametrize("name", ["dit", "ldm", "sana"])
def test_autoencoders_take_a_bounded_number_of_pixels_at_once(
    name: str, saved: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = load(scan(save_sana(tmp_path) if name == "sana" else saved[name]))
    codec, seen = checkpoint.codec, []
    for part in (codec.network.encoder, codec.network.decoder):
        part.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    latents = torch.randn(5, *checkpoint.denoiser.sample_shape, generator=torch.Generator().manual_seed(1))
    whole = codec.to_pixels(latents)
    wanted = codec.to_model(whole)
    assert seen == [5, 5] and whole.std() > 5
    seen.clear()
    monkeypatch.setattr("auditor.checkpoint.latents.PIXELS", 2 * whole[0, 0].size + 1)
    pixels = codec.to_pixels(latents)
    assert seen == [2, 2, 1]
    assert np.abs(pixels.astype(int) - whole).max() <= 1  # another batch size may change last bits
    torch.testing.assert_close(codec.to_model(whole), wanted, rtol=1e-5, atol=1e-5)
    assert seen == [2, 2, 1] * 2
    monkeypatch.setattr("auditor.checkpoint.latents.PIXELS", 1)  # less than an image: one by one
    assert np.array_equal(codec.to_pixels(latents[:2])[1], codec.to_pixels(latents[1:2])[0])
    assert seen[-3:] == [1, 1, 1]
    # of a batch without a finite sample nothing is left
    assert codec.to_model(whole[:0]).shape == wanted[:0].shape
    assert codec.to_pixels(latents[:0]).shape == whole[:0].shape


SHIFTED: dict[str, Callable[[Path], Path]] = {"sd": save_sd, "sdxl": save_sdxl, "pixart": save_pixart, "dit": save_dit}


@pytest.mark.parametrize("name", SHIFTED)
def test_a_shift_that_the_pipeline_would_pass_over_is_refused(name: str, tmp_path: Path) -> None:
    file = SHIFTED[name](tmp_path / name) / "vae" / "config.json"
    load(scan(tmp_path / name))  # negative control
    file.write_text(json.dumps(json.loads(file.read_text()) | {"shift_factor": 0.1}))
    with pytest.raises(CheckpointError, match="shift_factor"):
        load(scan(tmp_path / name))
