"""`auditor prompts` as users call it: on the trained fixture, on what it never learnt, and on lists of every kind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from diffusers import UNet2DConditionModel

import auditor
from auditor.cli.main import main
from auditor.errors import EXIT_USAGE, ConfigError
from auditor.ranking_config import RankingConfig
from auditor.report.prompts import prompts_sentence
from auditor.stats.delong import auc_interval
from auditor.store.prompts import PromptRanking
from tests.prompts.conftest import Captions
from tests.text_pipelines import PROMPTS, save_pixart, save_sana, save_sd3

QUICK = RankingConfig(detectors=["magnitude"], noises=2, salt="tests")


def checkpoint(fixtures: Path) -> Path:
    return fixtures / "twemoji" / "checkpoint"


def rank(fixtures: Path, out: Path, prompts: list[str], controls: list[str] | None = None, **asked: object):
    config = QUICK.model_copy(update=asked)
    return auditor.rank_prompts(checkpoint(fixtures), prompts, out, controls=controls, asked=config)


@pytest.fixture(scope="module")
def found(fixtures: Path, captions: Captions, tmp_path_factory: pytest.TempPathFactory) -> tuple[PromptRanking, Path]:
    """All repeated captions among others, two detectors, controls enough."""
    out = tmp_path_factory.mktemp("prompts") / "run"
    tested = captions.repeated + captions.once[:40] + captions.held_out[:40]
    return rank(fixtures, out, tested, captions.held_out[40:240], detectors=["magnitude", "consistency"]), out


def test_two_detectors_rank_repeated_captions_first(found: tuple[PromptRanking, Path], captions: Captions) -> None:
    ranking, _ = found
    repeated = set(captions.repeated)
    for name in ("magnitude", "consistency"):
        own = {one.prompt: one.scores[name].score for one in ranking.prompts}
        sides = [[own[text] for text in own if (text in repeated) is side] for side in (True, False)]
        auc = auc_interval(*sides)
        assert auc.value > 0.95 and auc.lower > 0.9


def test_repeated_captions_are_called_and_others_not_beyond_the_level(
    found: tuple[PromptRanking, Path], captions: Captions
) -> None:
    ranking, _ = found
    called = [one.prompt for one in ranking.prompts if one.called]
    false = set(called) - set(captions.repeated)
    assert ranking.called == len(called) and len(called) - len(false) >= 36
    # at most 4 expected at 10%; 10 is beyond three deviations of a binomial
    assert len(false) < 10
    assert ranking.floor == 6 and ranking.comparison.status in ("alike", "differ")
    assert prompts_sentence(ranking).startswith(f"{len(called)} of 120 prompts are called memorised by magnitude")


def test_the_record_and_the_reports_are_written(found: tuple[PromptRanking, Path]) -> None:
    ranking, out = found
    assert PromptRanking.model_validate(json.loads((out / "prompts.json").read_text())) == ranking
    for name in ("prompts.html", "prompts.md"):
        text = (out / name).read_text()
        assert ranking.prompts[0].prompt in text and "What this does not show" in text
    # 2 noises: 320 prompts under themselves, two pieces that share nothing under the empty one
    assert ranking.evaluations == 320 * 2 + 2 * 2
    p_values = [one.scores["magnitude"].p_value for one in ranking.prompts]
    assert p_values == sorted(p_values)


def test_captions_never_seen_are_not_called(fixtures: Path, captions: Captions, tmp_path: Path) -> None:
    ranking = rank(fixtures, tmp_path / "run", captions.held_out[:60], captions.held_out[60:260])
    assert ranking.called == 0 and ranking.comparison.status != "too different"


def test_a_network_that_learnt_nothing_calls_nothing(fixtures: Path, captions: Captions, tmp_path: Path) -> None:
    shutil.copytree(checkpoint(fixtures), tmp_path / "fresh")
    config = UNet2DConditionModel.load_config(tmp_path / "fresh" / "unet")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        UNet2DConditionModel.from_config(config).save_pretrained(tmp_path / "fresh" / "unet")
    tested = captions.repeated + captions.held_out[:40]
    ranking = auditor.rank_prompts(
        tmp_path / "fresh", tested, tmp_path / "run", controls=captions.held_out[40:240], asked=QUICK
    )
    assert ranking.called == 0


def test_without_controls_prompts_are_ranked_and_none_is_called(
    fixtures: Path, captions: Captions, tmp_path: Path
) -> None:
    ranking = rank(fixtures, tmp_path / "run", captions.held_out[:3] + captions.repeated[:3])
    assert {one.prompt for one in ranking.prompts[:3]} == set(captions.repeated[:3])
    assert ranking.called == 0 and ranking.floor is None and ranking.comparison.status == "no controls"
    assert all(one.scores["magnitude"].p_value is None for one in ranking.prompts)
    assert "without control prompts" in prompts_sentence(ranking) and "Nothing is called" in ranking.notes[0]


def test_too_few_controls_can_call_nothing_and_it_says_how_many_could(
    fixtures: Path, captions: Captions, tmp_path: Path
) -> None:
    ranking = rank(fixtures, tmp_path / "run", captions.repeated[:4], captions.held_out[:5])
    assert ranking.called == 0 and ranking.floor == 7  # 4 / (0.1 * 6)
    # all four standing out need 9 controls, one alone 39
    assert any("9 if all stand out" in note and "39 controls" in note for note in ranking.notes)
    assert "controls are too few" in prompts_sentence(ranking)
    assert ranking.comparison.status == "not tested"


def test_one_prompt_is_called_alone(fixtures: Path, captions: Captions, tmp_path: Path) -> None:
    controls = captions.held_out[:40]
    assert rank(fixtures, tmp_path / "known", captions.repeated[:1], controls).called == 1
    assert rank(fixtures, tmp_path / "unknown", captions.held_out[50:51], controls).called == 0


def test_controls_of_another_style_withhold_every_call(fixtures: Path, captions: Captions, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    words = [
        "A",
        "stunning,",
        "ultra-detailed",
        "matte",
        "painting;",
        "trending",
        "on",
        "ArtStation,",
        "8K,",
        "volumetric",
        "LIGHT!",
    ]
    controls = [" ".join(draw.permutation(words)[:6]) for _ in range(60)]
    ranking = rank(fixtures, tmp_path / "run", captions.repeated, controls)
    assert ranking.comparison.status == "too different" and ranking.called == 0
    assert ranking.comparison.blind_auc.lower > 0.9 and ranking.comparison.lengths_p < 0.01
    assert all(one.scores["magnitude"].q_value is None for one in ranking.prompts)


def test_empty_repeated_long_and_foreign_prompts(fixtures: Path, captions: Captions, tmp_path: Path) -> None:
    known, long = captions.repeated[0], " ".join(["red apple"] * 40)
    prompts = [known, "", known, f"  {known}", long, f"{long} pie", "犬の顔 🐶 ¿qué?", "\x00\x1b[31m", "a"]
    controls = [*captions.held_out[:30], known, ""]
    ranking = rank(fixtures, tmp_path / "run", prompts, controls)
    by_line = {line: one for one in ranking.prompts for line in one.lines}
    assert sorted(by_line) == list(range(1, 10))
    assert by_line[1].lines == [1, 3, 4] and by_line[5].lines == [5, 6]  # the checkpoint sees the same of both
    assert by_line[2].unscored is not None and by_line[2].scores == {}
    assert by_line[5].cut > 0 and by_line[5].tokens == 22
    assert by_line[7].scores["magnitude"].score > 0
    told = " ".join(ranking.notes)
    assert "2 controls left out" in told and "beginning only" in told and "several times" in told
    assert ranking.tested.prompts == 9 and ranking.controls.prompts == 32
    assert "\x1b" not in (tmp_path / "run" / "prompts.md").read_text()


def test_killed_in_the_middle_it_goes_on(
    fixtures: Path, captions: Captions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from auditor.stages import prompts as stage

    monkeypatch.setattr(stage, "PIECE", 10)
    whole = rank(fixtures, tmp_path / "whole", captions.repeated[:25])
    score, made = stage.score_prompts, []

    def killed(denoiser, places, *rest):
        made.append(places.start)
        if len(made) == 2:
            raise KeyboardInterrupt
        return score(denoiser, places, *rest)

    monkeypatch.setattr(stage, "score_prompts", killed)
    with pytest.raises(KeyboardInterrupt):
        rank(fixtures, tmp_path / "run", captions.repeated[:25])
    again = rank(fixtures, tmp_path / "run", captions.repeated[:25])
    assert made == [0, 10, 10, 20]  # the first piece is not made again
    assert again.prompts == whole.prompts
    with pytest.raises(ConfigError, match="the options and inputs that the run began with"):
        rank(fixtures, tmp_path / "run", captions.repeated[:24])


def test_bright_endings_come_with_their_masks(fixtures: Path, captions: Captions, tmp_path: Path) -> None:
    asked = {"detectors": ["magnitude", "bright_ending"], "steps": 3}
    ranking = rank(fixtures, tmp_path / "run", captions.repeated[:3], **asked)
    assert all((tmp_path / "run" / one.mask).read_bytes().startswith(b"\x89PNG") for one in ranking.prompts)
    assert "Bright endings" in (tmp_path / "run" / "prompts.html").read_text()


def test_a_family_whose_text_has_no_end_runs_what_it_can(tmp_path: Path) -> None:
    sana = save_sana(tmp_path / "sana")
    asked = RankingConfig(detectors=["bright_ending", "entropy", "magnitude"], noises=2, steps=2, salt="tests")
    ranking = auditor.rank_prompts(sana, PROMPTS, tmp_path / "run", asked=asked)
    assert ranking.deciding == "entropy" and all(one.scores["entropy"].score > 0 for one in ranking.prompts)
    assert "bright_ending could not be run, so entropy decides." in ranking.notes
    with pytest.raises(ConfigError, match="SanaTransformer2DModel attends to has no token that ends it"):
        auditor.rank_prompts(sana, PROMPTS, tmp_path / "none", asked=RankingConfig(detectors=["bright_ending"]))


@pytest.mark.parametrize("save", [save_pixart, save_sana])
def test_prompts_that_differ_by_case_are_one_to_families_that_lower_it(
    save: Callable[[Path], Path], tmp_path: Path
) -> None:
    asked = RankingConfig(detectors=["magnitude"], noises=1, salt="tests")
    prompts, controls = ["Red Apple", "red apple", "dog"], ["RED APPLE", "Dog", "flag"]
    ranking = auditor.rank_prompts(save(tmp_path / "it"), prompts, tmp_path / "run", controls=controls, asked=asked)
    assert sorted(one.lines for one in ranking.prompts) == [[1, 2], [3]]
    assert "2 controls left out" in " ".join(ranking.notes)


def test_a_transformer_s_attention_is_looked_at(tmp_path: Path) -> None:
    names = ["first_entropy", "entropy", "bright_ending"]
    asked = RankingConfig(detectors=names, noises=2, steps=2, salt="tests")
    ranking = auditor.rank_prompts(save_sd3(tmp_path / "sd3"), PROMPTS, tmp_path / "run", asked=asked)
    for name in names:
        scores = [one.scores[name].score for one in ranking.prompts]
        assert len(set(scores)) == len(PROMPTS) and all(score is not None for score in scores)
    assert all((tmp_path / "run" / one.mask).exists() for one in ranking.prompts)


def test_an_unconditional_checkpoint_is_refused(fixtures: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="text-to-image"):
        auditor.rank_prompts(fixtures / "memorized" / "checkpoint", ["a dog"], tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("prompts", "asked", "message"),
    [([], {}, "none"), (["", "  "], {}, "empty prompts only"), (["a"], {"steps": 1001}, "1000")],
)
def test_what_cannot_be_ranked_is_refused(
    fixtures: Path, tmp_path: Path, prompts: list[str], asked: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        rank(fixtures, tmp_path / "run", prompts, **asked)
    assert not (tmp_path / "run").exists()


def test_the_command(fixtures: Path, captions: Captions, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "p.txt").write_text("\n".join(captions.repeated[:6] + captions.held_out[:6]))
    (tmp_path / "c.txt").write_text("\n".join(captions.held_out[6:66]))
    arguments = [
        "prompts", str(checkpoint(fixtures)), str(tmp_path / "p.txt"), "--controls", str(tmp_path / "c.txt"),
        "--seeds", "2", "--detectors", "magnitude", "--salt", "tests", "--out", str(tmp_path / "out"),
    ]  # fmt: skip
    assert main([*arguments, "--json"]) == 0
    out, err = capsys.readouterr()
    ranking = PromptRanking.model_validate_json(out)
    assert {one.prompt for one in ranking.prompts[:6]} == set(captions.repeated[:6])
    assert "called memorised by magnitude" in err and str(tmp_path / "out" / "prompts.html") in err.replace("\n", "")
    assert main([*arguments[:-4], "--detectors", "magnitud", "--out", str(tmp_path / "other")]) == EXIT_USAGE
    assert main(["prompts", str(checkpoint(fixtures)), str(tmp_path / "none.txt")]) == EXIT_USAGE


def test_an_adapter_is_ranked_with_its_base_and_the_base_alone_is_another(fixtures: Path, tmp_path: Path) -> None:
    """The captions that the adapters learnt pull harder with them than without."""
    table = pq.read_table(fixtures / "twemoji-lora" / "train.parquet", columns=["caption"])
    texts = table["caption"].to_pylist()[:8]
    asked = RankingConfig(detectors=["magnitude"], noises=2, salt="adapter")
    adapter = fixtures / "twemoji-lora" / "pytorch_lora_weights.safetensors"
    base = auditor.rank_prompts(checkpoint(fixtures), texts, tmp_path / "base", asked=asked)
    fused = asked.model_copy(update={"adapter": adapter})
    adapted = auditor.rank_prompts(checkpoint(fixtures), texts, tmp_path / "adapted", asked=fused)
    medians = [
        np.median([one.scores["magnitude"].score or 0 for one in ranking.prompts]) for ranking in (base, adapted)
    ]
    assert medians[1] > 1.3 * medians[0]
    assert base.checkpoint.digest != adapted.checkpoint.digest


def test_opening_a_checkpoint_otherwise_is_another_ranking_only_where_results_differ(
    fixtures: Path, tmp_path: Path
) -> None:
    made = {}
    for name, options in (("whole", {}), ("apart", {"offload": "blocks"}), ("half", {"dtype": "bfloat16"})):
        asked = RankingConfig(detectors=["magnitude"], noises=2, salt="opened", **options)
        made[name] = auditor.rank_prompts(
            fixtures / "twemoji" / "checkpoint", ["chains", "hook"], tmp_path / name, asked=asked
        )
    scores = {name: [one.scores["magnitude"].score for one in found.prompts] for name, found in made.items()}
    assert scores["apart"] == scores["whole"] and made["apart"].digest == made["whole"].digest
    assert scores["half"] != scores["whole"]  # also of other noises: another digest gives another seed
    assert "the network and its text encoders ran in bfloat16" in made["half"].checkpoint.notes
    assert made["half"].digest != made["whole"].digest
    again = RankingConfig(detectors=["magnitude"], noises=2, salt="opened", offload="parts")
    auditor.rank_prompts(
        fixtures / "twemoji" / "checkpoint", ["chains", "hook"], tmp_path / "whole", asked=again
    )  # goes on
