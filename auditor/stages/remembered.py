"""What the survey of the image sets found, kept in the run directory: workers need not read every image again."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditor.data import Survey
from auditor.store.record import ImageSet
from auditor.store.run_directory import RunDirectory, read_state


def remember(run: RunDirectory, which: str, found: Survey) -> None:
    """Keep a set's ids and digests; ``which`` is "train" or "holdout", as the run's specification calls it."""

    def compute() -> dict[str, NDArray[Any]]:
        unreadable = found.images.unreadable
        return {
            "ids": to_bytes(list(found.digests)),
            "digests": np.frombuffer(b"".join(found.digests.values()), np.uint8).reshape(-1, 16),
            "unreadable": to_bytes(unreadable),
        }

    run.arrays(f"inputs/{which}", key_of(found.images.digest), compute)


def remembered(run: RunDirectory | None, which: str) -> Survey | None:
    """What :func:`remember` kept of a set in the state that the run began with; None if nothing."""
    if run is None:
        return None
    digest = read_state(run.path / "run.json")["specification"].get(which)
    if not isinstance(digest, str) or not run.done(f"inputs/{which}", key_of(digest)):
        return None
    kept = run.arrays(f"inputs/{which}", key_of(digest), dict)
    ids, unreadable = from_bytes(kept["ids"]), from_bytes(kept["unreadable"])
    rows = kept["digests"].tobytes()
    digests = {name: rows[16 * row : 16 * row + 16] for row, name in enumerate(ids)}
    described = ImageSet(
        path="", digest=digest, images=len(ids), distinct=len(set(digests.values())), unreadable=unreadable
    )
    return Survey(described, digests)


def key_of(digest: str) -> dict[str, str]:
    """What determines the survey of a set: its digest, since it is the survey that gives it."""
    return {"set": digest}


def to_bytes(value: object) -> NDArray[np.uint8]:
    """A plain value as the bytes of its JSON text, UInt8[N]."""
    return np.frombuffer(json.dumps(value).encode(), np.uint8)


def from_bytes(array: NDArray[np.uint8]) -> Any:
    """The plain value that :func:`to_bytes` wrote."""
    return json.loads(array.tobytes())
