"""Batched preprocessing against open_clip's own transform, image by image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from auditor.encoders.preprocess import Preprocess, as_rgb, resize

SIZES = [(16, 16), (28, 28), (21, 33), (64, 64), (50, 120)]  # none where Pillow 13 takes the height first


def both(source: tuple[int, int], channels: int, target: tuple[int, int], mode: str, interpolation: str):
    """Our batch and open_clip's transform of each image, as levels 0-255 before normalisation."""
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.25, 2.0)
    pixels = np.random.default_rng(sum(source)).integers(0, 256, (3, channels, *source), dtype=np.uint8)
    ours = Preprocess(*target, mean, std, interpolation, mode, fill_color=9)(pixels).numpy()
    config = PreprocessCfg(target, "RGB", mean, std, interpolation, mode, fill_color=9)
    transform = image_transform_v2(config, is_train=False)
    pictures = [Image.fromarray(p[0] if channels == 1 else p.transpose(1, 2, 0)) for p in pixels]
    theirs = np.stack([transform(picture.convert("RGB")).numpy() for picture in pictures])
    scale, shift = np.array(std).reshape(1, 3, 1, 1) * 255, np.array(mean).reshape(1, 3, 1, 1) * 255
    return ours * scale + shift, theirs * scale + shift


@pytest.mark.parametrize("source", SIZES)
@pytest.mark.parametrize("target", [(32, 32), (48, 24)])
@pytest.mark.parametrize("mode", ["squash", "shortest", "longest"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_preprocessing_equals_open_clips(source, target, mode: str, interpolation: str) -> None:
    for channels in (1, 3):
        ours, theirs = both(source, channels, target, mode, interpolation)
        assert ours.shape == theirs.shape == (3, 3, *target)
        difference = np.abs(ours - theirs)
        # torch's and Pillow's fixed-point resizing round differently now and then: 2 levels, few pixels; random
        # pixels, as here, are the worst case. 0.01 allows for float32 normalisation (255 * 2^-22 = 6e-5).
        assert difference.max() < 2.01
        assert (difference > 0.01).mean() < 0.05


@pytest.mark.parametrize("size", [(32, 32), (8, 20), (40, 10), (33, 50), (50, 21)])
def test_resizing_equals_pillows_width_then_height(size: tuple[int, int]) -> None:
    height, width = size
    pixels = np.random.default_rng(7).integers(0, 256, (3, 3, 33, 21), dtype=np.uint8)
    ours = resize(torch.from_numpy(pixels), height, width, "bicubic").numpy().astype(int)
    pictures = [Image.fromarray(p.transpose(1, 2, 0)).resize((width, 33), Image.Resampling.BICUBIC) for p in pixels]
    theirs = [np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC)) for picture in pictures]
    difference = np.abs(ours - np.stack(theirs).transpose(0, 3, 1, 2))
    assert difference.max() <= 2 and (difference > 0).mean() < 0.05  # as above


def test_the_comparison_sees_a_wrong_interpolation() -> None:
    # negative control: bicubic against bilinear differs by far more than the tolerance above
    ours, _ = both((28, 28), 3, (32, 32), "squash", "bicubic")
    _, theirs = both((28, 28), 3, (32, 32), "squash", "bilinear")
    assert np.abs(ours - theirs).max() > 10


def test_grey_becomes_three_equal_channels() -> None:
    pixels = np.arange(32, dtype=np.uint8).reshape(2, 1, 4, 4)
    assert np.array_equal(as_rgb(pixels).numpy(), np.repeat(pixels, 3, axis=1))


@pytest.mark.parametrize("pixels", [np.zeros((2, 4, 8, 8), np.uint8), np.zeros((3, 8, 8), np.uint8)])
def test_other_channels_or_axes_are_refused(pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="C = 1 or 3"):
        as_rgb(pixels)
