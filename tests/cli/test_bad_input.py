"""Every bad input ends with one line naming subject, value, expectation and remedy, and with the right exit code."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from auditor.cli.main import main
from tests.micro import write_micro_inputs

WEIGHTS = Path("checkpoint") / "unet" / "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Inputs without fault."""
    folder = tmp_path_factory.mktemp("sound")
    write_micro_inputs(folder)
    return folder


@pytest.fixture
def inputs(sound: Path, tmp_path: Path) -> Path:
    """A copy of the sound inputs, to be spoilt."""
    shutil.copytree(sound, tmp_path / "inputs")
    return tmp_path / "inputs"


def command(folder: Path, *more: str) -> list[str]:
    sets = ["--train", str(folder / "train"), "--holdout", str(folder / "holdout")]
    return ["plan", str(folder / "checkpoint"), *sets, "--probes", "8", "--steps", "2", "--batch-size", "8", *more]


def no_checkpoint(folder: Path) -> None:
    shutil.rmtree(folder / "checkpoint")


def no_images(folder: Path) -> None:
    shutil.rmtree(folder / "train")


def empty_folder(folder: Path) -> None:
    shutil.rmtree(folder / "holdout")
    (folder / "holdout").mkdir()


def only_corrupt_images(folder: Path) -> None:
    for file in (folder / "train").iterdir():
        file.write_bytes(file.read_bytes()[:30])


def colour(folder: Path) -> None:
    Image.new("RGB", (8, 8), (250, 3, 3)).save(folder / "train" / "colour.png")


def large(folder: Path) -> None:
    Image.new("L", (9, 8)).save(folder / "holdout" / "large.png")


def overlap(folder: Path) -> None:
    for file in list((folder / "train").iterdir())[:3]:
        shutil.copy(file, folder / "holdout" / f"again-{file.name}")


def few_held_out(folder: Path) -> None:
    for file in sorted((folder / "holdout").iterdir())[60:]:
        file.unlink()


def nan_weights(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    name = sorted(tensors)[0]
    tensors[name] = np.full_like(tensors[name], np.nan)
    save_file(tensors, folder / WEIGHTS)


def truncated(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-100])


def pickled(folder: Path) -> None:
    (folder / "checkpoint" / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"\x80\x04N.")


def python_code(folder: Path) -> None:
    (folder / "checkpoint" / "pipeline.py").write_text("print('hello')\n")


def unknown_class(folder: Path) -> None:
    index = json.loads((folder / "checkpoint" / "model_index.json").read_text())
    (folder / "checkpoint" / "model_index.json").write_text(json.dumps({**index, "_class_name": "EvilPipeline"}))


def unknown_prediction(folder: Path) -> None:
    file = folder / "checkpoint" / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "prediction_type": "flow"}))


def odd_size(folder: Path) -> None:
    """A sample size that two halvings do not bring back: only calling the network shows it."""
    file = folder / "checkpoint" / "unet" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "sample_size": 9}))


def change_scheduler(folder: Path, **entries: object) -> None:
    file = folder / "checkpoint" / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **entries}))


def betas_that_are_text(folder: Path) -> None:
    change_scheduler(folder, trained_betas="abc")


def short_schedule(folder: Path) -> None:
    change_scheduler(folder, num_train_timesteps=50)


def no_signal_at_the_start(folder: Path) -> None:
    change_scheduler(folder, rescale_betas_zero_snr=True)


def keep_training(folder: Path, count: int) -> None:
    for file in sorted((folder / "train").iterdir())[count:]:
        file.unlink()


def one_training_image(folder: Path) -> None:
    keep_training(folder, 1)


def three_training_images(folder: Path) -> None:
    keep_training(folder, 3)


def black_training_images(folder: Path) -> None:
    for file in (folder / "train").iterdir():
        Image.new("L", (8, 8)).save(file)


FAULTS: list[tuple[Callable[[Path], None], int, str]] = [
    (no_checkpoint, 4, "checkpoint"),
    (no_images, 4, "train"),
    (empty_folder, 4, "holdout"),
    (only_corrupt_images, 2, "none readable"),
    (colour, 2, "colour"),
    (large, 2, "large"),
    (overlap, 4, "3 of 263 images that are also in the training set"),
    (few_held_out, 4, "got 60; expected at least 200"),
    (nan_weights, 2, "NaN"),
    (truncated, 5, "safetensors"),
    (pickled, 5, "diffusion_pytorch_model.bin"),
    (python_code, 5, "pipeline.py"),
    (unknown_class, 5, "EvilPipeline"),
    (unknown_prediction, 2, "flow"),
    (odd_size, 2, "a network that takes and gives 1x9x9"),
    (betas_that_are_text, 2, "trained_betas: got 'abc'; expected 200 numbers"),
    (short_schedule, 4, "got 50 training times"),
    (no_signal_at_the_start, 4, "no signal at t=199"),
    (one_training_image, 4, "got 1 distinct images; expected at least 2"),
    (three_training_images, 4, "got 1 members for calibration and 2 for the report, of 3 images"),
    (black_training_images, 4, "got 1 distinct images; expected at least 2"),
]


@pytest.mark.parametrize(("spoil", "code", "words"), FAULTS, ids=[fault[0].__name__ for fault in FAULTS])
def test_fault(
    inputs: Path, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], None], code: int, words: str
) -> None:
    spoil(inputs)
    assert main(command(inputs)) == code
    printed = capsys.readouterr()
    assert words in printed.err
    assert printed.err.count("\n") == 1 and "Traceback" not in printed.err
    assert ": got " in printed.err and "; expected " in printed.err


def test_sound_inputs_are_accepted(sound: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The negative control of every fault above."""
    assert main(command(sound)) == 0
    words = " ".join(capsys.readouterr().out.split())  # lines are wrapped and padded
    assert "copies: floor" in words and "at FDR 0.1" in words


def test_unreadable_images_are_counted_not_dropped(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for file in sorted((inputs / "train").iterdir())[:2]:
        file.write_bytes(file.read_bytes()[:30])
    assert main([*command(inputs), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["unreadable"] == 2


def test_a_plan_does_not_promise_an_excess_that_no_auc_can_have(
    inputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(inputs)) == 0
    assert "an excess of 0." in capsys.readouterr().out
    keep_training(inputs, 6)
    more = ["--set", "membership.calibration=0.7"]
    assert main(command(inputs, *more)) == 0
    assert "no excess is found with 80% power" in capsys.readouterr().out


def test_other_sizes_are_accepted_with_resize(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    colour(inputs)
    large(inputs)
    assert main(command(inputs, "--resize")) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "nowhere", "--train", "t", "--holdout", "h"], "nowhere"),
        (["run", "checkpoint"], "both image sets"),
        (["run", "checkpoint", "--train", "t"], "both image sets"),
        (["plan", "missing.toml"], "auditor init"),
        (["run", "x", "--train", "t", "--holdout", "h", "--set", "copies.alpha"], "KEY=VALUE"),
        (["run", "x", "--train", "t", "--holdout", "h", "--set", "copies.alfa=0.1"], "copies.alfa: got an unknown key"),
        (["run", "x", "--train", "t", "--holdout", "h", "--encoder", "vgg"], "vgg"),
        (["run", "--sampler", "ddpm", "x"], "ddpm"),
        (["gate", "nowhere"], "no run"),
        (["report", "nowhere"], "no run"),
        (["frobnicate"], "frobnicate"),
        (["run", "x", "--train", "t", "--holdout", "h", "--set", "data.train.x=1"], "train, which is no section"),
        (["run", "x", "--train", "t", "--holdout", "h", "--set", "encoders=[]"], "encoders: got []"),
        (
            ["run", "x", "--train", "t", "--holdout", "h", "--set", "generation.guidance_scale=inf"],
            "guidance_scale: got inf",
        ),
        ([], "\n  gate  "),
    ],
)
def test_usage(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 4
    printed = capsys.readouterr()
    assert words in printed.err
    assert "Traceback" not in printed.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--steps", "201"], "generation.steps: got 201; expected at most 200"),
        (["--set", "generation.guidance_scale=2"], "a checkpoint without a null label"),
    ],
)
def test_options_that_the_checkpoint_does_not_allow(
    sound: Path, capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    assert main([*command(sound), *options]) == 4
    assert words in capsys.readouterr().err


def test_a_short_schedule_is_accepted_without_membership(inputs: Path) -> None:
    short_schedule(inputs)
    assert main([*command(inputs), "--no-membership"]) == 0


@pytest.mark.parametrize("arguments", [["gate", "x" * 300], ["run", "x" * 300 + ".toml"], ["scan", "x" * 300]])
def test_what_the_system_refuses_is_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1 and ": got File name too long; expected " in printed


@pytest.mark.parametrize("kind", ["run", "split"])
def test_a_file_in_place_of_a_folder(
    sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    run = ["run", *command(sound)[1:], "--run-dir", str(file)]
    assert main(run if kind == "run" else ["split", str(sound / "train"), "--out", str(file)]) == 4
    assert "expected an empty folder" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[]"])
def test_a_damaged_record(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes) -> None:
    (tmp_path / "record.json").write_bytes(content)
    assert main(["gate", str(tmp_path)]) == 4
    assert "expected a record of schema 1" in capsys.readouterr().err


def test_a_comparison_cannot_be_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "comparison.json").write_text("{}")
    assert main(["gate", str(tmp_path)]) == 4
    assert "got a comparison; expected a completed audit. `auditor report` shows it" in capsys.readouterr().err


def test_a_checkpoint_that_makes_nan_is_refused(
    inputs: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Weights that are finite but overflow: only generating shows it."""
    tensors = load_file(inputs / WEIGHTS)
    save_file({name: tensor * np.float32(1e30) for name, tensor in tensors.items()}, inputs / WEIGHTS)
    arguments = ["run", *command(inputs)[1:], "--run-dir", str(tmp_path / "run")]
    assert main(arguments) == 2
    assert "NaN or infinity from every probe" in capsys.readouterr().err


def test_interrupt_ends_with_130(monkeypatch: pytest.MonkeyPatch, sound: Path) -> None:
    import auditor.planning

    def interrupted(config: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(auditor.planning, "plan", interrupted)
    assert main(command(sound)) == 130
