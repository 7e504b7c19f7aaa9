"""Whole audits of a checkpoint whose "training images" are held-out garments: untouched, brightened, recompressed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import auditor
from auditor.config import validate
from auditor.store.record import Check, Record
from tests.conftest import FIXTURES
from tests.validity.plants import Pixels, brightened, garments, recompressed, unchanged

IMAGES = 700  # a side, of which 350 stand in the membership test


def audit(folder: Path, change) -> Record:
    """general-a was trained on neither half, so that nothing but the plant can tell them apart."""
    pixels: Pixels = garments(2 * IMAGES)
    np.savez(folder / "train.npz", images=change(pixels[:IMAGES]).transpose(0, 2, 3, 1))
    np.savez(folder / "holdout.npz", images=pixels[IMAGES:].transpose(0, 2, 3, 1))
    sections = {
        "checkpoint": {"path": str(FIXTURES / "general-a" / "checkpoint")},
        "data": {"train": str(folder / "train.npz"), "holdout": str(folder / "holdout.npz"), "split": "group"},
        "generation": {"probes": 64, "steps": 4, "salt": "planted shift"},
        "membership": {"attacks": ["loss", "pia"], "members": 350, "nonmembers": 350},
        "regime": {"probes": 0},
    }
    return auditor.run(validate(sections, "planted shift"), folder / "run")


def check(record: Record, id: str) -> Check:
    return next(check for check in record.checks if check.id == id)


@pytest.mark.parametrize("plant", [brightened, recompressed(80)], ids=["brightened by 3%", "JPEG 80"])
def test_a_planted_shift_is_caught_and_the_verdict_withheld(plant, tmp_path: Path) -> None:
    record = audit(tmp_path, plant)
    assert check(record, "blind").status == "failed"
    membership, judgement = record.membership, record.judgement
    assert membership is not None and membership.shift is not None and judgement is not None
    assert membership.shift.p_value == pytest.approx(1 / 1001)
    assert record.membership_outcome.outcome == judgement.outcome == "cannot conclude"
    assert record.membership_outcome.reasons[0].startswith("Membership is withheld")
    assert judgement.reason.startswith("The audit cannot be relied on") and judgement.exit_code == 3
    for report in ("report.html", "report.md"):
        assert membership.shift.features[0].name in (tmp_path / "run" / report).read_text()


def test_control_untouched_halves_are_not_blocked(tmp_path: Path) -> None:
    record = audit(tmp_path, unchanged)
    assert {check(record, id).status for id in ("blind", "untrained")} == {"passed"}
    assert record.membership is not None and record.membership.shift is not None
    assert record.membership.shift.p_value > 0.01
    assert not any("withheld" in reason for reason in record.membership_outcome.reasons)
    assert record.membership.control_evaluations > 0
