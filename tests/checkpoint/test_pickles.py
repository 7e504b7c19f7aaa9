"""Pickles of plain tensors pass; whatever imports anything else is refused without being run."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from auditor.checkpoint.pickles import PickleError, check_pickle

STATE = OrderedDict(weight=torch.ones(2, 3), half=torch.ones(2, dtype=torch.float16))


class Touches:
    """Unpickling it creates a file, so that a test can tell whether anything ran."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.file),)


@pytest.mark.parametrize("zipped", [True, False])
def test_torch_state_passes_in_both_formats(zipped: bool, tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "a.bin", _use_new_zipfile_serialization=zipped)
    check_pickle(tmp_path / "a.bin")


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_plain_containers_and_arrays_pass(protocol: int, tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(OrderedDict(step=3, names=["a"]), protocol=protocol))
    check_pickle(tmp_path / "a.pkl")
    (tmp_path / "b.pkl").write_bytes(pickle.dumps(np.float32(1.0), protocol=4))
    check_pickle(tmp_path / "b.pkl")


@pytest.mark.parametrize("zipped", [True, False])
def test_code_among_tensors_is_refused_and_not_run(zipped: bool, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    torch.save({**STATE, "more": Touches(mark)}, tmp_path / "a.bin", _use_new_zipfile_serialization=zipped)
    with pytest.raises(PickleError, match="mkdir"):
        check_pickle(tmp_path / "a.bin")
    assert not mark.exists()
    torch.load(tmp_path / "a.bin", weights_only=False)  # positive control: run, it does leave its mark
    assert mark.exists()


@pytest.mark.parametrize("protocol", range(6))
def test_code_is_refused_in_every_protocol(protocol: int, tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(Touches(tmp_path / "ran"), protocol=protocol))
    with pytest.raises(PickleError, match="mkdir"):
        check_pickle(tmp_path / "a.pkl")


# Hand-written protocol 4 pickles that try to show the scanner one name and import another.
ALLOWED = pickle.SHORT_BINUNICODE + b"\x0bcollections" + pickle.SHORT_BINUNICODE + b"\x0bOrderedDict"
HIDDEN = {
    "names under two popped texts": pickle.SHORT_BINUNICODE + b"\x02os" + pickle.SHORT_BINUNICODE + b"\x06system"
    + ALLOWED + pickle.POP + pickle.POP + pickle.STACK_GLOBAL + b".",
    "a name from an unset memo": pickle.SHORT_BINUNICODE + b"\x02os" + pickle.BINGET + b"\x07"
    + pickle.STACK_GLOBAL + b".",
    "names as byte strings": pickle.SHORT_BINSTRING + b"\x02os" + pickle.SHORT_BINSTRING + b"\x06system"
    + pickle.STACK_GLOBAL + b".",
    "an extension code": pickle.EXT1 + b"\x01.",
    "no names at all": pickle.STACK_GLOBAL + b".",
    "no end": ALLOWED,
}  # fmt: skip


@pytest.mark.parametrize("trick", HIDDEN)
def test_pickle_that_hides_its_import_is_refused(trick: str, tmp_path: Path) -> None:
    start = pickle.PROTO + b"\x04"
    (tmp_path / "sound.pkl").write_bytes(start + ALLOWED + pickle.STACK_GLOBAL + b".")
    check_pickle(tmp_path / "sound.pkl")  # negative control
    (tmp_path / "a.pkl").write_bytes(start + HIDDEN[trick])
    with pytest.raises(PickleError):
        check_pickle(tmp_path / "a.pkl")


def test_pickle_with_a_zip_appended_is_read_as_the_pickle_it_is(tmp_path: Path) -> None:
    appended = io.BytesIO()
    with zipfile.ZipFile(appended, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
    (tmp_path / "a.bin").write_bytes(pickle.dumps(Touches(tmp_path / "ran")) + appended.getvalue())
    assert zipfile.is_zipfile(tmp_path / "a.bin")
    with pytest.raises(PickleError, match="mkdir"):
        check_pickle(tmp_path / "a.bin")


def test_torchscript_and_junk_are_refused(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(torch.nn.ReLU()), tmp_path / "a.pt")
    (tmp_path / "b.bin").write_bytes(b"PK\x03\x04junk")
    (tmp_path / "c.bin").write_bytes(b"")
    for name in ("a.pt", "b.bin", "c.bin"):
        with pytest.raises(PickleError):
            check_pickle(tmp_path / name)
