"""Records to judge and to report, with the numbers of audits like those of the fixtures.

The default is a clean audit: 20,000 training against 19,000 held-out images, nothing found, everything tested. Its
intervals are computed here from counts, so that changing a count moves them together.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.stats import beta, norm

from auditor.store.membership import Attack, Membership
from auditor.store.parts import Curve, Estimate, Outcomed
from auditor.store.record import (
    Check,
    Checkpoint,
    Competition,
    EncoderInfo,
    FileDigest,
    Generation,
    ImageSet,
    Record,
    Slices,
)

LEVEL = 0.95


def share(name: str, hits: int, n: int, recall: float = 1.0) -> Estimate:
    """Clopper-Pearson with a one-sided upper bound, divided by a recall as the copy rate is."""
    upper = min(1.0, float(beta.ppf(LEVEL, hits + 1, n - hits)) / recall)
    lower = float(beta.ppf(1 - LEVEL, hits, n - hits + 1)) if hits else 0.0
    method = "Clopper-Pearson, one-sided"
    return Estimate(name=name, value=hits / n, lower=lower, upper=upper, level=LEVEL, method=method, n=n)


def centred(name: str, value: float, half_width: float, n: int = 1400) -> Estimate:
    lower, upper = max(-1.0, value - half_width), min(1.0, value + half_width)
    return Estimate(name=name, value=value, lower=lower, upper=upper, level=LEVEL, method="DeLong", n=n)


def unscored(name: str, why: str) -> Estimate:
    return Estimate(name=name, value=None, unscored=why)


def histogram(centres: dict[str, float], spread: float = 0.03) -> Curve:
    """Normal densities over 40 bins, as shares per bin."""
    x = np.linspace(0.6, 1.0, 40)
    series = {name: norm.pdf(x, centre, spread) * 0.4 / 40 for name, centre in centres.items()}
    return Curve(x=x.tolist(), series={name: values.tolist() for name, values in series.items()})


def binormal_roc(auc: float) -> Curve:
    """The ROC curve of two unit normals that lie so far apart that the area is ``auc``; blind = the diagonal."""
    fpr = np.concatenate([[0.0], np.geomspace(1e-3, 1.0, 60)])
    tpr = norm.cdf(norm.ppf(fpr) + math.sqrt(2) * norm.ppf(auc))
    return Curve(x=fpr.tolist(), series={"attack": tpr.tolist(), "blind": fpr.tolist()})


def competition(encoder: str = "pixel", **changes: Any) -> Competition:
    n, m, alpha = changes.get("n_items", 20_000), changes.get("m_items", 19_000), 0.10
    values: dict[str, Any] = {
        "encoder": encoder,
        "n_items": n,
        "m_items": m,
        "untestable_groups": 3,
        "grouped_training_images": 12,
        "uncompeting_groups": 0,
        "resolving": True,
        "planted_p05": 0.9964,
        "pool_p99": 0.9916,
        "duplicate_threshold": 0.9964,
        "training_hits": 4,
        "holdout_hits": 5,
        "alpha": alpha,
        "certified": 0,
        "verbatim": 0,
        "suspects": 4,
        "lower_bound": Estimate(
            name="reproduced training images",
            value=0,
            lower=0,
            level=LEVEL,
            method="simultaneous bound, negative hypergeometric",
            n=n,
            unit="images",
        ),
        "floor": math.ceil(n / (alpha * (m + 1))),
        "copy_rate": share("copy rate", 0, 2048, recall=0.93),
        "planted_recall": share("planted copies found", 485, 512),
        "recall_by_transformation": {"noise 1%": 0.97, "JPEG q95": 0.99, "brightness +5%": 0.88},
        "uncalibrated": [share("SSCD > 0.5", 31, 2048), share("SSCD > 0.6", 7, 2048)],
        "scores": histogram({"training": 0.86, "held-out": 0.86}),
        "evidence": [],
    }
    return Competition(**(values | changes))


def attack(name: str = "loss", auc: float = 0.51, excess: float = 0.01, tpr: float = 0.012, **changes: Any) -> Attack:
    values: dict[str, Any] = {
        "name": name,
        "variant": "t=200",
        "evaluations_per_image": 5,
        "auc": centred("AUC", auc, 0.03),
        "tpr_at_1pct_fpr": share("TPR at 1% FPR", round(tpr * 700), 700),
        "excess_over_blind": centred("excess over blind", excess, 0.04),
        "roc": binormal_roc(auc),
        "scores": histogram({"members": 0.8 + auc / 10, "non-members": 0.85}),
    }
    return Attack(**(values | changes))


def membership(*attacks: Attack, **changes: Any) -> Membership:
    values: dict[str, Any] = {
        "members": 700,
        "nonmembers": 700,
        "calibration_members": 300,
        "calibration_nonmembers": 300,
        "unscored": [],
        "blind_auc": centred("blind AUC", 0.50, 0.03),
        "attacks": list(attacks) or [attack(name) for name in ("loss", "secmi", "pia", "pian")],
        "denoiser_evaluations": 86_000,
        "evaluations_unshared": 108_000,
    }
    return Membership(**(values | changes))


def check(id: str, status: str = "passed", encoder: str | None = None, **changes: Any) -> Check:
    titles = {
        "placebo": "Placebo: held-out images as if generated",
        "blind": "Blind: training against held-out without the model",
        "positive-control": "Positive control: planted copies are found",
        "resolving": "The encoder tells copies from look-alikes",
        "coverage": "Images could be read",
        "captions": "Captions are written alike",
        "untrained": "A network that knows no member tells none",
    }
    values: dict[str, Any] = {
        "id": id,
        "title": titles[id],
        "encoder": encoder,
        "status": status,
        "statement": "24 of 50 hits fell to training items, 25.6 expected."
        if id == "placebo"
        else f"{id}: as expected.",
        "p_value": 0.42 if id in ("placebo", "blind") else None,
        "p_adjusted": 0.84 if id in ("placebo", "blind") else None,
        "power": "Sees a 70:30 split of the hits with probability 0.9.",
    }
    return Check(**(values | changes))


def checks(**status: str) -> list[Check]:
    """All four checks of the default policy; ``placebo="failed"`` and so on change one."""
    made = [("placebo", "pixel"), ("blind", None), ("positive_control", "pixel"), ("resolving", "pixel")]
    return [check(id.replace("_", "-"), status.get(id, "passed"), encoder) for id, encoder in made]


def record(**changes: Any) -> Record:
    nothing = Outcomed(outcome="cannot conclude", reasons=["not judged yet"])
    values: dict[str, Any] = {
        "tool_version": "0.1.0",
        "audit_digest": "ab" * 32,
        "started": "2026-11-24T10:00:00Z",
        "seconds": {"scan": 0.2, "generate": 61.0, "copies": 12.5},
        "environment": {"python": "3.11.9", "torch": "2.14.1", "device": "cpu"},
        "config": {"schema_version": 1, "checkpoint": {"path": "general-a/checkpoint"}},
        "checkpoint": Checkpoint(
            path="general-a/checkpoint",
            digest="c0ffee" + "0" * 58,
            files=[FileDigest(path="unet/diffusion_pytorch_model.safetensors", bytes=2_760_112, sha256="1f" * 32)],
            pipeline="DDPMPipeline",
            network="UNet2DModel",
            parameters=688_097,
            prediction_type="epsilon",
            sample_shape=[1, 16, 16],
            train_timesteps=1000,
            conditional=False,
        ),
        "training": ImageSet(path="train-a.parquet", digest="aa" * 32, images=20_000, distinct=19_988),
        "holdout": ImageSet(path="holdout.parquet", digest="bb" * 32, images=20_000, distinct=19_991),
        "slices": Slices(competition=19_000, placebo=50, membership=950),
        "generation": Generation(
            sampler="ddim",
            steps=50,
            probes=2048,
            guidance_scale=None,
            batch_size=64,
            seed_pinned=False,
            salt="00" * 16,
            root_seed="5eed" * 16,
            denoiser_evaluations=102_400,
            non_finite=0,
            deterministic=True,
        ),
        "encoders": [EncoderInfo(name="pixel", detail="standardised pixels", weights_sha256=None, dim=257)],
        "checks": checks(),
        "copies": [competition()],
        "membership": membership(),
        "copies_outcome": nothing,
        "membership_outcome": nothing,
        "not_tested": ["Prompts: the checkpoint takes none.", "Recognisable people in images that are no near-copies."],
    }
    return Record(**(values | changes))
