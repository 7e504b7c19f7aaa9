"""Parquet and Arrow IPC files as rows of (id, encoded image, caption), read in blocks of a few rows.

An image column holds bytes, or the struct {bytes, path} of Hugging Face data sets. A path without bytes is not
followed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from auditor.data.base import Payload
from auditor.data.indexed import clean_text
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

    def __init__(self, root: Path, files: Sequence[Path], id_column: str | None, image_column: str | None) -> None:
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

    def forwards(self, wanted: Collection[int] | None) -> Iterator[tuple[int, Payload | str]]:
        first = 0
        for file, columns, count in zip(self._files, self._columns, self._counts, strict=True):
            if wanted is None or any(row in wanted for row in range(first, first + count)):
                for row, block in blocks(file, columns.read, first, wanted):
                    yield from _payloads(row, block, columns, wanted)
            first += count


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


def blocks(
    file: Path, columns: list[str], first: int, wanted: Collection[int] | None
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """(number of its first row, block) of a file; row groups and record batches without wanted rows are not read.

    Blocks are validated before a value is taken from them: damaged offsets would abort the process inside Arrow.
    """
    with reading(file):
        for start, count, group in _groups(file):
            begin = first + start
            if wanted is not None and not any(row in wanted for row in range(begin, begin + count)):
                continue
            for block in group(columns):
                block.validate(full=True)
                yield begin, block
                begin += len(block)


def _groups(file: Path) -> Iterator[tuple[int, int, Any]]:
    """(first row, rows, reader of blocks) of each row group or record batch."""
    start = 0
    if is_parquet(file):
        with pq.ParquetFile(file) as table:
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


def is_parquet(file: Path) -> bool:
    """Whether the file starts as parquet does."""
    with file.open("rb") as stream:
        return stream.read(4) == b"PAR1"


def record_batches(file: Path) -> Iterator[pa.RecordBatch]:
    """The record batches of an Arrow IPC file or stream, memory-mapped, one at a time."""
    with pa.memory_map(str(file)) as source:
        if source.read(6) == b"ARROW1":
            reader = pa.ipc.open_file(source)
            yield from (reader.get_batch(number) for number in range(reader.num_record_batches))
        else:
            source.seek(0)
            yield from pa.ipc.open_stream(source)


def schema(file: Path) -> pa.Schema:
    """The file's schema, without reading rows."""
    if is_parquet(file):
        return pq.read_schema(file)
    with pa.memory_map(str(file)) as source:
        if source.read(6) == b"ARROW1":
            return pa.ipc.open_file(source).schema
        source.seek(0)
        return pa.ipc.open_stream(source).schema


def count_rows(file: Path) -> int:
    """Rows of a file, from its metadata."""
    return sum(count for _, count, _ in _groups(file))


def stored_ids(file: Path, column: str) -> list[str]:
    """The id column as text; a missing id is refused."""
    ids: list[str] = []
    for _, block in blocks(file, [column], 0, None):
        ids += [clean_text(str(value)) if value is not None else "" for value in block.column(column).to_pylist()]
    if "" in ids:
        raise ConfigError(
            f"{file}: {column}", f"no id in row {ids.index('')}", "an id in every row", "Fill the column."
        )
    return ids


def find_columns(file: Path, fields: pa.Schema, id_column: str | None, image_column: str | None) -> Columns:
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
def reading(file: Path) -> Iterator[None]:
    """Whatever pyarrow raises inside, as one line that names the file."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError, MemoryError) as error:
        got = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise DataError(str(file), got, "a complete parquet or Arrow file", "Copy or build it again.") from error
