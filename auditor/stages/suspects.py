"""The training images that a user asks about as a set, read before anything expensive begins."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from auditor.data import read_ids
from auditor.errors import ConfigError
from auditor.membership.dataset_inference import LEAST


def read_suspects(file: Path | None, digests: Mapping[str, bytes]) -> list[str]:
    """The ids that ``membership.suspects`` lists, of exact repeats the first, in the order of the training set.

    Args:
      file: One id a line; None = no list, and no ids.
      digests: Pixel digest of every readable training image.

    Raises:
      ConfigError: No such file, ids that are not in the training set, or fewer than 20 distinct images.
    """
    if file is None:
        return []
    listed = read_ids(file)
    unknown = [name for name in listed if name not in digests]
    if unknown:
        got = f"{len(unknown):,} ids that are no readable training images (such as {unknown[0]!r})"
        raise ConfigError("membership.suspects", got, "ids of the training set", "Correct the list.")
    wanted, first = frozenset(listed), dict[bytes, str]()
    for name, digest in digests.items():
        if name in wanted:
            first.setdefault(digest, name)
    if len(first) < LEAST:
        got = f"{len(first):,} distinct images"
        raise ConfigError("membership.suspects", got, f"at least {LEAST}", "List more, or leave the list out.")
    return list(first.values())
