"""One training image in many generations: too few items for any competition, and yet no pass."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from auditor.config import EncoderConfig
from auditor.copies.decide import CopyDecision, decide
from auditor.copies.pool import Pool
from auditor.data import Geometry, open_source
from auditor.encoders.pixel import build_pixel
from auditor.policy import copies_rule, read_policy
from auditor.validity.planted import embed_planted, sample_originals

TRAINING, HELD_OUT, GENERATIONS = 500, 1_000, 2_000


@pytest.fixture(scope="module")
def garments() -> np.ndarray:
    path = Path(__file__).resolve().parent.parent / "fixtures" / "partial" / "holdout.tar"
    pixels = np.concatenate([batch.pixels for batch in open_source(path, Geometry(1, 16, 16)).batches(512)])
    return pixels[np.random.default_rng(1).permutation(len(pixels))]  # ids begin with the class


def decide_with(garments: np.ndarray, copies: int) -> CopyDecision:
    """500 against 1,000 garments; ``copies`` of 2,000 generations are training image 7 with noise of 7 levels."""
    rng, encoder = np.random.default_rng(0), build_pixel(EncoderConfig(name="pixel"), 1, 16, 16, "cpu")
    real, others = garments[: TRAINING + HELD_OUT], garments[TRAINING + HELD_OUT :]
    made = others[:GENERATIONS].copy()
    noisy = garments[7] + rng.normal(0, 7, (copies, *garments[7].shape))
    made[:copies] = np.clip(noisy.round(), 0, 255).astype(np.uint8)
    digest = np.array([image.tobytes().hex() for image in real])
    rows = sample_originals(digest, "s")
    planted = embed_planted(rows, real[rows], encoder, "s")
    ids, is_training = [str(row) for row in range(len(real))], np.arange(len(real)) < TRAINING
    pool = Pool(encoder(real), ids, is_training, digest)
    return decide(pool, encoder(made), encoder="pixel", planted=planted, split="group")


def test_one_image_in_many_generations_does_not_pass(garments: np.ndarray) -> None:
    found = decide_with(garments, copies=600).competition
    assert found.certified == 0 and found.floor > 1  # the competition alone cannot call a single image
    assert found.copy_rate.upper is not None and found.copy_rate.upper >= 0.05
    assert copies_rule([found], read_policy()).outcome == "cannot conclude"


def test_without_it_the_same_audit_passes(garments: np.ndarray) -> None:
    found = decide_with(garments, copies=0).competition
    assert copies_rule([found], read_policy()).outcome == "pass"
