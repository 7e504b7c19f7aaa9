"""Lists of prompts: a text file, or the caption column of a table."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from auditor.data.tables import CAPTION_COLUMNS, blocks, reading, schema
from auditor.errors import ConfigError, DataError

REMEDY = "Rename the column; `auditor prompts` takes its name as --column."
TABLES = (".parquet", ".arrow", ".feather")
NEITHER = (".json", ".tsv")  # tables by their name, whose lines are no prompts
FORMATS = "a text file, one prompt a line, or a .csv, .jsonl, .parquet or .arrow file with a caption column"


def read_prompts(path: Path, column: str | None = None) -> list[str]:
    """The prompts of a file in their order, spaces around them removed; a table's may be empty or repeat.

    Args:
      path: A text file, one prompt a line, its blank lines passed over; or a table (csv, jsonl, parquet, Arrow).
      column: Of a table; None = the first usual name that it has (caption, text, prompt, ...).

    Raises:
      ConfigError: No such file, one of another format, no prompts, or no such column.
      DataError: Not what its name says.
    """
    if not path.is_file():
        got = "a folder" if path.is_dir() else "no such file"
        raise ConfigError(str(path), got, FORMATS, "Correct the path.")
    suffix = path.suffix.lower()
    if suffix in NEITHER:
        raise ConfigError(str(path), f"a {suffix} file", FORMATS, "Convert it.")
    if suffix in TABLES:
        found = [("" if value is None else str(value)).strip() for value in _columnar(path, column)]
    else:
        try:
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataError(str(path), str(error)[:120], "UTF-8 text", "Convert the file.") from error
        if suffix == ".csv":
            found = [str(row).strip() for row in _separated(path, text, column)]
        elif suffix in (".jsonl", ".ndjson"):
            found = ["" if row is None else well_formed(str(row)).strip() for row in _lines_of_json(path, text, column)]
        else:
            found = [line.strip() for line in lines_of(text) if line.strip()]
    if not found:
        raise ConfigError(str(path), "no prompts", "at least one", "Correct the file.")
    return found


def lines_of(text: str) -> Iterator[str]:
    """Lines that end in a line feed, a carriage return or both, without these.

    str.splitlines ends lines at form feeds and Unicode's separators too, which captions from the web contain.
    """
    return (line.rstrip("\n") for line in io.StringIO(text, newline=None))


def well_formed(text: str) -> str:
    """The text with halves of characters, which JSON can spell and no encoding holds, replaced by U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _columnar(path: Path, column: str | None) -> Iterator[Any]:
    with reading(path):
        names = schema(path).names
    name = _chosen(path, names, column)
    for block in blocks(path, [name]):
        yield from block.column(name).to_pylist()


def _separated(path: Path, text: str, column: str | None) -> Iterator[str]:
    rows = csv.DictReader(io.StringIO(text, newline=""))
    try:
        name = _chosen(path, list(rows.fieldnames or []), column)
        for row in rows:
            yield row[name] or ""
    except csv.Error as error:
        raise DataError(str(path), str(error), "rows of comma-separated values", "Correct the file.") from error


def _lines_of_json(path: Path, text: str, column: str | None) -> Iterator[Any]:
    name = column
    for number, line in enumerate(lines_of(text), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}: line {number}", str(error)[:120], "a JSON object", "Correct the file.") from error
        if not isinstance(row, dict):
            raise DataError(f"{path}: line {number}", type(row).__name__, "a JSON object", "Correct the file.")
        name = name or _chosen(path, list(row), column)
        yield row.get(name)


def _chosen(path: Path, names: list[str], column: str | None) -> str:
    """The column named, or the first usual one."""
    found = [name for name in ((column,) if column else CAPTION_COLUMNS) if name in names]
    if not found:
        expected = column or f"one of {', '.join(CAPTION_COLUMNS)}"
        raise ConfigError(f"{path}: columns", ", ".join(names) or "none", expected, REMEDY)
    return found[0]
