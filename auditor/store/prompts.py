"""prompts.json: which prompts a checkpoint seems to know by heart."""

from __future__ import annotations

from typing import Literal

from auditor.store.parts import Estimate, Part
from auditor.store.record import Checkpoint

Comparable = Literal["alike", "differ", "too different", "not tested", "no controls"]
Origin = Literal["added", "base", "undecided", "base alone", "none"]


class PromptList(Part):
    """Where prompts came from."""

    source: str  # a path as the user gave it, or "given"
    digest: str  # SHA-256 over the texts in their order
    prompts: int
    distinct: int  # by the tokens that the checkpoint sees of them
    truncated: int  # distinct ones of which the checkpoint sees the beginning only


class Comparison(Part):
    """Whether tested prompts and controls are alike but for what the checkpoint does with them."""

    status: Comparable
    statement: str
    blind_auc: Estimate | None = None  # of a classifier that sees the texts alone
    style_p: float | None = None  # of both being written alike, where a side is too few for a classifier
    lengths_p: float | None = None  # Kolmogorov-Smirnov, of the lengths in tokens
    median_tokens: list[float] = []  # of tested prompts and controls


class DetectorResult(Part):
    """One detector over all prompts."""

    name: str
    evaluations: float  # of the network per prompt, as if this detector were alone
    scored: int  # tested prompts
    called: int | None  # at alpha, by this detector alone; None where nothing can be called
    unscored: str | None = None  # why it was not run
    added: int | None = None  # with a base: prompts that this detector alone says the fine-tune added


class PromptScore(Part):
    """One prompt under one detector; larger = more likely memorised."""

    score: float | None  # None: not finite
    adjusted: float | None = None  # less what length and style explain, by all prompts and controls
    p_value: float | None = None  # rank among controls
    q_value: float | None = None


class PromptBase(Part):
    """One prompt under one detector, on the base of the fine-tune and beside it."""

    score: PromptScore  # on the base, under the same noises
    rise: PromptScore  # of the fine-tune's score less the base's
    origin: Origin | None = None  # who is shown to know it; None without controls
    p_value: float | None = None  # of "added": both tests at once
    q_value: float | None = None


class RankedPrompt(Part):
    """One distinct prompt."""

    prompt: str
    lines: list[int]  # its places in the list, from 1, blank lines of a text file not counted; several where it repeats
    tokens: int
    cut: int  # tokens that the checkpoint does not see
    called: bool
    scores: dict[str, PromptScore] = {}
    base: dict[str, PromptBase] = {}  # by detector; empty without a base
    unscored: str | None = None  # why it was not ranked
    mask: str | None = None  # relative path of a PNG file: where attention to the end of the text is bright


class BaseOfPrompts(Part):
    """The base of a fine-tune, and who is shown to know the prompts, by the deciding detector."""

    checkpoint: Checkpoint
    evaluations: int  # of its network
    called: int  # on the base, whatever the fine-tune makes of them
    added: int  # called on the fine-tune, not on the base, and risen by more than controls: charged to the fine-tune
    shared: int  # called on both: the base's already
    undecided: int  # called on the fine-tune; neither shown


class PromptRanking(Part):
    """All that a ranking found, prompts in the order of the deciding detector."""

    schema_version: Literal[1] = 1
    tool_version: str
    digest: str
    started: str  # ISO 8601, UTC
    seconds: dict[str, float]
    environment: dict[str, str]
    asked: dict[str, object]
    checkpoint: Checkpoint
    tested: PromptList
    controls: PromptList | None
    comparison: Comparison
    deciding: str  # the detector that calls
    alpha: float
    floor: int | None  # prompts that have to beat every control before any can be called; None without controls
    called: int
    seed_pinned: bool
    salt: str
    evaluations: int  # of the network, in all
    detectors: list[DetectorResult]
    prompts: list[RankedPrompt]
    notes: list[str]
    base: BaseOfPrompts | None = None
