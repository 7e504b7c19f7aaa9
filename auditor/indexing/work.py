"""Making partitions as work for the executors: picklable, opened once a worker, a piece a partition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from auditor.data import Geometry, open_source
from auditor.data.indexed import IndexedSource
from auditor.encoders.base import Encoder
from auditor.encoders.build import build_encoder
from auditor.errors import ConfigError, DataError
from auditor.indexing.layout import Manifest, Portion, SourcePlan, place, read_manifest
from auditor.indexing.partition import is_done, write_partition
from auditor.indexing.read import known_ids
from auditor.indexing.stream import AHEAD, embed_stream
from auditor.store.digest import value_digest


@dataclass(frozen=True)
class Loaded:
    """What partitions of one source are made with."""

    manifest: Manifest
    source: IndexedSource
    encoder: Encoder
    ids: Sequence[str]  # of the source, without those that the index had before


@dataclass(frozen=True)
class BuildPartitions:
    """The partitions of one source of an index; an :class:`auditor.executors.base.Work`."""

    folder: Path
    number: int  # of the source in the manifest
    workers: int | None  # threads that decode in each process; None = one a CPU
    threads: int  # that a network computes with; some round otherwise with another number
    loaded: Loaded | None = field(default=None, compare=False)  # in the process that planned; does not travel

    @property
    def name(self) -> str:
        """See :class:`auditor.executors.base.Work`."""
        return "index"

    def open(self) -> Callable[[str], int]:
        """See :class:`auditor.executors.base.Work`."""
        loaded = self.loaded or self._load()
        source = loaded.manifest.sources[self.number]
        portions = {portion.name: portion for portion in source.portions}
        return lambda piece: make_partition(self.folder, loaded, source, portions[piece])

    def __getstate__(self) -> dict[str, Any]:
        return replace(self, loaded=None).__dict__

    def _load(self) -> Loaded:
        manifest = read_manifest(self.folder)
        plan, shape = manifest.sources[self.number], manifest.shape
        source = open_planned(plan, manifest, self.workers)
        torch.set_num_threads(self.threads)
        config = manifest.built_with
        encoder = build_encoder(
            config, channels=shape.channels, height=shape.height, width=shape.width, device=device_here()
        )
        refuse_other_encoder(manifest, encoder)
        return Loaded(manifest, source, encoder, fresh_ids(self.folder, manifest, self.number, source))


def make_partition(folder: Path, loaded: Loaded, source: SourcePlan, portion: Portion) -> int:
    """Make one partition unless it is done, and give the number of its images, readable or not.

    Raises:
      DataError: Its images are not those that it was planned for.
      AuditError: The disk is full, or cannot be written.
    """
    key, target = loaded.manifest.key(source, portion), place(folder, portion)
    if is_done(target, key) is None:
        ids = frozenset(checked_ids(loaded, source, portion))
        stream = embed_stream(loaded.source, loaded.encoder, loaded.manifest.batch, AHEAD, only=ids, digests=True)

        def lost() -> list[tuple[str, str]]:
            return [(name, reason) for name, reason in loaded.source.unreadable if name in ids]

        write_partition(target, key, stream, portion.count, lost)
    return portion.count


def checked_ids(loaded: Loaded, source: SourcePlan, portion: Portion) -> Sequence[str]:
    """The ids that the manifest deals to a partition."""
    ids = loaded.ids[portion.first : portion.first + portion.count]
    if value_digest(list(ids)) != portion.ids:
        raise changed(source)
    return ids


def fresh_ids(folder: Path, manifest: Manifest, number: int, source: IndexedSource) -> Sequence[str]:
    """The ids of a source that no earlier source of the index has, sorted."""
    if number == 0:
        return source.ids
    known = known_ids(folder, manifest, manifest.sources[:number])
    return [name for name in source.ids if name not in known]


def open_planned(plan: SourcePlan, manifest: Manifest, workers: int | None) -> IndexedSource:
    """A source as it was when it was dealt.

    Raises:
      DataError: Its files have changed.
    """
    shape = manifest.shape
    source = open_source(
        plan.path,
        Geometry(shape.channels, shape.height, shape.width, shape.resize),
        id_column=plan.id_column,
        image_column=plan.image_column,
        workers=workers,
    )
    if source.files_digest() != plan.files:
        raise changed(plan)
    return source


def changed(source: SourcePlan) -> DataError:
    """A source that is no longer the one that partitions were planned for."""
    expected = "the files that the index was begun with"
    return DataError(source.path, "files added, removed or changed", expected, "Build into another folder.")


def refuse_other_encoder(manifest: Manifest, encoder: Encoder) -> None:
    """Raise ConfigError unless an encoder is the one that an index is made with."""
    if encoder.spec != manifest.encoder:
        got, expected = encoder.spec, manifest.encoder
        raise ConfigError("index: encoder", got, f"{expected}, which the index is made with", "Name its weights.")


def device_here() -> str:
    """``cuda`` where there is a GPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"
