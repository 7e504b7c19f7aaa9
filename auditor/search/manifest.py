"""What a saved approximate index is: its settings, the digests of its files, and the recall measured on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from auditor.errors import ConfigError, DataError
from auditor.store.parts import Estimate, Part

MANIFEST = "approximate.json"


class Manifest(Part):
    """What an index is, and the digests of its files."""

    format: Annotated[int, Field(ge=1, le=1)] = 1
    factory: str
    rows: Annotated[int, Field(ge=1)]
    dim: Annotated[int, Field(ge=1)]
    source: str  # what the embeddings are: a digest given by whoever made them
    seed: str
    training_rows: int
    probes: Annotated[int, Field(ge=0)]  # lists that a query searches; 0 for Flat
    files: dict[str, str]  # SHA-256 by name
    recall: dict[int, Estimate] = {}  # by k


def read_manifest(folder: Path) -> Manifest:
    """An index's manifest.

    Raises:
      ConfigError: None there.
      DataError: Damaged.
    """
    file = folder / MANIFEST
    if not file.is_file():
        raise ConfigError("approximate index", folder, f"a folder with {MANIFEST}", "Build the index first.")
    try:
        return Manifest.model_validate(json.loads(file.read_bytes()))
    except (ValueError, RecursionError, ValidationError) as error:
        raise DataError(str(file), "damaged content", "an index's manifest", "Build the index again.") from error
