"""The closed-form memorizer on real garments: its own training set always accuses it, a disjoint one never.

Slow generators aside, this is the audit's whole copy path: probe noise, sampler, pixels, encoder, competition, policy.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from auditor.config import EncoderConfig
from auditor.copies.decide import CopyDecision, decide
from auditor.copies.pool import Pool
from auditor.copies.verbatim import verbatim_copies
from auditor.data import Geometry, open_source, survey
from auditor.diffusion.ideal import IdealDenoiser
from auditor.diffusion.samplers import SAMPLERS
from auditor.diffusion.schedule import NoiseSchedule
from auditor.encoders.pixel import build_pixel
from auditor.policy import copies_rule, read_policy
from auditor.probes import probe_noise
from auditor.validity.planted import embed_planted, sample_originals

PROBES = 512
SCHEDULE = NoiseSchedule.from_alphas_cumprod(np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)))
Pixels = NDArray[np.uint8]


def read(path: Path, most: int | None = None) -> tuple[list[str], Pixels, list[str]]:
    """Ids, pixels UInt8[N 1 16 16] and pixel digests of a fixture set."""
    source = open_source(path, Geometry(1, 16, 16))
    ids = list(survey(source).digests)[:most]
    pixels = np.concatenate([batch.pixels for batch in source.batches(512, only=frozenset(ids))])
    return ids, pixels, [image.tobytes().hex() for image in pixels]


def memorizer_generations(points: Pixels, seed: str) -> Pixels:
    """What the optimal denoiser of ``points`` makes of 512 probes."""
    x0 = torch.from_numpy(points).float() / 127.5 - 1
    noise = probe_noise(seed, "start", range(PROBES), (1, 16, 16))
    made = SAMPLERS["dpmpp_2m"].sample(IdealDenoiser(x0, SCHEDULE), noise, SCHEDULE.ladder(20))
    return ((made + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy()


@pytest.fixture(scope="module")
def audit(fixtures_module: Path) -> Callable[[Pixels], CopyDecision]:
    """The copy decision on the memorized fixture's sets, given generations."""
    ids, train, digests = read(fixtures_module / "memorized" / "train")
    held_ids, held, held_digests = read(fixtures_module / "memorized" / "holdout", 2000)
    encoder = build_pixel(EncoderConfig(name="pixel"), 1, 16, 16, "cpu")
    pixels = np.concatenate([train, held])
    digest = np.array([*digests, *held_digests])
    pool = Pool(encoder(pixels), [*ids, *held_ids], np.arange(len(pixels)) < len(train), digest)
    rows = sample_originals(digest, "test")
    planted = embed_planted(rows, pixels[rows], encoder, "test")

    def decide_about(generations: Pixels) -> CopyDecision:
        def verbatim(made: NDArray[np.int64], originals: NDArray[np.int64]) -> NDArray[np.bool_]:
            return verbatim_copies(generations[made], pixels[originals])

        return decide(pool, encoder(generations), encoder="pixel", planted=planted, split="group", verbatim=verbatim)

    return decide_about


@pytest.fixture(scope="module")
def fixtures_module() -> Path:
    return Path(__file__).resolve().parent.parent / "fixtures"


@pytest.mark.parametrize("seed", ["a", "b", "c"])
def test_the_memorizer_of_the_training_set_always_fails(
    audit: Callable[[Pixels], CopyDecision], fixtures_module: Path, seed: str
) -> None:
    _, train, _ = read(fixtures_module / "memorized" / "train")
    found = audit(memorizer_generations(train, seed)).competition
    # 512 draws from 128 images miss each with probability (1 - 1/128)^512 = 0.018, if all are equally likely
    assert found.certified >= 100
    assert found.verbatim >= 100
    assert copies_rule([found], read_policy()).outcome == "fail"


@pytest.mark.parametrize("seed", ["a", "b", "c"])
@pytest.mark.parametrize("size", [128, 2000])
def test_the_memorizer_of_a_disjoint_set_does_not_accuse_this_one(
    audit: Callable[[Pixels], CopyDecision], fixtures_module: Path, seed: str, size: int
) -> None:
    _, others, _ = read(fixtures_module / "partial" / "holdout.tar", size)
    found = audit(memorizer_generations(others, seed)).competition
    assert found.certified == 0
    assert found.verbatim == 0
    assert found.lower_bound.value == 0
    assert copies_rule([found], read_policy()).outcome != "fail"
