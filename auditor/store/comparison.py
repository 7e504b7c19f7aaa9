"""The comparison: what the same probe noise says about several checkpoints. Reports read this and nothing else.

A *column* is a checkpoint under one sampler, or the closed-form memorizer of a training set; every column answers the
same probes. Larger similarity = closer, everywhere.
"""

from __future__ import annotations

from typing import Literal

from auditor.store.parts import Curve, Estimate, Part
from auditor.store.prompting import Prompting
from auditor.store.record import Checkpoint, EncoderInfo, ImageSet
from auditor.store.regime import MemorizerAgreement, RegimeVerdict

COMPARISON_VERSION: Literal[1] = 1  # raise it with any change of a field's name, order or meaning

DataRelation = Literal["same", "disjoint", "overlapping", "unknown"]  # of two columns' training sets, by pixels
Kind = Literal["checkpoint", "memorizer"]


class ComparedModel(Part):
    """A checkpoint, and what it was trained on as far as the user said."""

    name: str
    checkpoint: Checkpoint
    training: ImageSet | None
    size: int | None  # position on the curve: distinct training images, or what the user gave
    step: int | None  # position on a curve along one training
    base: str | None  # name of the model that it was fine-tuned from


class Column(Part):
    """One answer to the probes."""

    name: str  # unique: the model's name, with the sampler where several are compared
    model: str  # name of a ComparedModel; of a memorizer, the model whose training set and schedule it has
    kind: Kind
    sampler: str
    steps: int
    generations: int  # finite ones
    denoiser_evaluations: int
    guidance_scale: float | None = None  # classifier-free guidance of a checkpoint; a memorizer knows none


class Reproducibility(Part):
    """Two columns on the same probes, under one encoder.

    Similarity is the cosine of embeddings; *centred* where each column's mean embedding was taken off first, so that
    it is 0 on average between answers to different noise. Under prompts the means are those of each prompt, which
    leaves -matched / (K - 1) with K answers to it.
    """

    encoder: str
    left: str  # column names
    right: str
    data: DataRelation
    probes: int  # that both answered
    matched: Estimate  # mean centred similarity on the same noise
    mismatched: Estimate  # the same on different noise
    rp_published: Estimate  # share of probes whose similarity, not centred, exceeds 0.6 (Zhang et al. 2024)
    rp: Estimate  # share whose centred similarity exceeds `threshold`, on probes that had no part in it
    threshold: float  # exceeded by 1% of the mismatched pairs of the calibration probes
    mismatched_above: float  # share of the reported probes' mismatched pairs that exceed it
    identified: Estimate  # share of probes whose right answer is, of all or of its prompt's, most like the left's
    similarity: Curve  # histogram of centred similarity: "same noise", "different noise"
    prompts: int | None = None  # with two answers or more; then centres and different noise are those of one prompt


class Moved(Part):
    """What a fine-tuning did to the probes: which moved onto images that it was trained on."""

    encoder: str
    base: str  # column names
    tuned: str
    probes: int
    onto: Estimate  # share that lands on the fine-tuning's images after it, but not before
    off: Estimate  # the reverse
    stayed: float  # share on such an image both times
    p_value: float  # one-sided sign test over probes, or prompts, that changed: no more moved on than off
    examples: list[int]  # probes that moved on, nearest first


class TaskResult(Part):
    """An inverse problem: what columns fill in where a real image was hidden."""

    task: str  # such as "inpaint, right half, replacement"
    encoder: str
    left: str  # column names; equal where one column is judged alone
    right: str
    images: int  # training images, and as many held-out ones
    matched: Estimate  # mean centred similarity of what both fill in for the same image and noise
    mismatched: Estimate  # for different images and noise
    error_training: (
        Estimate  # root mean square error of the hidden part, pixels in [0, 1], on the left's own training images
    )
    error_holdout: Estimate
    training_better: Estimate  # probability that a training image is restored better than a held-out one (AUC)
    restored_training: Estimate  # share of training images of which the filled-in image is a landing
    restored_holdout: Estimate


class AttributeShare(Part):
    """One attribute value in one set of images."""

    value: str
    share: Estimate


class AttributeDistribution(Part):
    """How often each value of an attribute occurs in a set, as the same classifier sees every set."""

    encoder: str
    source: str  # "training of X", "held-out", or a column's name
    shares: list[AttributeShare]
    accuracy: Estimate  # of the classifier on labelled images of that source; unscored for generations
    amplification: list[AttributeShare]  # generated share divided by that of its training set; empty for real images


class SheetRow(Part):
    """One probe in pictures: a path per column, None where it gave no finite image."""

    probe: int
    images: list[str | None]  # relative paths of PNG files in the run directory
    prompt: str | None = None  # that the probe asked for


class Comparison(Part):
    """All that a comparison found."""

    schema_version: Literal[1] = COMPARISON_VERSION
    tool_version: str
    comparison_digest: str  # digest of the specification and all inputs
    started: str  # ISO 8601, UTC
    seconds: dict[str, float]
    environment: dict[str, str]
    config: dict[str, object]  # resolved
    models: list[ComparedModel]
    holdout: ImageSet | None
    columns: list[Column]
    probes: int
    seed_pinned: bool
    salt: str
    root_seed: str
    encoders: list[EncoderInfo]
    decisive: str  # the encoder that verdicts rest on: the first that resolves, else the first
    pairs: list[Reproducibility]
    memorizer: list[MemorizerAgreement]
    regimes: list[RegimeVerdict]
    curve: Literal["size", "step"] | None  # what the models are ordered along
    moved: list[Moved]
    tasks: list[TaskResult]
    attributes: list[AttributeDistribution]
    sheet_columns: list[str]  # column names, in the order of every row's images
    sheet: list[SheetRow]
    prompts: Prompting | None = None  # that every checkpoint was asked for
    notes: list[str]  # about these inputs
    not_tested: list[str]
