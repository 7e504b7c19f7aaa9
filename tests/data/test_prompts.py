"""Lists of prompts from every format, and what is wrong with one."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from auditor.data.prompts import read_prompts
from auditor.errors import AuditError, ConfigError, DataError

PROMPTS = ["a dog", 'said "hi", then left', "犬の顔", "a dog"]


def test_every_format_gives_the_same(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("\n".join(["a dog  ", "", *PROMPTS[1:]]) + "\n", encoding="utf-8-sig")
    quoted = "\n".join('1,"' + text.replace('"', '""') + '"' for text in PROMPTS)
    (tmp_path / "p.csv").write_text(f"id,caption\n{quoted}\n")
    (tmp_path / "p.jsonl").write_text("\n".join(json.dumps({"id": 1, "prompt": text}) for text in PROMPTS))
    table = pa.table({"id": list(range(4)), "text": PROMPTS})
    pq.write_table(table, tmp_path / "p.parquet")
    with pa.OSFile(str(tmp_path / "p.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    for name in ("p.txt", "p.csv", "p.jsonl", "p.parquet", "p.arrow"):
        assert read_prompts(tmp_path / name) == PROMPTS


def test_a_line_ends_at_line_feeds_alone(tmp_path: Path) -> None:
    texts = ["a\u2028b", "c\x0cd", "e\x85f", "g\x1ch"]
    (tmp_path / "p.txt").write_bytes("\r\n".join(texts).encode())
    (tmp_path / "p.csv").write_text("\n".join(["caption,id", *(f"{text},1" for text in texts)]))
    rows = [json.dumps({"caption": text}, ensure_ascii=False) for text in texts]
    (tmp_path / "p.jsonl").write_text("\n".join(rows))
    for name in ("p.txt", "p.csv", "p.jsonl"):
        assert read_prompts(tmp_path / name) == texts


def test_halves_of_characters_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text(r'{"caption": "half \ud83c of an apple"}' + "\n" + r'{"caption": "\ud83c\udf4e"}')
    assert read_prompts(tmp_path / "p.jsonl") == ["half \ufffd of an apple", "🍎"]


def test_a_column_by_name_and_missing_values(tmp_path: Path) -> None:
    pq.write_table(pa.table({"caption": ["x", None, ""], "alt": ["a", "b", None]}), tmp_path / "p.parquet")
    assert read_prompts(tmp_path / "p.parquet") == ["x", "", ""]
    assert read_prompts(tmp_path / "p.parquet", "alt") == ["a", "b", ""]
    (tmp_path / "p.jsonl").write_text('{"caption": "x"}\n\n{"other": 1}\n')
    assert read_prompts(tmp_path / "p.jsonl") == ["x", ""]


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("p.txt", b"", ConfigError, "no prompts"),
        ("p.txt", b"\n \n", ConfigError, "no prompts"),
        ("p.txt", b"\xff\xfe\x00caf\xe9", DataError, "UTF-8"),
        ("p.csv", b"a,b\n1,2\n", ConfigError, "a, b.*Rename the column"),
        ("p.csv", b"", ConfigError, "columns"),
        ("p.csv", b"x" * 200_000, DataError, "field limit"),
        ("p.jsonl", b'{"caption": "x"\n', DataError, "line 1"),
        ("p.jsonl", b'["x"]\n', DataError, "list"),
        ("p.json", b'["red apple", "dog face"]', ConfigError, "got a .json file; expected a text file"),
        ("p.TSV", b"id\tcaption\n1\tred apple\n", ConfigError, "got a .tsv file; expected a text file"),
        ("p.parquet", b"PAR1 not a table", DataError, "parquet"),
        ("p.arrow", b"nothing", DataError, "Arrow"),
    ],
)
def test_a_faulty_file_is_named(
    tmp_path: Path, name: str, content: bytes, error: type[AuditError], message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=message) as raised:
        read_prompts(tmp_path / name)
    assert str(tmp_path / name) in str(raised.value)


def test_no_such_file_and_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.txt", tmp_path):
        with pytest.raises(ConfigError, match="one prompt a line"):
            read_prompts(path)
