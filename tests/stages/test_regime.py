"""The regime in an audit: there by default, left out on request, open where the memorizer does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest

import auditor
from auditor.stages import regime
from auditor.stages.regime import of_one_origin
from auditor.store.record import Record
from tests.micro import micro_config, write_micro_inputs
from tests.records import check


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("regime")
    write_micro_inputs(path)
    return path


@pytest.fixture(scope="module")
def record(folder: Path) -> Record:
    return auditor.run(micro_config(folder, regime={"probes": 48}), folder / "run")


def test_an_untrained_network_is_in_no_regime(record: Record) -> None:
    assert record.regime is not None and record.regime.agreement is not None
    assert record.regime.agreement.probes == 48  # of 96
    assert record.regime.verdict.regime == "cannot conclude"
    assert record.regime.verdict.remedies


def test_the_bounds_are_those_of_the_copy_test(record: Record) -> None:
    assert record.regime is not None and record.regime.agreement is not None
    agreement = record.regime.agreement
    found = next(one for one in record.copies if one.encoder == agreement.encoder)
    assert agreement.lower_bound == found.lower_bound and agreement.certified == found.certified
    assert agreement.resolving == found.resolving


def test_no_probes_leave_it_out(folder: Path, tmp_path: Path) -> None:
    assert auditor.run(micro_config(folder, regime={"probes": 0}), tmp_path / "run").regime is None


def test_a_memorizer_that_does_not_fit_is_not_made(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(regime, "MOST_BYTES", 1000)
    found = auditor.run(micro_config(folder), tmp_path / "run").regime
    assert found is not None and found.agreement is None
    assert found.verdict.regime == "cannot conclude" and "GiB of memory" in found.verdict.reasons[0]
    assert not list((tmp_path / "run").glob("embed/*/regime-*"))


def test_sets_of_two_origins_withhold_the_verdict(record: Record) -> None:
    failed, passed = check("blind", "failed"), check("blind", "passed")
    withheld = of_one_origin(record.regime, [failed])
    assert withheld is not None and "not of one origin" in withheld.verdict.reasons[0]
    assert of_one_origin(record.regime, [passed]) == record.regime
    assert of_one_origin(None, [failed]) is None
