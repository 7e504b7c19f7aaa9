"""What a record says about membership: who can be told to have been in the training set, and how well.

Larger score = more likely a member, everywhere.
"""

from __future__ import annotations

from typing import Literal

from auditor.store.parts import Curve, Estimate, Part


class Attack(Part):
    """One membership attack, its variant chosen on the calibration slice, reported on the other."""

    name: str
    variant: str  # such as "t=200, p=4"
    evaluations_per_image: int
    auc: Estimate
    tpr_at_1pct_fpr: Estimate
    excess_over_blind: Estimate  # paired difference of AUCs
    roc: Curve  # x = FPR, series "attack" and "blind"
    scores: Curve  # histogram: "members", "non-members"
    p_value: float | None = None  # one-sided, of "members score no higher"; None in records that lack it
    p_adjusted: float | None = None  # Holm over the attacks
    tpr_at_10pct_fpr: Estimate | None = None
    tpr_at_01pct_fpr: Estimate | None = None


class MixedGroup(Part):
    """Near-duplicates that stand on both sides of a membership test; none of them counts."""

    members: list[str]
    nonmembers: list[str]


class Feature(Part):
    """How one statistic of the images differs between members and non-members."""

    name: str
    difference: float  # mean of members minus mean of non-members, in pooled standard deviations
    p_adjusted: float  # over all named features


class Shift(Part):
    """Whether members and non-members are from one distribution, judged without the model."""

    members: int  # compared; near-duplicates count once
    nonmembers: int
    p_value: float  # of the permutation test over all features together
    permutations: int
    features: list[Feature]  # named ones, the most telling first


class Power(Part):
    """What a membership test of this size could find, and what size the policy's limits take."""

    members: int  # reported on
    nonmembers: int
    power: float  # such as 0.8
    detectable_auc: float | None  # least true AUC found with that power, all attacks considered; None = none is
    detectable_share: float | None  # least share of members, recognised outright, that shows at 1% FPR
    max_auc: float  # the policy's limits that the size below was worked out for
    max_excess: float
    max_tpr_at_1pct_fpr: float
    needed: int | None  # reported images a side with which a harmless checkpoint passes with that power; None = no size


class SetSize(Part):
    """How often random subsets of the suspect records would have been caught."""

    records: int
    caught_at_5pct: float  # share of the subsets with p <= 0.05
    caught_at_1pct: float


class SetControl(Part):
    """The same test of a set under a network that is taken to know neither side."""

    network: str
    p_value: float


class DatasetInference(Part):
    """Whether a whole set of records was used, tested against held-out records of the same origin."""

    suspects: int  # tested, at most 2,000; near-duplicates count once, and not at all where they are held out too
    heldout: int
    listed: bool  # named by membership.suspects; otherwise members that the audit tests
    signals: int  # of attacks that learn from no labels
    outcome: Literal["used", "not shown", "withheld", "not tested"]
    statement: str  # why, in a sentence
    p_value: float | None = None  # one-sided; labels permuted through the whole cross-validation
    blind_p_value: float | None = None  # the same test on the images alone
    shift_p_value: float | None = None  # of the two-sample test of images and embeddings, these two sets'
    blind_check_p_value: float | None = None  # of the blind classifier's check, likewise
    controls: list[SetControl] = []  # networks asked where the set would count as used, until one tells them apart
    control_evaluations: int = 0  # spent on those
    familiarity: float | None = None  # mean AUC of the signals: above 0.5, suspects are the more familiar ones
    permutations: int = 0
    sizes: list[SetSize] = []  # ascending; empty where there are fewer than 40 records
    subsets: int = 0  # drawn per size
    caught_at_5pct: int | None = None  # records of which 80% of sets are caught; None = at no tested size
    caught_at_1pct: int | None = None


class ExposedRecord(Part):
    """A training record that the checkpoint gives away more than others."""

    id: str
    times_in_set: int  # exact repeats, itself included
    slice: Literal["calibration", "report"]
    score: float  # the combined score, or the attack's that stands in for it
    p_value: float  # conformal: share of non-members that score as high
    q_value: float  # Benjamini-Hochberg within the slice, doubled: the false discovery rate of both slices together
    tier: str | None  # of the strongest copy evidence that names this image


class RecordScores(Part):
    """The file with every scored training record, and what its q-values can show."""

    file: str  # relative to the run directory
    sha256: str
    records: int
    score: str  # the attack whose score the p-values rest on
    alpha: float  # false discovery rate of all records called, of both slices together
    called: int  # records with q <= alpha
    needed: int  # how many must stand above all non-members before any q-value can reach alpha


class OtherCheckpoint(Part):
    """A checkpoint that scores were set beside."""

    name: str
    role: Literal["base", "reference"]
    digest: str
    trained_members: int | None  # of the members scored, those that it is listed to have been trained on
    trained_nonmembers: int | None  # None: no list was given, and none is taken to be


class CaptionControl(Part):
    """CLiD under the captions of other images of the same side."""

    own: Estimate  # AUC under each image's own caption
    shuffled: Estimate  # under another one's; what lies above 0.5 is not about the pair
    evaluations: int


class Membership(Part):
    members: int  # scored; the calibration part included, unscored ones not
    nonmembers: int
    calibration_members: int
    calibration_nonmembers: int
    unscored: list[tuple[str, str]]  # (id, reason)
    blind_auc: Estimate
    attacks: list[Attack]
    denoiser_evaluations: int
    evaluations_unshared: int  # what the attacks would have cost one by one
    references: list[OtherCheckpoint] = []
    mixed_groups: list[MixedGroup] = []
    shift: Shift | None = None
    power: Power | None = None
    control_evaluations: int = 0  # spent on the checkpoint that knows none of the members
    caption_control: CaptionControl | None = None  # where CLiD was asked for
    dataset_inference: DatasetInference | None = None
    records: RecordScores | None = None
    exposed: list[ExposedRecord] = []  # the most exposed first
