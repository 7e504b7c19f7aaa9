"""A micro-comparison: every stage on real code, seconds long."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

import auditor
from auditor.cli.main import main
from auditor.comparing import compare, read_compared
from auditor.comparison_config import ComparisonConfig, validate_comparison
from auditor.data import Geometry
from auditor.errors import ConfigError
from auditor.progress import Meter
from auditor.stages.comparison.columns import control_ids
from auditor.stages.inputs import open_images
from auditor.store.comparison import Comparison
from tests.micro import write_checkpoint, write_micro_inputs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("micro")
    write_micro_inputs(root)
    write_checkpoint(root / "other", layers_per_block=2)
    return root


def micro_comparison(folder: Path, **changes: object) -> ComparisonConfig:
    ids = sorted(path.stem for path in (folder / "train").iterdir())
    (folder / "first.txt").write_text("".join(f"{name}\n" for name in ids[:40]))
    raw: dict[str, object] = {
        "models": [
            {"checkpoint": str(folder / "checkpoint"), "name": "first", "train": str(folder / "train"),
             "ids": str(folder / "first.txt")},
            {"checkpoint": str(folder / "other"), "train": str(folder / "train"), "base": "first"},
        ],
        "data": {"holdout": str(folder / "holdout"), "split": "image"},
        "generation": {"probes": 64, "steps": 3, "batch_size": 16, "salt": "micro"},
        "tasks": {"problems": ["inpaint"], "solvers": ["null_space", "posterior"], "images": 30},
        "clusters": 3,
        "sheet": 5,
    }  # fmt: skip
    return validate_comparison({**raw, **changes}, "micro")


@pytest.fixture(scope="module")
def made(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Comparison, Path]:
    run_dir = tmp_path_factory.mktemp("runs") / "compare"
    return compare(micro_comparison(folder), run_dir), run_dir


def test_every_part_is_there(made: tuple[Comparison, Path]):
    found, run_dir = made
    assert [column.name for column in found.columns] == [
        "first", "other", "memorizer of first", "memorizer of other",
    ]  # fmt: skip
    assert [(pair.left, pair.right, pair.data) for pair in found.pairs] == [
        ("first", "other", "overlapping"), ("first", "memorizer of first", "same"),
        ("other", "memorizer of other", "same"),
    ]  # fmt: skip
    assert [verdict.column for verdict in found.regimes] == ["first", "other"]
    assert [len(agreement.clusters) for agreement in found.memorizer] == [3, 3]
    assert [(moved.base, moved.tuned) for moved in found.moved] == [("first", "other")]
    assert len(found.tasks) == 1 * 2 * (2 + 1)
    assert len(found.sheet) == 5
    assert all((run_dir / image).is_file() for row in found.sheet for image in row.images if image)
    for name in ("comparison.html", "comparison.md", "comparison.json"):
        assert (run_dir / name).stat().st_size > 1000


def test_untrained_checkpoints_memorise_nothing(made: tuple[Comparison, Path]):
    found, _ = made
    assert all(verdict.regime not in ("memorization", "transition") for verdict in found.regimes)
    assert all((agreement.share.upper or 1) < 0.1 for agreement in found.memorizer)


def test_probes_can_be_read_one_by_one(made: tuple[Comparison, Path]):
    found, run_dir = made
    rows = pq.read_table(run_dir / "probes.parquet").to_pylist()
    assert len(rows) == sum(agreement.probes for agreement in found.memorizer)
    first = [row for row in rows if row["column"] == "first"]
    share = sum(row["agrees"] for row in first) / len(first)
    assert share == found.memorizer[0].share.value
    assert {row["memorizer_reaches"] for row in first} <= {f"train-{k:04d}" for k in range(40)}


def test_the_same_command_goes_on_to_the_same_record(folder: Path, made: tuple[Comparison, Path]):
    found, run_dir = made
    again = compare(micro_comparison(folder), run_dir)
    assert without_times(again) == without_times(found) == without_times(read_compared(run_dir))


def test_a_kill_between_stages_changes_nothing(folder: Path, made: tuple[Comparison, Path], tmp_path: Path):
    """Part of the ledger is lost, as after a kill; everything is made again from what is left."""
    found, _ = made
    compare(micro_comparison(folder), tmp_path / "run")
    entries = sorted((tmp_path / "run" / "ledger").rglob("*.json"))
    for entry in entries[::2]:
        entry.unlink()
    assert without_times(compare(micro_comparison(folder), tmp_path / "run")) == without_times(found)


def test_another_comparison_does_not_resume_this_one(folder: Path, made: tuple[Comparison, Path]):
    _, run_dir = made
    changed = micro_comparison(folder, generation={"probes": 48, "steps": 3, "batch_size": 16, "salt": "micro"})
    with pytest.raises(ConfigError, match=r"generation\.probes: 64 -> 48"):
        compare(changed, run_dir)


def test_several_samplers_are_columns(folder: Path, tmp_path: Path):
    generation = {"probes": 32, "steps": 3, "batch_size": 16, "samplers": ["ddim", "heun"], "salt": "micro"}
    found = compare(micro_comparison(folder, generation=generation, tasks={}), tmp_path / "run")
    assert len(found.columns) == 8
    assert found.columns[2].name == "first · heun"
    pair = next(p for p in found.pairs if {p.left, p.right} == {"first · ddim", "first · heun"})
    assert pair.data == "same"
    assert pair.matched.value is not None and pair.matched.value > 0.5
    assert found.columns[2].denoiser_evaluations > found.columns[0].denoiser_evaluations


def test_without_any_images_similarity_is_still_compared(folder: Path, tmp_path: Path):
    models = [{"checkpoint": str(folder / "checkpoint"), "name": "first"}, {"checkpoint": str(folder / "other")}]
    found = compare(micro_comparison(folder, models=models, data={}, tasks={}), tmp_path / "run")
    assert [verdict.regime for verdict in found.regimes] == ["cannot conclude"] * 2
    assert len(found.pairs) == 1
    assert found.pairs[0].data == "unknown"


def test_without_held_out_images_the_memorizer_still_answers(folder: Path, tmp_path: Path):
    found = compare(micro_comparison(folder, data={}, tasks={}), tmp_path / "run")
    assert found.memorizer[0].share.value is not None
    assert found.memorizer[0].control.value is None
    assert found.memorizer[0].lower_bound.unscored


def test_checkpoints_that_cannot_share_noise_are_refused(folder: Path, tmp_path: Path):
    write_checkpoint(tmp_path / "labelled", num_class_embeds=3)
    models = [{"checkpoint": str(folder / "checkpoint")}, {"checkpoint": str(tmp_path / "labelled")}]
    with pytest.raises(ConfigError, match="no and 3 class labels"):
        compare(micro_comparison(folder, models=models, tasks={}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": {}}, "held-out images, whose restoration is the standard"),
        ({"tasks": {"problems": ["superresolve"]}, "data": {"holdout": "", "resize": True}}, "6x6"),
    ],
)
def test_problems_that_cannot_be_posed_are_refused_before_anything_is_generated(folder, tmp_path, changes, message):
    write_checkpoint(tmp_path / "six", sample_size=6)
    models = [{"checkpoint": str(tmp_path / "six"), "train": str(folder / "train")}]
    if "holdout" in changes["data"]:
        changes = {**changes, "data": {**changes["data"], "holdout": str(folder / "holdout")}}
    with pytest.raises(ConfigError, match=message):
        compare(micro_comparison(folder, models=models, **changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_one_checkpoint_with_nothing_beside_it_is_refused(folder: Path, tmp_path: Path):
    models = [{"checkpoint": str(folder / "checkpoint")}]
    with pytest.raises(ConfigError, match="something to compare it with"):
        compare(micro_comparison(folder, models=models, data={}, tasks={}), tmp_path / "run")


def test_attributes_that_nothing_states_are_said_to_be_missing(folder: Path, tmp_path: Path):
    generation = {"probes": 4, "steps": 2, "salt": "micro"}
    asked = micro_comparison(folder, generation=generation, tasks={}, attributes={"captions": True})
    found = compare(asked, tmp_path / "run")
    assert found.attributes == []
    assert any("attributes were not measured" in note for note in found.notes)


class OneBar:
    """Progress that fails where a stage begins inside another, as a live terminal may."""

    def __init__(self) -> None:
        self.open = False
        self.titles: list[str] = []

    @contextmanager
    def stage(self, title: str, total: int, unit: str) -> Iterator[Meter]:
        assert not self.open, f"{title} begins inside {self.titles[-1]}"
        self.open = True
        self.titles.append(title)
        yield lambda done: None
        self.open = False

    def note(self, text: str) -> None:
        """Nothing to show."""


def test_stages_follow_each_other(folder: Path, tmp_path: Path):
    generation = {"probes": 8, "steps": 2, "salt": "micro"}
    shown = OneBar()
    compare(micro_comparison(folder, generation=generation), tmp_path / "run", progress=shown)
    assert "regimes" in shown.titles


def test_going_on_reads_no_points_of_a_memorizer(folder: Path, made, monkeypatch: pytest.MonkeyPatch):
    found, run_dir = made

    def refuse(*_: object) -> None:
        raise AssertionError("a memorizer was made for answers that are there")

    monkeypatch.setattr("auditor.stages.memorizer.memorizer_of", refuse)
    assert without_times(compare(micro_comparison(folder), run_dir)) == without_times(found)


def test_the_public_names(folder: Path):
    assert auditor.compare is compare
    assert auditor.read_comparison.__name__ == "read_comparison"


def without_times(comparison: Comparison) -> dict[str, object]:
    whole = json.loads(comparison.model_dump_json())
    for name in ("started", "seconds"):
        whole.pop(name)
    return whole


def test_a_held_out_set_of_another_origin_withholds_the_verdict(
    folder: Path, tmp_path: Path, made: tuple[Comparison, Path]
):
    """Brightened by a fifth: a classifier that sees no checkpoint tells the sides apart, so nothing is concluded."""
    (tmp_path / "bright").mkdir()
    for file in (folder / "holdout").iterdir():
        Image.open(file).point(lambda level: min(255, round(1.2 * level + 20))).save(tmp_path / "bright" / file.name)
    data = {"holdout": str(tmp_path / "bright"), "split": "image"}
    found = compare(micro_comparison(folder, data=data, tasks={}), tmp_path / "run")
    assert {verdict.regime for verdict in found.regimes} == {"cannot conclude"}
    assert all("not of one origin" in verdict.reasons[0] for verdict in found.regimes)
    assert not any("Too few images to be sure" in verdict.reasons[0] for verdict in found.regimes)
    same = made[0]
    assert not any("not of one origin" in reason for verdict in same.regimes for reason in verdict.reasons)
    assert sum("origin of the images" in note for note in same.notes) == 2


@pytest.mark.parametrize(("held_out", "control"), [(96, 96), (60, 60), (47, 0)])
def test_half_as_many_held_out_images_are_a_control(folder: Path, tmp_path: Path, held_out: int, control: int):
    ids = sorted(path.stem for path in (folder / "holdout").iterdir())[:held_out]
    (tmp_path / "held.txt").write_text("\n".join(ids))
    geometry = Geometry(1, 8, 8)
    train = open_images(folder / "train", geometry)
    holdout = open_images(folder / "holdout", geometry, ids=tmp_path / "held.txt")
    chosen = control_ids(train, holdout, "seed")
    assert len(chosen) == len(set(chosen)) == control
    assert set(chosen) <= set(ids)


@pytest.mark.parametrize(("held_out", "calibrated"), [(96, True), (60, False)])
def test_the_calibrated_gl_score_takes_sets_of_one_size(
    folder: Path, tmp_path: Path, held_out: int, calibrated: bool
) -> None:
    ids = sorted(path.stem for path in (folder / "holdout").iterdir())[:held_out]
    (tmp_path / "held.txt").write_text("\n".join(ids))
    data = {"holdout": str(folder / "holdout"), "holdout_ids": str(tmp_path / "held.txt"), "split": "group"}
    generation = {"probes": 200, "steps": 2, "batch_size": 50, "salt": "micro"}
    found = compare(micro_comparison(folder, data=data, generation=generation, tasks={}), tmp_path / "run")
    of_all = next(agreement for agreement in found.memorizer if agreement.column == "other")  # 96 training images
    assert (of_all.gl.value is not None) == calibrated
    assert of_all.p_value.value is not None


def test_class_conditional_checkpoints_are_asked_the_same_classes(folder: Path, tmp_path: Path):
    """The images state no class numbers, so that the memorizer ignores the class, and the record says so."""
    for name, layers in (("one", 1), ("two", 2)):
        write_checkpoint(tmp_path / name, num_class_embeds=3, layers_per_block=layers)
    models = [{"checkpoint": str(tmp_path / name), "train": str(folder / "train")} for name in ("one", "two")]
    found = compare(micro_comparison(folder, models=models, tasks={}), tmp_path / "run")
    assert all(model.checkpoint.conditional for model in found.models)
    assert any("no class numbers" in note for note in found.notes)


def test_bfloat16_is_another_result_and_close_to_it(folder: Path, tmp_path: Path, made: tuple[Comparison, Path]):
    generation = {"probes": 64, "steps": 3, "batch_size": 16, "salt": "micro", "dtype": "bfloat16"}
    found = compare(micro_comparison(folder, generation=generation, tasks={}), tmp_path / "run")
    wide = made[0]
    assert found.root_seed == wide.root_seed
    assert found.comparison_digest != wide.comparison_digest
    assert found.pairs[0].matched.value == pytest.approx(wide.pairs[0].matched.value, abs=0.1)
    assert any("bfloat16" in note for note in found.models[0].checkpoint.notes)


def test_a_curve_needs_no_more_than_sizes(folder: Path, tmp_path: Path):
    models = [
        {
            "checkpoint": str(folder / name),
            "train": str(folder / "train"),
            "ids": str(folder / "first.txt"),
            "size": size,
        }
        for name, size in (("checkpoint", 20), ("other", 40))
    ]
    found = compare(micro_comparison(folder, models=models, tasks={}, curve="size"), tmp_path / "run")
    assert [(model.size, model.training.distinct) for model in found.models if model.training] == [(20, 20), (40, 40)]
    assert "Training images" in (tmp_path / "run" / "comparison.md").read_text()


def test_the_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    command = [
        "compare", str(folder / "checkpoint"), str(folder / "other"), "--train", str(folder / "train"),
        "--holdout", str(folder / "holdout"), "--probes", "32", "--steps", "2", "--salt", "micro",
    ]  # fmt: skip
    run_dir = tmp_path / "run"
    assert main([*command, "--run-dir", str(run_dir)]) == 0
    said = capsys.readouterr().err
    assert "checkpoint / other" in said or "micro" in said
    assert "→" in said
    assert str(run_dir / "comparison.html") in said.replace("\n", "")
    (run_dir / "comparison.md").unlink()
    assert main(["report", str(run_dir)]) == 0
    assert (run_dir / "comparison.md").is_file()
    assert main(["report", str(run_dir), "--policy", "none.toml"]) == 4
    assert main([*command, "--train", "nowhere", "--run-dir", str(run_dir)]) == 4
