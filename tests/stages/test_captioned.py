"""What needs captions says so before anything is spent, and is let through where they are there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from auditor.config import AuditConfig
from auditor.errors import ConfigError
from auditor.stages.inputs import open_inputs
from tests.text_pipelines import save_sd

TRAINING, HELD_OUT = 40, 220


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, rng = tmp_path_factory.mktemp("captioned"), np.random.default_rng(0)
    save_sd(root / "sd")
    for name, count in (("train", TRAINING), ("holdout", HELD_OUT)):
        (root / name).mkdir()
        for number in range(count):
            Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(root / name / f"{number:03}.png")
    return root


def caption(root: Path, training: int, held_out: int) -> None:
    """Captions for the first so many images of each set."""
    for name, count in (("train", training), ("holdout", held_out)):
        rows = [json.dumps({"file_name": f"{number:03}.png", "text": f"picture {number}"}) for number in range(count)]
        (root / name / "metadata.jsonl").write_text("\n".join(rows))


def config(root: Path, attacks: list[str]) -> AuditConfig:
    membership = {"attacks": attacks, "members": TRAINING, "nonmembers": 60}
    return AuditConfig.model_validate(
        {
            "checkpoint": {"path": root / "sd"},
            "data": {"train": root / "train", "holdout": root / "holdout"},
            "membership": membership,
        }
    )


@pytest.mark.parametrize(
    ("training", "held_out", "named"), [(TRAINING - 1, HELD_OUT, "train"), (TRAINING, 0, "holdout")]
)
def test_clid_without_captions_is_refused_before_it_begins(
    root: Path, training: int, held_out: int, named: str
) -> None:
    caption(root, training, held_out)
    with pytest.raises(ConfigError, match=rf"clid, and \d+ of \d+ images of .*{named} without caption"):
        open_inputs(config(root, ["loss", "clid"]))
    open_inputs(config(root, ["loss"]))


def test_clid_with_captions_is_let_through(root: Path) -> None:
    caption(root, TRAINING, HELD_OUT)
    inputs = open_inputs(config(root, ["loss", "clid"]))
    assert inputs.train.uncaptioned == inputs.holdout.uncaptioned == 0
