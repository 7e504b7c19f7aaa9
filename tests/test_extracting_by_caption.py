"""Extraction from text-to-image checkpoints: every image, record or held out, under its own caption."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import auditor
from auditor.config import AuditConfig, validate
from auditor.diffusion.denoiser import predict
from auditor.errors import ConfigError
from auditor.stages.extraction_conditions import conditioned
from auditor.stages.inputs import open_inputs
from auditor.store.extraction import Extraction
from tests.text_pipelines import save_sd

TRAIN, HOLDOUT = 40, 120
IDS_ASKED = slice(0, 40, 10)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, fixtures: Path) -> Path:
    """An untrained pipeline, and captioned pictures of which none was trained on; some sets without all captions."""
    path = tmp_path_factory.mktemp("captioned")
    save_sd(path / "checkpoint")
    table = pq.read_table(fixtures / "twemoji" / "holdout.parquet")
    train, holdout = table.slice(0, TRAIN), table.slice(TRAIN, HOLDOUT)
    pq.write_table(train, path / "train.parquet")
    pq.write_table(holdout, path / "holdout.parquet")
    caption = next(name for name in table.column_names if name not in ("id", "image"))
    for name, part, every in (("bare-train", train, 1), ("bare-holdout", holdout, 3)):
        texts = [None if row % every == 0 else text for row, text in enumerate(part.column(caption).to_pylist())]
        at = part.column_names.index(caption)
        pq.write_table(part.set_column(at, caption, pa.array(texts, pa.string())), path / f"{name}.parquet")
    return path


def config(folder: Path, train: str = "train", holdout: str = "holdout", guidance: float | None = 2.0) -> AuditConfig:
    sections: dict[str, dict[str, object]] = {
        "checkpoint": {"path": str(folder / "checkpoint")},
        "data": {
            "train": str(folder / f"{train}.parquet"), "holdout": str(folder / f"{holdout}.parquet"),
            "split": "group", "resize": True, "id_column": "id",
        },
        "generation": {"steps": 4, "batch_size": 16, "salt": "micro", "guidance_scale": guidance},
        "membership": {"enabled": False},
    }  # fmt: skip
    if guidance is None:
        del sections["generation"]["guidance_scale"]
    return validate(sections, "captioned")


def attack(audit: AuditConfig, run_dir: Path) -> Extraction:
    asked = auditor.ExtractionConfig(levels=[0.9], problems=["left half"], draws=2, holdout=40)
    assert audit.data.train is not None
    ids = pq.read_table(audit.data.train, columns=["id"]).column("id").to_pylist()[IDS_ASKED]
    return auditor.extract(audit, ids, run_dir, asked=asked, images="none")


def test_an_untrained_pipeline_under_captions_and_guidance_gives_nothing_back(folder: Path, tmp_path: Path) -> None:
    found = attack(config(folder), tmp_path)
    assert found.by_caption and found.extracted == 0 and found.lower_bound.value == 0
    assert "attacked under its own caption" in (tmp_path / "extract.md").read_text()


def test_every_draw_of_an_image_is_asked_for_by_that_image_s_caption(folder: Path) -> None:
    inputs = open_inputs(config(folder))
    table = pq.read_table(folder / "train.parquet")
    caption = next(name for name in table.column_names if name not in ("id", "image"))
    texts = dict(zip(table.column("id").to_pylist(), table.column(caption).to_pylist(), strict=True))
    names = list(texts)[2:9:3]
    denoiser, condition = conditioned(inputs.checkpoint, inputs.train, names, 2, 2.0, stated=True)
    assert condition is not None and condition.tolist() == [0, 0, 1, 1, 2, 2]
    x_t = torch.randn(6, *denoiser.sample_shape, generator=torch.Generator().manual_seed(0))
    t = torch.full((6,), 500)
    asked = predict(denoiser, x_t, t, condition)
    for row, name in enumerate(name for name in names for _ in range(2)):
        alone = inputs.checkpoint.with_prompts([texts[name]]).guided(2.0)
        wanted = predict(alone, x_t[row : row + 1], t[:1], torch.zeros(1, dtype=torch.int64))
        assert torch.allclose(asked.x0[row : row + 1], wanted.x0, atol=1e-4)
    empty, nothing = conditioned(inputs.checkpoint, inputs.train, names, 2, None, stated=False)
    assert nothing is None and not torch.allclose(predict(empty, x_t, t, None).x0, asked.x0, atol=1e-4)


def test_held_out_images_without_a_caption_do_not_compete(folder: Path, tmp_path: Path) -> None:
    found = attack(config(folder, holdout="bare-holdout"), tmp_path)
    assert found.by_caption and found.attacks[0].holdout == 40
    ids = pq.read_table(folder / "bare-holdout.parquet").column("id").to_pylist()
    assert {record.matched_id for record in found.records}.isdisjoint(ids[::3])


def test_records_without_captions_are_attacked_under_the_empty_prompt_and_never_guided(
    folder: Path, tmp_path: Path
) -> None:
    found = attack(config(folder, train="bare-train", guidance=None), tmp_path / "free")
    assert not found.by_caption and any("under the empty prompt" in note for note in found.notes)
    with pytest.raises(ConfigError, match=r"4 named records without a caption .*captions to guide to"):
        attack(config(folder, train="bare-train"), tmp_path / "guided")
    assert not (tmp_path / "guided").exists()


@pytest.mark.slow
def test_pairs_learnt_by_heart_come_back_under_their_captions_and_others_do_not(fixtures: Path, tmp_path: Path) -> None:
    audit = auditor.read_config(fixtures / "twemoji" / "audit.toml")
    audit = audit.model_copy(update={"generation": audit.generation.model_copy(update={"steps": 8})})
    asked = auditor.ExtractionConfig(levels=[0.95], problems=["left half"], draws=2, holdout=60)
    repeated = json.loads((fixtures / "twemoji" / "truth.json").read_text())["repeated"]
    every = pq.read_table(fixtures / "twemoji" / "train.parquet", columns=["id"]).column("id").to_pylist()
    once = [name for name in every if "-r" not in name and name not in set(repeated)]
    known = auditor.extract(audit, repeated[::8], tmp_path / "known", asked=asked, images="none")
    other = auditor.extract(audit, once[:: len(once) // 5][:5], tmp_path / "other", asked=asked, images="none")
    assert known.extracted >= 4 and (known.lower_bound.value or 0) >= 3
    assert other.extracted == 0 and other.lower_bound.value == 0
