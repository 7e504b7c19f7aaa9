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
    assert "can be certified" in capsys.readouterr().out.replace("\n", " ")


def test_unreadable_images_are_counted_not_dropped(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for file in sorted((inputs / "train").iterdir())[:2]:
        file.write_bytes(file.read_bytes()[:30])
    assert main([*command(inputs), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["unreadable"] == 2


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
    ],
)
def test_usage(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 4
    printed = capsys.readouterr()
    assert words in printed.err
    assert "Traceback" not in printed.err


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

    def interrupted(config: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(auditor.planning, "plan", interrupted)
    assert main(command(sound)) == 130
