"""The whole audit on micro inputs: record, resumption, refusal of changes, gate and reports."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import auditor
from auditor.cli.main import main
from auditor.errors import ConfigError
from auditor.store.record import Record
from tests.micro import micro_config, write_micro_inputs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("audit")
    write_micro_inputs(path)
    return path


@pytest.fixture(scope="module")
def record(folder: Path) -> Record:
    return auditor.run(micro_config(folder), str(folder / "run"))


def without_times(record: Record) -> dict[str, object]:
    return record.model_dump(exclude={"started", "seconds"})


def test_the_record_accounts_for_everything(record: Record) -> None:
    slices = record.slices
    assert slices.competition + slices.placebo + slices.membership == record.holdout.images == 260
    assert record.generation.probes == 96 and record.generation.non_finite == 0
    assert record.generation.denoiser_evaluations == 96 * 4
    assert record.copies[0].n_items == record.training.distinct == 96
    assert record.copies[0].m_items == slices.competition
    assert record.membership is not None
    assert [attack.name for attack in record.membership.attacks] == ["loss", "secmi", "pia", "pian", "combined"]
    assert record.membership.denoiser_evaluations < record.membership.evaluations_unshared
    assert {check.id for check in record.checks} == {"resolving", "positive-control", "placebo", "blind", "untrained"}


def test_what_membership_rests_on_is_recorded(record: Record) -> None:
    found = record.membership
    assert found is not None and found.shift is not None and found.power is not None
    assert (found.shift.members, found.shift.nonmembers) == (found.members, found.nonmembers)
    assert found.shift.p_value > 0.01 and found.shift.features  # both sides are drawn alike
    assert found.power.members == found.members - found.calibration_members
    assert found.mixed_groups == []


def test_an_untrained_network_copies_nothing(record: Record) -> None:
    assert record.copies[0].certified == record.copies[0].verbatim == 0
    assert record.copies[0].lower_bound.value == 0
    assert record.judgement is not None and record.judgement.outcome == "cannot conclude"  # pinned, too few probes


def test_a_finished_run_is_not_done_again(record: Record, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from auditor.stages import generate

    def refuse(*args: object) -> None:
        raise AssertionError("generated again")

    monkeypatch.setattr(generate, "sample_part", refuse)
    assert without_times(auditor.run(micro_config(folder), folder / "run")) == without_times(record)


def test_moved_inputs_are_the_same_audit(record: Record, folder: Path, tmp_path: Path) -> None:
    """Digests of what lies at a path count, not the path."""
    (tmp_path / "moved").symlink_to(folder)
    again = auditor.run(micro_config(tmp_path / "moved"), folder / "run")
    assert again.audit_digest == record.audit_digest


@pytest.mark.parametrize(
    ("section", "change", "line"),
    [
        ("generation", {"steps": 5}, "generation.steps: 4 -> 5"),
        ("copies", {"alpha": 0.2}, "copies.alpha: 0.1 -> 0.2"),
        ("data", {"split": "image"}, "split: 'group' -> 'image'"),
        ("membership", {"attacks": ["loss"]}, "membership.attacks"),
    ],
)
def test_a_changed_option_is_refused(
    record: Record, folder: Path, section: str, change: dict[str, object], line: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        auditor.run(micro_config(folder, **{section: change}), folder / "run")
    assert line in str(caught.value)
    assert caught.value.exit_code == 4


def test_changed_images_are_refused(record: Record, folder: Path, tmp_path: Path) -> None:
    write_micro_inputs(tmp_path, train=95)
    with pytest.raises(ConfigError, match="train: "):
        auditor.run(micro_config(tmp_path), folder / "run")


def test_a_secret_salt_is_drawn_published_and_kept(folder: Path, tmp_path: Path) -> None:
    config = micro_config(folder, generation={"salt": None, "probes": 16}, membership={"enabled": False})
    first = auditor.run(config, tmp_path / "a")
    other = auditor.run(config, tmp_path / "b")
    assert not first.generation.seed_pinned
    assert first.generation.salt != other.generation.salt
    assert first.generation.root_seed != other.generation.root_seed
    assert auditor.run(config, tmp_path / "a").generation == first.generation


def test_gate_and_report_read_the_record_alone(
    record: Record, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gate", str(folder / "run")]) == 3
    html = (folder / "run" / "report.html").read_bytes()
    assert main(["report", str(folder / "run")]) == 0
    assert (folder / "run" / "report.html").read_bytes() == html
    capsys.readouterr()
    lenient = tmp_path / "lenient.toml"
    lenient.write_text(
        "[copies]\nmax_rate = 1.0\nmax_floor = 1000\n[membership]\nmax_auc = 1.0\nmax_excess = 1.0\n"
        "max_tpr_at_1pct_fpr = 1.0\n[validity]\nrequired = []\n[probes]\nallow_pinned = true\n"
    )
    assert main(["gate", str(folder / "run"), "--policy", str(lenient), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["outcome"] == "pass"


def test_a_tampered_judgement_does_not_pass_the_gate(record: Record, folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    content = json.loads((folder / "run" / "record.json").read_text())
    content["judgement"] |= {"outcome": "pass", "exit_code": 0}
    (run / "record.json").write_text(json.dumps(content))
    assert main(["gate", str(run)]) == 3


def test_split_deals_every_image_once_and_repeats(folder: Path, tmp_path: Path) -> None:
    paths = auditor.split(folder / "holdout", share=0.3, salt="s", out=tmp_path / "one")
    train, holdout = (path.read_text().split() for path in paths[:2])
    assert len(holdout) == 78  # 30% of 260 groups: no two of the pictures are near-duplicates
    assert paths[2].read_text() == "id,group\n"  # so none was dealt together with another
    assert sorted(train + holdout) == [f"holdout-{index:04d}" for index in range(260)]
    again = auditor.split(folder / "holdout", share=0.3, salt="s", out=tmp_path / "two")
    assert [path.read_text() for path in again[:2]] == [path.read_text() for path in paths[:2]]
    with pytest.raises(ConfigError, match="empty folder"):
        auditor.split(folder / "holdout", out=tmp_path / "one")


def test_plan_counts_what_the_run_then_needs(record: Record, folder: Path) -> None:
    planned = auditor.plan(micro_config(folder))
    assert planned.generation_evaluations == record.generation.denoiser_evaluations
    assert record.membership is not None
    assert planned.membership_evaluations == record.membership.denoiser_evaluations
    assert planned.control_evaluations == record.membership.control_evaluations > 0
    power = record.membership.power
    assert power is not None and (planned.tpr_share, planned.images_needed) == (power.detectable_share, power.needed)
    assert planned.floor == record.copies[0].floor
    assert planned.competition == record.slices.competition
