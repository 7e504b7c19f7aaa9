"""What is reproduced: how often each attribute value occurs in training sets, held-out set and generations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditor.comparison_config import ComparisonConfig
from auditor.encoders.base import Encoder
from auditor.encoders.clip import ClipEncoder
from auditor.probes import choose
from auditor.progress import Progress
from auditor.regime.attributes import distribution, knn_labels, zero_shot_labels
from auditor.stages.comparison.columns import Answers
from auditor.stages.comparison.inputs import ComparedInputs
from auditor.stages.comparison.real_images import MOST_LABELS, captions_of, labels_of
from auditor.stages.comparison.reproduce import EmbeddedColumns
from auditor.stages.embed import Vectors, embed_images, named
from auditor.stages.inputs import Images
from auditor.stages.pool import rows_of
from auditor.store.comparison import AttributeDistribution
from auditor.store.run_directory import RunDirectory

MOST_IMAGES = 10_000  # of one set whose attributes are looked at, drawn at random


@dataclass(frozen=True)
class LabelledSet:
    """A set of real images under one encoder, with its true labels where its captions give them."""

    name: str
    images: Images
    vectors: Vectors  # Float32[N D] of the sample
    truth: NDArray[np.int64] | None  # Int64[N] places in `values`
    values: list[str]  # the class labels of all sets together; empty where they are none


class Classifier:
    """One and the same for every set: nearest labelled images, or the most similar prompt."""

    def __init__(self, values: list[str], reference: LabelledSet | None, texts: Vectors | None) -> None:
        self.values, self.reference, self.texts = values, reference, texts

    def __call__(self, vectors: Vectors, own: LabelledSet | None = None) -> NDArray[np.int64]:
        """Int64[N] labels; ``own`` is the set that the vectors are of, whose images do not vote for themselves."""
        if self.texts is not None:
            return zero_shot_labels(np.ascontiguousarray(vectors), self.texts)
        assert self.reference is not None and self.reference.truth is not None
        itself = np.arange(len(vectors)) if own is self.reference else None
        queries = np.ascontiguousarray(vectors)
        return knn_labels(queries, self.reference.vectors, self.reference.truth, own_row=itself)


def attribute_distributions(
    run: RunDirectory,
    inputs: ComparedInputs,
    answers: Sequence[Answers],
    embedded: EmbeddedColumns,
    config: ComparisonConfig,
    seed: str,
    show: Progress,
) -> list[AttributeDistribution]:
    """Every set and every checkpoint's column under every encoder that can classify; none if not asked for."""
    if not (config.attributes.captions or config.attributes.prompts):
        return []
    results = []
    for name, encoder in named(inputs.encoders).items():
        sets = labelled_sets(run, inputs, name, encoder, seed, show)
        classifier = classifier_of(sets, encoder, config)
        if classifier is None:
            continue
        asked: dict[str, Any] = {"encoder": name, "level": config.level}
        seen = {one.images.info.digest: classifier(one.vectors, one) for one in sets}
        for one in sets:
            truth = one.truth if classifier.texts is None else None
            predicted = seen[one.images.info.digest]
            results.append(distribution(predicted, classifier.values, source=one.name, truth=truth, **asked))
        for answer in answers:
            column = answer.checkpoint
            train = column.model.train
            base = seen.get(train.info.digest) if train is not None else None
            predicted = classifier(embedded.of(name, column))
            results.append(distribution(predicted, classifier.values, source=column.name, training=base, **asked))
    return results


def unanswered(config: ComparisonConfig, found: Sequence[AttributeDistribution]) -> list[str]:
    """A sentence where attributes were asked for and no set could be classified; else none."""
    if found or not (config.attributes.captions or config.attributes.prompts):
        return []
    return [
        f"attributes were not measured: in no set every image has a caption that is one of 2 to {MOST_LABELS} class "
        "labels."
    ]


def labelled_sets(
    run: RunDirectory, inputs: ComparedInputs, name: str, encoder: Encoder, seed: str, show: Progress
) -> list[LabelledSet]:
    """The held-out set, then each distinct training set, a random sample of each."""
    sets: dict[str, tuple[str, Images]] = {}
    if inputs.holdout is not None:
        sets[inputs.holdout.info.digest] = ("held-out", inputs.holdout)
    for model in inputs.models:
        if model.train is not None:
            sets.setdefault(model.train.info.digest, (f"training of {model.name}", model.train))
    found = []
    for title, images in sets.values():
        ids = list(images.digests)
        rows = rows_of(images, choose(seed, "attributes", ids, MOST_IMAGES))
        vectors = embed_images(run, f"{name}/{images.info.digest[:16]}", images, encoder, show)[rows]
        found.append((title, images, vectors, [captions_of(run, images)[row] for row in rows]))
    own = [labels_of(captions) for *_, captions in found]
    values = sorted({value for labels in own if labels for value in labels})
    number = {value: place for place, value in enumerate(values)}

    def truth(captions: list[str | None], labels: list[str] | None) -> NDArray[np.int64] | None:
        return None if labels is None else np.array([number[str(caption)] for caption in captions], np.int64)

    return [
        LabelledSet(title, images, vectors, truth(captions, labels), values)
        for (title, images, vectors, captions), labels in zip(found, own, strict=True)
    ]


def classifier_of(sets: Sequence[LabelledSet], encoder: Encoder, config: ComparisonConfig) -> Classifier | None:
    """Prompts under CLIP where they are given, else the first labelled set; None if the encoder can do neither.

    The held-out set comes first: no checkpoint was trained on it, so that its images favour none.
    """
    if config.attributes.prompts:
        if not isinstance(encoder, ClipEncoder):
            return None
        return Classifier(list(config.attributes.prompts), None, encoder.embed_texts(config.attributes.prompts))
    labelled = next((one for one in sets if one.truth is not None), None)
    return None if labelled is None else Classifier(labelled.values, labelled, None)
