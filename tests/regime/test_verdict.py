"""Every branch of the regime verdict, its sentences, and that agreement moves it one way only."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from auditor.regime.agreement import sign_test
from auditor.regime.reproducibility import reproducibility
from auditor.regime.sentences import probes_needed
from auditor.regime.shares import share, significance, unscored
from auditor.regime.verdict import allowed_share, regime_verdict
from auditor.stats.intervals import clopper_pearson
from auditor.store.comparison import Reproducibility
from auditor.store.parts import Estimate
from auditor.store.regime import ClusterShare, MemorizerAgreement
from tests.regime.columns import two_columns

ORDER = ["generalization", "cannot conclude", "transition", "memorization"]


def bound(value: int | None) -> Estimate:
    if value is None:
        return unscored("reproduced images", "no competition was held")
    return Estimate(name="reproduced images", value=value, lower=value, level=0.95, method="simultaneous")


def agreement(
    hits: int = 1,
    *,
    probes: int = 512,
    control: int | None = 1,
    training_reached: int | None = None,
    plausible: int = 500,
    lower_bound: int | None = 0,
    resolving: bool = True,
    chance: float = 0.002,
    clusters: list[ClusterShare] | None = None,
    reproduced: int | None = None,
    columns: int = 1,
    shared_bound: int | None = None,
) -> MemorizerAgreement:
    """A checkpoint with so many probes landing where the memorizer does; by default one that generalises."""
    reached = hits if training_reached is None else training_reached
    held_out = unscored("control", "no held-out images served as a control")
    return MemorizerAgreement(
        encoder="pixel",
        column="a",
        resolving=resolving,
        probes=probes,
        items=500,
        share=share("share", hits, probes, 0.95),
        chance=chance,
        control=held_out if control is None else share("control", control, probes, 0.95),
        training_reached=reached,
        control_reached=control or 0,
        p_value=held_out if control is None else sign_test(reached, control, 500, 500),
        landed=share("landed", hits, probes, 0.95),
        landed_holdout=share("landed", control or 0, probes, 0.95),
        reproduced=held_out if reproduced is None else share("reproduced", reproduced, probes, 0.95),
        plausible=share("plausible", plausible, probes, 0.95),
        gl_published=unscored("GL", "not measured"),
        gl=unscored("GL", "not measured"),
        certified=0,
        lower_bound=bound(lower_bound),
        significance=significance(columns),
        shared_bound=bound(lower_bound if shared_bound is None else shared_bound),
        clusters=clusters or [],
    )


def partner(correlation: float = 0.6, *, probes: int = 200, name: str = "b", data: str = "disjoint") -> Reproducibility:
    left, right = two_columns(np.random.default_rng(1), probes, 24, correlation)
    return reproducibility(left, right, encoder="pixel", names=("a", name), data=data)


def test_most_probes_with_the_memorizer_are_memorization() -> None:
    found = regime_verdict(agreement(300, control=0, lower_bound=120))
    assert found.regime == "memorization" and found.remedies == []
    assert found.reasons[0].startswith("It memorises: 58.6% [54.2%, 62.9%] of probes land on the very training image")
    assert "by chance 0.2% would" in found.reasons[0]
    assert found.reasons[1].startswith("With as many held-out images in the training set's place it is 0%")
    assert found.reasons[2] == "At least 120 distinct training images are reproduced (95% confidence)."
    assert found.memorised.value == 300 / 512


def test_images_known_by_heart_are_memorization_wherever_the_closed_form_goes() -> None:
    found = regime_verdict(agreement(180, control=0, lower_bound=120, reproduced=500))
    assert found.regime == "memorization"
    assert "of probes land on training images beyond what held-out images explain, and 35.2% [" in found.reasons[0]
    # not without agreement above chance, nor where only few probes do, nor without training images being favoured
    assert regime_verdict(agreement(1, control=0, lower_bound=120, reproduced=500)).regime == "transition"
    assert regime_verdict(agreement(180, control=0, lower_bound=120, reproduced=260)).regime == "transition"
    by_coin = agreement(40, control=1, lower_bound=0, training_reached=1, reproduced=500)
    assert regime_verdict(by_coin).regime == "cannot conclude"


def test_the_lower_bound_decides_and_not_the_share() -> None:
    lower = {hits: clopper_pearson(hits, 512).lower for hits in (278, 279, 280)}
    least = next(hits for hits, value in lower.items() if value >= 0.5)
    assert regime_verdict(agreement(least, control=0)).regime == "memorization"
    assert regime_verdict(agreement(least - 1, control=0)).regime == "transition"


def test_a_share_that_chance_or_held_out_images_reach_too_is_no_memorization() -> None:
    # Two images: the memorizer of held-out ones agrees as often
    assert regime_verdict(agreement(400, control=390, training_reached=1)).regime == "cannot conclude"
    assert regime_verdict(agreement(400, control=None, chance=0.9)).regime == "cannot conclude"
    assert regime_verdict(agreement(400, control=None, chance=0.5)).regime == "memorization"


def test_favoured_training_images_are_a_transition() -> None:
    cluster = [ClusterShare(cluster="shoe", share=share("share", 25, 40, 0.99), chance=0.002)]
    found = regime_verdict(agreement(30, clusters=cluster))
    assert found.regime == "transition" and found.remedies == []
    assert found.reasons[0].startswith("It memorises some: 5.86% [")
    assert (
        found.reasons[1]
        == "30 training images and 1 held-out image are reached together with their memorizers (sign test over images, "
        "p < 0.0001, where 0.025 counts)."
    )
    assert found.reasons[2].startswith("Most of all in shoe: 62.5% [")


def test_a_reproduced_image_is_a_transition_without_any_agreement() -> None:
    found = regime_verdict(agreement(0, control=0, lower_bound=1))
    assert found.regime == "transition"
    assert "At least 1 distinct training image is reproduced (95% confidence)." in found.reasons


def test_the_sign_test_has_half_of_the_five_percent() -> None:
    # 5 of 5: p = 1/32; 6 of 6: p = 1/64
    assert regime_verdict(agreement(5, control=0, probes=4_000, plausible=4_000)).regime == "generalization"
    assert regime_verdict(agreement(6, control=0, probes=4_000, plausible=4_000)).regime == "transition"


def test_columns_share_the_five_percent() -> None:
    # among 15 columns 0.05 / 30 = 1/600 counts: 9 of 9 do not reach it together with 1 / 512, 10 of 10 do
    nine = regime_verdict(agreement(9, control=0, probes=4_000, plausible=4_000, columns=15))
    assert nine.regime == "generalization"
    assert "p = 0.002, where 0.0017 counts" in " ".join(nine.reasons)
    assert regime_verdict(agreement(10, control=0, probes=4_000, plausible=4_000, columns=15)).regime == "transition"
    by_itself = agreement(0, control=0, lower_bound=1, shared_bound=0, columns=15)
    assert regime_verdict(by_itself).regime == "generalization"
    assert significance(15) == pytest.approx(1 / 600)


def test_of_comparisons_where_nothing_is_memorised_at_most_one_in_twenty_calls_a_transition() -> None:
    rng, called, repetitions, columns = np.random.default_rng(11), 0, 400, 15
    for _ in range(repetitions):
        reached = [rng.binomial(40, 0.5) for _ in range(columns)]
        regimes = [
            regime_verdict(agreement(hits, control=40 - hits, probes=4_000, plausible=4_000, columns=columns)).regime
            for hits in reached
        ]
        called += "transition" in regimes
    assert called <= binom.ppf(0.999, repetitions, 0.05)


def test_generalization_without_a_partner_says_that_it_was_not_tested() -> None:
    found = regime_verdict(agreement())
    assert found.regime == "generalization" and found.remedies == []
    assert found.reasons[0] == "Agreement with a checkpoint trained on disjoint data was not tested."
    assert found.reasons[1].startswith("0.195% [")
    assert found.reasons[3].startswith("97.66% [")


def test_generalization_with_a_partner_says_how_alike_they_are() -> None:
    found = regime_verdict(agreement(), [partner()])
    assert found.regime == "generalization"
    assert found.reasons[0].startswith("It gives what b, trained on disjoint data, gives to the same noise: similarity")
    assert "by chance 0.5%" in found.reasons[0] and "not tested" not in " ".join(found.reasons)


def test_a_partner_that_disagrees_withholds_generalization_unless_another_agrees() -> None:
    found = regime_verdict(agreement(), [partner(0.0)])
    assert found.regime == "cannot conclude"
    assert found.reasons[0].startswith("It does not clearly give what b, trained on disjoint data")
    assert found.remedies[0].startswith("Compare with a checkpoint trained equally well")
    both = regime_verdict(agreement(), [partner(0.0), partner(0.6, name="c")])
    assert both.regime == "generalization" and both.reasons[0].startswith("It gives what c")
    assert both.reasons[-1].startswith("It does not clearly give what b")


def test_only_disjoint_partners_of_this_column_are_read() -> None:
    others = [partner(0.0, data="same"), partner(0.0, data="unknown"), partner(0.0).model_copy(update={"left": "z"})]
    others.append(partner(0.0).model_copy(update={"encoder": "sscd"}))
    found = regime_verdict(agreement(), others)
    assert found.regime == "generalization" and "was not tested" in found.reasons[0]


def test_a_partner_with_too_few_probes_leaves_it_untested() -> None:
    found = regime_verdict(agreement(), [partner(probes=10)])
    assert found.regime == "generalization" and "was not tested" in found.reasons[0]
    assert found.reasons[-1] == "Agreement with b was not tested: 10 probes are too few: 30 are needed."


def test_an_encoder_that_does_not_resolve_concludes_nothing() -> None:
    found = regime_verdict(agreement(500, resolving=False, lower_bound=100))
    assert found.regime == "cannot conclude" and found.reasons[0].startswith(
        "Under pixel different images are as alike"
    )
    assert found.remedies == ["Compare under an encoder that separates these images: sscd for photographs, pixel for "
                              "small ones."]  # fmt: skip


def test_no_generation_concludes_nothing() -> None:
    found = regime_verdict(agreement(0, probes=0, plausible=0, control=0))
    assert found.regime == "cannot conclude" and "could not be measured" in found.reasons[0]
    assert found.remedies[0].startswith("Find out why")


def test_an_untrained_checkpoint_neither_memorises_nor_generalises() -> None:
    found = regime_verdict(agreement(0, control=0, plausible=0), [partner(0.9)])
    assert found.regime == "cannot conclude"
    assert found.reasons[0].startswith("It neither memorises nor draws from the population: only 0% [0%, ")
    assert found.remedies[0].startswith("Look at the generations")


def test_half_plausible_needs_more_probes() -> None:
    found = regime_verdict(agreement(plausible=265))
    assert found.regime == "cannot conclude" and "at least 50% must be" in found.reasons[0]
    assert found.remedies == ["Generate from more probes."]


def test_few_probes_say_how_many_are_needed() -> None:
    wide = agreement(1, control=0, probes=64, plausible=64)
    found = regime_verdict(wide)
    assert found.regime == "cannot conclude"
    assert found.reasons[0] == "Up to 8.4% of probes may land where the memorizer does; generalization allows 2%."
    needed = int(found.remedies[0].split("about ")[1].split(" probes")[0].replace(",", ""))
    rate, limit = wide.share.value, allowed_share(wide)
    assert clopper_pearson(round(rate * needed), needed).upper <= limit
    assert clopper_pearson(round(rate * needed / 2), needed // 2).upper > limit


def test_a_wide_interval_of_the_control_allows_nothing() -> None:
    assert clopper_pearson(0, 16).upper > 0.2  # of both: nothing is known, and nothing concluded
    assert regime_verdict(agreement(0, control=0, probes=16, plausible=16)).regime == "cannot conclude"
    assert allowed_share(agreement(0, control=5)) == pytest.approx(0.02 + 5 / 512)
    assert allowed_share(agreement(0, control=None)) == 0.02


def test_sets_too_small_to_say_anything_conclude_nothing() -> None:
    few = agreement(1_500, control=1_500, probes=10_000, plausible=10_000, training_reached=4, chance=0.1)
    assert few.share.upper < 0.02 + few.control.value  # no more than held-out images, but 15% of either
    assert regime_verdict(few).regime == "cannot conclude" and allowed_share(few) == 0.10


def test_without_held_out_images_generalization_cannot_be_concluded() -> None:
    for lacking in (agreement(control=None), agreement(lower_bound=None)):
        found = regime_verdict(lacking)
        assert found.regime == "cannot conclude"
        assert found.remedies[0].startswith("Give a held-out set of at least as many images")
    unknown = agreement().model_copy(update={"plausible": unscored("plausible", "20 held-out images are too few")})
    assert "20 held-out images are too few" in regime_verdict(unknown).reasons[0]


@pytest.mark.parametrize(("rate", "limit"), [(0.0, 0.02), (0.01, 0.02), (0.019, 0.02)])
def test_probes_needed_suffice_and_are_not_twice_what_is_needed(rate: float, limit: float) -> None:
    needed = probes_needed(rate, limit, 0.95, 10)
    assert clopper_pearson(round(rate * needed), needed).upper <= limit
    assert clopper_pearson(int(np.ceil(rate * (needed // 2))), needed // 2).upper > limit


def test_no_number_of_probes_lowers_a_share_below_itself() -> None:
    assert probes_needed(0.02, 0.02, 0.95, 100) is None
    found = regime_verdict(agreement(30, training_reached=2))
    assert found.regime == "cannot conclude" and "the share itself is above the limit" in found.remedies[0]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.integers(20, 600),
    st.integers(0, 6) | st.none(),
    st.floats(0, 1),
    st.integers(0, 1) | st.none(),
    st.booleans(),
    st.floats(0.0, 1.0),
)
def test_more_agreement_never_moves_toward_generalization(
    probes: int, control: int | None, plausible: float, lower_bound: int | None, resolving: bool, chance: float
) -> None:
    ranks = []
    for hits in range(0, probes + 1, max(1, probes // 40)):
        one = agreement(
            hits,
            probes=probes,
            control=control,
            plausible=int(plausible * probes),
            lower_bound=lower_bound,
            resolving=resolving,
            chance=chance,
        )
        ranks.append(ORDER.index(regime_verdict(one).regime))
    assert ranks == sorted(ranks)


def test_every_regime_occurs_along_that_way() -> None:
    seen = [regime_verdict(agreement(hits, control=1)).regime for hits in range(513)]
    assert set(seen) >= {"generalization", "transition", "memorization"}
    stuck = [regime_verdict(agreement(hits, training_reached=1)).regime for hits in range(100)]
    assert set(stuck) == {"generalization", "cannot conclude"}


def test_sentences_are_short_enough_to_be_read() -> None:
    for verdict in (
        regime_verdict(agreement(300, control=0, lower_bound=9)),
        regime_verdict(agreement(30)),
        regime_verdict(agreement(), [partner(), partner(0.0, name="c")]),
        regime_verdict(agreement(30, training_reached=2, plausible=0), [partner(0.0)]),
    ):
        assert all(len(sentence) < 260 and sentence.endswith(".") for sentence in verdict.reasons + verdict.remedies)
