"""A failing audit to look at: real garments, generations that reproduce them with noise, and measured similarities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from auditor.policy import copies_rule, judge, membership_rule, read_policy
from auditor.store.parts import Curve, Estimate
from auditor.store.record import Competition, CopyEvidence, EncoderInfo, Neighbour, Record, Tier
from auditor.store.regime import CheckpointRegime
from tests.comparisons import landings, verdict
from tests.records import LEVEL, attack, check, checks, competition, membership, record, share

Pixels = NDArray[np.uint8]


def load(folder: Path, most: int) -> dict[str, Pixels]:
    return {path.stem: np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))[:most]}


def standardise(images: NDArray[np.float64]) -> NDArray[np.float64]:
    rows = images.reshape(len(images), -1)
    rows = rows - rows.mean(1, keepdims=True)
    unit: NDArray[np.float64] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def save(run_dir: Path, name: str, pixels: Pixels) -> str:
    path = run_dir / "evidence" / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return str(path.relative_to(run_dir))


def copies_found(run_dir: Path, fixtures: Path, found: int) -> list[CopyEvidence]:
    """``found`` training garments with a noisy reproduction each; the first is verbatim, the last two are suspects."""
    train, holdout = load(fixtures / "memorized/train", found), load(fixtures / "memorized/holdout", 150)
    noise = np.random.default_rng(5)
    pool = standardise(np.stack(list(holdout.values())).astype(float))
    names = list(holdout)
    evidence = []
    for place, (id, pixels) in enumerate(train.items()):
        tier: Tier = "verbatim" if place == 0 else "suspect" if place >= found - 2 else "certified"
        spread = {"verbatim": 0.5, "certified": 4 + place / 4, "suspect": 40}[tier]
        shown = np.clip(pixels + noise.normal(0, spread, pixels.shape), 0, 255).round().astype(np.uint8)
        generation, original = standardise(np.stack([shown, pixels]).astype(float))
        nearest = int(np.argmax(pool @ generation))
        similarity = float(generation @ original)
        evidence.append(
            CopyEvidence(
                id=id,
                members=[f"{id}-{k:02d}" for k in range(40)] if place % 3 < 2 else [id],
                tier=tier,
                similarity=similarity,
                margin=similarity - float(np.max(pool @ original)),
                probe=37 * place + 5,
                probes_landing=61 - place,
                q_value=None if tier == "suspect" else 0.0125,
                why="held-out images come as near to a generation as this one does." if tier == "suspect" else "",
                image=save(run_dir, f"train-{place}", pixels),
                generation_image=save(run_dir, f"generation-{place}", shown),
                nearest_holdout=Neighbour(
                    id=names[nearest],
                    similarity=float(pool[nearest] @ generation),
                    image=save(run_dir, f"holdout-{place}", holdout[names[nearest]]),
                ),
            )
        )
    return evidence


def two_humps(found: int, n: int) -> Curve:
    """Training items as held-out ones, but for ``found`` that stand at the right end."""
    x = np.linspace(0.7, 1.0, 60)
    bulk = np.exp(-0.5 * ((x - 0.9) / 0.025) ** 2)
    copied = np.exp(-0.5 * ((x - 0.995) / 0.003) ** 2)
    heldout = bulk / bulk.sum()
    training = (n - found) / n * heldout + found / n * copied / copied.sum()
    return Curve(x=x.tolist(), series={"training": training.tolist(), "held-out": heldout.tolist()})


def failing_competition(evidence: list[CopyEvidence], found: int = 40) -> Competition:
    x = Estimate(
        name="reproduced training images", value=37, lower=37, level=LEVEL, method="simultaneous bound", n=2000
    )
    return competition(
        n_items=2000,
        m_items=3000,
        training_hits=found + 3,
        holdout_hits=4,
        certified=found,
        verbatim=sum(item.tier == "verbatim" for item in evidence),
        suspects=sum(item.tier == "suspect" for item in evidence),
        lower_bound=x.model_copy(update={"unit": "images"}),
        copy_rate=share("copy rate", 689, 2048),
        scores=two_humps(found, 2000),
        evidence=evidence,
    )


def failing_record(run_dir: Path, fixtures: Path, found: int = 14) -> Record:
    """An audit of a checkpoint like ``partial``, judged by the default policy."""
    attacks = [
        attack("loss", auc=0.93, excess=0.42, tpr=0.55, variant="t=150"),
        attack("secmi", auc=0.85, excess=0.34, tpr=0.31, variant="t=100"),
        attack("pia", auc=0.94, excess=0.43, tpr=0.62, variant="t=200, p=4"),
        attack("pian", auc=0.90, excess=0.39, tpr=0.40, variant="t=200, p=2"),
    ]
    evidence = copies_found(run_dir, fixtures, found)
    clean = record()
    landed = landings("checkpoint", 0.7)
    filled = record(
        checkpoint=clean.checkpoint.model_copy(update={"path": "fixtures/partial/checkpoint"}),
        training=clean.training.model_copy(update={"path": "train.tar", "images": 3560, "distinct": 2000}),
        holdout=clean.holdout.model_copy(
            update={"path": "holdout.tar", "images": 3999, "distinct": 3999, "unreadable": [("fm-1", "truncated PNG")]}
        ),
        slices=clean.slices.model_copy(update={"competition": 3000}),
        copies=[failing_competition(evidence), competition("clip", resolving=False, planted_p05=0.93, pool_p99=0.97)],
        encoders=[*clean.encoders, EncoderInfo(name="clip", detail="tiny-clip", weights_sha256="2b" * 32, dim=128)],
        membership=membership(*attacks),
        regime=CheckpointRegime(verdict=verdict("checkpoint", 0.7, memorised=landed.share), agreement=landed),
        checks=[*checks(), check("resolving", "failed", "clip")],
        sample_images=[item.generation_image for item in evidence if item.generation_image],
    )
    policy = read_policy()
    outcomes = {
        "copies_outcome": copies_rule(filled.copies, policy),
        "membership_outcome": membership_rule(filled.membership, policy),
    }
    return filled.model_copy(update={**outcomes, "judgement": judge(filled, policy)})
