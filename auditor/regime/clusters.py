"""Memorisation by cluster: a checkpoint can generalise for most images and memorise some."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from auditor.regime.agreement import together
from auditor.regime.shares import bonferroni, share
from auditor.store.regime import ClusterShare


def cluster_shares(
    landing: NDArray[np.int64],
    memorizer: NDArray[np.int64],
    cluster: NDArray[np.int64],
    names: Sequence[str],
    *,
    level: float = 0.95,
) -> list[ClusterShare]:
    """For each cluster the share of its probes that land where the memorizer does, and that share by chance.

    A probe belongs to the cluster of the image that the *memorizer* reaches from it, which the checkpoint has no part
    in. By chance: the landings of all other probes in the place of its own; over clusters, weighted by their probes,
    it averages to :func:`auditor.regime.agreement.mismatched_chance`.

    Args:
      landing: Int64[G] item on which the checkpoint lands, -1 where on none.
      memorizer: Int64[G] item that the memorizer reaches.
      cluster: Int64[G] class label or k-means cluster of that item, 0..K-1; -1 where it has none, which is left out.
      names: The K clusters, fixed before anything was measured.
      level: All K intervals together hold with at least this probability (Bonferroni).

    Returns:
      K shares in the order of the names, Clopper-Pearson; unscored for a cluster without probes.
    """
    agrees, each = together(landing, memorizer), bonferroni(level, len(names))
    counts = np.bincount(landing[landing >= 0], minlength=int(memorizer.max(initial=-1)) + 1)
    others = counts[memorizer] - agrees  # of the G - 1 other probes, those that land on this probe's item
    method = f"Clopper-Pearson, Bonferroni over {len(names)} clusters"
    shares = []
    for number, name in enumerate(names):
        here = cluster == number
        probes = int(here.sum())
        chance = float(others[here].sum()) / (probes * max(len(landing) - 1, 1)) if probes else 0.0
        estimate = share("lands where the memorizer does", int(agrees[here].sum()), probes, each, method=method)
        if probes == 0:
            estimate = estimate.model_copy(update={"unscored": "no probe's memorizer reaches this cluster"})
        shares.append(ClusterShare(cluster=name, share=estimate, chance=chance))
    return shares
