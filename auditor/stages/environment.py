"""With what results were computed."""

from __future__ import annotations

import platform
from importlib.metadata import version

import torch

from auditor.search.index import import_faiss, search_device


def environment(device: str) -> dict[str, str]:
    """Versions and devices of this machine; ``device`` is the networks'."""
    packages = ("torch", "diffusers", "open_clip_torch", "numpy", "scipy")
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": device,
        "search": search_device(),
        "faiss": import_faiss().__version__,
        "threads": str(torch.get_num_threads()),
    } | {name: version(name) for name in packages}
