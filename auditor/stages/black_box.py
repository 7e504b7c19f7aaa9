"""An audit without a checkpoint: inputs of images made elsewhere, their positive control, and what cannot be tested."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from auditor.checkpoint.latents import PixelScaling
from auditor.checkpoint.load import LoadedCheckpoint
from auditor.checkpoint.scan import Scan
from auditor.config import AuditConfig
from auditor.data import Geometry, pixels_of
from auditor.data.groups import read_groups
from auditor.diffusion.prediction import PredictionType
from auditor.diffusion.schedule import NoiseSchedule
from auditor.encoders.build import build_encoder
from auditor.errors import CheckpointError, ConfigError, DataError
from auditor.probes import choose, generator
from auditor.stages.given import Given, geometry_of, given_pieces, read_given
from auditor.stages.given_prompts import prompts_of
from auditor.stages.inputs import (
    Images,
    Inputs,
    open_images,
    open_index,
    refuse_few_training,
    refuse_overlap,
)
from auditor.stages.pieces import Piece
from auditor.stages.remembered import remembered
from auditor.stages.slices import slice_sizes
from auditor.store.cliques import CliqueSearch
from auditor.store.digest import value_digest
from auditor.store.given import GivenImages
from auditor.store.record import Checkpoint, Competition
from auditor.store.run_directory import RunDirectory
from auditor.validity.transformations import FAITHFUL

MOST_REAL = 0.01  # share of the images that may be held-out ones, pixel by pixel
CONTROLS, PART = 256, 64  # planted copies in the place of generations, and a piece
NOT_TESTED = [
    "Membership: every attack calls the network, and there is none.",
    "The regime, and agreement with the closed-form memorizer: both take the network's answers to this audit's noise.",
    "Whether the images are all that was made, or were chosen: copies may have been left out, or hidden by a filter.",
    "Whether they were made from independent noise, with one sampler and one model, as the rates and cliques suppose.",
    "Whether prompts and seeds are those that the images were made with: they are taken from what lies beside them.",
    "Other prompts, guidance scales and samplers than those that made these images.",
    "Objects drawn anew in another scene: only what is repeated in its pixels counts as a part.",
    "Attributes of people or groups that could be inferred without a copy.",
]


class NoNetwork:
    """In the place of a denoiser, where there is none: whatever would call it is left out beforehand, or refused."""

    def __init__(self, path: str) -> None:
        self._path = path

    @property
    def prediction_type(self) -> PredictionType:
        """Refused, as everything here."""
        raise self._refusal()

    @property
    def schedule(self) -> NoiseSchedule:
        raise self._refusal()

    @property
    def sample_shape(self) -> tuple[int, int, int]:
        raise self._refusal()

    def __call__(self, x_t: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        raise self._refusal()

    def _refusal(self) -> CheckpointError:
        return CheckpointError(self._path, "images made elsewhere", "a network", "Audit the checkpoint that made them.")


def open_given(config: AuditConfig, run: RunDirectory | None = None) -> Inputs:
    """Open all three sets of images and build the encoders, in the place of :func:`auditor.stages.inputs.open_inputs`.

    Args:
      config: Asks for images.
      run: Whose survey of the sets serves here too; None = survey them.

    Raises:
      ConfigError: Missing paths, sets that overlap, too few held-out images, the images of one of the other sets.
      DataError: No image is readable, or one has another shape than the first of the images.
    """
    asked, data = config.images, config.data
    if asked is None:
        raise ConfigError("images", "none", "images made elsewhere", "Name them, or a checkpoint.")
    for path in (asked.path, data.train, data.holdout):
        if not path.exists():
            raise ConfigError("images", path, "a file or folder that exists", "Correct the path.")
        if path is not asked.path and path.resolve() == asked.path.resolve():
            raise ConfigError("images", f"{path} twice", "images that the model made", "Correct one of the paths.")
    geometry = geometry_of(asked, resize=data.resize)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    shape = {"channels": geometry.channels, "height": geometry.height, "width": geometry.width}
    encoders = [build_encoder(encoder, **shape, device=device) for encoder in config.encoders]
    columns = data.id_column, data.image_column
    index = open_index(config, geometry, encoders, check=run is None)
    with sized_as(str(asked.path), geometry):
        given = read_given(asked, geometry, run)
        known = remembered(run, "train")
        train = open_images(data.train, geometry, *columns, ids=data.train_ids, known=known, index=index)
        known = remembered(run, "holdout")
        holdout = open_images(data.holdout, geometry, *columns, ids=data.holdout_ids, known=known)
    refuse_overlap(train, holdout)
    refuse_real(given, train, holdout)
    refuse_few_training(config, train)
    sizes = slice_sizes(train.info.distinct, holdout.info.distinct, None)
    groups = read_groups(data.groups, train.digests, holdout.digests) if data.groups else {}
    scan = Scan(asked.path, [], given.digest, {}, [], False, {})
    absent = no_checkpoint(given)
    return Inputs(
        scan, absent, device, encoders, train, holdout, sizes, prompts=prompts_of(given), given=given, groups=groups
    )


def refuse_real(given: Given, train: Images, holdout: Images) -> None:
    """No model repeats images pixel by pixel that it never saw; among what it made they would outvote real copies.

    One, or one in a hundred, may be a blank picture that both happen to have.

    Raises:
      ConfigError: More of the images are held-out ones.
    """
    real = set(holdout.digests.values()).difference(train.digests.values())
    found = [name for name in given.ids if given.digests[name] in real]
    if len(found) > max(1, MOST_REAL * len(given.ids)):
        got = f"{len(found)} of {len(given.ids)} images that are held-out images, pixel by pixel (such as {found[0]})"
        raise ConfigError("images", got, "images that the model made", "Remove them, or correct the path.")


@contextmanager
def sized_as(path: str, geometry: Geometry) -> Iterator[None]:
    """Say whose size it is that an image does not have."""
    try:
        yield
    except DataError as error:
        if not error.subject.startswith("image "):
            raise
        said = f"{error.expected}, which the first of the images in {path} has"
        raise DataError(error.subject, error.got, said, error.remedy) from error


def no_checkpoint(given: Given) -> LoadedCheckpoint:
    """What stands in the place of a checkpoint; the record says that there is none."""
    shape = given.geometry.channels, given.geometry.height, given.geometry.width
    info = Checkpoint(
        path=given.source.path, digest=given.digest, files=[], pipeline="none", network="unknown", parameters=0,
        prediction_type="unknown", sample_shape=list(shape), train_timesteps=0, conditional=False,
    )  # fmt: skip
    network = NoNetwork(given.source.path)
    return LoadedCheckpoint(info, network, PixelScaling(shape), None, None, {})


def control_pieces(run: RunDirectory, train: Images, seed: str) -> list[Piece]:
    """Planted copies of training images in the place of generations: the competition must find them out.

    They stand for the closed-form memorizer, which takes a noise schedule. At most 256 distinct training images, drawn
    at random, each under one of the distortions that storing an image does to it.
    """
    chosen = choose(seed, "planted control", train.distinct_ids, CONTROLS)

    def piece(start: int) -> Piece:
        part = chosen[start : start + PART]
        key = {"set": train.info.digest, "ids": value_digest(part), "start": start, "seed": seed}
        return Piece(run, f"planted/{start // PART:05d}", key, len(part), partial(plant_part, train, part, start, seed))

    return [piece(start) for start in range(0, len(chosen), PART)]


def plant_part(train: Images, ids: Sequence[str], start: int, seed: str) -> dict[str, NDArray[Any]]:
    """Some training images, the k-th of all under the k-th distortion."""
    names = list(FAITHFUL)
    probe = np.arange(start, start + len(ids))
    copies = [
        FAITHFUL[names[number % len(names)]](image, generator(seed, "planted control", number))
        for number, image in zip(probe.tolist(), pixels_of(train.source, ids), strict=True)
    ]
    return {"pixels": np.stack(copies), "probe": probe}


def pieces_in_place(run: RunDirectory, inputs: Inputs, seed: str) -> dict[str, list[Piece]]:
    """The images in the place of generations, and planted copies in that of the memorizer's."""
    assert inputs.given is not None
    return {"generations": given_pieces(run, inputs.given), "memorizer": control_pieces(run, inputs.train, seed)}


def not_tested_without_network(given: Given) -> list[str]:
    """What the audit of images alone leaves out."""
    notes = list(NOT_TESTED)
    if any(given.prompts):
        notes += [
            "Whether the prompts favour training images: certification supposes that they were chosen without regard "
            "to which images were trained on.",
            "Whether one prompt brings the same picture again and again: cliques take one image of each prompt.",
        ]
    unknown = sum(name not in given.origins for name in given.ids)
    if unknown:
        notes.append(
            f"Whether images share a prompt or seed: of {unknown:,} neither is known, and each counts for itself."
        )
    return notes


def describe_given(given: Given, competitions: Iterable[Competition], cliques: Iterable[CliqueSearch]) -> GivenImages:
    """The record's entry, with the ids, prompts and seeds of the images that the record names as probes."""
    probes = {item.probe for competition in competitions for item in competition.evidence}
    probes |= {item.probe for one in competitions for search in one.closer for item in search.evidence}
    probes |= {probe for search in cliques for clique in search.cliques for probe in clique.probes}
    return given.describe().model_copy(update={"shown": given.named(probes)})
