"""What the copy competition says of one column, for its regime."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditor.copies.decide import Split, bound_at, decide, nearest_image_p99
from auditor.copies.groups import duplicate_groups
from auditor.copies.pool import floor_of_planted
from auditor.encoders.base import Encoder
from auditor.regime.shares import unscored
from auditor.stages.comparison.columns import MadeColumn
from auditor.stages.comparison.real_images import RealImages
from auditor.stages.copies import compare_pixels
from auditor.stages.embed import Vectors
from auditor.stages.pool import plant_in
from auditor.store.parts import Estimate


@dataclass(frozen=True)
class Decided:
    """The duplicate groups of a pool of real images, and which of its training images a column reproduces."""

    group: NDArray[np.int64]  # [N] of each pool row
    certified: int
    lower_bound: Estimate  # X
    shared_bound: Estimate  # X where the bounds of all columns are to hold together
    resolving: bool
    notes: list[str]

    def plain(self) -> dict[str, Any]:
        """All but the groups, as plain values."""
        return {
            "certified": self.certified,
            "lower_bound": self.lower_bound.model_dump(mode="json"),
            "shared_bound": self.shared_bound.model_dump(mode="json"),
            "resolving": self.resolving,
            "notes": self.notes,
        }


def decide_copies(
    real: RealImages,
    column: MadeColumn,
    vectors: Vectors,
    encoder: tuple[str, Encoder],
    *,
    level: float,
    significance: float,
    split: Split,
    seed: str,
) -> Decided:
    """The copy competition of a column's generations; without held-out images the duplicate groups alone.

    Args:
      vectors: The column's embeddings, Float32[G D].
      encoder: Its name and itself.
      level: Of X.
      significance: One minus the level of the shared bound.
      split: How the held-out images were drawn.
    """
    name, embed = encoder
    planted = plant_in(real.pool, real.train, real.holdout, embed, seed)
    if real.holdout is None:
        groups = duplicate_groups(real.pool, floor_of_planted(planted))
        resolving = floor_of_planted(planted) >= nearest_image_p99(real.pool, groups) and not groups.percolated
        none = unscored("reproduced training images", "no held-out images competed")
        return Decided(groups.group, 0, none, none, resolving, groups.notes())

    def verbatim(rows: NDArray[np.int64], originals: NDArray[np.int64]) -> NDArray[np.bool_]:
        return compare_pixels(real.train, real.pool, column.generations, rows, originals)

    decision = decide(real.pool, vectors, encoder=name, planted=planted, level=level, split=split, verbatim=verbatim)
    found = decision.competition
    return Decided(
        group=decision.groups.group,
        certified=found.certified,
        lower_bound=found.lower_bound,
        shared_bound=bound_at(decision, 1 - significance),
        resolving=found.resolving,
        notes=decision.notes,
    )
