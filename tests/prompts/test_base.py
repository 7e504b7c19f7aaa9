"""`auditor prompts --base`: what a fine-tune added is told from what its base knew."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from diffusers import UNet2DConditionModel

import auditor
from auditor.cli.main import main
from auditor.errors import EXIT_USAGE, ConfigError
from auditor.ranking_config import RankingConfig
from auditor.report.prompts import charged, prompts_sentence
from auditor.store.prompts import PromptRanking
from tests.prompts.conftest import Captions
from tests.text_pipelines import save_sd, save_sd3

QUICK = RankingConfig(detectors=["magnitude", "consistency"], noises=2, salt="base")


def rank(
    checkpoint: Path, base: Path, out: Path, prompts: list[str], controls: list[str] | None, adapter: Path | None = None
) -> PromptRanking:
    asked = QUICK.model_copy(update={"base": base, "adapter": adapter})
    return auditor.rank_prompts(checkpoint, prompts, out, controls=controls, asked=asked)


def origins(ranking: PromptRanking, texts: list[str], detector: str = "magnitude") -> list[str | None]:
    known = {one.prompt: one for one in ranking.prompts}
    return [known[text].base[detector].origin for text in texts]


@pytest.fixture(scope="module")
def trained(fixtures: Path) -> Path:
    return fixtures / "twemoji" / "checkpoint"


@pytest.fixture(scope="module")
def untrained(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fixture before it learnt anything: the base of a fine-tune on all that it was trained on."""
    folder = tmp_path_factory.mktemp("untrained") / "checkpoint"
    shutil.copytree(trained, folder)
    config = UNet2DConditionModel.load_config(folder / "unet")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        UNet2DConditionModel.from_config(config).save_pretrained(folder / "unet")
    return folder


def test_what_training_added_is_charged_and_its_controls_are_not(
    trained: Path, untrained: Path, captions: Captions, tmp_path: Path
) -> None:
    tested = captions.repeated + captions.held_out[:40]
    ranking = rank(trained, untrained, tmp_path / "run", tested, captions.held_out[40:240])
    assert origins(ranking, captions.repeated).count("added") >= 36
    # 10% of some 44 calls
    assert origins(ranking, captions.held_out[:40]).count("added") <= 9
    assert ranking.base is not None and charged(ranking) == ranking.base.added >= 36
    assert ranking.base.shared == ranking.base.called == 0
    assert [one.base["magnitude"].origin for one in ranking.prompts[:36]] == ["added"] * 36
    assert "added by the fine-tune" in prompts_sentence(ranking)
    text = (tmp_path / "run" / "prompts.md").read_text()
    assert "Fine-tune and base" in text and "called memorised and added by the fine-tune" in text
    assert PromptRanking.model_validate(json.loads((tmp_path / "run" / "prompts.json").read_text())) == ranking


def test_nothing_is_added_where_the_fine_tune_is_the_base(trained: Path, captions: Captions, tmp_path: Path) -> None:
    tested = captions.repeated + captions.held_out[:20]
    ranking = rank(trained, trained, tmp_path / "run", tested, captions.held_out[40:240])
    assert ranking.base is not None and ranking.base.added == ranking.base.undecided == 0
    assert ranking.base.shared == ranking.called >= 36 and charged(ranking) == 0
    assert all(one.base["magnitude"].rise.score == 0 for one in ranking.prompts)
    assert all(one.added == 0 for one in ranking.detectors)
    assert "The base is the checkpoint itself: nothing can be added." in ranking.notes
    assert prompts_sentence(ranking).startswith("None of 60 prompts are called memorised and added")


def test_captions_that_the_base_repeats_are_not_charged_to_an_adapter(
    trained: Path, fixtures: Path, captions: Captions, tmp_path: Path
) -> None:
    """The adapter is real and learnt 32 flags; the base's 40 captions score high under it, as under the base.

    Its own flags are not called: it moves every flag's caption, seen or not, nearly as far (reports/prompts.md), and
    controls are other flags. What is not shown is not charged either.
    """
    folder = fixtures / "twemoji-lora"
    flags, others = (
        pq.read_table(folder / f"{name}.parquet", columns=["caption"])["caption"].to_pylist()
        for name in ("train", "holdout")
    )
    adapter = folder / "pytorch_lora_weights.safetensors"
    tested, controls = [*captions.repeated, *flags], [*others[:100], *captions.held_out[:100]]
    ranking = rank(trained, trained, tmp_path / "run", tested, controls, adapter)
    for detector in ("magnitude", "consistency"):
        assert "added" not in origins(ranking, captions.repeated, detector)
        assert "added" not in origins(ranking, flags, detector)
    assert ranking.base is not None and ranking.base.called >= 36
    assert set(origins(ranking, captions.repeated)) <= {"base", "base alone", "none", "undecided"}
    scored = {one.prompt: one.base["magnitude"].rise.score for one in ranking.prompts}
    assert all(scored[text] is not None for text in tested)


def test_without_controls_both_scores_are_shown_and_nothing_is_charged(
    trained: Path, untrained: Path, captions: Captions, tmp_path: Path
) -> None:
    ranking = rank(trained, untrained, tmp_path / "run", captions.repeated[:2], None)
    assert origins(ranking, captions.repeated[:2]) == [None, None] and charged(ranking) == 0
    assert all((one.base["magnitude"].rise.score or 0) > 0 for one in ranking.prompts)
    assert "Nothing can be told apart" in (tmp_path / "run" / "prompts.html").read_text()


def test_another_base_is_another_run(trained: Path, untrained: Path, captions: Captions, tmp_path: Path) -> None:
    rank(trained, untrained, tmp_path / "run", captions.repeated[:2], None)
    with pytest.raises(ConfigError, match="the options and inputs that the run began with"):
        rank(trained, trained, tmp_path / "run", captions.repeated[:2], None)


def test_a_base_that_does_not_fit_is_refused(trained: Path, fixtures: Path, tmp_path: Path) -> None:
    for base, message in (
        (save_sd(tmp_path / "sd"), "samples"),
        (fixtures / "memorized" / "checkpoint", "takes no text"),
    ):
        with pytest.raises(ConfigError, match=message):
            rank(trained, base, tmp_path / "run", ["a dog"], None)
    sd = tmp_path / "sd"
    with pytest.raises(ConfigError, match="schedule"):
        rank(save_sd3(tmp_path / "sd3"), sd, tmp_path / "run", ["a dog"], None)
    assert not (tmp_path / "run").exists()


def test_the_command_shows_whose_a_prompt_is(
    trained: Path, untrained: Path, captions: Captions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p.txt").write_text("\n".join(captions.repeated[:20] + captions.held_out[:6]))
    (tmp_path / "c.txt").write_text("\n".join(captions.held_out[6:126]))
    arguments = [
        "prompts", str(trained), str(tmp_path / "p.txt"), "--controls", str(tmp_path / "c.txt"), "--seeds", "2",
        "--detectors", "magnitude", "--salt", "tests", "--out", str(tmp_path / "out"),
    ]  # fmt: skip
    assert main([*arguments, "--base", str(untrained), "--json"]) == 0
    out, err = capsys.readouterr()
    ranking = PromptRanking.model_validate_json(out)
    assert ranking.base is not None and ranking.base.added >= 15
    assert "on base" in err and "q added" in err and f"{ranking.base.added} of 26 prompts are called" in err
    assert main([*arguments, "--base", str(tmp_path / "none")]) == EXIT_USAGE
