"""Several indexes, made apart, as one."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from auditor.errors import ConfigError, DataError
from auditor.indexing.build import begin
from auditor.indexing.layout import (
    EMBEDDINGS,
    ENTRY,
    ROWS,
    Manifest,
    Portion,
    SourcePlan,
    place,
    read_manifest,
)
from auditor.indexing.partition import is_done, settle, synchronise, writing
from auditor.indexing.read import IndexInfo, index_info, known_ids
from auditor.progress import Progress, Silent
from auditor.store.atomic import partial_of
from auditor.store.run_directory import differences


def merge_indexes(folders: Sequence[Path | str], out: Path | str, *, progress: Progress | None = None) -> IndexInfo:
    """Copy the partitions of several indexes into a new one, or go on where an earlier call was killed.

    Args:
      folders: Two or more complete indexes of one encoder and one geometry, without an id in common. Their order is
        that of the partitions; an index may have been made on another machine.
      out: A folder that does not exist, is empty, or holds the beginnings of the same merge.
      progress: Silent by default.

    Raises:
      ConfigError: Another encoder or geometry (the message says what differs), ids that repeat, an index that is not
        complete, or ``out`` holds something else.
      DataError: A partition's files are not what its entry says.
      AuditError: The disk is full.
    """
    out, origins = Path(out), [Path(folder) for folder in folders]
    if len(origins) < 2:
        raise ConfigError("index merge", f"{len(origins)} index", "two or more", "Name them all.")
    manifests = [read_manifest(origin) for origin in origins]
    for origin, manifest in zip(origins[1:], manifests[1:], strict=True):
        refuse_different(origins[0], manifests[0], origin, manifest)
    refuse_repeats(origins, manifests)
    merged = join(manifests)
    begin(out, merged)
    places = [
        place(f, portion) for f, manifest in zip(origins, manifests, strict=True) for _, portion in manifest.portions
    ]
    with (progress or Silent()).stage("merge", len(places), "partition") as meter:
        for copied, (source, portion) in zip(places, merged.portions, strict=True):
            copy_partition(copied, place(out, portion), merged.key(source, portion))
            meter(1)
    return index_info(out)


def refuse_different(first: Path, before: Manifest, second: Path, manifest: Manifest) -> None:
    """Raise ConfigError, naming what differs, unless two indexes were made in the same way."""
    fields = {"schema_version", "encoder", "shape", "batch"}
    changes = differences(
        before.model_dump(mode="json", include=fields), manifest.model_dump(mode="json", include=fields)
    )
    if changes:
        got, expected = f"{'; '.join(changes)}", f"the encoder and geometry of {first}"
        raise ConfigError(f"index {second}", got, expected, "Build it again as that one was.")


def refuse_repeats(folders: Sequence[Path], manifests: Sequence[Manifest]) -> None:
    """Raise ConfigError if two indexes have an id in common, or one is not complete."""
    known: set[str] = set()
    for folder, manifest in zip(folders, manifests, strict=True):
        ids = known_ids(folder, manifest, manifest.sources)
        common = known & ids
        if common:
            got = f"{len(common)} ids that an index before it has too (such as {min(common)!r})"
            raise ConfigError(
                f"index {folder}", got, "every id once", "Use `auditor index add`, which passes them over."
            )
        known |= ids


def join(manifests: Sequence[Manifest]) -> Manifest:
    """One manifest over all sources, partitions numbered anew."""
    sources: list[SourcePlan] = []
    number = 0
    for source in (source for manifest in manifests for source in manifest.sources):
        portions: list[Portion] = []
        for portion in source.portions:
            portions.append(portion.model_copy(update={"name": f"{number:05d}"}))
            number += 1
        sources.append(source.model_copy(update={"portions": portions}))
    return manifests[0].model_copy(update={"sources": sources})


def copy_partition(origin: Path, target: Path, key: str) -> None:
    """Copy one partition unless it is done there; it appears whole or not at all.

    Raises:
      DataError: What was copied is not what its entry says.
    """
    if is_done(target, key) is not None:
        return
    partial = partial_of(target)
    missing = [name for name in (EMBEDDINGS, ROWS, ENTRY) if not (origin / name).is_file()]
    if missing:
        remedy = "Give the command that made it again; `auditor index verify` says what else is wrong."
        raise DataError(f"partition {origin}", f"no {missing[0]}", "a whole partition", remedy)
    try:
        with writing(target):
            partial.mkdir(parents=True)
            for name in (EMBEDDINGS, ROWS, ENTRY):
                shutil.copyfile(origin / name, partial / name)
                synchronise(partial / name)
        if is_done(partial, key) is None:
            got, remedy = "files of another SHA-256 than its entry", "`auditor index verify` says which."
            raise DataError(f"partition {origin}", got, "a whole partition", remedy)
        with writing(target):
            settle(partial, target, key)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
