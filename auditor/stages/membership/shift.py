"""The two-sample test of members against non-members: images and embeddings, no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditor.probes import choose
from auditor.stages.embed import Embedded
from auditor.stages.inputs import Inputs
from auditor.stages.pool import rows_of
from auditor.store.digest import value_digest
from auditor.store.membership import Shift
from auditor.store.run_directory import RunDirectory
from auditor.validity.image_statistics import level_names, statistic_names
from auditor.validity.shift import MOST_IMAGES, PERMUTATIONS, describe, shift_test


def shift_of(
    run: RunDirectory,
    inputs: Inputs,
    embedded: Embedded,
    members: Sequence[str],
    nonmembers: Sequence[str],
    statistics: NDArray[np.float32],
    seed: str,
    place: str = "membership/shift",
) -> Shift:
    """Whether the two sides come from one distribution, judged by at most 5,000 of either, drawn at random.

    Args:
      embedded: An encoder's vectors of all images.
      members: Ids, each a unit of its own.
      nonmembers: Likewise.
      statistics: Float32[M + N D] of the two, grey levels included (:func:`auditor.stages.membership.sides`).
      place: Where in the run directory the answer lies.
    """
    ours = choose(seed, "shift/members", members, MOST_IMAGES)
    theirs = choose(seed, "shift/nonmembers", nonmembers, MOST_IMAGES)
    key = {
        "sets": [inputs.train.info.digest, inputs.holdout.info.digest], "members": value_digest(ours),
        "nonmembers": value_digest(theirs), "encoder": asdict(embedded.encoder.spec), "seed": seed,
        "permutations": PERMUTATIONS,
    }  # fmt: skip

    def compute() -> dict[str, Any]:
        of_member = {name: row for row, name in enumerate(members)}  # ids may be the same on both sides
        of_other = {name: row + len(members) for row, name in enumerate(nonmembers)}
        seen = statistics[[of_member[name] for name in ours] + [of_other[name] for name in theirs]]
        rows = embedded.train[rows_of(inputs.train, ours)], embedded.holdout[rows_of(inputs.holdout, theirs)]
        names = [*statistic_names(*inputs.checkpoint.codec.pixel_shape), *level_names()]
        is_member = np.arange(len(seen)) < len(ours)
        return shift_test(describe(seen, names, np.concatenate(rows)), is_member, seed).model_dump(mode="json")

    return Shift.model_validate(run.value(place, key, compute))
