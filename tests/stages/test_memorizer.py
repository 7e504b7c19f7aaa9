"""The closed-form memorizer of a latent checkpoint: its points are encoded a few at a time."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from auditor.checkpoint.load import LoadedCheckpoint, load
from auditor.checkpoint.scan import scan
from auditor.data import Geometry, pixels_of
from auditor.diffusion.ideal import IdealDenoiser
from auditor.stages.inputs import Images, open_images
from auditor.stages.memorizer import DeferredMemorizer, memorizer_of
from tests.micro import write_micro_inputs

IMAGES = 150


class Counting:
    """A codec that records how many images each call takes."""

    def __init__(self, codec: object) -> None:
        self.codec, self.sizes = codec, list[int]()

    def to_model(self, pixels: NDArray[np.uint8]) -> torch.Tensor:
        self.sizes.append(len(pixels))
        points: torch.Tensor = self.codec.to_model(pixels)
        return points


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[LoadedCheckpoint, Images]:
    folder: Path = tmp_path_factory.mktemp("micro")
    write_micro_inputs(folder, train=IMAGES, holdout=1)
    return load(scan(folder / "checkpoint"), device="cpu"), open_images(folder / "train", Geometry(1, 8, 8))


def test_an_autoencoder_takes_few_images_at_once(inputs: tuple[LoadedCheckpoint, Images]):
    checkpoint, images = inputs
    codec = Counting(checkpoint.codec)
    counted = dataclasses.replace(checkpoint, codec=codec)
    made = memorizer_of(images, list(images.digests), counted)
    assert sum(codec.sizes) == IMAGES
    assert max(codec.sizes) <= 64
    assert isinstance(made, IdealDenoiser)
    whole = checkpoint.codec.to_model(pixels_of(images.source, list(images.digests)))
    assert torch.equal(made.points, whole.flatten(1))


def test_a_deferred_memorizer_is_the_memorizer(inputs: tuple[LoadedCheckpoint, Images]):
    checkpoint, images = inputs
    codec = Counting(checkpoint.codec)
    counted = dataclasses.replace(checkpoint, codec=codec)
    ids = list(images.digests)
    made, deferred = memorizer_of(images, ids, checkpoint), DeferredMemorizer(images, ids, counted)
    assert codec.sizes == []
    x_t, t = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([10, 90, 199])
    assert torch.equal(deferred(x_t, t), made(x_t, t))
    assert torch.equal(deferred(x_t, t), made(x_t, t))
    assert sum(codec.sizes) == IMAGES
    assert deferred.sample_shape == made.sample_shape
