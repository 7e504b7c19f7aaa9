"""Files that list images: a row of text for each, as a table or as JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from auditor.data.places import Place, size_of
from auditor.errors import ConfigError, DataError

LISTS = ("metadata.jsonl", "metadata.csv")  # beside images, as Hugging Face's imagefolder reads them
MAX_LIST = 2**28  # bytes
NAME = "file_name"
CAPTIONS = ("caption", "text", "prompt")  # the first that a row has


def listed_captions(root: Place, files: Sequence[Place]) -> tuple[dict[str, str], list[Place]]:
    """(captions by path below ``root``, the lists among ``files``): what image folders say of their images.

    A list names images below its own folder, as ``file_name``; its caption is ``caption``, ``text`` or ``prompt``.

    Raises:
      ConfigError: A huge list.
      DataError: One that does not parse.
    """
    captions: dict[str, str] = {}
    lists = [file for file in files if file.name in LISTS]
    for file in lists:
        folder = PurePosixPath(file.relative_to(root).as_posix()).parent  # type: ignore[arg-type]  # both local or both not
        for row in rows_of(file):
            caption = next((value for key in CAPTIONS if isinstance(value := row.get(key), str)), None)
            if caption is not None and isinstance(row.get(NAME), str):
                captions[(folder / str(row[NAME])).as_posix()] = caption.strip()
    return captions, lists


def rows_of(file: Place) -> list[Mapping[str, object]]:
    """The rows of a list.

    Raises:
      ConfigError: No such file, one of another format, or a huge one.
      DataError: It does not parse.
    """
    from auditor.data.prompts import lines_of

    formats = "a .jsonl, .json or .csv file"
    if not file.is_file():
        raise ConfigError(str(file), "no such file", formats, "Correct the path.")
    if size_of(file) > MAX_LIST:
        raise ConfigError(str(file), f"{size_of(file):,} bytes", f"at most {MAX_LIST:,}", "Give a table instead.")
    kind = file.suffix.lower()
    if kind not in (".jsonl", ".json", ".csv"):
        raise ConfigError(str(file), f"the extension {kind!r}", formats, "Convert it, or rename it.")
    try:
        text = file.read_bytes().decode("utf-8-sig")
        if kind == ".csv":
            return list(csv.DictReader(io.StringIO(text, newline="")))
        rows = json.loads(text) if kind == ".json" else [json.loads(line) for line in lines_of(text) if line.strip()]
    except (ValueError, RecursionError, csv.Error) as error:
        raise DataError(str(file), f"{type(error).__name__}: {error}"[:200], formats, "Correct the file.") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError(str(file), "values that are no rows", "one object per image", "Correct the file.")
    return rows
