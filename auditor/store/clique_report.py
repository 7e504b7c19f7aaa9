"""cliques.json: what a checkpoint's generations alone say, where nobody will release its training data."""

from __future__ import annotations

from typing import Literal

from auditor.store.cliques import CliqueSearch
from auditor.store.parts import Part
from auditor.store.record import Checkpoint, EncoderInfo, Generation


class CliqueReport(Part):
    """All that was found without a training set."""

    schema_version: Literal[1] = 1
    tool_version: str
    digest: str  # of the specification
    started: str  # ISO 8601, UTC
    seconds: dict[str, float]
    environment: dict[str, str]
    config: dict[str, object]  # resolved
    checkpoint: Checkpoint
    generation: Generation
    encoders: list[EncoderInfo]
    searches: list[CliqueSearch]  # patched pixels first, then every encoder
    sample_images: list[str] = []
