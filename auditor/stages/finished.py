"""A finished audit opened again from its run directory, without its checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditor.config import AuditConfig, EncoderConfig
from auditor.data import Geometry, open_source, select, survey
from auditor.encoders.base import Encoder, EncoderSpec
from auditor.encoders.build import build_encoder
from auditor.errors import AuditError, ConfigError, DataError
from auditor.indexing.training import TrainingIndex
from auditor.search.rows import Rows, ShardFile, Stacked
from auditor.stages.embed import named
from auditor.stages.remembered import remember, remembered
from auditor.store.record import ImageSet, Record
from auditor.store.run_directory import RunDirectory


@dataclass(frozen=True)
class AuditedSet:
    """Ids and pixel digests of one of the audit's sets, in the order of its embeddings."""

    ids: list[str]
    digests: list[bytes]

    def rows_by_digest(self) -> dict[bytes, list[int]]:
        """Rows of each distinct image."""
        rows: dict[bytes, list[int]] = {}
        for row, digest in enumerate(self.digests):
            rows.setdefault(digest, []).append(row)
        return rows


@dataclass(frozen=True)
class Finished:
    """What can be asked of a finished audit."""

    run: RunDirectory
    record: Record
    config: AuditConfig
    geometry: Geometry
    train: AuditedSet
    holdout: AuditedSet
    probe: NDArray[np.int64]  # [G] number of each generation's probe

    def vectors(self, encoder: str, part: str) -> Rows:
        """Embeddings of ``train``, ``holdout`` or ``generations`` under an encoder, Float32[N D], read where they lie.

        Raises:
          ConfigError: They are no longer in the run directory, nor in the index that it was run with.
          DataError: They are not one row per image.
        """
        folder = self.run.path / "embed" / encoder / part
        rows = {"train": len(self.train.ids), "holdout": len(self.holdout.ids), "generations": len(self.probe)}[part]
        found = stored_rows(folder)
        if found is None and part == "train":
            found = self._indexed(encoder, folder)
        if found is None:
            remedy = "Give `auditor run` again with the same arguments, which makes what is missing."
            raise ConfigError(str(folder), "no embeddings", f"those of {rows:,} images", remedy)
        if len(found) != rows:
            raise DataError(str(folder), f"{len(found):,} rows", f"{rows:,}, one per image", "Audit again.")
        return found

    def _indexed(self, encoder: str, folder: Path) -> Rows | None:
        """The training set's embeddings in the index that the audit was given, if that encoder made it."""
        if self.config.data.index is None or not self.config.data.index.exists():
            return None
        specs = [EncoderSpec(**info.model_dump()) for info in self.record.encoders]
        index = TrainingIndex.open(self.config.data.index, self.geometry, specs, check=False)
        names = [competition.encoder for competition in self.record.copies]
        if index.manifest.encoder != specs[names.index(encoder)]:
            return None
        return index.embeddings(self.train.ids, folder / "all.npy")


def stored_rows(folder: Path) -> Rows | None:
    """What a stage kept of one set's embeddings: blocks, or one array; None if neither."""
    blocks = sorted(folder.glob("[0-9]*/vectors.npy"))
    if blocks:
        return Stacked([ShardFile(block) for block in blocks])
    single = next((file for name in ("vectors.npy", "all.npy") if (file := folder / name).is_file()), None)
    return None if single is None else Stacked([ShardFile(single)])


def open_finished(
    record: Record,
    run_dir: Path,
    *,
    train: Path | None = None,
    holdout: Path | None = None,
) -> Finished:
    """The audit whose record this is.

    Both sets are surveyed once, and held against the digests of the record; what was found stays in the run directory,
    so that a later call needs neither.

    Args:
      record: Of that run directory.
      train, holdout: Where the sets lie now, if they were moved.

    Raises:
      ConfigError: A set is not where it was, or not what it was; a run directory without its generations.
    """
    config = AuditConfig.model_validate(record.config)
    run = RunDirectory(run_dir, record.generation.salt, record.started)
    parts = sorted((run_dir / "generate").glob("[0-9]*/probe.npy"))
    if not parts:
        remedy = "Give `auditor run` again with the same arguments, which makes what is missing."
        raise ConfigError(str(run_dir / "generate"), "no generations", "those of the audit", remedy)
    probe = np.concatenate([np.load(part, allow_pickle=False) for part in parts])
    pixels = np.load(parts[0].with_name("pixels.npy"), mmap_mode="r", allow_pickle=False)
    channels, height, width = pixels.shape[1:]
    geometry = Geometry(channels, height, width, resize=config.data.resize)
    data = config.data
    trained = audited_set(run, "train", geometry, data, record.training, train or data.train, data.train_ids)
    held = audited_set(run, "holdout", geometry, data, record.holdout, holdout or data.holdout, data.holdout_ids)
    return Finished(run, record, config, geometry, trained, held, probe)


def audited_set(
    run: RunDirectory, name: str, geometry: Geometry, data: Any, info: ImageSet, path: Path, ids: Path | None
) -> AuditedSet:
    """Ids and digests of a set, from an earlier call or from the images themselves.

    Raises:
      ConfigError: They are not there, or not those that were audited.
    """

    known = remembered(run, name)
    if known is None:
        option = f"--{name}"
        if not path.exists():
            remedy = f"Say where the images lie now with {option}."
            raise ConfigError(f"{name} images", f"{path}, which does not exist", "the images audited", remedy)
        source = open_source(path, geometry, id_column=data.id_column, image_column=data.image_column)
        known = survey(source if ids is None else select(source, ids))
        if known.images.digest != info.digest:
            got = f"{known.images.images:,} images of digest {known.images.digest[:12]} at {path}"
            expected = f"the {info.images:,} audited, {info.digest[:12]}"
            raise ConfigError(f"{name} images", got, expected, f"Name the images audited with {option}.")
        remember(run, name, known)
    return AuditedSet(list(known.digests), list(known.digests.values()))


def audited_encoders(
    finished: Finished, moved: Sequence[EncoderConfig] = (), device: str = "cpu"
) -> dict[str, Encoder]:
    """The audit's encoders by name, each seen to be the one that made the embeddings.

    Args:
      moved: Encoder sections that stand for the configured ones, in their order, if weights were moved.

    Raises:
      ConfigError: Weights are not where they were, or are others.
    """
    shape = finished.geometry.channels, finished.geometry.height, finished.geometry.width
    sections = list(moved) or finished.config.encoders
    remedy = "Say where the weights lie now with --encoder, once per encoder of the audit, in its order."
    if len(sections) != len(finished.record.encoders):
        got = f"{len(sections)} sections"
        raise ConfigError("encoders", got, f"{len(finished.record.encoders)}, as audited", remedy)
    built = []
    for section, info in zip(sections, finished.record.encoders, strict=True):
        make = partial(build_encoder, section, channels=shape[0], height=shape[1], width=shape[2], device=device)
        built.append(_same(make, info.model_dump(), remedy))
    return named(built)


def _same(make: Callable[[], Encoder], audited: Mapping[str, object], remedy: str) -> Encoder:
    subject = f"encoder {audited['name']}"
    try:
        encoder = make()
    except AuditError as error:
        raise ConfigError(subject, f"{error.subject}: {error.got}", "the encoder of the audit", remedy) from error
    found = asdict(encoder.spec)
    changed = sorted(key for key, value in audited.items() if found.get(key) != value)
    if changed:
        got = ", ".join(f"{key} {found.get(key)!r}" for key in changed)
        raise ConfigError(subject, got, ", ".join(f"{key} {audited[key]!r}" for key in changed), remedy)
    return encoder
