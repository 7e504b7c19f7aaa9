"""Images made elsewhere: copies among them are found, chance is not called, and what cannot be known is said."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import auditor
from auditor.checkpoint.load import load
from auditor.checkpoint.scan import scan
from auditor.cli.main import main
from auditor.config import GenerationConfig
from auditor.errors import CheckpointError, ConfigError, DataError
from auditor.stages import given as given_stage
from auditor.stages.black_box import open_given
from auditor.stages.generate import sample_part
from auditor.store.record import Record
from tests.given import given_config, pictures_of, strangers, write_made
from tests.micro import write_micro_inputs

MADE = 512  # images of each fixture
LENIENT = "[probes]\nallow_given = true\n[membership]\nrequired = false\n[copies]\nmax_rate = 0.02\n"


def generate(fixtures: Path, name: str, folder: Path) -> Path:
    """What a user of the fixture's model would have: a folder of pictures."""
    folder.mkdir()
    loaded = load(scan(fixtures / name / "checkpoint"), device="cpu")
    asked = GenerationConfig(probes=MADE, steps=12)
    for start in range(0, MADE, 64):
        part = sample_part(loaded, loaded.denoiser, asked, "elsewhere", range(start, start + 64), "cpu")
        for number, pixels in zip(part["probe"], part["pixels"], strict=True):
            Image.fromarray(pixels[0]).save(folder / f"{number:05d}.png")
    return folder


def sets_of(fixtures: Path, name: str) -> dict[str, str]:
    config = auditor.read_config(fixtures / name / "audit.toml")
    return {"train": str(config.data.train), "holdout": str(config.data.holdout), "split": "group"}


@pytest.fixture(scope="module")
def partial_run(fixtures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("partial")
    made = generate(fixtures, "partial", folder / "made")
    sections = {"images": {"path": str(made)}, "data": sets_of(fixtures, "partial"), "generation": {"salt": "fixtures"}}
    auditor.run(auditor.AuditConfig.model_validate(sections), folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def general_run(fixtures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("general")
    made = generate(fixtures, "general-a", folder / "made")
    sections = {
        "images": {"path": str(made)}, "data": sets_of(fixtures, "general-a"), "generation": {"salt": "fixtures"}
    }  # fmt: skip
    auditor.run(auditor.AuditConfig.model_validate(sections), folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training and a held-out set of 8x8 pictures."""
    path = tmp_path_factory.mktemp("world")
    write_micro_inputs(path)
    return path


@pytest.fixture(scope="module")
def unrelated(tmp_path_factory: pytest.TempPathFactory) -> list[np.ndarray]:
    return strangers(tmp_path_factory.mktemp("strangers"), 120, 7)


def test_a_memorising_model_is_found_out_from_its_pictures(partial_run: Path, fixtures: Path) -> None:
    repeated = set(json.loads((fixtures / "partial" / "truth.json").read_text())["repeated"])
    record = auditor.read_record(partial_run)
    found = record.copies[0]
    copied = [set(item.members) for item in found.evidence if item.tier != "suspect"]
    true = sum(bool(repeated & members) for members in copied)
    assert true >= 36  # of 40; 512 pictures show some of them once or never
    assert len(copied) - true <= 0.25 * len(copied)  # 0.10 on average over salts, and single images are favoured, too
    assert (found.lower_bound.value or 0) >= 30
    assert record.judgement is not None and record.judgement.outcome == "fail"
    assert main(["gate", str(partial_run)]) == 1
    assert sum(search.on_training or 0 for search in record.cliques) >= 5


def test_a_generalising_model_is_not_accused(general_run: Path) -> None:
    record = auditor.read_record(general_run)
    found = record.copies[0]
    assert found.certified == found.verbatim == 0 and found.lower_bound.value == 0
    assert all(search.pictures == 0 for search in record.cliques)
    assert {check.status for check in record.checks} == {"passed"}
    control = [check.title for check in record.checks if check.id == "positive-control"]
    assert control == ["Planted copies are found", "Planted copies are found out"]  # no memorizer: it takes a schedule


def test_pictures_alone_pass_only_where_the_policy_says_so(general_run: Path, tmp_path: Path) -> None:
    def outcome(policy: str) -> tuple[str, set[str]]:
        (tmp_path / "policy.toml").write_text(policy)
        _, judgement = auditor.judge_run(general_run, tmp_path / "policy.toml")
        return judgement.outcome, {rule.id for rule in judgement.rules if rule.outcome == "cannot conclude"}

    assert outcome(LENIENT)[0] == "pass"
    assert outcome(LENIENT.replace("allow_given = true", "")) == ("cannot conclude", {"probes.given"})
    assert outcome(LENIENT.replace("required = false", "")) == ("cannot conclude", {"membership.tested"})
    assert {"probes.given", "membership.tested"} <= outcome("")[1]
    assert main(["gate", str(general_run)]) == 3


def test_the_record_claims_no_checkpoint(general_run: Path) -> None:
    record = auditor.read_record(general_run)
    made = record.generation
    assert record.checkpoint is None and record.membership is None and record.regime is None
    assert (made.sampler, made.steps, made.deterministic, made.denoiser_evaluations) == ("unknown", None, None, 0)
    assert record.images is not None and record.images.images == record.images.units == MADE
    left = " ".join(record.not_tested)
    for word in ("Membership", "regime", "left out", "one sampler", "share a prompt or seed"):
        assert word in left
    for name in ("report.html", "report.md"):
        text = (general_run / name).read_text()
        assert "which pipeline made the images" in text and "DDPMPipeline" not in text
    assert "<script" not in (general_run / "report.html").read_text()


def audited(world: Path, made: Path, run: Path, **changes: dict[str, object]) -> Record:
    return auditor.run(given_config(world, made, **changes), run)


def noisy(pictures: list[np.ndarray], seed: int = 3) -> list[np.ndarray]:
    """Copies with noise of one level in 255."""
    rng = np.random.default_rng(seed)
    return [np.clip(picture + rng.integers(-1, 2, picture.shape), 0, 255).astype(np.uint8) for picture in pictures]


def test_a_file_copied_a_hundred_times_is_one_generation(
    world: Path, unrelated: list[np.ndarray], tmp_path: Path
) -> None:
    copies = noisy(pictures_of(world / "train", 8))
    once = audited(world, write_made(tmp_path / "once", copies + unrelated), tmp_path / "a")
    often = audited(world, write_made(tmp_path / "often", copies + unrelated + [copies[0]] * 100), tmp_path / "b")
    for record in (once, often):
        found, copied = record.copies[0], {item.id for item in record.copies[0].evidence if item.tier != "suspect"}
        assert {f"train-{number:04d}" for number in range(8)} <= copied and len(copied) <= 10  # FDR 0.10
        assert found.copy_rate.n == 128 and 8 <= 128 * (found.copy_rate.value or 0) <= 10
    assert often.images is not None and (often.images.images, often.images.repeats) == (228, 100)
    assert max(item.probes_landing for item in often.copies[0].evidence if item.tier != "suspect") == 1


def test_images_of_one_prompt_count_once(world: Path, unrelated: list[np.ndarray], tmp_path: Path) -> None:
    """Of 30 prompts of 4 images, two show copies: one all four times, of four training images, the other once."""
    train = pictures_of(world / "train", 5)
    pictures = noisy(train[:4]) + noisy(train[4:]) + unrelated[:115]
    origins = [{"prompt": f"prompt {number // 4}", "seed": number % 4} for number in range(120)]
    record = audited(world, write_made(tmp_path / "made", pictures, origins), tmp_path / "run")
    found, images = record.copies[0], record.images
    assert found.certified == 5
    assert (found.copy_rate.n, found.copy_rate.value) == (30, 2 / 30) and found.copy_rate.unit == "share of prompts"
    assert [(one.prompt, one.landing, len(one.images)) for one in found.copied_prompts] == [
        ("prompt 0", 4, 4), ("prompt 1", 1, 1)
    ]  # fmt: skip
    assert images is not None and (images.prompts, images.seeded, images.units) == (30, 120, 30)
    named = {item.probe: images.shown[item.probe] for item in found.evidence}
    assert all(named[item.probe].prompt == item.prompt for item in found.evidence)
    assert {named[item.probe].id for item in found.evidence if item.tier != "suspect"} == {f"000{n}" for n in range(5)}
    assert record.cliques[0].generations + record.cliques[0].flat == 30  # one image a prompt


def test_uneven_prompts_do_not_hide_a_copy_rate(world: Path, unrelated: list[np.ndarray], tmp_path: Path) -> None:
    """One prompt of 40 images, all copies, beside 80 prompts of one: 1 in 81 prompts, a third of the images."""
    pictures = noisy(pictures_of(world / "train", 40)) + unrelated[:80]
    origins = [{"prompt": "the one" if number < 40 else f"prompt {number}"} for number in range(120)]
    rate = audited(world, write_made(tmp_path / "made", pictures, origins), tmp_path / "run").copies[0].copy_rate
    assert rate.n == 81 and rate.value is not None and 1 / 81 <= rate.value < 1 / 8  # chance certifies a few more
    assert rate.upper is not None and rate.upper > 40 / 120


def test_a_prompt_in_other_letters_or_spaces_is_no_other_trial(
    world: Path, unrelated: list[np.ndarray], tmp_path: Path
) -> None:
    spelt = ["Red apple", "red  apple", "red apple", "dog face"]
    made = write_made(tmp_path / "made", unrelated[:4], [{"prompt": text} for text in spelt])
    images = open_given(given_config(world, made)).given
    assert images is not None and images.units.tolist() == [0, 0, 0, 1]
    assert images.prompts == ("Red apple", "dog face")
    assert (images.describe().prompts, images.describe().units, images.describe().prompted) == (2, 2, 4)


def test_the_same_seed_and_prompt_count_once_and_other_seeds_apart(
    world: Path, unrelated: list[np.ndarray], tmp_path: Path
) -> None:
    same = [unrelated[0]] * 4
    seeds: list[dict[str, object]] = [{"seed": 1}, {"seed": 1}, {"seed": 2}, {}]  # the last may be any of these
    origins = seeds + [{"seed": number} for number in range(10, 70)]
    made = write_made(tmp_path / "made", same + unrelated[1:61], origins)
    images = open_given(given_config(world, made)).given
    assert images is not None and images.ids[:3] == ["0000", "0002", "0004"]
    assert images.describe().units == 62 and images.describe().repeats == 2
    both = [{"seed": 5}, {"seed": 5}, *[{"seed": number} for number in range(10, 70)]]
    apart = write_made(tmp_path / "apart", unrelated[:62], both)  # of one seed, and yet different: kept, one unit
    images = open_given(given_config(world, apart)).given
    assert images is not None and len(images.ids) == 62 and images.describe().units == 61


def test_a_finished_run_is_not_read_again_and_a_killed_one_goes_on(
    world: Path, unrelated: list[np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, read = write_made(tmp_path / "made", unrelated), given_stage.read_part
    before = audited(world, made, tmp_path / "whole")
    calls: list[int] = []

    def die(images: object, probes: range) -> object:
        calls.append(probes.start)
        if probes.start:
            raise KeyboardInterrupt
        return read(images, probes)  # type: ignore[arg-type]

    monkeypatch.setattr(given_stage, "read_part", die)
    with pytest.raises(KeyboardInterrupt):
        audited(world, made, tmp_path / "run")
    monkeypatch.setattr(given_stage, "read_part", counted(read, calls))
    calls.clear()
    record = audited(world, made, tmp_path / "run")
    assert calls == [64]  # the first piece was done
    calls.clear()
    again = audited(world, made, tmp_path / "run")
    assert calls == []
    times = {"started", "seconds"}
    assert record.model_dump(exclude=times) == again.model_dump(exclude=times) == before.model_dump(exclude=times)


def counted(read: Callable[..., object], calls: list[int]) -> Callable[..., object]:
    def count(images: object, probes: range) -> object:
        calls.append(probes.start)
        return read(images, probes)

    return count


def test_other_images_or_prompts_are_another_audit(world: Path, unrelated: list[np.ndarray], tmp_path: Path) -> None:
    made = write_made(tmp_path / "made", unrelated)
    audited(world, made, tmp_path / "run")
    (made / "0003.txt").write_text("a prompt")
    with pytest.raises(ConfigError, match="images: "):
        audited(world, made, tmp_path / "run")


def test_an_image_that_changes_midway_is_refused(world: Path, unrelated: list[np.ndarray], tmp_path: Path) -> None:
    made = write_made(tmp_path / "made", unrelated)
    images = open_given(given_config(world, made)).given
    assert images is not None
    shutil.copy(made / "0001.png", made / "0000.png")
    with pytest.raises(DataError, match="other pixels"):
        given_stage.read_part(images, range(4))
    (made / "0001.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="nothing readable"):
        given_stage.read_part(images, range(1, 4))


def test_a_broken_image_is_counted_and_withholds_a_pass(
    world: Path, unrelated: list[np.ndarray], tmp_path: Path
) -> None:
    made = write_made(tmp_path / "made", unrelated)
    (made / "0005.png").write_bytes((made / "0005.png").read_bytes()[:40])
    (made / "0006.png").write_bytes(b"")
    record = audited(world, made, tmp_path / "run")
    assert record.images is not None and [name for name, _ in record.images.unreadable] == ["0005", "0006"]
    assert (record.generation.probes, record.generation.non_finite) == (120, 2)
    assert record.copies[0].copy_rate.n == 118
    assert record.judgement is not None
    coverage = next(rule for rule in record.judgement.rules if rule.id == "power.coverage")
    assert coverage.outcome == "cannot conclude" and "of generations" in coverage.statement
    assert "0005" in (tmp_path / "run" / "report.html").read_text()


def test_nothing_to_audit_is_refused(world: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="none an image"):
        audited(world, tmp_path / "empty", tmp_path / "run")
    with pytest.raises(ConfigError, match="exists"):
        audited(world, tmp_path / "nowhere", tmp_path / "run")
    with pytest.raises(ConfigError, match="twice"):
        audited(world, world / "train", tmp_path / "run")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.png").write_bytes(b"not a picture")
    with pytest.raises(DataError, match="no readable image"):
        audited(world, tmp_path / "broken", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_one_image_is_enough_to_run_and_too_little_to_pass(
    world: Path, unrelated: list[np.ndarray], tmp_path: Path
) -> None:
    record = audited(world, write_made(tmp_path / "made", unrelated[:1]), tmp_path / "run")
    assert record.judgement is not None and record.judgement.outcome == "cannot conclude"
    assert record.copies[0].copy_rate.n == 1 and record.cliques[0].unscored is not None


def test_a_held_out_set_that_was_trained_on_is_refused(
    world: Path, unrelated: list[np.ndarray], tmp_path: Path
) -> None:
    shutil.copytree(world / "holdout", tmp_path / "holdout")
    for file in sorted((world / "train").glob("*.png"))[:5]:
        shutil.copy(file, tmp_path / "holdout" / file.name)
    made = write_made(tmp_path / "made", unrelated)
    with pytest.raises(ConfigError, match="also in the training set"):
        audited(world, made, tmp_path / "run", data={"holdout": str(tmp_path / "holdout")})


def test_held_out_images_among_the_images_are_refused(world: Path, unrelated: list[np.ndarray], tmp_path: Path) -> None:
    """They would outvote copies: each is a perfect hit of a held-out item."""
    planted = pictures_of(world / "holdout", 2)
    with pytest.raises(ConfigError, match="2 of 120 images that are held-out images"):
        open_given(given_config(world, write_made(tmp_path / "two", planted + unrelated[:118])))
    assert open_given(given_config(world, write_made(tmp_path / "one", planted[:1] + unrelated))).given is not None


def test_mixed_sizes_are_refused_or_resized(world: Path, unrelated: list[np.ndarray], tmp_path: Path) -> None:
    larger = [np.kron(picture, np.ones((2, 2), np.uint8)) for picture in unrelated]
    made = write_made(tmp_path / "mixed", unrelated[:60] + larger[60:])
    with pytest.raises(DataError, match=r"0060.*16x16.*8x8.*first of the images.*resize"):
        audited(world, made, tmp_path / "run")
    alike = write_made(tmp_path / "larger", larger)  # all of them, but not of the training set's size
    with pytest.raises(DataError, match=r"train-0000.*8x8.*16x16.*first of the images"):
        audited(world, alike, tmp_path / "run")
    record = audited(world, alike, tmp_path / "resized", data={"resize": True})
    assert record.images is not None and record.images.shape == [1, 16, 16]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"membership": {"enabled": True}}, "membership.enabled takes a checkpoint"),
        ({"regime": {"probes": 64}}, "regime.probes takes a checkpoint"),
        ({"generation": {"steps": 5}}, "generation .* takes a checkpoint"),
        ({"prompts": {"seeds": 2}}, "prompts takes a checkpoint"),
        ({"checkpoint": {"path": "x"}}, "Give one of them"),
    ],
)
def test_what_takes_a_checkpoint_is_refused(world: Path, change: dict[str, dict[str, object]], line: str) -> None:
    with pytest.raises(ConfigError, match=line):
        given_config(world, world / "train", **change)


def test_other_commands_say_that_they_take_a_checkpoint(
    world: Path, unrelated: list[np.ndarray], tmp_path: Path
) -> None:
    config = given_config(world, write_made(tmp_path / "made", unrelated))
    with pytest.raises(ConfigError, match="expected a checkpoint"):
        auditor.plan(config)
    with pytest.raises(ConfigError, match="expected a checkpoint"):
        auditor.extract(config, ["train-0001"], tmp_path / "run")
    inputs = open_given(config)
    with pytest.raises(CheckpointError, match="Audit the checkpoint that made them"):
        inputs.checkpoint.denoiser.schedule  # noqa: B018  # asked for is enough


def test_the_command_audits_gates_looks_up_and_resumes(
    world: Path, unrelated: list[np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = write_made(tmp_path / "made", noisy(pictures_of(world / "train", 8)) + unrelated)
    (tmp_path / "prompts.csv").write_text("file_name,prompt,seed\n0000.png,a shirt,1\n0001.png,a shoe,2\n")
    begin = ["run", "--images", str(made), "--metadata", str(tmp_path / "prompts.csv"), "--split", "group"]
    begin += ["--train", str(world / "train"), "--holdout", str(world / "holdout"), "--run-dir", str(tmp_path / "r")]
    assert main(begin) == 0
    found = auditor.read_record(tmp_path / "r").copies[0]
    assert {item.prompt for item in found.evidence if item.tier != "suspect"} == {"a shirt", "a shoe", None}
    assert {one.prompt for one in found.copied_prompts} == {"a shirt", "a shoe"}
    assert (found.copy_rate.n, found.copy_rate.unit) == (128, "share of prompts, and images without one")
    first = (tmp_path / "r" / "report.md").read_bytes()
    assert b"2 prompts led to a copy" in first and b"captions of training images" not in first
    assert main(begin) == 0
    assert (tmp_path / "r" / "report.md").read_bytes() == first
    assert main(["gate", str(tmp_path / "r")]) == 1
    assert main(["lookup", str(tmp_path / "r"), "train-0003", "train-0050", "--json"]) == 0
    assert main(["run", "--train", str(world / "train"), "--holdout", str(world / "holdout")]) == 4
    assert main(["run", "--images", str(made)]) == 4
    said = capsys.readouterr().err
    assert "nothing to audit" in said and "images without --train and --holdout" in said
