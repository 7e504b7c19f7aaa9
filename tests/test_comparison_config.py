"""compare.toml: names, defaults, and what is refused before anything is opened."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from auditor.cli.compare import comparison
from auditor.cli.init import template
from auditor.comparison_config import (
    AttributesConfig,
    ComparedData,
    ComparedGeneration,
    ComparedPrompts,
    ComparisonConfig,
    ModelConfig,
    TasksConfig,
    read_comparison,
    validate_comparison,
)
from auditor.errors import ConfigError


def model(name: str, **more: object) -> dict[str, object]:
    return {"checkpoint": f"{name}/checkpoint", **more}


def test_names_are_the_folders_own():
    config = validate_comparison({"models": [model("a"), {"checkpoint": "b", "name": "second"}]}, "test")
    assert config.names() == ["a", "second"]


def test_paths_are_taken_from_the_file(tmp_path: Path):
    file = tmp_path / "deep" / "compare.toml"
    file.parent.mkdir()
    file.write_text('[[models]]\ncheckpoint = "../a"\ntrain = "t"\nids = "t.txt"\n[data]\nholdout = "h"\n')
    config = read_comparison(file)
    assert config.models[0].checkpoint == tmp_path / "a"
    assert config.models[0].ids == tmp_path / "deep" / "t.txt"
    assert config.data.holdout == tmp_path / "deep" / "h"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"models": []}, "models"),
        ({"models": [model("a"), model("a")]}, "called 'a'"),
        ({"models": [model("a", base="b")]}, "no other model"),
        ({"models": [model("a", base="a")]}, "no other model"),
        ({"models": [model("a", ids="x.txt")]}, "without a training set"),
        ({"models": [model("a", train="t")], "curve": "step"}, "a has no step"),
        ({"models": [model("a", base="b"), model("b")]}, "no training set"),
        ({"models": [model("a")], "curve": "size"}, "neither size nor training set"),
        ({"models": [model("a")], "generation": {"samplers": ["ddim", "ddim"]}}, "listed twice"),
        ({"models": [model("a")], "encoders": [{"name": "pixel"}, {"name": "pixel"}]}, "listed twice"),
        ({"models": [model("a")], "attributes": {"prompts": ["a shoe"]}}, "clip"),
        ({"models": [model("a")], "generation": {"probes": 1}}, "generation.probes"),
        ({"models": [model("a")], "stpes": 1}, "stpes: got an unknown key; .*`auditor init --compare`"),
    ],
)
def test_what_cannot_be_compared_is_refused(raw, message):
    with pytest.raises(ConfigError, match=message):
        validate_comparison(raw, "test")


def test_training_sets_on_the_command_line():
    targets = (Path("a"), Path("b"))
    one = comparison(targets, {"train": (Path("t"),)})
    each = comparison(targets, {"train": (Path("t"), Path("u"))})
    assert [m.train for m in one.models] == [Path("t"), Path("t")]
    assert [m.train for m in each.models] == [Path("t"), Path("u")]
    with pytest.raises(ConfigError, match="3 training sets for 2 checkpoints"):
        comparison(targets, {"train": (Path("t"),) * 3})


def test_options_win_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "compare.toml"
    file.write_text('[[models]]\ncheckpoint = "a"\n[generation]\nprobes = 64\nsteps = 20\n')
    monkeypatch.chdir(tmp_path)
    config = comparison((file,), {"probes": 32, "holdout": Path("h"), "samplers": ("heun", "ddim")})
    assert (config.generation.probes, config.generation.steps) == (32, 20)
    assert config.generation.samplers == ["heun", "ddim"]
    assert config.data.holdout == tmp_path / "h"
    assert config.models[0].checkpoint == tmp_path / "a"
    with pytest.raises(ConfigError, match="the file alone"):
        comparison((file, Path("b")), {})


def test_the_file_is_judged_with_the_options_over_it(tmp_path: Path):
    """Prompts need a clip encoder, which the options may name; a section that is none is refused, not merged."""
    file = tmp_path / "compare.toml"
    file.write_text('[[models]]\ncheckpoint = "a"\n[attributes]\nprompts = ["a shoe"]\n')
    config = comparison((file,), {"encoders": ("clip=local-dir:c",)})
    assert config.encoders[0].model == f"local-dir:{Path.cwd() / 'c'}"
    assert config.models[0].checkpoint == tmp_path / "a"
    with pytest.raises(ConfigError, match="clip"):
        comparison((file,), {})
    file.write_text('generation = 3\n[[models]]\ncheckpoint = "a"\n')
    with pytest.raises(ConfigError, match="generation"):
        comparison((file,), {"probes": 32})


def test_the_template_states_every_default():
    """Commented-out keys included, the printed file is the default configuration, so that it cannot go stale."""
    written = template("compare")
    stated = validate_comparison(tomllib.loads(written), "template")
    assert stated == validate_comparison({"models": [{"checkpoint": "checkpoint"}]}, "least")
    uncommented = re.sub(r"^# (?=\w+ = )", "", written, flags=re.MULTILINE)
    keys = set(re.findall(r"^(\w+) = ", uncommented, re.MULTILINE))
    sections = (
        ComparisonConfig, ModelConfig, ComparedData, ComparedGeneration, ComparedPrompts, TasksConfig, AttributesConfig,
    )  # fmt: skip
    named = {name for section in sections for name in section.model_fields}
    assert named - keys == {"models", "data", "generation", "encoders", "tasks", "attributes"}
    assert keys - named == set()
