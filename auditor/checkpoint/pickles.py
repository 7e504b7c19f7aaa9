"""What a pickle would import, read from its opcodes without running them.

Opt-in only, and a second fence: loading goes through ``torch.load(weights_only=True)`` all the same.
"""

from __future__ import annotations

import io
import pickletools
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from auditor.checkpoint.allowed import PICKLE_GLOBALS

TORCH_MAGIC = 0x1950A86A20F9469CFC6C  # first object of torch's format before zip archives
TORCH_LEGACY_PICKLES = 5  # magic number, protocol, system, object, storage keys; raw storages follow
NEUTRAL = frozenset({"BINPUT", "FRAME", "LONG_BINPUT", "MEMOIZE", "PROTO", "PUT", "STOP"})  # leave the stack as it is
EXTENSIONS = frozenset({"EXT1", "EXT2", "EXT4"})
MAX_PICKLE = 2**28  # bytes of one pickled object tree; tensors lie outside it


class PickleError(ValueError):
    """The pickle is refused; the message names what it would import, or what is wrong with it."""


def check_pickle(path: Path) -> None:
    """Return if the file is a pickle of plain tensors, as torch.save writes it (zip archive, legacy, or bare).

    Raises:
      PickleError: It imports anything not on the allow-list, holds TorchScript, or cannot be followed.
    """
    with path.open("rb") as stream:
        if stream.read(4) == b"PK\x03\x04":  # torch.load decides by these bytes too
            _check_archive(path)
            return
        stream.seek(0)
        try:
            _check_sequence(stream)
        except PickleError:
            raise
        except Exception as error:  # pickletools raises almost anything on malformed bytes
            raise PickleError(f"not a pickle ({type(error).__name__}: {str(error)[:80]})") from error


def _check_archive(path: Path) -> None:
    """Every pickled member of a torch archive; code of TorchScript is refused."""
    found = False
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if "/code/" in f"/{member.filename}" or member.filename.endswith((".py", ".debug_pkl")):
                    raise PickleError(f"TorchScript code ({member.filename})")
                if not member.filename.endswith(".pkl"):
                    continue
                found = True
                if member.file_size > MAX_PICKLE:
                    raise PickleError(f"{member.filename} of {member.file_size} bytes")
                _check_sequence(io.BytesIO(archive.read(member)))
    except PickleError:
        raise
    except Exception as error:  # as above
        raise PickleError(f"not a torch archive ({type(error).__name__}: {str(error)[:80]})") from error
    if not found:
        raise PickleError("a zip archive without a pickle")


def _check_sequence(stream: BinaryIO) -> None:
    """The first pickle; and the four that follow it in torch's legacy format."""
    first = _check_one(stream)
    if first == TORCH_MAGIC:
        for _ in range(TORCH_LEGACY_PICKLES - 1):
            _check_one(stream)


def _check_one(stream: BinaryIO) -> object:
    """Follow one pickle to its STOP; returns its only constant if there is but one (torch's magic number)."""
    constants: list[object] = []
    for name in imported(stream, constants):
        if name not in PICKLE_GLOBALS:
            raise PickleError(f"it imports {name.replace(' ', '.')}")
    return constants[0] if len(constants) == 1 else None


def imported(stream: BinaryIO, constants: list[object]) -> Iterator[str]:
    """``module name`` of every global, in order; constants met are appended to ``constants``."""
    stack = TextStack()
    for opcode, argument, _ in pickletools.genops(stream):
        name = opcode.name
        if name in EXTENSIONS:
            raise PickleError("it imports by extension code")
        if name in ("GLOBAL", "INST"):
            yield str(argument)
        elif name == "STACK_GLOBAL":
            yield stack.top_two()
        stack.follow(name, argument)
        if argument is not None and name not in NEUTRAL:
            constants.append(argument)


class TextStack:
    """The texts on top of a pickle's stack, as far as they are known without running it.

    STACK_GLOBAL imports what the two topmost values name. They are known if the two pushes before it were texts,
    directly or from the memo, which is how every pickler writes them. Whatever else happens to the stack counts as an
    unknown push, so that a pickle which hides what it imports is refused.
    """

    def __init__(self) -> None:
        self._pushed: list[str | None] = []  # None = unknown
        self._memo: dict[int, str | None] = {}

    def top_two(self) -> str:
        """``module name`` that STACK_GLOBAL would import."""
        top = self._pushed[-2:]
        if len(top) < 2 or None in top:
            raise PickleError("it hides what it imports")
        return f"{top[0]} {top[1]}"

    def follow(self, name: str, argument: object) -> None:
        """Account for one opcode."""
        top = self._pushed[-1] if self._pushed else None
        if name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self._memo[int(str(argument))] = top
        elif name == "MEMOIZE":
            self._memo[len(self._memo)] = top
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            self._pushed.append(self._memo.get(int(str(argument))))
        elif name not in NEUTRAL:
            self._pushed.append(argument if isinstance(argument, str) and "UNICODE" in name else None)
        del self._pushed[:-2]  # nothing below the two topmost is ever asked for
