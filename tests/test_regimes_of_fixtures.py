"""Really trained checkpoints on the same probes: who reproduces whom, and who lands where the memorizer does."""

from __future__ import annotations

from pathlib import Path

import pytest

from auditor.comparing import compare
from auditor.comparison_config import resolve_comparison, validate_comparison
from auditor.store.comparison import Comparison
from auditor.store.regime import MemorizerAgreement

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    fixtures = Path(__file__).resolve().parent.parent / "fixtures"
    raw = {
        "models": [
            {"checkpoint": "general-a/checkpoint", "train": "general/train-a.parquet"},
            {"checkpoint": "general-b/checkpoint", "train": "general/train-b.parquet"},
            {"checkpoint": "memorized/checkpoint", "train": "memorized/train"},
            {"checkpoint": "finetuned/checkpoint", "train": "general/train-b.parquet", "ids": "curve/b.txt",
             "size": 64, "base": "general-a"},
        ],
        "data": {"holdout": "general/holdout.parquet", "split": "group", "id_column": "id"},
        "generation": {"probes": 256, "samplers": ["dpmpp_2m"], "steps": 20, "salt": "fixtures"},
    }  # fmt: skip
    config = resolve_comparison(validate_comparison(raw, "fixtures"), fixtures)
    return compare(config, tmp_path_factory.mktemp("regimes") / "run")


def agreement(found: Comparison, column: str) -> MemorizerAgreement:
    return next(one for one in found.memorizer if one.column == column)


def regime(found: Comparison, column: str) -> str:
    return next(one.regime for one in found.regimes if one.column == column)


def test_disjoint_data_and_another_architecture_give_alike_answers_to_the_same_noise(found: Comparison) -> None:
    pair = next(one for one in found.pairs if {one.left, one.right} == {"general-a", "general-b"})
    assert pair.data == "disjoint"
    assert pair.matched.lower is not None and pair.mismatched.upper is not None and pair.identified.lower is not None
    assert pair.matched.lower > 0.5 > 0.05 > pair.mismatched.upper
    assert pair.identified.lower > 20 / pair.probes


@pytest.mark.parametrize("column", ["general-a", "general-b"])
def test_a_generalising_checkpoint_is_nowhere_beyond_chance(found: Comparison, column: str) -> None:
    here = agreement(found, column)
    assert regime(found, column) in ("generalization", "cannot conclude")  # 256 probes leave the share's bound wide
    assert here.share.lower is not None and here.control.upper is not None
    assert here.share.lower <= here.control.upper  # held-out images in the training set's place do as much
    assert here.p_value.value is not None and here.p_value.value > 0.05
    assert here.gl.value is not None and here.gl.value > 0.95
    assert here.lower_bound.value == 0


def test_a_memorising_checkpoint_lands_where_its_memorizer_does(found: Comparison) -> None:
    here = agreement(found, "memorized")
    assert regime(found, "memorized") == "memorization"
    assert here.share.lower is not None and here.share.lower > 10 / 128 > here.chance
    assert here.control.value == 0  # not where the memorizer of 128 held-out images does
    assert here.reproduced.lower is not None and here.reproduced.lower > 0.5
    assert here.gl.value is not None and here.gl.value < 0.5


def test_a_fine_tune_moves_probes_onto_its_images_and_its_base_has_none_there(found: Comparison) -> None:
    (moved,) = found.moved
    assert (moved.base, moved.tuned) == ("general-a", "finetuned")
    assert moved.p_value < 0.001
    assert moved.onto.lower is not None and moved.off.upper is not None and moved.onto.lower > moved.off.upper
    assert regime(found, "finetuned") in ("transition", "memorization")
