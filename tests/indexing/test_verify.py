"""Whatever is wrong with an index is named; an unharmed one has no fault."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from auditor.cli.main import main
from auditor.indexing import IndexInfo, verify_index
from auditor.indexing.layout import Entry
from auditor.store.digest import file_digest

Build = Callable[..., IndexInfo]


@pytest.fixture
def index(build: Build, pictures: Path, tmp_path: Path) -> Path:
    build(pictures, tmp_path / "index")
    return tmp_path / "index"


def forge(folder: Path, **changes: object) -> None:
    """A ledger entry that agrees with the files as they are now, as someone would write who means harm."""
    fields = json.loads((folder / "entry.json").read_text())
    fields.pop("digest")
    fields["files"] = {name: file_digest(folder / name) for name in fields["files"]}
    (folder / "entry.json").write_text(Entry.made(**{**fields, **changes}).model_dump_json())


def scale_rows(folder: Path) -> None:
    vectors = np.load(folder / "embeddings.npy")
    vectors[7] *= 1.01
    np.save(folder / "embeddings.npy", vectors)
    forge(folder)


def not_a_number(folder: Path) -> None:
    vectors = np.load(folder / "embeddings.npy")
    vectors[3, 0] = np.nan
    np.save(folder / "embeddings.npy", vectors)
    forge(folder)


def drop_a_row(folder: Path) -> None:
    np.save(folder / "embeddings.npy", np.load(folder / "embeddings.npy")[:-1])
    forge(folder)


def rename_an_image(folder: Path, name: str = "somebody") -> None:
    table = pq.read_table(folder / "rows.parquet")
    ids = [name, *table.column("id").to_pylist()[1:]]
    pq.write_table(
        table.set_column(0, table.schema.field(0), pa.array(ids, pa.large_string())), folder / "rows.parquet"
    )
    forge(folder)


def take_a_neighbours_id(folder: Path) -> None:
    rename_an_image(folder, "0001")


def flip_a_bit(folder: Path) -> None:
    content = bytearray((folder / "rows.parquet").read_bytes())
    content[100] ^= 1
    (folder / "rows.parquet").write_bytes(content)


HARM = {
    scale_rows: "an embedding of norm 1.01 in row 7; expected unit vectors",
    not_a_number: "an embedding of norm nan in row 3",
    drop_a_row: "embeddings of shape [15, 361]; expected [16, 361]",
    rename_an_image: "other ids; expected those that the manifest plans",
    take_a_neighbours_id: "the id '0001', which partition 00000 has too; expected every id once",
    flip_a_bit: "rows.parquet of another SHA-256",
    lambda folder: forge(folder, images=15): "16 ids of images and 0 unreadable; expected 15 of 16",
    lambda folder: forge(folder, key="another"): "a damaged or foreign ledger entry",
    lambda folder: (folder / "embeddings.npy").unlink(): "no embeddings.npy",
    lambda folder: (folder / "embeddings.npy").write_bytes(b""): "embeddings.npy of another SHA-256",
    lambda folder: folder.rename(folder.with_name("00099")): "partition 00003: got nothing",
}


@pytest.mark.parametrize(("harm", "named"), HARM.items(), ids=[str(number) for number in range(len(HARM))])
def test_every_harm_is_named(
    index: Path, harm: Callable[[Path], object], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify_index(index) == [] and main(["index", "verify", str(index)]) == 0
    assert capsys.readouterr().out.strip().endswith(": whole")
    harm(index / "partitions" / "00003")
    assert any(named in str(fault) for fault in verify_index(index))
    assert main(["index", "verify", str(index)]) == 2
    told = capsys.readouterr().out
    assert named in told and "Traceback" not in told


def test_a_damaged_manifest_is_an_error_in_one_line(index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = index / "manifest.json"
    for content in ("{", "[]", manifest.read_text().replace('"schema_version": 1', '"schema_version": 2')):
        manifest.write_text(content)
        assert main(["index", "info", str(index)]) == 2
        told = capsys.readouterr().err
        assert "manifest.json" in told and "Build the index again into another folder." in told


def test_the_commands_as_a_user_gives_them(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "index")
    options = ["--size", "12x10", "--channels", "3", "--partition-size", "16", "--decode-workers", "2"]
    assert main(["index", "build", str(pictures), "--out", out, *options]) == 0
    told = capsys.readouterr().out
    assert "67 of 70, partitions: 5" in told and "3 (first: 0005: not PNG, JPEG or WEBP)" in told
    assert main(["index", "info", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 67
    assert main(["index", "build", str(tmp_path / "absent"), "--out", out, *options]) == 4
    assert main(["index", "build", str(pictures), "--out", out, "--size", "twelve", "--channels", "3"]) == 4
    assert (
        main(["index", "build", str(pictures), "--out", str(tmp_path / "x"), "--size", "9x9", "--channels", "1"]) == 2
    )
    assert "--resize" in capsys.readouterr().err
