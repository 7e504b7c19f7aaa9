"""The trained text-to-image fixture: captions seen 96 times, once, or never, and its networks as diffusers has them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from diffusers import StableDiffusionPipeline

from auditor.checkpoint.attention import Attending, attending
from auditor.checkpoint.load import LoadedCheckpoint, load
from auditor.checkpoint.scan import scan
from auditor.probes import probe_noise
from auditor.prompts.score import Setting, score_prompts
from auditor.stages.prompts import DETECTORS, setting_of


class Captions(NamedTuple):
    repeated: list[str]
    once: list[str]
    held_out: list[str]


def captions_of(fixtures: Path) -> Captions:
    known = set(json.loads((fixtures / "twemoji" / "truth.json").read_text())["repeated"])
    table = pq.read_table(fixtures / "twemoji" / "train.parquet", columns=["id", "caption"]).to_pydict()
    first = {text: name for name, text in reversed(list(zip(table["id"], table["caption"], strict=True)))}
    held_out = pq.read_table(fixtures / "twemoji" / "holdout.parquet", columns=["caption"]).to_pydict()["caption"]
    draw = np.random.default_rng(6)
    once = [text for text, name in first.items() if name not in known]
    return Captions(
        [text for text, name in first.items() if name in known],
        draw.permutation(once).tolist(),
        draw.permutation(held_out).tolist(),
    )


@pytest.fixture(scope="session")
def captions(fixtures: Path) -> Captions:
    return captions_of(fixtures)


@pytest.fixture(scope="session")
def twemoji(fixtures: Path) -> LoadedCheckpoint:
    return load(scan(fixtures / "twemoji" / "checkpoint"))


@pytest.fixture(scope="session")
def pipeline(fixtures: Path) -> StableDiffusionPipeline:
    """The same checkpoint, by diffusers' own loader."""
    found = StableDiffusionPipeline.from_pretrained(
        fixtures / "twemoji" / "checkpoint", dtype=torch.float32, local_files_only=True
    )
    found.unet.requires_grad_(False)
    return found


def bind(checkpoint: LoadedCheckpoint, texts: list[str]) -> Attending:
    found = attending(checkpoint.with_prompts(texts).denoiser)
    assert found is not None
    return found


def setting(noises: int = 2, steps: int = 3, guidance_scale: float = 3.0, batch_size: int = 16) -> Setting:
    return Setting(probe_noise("tests", "prompts", range(noises), (8, 8, 8)), steps, guidance_scale, batch_size)


def scores(
    checkpoint: LoadedCheckpoint, texts: list[str], names: list[str], how: Setting | None = None
) -> dict[str, np.ndarray]:
    """Float64[P] by detector."""
    from auditor.ranking_config import RankingConfig

    how = how or setting()
    pixels = setting_of(checkpoint, RankingConfig(), "tests", "cpu").to_pixels
    how = Setting(how.noise, how.steps, how.guidance_scale, how.batch_size, pixels)
    detectors = [DETECTORS[name] for name in names]
    parts = list(score_prompts(bind(checkpoint, texts), range(len(texts)), len(texts), detectors, how))
    return {name: np.concatenate([part.scores[name] for part in parts]) for name in names}
