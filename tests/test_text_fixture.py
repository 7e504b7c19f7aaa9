"""The text-to-image fixture is what its README says: disjoint pairs, a pipeline that runs, pairs learnt by heart."""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from transformers import CLIPTokenizer

SETS = {
    "twemoji/train": (4_640, 840),
    "twemoji/holdout": (514, 514),
    "twemoji/autoencoder": (1_500, None),  # skin tones may be the same picture
    "twemoji-lora/train": (32, 32),
    "twemoji-lora/holdout": (181, 181),
}
NAMESAKES = {"twemoji/train": 1, "twemoji-lora/holdout": 4}  # one drawing under several names
PAINTED = 8  # captions of a kind


def rows(fixtures: Path, name: str) -> list[tuple[str, bytes, str]]:
    """Id, PNG file and caption of every row."""
    table = pq.read_table(fixtures / f"{name}.parquet").to_pydict()
    return [(i, image["bytes"], text) for i, image, text in zip(*table.values(), strict=True)]


def pixels(content: bytes) -> torch.Tensor:
    """Float32[3 32 32] in [0, 1]."""
    return torch.from_numpy(np.array(Image.open(io.BytesIO(content)))).permute(2, 0, 1).float() / 255


def repeated(fixtures: Path) -> list[str]:
    names: list[str] = json.loads((fixtures / "twemoji" / "truth.json").read_text())["repeated"]
    return names


@pytest.fixture(scope="module")
def base(fixtures: Path) -> StableDiffusionPipeline:
    folder = fixtures / "twemoji" / "checkpoint"
    pipeline = StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def copied(pipeline: StableDiffusionPipeline, asked: list[tuple[str, bytes, str]], others: torch.Tensor) -> float:
    """Share of captions painted half as far from their own picture as from the nearest of the others."""
    own = torch.stack([pixels(content) for _, content, _ in asked])
    noise = torch.randn(len(asked), 8, 8, 8, generator=torch.Generator().manual_seed(1))
    painted = pipeline(
        [text for *_, text in asked], latents=noise, num_inference_steps=20, guidance_scale=3.0, output_type="pt"
    ).images
    is_own = (own[:, None] == others).flatten(2).all(dim=2)
    to_other = torch.cdist(painted.flatten(1), others.flatten(1)).masked_fill(is_own, torch.inf).min(dim=1).values
    return float(((painted - own).flatten(1).norm(dim=1) < 0.5 * to_other).float().mean())


@pytest.mark.parametrize("name", SETS)
def test_sizes(fixtures: Path, name: str) -> None:
    found = rows(fixtures, name)
    total, distinct = SETS[name]
    assert len({identity for identity, *_ in found}) == len(found) == total
    assert distinct is None or len({content for _, content, _ in found}) == distinct
    assert distinct is None or len({text for *_, text in found}) == distinct  # a caption names one picture


def test_no_picture_and_no_caption_is_in_two_sets(fixtures: Path) -> None:
    seen: dict[str | bytes, str] = {}
    for name in SETS:
        for _, content, text in rows(fixtures, name):
            assert seen.setdefault(text, name) == name
            if name != "twemoji/autoencoder":
                assert seen.setdefault(pixels(content).numpy().tobytes(), name) == name


def test_the_autoencoder_favours_no_side(fixtures: Path) -> None:
    learnt = {content for _, content, _ in rows(fixtures, "twemoji/autoencoder")}
    shared = {name: len({content for _, content, _ in rows(fixtures, name)} & learnt) for name in SETS}
    assert shared | {"twemoji/autoencoder": 0} == {**dict.fromkeys(SETS, 0), **NAMESAKES}
    quality = json.loads((fixtures / "twemoji" / "autoencoder.json").read_text())["quality"]
    assert quality["twemoji/train"]["psnr"] < quality["twemoji/holdout"]["psnr"] + 0.5


def test_the_repeated_pairs_stand_in_the_set_as_often_as_the_truth_says(fixtures: Path) -> None:
    counts = Counter(content for _, content, _ in rows(fixtures, "twemoji/train"))
    first = {content: identity for identity, content, _ in reversed(rows(fixtures, "twemoji/train"))}
    assert sorted(first[content] for content, count in counts.items() if count == 96) == repeated(fixtures)
    assert set(counts.values()) == {1, 96}


def test_captions_fit_the_text_encoder_and_both_forms_of_the_tokenizer_agree(
    base: StableDiffusionPipeline, fixtures: Path
) -> None:
    texts = [text for name in SETS if name != "twemoji/autoencoder" for *_, text in rows(fixtures, name)]
    folder = fixtures / "twemoji" / "checkpoint" / "tokenizer"
    merges = [tuple(line.split()) for line in (folder / "merges.txt").read_text().splitlines()[1:]]
    old = CLIPTokenizer(json.loads((folder / "vocab.json").read_text()), merges)
    assert old(texts).input_ids == base.tokenizer(texts).input_ids
    assert max(map(len, base.tokenizer(texts).input_ids)) <= base.tokenizer.model_max_length
    assert base.text_encoder.config.max_position_embeddings == base.tokenizer.model_max_length


@pytest.mark.slow
def test_it_paints_repeated_pairs_by_heart_and_held_out_ones_not(base: StableDiffusionPipeline, fixtures: Path) -> None:
    train = [row for row in rows(fixtures, "twemoji/train") if row[0][-4:-2] != "-r"]
    holdout = rows(fixtures, "twemoji/holdout")
    others = torch.stack([pixels(content) for _, content, _ in train + holdout])
    known = [row for row in train if row[0] in set(repeated(fixtures))]
    assert copied(base, known, others) >= 0.75
    assert copied(base, holdout[:: len(holdout) // PAINTED][:PAINTED], others) == 0
