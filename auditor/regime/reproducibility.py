"""Whether two columns give the same image to the same noise, against what they give to different noise."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student_t

from auditor.errors import DataError
from auditor.regime import pairs
from auditor.regime.shares import CALIBRATION, REPORTED, share, unscored
from auditor.search.index import check_comparable
from auditor.store.comparison import DataRelation, Reproducibility
from auditor.store.parts import Curve, Estimate
from auditor.store.wording import count

RP_PUBLISHED = 0.6
MISMATCHED_SHARE = 0.01  # of the calibration probes' mismatched pairs exceed the calibrated threshold
LEAST_PROBES = 30  # half of them have 210 mismatched pairs, and a t interval of their mean has a meaning
HISTOGRAM_BINS = 60
HISTOGRAM_SHIFTS = 64  # mismatched pairs in the histogram: 64 per probe
NOTHING_EXCEEDS = 1.0  # the threshold where none could be calibrated

MATCHED, MISMATCHED = "mean similarity on the same noise", "mean similarity on different noise"
PUBLISHED, RP, IDENTIFIED = "RP score at 0.6", "RP score, calibrated", "answers identified"

Embeddings = NDArray[np.float32]


def reproducibility(
    left: Embeddings,
    right: Embeddings,
    *,
    encoder: str,
    names: tuple[str, str],
    data: DataRelation,
    level: float = 0.95,
) -> Reproducibility:
    """How alike two columns' answers are on the same noise, and on different noise.

    The mean centred similarity has a t interval over probes, which are independent draws; the mean over all mismatched
    pairs one over jackknife values, for pairs share probes. The centres are the columns' own means, which moves the
    mismatched mean by -matched / (G - 1). The threshold comes from the probes at even positions and the RP score from
    those at odd ones, so Clopper-Pearson holds given the threshold; of independent columns 1% of the probes exceed it.
    `identified` depends on G (more answers are more rivals) and is to be read against chance, 1 / G.

    Args:
      left: Unit embeddings Float32[G D] of one column's answers, one row per probe that both answered.
      right: The other's, Float32[G D], row by row on the same noise.
      names: Names of the two columns.
      data: How their training sets relate.
      level: Coverage of each interval.

    Returns:
      Below 30 probes everything centred is unscored, `threshold` is 1 (nothing exceeds it), `mismatched_above` is 0
      and the histogram is empty; the published RP score is given for any G >= 1.

    Raises:
      DataError: The columns differ in rows or D, or a row is no unit vector.

    Source:
      Zhang et al. 2024, arXiv 2310.05264 (RP score, 0.6 on SSCD). Differs: embeddings have unit length, and beside
      the fixed threshold stands one calibrated on mismatched probes of the same two columns.
    """
    check_comparable(left=left, right=right)
    if len(left) != len(right):
        raise DataError(
            "left and right", f"{len(left)} and {len(right)} rows", "one row per probe", "Match the probes."
        )
    a, b = pairs.centred(left, "left"), pairs.centred(right, "right")
    plain = np.einsum("gd,gd->g", left.astype(np.float64), right.astype(np.float64))
    published = share(PUBLISHED, int((plain > RP_PUBLISHED).sum()), len(plain), level, method=_UNCALIBRATED)
    scores = _centred_scores(a, b, level) if len(a) >= LEAST_PROBES else too_few(len(a), "probe", LEAST_PROBES)
    fixed = {"encoder": encoder, "left": names[0], "right": names[1], "data": data, "probes": len(a)}
    return Reproducibility.model_validate({**fixed, "rp_published": published, **scores})


_UNCALIBRATED = "uncalibrated threshold; Clopper-Pearson"


def _centred_scores(left: pairs.Rows, right: pairs.Rows, level: float) -> dict[str, object]:
    """Every field that rests on centred similarity."""
    own = pairs.matched_similarity(left, right)
    threshold = pairs.exceeded_by(left[CALIBRATION], right[CALIBRATION], MISMATCHED_SHARE)
    hits, reported = int((own[REPORTED] > threshold).sum()), len(own[REPORTED])
    jackknife = pairs.mismatched_pseudovalues(left, right)
    found = int(pairs.identified(left, right).sum())
    return {
        "matched": mean_similarity(MATCHED, own, level, "t interval over probes"),
        "mismatched": mean_similarity(
            MISMATCHED, jackknife, level, "all pairs; t interval over the probes' jackknife values"
        ),
        "rp": share(RP, hits, reported, level, method="threshold from the other half; Clopper-Pearson"),
        "threshold": threshold,
        "mismatched_above": pairs.share_above(left[REPORTED], right[REPORTED], threshold),
        "identified": share(
            IDENTIFIED, found, len(own), level, method=f"most similar of {len(own):,}; Clopper-Pearson"
        ),
        "similarity": histogram(own, pairs.shifted_similarity(left, right, HISTOGRAM_SHIFTS)),
    }


def too_few(found: int, of: str, needed: int) -> dict[str, object]:
    """Every field that rests on centred similarity, unscored."""
    reason = f"{count(found, of)} {'is' if found == 1 else 'are'} too few: {needed} are needed"
    names = {"matched": MATCHED, "mismatched": MISMATCHED, "rp": RP, "identified": IDENTIFIED}
    return {
        **{field: unscored(name, reason, n=found) for field, name in names.items()},
        "threshold": NOTHING_EXCEEDS,
        "mismatched_above": 0.0,
        "similarity": Curve(x=[], series={"same noise": [], "different noise": []}),
    }


def mean_similarity(name: str, values: NDArray[np.float64], level: float, method: str) -> Estimate:
    """Mean of independent values in [-1, 1] with Student's interval, cut to [-1, 1]."""
    n, mean = len(values), float(np.clip(values.mean(), -1.0, 1.0))
    width = float(student_t.isf((1 - level) / 2, n - 1) * values.std(ddof=1)) / math.sqrt(n)
    return Estimate(
        name=name,
        value=mean,
        lower=max(mean - width, -1.0),
        upper=min(mean + width, 1.0),
        level=level,
        method=method,
        n=n,
        unit="centred cosine",
    )


def histogram(same: NDArray[np.float64], different: NDArray[np.float64]) -> Curve:
    """Shares per bin of [-1, 1]; x are the bins' centres. Rounding may leave a cosine of 1 beyond the last edge."""
    edges = np.linspace(-1.0, 1.0, HISTOGRAM_BINS + 1)
    series = {}
    for name, values in (("same noise", same), ("different noise", different)):
        counts, _ = np.histogram(np.clip(values, -1.0, 1.0), edges)
        series[name] = (counts / len(values)).tolist()
    return Curve(x=((edges[:-1] + edges[1:]) / 2).tolist(), series=series)
