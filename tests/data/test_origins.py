"""Prompts and seeds beside images, in every format that images come in; hostile text is text."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from auditor.data import Geometry, open_source
from auditor.data.origins import Origin, read_origins
from auditor.errors import ConfigError, DataError

SAID = [("a red shoe", 17), ("a red shoe", 18), ("ein Hemd, 'grün'", 2**63 + 1)]
EXPECTED = [Origin(prompt, str(seed)) for prompt, seed in SAID]


def png() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(file, "PNG")
    return file.getvalue()


def folder(path: Path) -> Path:
    for number, (prompt, seed) in enumerate(SAID):
        (path / "sub").mkdir(parents=True, exist_ok=True)
        (path / f"sub/{number}.png").write_bytes(png())
        (path / f"sub/{number}.json").write_text(json.dumps({"prompt": prompt, "seed": seed}))
    return path


def listed(path: Path, name: str) -> Path:
    """A folder with one list at its top, which names files."""
    path.mkdir()
    rows = [
        {"file_name": f"{number}.png", "prompt": prompt, "seed": seed} for number, (prompt, seed) in enumerate(SAID)
    ]
    for number in range(len(SAID)):
        (path / f"{number}.png").write_bytes(png())
    text = "\n".join(map(json.dumps, rows))
    if name.endswith("csv"):
        quoted = [",".join(f'"{value}"' for value in row.values()) for row in rows]
        text = "\n".join(["file_name,prompt,seed", *quoted])
    (path / name).write_text(text)
    return path


def tar(path: Path) -> Path:
    with tarfile.open(path, "w") as out:
        for number, (prompt, seed) in enumerate(SAID):
            for name, content in (
                (f"{number}.png", png()),
                (f"{number}.json", json.dumps({"prompt": prompt, "seed": seed})),
            ):
                data = content if isinstance(content, bytes) else content.encode()
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                out.addfile(entry, io.BytesIO(data))
    return path


def table(path: Path) -> Path:
    prompts, seeds = zip(*SAID, strict=True)
    columns = {
        "image": pa.array([png()] * len(SAID)),
        "prompt": pa.array(prompts),
        "seed": pa.array(seeds, pa.uint64()),
    }
    pq.write_table(pa.table(columns), path)
    return path


def archive(path: Path) -> Path:
    prompts, seeds = zip(*SAID, strict=True)
    np.savez(path, images=np.zeros((3, 8, 8), np.uint8), prompts=np.array(prompts), seeds=np.array(seeds, np.uint64))
    return path


MAKERS = {
    "folder": lambda path: folder(path / "made"),
    "jsonl": lambda path: listed(path / "made", "metadata.jsonl"),
    "csv": lambda path: listed(path / "made", "metadata.csv"),
    "tar": lambda path: tar(path / "made.tar"),
    "parquet": lambda path: table(path / "made.parquet"),
    "npz": lambda path: archive(path / "made.npz"),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_prompts_and_seeds_come_with_every_format(kind: str, tmp_path: Path) -> None:
    path = MAKERS[kind](tmp_path)
    ids = list(open_source(path, Geometry(1, 8, 8)).ids)
    found = read_origins(path, ids)
    assert [found[name] for name in ids] == EXPECTED


def test_captions_are_prompts_where_nothing_else_says_one(tmp_path: Path) -> None:
    path = folder(tmp_path / "made")
    for number in range(3):
        (path / f"sub/{number}.txt").write_text(" a caption\n")
    (path / "sub/1.json").write_text('{"seed": 4}')
    (path / "sub/2.json").unlink()
    found = read_origins(path, ["sub/0", "sub/1", "sub/2"])
    assert list(found.values()) == [EXPECTED[0], Origin("a caption", "4"), Origin("a caption")]


def test_class_names_are_no_prompts(tmp_path: Path) -> None:
    """Images of one class are independent of each other; those of ten classes are not ten trials."""
    columns = {"image": pa.array([png()] * 3), "label": pa.array(["shirt", "shoe", "shirt"])}
    pq.write_table(pa.table(columns), tmp_path / "made.parquet")
    assert read_origins(tmp_path / "made.parquet", ["made/00000000"]) == {}


def test_a_list_of_its_own_wins_over_what_lies_beside(tmp_path: Path) -> None:
    path = folder(tmp_path / "made")
    (tmp_path / "list.json").write_text(
        json.dumps([{"id": "sub/1", "prompt": "another"}, {"id": "no such", "seed": 1}])
    )
    assert read_origins(path, ["sub/0", "sub/1", "sub/2"], listed=tmp_path / "list.json") == {
        "sub/1": Origin("another")
    }


def test_what_is_no_prompt_or_seed_is_unknown(tmp_path: Path) -> None:
    path = folder(tmp_path / "made")
    nested = "[" * 100_000
    contents = ['{"prompt": "", "seed": true}', '{"prompt": ["a"], "seed": {"b": 1}}', nested]
    for number, content in enumerate(contents):
        (path / f"sub/{number}.json").write_text(content)
    assert read_origins(path, ["sub/0", "sub/1", "sub/2"]) == {}
    contents = ['{"prompt": "7", "seed": 3.0}', '{"seed": "x" }', '{"seed": 1e400}']  # digits are a class number
    for number, content in enumerate(contents):
        (path / f"sub/{number}.json").write_text(content)
    found = read_origins(path, ["sub/0", "sub/1", "sub/2"])
    assert found == {"sub/0": Origin(None, "3"), "sub/1": Origin(None, "x")}


def test_prompts_of_a_list_hold_whatever_the_web_does(tmp_path: Path) -> None:
    said = {"sub/0": "a\u2028b", "sub/1": "half \ud83c of it"}
    rows = [json.dumps({"id": "sub/0", "prompt": said["sub/0"]}, ensure_ascii=False)]
    rows.append(json.dumps({"id": "sub/1", "prompt": said["sub/1"]}))
    (tmp_path / "a.jsonl").write_text("\n".join(rows))
    found = read_origins(folder(tmp_path / "made"), ["sub/0", "sub/1"], listed=tmp_path / "a.jsonl")
    assert found == {"sub/0": Origin("a\u2028b"), "sub/1": Origin("half \ufffd of it")}


@pytest.mark.parametrize(
    ("name", "text", "error", "line"),
    [
        ("a.jsonl", "{", DataError, "Correct the file"),
        ("a.jsonl", "[1, 2]", DataError, "no rows"),
        ("a.json", "[" * 100_000, DataError, "RecursionError"),
        ("a.csv", "id,prompt\nother,x\n", ConfigError, "names one of the images"),
        ("a.pkl", "\x80\x04N.", ConfigError, "extension"),
    ],
)
def test_a_faulty_list_is_refused(name: str, text: str, error: type[Exception], line: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(error, match=line):
        read_origins(folder(tmp_path / "made"), ["sub/0"], listed=tmp_path / name)
    with pytest.raises(ConfigError, match="no such file"):
        read_origins(tmp_path / "made", ["sub/0"], listed=tmp_path / "none.csv")
