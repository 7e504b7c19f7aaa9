"""What is to be opened of a checkpoint beyond its own folder."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from auditor.config import CheckpointConfig


@dataclass(frozen=True)
class Asked:
    """An adapter to fuse, a size to run at, and the configuration of a single file; nothing, by default."""

    adapter: Path | None = None  # low-rank adapters, one safetensors file
    adapter_scale: float = 1.0  # times what the adapters add
    image_size: tuple[int, int] | None = None  # height and width in pixels; None = what the checkpoint states
    config: Path | None = None  # folder that says what a single file's tensors are; None = the checkpoint is a folder

    @classmethod
    def of(cls, section: CheckpointConfig) -> Asked:
        """What a configuration asks for."""
        size = section.image_size
        return cls(section.adapter, section.adapter_scale, None if size is None else (size, size), section.config)

    def beside(self) -> Asked:
        """What another checkpoint is opened with that is compared with this one: the size."""
        return Asked(image_size=self.image_size)

    def seal(self, digest: str) -> str:
        """The digest of the files, joined with what else makes the network another one: scale and size."""
        if self.adapter is None and self.image_size is None:
            return digest
        scale = None if self.adapter is None else self.adapter_scale
        return hashlib.sha256(json.dumps([digest, scale, self.image_size]).encode()).hexdigest()
