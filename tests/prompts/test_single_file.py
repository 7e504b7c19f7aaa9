"""`auditor prompts` on checkpoints and bases in one file, described by the folder that --config names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import auditor
from auditor.cli.main import main
from auditor.errors import EXIT_USAGE, ConfigError
from auditor.ranking_config import RankingConfig
from tests.flow_files import save_flow_file, save_sd3_with_identity
from tests.single_files import save_single_file
from tests.text_pipelines import PROMPTS, save_sd

QUICK = ["--detectors", "magnitude,consistency", "--seeds", "2", "--salt", "single", "--images", "none"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A fine-tune and its base, one file each, and the folder of their configuration, without weights."""
    root = tmp_path_factory.mktemp("files")
    base, config = save_single_file(save_sd(root / "folder"), root)
    tensors = load_file(base)
    first = "model.diffusion_model.input_blocks.0.0.weight"
    save_file({**tensors, first: 1.1 * tensors[first]}, root / "tuned.safetensors")
    return root / "tuned.safetensors", base, config


def run(*arguments: str | Path, out: Path) -> dict[str, Any]:
    listed = out.parent / "prompts.txt"
    listed.write_text("\n".join(PROMPTS))
    checkpoint, *rest = map(str, arguments)
    assert main(["prompts", checkpoint, str(listed), "--out", str(out), *QUICK, *rest]) == 0
    found: dict[str, Any] = json.loads((out / "prompts.json").read_text())
    return found


def test_fine_tune_and_base_in_single_files(files: tuple[Path, Path, Path], tmp_path: Path) -> None:
    tuned, base, config = files
    ranking = run(tuned, "--config", config, "--base", base, out=tmp_path / "out")
    for entry, file in ((ranking["checkpoint"], tuned), (ranking["base"]["checkpoint"], base)):
        assert entry["path"] == str(file) and f"unet, vae, text_encoder from {file.name}" in entry["notes"]
    assert ranking["checkpoint"]["digest"] != ranking["base"]["checkpoint"]["digest"]
    (report,) = (tmp_path / "out").glob("prompts.md")
    told = report.read_text().replace("\\", "")
    assert all(f"unet, vae, text_encoder from {file.name}" in told for file in (tuned, base))


def test_a_folder_beside_a_base_in_a_single_file(files: tuple[Path, Path, Path], tmp_path: Path) -> None:
    _, base, config = files
    ranking = run(base.parent / "folder", "--config", config, "--base", base, out=tmp_path / "out")
    scores = [one["scores"]["magnitude"]["score"] for one in ranking["prompts"]]
    on_base = [one["base"]["magnitude"]["score"]["score"] for one in ranking["prompts"]]
    torch.testing.assert_close(torch.tensor(scores), torch.tensor(on_base))  # it is the same network


def test_a_transformer_alone_is_ranked_with_its_folders_encoders(tmp_path: Path) -> None:
    folder = save_sd3_with_identity(tmp_path / "folder")
    file, config = save_flow_file(folder, tmp_path, ())
    ranking = run(file, "--config", config, out=tmp_path / "out")
    (note, *_) = ranking["checkpoint"]["notes"]
    assert note.startswith("transformer from model.safetensors; vae, text_encoder, ")


def test_configurations_that_are_missing_or_idle_are_refused(files: tuple[Path, Path, Path], tmp_path: Path) -> None:
    tuned, base, config = files
    folder = base.parent / "folder"
    refused: list[tuple[Path, RankingConfig]] = [
        (tuned, RankingConfig()),
        (folder, RankingConfig(config=config)),
        (folder, RankingConfig(config=config, base=folder)),
        (folder, RankingConfig(base=base)),
    ]
    for checkpoint, asked in refused:
        with pytest.raises(ConfigError, match="config"):
            auditor.rank_prompts(checkpoint, PROMPTS, tmp_path / "out", asked=asked)
    listed = tmp_path / "prompts.txt"
    listed.write_text("a prompt")
    assert main(["prompts", str(tuned), str(listed), "--out", str(tmp_path / "out")]) == EXIT_USAGE
