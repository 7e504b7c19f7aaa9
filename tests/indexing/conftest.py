"""A set of pictures, and how to build an index of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from auditor.indexing import IndexInfo, build_index
from tests.indexing.pictures import write_pictures

Build = Callable[..., IndexInfo]


def build_small(source: Path, out: Path, **options: Any) -> IndexInfo:
    """An index of 12x10 pictures under the pixel encoder, 16 images a partition."""
    return build_index(source, out, **{"size": (12, 10), "channels": 3, "partition_size": 16, **options})


@pytest.fixture
def build() -> Build:
    return build_small


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """70 pictures, three of which are no images."""
    return write_pictures(tmp_path_factory.mktemp("set") / "pictures", 70, unreadable=(5, 20, 69))
