"""Parquet and Arrow IPC files as rows of (id, encoded image, caption), read in blocks of a few rows.

An image column holds bytes, or the struct {bytes, path} of Hugging Face data sets. A path without bytes is not
followed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from auditor.data.base import Payload
from auditor.data.indexed import clean_text
from auditor.data.places import Place, RemotePath
from auditor.data.rows import row_ids
from auditor.errors import ConfigError, DataError

IMAGE_COLUMNS = ("image", "img", "jpg", "png", "webp", "image_bytes", "bytes")
CAPTION_COLUMNS = ("caption", "text", "prompt", "label", "class", "cls")
BLOCK = 64  # rows decoded at a time; an encoded image is tens of kilobytes


@dataclass(frozen=True)
class Columns:
    """Which column holds what."""

    image: str
    caption: str | None
    id: str | None

    @property
    def read(self) -> list[str]:
        """What a pass over the images needs."""
        return [self.image, self.caption] if self.caption else [self.image]


class TableRows:
    """The rows of one or several files that share a schema, files in the order of their names."""

    def __init__(self, root: Place, files: Sequence[Any], id_column: str | None, image_column: str | None) -> None:
        base = root if root.is_dir() else root.parent
        stems = {file: clean_text(file.relative_to(base).with_suffix("").as_posix()) for file in files}
        self._files = sorted(files, key=lambda file: f"{stems[file]}/")
        self._columns: list[Columns] = []
        self._ids: list[str] = []
        self._counts: list[int] = []
        for file in self._files:
            with reading(file):
                columns = find_columns(file, schema(file), id_column, image_column)
                found = stored_ids(file, columns.id) if columns.id else row_ids(stems[file], count_rows(file))
            self._columns.append(columns)
            self._ids += found
            self._counts.append(len(found))

    @property
    def ids(self) -> Sequence[str]:
        return self._ids

    def values(self, names: Sequence[str]) -> list[object]:
        """One value per row: of the first of these columns that its file has, else None."""
        found: list[object] = []
        for file, count in zip(self._files, self._counts, strict=True):
            name = next((one for one in names if one in schema(file).names), None)
            if name is None:
                found += [None] * count
                continue
            for block in blocks(file, [name]):
                found += block.column(name).to_pylist()
        return found

    def forwards(self, wanted: Collection[int] | None) -> Iterator[tuple[int, Payload | str]]:
        first = 0
        for file, columns, count in zip(self._files, self._columns, self._counts, strict=True):
            if touches(wanted, first, count):
                yield from _rows_of(file, columns, first, wanted)
            first += count


def _rows_of(
    file: Place, columns: Columns, first: int, wanted: Collection[int] | None
) -> Iterator[tuple[int, Payload | str]]:
    """The wanted rows of a file that starts at row ``first``; those of a damaged row group are given up, with why."""
    with reading(file):
        for start, count, group in _groups(file):
            begin, end = first + start, first + start + count
            if not touches(wanted, begin, count):
                continue
            try:
                with reading(file):
                    for block in group(columns.read):
                        block.validate(full=True)
                        payloads = list(_payloads(begin, block, columns, wanted))
                        begin += len(block)
                        yield from payloads
            except DataError as error:
                reason = f"a damaged part of {file.name}: {error.got}"
                yield from ((row, reason) for row in range(begin, end) if wanted is None or row in wanted)


def touches(wanted: Collection[int] | None, first: int, count: int) -> bool:
    """Whether one of ``count`` rows from ``first`` on is wanted."""
    if wanted is None:
        return True
    fewer = wanted if len(wanted) < count else range(first, first + count)
    return any(first <= row < first + count and row in wanted for row in fewer)


def _payloads(
    first: int, block: pa.RecordBatch, columns: Columns, wanted: Collection[int] | None
) -> Iterator[tuple[int, Payload | str]]:
    """(row, payload or reason) of the wanted rows of a block that starts at row ``first``."""
    images = block.column(columns.image)
    captions = block.column(columns.caption) if columns.caption else None
    for position in range(len(block)):
        row = first + position
        if wanted is not None and row not in wanted:
            continue
        content = images[position].as_py()
        content = content.get("bytes") if isinstance(content, dict) else content
        if content is None:
            yield row, "no image bytes in this row"
            continue
        caption = captions[position].as_py() if captions is not None else None
        yield row, Payload(content, None if caption is None else str(caption))


def blocks(file: Place, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """The rows of a file, a few at a time.

    Blocks are validated before a value is taken from them: damaged offsets would abort the process inside Arrow.
    """
    with reading(file):
        for _, _, group in _groups(file):
            for block in group(columns):
                block.validate(full=True)
                yield block


def _groups(file: Place) -> Iterator[tuple[int, int, Any]]:
    """(first row, rows, reader of blocks) of each row group or record batch."""
    start = 0
    if is_parquet(file):
        with opened(file) as source, pq.ParquetFile(source) as table:
            for number in range(table.num_row_groups):
                count = table.metadata.row_group(number).num_rows
                yield start, count, lambda names, g=number: table.iter_batches(BLOCK, row_groups=[g], columns=names)
                start += count
    else:
        for batch in record_batches(file):
            yield (
                start,
                len(batch),
                lambda names, whole=batch: (
                    whole.select(names).slice(begin, BLOCK) for begin in range(0, len(whole), BLOCK)
                ),
            )
            start += len(batch)


def is_parquet(file: Place) -> bool:
    """Whether the file starts as parquet does."""
    with file.open("rb") as stream:
        return stream.read(4) == b"PAR1"


def opened(file: Place) -> Any:
    """A file for Arrow: mapped into memory if it is local, read by blocks if not."""
    return pa.PythonFile(file.open("rb"), mode="r") if isinstance(file, RemotePath) else pa.memory_map(str(file))


def record_batches(file: Place) -> Iterator[pa.RecordBatch]:
    """The record batches of an Arrow IPC file or stream, memory-mapped, one at a time."""
    with opened(file) as source:
        if source.read(6) == b"ARROW1":
            source.seek(0)
            reader = pa.ipc.open_file(source)
            yield from (reader.get_batch(number) for number in range(reader.num_record_batches))
        else:
            source.seek(0)
            yield from pa.ipc.open_stream(source)


def schema(file: Place) -> pa.Schema:
    """The file's schema, without reading rows."""
    with opened(file) as source:
        if is_parquet(file):
            return pq.read_schema(source)
        if source.read(6) == b"ARROW1":
            source.seek(0)
            return pa.ipc.open_file(source).schema
        source.seek(0)
        return pa.ipc.open_stream(source).schema


def count_rows(file: Place) -> int:
    """Rows of a file, from its metadata."""
    return sum(count for _, count, _ in _groups(file))


def stored_ids(file: Place, column: str) -> list[str]:
    """The id column as text; a missing id is refused."""
    ids: list[str] = []
    for block in blocks(file, [column]):
        ids += [clean_text(str(value)) if value is not None else "" for value in block.column(column).to_pylist()]
    if "" in ids:
        raise ConfigError(
            f"{file}: {column}", f"no id in row {ids.index('')}", "an id in every row", "Fill the column."
        )
    return ids


def find_columns(file: Place, fields: pa.Schema, id_column: str | None, image_column: str | None) -> Columns:
    """The named columns where given, else the usual names; the only column that can hold images if none is usual."""
    for name in (id_column, image_column):
        if name is not None and name not in fields.names:
            raise ConfigError(
                f"{file}: columns", name, f"one of {', '.join(fields.names)}", "Correct the column's name."
            )
    fitting = [field.name for field in fields if _holds_images(field.type)]
    usual = [name for name in IMAGE_COLUMNS if name in fitting]
    image = image_column or (usual[0] if usual else fitting[0] if len(fitting) == 1 else None)
    if image is None or image not in fitting:
        got, expected = image or ", ".join(fields.names), "a column of bytes or {bytes, path}"
        raise ConfigError(f"{file}: image column", got, expected, "Name it with data.image_column.")
    caption = next((name for name in CAPTION_COLUMNS if name in fields.names and name not in (image, id_column)), None)
    return Columns(image, caption, id_column)


def _holds_images(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(kind.field(i).name == "bytes" and _holds_images(kind.field(i).type) for i in range(kind.num_fields))
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


@contextmanager
def reading(file: Place) -> Iterator[None]:
    """Whatever pyarrow raises inside, as one line that names the file."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError, MemoryError) as error:
        got = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise DataError(str(file), got, "a complete parquet or Arrow file", "Copy or build it again.") from error
