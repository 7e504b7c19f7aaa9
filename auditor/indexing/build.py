"""Make an index, or make it larger: deal a source into partitions, then have an executor make them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from auditor.config import EncoderConfig, below, local_dir
from auditor.data import Geometry, open_source
from auditor.data.indexed import IndexedSource
from auditor.data.places import is_url
from auditor.encoders.build import build_encoder
from auditor.errors import AuditError, ConfigError
from auditor.executors import Executor, LocalExecutor
from auditor.indexing.layout import (
    MANIFEST,
    PARTITIONS,
    Manifest,
    Portion,
    Shape,
    SourcePlan,
    place,
    read_entry,
    read_manifest,
    refuse_foreign,
    write_manifest,
)  # fmt: skip
from auditor.indexing.partition import remove_partition, sweep_partitions
from auditor.indexing.read import IndexInfo, index_info
from auditor.indexing.stream import BATCH
from auditor.indexing.work import BuildPartitions, Loaded, device_here, fresh_ids, refuse_other_encoder
from auditor.progress import Progress, Silent
from auditor.store.digest import value_digest
from auditor.store.run_directory import differences, is_free

PARTITION_SIZE = 65_536  # images; 128 MB of embeddings at 512 dimensions


def build_index(
    source: Path | str,
    out: Path | str,
    *,
    size: tuple[int, int],
    channels: int,
    encoder: EncoderConfig | None = None,
    resize: bool = False,
    id_column: str | None = None,
    image_column: str | None = None,
    partition_size: int = PARTITION_SIZE,
    workers: int | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> IndexInfo:
    """Embed a set of images into an index on disk, or go on where an earlier call was killed.

    Which images share a batch is fixed by ids, ``partition_size`` and nothing else, so the same set gives the same
    digest whatever the executor, the workers and the interruptions.

    Args:
      source: See :func:`auditor.data.open_source`.
      out: A folder that does not exist, is empty, or holds the beginnings of the same index.
      size: (height, width) that the audited checkpoint works in.
      channels: 1 or 3, likewise.
      encoder: None = ``pixel``.
      resize: Bring images to ``size`` and ``channels``; without it another shape is an error.
      id_column, image_column: See :func:`auditor.data.open_source`.
      partition_size: Images per partition, the unit of work and of what a kill can lose. A multiple of 128 gives
        batches, hence bits, like those of an audit without an index.
      workers: Threads that decode in each process; None = one a CPU. No effect on the result.
      executor: None = in this process.
      progress: Silent by default.

    Raises:
      ConfigError: No such source, encoder weights that do not exist, or ``out`` holds something else.
      DataError: An image has another shape, or a shard is damaged.
      AuditError: The disk is full, or partitions could not be made; those that were stay.
    """
    out = Path(out)
    refuse_foreign(out)
    refuse_inside(out, source)
    config = placed(encoder or EncoderConfig(name="pixel"))
    geometry = Geometry(channels, *size, resize)
    opened = open_source(at(source), geometry, id_column=id_column, image_column=image_column, workers=workers)
    built = build_encoder(config, channels=channels, height=size[0], width=size[1], device=device_here())
    plan = deal(opened, opened.ids, partition_size, 0, id_column, image_column)
    wanted = Manifest(
        encoder=built.spec,
        built_with=config,
        shape=Shape(channels=channels, height=size[0], width=size[1], resize=resize),
        batch=BATCH,
        sources=[plan],
    )
    manifest = begin(out, wanted)
    return make(out, Loaded(manifest, opened, built, opened.ids), 0, workers, executor, progress)


def add_to_index(
    folder: Path | str,
    source: Path | str,
    *,
    id_column: str | None = None,
    image_column: str | None = None,
    partition_size: int = PARTITION_SIZE,
    workers: int | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> IndexInfo:
    """Embed those images of a set whose ids an index does not have yet, as further partitions.

    What is there is not touched: an image whose id is known is passed over, unread, even if its pixels have changed.
    An addition that was cut off goes on; if its source has changed since, it begins again with the source as it is.

    Args:
      folder: A complete index.
      source: See :func:`auditor.data.open_source`.
      id_column, image_column, partition_size, workers, executor, progress: See :func:`build_index`.

    Raises:
      ConfigError: The index is not complete, or its encoder cannot be built here as it was.
      DataError, AuditError: See :func:`build_index`.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    shape = manifest.shape
    geometry = Geometry(shape.channels, shape.height, shape.width, shape.resize)
    opened = open_source(at(source), geometry, id_column=id_column, image_column=image_column, workers=workers)
    last = manifest.sources[-1]
    begun = (last.path, last.files, last.id_column, last.image_column)
    resumed = len(manifest.sources) > 1 and begun == (opened.path, opened.files_digest(), id_column, image_column)
    if not resumed and last.path == opened.path:
        manifest = without_torn(folder, manifest)
    number = len(manifest.sources) - (1 if resumed else 0)
    ids = fresh_ids(folder, manifest, number, opened)
    if not resumed:
        if not ids:
            return index_info(folder)
        plan = deal(opened, ids, partition_size, len(manifest.portions), id_column, image_column)
        manifest = manifest.model_copy(update={"sources": [*manifest.sources, plan]})
    size = {"channels": shape.channels, "height": shape.height, "width": shape.width}
    built = build_encoder(manifest.built_with, **size, device=device_here())
    refuse_other_encoder(manifest, built)
    write_manifest(folder, manifest)
    return make(folder, Loaded(manifest, opened, built, ids), number, workers, executor, progress)


def without_torn(folder: Path, manifest: Manifest) -> Manifest:
    """The manifest without its last source if that is an addition that was cut off: it could never be completed."""
    last = manifest.sources[-1]
    whole = all(read_entry(place(folder, portion), manifest.key(last, portion)) for portion in last.portions)
    if whole or len(manifest.sources) == 1:
        return manifest
    shorter = manifest.model_copy(update={"sources": manifest.sources[:-1]})
    write_manifest(folder, shorter)
    for portion in last.portions:
        if read_entry(place(folder, portion), manifest.key(last, portion)):  # else another process's, made anew
            remove_partition(place(folder, portion))
    return shorter


def deal(
    source: IndexedSource, ids: Sequence[str], size: int, first: int, id_column: str | None, image_column: str | None
) -> SourcePlan:
    """Partitions of ``size`` consecutive ids, numbered from ``first``."""
    portions = [
        Portion(
            name=f"{first + start // size:05d}",
            first=start,
            count=len(ids[start : start + size]),
            ids=value_digest(list(ids[start : start + size])),
        )
        for start in range(0, len(ids), size)
    ]
    return SourcePlan(
        path=source.path,
        files=source.files_digest(),
        id_column=id_column,
        image_column=image_column,
        portions=portions,
    )


def begin(out: Path, wanted: Manifest) -> Manifest:
    """Write the manifest of a new index, or take that of an earlier, equal beginning, whatever was added since.

    Raises:
      ConfigError: The folder holds other files, or another index (the message lists what differs).
    """
    if not (out / MANIFEST).exists():
        if out.exists() and not is_free(out) and not (out / MANIFEST).exists():  # another may have begun it meanwhile
            raise ConfigError("index", out, "an empty folder or an earlier index", "Name another folder.")
        out.mkdir(parents=True, exist_ok=True)
        write_manifest(out, wanted)
        return wanted
    found = read_manifest(out)
    changes = differences(summary(found, len(wanted.sources)), summary(wanted, len(wanted.sources)))
    if changes:
        expected, remedy = "the source and options that it began with", "Name another folder, or undo the change."
        raise ConfigError(f"index {out}", "; ".join(changes), expected, remedy)
    return found


def summary(manifest: Manifest, sources: int) -> dict[str, object]:
    """What two manifests are compared by, over their first so many sources, without a line for every partition."""
    plain: dict[str, object] = manifest.model_dump(mode="json", exclude={"built_with", "sources"})
    for number, source in enumerate(manifest.sources[:sources]):
        plain[f"source {number + 1}" if number else "source"] = {
            "path": source.path,
            "files": source.files,
            "id_column": source.id_column,
            "image_column": source.image_column,
            "partition_size": source.portions[0].count,
            "ids": value_digest([portion.ids for portion in source.portions]),
        }
    return plain


def make(
    folder: Path, loaded: Loaded, number: int, workers: int | None, executor: Executor | None, progress: Progress | None
) -> IndexInfo:
    """Have every partition of a source made, unless it is done."""
    plan = loaded.manifest.sources[number]
    work = BuildPartitions(folder.absolute(), number, workers, torch.get_num_threads(), loaded)
    sweep_partitions(folder / PARTITIONS)
    total = sum(portion.count for portion in plan.portions)
    with (progress or Silent()).stage("index", total, "image") as meter:
        lost = (executor or LocalExecutor()).run(work, [portion.name for portion in plan.portions], meter)
    if lost:
        got = f"{len(lost)} partitions that could not be made (first: {lost[0].piece}: {lost[0].reason})"
        remedy = "The others stay; the same command tries these again."
        raise AuditError(f"index {folder}", got, "every partition", remedy)
    return index_info(folder)


def refuse_inside(out: Path, source: Path | str) -> None:
    """Raise ConfigError if an index would lie in the folder that it is made of: its files would be taken for images."""
    if Path(source).resolve() in [out.resolve(), *out.resolve().parents]:
        expected = "a folder outside the images"
        raise ConfigError("index", f"{out}, which lies in {source}", expected, "Name another folder with --out.")


def placed(config: EncoderConfig) -> EncoderConfig:
    """The encoder with absolute paths, since workers, and whoever adds images later, may stand in another folder."""
    here = Path.cwd()
    weights = below(here, config.weights) if config.weights else None
    return config.model_copy(update={"weights": weights, "model": local_dir(config.model, here)})


def at(source: Path | str) -> Path | str:
    """A local source by its absolute path, since workers may stand in another folder; a URL as it is."""
    if isinstance(source, str) and is_url(source):
        return source
    refuse_foreign(Path(source))
    return Path(source).absolute()
