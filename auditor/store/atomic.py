"""Files that appear whole or not at all, however many processes write them at once.

Each writer has a partial file of its own beside the place, named ``<file>.<random>.part``, and renames it. Of several
writers the last one stands; since they write the same bytes, that changes nothing. A kill leaves a partial file, which
:func:`sweep_partials` removes once it is a day old.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

ABANDONED = 86_400  # seconds since a partial file was last written to, after which its writer is gone


def partial_of(path: Path) -> Path:
    """A name beside ``path`` that no other writer has."""
    return path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}.part")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name to write a file to, which takes the place of ``path`` at the end, or is removed after an error."""
    partial = partial_of(path)
    try:
        yield partial
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextmanager
def written(path: Path) -> Iterator[BinaryIO]:
    """An open file that is synchronised to disk and takes the place of ``path`` at the end."""
    with replacing(path) as partial, partial.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def create(path: Path, content: bytes) -> bool:
    """Write a file that does not exist yet; of several writers exactly one succeeds.

    Returns:
      Whether this writer did. If not, the file is there, whole.
    """
    partial = partial_of(path)
    try:
        with partial.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(partial, path)
        except FileExistsError:
            return False
        except OSError:  # a file system without hard links: exclusive, though a reader may come before the content
            return _create_plainly(path, content)
        return True
    finally:
        partial.unlink(missing_ok=True)


def _create_plainly(path: Path, content: bytes) -> bool:
    try:
        with path.open("xb") as file:
            file.write(content)
    except FileExistsError:
        return False
    return True


def sweep_partials(folder: Path) -> None:
    """Remove partial files below ``folder`` that nobody has written to for a day."""
    for partial in folder.rglob("*.part"):
        with suppress(FileNotFoundError):
            if time.time() - partial.stat().st_mtime > ABANDONED:
                partial.unlink()
