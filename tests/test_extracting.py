"""Extraction of named records: a memorising checkpoint gives them back, a generalising one gives back no more of them
than of held-out images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import auditor
from auditor.cli.main import main
from auditor.copies.extraction import decide_extraction
from auditor.errors import ConfigError
from auditor.report.extraction import extraction_leaflet, extraction_sentence
from auditor.stages.contestants import Contestants
from auditor.stages.extraction import Answers, AttackPlan, attack_block
from auditor.stages.extraction_record import bound_of_attack, records_of
from auditor.store.extraction import Extraction
from tests.micro import micro_config, write_micro_inputs, write_picture


def attack(fixtures: Path, name: str, ids: list[str], run_dir: Path, **asked: object) -> Extraction:
    config = auditor.read_config(fixtures / name / "audit.toml")
    few = config.generation.model_copy(update={"steps": 12})
    wanted = {"levels": [0.3], "problems": ["left half"], "draws": 2, "holdout": 80, **asked}
    config = config.model_copy(update={"generation": few})
    return auditor.extract(config, ids, run_dir, asked=auditor.ExtractionConfig.model_validate(wanted))


def test_memorised_records_are_extracted_by_name(fixtures: Path, tmp_path: Path) -> None:
    ids = json.loads((fixtures / "memorized" / "truth.json").read_text())["memorized"][:100:7]
    found = attack(fixtures, "memorized", ids, tmp_path)
    assert found.extracted >= 13 and found.named == 15 and (found.lower_bound.value or 0) >= 10
    extracted = next(record for record in found.records if record.verdict == "extracted")
    assert extracted.q_value is not None and extracted.q_value <= 0.10
    assert extracted.attempts[1].similarity > 0.98 and extracted.matched_id is not None
    assert all((tmp_path / one.image).is_file() for one in extracted.attempts if one.image)
    page = (tmp_path / "extract.html").read_text()
    assert "Records were extracted" in page and page.count("data:image/png") > 30 and "<script" not in page


def test_a_generalising_checkpoint_gives_back_its_records_no_better_than_others(fixtures: Path, tmp_path: Path) -> None:
    """Ten records drawn at random: something is called with probability 0.1 at most."""
    from auditor.data import Geometry, open_source

    source = open_source(fixtures / "general" / "train-a.parquet", Geometry(1, 16, 16), id_column="id")
    every = [name for batch in source.batches(1_000) for name in batch.ids]
    ids = [every[row] for row in np.random.default_rng(0).choice(len(every), 10, replace=False)]
    found = attack(fixtures, "general-a", ids, tmp_path)
    assert found.extracted == 0 and found.lower_bound.value == 0 and found.resolving
    assert found.attacks[1].holdout_hits > 0  # half an image brings back something of any image
    assert "No record was extracted" in (tmp_path / "extract.md").read_text()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("extract")
    write_micro_inputs(path)
    return path


def micro(folder: Path, run_dir: Path, ids: list[str], **asked: object) -> Extraction:
    wanted = {"levels": [0.5], "problems": ["centre"], "draws": 2, "holdout": 30, **asked}
    return auditor.extract(micro_config(folder), ids, run_dir, asked=auditor.ExtractionConfig.model_validate(wanted))


def test_an_untrained_network_extracts_nothing_and_goes_on_after_a_kill(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [f"train-{index:04d}" for index in (3, 14, 15, 92)]
    whole = micro(folder, tmp_path / "whole", ids)
    assert whole.extracted == 0 and {record.id for record in whole.records} == set(ids)
    assert extraction_sentence(whole) == "None of 4 named records is shown to be extracted."
    some = whole.model_copy(update={"lower_bound": whole.lower_bound.model_copy(update={"value": 2.0})})
    assert extraction_sentence(some).startswith("At least 2 of 4 named records are extracted, with 95% confidence;")
    assert extraction_leaflet(some).title == "Records were extracted" and extraction_leaflet(some).tone == "fail"
    calls = 0

    def killed(*arguments: object, **keywords: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return attack_block(*arguments, **keywords)  # type: ignore[arg-type]

    monkeypatch.setattr("auditor.stages.extraction.attack_block", killed)
    with pytest.raises(KeyboardInterrupt):
        micro(folder, tmp_path / "again", ids)
    resumed = micro(folder, tmp_path / "again", ids)
    times = {"seconds": {}, "started": ""}
    assert resumed.model_copy(update=times) == whole.model_copy(update=times)
    with pytest.raises(ConfigError, match="draws"):
        micro(folder, tmp_path / "again", ids, draws=3)


def test_an_answer_depends_on_its_image_alone(folder: Path, tmp_path: Path) -> None:
    """Other records named beside it change nothing about what is brought back of one."""
    alone = micro(folder, tmp_path / "alone", ["train-0003"]).records[0]
    among = micro(folder, tmp_path / "among", ["train-0044", "train-0003", "train-0080"]).records
    same = next(record for record in among if record.id == "train-0003")
    assert [one.similarity for one in same.attempts] == pytest.approx(
        [one.similarity for one in alone.attempts], abs=1e-5
    )


def test_a_record_named_twice_or_repeated_in_the_set_counts_once(folder: Path, tmp_path: Path) -> None:
    from shutil import copyfile, copytree

    copytree(folder, tmp_path / "set")
    for copy in ("train/train-zz.png", "holdout/holdout-zz.png"):
        original = "train/train-0003.png" if copy.startswith("train") else "train/train-0010.png"
        copyfile(tmp_path / "set" / original, tmp_path / "set" / copy)
    holdout = sorted((tmp_path / "set" / "holdout").glob("*.png"))
    for number in range(4_000 - len(holdout)):  # one of so many may stand in both sets
        write_picture(tmp_path / "set" / "holdout" / f"more-{number:04d}.png", np.random.default_rng(number + 10))
    ids = ["train-0003", "train-zz", "train-0003", "train-0010", "train-0020"]
    found = micro(tmp_path / "set", tmp_path / "run", ids)
    by_id = {record.id: record for record in found.records}
    assert set(by_id) == {"train-0003", "train-0010", "train-0020"} and found.named == 4
    assert by_id["train-0003"].also == ["train-zz"] and by_id["train-0003"].times_in_set == 2
    assert by_id["train-0010"].verdict == "untestable" and by_id["train-0020"].times_in_set == 1
    assert any("cannot be tested" in note for note in found.notes)


def test_records_that_all_stand_in_the_held_out_set_too_are_untestable(folder: Path, tmp_path: Path) -> None:
    from shutil import copyfile, copytree

    copytree(folder, tmp_path / "set")
    copyfile(tmp_path / "set" / "train" / "train-0003.png", tmp_path / "set" / "holdout" / "holdout-zz.png")
    for number in range(3_900):  # one of so many may stand in both sets
        write_picture(tmp_path / "set" / "holdout" / f"more-{number:04d}.png", np.random.default_rng(number + 10))
    found = micro(tmp_path / "set", tmp_path / "run", ["train-0003"])
    assert [record.verdict for record in found.records] == ["untestable"] and found.extracted == 0
    assert found.lower_bound.unscored == "no record can compete"
    assert "None of the named records can be tested" in (tmp_path / "run" / "extract.md").read_text()


@pytest.mark.parametrize("resolving", [True, False])
def test_an_attack_bounds_nothing_under_an_encoder_that_does_not_resolve(resolving: bool) -> None:
    """Ten records hit and no held-out image: a bound of many, unless look-alikes pass for copies."""
    margin = np.concatenate([np.full(10, 2.0), np.full(100, -1.0)])
    ids = [f"{number}" for number in range(110)]
    who = Contestants(ids[:10], ids[10:], {}, [], {}, np.zeros(110), [], 0.9, resolving)
    bound = bound_of_attack(decide_extraction(margin[None], 10).contests[0], who, 1, 0.95)
    assert (bound.value is not None and bound.value >= 8) if resolving else bound.value is None and bound.unscored


def test_a_record_beyond_all_held_out_images_is_not_said_to_have_rivals() -> None:
    records, holdout = ["r0", "r1"], [f"h{number}" for number in range(9)]
    also, times = {name: list[str]() for name in records}, dict.fromkeys(records, 1)
    who = Contestants(records, holdout, also, [], times, np.zeros(11), [np.arange(3)] * 2, 0.9, True)
    margin = np.array([[5.0, 0.1, *np.linspace(0, 1, 9)]])
    plans, answers = [AttackPlan("noised", [], None, 0.5, 1)], Answers(np.zeros((1, 11)), [[]], np.zeros(1, np.int64))
    entries = records_of(records, who, plans, answers, margin, decide_extraction(margin, 2), 0.1)
    why = {entry.id: entry.why for entry in entries}
    beyond = "one attack at least brings it back better than all 9 held-out images, but p = 0.1 over 1 attack"
    assert why["r0"] == f"{beyond} is the least that so few can show"
    assert why["r1"] == "held-out images are brought back as well"


def test_nan_answers_count_as_none(folder: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    write_micro_inputs(tmp_path / "set")
    weights = tmp_path / "set" / "checkpoint" / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    tensors["conv_out.bias"] = torch.full_like(tensors["conv_out.bias"], 1e38)
    save_file(tensors, weights, metadata={"format": "pt"})
    found = micro(tmp_path / "set", tmp_path / "run", ["train-0003"])
    assert found.extracted == 0 and sum(attack.failed_answers for attack in found.attacks) > 0
    assert "NaN or infinity" in (tmp_path / "run" / "extract.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--ids"),
        (["--id", "nobody"], "1 id that is not in the training set"),
        (["--id", "nobody", "--id", "none"], "2 ids that are not in the training set"),
        (["--id", "train-0003", "--level", "0.01"], "more noise"),
        (["--id", "train-0003", "--ids", "missing.txt"], "missing.txt"),
        (["--id", "train-0003", "--hide", "nothing", "--set", "generation.steps=500"], "training times"),
    ],
)
def test_bad_input_is_refused_before_anything_is_spent(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    sets = ["--train", str(folder / "train"), "--holdout", str(folder / "holdout"), "--steps", "4"]
    run_dir = ["--run-dir", str(tmp_path / "run")]
    assert main(["extract", str(folder / "checkpoint"), *sets, *run_dir, *arguments]) == 4
    assert said in capsys.readouterr().err.replace("\n", " ")
    assert not (tmp_path / "run").exists()


def test_the_command_extracts(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("train-0003\ntrain-0004\n")
    sets = ["--train", str(folder / "train"), "--holdout", str(folder / "holdout"), "--steps", "4"]
    asked = ["--ids", str(tmp_path / "ids.txt"), "--draws", "1", "--against", "40", "--level", "0.5"]
    assert main(["extract", str(folder / "checkpoint"), *sets, *asked, "--run-dir", str(tmp_path / "run")]) == 0
    found = Extraction.model_validate_json((tmp_path / "run" / "extract.json").read_bytes())
    assert [attack.name for attack in found.attacks] == ["noised to 50%", "hidden left half", "hidden right half"]
    assert found.named == 2 and all(record.matched_id for record in found.records)
