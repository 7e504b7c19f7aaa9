"""The real images that a checkpoint's answers can land on: its training set, and all held-out images."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from auditor.comparison_config import ComparisonConfig
from auditor.copies.pool import Pool
from auditor.encoders.base import Encoder
from auditor.progress import Progress
from auditor.search.clusters import kmeans
from auditor.search.rows import Rows, Stacked
from auditor.stages.comparison.inputs import Compared, ComparedInputs
from auditor.stages.embed import embed_images
from auditor.stages.inputs import Images
from auditor.stages.pool import digests_of, rows_of
from auditor.store.digest import value_digest
from auditor.store.run_directory import RunDirectory

MOST_LABELS = 64  # distinct captions up to which they count as class labels
BLOCK = 512


@dataclass(frozen=True)
class RealImages:
    """Under one encoder: training rows, then held-out rows."""

    train: Images
    holdout: Images | None
    pool: Pool
    key: dict[str, object]  # what determined the vectors

    @property
    def training_vectors(self) -> Rows:
        """Float32[n D]."""
        return self.pool.embeddings[: self.pool.training]

    @property
    def holdout_vectors(self) -> Rows:
        """Float32[m D]; no rows without held-out images."""
        return self.pool.embeddings[self.pool.training :]

    def rows_of_holdout(self, ids: list[str]) -> NDArray[np.int64]:
        """Pool rows of some held-out ids."""
        assert self.holdout is not None
        return rows_of(self.holdout, ids) + self.pool.training


def real_images(
    run: RunDirectory, inputs: ComparedInputs, model: Compared, name: str, encoder: Encoder, show: Progress
) -> RealImages:
    """The pool of one checkpoint; its vectors are made once per set and stay on disk."""
    train, holdout = model.train, inputs.holdout
    assert train is not None
    sets = [train] if holdout is None else [train, holdout]
    vectors = [embed_images(run, f"{name}/{images.info.digest[:16]}", images, encoder, show) for images in sets]
    pool = Pool(
        embeddings=Stacked(vectors),
        ids=[name for images in sets for name in images.digests],
        is_training=np.arange(sum(map(len, vectors))) < len(vectors[0]),
        pixel_digest=np.concatenate([digests_of(images) for images in sets]),
    )
    return RealImages(train, holdout, pool, {"sets": [s.info.digest for s in sets], "encoder": asdict(encoder.spec)})


def captions_of(run: RunDirectory, images: Images) -> list[str | None]:
    """Every image's caption in the order of ids."""

    def compute() -> list[str | None]:
        return [caption for batch in images.source.batches(BLOCK) for caption in batch.captions]

    found: list[str | None] = run.value(f"captions/{images.info.digest[:16]}", {"set": images.info.digest}, compute)
    return found


def labels_of(captions: list[str | None]) -> list[str] | None:
    """The distinct captions, sorted, where every image has one and they are few enough to be classes."""
    names = {caption for caption in captions if caption is not None}
    return sorted(names) if None not in captions and 1 < len(names) <= MOST_LABELS else None


def clusters_of(
    run: RunDirectory, real: RealImages, config: ComparisonConfig, seed: str
) -> tuple[NDArray[np.int64], list[str]]:
    """Cluster Int64[n] of every training image and the clusters' names: by class label, else by embedding.

    No clusters (all -1) where there are no labels and none are asked for, or fewer images than clusters.
    """
    captions = captions_of(run, real.train)
    names = labels_of(captions)
    if names is not None:
        number = {name: place for place, name in enumerate(names)}
        return np.array([number[str(caption)] for caption in captions], np.int64), names
    count = config.clusters
    if count < 2 or real.train.info.distinct < count:
        return np.full(real.pool.training, -1), []
    drawn = int(value_digest([seed, "clusters"])[:7], 16)  # FAISS takes 31 bits
    return kmeans(real.training_vectors, count, seed=drawn), [f"cluster {place + 1}" for place in range(count)]
