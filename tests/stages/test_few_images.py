"""Membership asked for with too little to test it on: refused before generation, or left out with the reason."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import auditor
from auditor.errors import ConfigError
from auditor.stages.membership.few import none_set_aside, too_few
from auditor.store.record import Record
from tests.micro import micro_config, write_micro_inputs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("few")
    write_micro_inputs(path)
    return path


def audit(folder: Path, run: str, **membership: object) -> Record:
    return auditor.run(micro_config(folder, generation={"probes": 16}, membership=membership), folder / run)


def test_non_members_too_few_to_calibrate_on_are_refused_before_generation(folder: Path) -> None:
    with pytest.raises(ConfigError, match="got 1 nonmembers for calibration and 59 for the report"):
        audit(folder, "refused", members=96, nonmembers=60, calibration=0.02)
    assert not (folder / "refused").exists()


def test_gradients_alone_say_nothing_of_a_set_and_lose_nothing(folder: Path) -> None:
    found = audit(folder, "gsa", attacks=["gsa"], members=40, nonmembers=60).membership
    assert found is not None and [attack.name for attack in found.attacks] == ["gsa"]
    assert found.dataset_inference is not None and found.dataset_inference.outcome == "not tested"
    assert "learn from no labels" in found.dataset_inference.statement


def test_too_few_non_members_are_a_reason_and_a_remedy(folder: Path) -> None:
    found = audit(folder, "few", attacks=["loss"], members=60, nonmembers=40)
    assert found.membership is None
    assert any("membership.nonmembers is 40, and at least 50 are needed" in said for said in found.not_tested)
    assert found.judgement is not None
    assert not any("membership.enabled" in remedy for remedy in found.judgement.remedies)


def test_a_plan_says_beforehand_that_membership_is_not_tested(folder: Path) -> None:
    said = {}
    for name, asked in {"few": {"nonmembers": 40}, "none": {"enabled": False}, "some": {"nonmembers": 60}}.items():
        lines = auditor.plan(micro_config(folder, generation={"probes": 16}, membership=asked)).lines()
        said[name] = [line.answer for line in lines if line.question.startswith("membership")]
    assert len(said["few"]) == 1 and "membership.nonmembers is 40, and at least 50 are needed" in said["few"][0]
    assert said["none"] == ["not asked for"]
    assert len(said["some"]) == 4 and "not tested" not in " ".join(said["some"])


def test_held_out_images_that_resemble_training_images_cost_membership_and_not_the_audit(tmp_path: Path) -> None:
    """Every held-out image a training image with one pixel changed: nobody is left on the other side."""
    write_micro_inputs(tmp_path, train=260)
    shutil.rmtree(tmp_path / "holdout")
    (tmp_path / "holdout").mkdir()
    for file in sorted((tmp_path / "train").iterdir()):
        pixels = np.array(Image.open(file))
        pixels[0, 0] ^= 1
        Image.fromarray(pixels).save(tmp_path / "holdout" / file.name)
    found = audit(tmp_path, "run", attacks=["loss"], members=20, nonmembers=60)
    assert found.membership is None and found.copies
    assert any("near-duplicates" in said and "though asked for" in said for said in found.not_tested)


def test_reasons_at_their_limits(folder: Path) -> None:
    assert too_few(10, 10, 0.2) == []  # two of either for calibration
    assert "1 member and 10 non-members are left" in too_few(1, 10, 0.2)[0]
    assert too_few(10, 7, 0.2)  # one
    assert none_set_aside(micro_config(folder, membership={"enabled": False})) == []
    assert "give more of the same origin" in none_set_aside(micro_config(folder))[0]
