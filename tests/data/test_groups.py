"""Groups of a split: read back as they were written, and refused where they cannot be what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from auditor.data.groups import read_groups, write_groups
from auditor.errors import ConfigError


def test_groups_are_read_back_and_images_alone_are_left_out(tmp_path: Path) -> None:
    file = tmp_path / "groups.csv"
    write_groups(file, {"a": "1", "b,c": "1", "d": "2", 'e"': "3", "f": "3"})
    assert read_groups(file, ["a", "b,c", "d", 'e"', "f"]) == {"a": "1", "b,c": "1", 'e"': "3", "f": "3"}


def test_ids_of_neither_set_are_left_out(tmp_path: Path) -> None:
    file = tmp_path / "groups.csv"
    write_groups(file, {"trained": "1", "held": "1"})
    assert read_groups(file, ["held", "other"]) == {"held": "1"}


def test_groups_may_all_be_of_training_images(tmp_path: Path) -> None:
    # As `auditor split` writes them where no held-out image has a relative.
    file = tmp_path / "groups.csv"
    write_groups(file, {"trained": "1", "too": "1", "held": "2"})
    assert read_groups(file, ["trained", "too"], ["held"]) == {"trained": "1", "too": "1"}
    with pytest.raises(ConfigError, match="none of them of either set"):
        read_groups(file, ["held"], ["another"])


def test_a_byte_order_mark_and_other_scripts_are_read(tmp_path: Path) -> None:
    file = tmp_path / "groups.csv"
    file.write_text("id,group\nfür,Größe\nうみ,Größe\n", encoding="utf-8-sig")
    assert read_groups(file, ["für", "うみ"]) == {"für": "Größe", "うみ": "Größe"}


def test_a_split_without_any_group_is_fine(tmp_path: Path) -> None:
    file = tmp_path / "groups.csv"
    write_groups(file, {"a": "1", "b": "2"})
    assert read_groups(file, ["a", "b"]) == {}


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("a,1\nb,1\n", "the header"),
        ("", "the header"),
        ("id,group\na\n", "in line 2"),
        ("id,group\na,\n", "in line 2"),
        ("id,group\na,1\na,2\n", "'a' in two groups"),
        ("id,group\nx,1\ny,1\n", "2 ids, none of them of either set"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: str, fault: str) -> None:
    file = tmp_path / "groups.csv"
    file.write_text(content)
    with pytest.raises(ConfigError, match=fault):
        read_groups(file, ["a", "b"])


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.groups: got .*gone"):
        read_groups(tmp_path / "gone.csv", ["a"])
    (tmp_path / "bytes.csv").write_bytes(b"id,group\n\xff\xfe,1\n")
    with pytest.raises(ConfigError, match="UTF-8"):
        read_groups(tmp_path / "bytes.csv", ["a"])
