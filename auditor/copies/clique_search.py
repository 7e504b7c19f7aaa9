"""The search for cliques under one measure: radius from the law of chance, cliques, and what the search could miss."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from auditor.copies.cliques import LEAST, chance_law, find_cliques, join_cliques
from auditor.copies.distances import Cloud
from auditor.store.cliques import CliqueSearch

PATCHED = "patched pixels"
PUBLISHED_RADIUS, PUBLISHED_LEAST = 0.15, 10  # Carlini et al. 2023, arXiv 2301.13188, section 4


@dataclass(frozen=True)
class Coincidences:
    """What one measure finds; the lists have one entry per picture, most generations first."""

    search: CliqueSearch
    members: list[NDArray[np.int64]]  # generation rows; the first is the one that the others were compared with
    spread: list[float]  # largest distance from that first one
    training: list[str | None] = field(default_factory=list)  # empty where no training set was looked at
    lies: list[bool] = field(default_factory=list)  # whether all of them land on that image


def search_cliques(
    cloud: Cloud, *, rows: NDArray[np.int64], measure: str, generations: int, least: int = LEAST
) -> Coincidences:
    """Pictures that come back more often than the density of the generations explains.

    Args:
      cloud: Of the generations that show something, as flat ones are alike in every model.
      rows: Int64[len(cloud)] their rows among all generations.
      measure: :data:`PATCHED`, or an encoder's name.
      generations: All of them, flat ones included.
      least: Generations of a clique, at least 2.
    """
    base = CliqueSearch(
        measure=measure, generations=len(cloud), flat=generations - len(cloud), least=least,
        published=published(cloud) if measure == PATCHED else None,
    )  # fmt: skip
    law = chance_law(cloud, least)
    if isinstance(law, str):
        return Coincidences(base.model_copy(update={"unscored": law}), [], [])
    radius = law.radius(len(cloud))
    pictures = join_cliques(cloud, find_cliques(cloud, radius, least), law.apart(radius))
    search = base.model_copy(
        update={
            "radius": radius,
            "expected": law.expected(len(cloud), radius),
            "dimension": law.dimension,
            "different": law.different,
            "pictures": len(pictures),
            "repeated": sum(map(len, pictures)),
            "detectable": float(beta.ppf(0.95, least, len(cloud) - least + 1)),
        }
    )
    spread = [float(cloud.to(members[:1], members).max()) for members in pictures]
    return Coincidences(search, [rows[members] for members in pictures], spread)


def published(cloud: Cloud) -> int:
    """Cliques of at least 10 generations within 0.15 of each other, as if the threshold held for any data."""
    return len(find_cliques(cloud, PUBLISHED_RADIUS, PUBLISHED_LEAST)) if len(cloud) else 0
