"""Cliques of the fixtures: what a memorising checkpoint repeats are its training images; a generalising one repeats
nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import auditor
from auditor.cli.main import main
from auditor.errors import ConfigError
from auditor.store.cliques import CliqueSearch
from tests.single_files import save_single_file
from tests.text_pipelines import save_sd


def search(fixtures: Path, name: str, run_dir: Path, probes: int) -> list[CliqueSearch]:
    changes = {"generation.probes": probes, "generation.steps": 12, "encoders": [{"name": "pixel"}]}
    config = auditor.read_cliques(fixtures / name / "audit.toml", changes)
    return auditor.find_cliques(config, run_dir).searches


def nearest_training(fixtures: Path, picture: Path) -> tuple[str, float, float]:
    """Id and correlation of the nearest of the memorised images, and the correlation of the next."""
    files = sorted((fixtures / "memorized" / "train").glob("*.png"))
    images = np.stack([np.asarray(Image.open(file), np.float64).ravel() for file in files])
    asked = np.asarray(Image.open(picture), np.float64).ravel()
    found = np.array([np.corrcoef(asked, image)[0, 1] for image in images])
    first, second = np.argsort(-found)[:2]
    return files[first].stem, float(found[first]), float(found[second])


def test_what_comes_back_is_what_was_memorised(fixtures: Path, tmp_path: Path) -> None:
    """Against ground truth: of the pictures found without a training set, nearly all show one image of it."""
    searches = search(fixtures, "memorized", tmp_path / "run", 640)
    assert [one.measure for one in searches] == ["patched pixels", "pixel"]
    found = searches[0]
    assert (found.pictures or 0) >= 10 and found.checked is None
    ids, pure = set(), 0
    for clique in found.cliques:
        named = [nearest_training(fixtures, tmp_path / "run" / path) for path in clique.images]
        pure += len({name for name, _, _ in named}) == 1 and all(near > other + 0.01 for _, near, other in named)
        ids.add(named[0][0])
    assert pure >= 0.95 * len(found.cliques) and len(ids) == len(found.cliques)


def test_a_generalising_checkpoint_repeats_nothing(fixtures: Path, tmp_path: Path) -> None:
    searches = search(fixtures, "general-a", tmp_path / "run", 320)
    assert [one.pictures for one in searches] == [0, 0] and searches[0].published == 0
    page = (tmp_path / "run" / "cliques.html").read_text()
    assert "No picture comes back" in page and "<script" not in page


def test_the_command_goes_on_and_refuses_another_search(fixtures: Path, tmp_path: Path) -> None:
    begin = ["cliques", str(fixtures / "memorized" / "checkpoint"), "--run-dir", str(tmp_path / "r"), "--steps", "2"]
    assert main([*begin, "--probes", "8"]) == 0
    before = (tmp_path / "r" / "cliques.md").read_text()
    assert main([*begin, "--probes", "8"]) == 0
    assert (tmp_path / "r" / "cliques.md").read_text() == before and "could not be told" in before
    assert main([*begin, "--probes", "9"]) == 4


@pytest.mark.parametrize("changes", [{"generation.probes": 0}, {"generation.nonsense": 1}, {"encoders": []}])
def test_bad_values_are_named(fixtures: Path, changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"generation|encoders"):
        auditor.read_cliques(fixtures / "memorized" / "audit.toml", changes)


def test_adapters_and_single_files_are_looked_through(tmp_path: Path) -> None:
    folder, draw = save_sd(tmp_path / "folder"), torch.Generator().manual_seed(0)
    file, description = save_single_file(folder, tmp_path)
    layer = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
    factors = {f"{layer}.lora_A.weight": (4, 8), f"{layer}.lora_B.weight": (8, 4)}
    adapter = tmp_path / "lora.safetensors"
    save_file({name: torch.randn(shape, generator=draw) for name, shape in factors.items()}, adapter)
    found = []
    for more in ([folder], [file, "--config", description], [folder, "--adapter", adapter]):
        out = tmp_path / str(len(found))
        quick = ["--probes", "4", "--steps", "2", "--salt", "cliques", "--images", "none", "--run-dir", str(out)]
        assert main(["cliques", *map(str, more), *quick]) == 0
        found.append(json.loads((out / "cliques.json").read_text())["checkpoint"])
    plain, single, adapted = (" ".join(one["notes"]) for one in found)
    assert f"from {file.name}" in single and f"from {file.name}" not in plain
    assert "adapter" in adapted and "adapter" not in plain
    assert len({one["digest"] for one in found}) == 3
