"""The run directory: every stage's result, written once, found again after a kill.

    run.json               the specification, the salt, when it began
    ledger/<stage>.json    one entry per finished piece of work: its key, and its files with their digests
    <stage>/<name>.npy     the arrays
    policy.toml            the policy that the run was given, if one was
    record.json            the record; report.html and report.md are projections of it

A piece of work is done if and only if its ledger entry exists, carries the same key and its files still have the
digests written there. Files are written beside their place and renamed; the entry comes last. So a kill at any moment
leaves either a finished piece or none. ``version`` raises every key when the meaning of stored results changes.

Any number of processes may work in one run directory at once, on one machine or on several that share a disk: of those
that begin it one draws the salt, and a piece that two of them make is the same twice.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditor.errors import ConfigError, DataError
from auditor.store.atomic import create, sweep_partials, written
from auditor.store.digest import file_digest, value_digest

VERSION = 1  # of what stages store

Arrays = Mapping[str, NDArray[Any]]


class RunDirectory:
    """One audit's place on disk."""

    def __init__(self, path: Path, salt: str, started: str) -> None:
        self.path, self.salt, self.started = path, salt, started
        self.seconds: dict[str, float] = {}
        self._hashed: dict[Path, tuple[tuple[int, int, int], str]] = {}  # by file: its state when hashed, its digest

    @classmethod
    def open(cls, path: Path, specification: Mapping[str, object], salt: str) -> RunDirectory:
        """Begin a run, or go on with the one that lies at ``path``.

        Args:
          path: A folder that does not exist, is empty, or holds a run of the same specification.
          specification: Everything that determines the result, as plain values.
          salt: Kept if the run begins now; a run that goes on has its own.

        Raises:
          ConfigError: The folder holds other files, or a run of another specification (the message lists what differs).
          DataError: Its run.json is damaged: without the salt nothing in the folder can be continued.
        """
        file = path / "run.json"
        if not file.exists():
            if path.exists() and not is_free(path) and not file.exists():  # another may have begun it meanwhile
                raise ConfigError("run directory", path, "an empty folder or an earlier run", "Name another folder.")
            started = datetime.now(UTC).isoformat(timespec="seconds")
            path.mkdir(parents=True, exist_ok=True)
            create(file, to_json({"specification": specification, "salt": salt, "started": started}))
        sweep_partials(path)
        state = read_state(file)
        changes = differences(state["specification"], json.loads(json.dumps(specification)))
        if changes:
            raise ConfigError(
                f"run directory {path}",
                "; ".join(changes),
                "the options and inputs that the run began with",
                "Name another folder, or undo the change.",
            )
        return cls(path, state["salt"], state["started"])

    @classmethod
    def join(cls, path: Path) -> RunDirectory:
        """Take part in a run that another process began.

        Raises:
          ConfigError: There is none, as on a machine that does not share the disk.
          DataError: Its run.json is damaged.
        """
        if not (path / "run.json").is_file():
            raise ConfigError("run directory", path, "a run that was begun", "Give a path that all machines share.")
        state = read_state(path / "run.json")
        return cls(path, state["salt"], state["started"])

    def arrays(self, stage: str, key: object, compute: Callable[[], Arrays]) -> dict[str, NDArray[Any]]:
        """The named arrays of a piece of work, computed at most once and memory-mapped, read-only.

        Args:
          stage: Path-like name, such as ``generate/00003``.
          key: Plain values that determine the result: specification and input digests.
          compute: Called only if the piece is not done.
        """
        folder = self.path / stage
        if not self.done(stage, key):
            with self._timed(stage):
                results = compute()
                folder.mkdir(parents=True, exist_ok=True)
                for name, array in results.items():
                    save_array(folder / f"{name}.npy", array)
            self._enter(stage, key, [folder / f"{name}.npy" for name in results])
        names = [Path(file).stem for file in self._entry(stage)["files"]]
        return {name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in names}

    def value(self, stage: str, key: object, compute: Callable[[], Any]) -> Any:
        """The plain value (dicts, lists, numbers, strings) of a piece of work, computed at most once."""
        file = self.path / f"{stage}.json"
        if not self.done(stage, key):
            with self._timed(stage):
                result = compute()
                file.parent.mkdir(parents=True, exist_ok=True)
                write_json(file, result)
            self._enter(stage, key, [file])
        return json.loads(file.read_text())

    def done(self, stage: str, key: object) -> bool:
        """Whether a piece of work is there, whole and of the same key."""
        try:
            entry = self._entry(stage)
            found, files = entry["key"], dict(entry["files"])
        except (OSError, ValueError, TypeError, KeyError):  # a damaged entry counts as none
            return False
        return found == stage_key(stage, key) and all(
            (self.path / file).is_file() and self._digest(self.path / file) == digest for file, digest in files.items()
        )

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        name = stage.split("/")[0]
        self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - began

    def _ledger(self, stage: str) -> Path:
        return self.path / "ledger" / f"{stage}.json"

    def _entry(self, stage: str) -> dict[str, Any]:
        entry: dict[str, Any] = json.loads(self._ledger(stage).read_text())
        return entry

    def _digest(self, file: Path) -> str:
        """A file's digest; one that has not changed since it was hashed is not read again."""
        state = file.stat()
        known = (state.st_ino, state.st_size, state.st_mtime_ns)
        if self._hashed.get(file, ((), ""))[0] != known:
            self._hashed[file] = (known, file_digest(file))
        return self._hashed[file][1]

    def _enter(self, stage: str, key: object, files: list[Path]) -> None:
        digests = {str(file.relative_to(self.path)): self._digest(file) for file in files}
        self._ledger(stage).parent.mkdir(parents=True, exist_ok=True)
        write_json(self._ledger(stage), {"key": stage_key(stage, key), "files": digests})


def read_state(file: Path) -> dict[str, Any]:
    """What run.json holds: specification, salt, when it began.

    Raises:
      DataError: It is damaged.
    """
    try:
        state: dict[str, Any] = json.loads(file.read_bytes())
        texts = [state["salt"], state["started"]]
        if isinstance(state["specification"], dict) and all(isinstance(text, str) for text in texts):
            return state
    except (ValueError, TypeError, KeyError, RecursionError):
        pass
    expected = "the specification, salt and start of a run"
    raise DataError(str(file), "damaged content", expected, "Name another folder, or delete this one and audit again.")


def stage_key(stage: str, key: object) -> str:
    """Digest of what determines a piece of work, its name and the storage version included."""
    return value_digest({"stage": stage, "key": key, "version": VERSION})


def is_free(path: Path) -> bool:
    """Whether a folder holds nothing but the partial files of a run that begins."""
    return path.is_dir() and all(file.suffix == ".part" for file in path.iterdir())


def save_array(path: Path, array: NDArray[Any]) -> None:
    """Write an .npy file whole or not at all."""
    with written(path) as file:
        np.save(file, array, allow_pickle=False)


def write_json(path: Path, value: object) -> None:
    """Write a JSON file whole or not at all."""
    with written(path) as file:
        file.write(to_json(value))


def to_json(value: object) -> bytes:
    """A plain value as the text of a JSON file; NaN and infinity are refused."""
    return f"{json.dumps(value, indent=1, allow_nan=False)}\n".encode()


def differences(before: object, after: object, where: str = "") -> list[str]:
    """What changed between two plain values, one ``key: old -> new`` per leaf."""
    if isinstance(before, dict) and isinstance(after, dict):
        keys = sorted({*before, *after})
        nested = [
            differences(before.get(key, "absent"), after.get(key, "absent"), f"{where}.{key}" if where else key)
            for key in keys
        ]
        return [line for lines in nested for line in lines]
    return [] if before == after else [f"{where}: {before!r} -> {after!r}"]
