"""Under which prompt and seed images were made, as whoever made them wrote down. Read as text, never run.

A folder of images      <image>.json beside an image, else <image>.txt; metadata.jsonl or metadata.csv at its top
webdataset tar          the sample's .json, else its .txt, .caption or .text
parquet, Arrow          the columns prompt (or caption, or text) and seed
npz                     the arrays prompts (or captions) and seeds
a file named by itself  .jsonl, .json (a list of rows) or .csv

Labels and class names are no prompts: images of one class are as independent as any. A row of a file names its image
by id or by file name, under one of the keys id, file_name, filename, file, image, name.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from auditor.data.folder import is_image_name
from auditor.data.lists import LISTS, rows_of
from auditor.data.open import SHARD_SUFFIXES, kind_of, saved_shards
from auditor.data.places import list_files, place_of
from auditor.data.prompts import well_formed
from auditor.errors import ConfigError

PROMPT_KEYS, SEED_KEYS = ("prompt", "prompts", "caption", "captions", "text"), ("seed", "seeds")
TEXTS = ("txt", "caption", "text")  # extensions of files that hold a prompt and nothing else
NAME_KEYS = ("id", "file_name", "filename", "file", "image", "name")
MAX_BESIDE = 2**20  # bytes of a file beside one image
SEED_LENGTH = 80  # characters; a longer one is no seed


@dataclass(frozen=True)
class Origin:
    """What is known of one image; seeds are text, since 64 bits do not survive every number format."""

    prompt: str | None = None
    seed: str | None = None


def read_origins(
    path: Path, ids: Sequence[str], *, listed: Path | None = None,
    id_column: str | None = None, image_column: str | None = None,
) -> dict[str, Origin]:  # fmt: skip
    """Prompt and seed by id, of the images about which anything is written down; ids without are left out.

    Args:
      path: Where the images lie, as :func:`auditor.data.open_source` takes it.
      ids: Theirs, readable or not.
      listed: A file that lists them, in place of what lies beside them.
      id_column, image_column: See :func:`auditor.data.open_source`.

    Raises:
      ConfigError: No such list, of another format, or one that names none of the images.
      DataError: A damaged list.
    """
    if listed is not None:
        found = {name: origin_of(row) for name, row in named_rows(listed, ids)}
        if not found:
            expected = f"rows that name images under {', '.join(NAME_KEYS)}"
            raise ConfigError(str(listed), "no row that names one of the images", expected, "Correct the names.")
    else:
        found = dict(beside(path, ids, id_column, image_column))
    return {name: origin for name, origin in found.items() if origin != Origin()}


def beside(
    path: Path, ids: Sequence[str], id_column: str | None, image_column: str | None
) -> Iterator[tuple[str, Origin]]:
    """(id, origin) from what lies with the images."""
    files = [path] if path.is_file() else [Path(str(file)) for file in list_files(place_of(path))]
    if path.is_dir() and any(is_image_name(file) for file in files):
        yield from in_folder(path, ids)
        return
    saved = [Path(str(file)) for file in saved_shards(place_of(path), files)] if path.is_dir() else files
    shards = saved or [file for file in files if file.suffix.lower() in SHARD_SUFFIXES]
    kind = kind_of(shards[0])
    if kind == "tar":
        yield from in_tars(shards)
    elif kind == "npz":
        yield from in_archive(shards[0], id_column, image_column)
    else:
        yield from in_tables(path, shards, id_column, image_column)


def in_folder(path: Path, ids: Sequence[str]) -> Iterator[tuple[str, Origin]]:
    """A list at the top first, then files beside single images, which win."""
    for name in LISTS:
        if (path / name).is_file():
            yield from ((row_id, origin_of(row)) for row_id, row in named_rows(path / name, ids))
    for name in ids:
        stem = path / name
        if is_image_name(stem) and stem.is_file():  # an id that has kept its extension
            stem = stem.with_suffix("")
        content, text = (small(stem.with_name(f"{stem.name}.{extension}")) for extension in ("json", "txt"))
        if content or text:
            yield name, either(content, text)


def in_tars(shards: Iterable[Path]) -> Iterator[tuple[str, Origin]]:
    """The .json of every sample, or its text."""
    from auditor.data.webdataset import members

    for number, shard in enumerate(shards):
        found: dict[str, dict[str, bytes]] = {}
        with shard.open("rb") as stream:
            for key, extension, extent in members(shard, number):
                if extension in ("json", *TEXTS) and extent.offset >= 0 and extent.size <= MAX_BESIDE:
                    stream.seek(extent.offset)
                    found.setdefault(key, {})[extension] = stream.read(extent.size)
        for key, contents in found.items():
            texts = [contents[extension] for extension in TEXTS if extension in contents]
            yield key, either(contents.get("json", b""), texts[0] if texts else b"")


def in_archive(file: Path, id_column: str | None, image_column: str | None) -> Iterator[tuple[str, Origin]]:
    """Arrays with one value per image."""
    from auditor.data.npz import ArchiveRows, array_headers, side_array

    ids, headers = ArchiveRows(file, id_column, image_column).ids, array_headers(file)

    def values(keys: Sequence[str]) -> Sequence[object]:
        name = next((key for key in keys if key in headers), None)
        return [None] * len(ids) if name is None else side_array(file, headers, name, len(ids)).tolist()

    for name, prompt, seed in zip(ids, values(PROMPT_KEYS), values(SEED_KEYS), strict=True):
        yield name, Origin(as_prompt(prompt), as_seed(seed))


def in_tables(
    path: Path, shards: Sequence[Path], id_column: str | None, image_column: str | None
) -> Iterator[tuple[str, Origin]]:
    """Columns with one value per row."""
    from auditor.data.tables import TableRows

    rows = TableRows(path, shards, id_column, image_column)
    for name, prompt, seed in zip(rows.ids, rows.values(PROMPT_KEYS), rows.values(SEED_KEYS), strict=True):
        yield name, Origin(as_prompt(prompt), as_seed(seed))


def named_rows(file: Path, ids: Sequence[str]) -> Iterator[tuple[str, Mapping[str, object]]]:
    """(id, row) of every row of a list that names one of the images, by id or by file name."""
    known = frozenset(ids)
    for row in rows_of(file):
        for key in NAME_KEYS:
            said = str(row.get(key, ""))
            name = said if said in known else PurePosixPath(said).with_suffix("").as_posix() if said else ""
            if name in known:
                yield name, row
                break


def small(file: Path) -> bytes:
    """What a file beside an image holds; nothing if there is none, or a large one."""
    return file.read_bytes() if file.is_file() and file.stat().st_size <= MAX_BESIDE else b""


def either(content: bytes, text: bytes) -> Origin:
    """What a JSON text says; where it says no prompt, that of a plain one."""
    said = origin_of(parsed(content))
    prompt = as_prompt(text.decode("utf-8", "replace")) if said.prompt is None else said.prompt
    return Origin(prompt, said.seed)


def parsed(content: bytes) -> Mapping[str, object]:
    """The object that a JSON text holds; an empty one where it holds none."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def origin_of(row: Mapping[str, object]) -> Origin:
    """Prompt and seed of a row, by their usual keys."""
    prompts, seeds = ([row[key] for key in keys if key in row] for keys in (PROMPT_KEYS, SEED_KEYS))
    return Origin(as_prompt(prompts[0]) if prompts else None, as_seed(seeds[0]) if seeds else None)


def as_prompt(value: object) -> str | None:
    """The text; None for none, an empty one, or a class number, which is no prompt."""
    text = well_formed(value).strip() if isinstance(value, str) else ""
    return None if not text or text.isdecimal() else text


def as_seed(value: object) -> str | None:
    """A whole number or a short text, as text."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    text = str(value).strip()
    return text if 0 < len(text) <= SEED_LENGTH else None
