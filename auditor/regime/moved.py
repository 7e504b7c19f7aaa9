"""What a fine-tuning did to the probes: which moved onto images that it was trained on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from auditor.errors import DataError
from auditor.regime.landing import Landing
from auditor.regime.shares import rows_by_prompt, share, share_by_prompt
from auditor.store.comparison import Moved
from auditor.store.parts import Estimate

MOST_EXAMPLES = 32


def moved(
    base: Landing,
    tuned: Landing,
    training: NDArray[np.bool_],
    probes: NDArray[np.int64],
    *,
    encoder: str,
    names: tuple[str, str],
    level: float = 0.95,
    prompt: NDArray[np.int64] | None = None,
) -> Moved:
    """Probes that land on a fine-tuning image after it but not before, and the reverse.

    The sign test asks of fresh probes whether more move on than off, as McNemar's does: of those that changed, half
    would have moved on. Probes are its unit, so it speaks of these two checkpoints and not of how many images are
    favoured; one image that draws many probes suffices. Under prompts, those of one stand or fall together: a prompt
    counts once, as moved on where more of its probes moved on than off.

    Args:
      base: Where G probes land before the fine-tuning.
      tuned: Where the same probes land after it.
      training: Bool[I] items (duplicate groups) with an image that the fine-tuning was trained on.
      probes: Int64[G] number of each probe, for the examples.
      names: Names of the base's and the tuned model's columns.
      level: Coverage of the shares.
      prompt: Int64[G], which prompt each probe asked for; None = for nothing.

    Returns:
      Shares with Clopper-Pearson intervals over probes, or over prompts; `stayed` is 0 and `p_value` 1 for no probes.
      At most 32 examples, the nearest to the image first.
    """
    if not len(base.item) == len(tuned.item) == len(probes):
        counts = f"{len(base.item)}, {len(tuned.item)} and {len(probes)} rows"
        raise DataError("base, tuned and probes", counts, "one row per probe", "Match them.")
    before, after = _on(base, training), _on(tuned, training)
    onto, off, g = after & ~before, before & ~after, len(probes)
    rows = np.flatnonzero(onto)
    nearest = rows[np.argsort(-tuned.similarity[rows], kind="stable")][:MOST_EXAMPLES]
    return Moved(
        encoder=encoder,
        base=names[0],
        tuned=names[1],
        probes=g,
        onto=_share("moved onto the fine-tuning's images", onto, prompt, level),
        off=_share("moved off them", off, prompt, level),
        stayed=float((before & after).sum() / g) if g else 0.0,
        p_value=_sign_test(onto, off, prompt),
        examples=[int(probe) for probe in probes[nearest]],
    )


def _share(name: str, hit: NDArray[np.bool_], prompt: NDArray[np.int64] | None, level: float) -> Estimate:
    if prompt is None:
        return share(name, int(hit.sum()), len(hit), level)
    return share_by_prompt(name, [float(hit[rows].mean()) for rows in rows_by_prompt(prompt)], level)


def _sign_test(onto: NDArray[np.bool_], off: NDArray[np.bool_], prompt: NDArray[np.int64] | None) -> float:
    """One-sided p-value that no more units moved on than off; 1 where none did."""
    units = np.arange(len(onto)) if prompt is None else prompt
    net = np.bincount(units, onto.astype(int) - off.astype(int)) if len(units) else np.zeros(1)
    return float(binom.sf((net > 0).sum() - 1, (net != 0).sum(), 0.5))


def _on(landing: Landing, training: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return landing.on_item & training[landing.item]
