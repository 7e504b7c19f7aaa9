"""Whether held-out and training images are of one origin: else what favours training images may be owed to theirs.

Where their captions are asked for, these must be written alike, too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from auditor.errors import DataError
from auditor.probes import choose
from auditor.stages.comparison.landings import Landed
from auditor.stages.extraction_conditions import stated_captions
from auditor.stages.inputs import Images
from auditor.stages.membership.captions import written_alike
from auditor.stages.membership.sides import statistics_of
from auditor.stages.pool import rows_of
from auditor.store.record import Check
from auditor.store.regime import RegimeVerdict
from auditor.store.run_directory import RunDirectory
from auditor.validity.blind import ERROR_RATE, blind_check, blind_scores
from auditor.validity.placebo import holm_checks

SAMPLE = 1_000  # images a side
APART = {
    "blind": "Held-out and training images are not of one origin: neither can stand for the other.",
    "captions": "Captions of held-out and training images are not written alike: prompts may favour one side.",
}
REMEDIES = {
    "blind": "Give held-out images drawn at random from the pool of the training images.",
    "captions": "Caption both sides alike, or give a list of prompts.",
}


def check_origins(run: RunDirectory, landed: Sequence[Landed], seed: str, captions: bool) -> dict[str, list[Check]]:
    """The blind checks of every training set against the held-out images, by the set's digest.

    A classifier that sees only the images must not tell the sides apart, as in an audit, nor one that sees only
    ``captions`` where these are asked for. All checks are one family (Holm); duplicates are those of the first encoder.
    Empty without held-out images.
    """
    first: dict[str, Landed] = {}
    for one in landed:
        if one.real.holdout is not None:
            first.setdefault(one.real.train.info.digest, one)
    made = [(digest, origin_check(run, one, seed)) for digest, one in first.items()]
    if captions:
        made += [(digest, captions_check(run, one, seed)) for digest, one in first.items()]
    checks: dict[str, list[Check]] = {digest: [] for digest in first}
    for (digest, _), check in zip(made, holm_checks([check for _, check in made]), strict=True):
        checks[digest].append(check)
    return checks


def origin_check(run: RunDirectory, landed: Landed, seed: str) -> Check:
    """The blind check of one training set, not yet adjusted for the others; "not tested" with too few images."""
    train, holdout = landed.real.train, landed.real.holdout
    assert holdout is not None
    members = sample(train, holdout, f"{seed}/origin of training images")
    others = sample(holdout, train, f"{seed}/origin of held-out images")

    def compute() -> dict[str, object]:
        rows = np.concatenate([rows_of(train, members), rows_of(holdout, others) + landed.real.pool.training])
        is_member, groups = np.arange(len(rows)) < len(members), landed.group[rows]
        try:
            scores = blind_scores(statistics_of((train, members), (holdout, others)), is_member, groups, seed)
        except DataError as error:
            title = "Training and held-out images look alike"
            return Check(id="blind", title=title, encoder=None, status="not tested", statement=str(error)).model_dump(
                mode="json"
            )
        return blind_check(scores, is_member, groups).model_dump(mode="json")

    key = {"members": [train.info.digest, members], "others": [holdout.info.digest, others], "encoder": landed.encoder,
           "real": landed.real.key, "seed": seed}  # fmt: skip
    check = Check.model_validate(run.value(f"origins/{train.info.digest[:16]}", key, compute))
    return stated(check, f"{landed.column.model.name}, origin of the images")


def captions_check(run: RunDirectory, landed: Landed, seed: str) -> Check:
    """Whether captions of one training set and of the held-out images are written alike, not yet adjusted."""
    train, holdout = landed.real.train, landed.real.holdout
    assert holdout is not None
    drawn = [
        (train, sample(train, holdout, f"{seed}/origin of training images")),
        (holdout, sample(holdout, train, f"{seed}/origin of held-out images")),
    ]

    def compute() -> dict[str, object]:
        sides = [list(stated_captions(images, ids).values()) for images, ids in drawn]
        return written_alike(landed.column.model.checkpoint.denoiser, sides, seed).model_dump(mode="json")

    key = {"sides": [[images.info.digest, ids] for images, ids in drawn], "seed": seed,
           "checkpoint": landed.column.model.scan.digest}  # fmt: skip
    check = Check.model_validate(run.value(f"origins/{train.info.digest[:16]}/captions", key, compute))
    return stated(check, f"{landed.column.model.name}, captions")


def stated(check: Check, of: str) -> Check:
    """The check with its statement under what it is of, and its power where that is too little."""
    told = check.p_value is not None and check.p_value <= ERROR_RATE
    untested = check.status == "not tested" and not told  # too few to miss no difference are enough to show this one
    power = f" Too few images to be sure: {check.power}" if untested and check.power else ""
    return check.model_copy(update={"statement": f"{of}: {check.statement}{power}"})


def sample(images: Images, besides: Images, stream: str) -> list[str]:
    """Distinct images of a set that do not also stand in the other, at most 1,000 at random."""
    shared = set(besides.digests.values())
    return choose(stream, "origins", [i for i in images.distinct_ids if images.digests[i] not in shared], SAMPLE)


def withheld(verdict: RegimeVerdict, failed: Sequence[Check]) -> RegimeVerdict:
    """The verdict where the sides can be told apart without the checkpoint; as it is where no check failed."""
    if not failed:
        return verdict
    said = [f"{APART[check.id]} {check.statement}" for check in failed]
    return verdict.model_copy(
        update={
            "regime": "cannot conclude",
            "reasons": [*said, *verdict.reasons],
            "remedies": list(dict.fromkeys(REMEDIES[check.id] for check in failed)),
        }
    )
