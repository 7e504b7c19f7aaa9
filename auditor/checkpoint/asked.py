"""What is to be opened of a checkpoint beyond its own folder."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from auditor.config import CheckpointConfig, Offload
from auditor.diffusion.precision import Precision


@dataclass(frozen=True)
class Asked:
    """An adapter to fuse, a size and a precision to run at, the configuration of a single file; nothing, by default."""

    adapter: Path | None = None  # low-rank adapters, one safetensors file
    adapter_scale: float = 1.0  # times what the adapters add
    image_size: tuple[int, int] | None = None  # height and width in pixels; None = what the checkpoint states
    config: Path | None = None  # folder that says what a single file's tensors are; None = the checkpoint is a folder
    dtype: Precision = "float32"  # what the denoising network and its text encoders compute in
    offload: Offload = "none"  # what is on the device at a time; no effect on any result, and none on the digest

    @classmethod
    def of(cls, section: CheckpointConfig, offload: Offload = "none") -> Asked:
        """What a configuration asks for."""
        size = None if section.image_size is None else (section.image_size, section.image_size)
        return cls(section.adapter, section.adapter_scale, size, section.config, section.dtype, offload)

    def beside(self, path: Path) -> Asked:
        """What another checkpoint is opened with that is compared with this one: size, precision and offloading.

        In a single file it is described by the same configuration, since what can be compared is built alike.
        """
        config = self.config if path.is_file() else None
        return Asked(image_size=self.image_size, config=config, dtype=self.dtype, offload=self.offload)

    def seal(self, digest: str) -> str:
        """The digest of the files, joined with what else makes the network another one: scale, size and precision."""
        scale = None if self.adapter is None else self.adapter_scale
        if scale is None and self.image_size is None and self.dtype == "float32":
            return digest
        return hashlib.sha256(json.dumps([digest, scale, self.image_size, self.dtype]).encode()).hexdigest()
