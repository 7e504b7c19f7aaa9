"""Class-conditional checkpoints are tested under true classes on both sides, or on neither, and the record says so."""

from __future__ import annotations

from pathlib import Path

import auditor
from auditor.data.captions import stated_class
from auditor.stages.membership.labels import label_of
from auditor.store.record import Record
from tests.micro import micro_config, write_checkpoint, write_micro_inputs


def test_only_class_numbers_of_the_checkpoint_are_classes() -> None:
    assert [stated_class(text, 10) for text in ("3", " 9 ", "10", "-1", "boot", "", None, "1" * 5_000)] == [
        3, 9, None, None, None, None, None, None,
    ]  # fmt: skip
    assert label_of("a", "7", "s", 10) == 7
    assert label_of("a", "boot", "s", 10) == label_of("a", None, "s", 10) < 10


def caption(folder: Path, classes: int = 3) -> None:
    for index, file in enumerate(sorted(folder.glob("*.png"))):
        file.with_suffix(".txt").write_text(str(index % classes))


def audited(folder: Path, name: str) -> tuple[Record, list[str]]:
    record = auditor.run(micro_config(folder), folder / name)
    return record, [line for line in record.not_tested if "true classes" in line]


def test_classes_count_on_both_sides_or_on_neither(tmp_path: Path) -> None:
    write_micro_inputs(tmp_path)
    write_checkpoint(tmp_path / "checkpoint", num_class_embeds=3)
    none, said = audited(tmp_path, "none")
    assert len(said) == 1 and "220 of 220 images state no class number" in said[0]
    caption(tmp_path / "train")
    one_side, said = audited(tmp_path, "one-side")
    assert len(said) == 1 and "130 of 220 images" in said[0]
    assert none.membership is not None and one_side.membership is not None
    assert one_side.membership.attacks == none.membership.attacks  # not told apart by who has captions
    caption(tmp_path / "holdout")
    both, said = audited(tmp_path, "both")
    assert said == []
    assert both.membership is not None and both.membership.attacks != none.membership.attacks
