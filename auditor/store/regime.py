"""What a record says about the regime of a checkpoint: its answers beside those of its closed-form memorizer."""

from __future__ import annotations

from typing import Literal

from auditor.store.parts import Estimate, Part

Regime = Literal["memorization", "transition", "generalization", "cannot conclude"]


class ClusterShare(Part):
    """How many of the probes whose memorizer lands in a cluster land on the same image under the checkpoint."""

    cluster: str  # class label, or "cluster 3" of the training embeddings
    share: Estimate
    chance: float


class MemorizerAgreement(Part):
    """A column against the closed-form memorizer of its training set, under one encoder.

    A generation *lands* on a real image if it is nearer to it than to any other real image, and nearer than any other
    real image is. Held-out images in the place of the training set show what a checkpoint does that saw neither.
    """

    encoder: str
    column: str
    resolving: bool  # whether the encoder tells copies from look-alikes on these images
    probes: int
    items: int  # distinct training images, near-duplicates together
    share: Estimate  # of probes that land on the very training image that the memorizer reaches from the same noise
    chance: float  # the same with the memorizer's answers to other noise
    control: Estimate  # the same with the memorizer of equally many held-out images
    training_reached: int  # distinct training images reached together with the memorizer
    control_reached: int  # distinct held-out images reached together with theirs
    p_value: Estimate  # that training images are reached no more often than held-out ones (sign test over images)
    landed: Estimate  # share of probes that land on any training image
    landed_holdout: Estimate  # on any held-out image
    reproduced: Estimate  # `landed` beyond what `landed_holdout` explains, a lower bound at its lower end
    plausible: Estimate  # share of generations as near to real images as all but 1% of held-out ones are
    gl_published: Estimate  # share of generations with no training image above 0.6 (GL score, Zhang et al. 2024)
    gl: Estimate  # the same above a threshold that 1% exceed with equally many held-out images for training images
    certified: int  # training images that the copy competition certifies
    lower_bound: Estimate  # X of the copy competition
    significance: float  # a p-value that counts, so that of all columns, each tested twice, 5% at most see a false call
    shared_bound: Estimate  # X at the level that does the same
    clusters: list[ClusterShare]


class RegimeVerdict(Part):
    """Which regime a column is in, from its numbers."""

    column: str
    encoder: str
    regime: Regime
    reasons: list[str]  # most important first
    remedies: list[str] = []  # what would settle a "cannot conclude"
    memorised: Estimate  # share of probes that land where the memorizer does


class CheckpointRegime(Part):
    """The regime of an audited checkpoint, and the numbers that it follows from."""

    verdict: RegimeVerdict
    agreement: MemorizerAgreement | None  # None where the memorizer was not made
