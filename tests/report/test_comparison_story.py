"""Sentences of a comparison: what they claim follows from its numbers, and changes with them."""

from __future__ import annotations

import pytest

from auditor.report.comparison.curve import curve_sentence
from auditor.report.comparison.story import (
    attribute_sentence,
    enumerated,
    headline,
    matrix_sentence,
    memorizer_sentence,
    verdict_sentence,
)
from auditor.store.comparison import Comparison
from auditor.store.regime import Regime
from tests import comparisons
from tests.records import unscored


def judged(*regimes: Regime) -> Comparison:
    """Checkpoints a thousand steps apart with these regimes."""
    made = comparisons.steps(*[0.5] * len(regimes))
    verdicts = [v.model_copy(update={"regime": regime}) for v, regime in zip(made.regimes, regimes, strict=True)]
    return made.model_copy(update={"regimes": verdicts})


@pytest.mark.parametrize(
    ("regimes", "title"),
    [
        (["memorization"], "The checkpoint memorises"),
        (["generalization"] * 3, "All 3 checkpoints generalise"),
        (["cannot conclude"] * 2, "All 2 checkpoints are left open"),
        (["generalization", "transition"], "Of 2 checkpoints, 1 memorises in part and 1 generalises"),
        (
            ["generalization", "cannot conclude", "memorization", "memorization"],
            "Of 4 checkpoints, 2 memorise, 1 is left open and 1 generalises",
        ),
        ([], "Compared, not judged"),
    ],
)
def test_headline_counts_the_gravest_first(regimes: list[Regime], title: str) -> None:
    assert headline(judged(*regimes)).title == title


def test_headline_counts_answers_where_one_checkpoint_has_two_samplers() -> None:
    made = comparisons.comparison(
        columns=[comparisons.answers("memorized"), comparisons.answers("memorized heun", "memorized", sampler="heun")],
        regimes=[comparisons.verdict("memorized", 0.9), comparisons.verdict("memorized heun", 0.9)],
    )
    assert headline(made).title == "All 2 answers memorise"


@pytest.mark.parametrize(
    ("regimes", "said"),
    [
        (
            ["generalization"] * 2,
            "Step 2,000, the last that was looked at, still generalises: no step is shown to memorise.",
        ),
        (
            ["cannot conclude", "generalization", "transition", "memorization"],
            "It memorises from step 3,000 on. Step 2,000 is the last before that is shown to generalise: train no "
            "longer than that.",
        ),
        (
            ["generalization", "cannot conclude", "memorization"],
            "It memorises from step 3,000 on. Step 1,000 is the last before that is shown to generalise: train no "
            "longer than that.",
        ),
        (
            ["cannot conclude", "memorization"],
            "It memorises from step 2,000 on. No step before is shown to generalise.",
        ),
        (
            ["generalization", "transition", "generalization"],
            "It memorises from step 2,000 on. Step 1,000 is the last before that is shown to generalise: train no "
            "longer than that. Later steps that generalise again: 3,000.",
        ),
        (
            ["generalization", "cannot conclude"],
            "No step is shown to memorise. Step 1,000 is the last that is shown to generalise: train no "
            "longer than that.",
        ),
        (["cannot conclude"], "No step is shown to memorise. None is shown to generalise."),
    ],
)
def test_step_curve_says_when_to_stop(regimes: list[Regime], said: str) -> None:
    assert curve_sentence(judged(*regimes)) == said


def test_size_curve_says_where_memorization_ends_and_generalization_starts() -> None:
    assert curve_sentence(comparisons.curve(False)) == (
        "Checkpoints memorise with up to 256 training images. From 4,096 training images on, all of them generalise."
    )
    memorising = comparisons.curve(False)
    verdicts = [v.model_copy(update={"regime": "transition"}) for v in memorising.regimes]
    said = curve_sentence(memorising.model_copy(update={"regimes": verdicts}))
    assert said.startswith(
        "No checkpoint on the curve is shown to memorise. At 16,384 training images, the largest set"
    )


def test_verdict_tells_why_there_is_no_share() -> None:
    made = comparisons.comparison()
    unknown = comparisons.verdict("memorized", 0.9, memorised=unscored("memorised", "no probe was finite"))
    assert verdict_sentence(made, unknown) == "no probe was finite"
    left_open = comparisons.verdict("memorized", 0.9, regime="cannot conclude", reasons=["40 probes are too few."])
    assert verdict_sentence(made, left_open) == "40 probes are too few."


def test_verdict_tells_chance_only_where_it_was_measured() -> None:
    made = comparisons.comparison()
    assert "(chance 0.83%)" in verdict_sentence(made, made.regimes[0])
    assert "chance" not in verdict_sentence(made.model_copy(update={"memorizer": []}), made.regimes[0])


def test_matrix_sentence_claims_disjoint_data_only_where_it_is_known() -> None:
    made = comparisons.comparison()
    assert matrix_sentence(made).startswith("memorized and general-a were trained on disjoint images.")
    unknown = [pair.model_copy(update={"data": "unknown"}) for pair in made.pairs]
    assert "No two checkpoints are known" in matrix_sentence(made.model_copy(update={"pairs": unknown}))
    assert "Over 100 pairs" in matrix_sentence(comparisons.curve(False))


def test_memorizer_sentence_is_of_the_decisive_encoder() -> None:
    made = comparisons.comparison()
    assert memorizer_sentence(made).startswith("memorized lands on the very image")
    other = [a for a in made.memorizer if a.encoder != "pixel"]
    assert "No checkpoint could be held" in memorizer_sentence(made.model_copy(update={"memorizer": other}))


def test_amplification_is_claimed_only_beyond_its_interval() -> None:
    tilted = attribute_sentence([comparisons.distribution("general-a", 0.45)])
    assert tilted.startswith("general-a generates “boot” 1.505 [1.435, 1.585] times")
    assert attribute_sentence([comparisons.distribution("general-a", 0.0)]).startswith("No value is shown")


def test_lists_are_written_as_sentences_have_them() -> None:
    assert [enumerated(list(parts)) for parts in ("", "a", "ab", "abc")] == ["", "a", "a and b", "a, b and c"]
