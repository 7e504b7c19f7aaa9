"""The record: everything an audit found, versioned, and the only thing that reports and gates read.

Every number with uncertainty is an :class:`Estimate`; what could not be measured has ``value=None`` and says why.
Larger similarity = closer, larger membership score = more likely a member, everywhere.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from auditor.store.base import BaseContrast
from auditor.store.canaries import CanaryAudit
from auditor.store.cliques import CliqueSearch
from auditor.store.duplication import Duplication
from auditor.store.given import GivenImages
from auditor.store.kinds import CopyKind, KindSearch
from auditor.store.membership import Membership
from auditor.store.parts import Curve, Estimate, Outcome, Outcomed, Part
from auditor.store.prompting import CopiedPrompt, GuidanceRate, Prompting
from auditor.store.regime import CheckpointRegime

SCHEMA_VERSION: Literal[1] = 1  # raise it with any change of a field's name, order or meaning

Tier = Literal["verbatim", "certified", "suspect"]
CheckStatus = Literal["passed", "failed", "not tested"]


class FileDigest(Part):
    path: str
    bytes: int
    sha256: str


class Checkpoint(Part):
    path: str  # as the user gave it
    digest: str  # SHA-256 over the sorted (path, sha256) pairs of its files
    files: list[FileDigest]
    pipeline: str  # class named by model_index.json
    network: str
    parameters: int
    prediction_type: str
    sample_shape: list[int]  # C, H, W in model space
    pixel_shape: list[int] = []  # C, H, W of an image; empty in older records
    train_timesteps: int
    conditional: bool
    text: bool = False  # it takes prompts; without them it was audited under the empty one
    adapter: str | None = None  # fused into it, as the user gave its path
    notes: list[str] = []

    @property
    def name(self) -> str:
        """What was audited: its path, and that of the adapter on it."""
        return self.path if self.adapter is None else f"{self.path} with {self.adapter}"

    @property
    def size(self) -> str:
        """What it makes, in words: images, of latents where it works on these."""
        model, pixels = " × ".join(map(str, self.sample_shape)), " × ".join(map(str, self.pixel_shape))
        return f"images of {pixels} made of latents of {model}" if pixels and pixels != model else f"images of {model}"


class ImageSet(Part):
    path: str
    digest: str  # SHA-256 over (id, pixel digest, caption) in the order of ids
    images: int  # readable
    distinct: int  # by pixels
    unreadable: list[tuple[str, str]] = []  # (id, reason)


class IndexUsed(Part):
    """An index that an audit took the training set's embeddings and pixel digests from."""

    path: str  # as the user gave it
    digest: str  # SHA-256 over encoder, geometry and every partition's files and counts
    encoder: str  # whose embeddings it holds


class Slices(Part):
    """How many held-out images serve what; no image serves two purposes."""

    competition: int
    placebo: int
    membership: int


class Generation(Part):
    sampler: str  # "unknown" of images made elsewhere, as None below
    steps: int | None
    probes: int
    guidance_scale: float | list[float] | None  # several: taken in turn, each once for every prompt or class
    batch_size: int | None
    seed_pinned: bool
    salt: str  # secret until the audit was done; root_seed = SHA-256(salt, checkpoint digest)
    root_seed: str
    denoiser_evaluations: int
    non_finite: int  # generations that were NaN or infinite; excluded and counted
    deterministic: bool | None
    prompts: Prompting | None = None  # None = it was asked for nothing


class EncoderInfo(Part):
    name: str
    detail: str  # model name, weights
    weights_sha256: str | None
    dim: int


class Check(Part):
    """One blocking check of the audit's own validity."""

    id: Literal["placebo", "blind", "positive-control", "resolving", "coverage", "untrained", "prompts", "captions"]
    title: str
    encoder: str | None
    status: CheckStatus
    statement: str  # what was seen, in a sentence with numbers
    p_value: float | None = None
    p_adjusted: float | None = None  # Holm over the family
    power: str = ""  # what the check could have seen
    estimates: list[Estimate] = []


class Neighbour(Part):
    id: str
    similarity: float
    image: str | None = None  # relative path of a PNG in the run directory


class CopyEvidence(Part):
    """One training item (a distinct image or a group of duplicates) near a generation, strongest first."""

    id: str  # representative member
    members: list[str]  # all ids of its duplicate group, the representative included
    tier: Tier
    similarity: float  # best over generations, recomputed in float64
    margin: float  # similarity minus that of the nearest other pool item
    probe: int  # the probe that reached it
    prompt: str | None = None  # that this probe asked for
    guidance_scale: float | None = None  # that it was made under, of an audit under several
    view: str = "identity"  # what its generation was turned into where it is nearest: "mirror", or a window's name
    kind: CopyKind | None = None  # None where nobody looked
    covered: float | None = None  # share of the generation's patches with contrast that repeat the image, if looked at
    probes_landing: int  # generations whose nearest pool item this is
    base: bool | None = None  # whether the base copies it too; None without a base
    q_value: float | None
    why: str  # for a suspect: why it is not certified
    image: str | None  # relative paths of PNG files in the run directory
    generation_image: str | None
    nearest_holdout: Neighbour | None  # the held-out image nearest to the same generation


class Competition(Part):
    """Training items against held-out items under one encoder."""

    encoder: str
    n_items: int  # training items that compete
    m_items: int  # held-out items that compete
    untestable_groups: int  # duplicate groups with members on both sides
    grouped_training_images: int  # training images that share an item with another
    related_items: int = 0  # that compete as one with others, for the split dealt them together
    uncompeting_groups: int  # pure groups kept out because the split was not made by group
    resolving: bool
    planted_p05: float  # 5th percentile of planted copies' similarity to their originals
    pool_p99: float  # 99th percentile of the pool's nearest-neighbour similarity
    duplicate_threshold: float
    training_hits: int
    holdout_hits: int
    alpha: float
    certified: int
    verbatim: int
    suspects: int
    lower_bound: Estimate  # X: at least this many distinct training images are reproduced
    floor: int  # least number of hits that could be called at alpha
    copy_rate: Estimate  # share of generations landing on certified or verbatim items
    planted_recall: Estimate
    recall_by_transformation: dict[str, float]
    uncalibrated: list[Estimate]  # for comparison with published work; no part in the verdict
    scores: Curve  # histogram of item scores: "training", "held-out"
    evidence: list[CopyEvidence]
    closer: list[KindSearch] = []  # parts and blends among shortlisted pairs, where they were looked for
    duplication: Duplication | None = None  # None in records that lack it
    base: BaseContrast | None = None  # where a reference of role "base" is given
    by_guidance: list[GuidanceRate] = []  # where several scales were asked for, smallest first
    copied_prompts: list[CopiedPrompt] = []  # under which copies were made, those that land most often first


class Rule(Part):
    """One line of a policy, and how the record stands to it."""

    id: str
    title: str
    outcome: Outcome
    statement: str


class Judgement(Part):
    """What a policy makes of the record."""

    policy: str  # name or path
    outcome: Outcome
    exit_code: int
    reason: str  # one sentence
    rules: list[Rule]
    remedies: list[str]


class Record(Part):
    """All that an audit found."""

    schema_version: Literal[1] = SCHEMA_VERSION
    tool_version: str
    audit_digest: str  # digest of the specification and all inputs
    started: str  # ISO 8601, UTC
    seconds: dict[str, float]  # wall time per stage, of the process that finished it
    environment: dict[str, str]
    config: dict[str, object]  # resolved
    checkpoint: Checkpoint | None  # None where images made elsewhere were audited: which pipeline made them is unknown
    images: GivenImages | None = None  # these; None where a checkpoint was audited
    training: ImageSet
    holdout: ImageSet
    slices: Slices
    generation: Generation
    encoders: list[EncoderInfo]
    checks: list[Check]
    copies: list[Competition]
    membership: Membership | None
    regime: CheckpointRegime | None = None  # None where it was not asked for
    canaries: CanaryAudit | None = None  # None where no ledger was given
    index: IndexUsed | None = None  # None where the audit embedded the training set itself
    cliques: list[CliqueSearch] = []  # pictures that come back: patched pixels first, then every encoder
    copies_outcome: Outcomed
    membership_outcome: Outcomed
    not_tested: list[str]  # what this audit says nothing about
    sample_images: list[str] = Field(default_factory=list)  # relative paths of a few generations
    judgement: Judgement | None = None

    @property
    def audited(self) -> str:
        """Path of the checkpoint, and of an adapter on it, or of the images made elsewhere."""
        if self.checkpoint is not None:
            return self.checkpoint.name
        return self.images.path if self.images else ""
