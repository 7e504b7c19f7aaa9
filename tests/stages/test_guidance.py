"""Several guidance scales in one audit: each probe under its own, and the rates told apart."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import auditor
from auditor.checkpoint.asked import Asked
from auditor.checkpoint.load import LoadedCheckpoint, load
from auditor.checkpoint.scan import scan
from auditor.config import AuditConfig, GenerationConfig, validate
from auditor.errors import ConfigError
from auditor.progress import Silent
from auditor.report.markdown_text import table
from auditor.report.prompting import GUIDANCE_HEADER, guidance_rows, scale_text
from auditor.stages.generate import generate
from auditor.stages.guidance import one_scale, scales_of, whole_rounds
from auditor.stages.inputs import open_inputs
from auditor.store.record import Record
from auditor.store.run_directory import RunDirectory
from tests.text_pipelines import save_flux, save_sd

SETS = "train", "holdout"
PROMPTS = ["red apple", "dog face", "umbrella"]
SCALES = [0.0, 1.5, 4.0]
ASKED = {"probes": 12, "steps": 3, "batch_size": 5, "salt": "micro"}


@pytest.fixture(scope="module", params=["guided", "told"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LoadedCheckpoint:
    """One that is evaluated twice under guidance, and one that is told its scale."""
    folder = tmp_path_factory.mktemp(request.param) / "checkpoint"
    (save_sd if request.param == "guided" else save_flux)(folder)
    return load(scan(folder, asked=Asked(image_size=(16, 16)))).with_prompts(PROMPTS)


def made(checkpoint: LoadedCheckpoint, path: Path, scale: float | list[float]) -> np.ndarray:
    config = GenerationConfig.model_validate({**ASKED, "guidance_scale": scale})
    bound = checkpoint.at_scales(config.guidance_scales)
    run = RunDirectory.open(path, {}, "s")
    images = generate(run, "generate", {}, bound, bound.denoiser, config, "seed", "cpu", Silent())
    return np.stack([images.pixels(row) for row in range(12)]).astype(int)


def test_each_probe_is_made_under_its_own_scale(checkpoint: LoadedCheckpoint, tmp_path: Path) -> None:
    together = made(checkpoint, tmp_path / "all", SCALES)
    scale = scales_of(np.arange(12), len(PROMPTS), SCALES)
    assert scale.tolist() == [0.0] * 3 + [1.5] * 3 + [4.0] * 3 + [0.0] * 3
    for value in SCALES:
        alone = made(checkpoint, tmp_path / str(value), value)
        own = scale == value
        assert np.abs(together - alone)[own].max() <= 1
        assert np.abs(together - alone)[~own].max() > 1  # negative control: the scales tell images apart


def test_a_condition_is_a_prompt_and_a_scale(checkpoint: LoadedCheckpoint) -> None:
    x, t = torch.randn(9, *checkpoint.denoiser.sample_shape, generator=torch.Generator().manual_seed(0)), 500
    times, conditions = torch.full((9,), t), torch.arange(9)
    together = checkpoint.at_scales(SCALES).denoiser(x, times, conditions)
    for number, value in enumerate(SCALES):
        own = slice(3 * number, 3 * number + 3)
        alone = checkpoint.guided(value)(x[own], times[own], torch.arange(3))
        assert torch.allclose(together[own], alone, atol=1e-5)
    assert checkpoint.evaluations(SCALES) == checkpoint.evaluations([1.5])
    assert checkpoint.at_scales([]) is checkpoint


def test_faulty_scales_are_refused_before_anything_is_made(tmp_path: Path, fixtures: Path) -> None:
    sets = {"data": {"train": "t", "holdout": "h"}, "checkpoint": {"path": "c"}}
    for faulty, expected in ([3.0, 3.0], "every scale once"), ([3.0, -1.0], "at least 0"), ([], "at least 0"):
        with pytest.raises(ConfigError, match=f"generation.guidance_scale: .*{expected}"):
            validate({**sets, "generation": {"guidance_scale": faulty}}, "x")
    with pytest.raises(ConfigError, match="expected one scale"):
        one_scale(GenerationConfig(guidance_scale=[1.0, 3.0]))
    assert one_scale(GenerationConfig(guidance_scale=[3.0])) == 3.0 and one_scale(GenerationConfig()) is None
    with pytest.raises(ConfigError, match="1 for 2 guidance scales; expected at least one for each"):
        open_inputs(trained(fixtures, fixtures / "twemoji" / "holdout.parquet", seeds=1))


def trained(fixtures: Path, prompts: Path, seeds: int) -> AuditConfig:
    """The trained text-to-image checkpoint, asked for what was repeated in training, with guidance and without."""
    folder = fixtures / "twemoji"
    sections: dict[str, object] = {
        "checkpoint": {"path": str(folder / "checkpoint")},
        "data": {
            "train": str(folder / "train.parquet"), "holdout": str(folder / "holdout.parquet"), "id_column": "id",
            "split": "group",
        },
        "generation": {
            "probes": 80, "sampler": "dpmpp_2m", "steps": 8, "salt": "scales", "guidance_scale": [0.0, 3.0],
        },
        "prompts": {"file": str(prompts), "seeds": seeds},
        "membership": {"enabled": False},
        "copies": {"closer": 0},
    }  # fmt: skip
    return validate(sections, "trained")


@pytest.fixture(scope="module")
def audits(fixtures: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Record, Path]]:
    """Asked for the 40 pictures that were repeated, and for 40 that were held out."""
    path = tmp_path_factory.mktemp("scales")
    repeated = set(json.loads((fixtures / "twemoji" / "truth.json").read_text())["repeated"])
    train, holdout = (pq.read_table(fixtures / "twemoji" / f"{name}.parquet").to_pylist() for name in SETS)
    asked = {
        "repeated": [row["caption"] for row in train if row["id"] in repeated],
        "held out": [row["caption"] for row in holdout[:40]],
    }
    found = {}
    for name, captions in asked.items():
        (path / f"{name}.txt").write_text("\n".join(captions))
        found[name] = auditor.run(trained(fixtures, path / f"{name}.txt", 2), path / name), path / name
    return found


def test_guidance_brings_out_what_its_prompts_belong_to(audits: dict[str, tuple[Record, Path]]) -> None:
    rates = {}
    for name, (record, _) in audits.items():
        assert record.generation.guidance_scale == [0.0, 3.0]
        found = record.copies[0].by_guidance
        assert [(one.scale, one.generations, one.copy_rate.n) for one in found] == [(0.0, 40, 40), (3.0, 40, 40)]
        rates[name] = [one.copy_rate.value or 0.0 for one in found]
    assert rates["repeated"][1] > 0.8 > 0.3 > rates["held out"][1]
    assert rates["repeated"][1] > rates["repeated"][0] + 0.2


def test_no_scale_has_a_try_more_than_another(fixtures: Path, tmp_path: Path) -> None:
    """Three scales that are all but one, four seeds: the first has two tries of each prompt, the others one."""
    table = pq.read_table(fixtures / "twemoji" / "train.parquet").to_pylist()
    repeated = set(json.loads((fixtures / "twemoji" / "truth.json").read_text())["repeated"])
    (tmp_path / "prompts.txt").write_text("\n".join(row["caption"] for row in table if row["id"] in repeated))
    asked = trained(fixtures, tmp_path / "prompts.txt", 4)
    same = {"guidance_scale": [0.0, 1e-6, 2e-6], "probes": 160}
    config = asked.model_copy(update={"generation": asked.generation.model_copy(update=same)})
    record = auditor.run(config, tmp_path / "run")
    found = record.copies[0].by_guidance
    assert [(one.generations, one.copy_rate.n) for one in found] == [(40, 40)] * 3
    landed = [one.images for one in found]
    assert max(landed) - min(landed) <= 12  # of 40, each with one try in three independent ones
    evidence = {item.probe for item in record.copies[0].evidence}
    assert evidence  # all 160 still decide what is a copy


def test_a_round_is_every_prompt_under_every_scale() -> None:
    counted = whole_rounds(np.arange(16), 2, 3, 16)
    assert counted.tolist() == [True] * 12 + [False] * 4
    assert (
        np.bincount(np.searchsorted([0.0, 1.0, 2.0], scales_of(np.arange(16), 2, [0.0, 1.0, 2.0])[counted])).tolist()
        == [4] * 3
    )
    assert whole_rounds(np.array([0, 3]), 2, 3, 4).all()  # not one whole round: what there is


def test_evidence_says_under_which_scale_it_was_made(audits: dict[str, tuple[Record, Path]]) -> None:
    best = [item for item in audits["repeated"][0].copies[0].evidence if item.tier == "certified"]
    assert best and all(item.guidance_scale == (0.0 if item.probe < 40 else 3.0) for item in best)


def test_the_reports_say_how_much_each_scale_gives_away(audits: dict[str, tuple[Record, Path]]) -> None:
    record, path = audits["repeated"]
    for file in ("report.html", "report.md"):
        text = (path / file).read_text()
        assert "guidance scales 0, 3 in turn" in text and "guidance 3.0" not in text and "once under each scale" in text
    shown = "\n".join(table(GUIDANCE_HEADER, guidance_rows(record.copies[0])))
    assert shown.count("\n") >= 3 and shown in (path / "report.md").read_text()
    assert [scale_text(scale) for scale in (0.0, 1.0, 7.5)] == ["0", "1", "7.5"]
