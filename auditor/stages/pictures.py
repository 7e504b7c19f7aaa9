"""The pictures that stand as evidence, as PNG files in the run directory."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from auditor.data import pixels_of
from auditor.stages.generate import Generations
from auditor.stages.inputs import Images, Inputs
from auditor.store.digest import value_digest
from auditor.store.kinds import KindEvidence
from auditor.store.record import Competition, CopyEvidence

SAMPLES = 24  # generations shown as an impression of what the checkpoint makes


def write_pictures(run: Path, inputs: Inputs, generations: Generations, found: list[Competition]) -> list[Competition]:
    """The same competitions, with the paths of the pictures that show their evidence."""
    evidence = [item for competition in found for item in competition.evidence]
    closer = [item for competition in found for search in competition.closer for item in search.evidence]
    beside = {item.beside for item in closer if item.beside and item.beside_training}
    train = save_images(
        run, "train", inputs.train, {item.id for item in evidence} | {item.id for item in closer} | beside
    )
    nearest = {item.nearest_holdout.id for item in evidence if item.nearest_holdout}
    nearest |= {item.beside for item in closer if item.beside and not item.beside_training}
    holdout = save_images(run, "holdout", inputs.holdout, nearest)
    made = save_generations(run, generations, {item.probe for item in evidence} | {item.probe for item in closer})

    def illustrated(item: CopyEvidence) -> CopyEvidence:
        neighbour = item.nearest_holdout
        if neighbour is not None:
            neighbour = neighbour.model_copy(update={"image": holdout[neighbour.id]})
        update = {"image": train[item.id], "generation_image": made[item.probe], "nearest_holdout": neighbour}
        return item.model_copy(update=update)

    def looked_at(item: KindEvidence) -> KindEvidence:
        other = item.beside and (train if item.beside_training else holdout)[item.beside]
        update = {"image": train[item.id], "generation_image": made[item.probe], "beside_image": other}
        return item.model_copy(update=update)

    def shown(competition: Competition) -> Competition:
        searches = [
            search.model_copy(update={"evidence": [looked_at(item) for item in search.evidence]})
            for search in competition.closer
        ]
        update = {"evidence": [illustrated(item) for item in competition.evidence], "closer": searches}
        return competition.model_copy(update=update)

    return [shown(competition) for competition in found]


def write_samples(run: Path, generations: Generations) -> list[str]:
    """A few generations, evenly spaced over the probes: their paths."""
    probes = generations.probe
    chosen = probes[np.linspace(0, len(probes) - 1, min(SAMPLES, len(probes))).astype(int)]
    return list(save_generations(run, generations, (int(probe) for probe in chosen)).values())


def save_images(run: Path, folder: str, images: Images, ids: Iterable[str]) -> dict[str, str]:
    """Path by id, relative to the run directory; files are named by a digest, since ids may be any text."""
    names = sorted(ids)
    if not names:
        return {}
    paths = {name: f"pictures/{folder}/{value_digest(name)[:16]}.png" for name in names}
    for name, pixels in zip(names, pixels_of(images.source, names), strict=True):
        save_png(run / paths[name], pixels)
    return paths


def save_generations(run: Path, generations: Generations, probes: Iterable[int]) -> dict[int, str]:
    """Path by probe number, relative to the run directory."""
    row = {int(probe): position for position, probe in enumerate(generations.probe)}
    paths = {probe: f"pictures/generations/{probe:06d}.png" for probe in sorted(set(probes))}
    for probe, path in paths.items():
        save_png(run / path, generations.pixels(row[probe]))
    return paths


def save_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    """UInt8[C H W] as a PNG file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0))).save(path)
