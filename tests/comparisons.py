"""Comparisons to report, with numbers like those of checkpoints that memorise and of checkpoints that do not.

Intervals are computed here from counts, so that changing a count moves them together. No two figures of the default
comparison are equal by design, so that a report that leaves one out is noticed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.stats import norm

from auditor.store.comparison import (
    AttributeDistribution,
    AttributeShare,
    Column,
    ComparedModel,
    Comparison,
    DataRelation,
    Moved,
    Reproducibility,
    SheetRow,
    TaskResult,
)
from auditor.store.parts import Curve, Estimate
from auditor.store.record import Checkpoint, EncoderInfo, FileDigest, ImageSet
from auditor.store.regime import ClusterShare, MemorizerAgreement, Regime, RegimeVerdict
from tests import records
from tests.records import LEVEL, centred, unscored

PROBES = 512
GARMENTS = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")
SIZES = (64, 256, 1024, 4096, 16384)


def share(name: str, hits: int, n: int) -> Estimate:
    return records.share(name, max(0, hits), n)


def digest(name: str) -> str:
    return name.encode().hex().ljust(64, "0")[:64]


def images(name: str, size: int, **changes: Any) -> ImageSet:
    values: dict[str, Any] = {
        "path": f"{name}.parquet",
        "digest": digest(name[::-1]),
        "images": size + 7,
        "distinct": size,
    }
    return ImageSet(**(values | changes))


def compared(name: str, size: int | None = None, **changes: Any) -> ComparedModel:
    checkpoint = Checkpoint(
        path=f"{name}/checkpoint",
        digest=digest(name),
        files=[FileDigest(path="unet/diffusion_pytorch_model.safetensors", bytes=2_760_112, sha256=digest(name + "w"))],
        pipeline="DDPMPipeline",
        network="UNet2DModel",
        parameters=688_097,
        prediction_type="epsilon",
        sample_shape=[1, 16, 16],
        train_timesteps=1000,
        conditional=False,
    )
    values: dict[str, Any] = {
        "name": name,
        "checkpoint": checkpoint,
        "training": images(f"train-{name}", size or 128),
        "size": size,
        "step": None,
        "base": None,
    }
    return ComparedModel(**(values | changes))


def answers(name: str, model: str | None = None, **changes: Any) -> Column:
    values: dict[str, Any] = {
        "name": name,
        "model": model or name,
        "kind": "memorizer" if name.startswith("memorizer") else "checkpoint",
        "sampler": "ddim",
        "steps": 50,
        "generations": PROBES - 1,
        "denoiser_evaluations": 25_600,
    }
    return Column(**(values | changes))


def similar(matched: float, x: int = 30) -> Curve:
    """Similarities of answers to the same noise around ``matched``, to different noise around 0."""
    bins = np.linspace(-0.95, 1.0, x)
    series = {"same noise": norm.pdf(bins, matched, 0.15), "different noise": norm.pdf(bins, 0.0, 0.22)}
    return Curve(x=bins.tolist(), series={name: (d / d.sum()).tolist() for name, d in series.items()})


def pair(left: str, right: str, matched: float, data: DataRelation, encoder: str = "pixel", **changes: Any) -> Any:
    k = sum(map(ord, left + right + encoder)) % 17  # small differences, so that figures can be told apart
    values: dict[str, Any] = {
        "encoder": encoder,
        "left": left,
        "right": right,
        "data": data,
        "probes": PROBES - 2 - k,
        "matched": centred("centred similarity, same noise", matched + k / 997, 0.021),
        "mismatched": centred("centred similarity, different noise", 0.0013 * (k + 1), 0.0041),
        "rp_published": share("RP at 0.6", round(PROBES * min(1.0, matched + 0.2)) - k, PROBES),
        "rp": share("RP, calibrated", round(PROBES * matched) - k, PROBES),
        "threshold": 0.4731 + k / 1009,
        "mismatched_above": 0.0107 + k / 10_007,
        "identified": share("identified", round(PROBES * min(1.0, matched + 0.1)) - k, PROBES),
        "similarity": similar(matched),
    }
    return Reproducibility(**(values | changes))


def landings(column: str, agreed: float, encoder: str = "pixel", size: int = 128, **changes: Any) -> MemorizerAgreement:
    k = sum(map(ord, column + encoder)) % 13
    hits = round(PROBES * agreed)
    x = Estimate(
        name="reproduced training images", value=hits // 5, lower=hits // 5, level=LEVEL, n=size, unit="images"
    )
    values: dict[str, Any] = {
        "encoder": encoder,
        "column": column,
        "resolving": True,
        "probes": PROBES - 3 - k,
        "items": size,
        "share": share("agreement with the memorizer", hits, PROBES),
        "chance": 0.0078 + k / 20_011,
        "control": share("agreement, held-out memorizer", k, PROBES),
        "training_reached": min(size, hits // 4 + k),
        "control_reached": k + 3,
        "p_value": Estimate(name="p, training against held-out", value=0.0412 / (1 + hits), method="sign test", n=size),
        "landed": share("landed on training images", min(PROBES, hits + 5 + k), PROBES),
        "landed_holdout": share("landed on held-out images", k + 1, PROBES),
        "reproduced": share("landed beyond held-out images", min(PROBES, hits + 4 + k), PROBES),
        "plausible": share("plausible", PROBES - 20 - k, PROBES),
        "gl_published": share("GL at 0.6", max(0, PROBES - hits - 90 - k), PROBES),
        "gl": share("GL, calibrated", max(0, PROBES - hits - k), PROBES),
        "certified": hits // 5 + 2,
        "lower_bound": x,
        "significance": 0.025,
        "shared_bound": x,
        "clusters": [
            ClusterShare(
                cluster=name,
                share=share(f"agreement in {name}", round((40 + i) * agreed * (0.6 + 0.04 * i)), 40 + i),
                chance=0.01 + i / 1013,
            )
            for i, name in enumerate(GARMENTS)
        ],
    }
    return MemorizerAgreement(**(values | changes))


def verdict(column: str, agreed: float, **changes: Any) -> RegimeVerdict:
    regime: Regime = "memorization" if agreed > 0.5 else "transition" if agreed > 0.05 else "generalization"
    values: dict[str, Any] = {
        "column": column,
        "encoder": "pixel",
        "regime": regime,
        "reasons": [f"{column}: its lower bound is {'above' if agreed > 0.5 else 'below'} one half."],
        "memorised": share("memorised probes", round(PROBES * agreed), PROBES),
    }
    return RegimeVerdict(**(values | changes))


ENCODERS = [
    EncoderInfo(name="pixel", detail="standardised pixels", weights_sha256=None, dim=257),
    EncoderInfo(name="clip", detail="tiny-clip", weights_sha256="2b" * 32, dim=128),
]


def comparison(**changes: Any) -> Comparison:
    """Two checkpoints, one of which memorises, their memorizers, two encoders."""
    names = ["memorized", "general-a", "memorizer of memorized", "memorizer of general-a"]
    alike = {(0, 1): 0.55, (0, 2): 0.91, (0, 3): 0.51, (1, 2): 0.66, (1, 3): 0.63, (2, 3): 0.49}
    values: dict[str, Any] = {
        "tool_version": "0.1.0",
        "comparison_digest": "cd" * 32,
        "started": "2026-11-24T10:00:00Z",
        "seconds": {"generate": 61.04, "memorizer": 12.53},
        "environment": {"python": "3.11.9", "torch": "2.14.1", "device": "cpu"},
        "config": {"schema_version": 1, "checkpoints": ["memorized/checkpoint", "general-a/checkpoint"]},
        "models": [compared("memorized", 128), compared("general-a", 19_988)],
        "holdout": images("holdout", 19_991),
        "columns": [answers(name, name.removeprefix("memorizer of ")) for name in names],
        "probes": PROBES,
        "seed_pinned": True,
        "salt": "00" * 16,
        "root_seed": "5eed" * 16,
        "encoders": ENCODERS,
        "decisive": "pixel",
        "pairs": [
            pair(names[i], names[j], matched, "same" if j == i + 2 else "disjoint", encoder)
            for encoder in ("pixel", "clip")
            for (i, j), matched in alike.items()
        ],
        "memorizer": [
            landings(name, agreed, encoder, size, resolving=encoder == "pixel")
            for encoder in ("pixel", "clip")
            for name, agreed, size in (("memorized", 0.9707, 128), ("general-a", 0.0, 19_988))
        ],
        "regimes": [verdict("memorized", 0.9707), verdict("general-a", 0.0)],
        "curve": None,
        "moved": [],
        "tasks": [],
        "attributes": [],
        "sheet_columns": names,
        "sheet": [],
        "notes": ["general-a: 12 training images occur twice."],
        "not_tested": ["Prompts: no checkpoint takes any."],
    }
    return Comparison(**(values | changes))


def moves(**changes: Any) -> Moved:
    values: dict[str, Any] = {
        "encoder": "pixel",
        "base": "general-a",
        "tuned": "memorized",
        "probes": 509,
        "onto": share("moved onto training images", 61, 509),
        "off": share("moved off training images", 2, 509),
        "stayed": 0.0157,
        "p_value": 3.1e-9,
        "examples": [17, 3, 401],
    }
    return Moved(**(values | changes))


def task(left: str, right: str, **changes: Any) -> TaskResult:
    k = len(left) + len(right)
    values: dict[str, Any] = {
        "task": "inpaint, right half, replacement",
        "encoder": "pixel",
        "left": left,
        "right": right,
        "images": 96,
        "matched": centred("similarity of what is filled in", 0.72 + k / 991, 0.034),
        "mismatched": centred("similarity, different images", 0.004 + k / 9_973, 0.011),
        "error_training": centred("error on training images", 0.051 + k / 997, 0.0061),
        "error_holdout": centred("error on held-out images", 0.183 + k / 997, 0.0122),
        "training_better": centred("training restored better", 0.93 + k / 1999, 0.03),
        "restored_training": share("training images recognised", 81 - k // 9, 96),
        "restored_holdout": share("held-out images recognised", 2, 96),
    }
    if left == right:
        values["matched"] = values["mismatched"] = unscored("similarity of what is filled in", "one column alone")
    return TaskResult(**(values | changes))


def distribution(source: str, tilt: float, encoder: str = "pixel") -> AttributeDistribution:
    """Shares of garments; ``tilt`` moves them towards the last ones; generations are amplified by their tilt."""
    weights = np.exp(tilt * np.linspace(-1, 1, len(GARMENTS)))
    counts = np.floor(1500 * weights / weights.sum()).astype(int)
    generated = not source.startswith(("training", "held-out"))
    factors = weights / weights.mean()
    return AttributeDistribution(
        encoder=encoder,
        source=source,
        shares=[
            AttributeShare(value=name, share=share(f"share of {name}", int(hits), 1500))
            for name, hits in zip(GARMENTS, counts, strict=True)
        ],
        accuracy=unscored("accuracy", "generations carry no labels")
        if generated
        else share("accuracy", 871 + len(source), 1000),
        amplification=[
            AttributeShare(
                value=name,
                share=Estimate(name=f"amplification of {name}", value=f, lower=f - 0.07, upper=f + 0.08, level=LEVEL),
            )
            for name, f in zip(GARMENTS, factors.tolist(), strict=True)
        ]
        if generated
        else [],
    )


def complete(**changes: Any) -> Comparison:
    """The default comparison with fine-tunes, tasks and attributes."""
    values: dict[str, Any] = {
        "moved": [moves()],
        "tasks": [
            task("memorized", "memorized"),
            task("general-a", "general-a"),
            task("memorized", "general-a", restored_training=unscored("training images recognised", "see each alone")),
        ],
        "attributes": [
            distribution("training of memorized", 0.02),
            distribution("held-out", 0.0),
            distribution("memorized", 0.1),
            distribution("general-a", 0.45),
        ],
    }
    return comparison(**(values | changes))


AGREED = dict(zip(SIZES, (0.97, 0.81, 0.17, 0.002, 0.0), strict=True))
ALIKE = dict(zip(SIZES, (0.03, 0.05, 0.12, 0.43, 0.58), strict=True))  # on disjoint data


def curve(with_memorizers: bool = True) -> Comparison:
    """Fifteen checkpoints over five sizes: two of disjoint data, and another architecture on the first one's data."""
    names = [f"{arm}-{size}" for size in SIZES for arm in ("a", "b", "wide-a")]
    memorizers = [f"memorizer of {arm}-{size}" for size in SIZES for arm in ("a", "b")] if with_memorizers else []
    columns = [answers(name, name.removeprefix("memorizer of ")) for name in [*names, *memorizers]]
    agreed = {name: max(0.0, AGREED[_size(name)] - 0.01 * place % 0.03) for place, name in enumerate(names)}
    return comparison(
        models=[compared(name, _size(name)) for name in names],
        columns=columns,
        pairs=[pair(*sides, encoder=encoder) for encoder in ("pixel", "clip") for sides in _sides(names + memorizers)],
        memorizer=[landings(name, agreed[name], e, _size(name)) for e in ("pixel", "clip") for name in names],
        regimes=[verdict(name, agreed[name]) for name in names],
        curve="size",
        sheet_columns=[*names, *memorizers],
    )


def steps(*agreed: float) -> Comparison:
    """Checkpoints along one training, a thousand steps apart, by their agreement with the memorizer."""
    names = [f"step-{1000 * (place + 1)}" for place in range(len(agreed))]
    return comparison(
        models=[compared(name, 128, step=1000 * (place + 1)) for place, name in enumerate(names)],
        columns=[answers(name) for name in names],
        pairs=[],
        memorizer=[landings(name, share) for name, share in zip(names, agreed, strict=True)],
        regimes=[verdict(name, share) for name, share in zip(names, agreed, strict=True)],
        curve="step",
        sheet_columns=names,
    )


def _size(name: str) -> int:
    return int(name.rsplit("-", 1)[1])


def _sides(names: Sequence[str]) -> Iterator[tuple[str, str, float, DataRelation]]:
    for place, left in enumerate(names):
        for right in names[place + 1 :]:
            same = _size(left) == _size(right) and left.split("-")[-2][-1] == right.split("-")[-2][-1]
            lower = min(ALIKE[_size(left)], ALIKE[_size(right)])
            yield (
                left,
                right,
                max(lower, 0.9 * AGREED[_size(left)]) if same else lower,
                ("same" if same else "disjoint"),
            )


def paint(comparison: Comparison, run_dir: Path, fixtures: Path, rows: int = 8, side: int | None = None) -> Comparison:
    """The comparison with a sheet of real garments: each probe a garment, each column its own amount of noise."""
    garments = [np.asarray(Image.open(p)) for p in sorted((fixtures / "memorized/train").glob("*.png"))[:rows]]
    noise, sheet = np.random.default_rng(7), []
    (run_dir / "sheet").mkdir(parents=True, exist_ok=True)
    for probe, garment in enumerate(garments):
        paths = []
        for place in range(len(comparison.sheet_columns)):
            spread = 6.0 * place
            shown = np.clip(garment + noise.normal(0, spread, garment.shape), 0, 255).astype(np.uint8)
            path = f"sheet/{probe}-{place}.png"
            picture = Image.fromarray(shown)
            (picture.resize((side, side), Image.Resampling.BICUBIC) if side else picture).save(run_dir / path)
            paths.append(path)
        sheet.append(SheetRow(probe=probe, images=paths))
    return comparison.model_copy(update={"sheet": sheet})
