"""A really trained class-conditional checkpoint: a memorizer that knows classes, membership under the true ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import auditor
from auditor.comparison_config import resolve_comparison, validate_comparison
from auditor.store.comparison import Comparison
from auditor.store.record import Record

pytestmark = pytest.mark.slow
CLASSES = 10


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("classes") / "run"


@pytest.fixture(scope="module")
def compared(run_dir: Path, fixtures: Path) -> Comparison:
    raw = {
        "models": [{"checkpoint": "classes/checkpoint", "train": "classes/train.parquet"}],
        "data": {"holdout": "classes/holdout.parquet", "split": "group", "id_column": "id"},
        "generation": {"probes": 200, "samplers": ["dpmpp_2m"], "steps": 20, "salt": "fixtures"},
    }
    return auditor.compare(resolve_comparison(validate_comparison(raw, "classes"), fixtures), run_dir)


@pytest.fixture(scope="module")
def audited(fixtures: Path, tmp_path_factory: pytest.TempPathFactory) -> Record:
    config = auditor.read_config(fixtures / "classes" / "audit.toml")
    generation = config.generation.model_copy(update={"sampler": "dpmpp_2m", "steps": 20, "probes": 500})
    return auditor.run(config.model_copy(update={"generation": generation}), tmp_path_factory.mktemp("audit") / "run")


def test_it_memorises_and_lands_where_the_memorizer_of_its_class_does(compared: Comparison) -> None:
    (here,), (verdict,) = compared.memorizer, compared.regimes
    assert verdict.regime == "memorization"
    assert here.share.lower is not None and here.share.lower > 5 * here.chance
    assert here.control.value == 0
    assert not any("class numbers" in note for note in compared.notes)


def test_the_memorizer_stays_in_the_class_that_a_probe_asks_for(
    compared: Comparison, run_dir: Path, fixtures: Path
) -> None:
    rows = pq.read_table(run_dir / "probes.parquet").to_pydict()
    images = pq.read_table(fixtures / "classes" / "train.parquet", columns=["id", "caption"]).to_pydict()
    class_of = dict(zip(images["id"], map(int, images["caption"]), strict=True))
    asked = np.array(rows["probe"]) % CLASSES
    reached = np.array([class_of[name] for name in rows["memorizer_reaches"]])
    assert (asked == reached).mean() > 0.97  # a near-duplicate of another class may stand for its group


def test_the_audit_finds_its_copies_and_its_members(audited: Record) -> None:
    assert audited.judgement is not None and audited.judgement.outcome == "fail"
    assert audited.copies[0].lower_bound.value is not None and audited.copies[0].lower_bound.value > 60
    assert audited.regime is not None and audited.regime.verdict.regime == "memorization"
    assert audited.membership is not None
    assert max(attack.auc.value or 0 for attack in audited.membership.attacks) > 0.95
    assert not any("class number" in note for note in audited.not_tested)  # every image states its own
