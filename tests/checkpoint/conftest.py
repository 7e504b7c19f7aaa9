"""Small random-weight pipelines of each family, saved as users have them."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.image_pipelines import save_dit, save_ldm, save_score_sde, save_unet


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One folder per family, not to be changed."""
    builders = {"ddpm": save_unet, "score_sde": save_score_sde, "dit": save_dit, "ldm": save_ldm}
    root = tmp_path_factory.mktemp("families")
    return {name: build(root / name) for name, build in builders.items()}


@pytest.fixture
def ddpm(saved: dict[str, Path], tmp_path: Path) -> Path:
    """A fresh DDPM folder that the test may damage."""
    return shutil.copytree(saved["ddpm"], tmp_path / "ddpm")


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Saves a UNet pipeline with the given scheduler, pipeline class and network options."""
    return functools.partial(save_unet, tmp_path / "saved")
