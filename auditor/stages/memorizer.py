"""The closed-form memorizer of a set of images, as a checkpoint would have learnt it."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import torch

from auditor.checkpoint.load import LoadedCheckpoint
from auditor.data import pixels_of
from auditor.data.captions import stated_class
from auditor.diffusion.denoiser import Denoiser
from auditor.diffusion.ideal import IdealDenoiser
from auditor.diffusion.prediction import PredictionType
from auditor.diffusion.schedule import NoiseSchedule
from auditor.diffusion.truncated import TruncatedDenoiser
from auditor.search.euclidean import EuclideanIndex
from auditor.stages.inputs import Images

EXACT_POINTS = 4_096  # up to so many the exact pass costs less than a search
BLOCK = 512
ENCODED = 64  # images that an autoencoder takes at once; more do not fit beside it at 512x512


def memorizer_of(images: Images, ids: Sequence[str], checkpoint: LoadedCheckpoint) -> Denoiser:
    """The optimal denoiser of the named images, repeats included, under the checkpoint's noise schedule.

    It stands in model space: a latent checkpoint's memorizer holds latents. Its points are held in memory, 4 bytes a
    number (and once more in a search index beyond 4,096 points), since every step needs them all. For a
    class-conditional checkpoint the points of the asked class alone count, where every image's caption states its
    class number; otherwise the class is ignored.
    """
    pixels = pixels_of(images.source, ids)
    blocks = [checkpoint.codec.to_model(pixels[first : first + ENCODED]) for first in range(0, len(pixels), ENCODED)]
    points = torch.cat(blocks)
    labels = class_labels(images, ids, checkpoint.num_classes)
    schedule = checkpoint.denoiser.schedule
    if len(points) <= EXACT_POINTS:
        return IdealDenoiser(points, schedule, labels)
    index = EuclideanIndex(points.flatten(1).cpu().numpy().astype(np.float32))
    return TruncatedDenoiser(points, schedule, index, labels)


class DeferredMemorizer:
    """:func:`memorizer_of`, made when it is first called: a run that only goes on need not hold its points again."""

    prediction_type = PredictionType.SAMPLE

    def __init__(self, images: Images, ids: Sequence[str], checkpoint: LoadedCheckpoint) -> None:
        self.make = functools.cache(lambda: memorizer_of(images, ids, checkpoint))
        self.schedule: NoiseSchedule = checkpoint.denoiser.schedule
        self.sample_shape = checkpoint.denoiser.sample_shape

    def __call__(self, x_t: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        """E[x0 | x_t] as the memorizer gives it."""
        return self.make()(x_t, t, condition)


def class_labels(images: Images, ids: Sequence[str], classes: int | None) -> torch.Tensor | None:
    """Class numbers Int64[len(ids)] that the captions state; None without classes, or if any caption states none."""
    if classes is None:
        return None
    stated: dict[str, int | None] = {}
    for batch in images.source.batches(BLOCK, only=frozenset(ids)):
        found = (stated_class(caption, classes) for caption in batch.captions)
        stated.update(zip(batch.ids, found, strict=True))
    known = [label for name in ids if (label := stated[name]) is not None]
    return torch.tensor(known) if len(known) == len(ids) else None
