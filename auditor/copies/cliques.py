"""Copies known without any training set: generations from independent noise that coincide.

Nothing ties one probe's noise to another's. So a checkpoint that draws from a smooth law makes two alike images only
as often as that law is dense, while one that has an image by heart makes it again and again. What density explains is
read off the generations themselves, at distances where copies play no part, and carried down to small ones:

    r0 < r1    distances that 1% and 10% of the pairs of *different* pictures do not exceed
    M_k(r)     chance that k - 1 other generations are within r of one: mean over generations of C(c, k-1) / C(G-1, k-1)
    s_k        log(M_k(r1) / M_k(r0)) / log(r1 / r0), the k-th order correlation dimension at that scale
    M_k(r)  <= M_k(r0) (r / r0)^s_k   for r < r0, wherever log M_k is concave in log r

A clique of k generations, each within r of all others, needs k such stars, so that at most
``G C(G-1, k-1) M_k(r) / k`` are expected by chance; the radius is where this is 0.05.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from auditor.copies.distances import Cloud

LEAST = 5  # generations of a clique
CHANCE = 0.05  # expected number of chance cliques
NEAR, FAR = 0.03, 0.30  # shares of pairs that r0 and r1 are read off at
SAMPLE = 2_048  # generations that the law is read off
MOST = 2_048  # generations of one clique; a picture of more is several cliques, joined afterwards
LEAST_DIFFERENT = 64  # different pictures below which it is not
LEAST_DIMENSION = 2.0  # below which the pairs between r0 and r1 tell of clumps
CLUMP, CLUMP_RADIUS = 1 / 6, 0.25  # share of generations within so much of the 90th percentile of distances


@dataclass(frozen=True)
class ChanceLaw:
    """How often generations of a smooth law come near each other."""

    reference: float  # r0
    density: float  # M_k(r0)
    dimension: float  # s_k / (k - 1)
    least: int  # k
    different: int  # generations that it is read off

    def expected(self, generations: int, radius: float) -> float:
        """Upper bound on the mean number of chance cliques of k among so many independent generations."""
        return float(np.exp(self._log_stars(generations) + self._slope * np.log(radius / self.reference)))

    def radius(self, generations: int, chance: float = CHANCE) -> float:
        """Largest radius at which no more than ``chance`` cliques are expected, at most r0."""
        room = (np.log(chance) - self._log_stars(generations)) / self._slope
        return float(self.reference * np.exp(min(room, 0.0)))

    def apart(self, radius: float) -> float:
        """Distance of two cliques' first generations up to which they count as one picture.

        Twice the radius, as a picture may scatter beyond it, but never more than half of r0, where different pictures
        begin.
        """
        return min(2 * radius, self.reference / 2)

    @property
    def _slope(self) -> float:
        return self.dimension * (self.least - 1)

    def _log_stars(self, generations: int) -> float:
        g, k = generations, self.least
        choose = gammaln(g) - gammaln(k) - gammaln(g - k + 1)  # log C(g - 1, k - 1)
        return float(np.log(g) + choose + np.log(self.density) - np.log(k))


def chance_law(cloud: Cloud, least: int = LEAST) -> ChanceLaw | str:
    """The law of chance coincidences among generations, or why they do not show it.

    Pictures that come back add pairs at small distances only, which the two shares of pairs look past; but one that
    more than a sixth of the generations show would not be looked past, and counts once. At most 2,048 evenly spaced
    generations are used.

    Args:
      least: Generations of a clique, at least 2.

    Source:
      Correlation dimension: Grassberger and Procaccia 1983, Physica D 9; its k-th order sums, Hentschel and Procaccia
      1983, Physica D 8. That log M_k is concave holds for points in a ball, Gaussians and their kin; it fails where
      a law has a scale of its own on which its points bunch, which is what memorization is.
    """
    sample = cloud.take(np.arange(len(cloud))[:: max(1, -(-len(cloud) // SAMPLE))])
    few = f"fewer than {LEAST_DIFFERENT} different generations: chance coincidences cannot be told from others"
    if len(sample) < LEAST_DIFFERENT:
        return few
    distance = np.concatenate([block for _, block in sample.blocks()])
    kept = _one_of_each_clump(distance)
    if len(kept) < LEAST_DIFFERENT:
        return few
    different = distance[np.ix_(kept, kept)]
    pairs = different[np.triu_indices(len(kept), 1)]
    r0, r1 = (float(np.quantile(pairs, share)) for share in (NEAR, FAR))
    np.fill_diagonal(different, np.inf)
    near, far = (_stars(different, radius, least) for radius in (r0, r1))
    bunched = "the generations bunch at a few pictures or kinds of picture: chance cannot be told from that"
    if not (0 < r0 < r1 and 0 < near < far):
        return bunched
    law = ChanceLaw(r0, near, float(np.log(far / near) / np.log(r1 / r0) / (least - 1)), least, len(kept))
    return law if law.dimension >= LEAST_DIMENSION else bunched


def _one_of_each_clump(distance: NDArray[np.float32]) -> NDArray[np.int64]:
    """Rows without those that lie in a clump of more than a sixth of all, but for one of each clump."""
    kept, set_aside = np.arange(len(distance)), []
    while len(kept) >= LEAST_DIFFERENT:
        inside = distance[np.ix_(kept, kept)]
        clumped = inside <= CLUMP_RADIUS * float(np.quantile(inside, 0.9))
        centre = int(clumped.sum(axis=1).argmax())
        if clumped[centre].sum() <= CLUMP * len(kept):
            break
        set_aside.append(int(kept[centre]))
        kept = kept[~clumped[centre]]
    return np.sort(np.concatenate([kept, np.array(set_aside, np.int64)]))


def _stars(distance: NDArray[np.float32], radius: float, least: int) -> float:
    """M_k at a radius; the diagonal is infinite."""
    near = (distance <= radius).sum(axis=1).astype(np.float64)
    share = np.ones(len(near))
    for taken in range(least - 1):
        share *= np.maximum(near - taken, 0.0) / (len(near) - 1 - taken)
    return float(share.mean())


def find_cliques(cloud: Cloud, radius: float, least: int = LEAST) -> list[NDArray[np.int64]]:
    """Disjoint sets of at least ``least`` rows, each row within ``radius`` of all others of its set; largest first.

    Greedy from the row with most neighbours, ties by lower row; a set takes rows nearest to that first one, as long as
    they are near to all of it. The first row of a set is the one it grew from, the others follow by distance.
    """
    degree = np.concatenate([(block <= radius * 1.01 + 1e-3).sum(axis=1) - 1 for _, block in cloud.blocks()])
    free = np.ones(len(cloud), np.bool_)
    found = []
    for centre in np.lexsort((np.arange(len(cloud)), -degree)):
        if degree[centre] < least - 1:
            break
        if free[centre]:
            others = np.flatnonzero(free)
            distance = cloud.to(np.array([centre]), others)[0]
            near = others[distance <= radius][np.argsort(distance[distance <= radius], kind="stable")][:MOST]
            members = _complete(cloud, int(centre), near, radius)
            if len(members) >= least:
                free[members] = False
                found.append(members)
    return sorted(found, key=lambda members: (-len(members), int(members[0])))


def _complete(cloud: Cloud, centre: int, near: NDArray[np.int64], radius: float) -> NDArray[np.int64]:
    """The centre, then those rows, in the order given, that are within the radius of all taken before them."""
    members, left = [centre], near[near != centre]
    while len(left):
        taken = int(left[0])
        members.append(taken)
        left = left[1:]
        if len(left):
            left = left[cloud.to(np.array([taken]), left)[0] <= radius]
    return np.array(members, np.int64)


def join_cliques(cloud: Cloud, cliques: list[NDArray[np.int64]], apart: float) -> list[NDArray[np.int64]]:
    """Cliques of one picture together: each joins the first larger one whose first row is within ``apart`` of its own.

    A picture that comes back with more scatter than the radius falls into several cliques; joined, they are counted
    once. Largest first; the first row of each is that of its largest clique.
    """
    joined: list[list[NDArray[np.int64]]] = []
    for members in cliques:
        heads = np.array([parts[0][0] for parts in joined], np.int64)
        near = cloud.to(members[:1], heads)[0] <= apart if len(heads) else np.zeros(0, np.bool_)
        if near.any():
            joined[int(near.argmax())].append(members)
        else:
            joined.append([members])
    whole = [np.concatenate(parts) for parts in joined]
    return sorted(whole, key=lambda members: (-len(members), int(members[0])))
