"""Images made elsewhere, for tests: folders of 8x8 pictures, of which some are copies of training images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from auditor.config import AuditConfig, validate
from tests.micro import write_picture

Picture = np.ndarray


def pictures_of(folder: Path, count: int | None = None) -> list[Picture]:
    """The first pictures of a folder, UInt8[H W] each."""
    return [np.asarray(Image.open(file)) for file in sorted(folder.glob("*.png"))[:count]]


def strangers(folder: Path, count: int, seed: int) -> list[Picture]:
    """Pictures of the kind of the micro-audit's that are in neither of its sets."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        folder.mkdir(parents=True, exist_ok=True)
        write_picture(folder / f"{number:04d}.png", rng)
    return pictures_of(folder)


def write_made(folder: Path, pictures: list[Picture], origins: list[dict[str, object]] | None = None) -> Path:
    """Pictures as 0000.png and so on, with what is known of each beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / f"{number:04d}.png")
        if origins is not None:
            (folder / f"{number:04d}.json").write_text(json.dumps(origins[number]))
    return folder


def given_config(world: Path, made: Path, **changes: dict[str, object]) -> AuditConfig:
    """The audit of a folder of images against the sets of the micro-audit below ``world``."""
    sections: dict[str, dict[str, object]] = {
        "images": {"path": str(made)},
        "data": {"train": str(world / "train"), "holdout": str(world / "holdout"), "split": "group"},
        "generation": {"salt": "micro"},
        "copies": {"closer": 0},
    }
    for name, update in changes.items():
        sections[name] = {**sections.get(name, {}), **update}
    return validate(sections, "given")
