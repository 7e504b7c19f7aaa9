"""Attacks against other checkpoints: the formulas written out plainly, and fixtures whose training data are known."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from auditor.checkpoint.load import LoadedCheckpoint, load
from auditor.checkpoint.scan import scan
from auditor.data import Geometry, open_source, read_ids
from auditor.diffusion.denoiser import Denoiser
from auditor.diffusion.sweep import samples_of, sweep
from auditor.membership import ATTACKS
from auditor.membership.base import noised, training_time
from auditor.membership.references import balanced, difference, levelled, lira, relative_difference, rmia
from auditor.probes import choose
from auditor.stats.delong import auc_interval

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
SEED = "reference tests"
TENTH = 0.1  # of the way from base to fine-tune: a training that has just begun
VARIANT = {"loss": "mean over t=50..200", "pia": "t=200, p=2"}

Scores = dict[str, np.ndarray]  # set of images -> scores


def images_of(file: str, ids: list[str]) -> tuple[list[str], np.ndarray]:
    source = open_source(FIXTURES / "general" / file, Geometry(1, 16, 16), id_column="id")
    batch = next(iter(source.batches(len(ids), only=frozenset(ids))))
    return batch.ids, batch.pixels


@pytest.fixture(scope="module")
def sets() -> dict[str, tuple[list[str], np.ndarray]]:
    """What the fine-tune saw, what only its base saw, what only a-64 saw, what neither did."""
    everything = open_source(FIXTURES / "general/holdout.parquet", Geometry(1, 16, 16), id_column="id")
    first = read_ids(FIXTURES / "curve/a.txt")
    return {
        "fine-tune": images_of("train-b.parquet", read_ids(FIXTURES / "curve/b.txt", 64)),
        "base": images_of("train-a.parquet", choose(SEED, "a", first[64:], 160)),
        "a-64": images_of("train-a.parquet", first[:64]),
        "held out": images_of("holdout.parquet", choose(SEED, "held out", list(everything.ids), 160)),
    }


def opened(name: str) -> LoadedCheckpoint:
    folder = FIXTURES / name
    return load(scan(folder / "checkpoint" if (folder / "checkpoint").is_dir() else folder))


def scores_under(checkpoint: LoadedCheckpoint, sets, attack: str, denoiser: Denoiser | None = None) -> Scores:
    found = {}
    for name, (ids, pixels) in sets.items():
        batch = (ids, checkpoint.codec.to_model(pixels), None)
        table = sweep(denoiser or checkpoint.denoiser, [batch], [ATTACKS[attack]], seed=f"{SEED}/{name}")
        found[name] = table.scores[attack][VARIANT[attack]]
    return found


@pytest.fixture(scope="module")
def finetune(sets) -> dict[str, dict[str, Scores]]:
    """Scores by attack under the base, the fine-tune, and a checkpoint a tenth of the way."""
    tuned, base = opened("finetuned"), opened("general-a")
    end, start = tuned.denoiser.parameters(), base.denoiser.parameters()
    begun = tuned.denoiser.with_parameters({name: start[name] + TENTH * (end[name] - start[name]) for name in end})
    return {
        attack: {
            "base": scores_under(base, sets, attack),
            "tuned": scores_under(tuned, sets, attack),
            "begun": scores_under(tuned, sets, attack, begun),
        }
        for attack in VARIANT
    }


@pytest.fixture(scope="module")
def references(sets) -> list[Scores]:
    """Losses under three checkpoints that saw none of the fine-tune's images and none held out."""
    return [scores_under(opened(f"curve/{name}"), sets, "loss") for name in ("a-256", "a-4096", "a-16384")]


def area(members: np.ndarray, others: np.ndarray) -> float:
    labels = np.r_[np.ones(len(members)), np.zeros(len(others))]
    return float(roc_auc_score(labels, np.r_[members, others]))


def against(scores: dict[str, Scores], which: str, name: str, how=difference) -> np.ndarray:
    return how(scores[which][name], scores["base"][name])


@pytest.mark.parametrize("attack", list(VARIANT))
def test_a_fine_tune_just_begun_shows_against_its_base(attack, finetune):
    """Hard and easy images spread over what ten steps in a hundred can move; the base takes that out."""
    found = finetune[attack]
    raw = area(found["begun"]["fine-tune"], found["begun"]["held out"])
    added = area(against(found, "begun", "fine-tune"), against(found, "begun", "held out"))
    assert raw < 0.75
    assert added > raw + 0.15


def test_a_finished_fine_tune_shows_either_way(finetune):
    found = finetune["loss"]
    assert area(found["tuned"]["fine-tune"], found["tuned"]["held out"]) > 0.99
    for how in (difference, relative_difference):
        assert area(against(found, "tuned", "fine-tune", how), against(found, "tuned", "held out", how)) > 0.99


@pytest.mark.parametrize("attack", list(VARIANT))
@pytest.mark.parametrize("which", ["begun", "tuned"])
@pytest.mark.parametrize("how", [difference, relative_difference])
def test_images_of_the_base_are_not_taken_for_the_fine_tunes(attack, which, how, finetune):
    """The control: general-a was trained on them, the fine-tune saw none. Eight bounds share one tail of 2.5%."""
    found = finetune[attack]
    ours, theirs = against(found, which, "base", how), against(found, which, "held out", how)
    assert auc_interval(ours, theirs, sharing=8).lower < 0.5


def test_a_base_that_knows_the_nonmembers_accuses_everyone_else(sets):
    """Why such a base is refused: general-b saw neither set, and yet held-out images look like its members."""
    few = {name: sets[name] for name in ("a-64", "held out")}
    target, base = (scores_under(opened(name), few, "loss") for name in ("general-b", "curve/a-64"))
    accused, known = (difference(target[name], base[name]) for name in ("held out", "a-64"))
    assert area(accused, known) > 0.95
    assert area(target["held out"], target["a-64"]) < 0.65


def test_checkpoints_of_other_schedules_are_asked_about_the_same_noise(sets):
    ids, pixels = sets["a-64"]
    eps = []
    for name in ("general-a", "general-b"):  # linear, and cosine
        checkpoint = opened(name)
        schedule, x0 = checkpoint.denoiser.schedule, checkpoint.codec.to_model(pixels[:3])
        request, noise = noised(samples_of(schedule, SEED, ids[:3], x0), x0.double(), 100)
        t = training_time(schedule, 100)
        assert request.t == t
        read_back = (request.x_t - float(schedule.signal_scale[t]) * x0) / float(schedule.noise_scale[t])
        assert (read_back - noise).abs().max() < 1e-6
        eps.append(noise)
    assert (eps[0] == eps[1]).all()
    assert (
        opened("general-a").denoiser.schedule.noise_scale[100] != opened("general-b").denoiser.schedule.noise_scale[100]
    )


def stacked(references: list[Scores], *names: str) -> np.ndarray:
    return np.array([np.concatenate([found[name] for name in names]) for found in references])


def test_lira_is_the_papers_ratio(finetune, references):
    """Plain loops over images of the fixtures; two of three references count, the third trained on every image."""
    score, others = finetune["loss"]["begun"]["base"][:8], stacked(references, "base")[:, :8]
    trained = np.zeros((3, 8), bool)
    trained[1] = True
    found = lira(score, others, trained, ~trained)
    outs = [[float(others[r, n]) for r in (0, 2)] for n in range(8)]
    means = [sum(out) / 2 for out in outs]
    pooled = math.sqrt(sum((a - b) ** 2 / 2 for a, b in outs) / 8)
    assert list(found) == ["offline"]
    assert found["offline"] == pytest.approx([(s - m) / pooled for s, m in zip(score, means, strict=True)], rel=1e-9)


def test_own_deviations_and_the_online_form_are_the_papers(finetune, references):
    """Five references: each image trained on by two, so that four cannot be out; then none trained on any."""
    score = finetune["loss"]["begun"]["base"][:10]
    others = np.concatenate([stacked(references, "base")[:, :10], stacked(references, "held out")[:2, :10]])
    trained = np.array([[(r + n) % 5 < 2 for n in range(10)] for r in range(5)])
    online = lira(score, others, trained, ~trained)["online"]
    moments = []
    for kind in (True, False):
        rows = [[others[r, n] for r in range(5) if trained[r, n] == kind] for n in range(10)]
        moments.append(([np.mean(row) for row in rows], math.sqrt(np.mean([np.var(row, ddof=1) for row in rows]))))
    (inside, inner), (outside, outer) = moments
    expected = norm.logpdf(score, inside, inner) - norm.logpdf(score, outside, outer)
    assert online == pytest.approx(expected, rel=1e-9)

    nothing = np.zeros((5, 10), bool)
    own = lira(score, others, nothing, ~nothing)["offline, own deviation"]
    assert own == pytest.approx([(score[n] - others[:, n].mean()) / others[:, n].std(ddof=1) for n in range(10)])


@pytest.mark.parametrize("gamma", [1.0, 1.2])
def test_rmia_is_the_papers_share(gamma, finetune, references):
    """Every pair compared in plain loops; images 9 to 14 are the population."""
    score, others = finetune["loss"]["begun"]["base"][:15], stacked(references, "base")[:, :15]
    trained = np.array([[(r + n) % 3 == 0 for n in range(15)] for r in range(3)])
    population = np.arange(15) >= 9
    found = rmia(score, others, trained, ~trained, population, gamma)
    losses = [np.mean([-others[r, n] for r in range(3) if not trained[r, n]]) for n in range(15)]
    unit = np.median(losses[9:])
    for form in ("offline", "online"):
        ratios = []
        for n in range(15):
            out = np.mean([math.exp(others[r, n] / unit) for r in range(3) if not trained[r, n]])
            own = np.mean([math.exp(others[r, n] / unit) for r in range(3) if trained[r, n]])
            alike = (1.3 * out + 0.7) / 2 if form == "offline" else (own + out) / 2
            ratios.append(math.exp(score[n] / unit) / alike)
        for n in range(15):
            beaten = [ratios[n] >= gamma * ratios[z] for z in range(9, 15) if z != n]
            assert found[form][n] == pytest.approx(np.mean(beaten), abs=1e-12)


@pytest.mark.parametrize("which", ["begun", "tuned"])
def test_references_find_what_the_fine_tune_saw_and_nothing_else(which, finetune, references):
    """Members of the finished fine-tune; the controls are images that only its base saw, and held-out images."""
    score = finetune["loss"][which]
    for name in ("fine-tune", "base"):
        own, count = np.r_[score[name], score["held out"]], len(score[name])
        others = stacked(references, name, "held out")
        nothing = np.zeros(others.shape, bool)
        population = (np.arange(len(own)) >= count) & (np.arange(len(own)) % 2 == 0)  # ids are sorted by kind
        reported = (np.arange(len(own)) >= count) & ~population
        for scores in (lira(own, others, nothing, ~nothing), rmia(own, others, nothing, ~nothing, population)):
            members, nonmembers, rest = (scores["offline"][rows] for rows in (slice(count), reported, population))
            if name == "base":
                assert auc_interval(members, nonmembers, sharing=4).lower < 0.5
            elif which == "tuned":
                assert area(members, nonmembers) > 0.98
            null = auc_interval(rest, nonmembers)
            assert null.lower < 0.5 < null.upper


FIRST_HALF = np.arange(800) < 400  # members


def shadow_study(draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """Nothing to find: 6 references of very unlike levels, each trained on a random half of the 400 members."""
    order = np.argsort(draw.random((6, 400)), axis=0) < 3
    trained = np.concatenate([order, np.zeros((6, 400), bool)], axis=1)
    others = np.array([0.0, 1, 2, 4, 8, 16])[:, None] + draw.normal(0, 1, trained.shape)
    return draw.normal(0, 1, 800), others, trained, [f"image-{column}" for column in range(800)]


def test_members_and_nonmembers_get_equally_many_references():
    """With all references that missed an image, members' means scatter more, and the tail accuses them.

    Shares of 400 members above the 4 highest of 400 non-members: expected 1%, sd 0.7% for either count.
    """
    score, others, trained, ids = shadow_study(np.random.default_rng(0))
    used = balanced(trained, FIRST_HALF, ids, SEED)
    assert (used.sum(0) == 3).all() and not (used & trained).any()

    def tail(counted: np.ndarray) -> float:
        scores = lira(score, others, trained, counted)["offline"]
        return float((scores[:400] > np.sort(scores[400:])[-5]).mean())

    assert tail(used) < 0.035
    assert tail(~trained) > 0.2


def test_the_choice_of_references_depends_on_the_images_and_not_on_their_order():
    _, _, trained, ids = shadow_study(np.random.default_rng(1))
    used = balanced(trained, FIRST_HALF, ids, SEED)
    backwards = balanced(trained[:, ::-1], FIRST_HALF[::-1], ids[::-1], SEED)
    assert np.array_equal(backwards[:, ::-1], used)
    assert not np.array_equal(balanced(trained, FIRST_HALF, ids, "another seed"), used)
    assert balanced(np.zeros((3, 800), bool), FIRST_HALF, ids, SEED).all()


def test_both_sides_count_the_same_references_equally_often():
    """Reference 0 knows nine in ten members, reference 5 nine in ten non-members."""
    draw = np.random.default_rng(2)
    shares = np.array([[0.9, 0], [0, 0], [0, 0], [0, 0], [0, 0], [0, 0.9]])
    trained = draw.random((6, 800)) < np.where(FIRST_HALF, shares[:, :1], shares[:, 1:])
    used = balanced(trained, FIRST_HALF, [f"image-{column}" for column in range(800)], SEED)
    assert (used.sum(0) == 4).all() and not (used & trained).any()
    # at most a tenth of 400 counts either reference, sd 1.5%; of their own, non-members would count 0 in over half
    assert np.abs(used[:, :400].mean(1) - used[:, 400:].mean(1)).max() < 0.1
    assert used[[0, 5]].mean() < 0.12


def test_where_both_sides_are_known_to_half_of_few_references_only_numbers_are_equal():
    trained = np.tile(np.eye(4, dtype=bool)[:, :2].repeat(2, 1), 200)  # 0 or 1, never both; two others are left
    trained[2:] = ~trained[:2]
    used = balanced(trained, FIRST_HALF, [f"image-{column}" for column in range(800)], SEED)
    assert (used == ~trained).all()


def test_levels_of_references_are_set_by_held_out_images_that_they_did_not_train_on():
    """Reference 1 lies 3 higher, and 5 higher still on what it trained on; reference 2 trained on the population."""
    image = np.random.default_rng(3).normal(size=10)
    population, trained = np.arange(10) >= 6, np.zeros((3, 10), bool)
    trained[1, [0, 6]], trained[2, 6:] = True, True
    references = np.array([image, image + 3 + 5 * trained[1], image])
    found = levelled(references, trained, population)
    outside = ~trained[1] & (np.arange(10) != 6)
    first, second = image[6:].mean(), image[7:].mean() + 3  # image 6 says nothing of reference 1
    middle = (first + second) / 2
    assert found[0] == pytest.approx(image + middle - first)
    assert found[1, outside] == pytest.approx(image[outside] + 3 + middle - second)
    assert found[1, 0] - found[1, 1] == pytest.approx(image[0] - image[1] + 5)
    assert np.array_equal(found[2], image)


UNLIKE = [((0.004, 0, 0), (1, 0, 0)), ((0.002, 0, 0), (1, 0, 0)), ((0.004, 0, 0, 0), (0.9, 0, 0, 0))]


def unlike(levels: tuple[float, ...], shares: tuple[float, ...], added: float, *, repaired: bool) -> dict[str, float]:
    """AUC by attack of 667 reported members that score ``added`` higher, mean of five studies.

    References of their own levels know shares of the members, and gain nothing by it. The loss has mean 0.1 and spreads
    by 0.02 with the image, by 0.002 with the network.
    """
    found: dict[str, list[float]] = {}
    is_member, calibrates = np.arange(2000) < 1000, np.arange(2000) % 1000 < 333
    for study in range(5):
        draw = np.random.default_rng(study)
        trained = np.array([is_member & (draw.random(2000) < share) for share in shares])
        hard = draw.normal(0.1, 0.02, 2000)
        score = added * is_member - hard - draw.normal(0, 0.002, 2000)
        others = np.array([level - hard - draw.normal(0, 0.002, 2000) for level in levels])
        population = calibrates & ~is_member
        used = ~trained
        if repaired:
            used = balanced(trained, is_member, [f"image-{column}" for column in range(2000)], SEED)
            others = levelled(others, trained, population)
        attacks = {"lira": lira(score, others, trained, used), "rmia": rmia(score, others, trained, used, population)}
        for name, variants in attacks.items():
            x = variants["offline"]
            found.setdefault(name, []).append(area(x[is_member & ~calibrates], x[~is_member & ~calibrates]))
    return {name: float(np.mean(areas)) for name, areas in found.items()}


@pytest.mark.parametrize(("levels", "shares"), UNLIKE)
def test_a_reference_of_another_level_that_knows_the_members_accuses_nobody(levels, shares):
    """0.016 / sqrt(5) = 0.007 is the deviation of an AUC; with all references that missed an image, it is biased."""
    for area_of in unlike(levels, shares, 0, repaired=True).values():
        assert abs(area_of - 0.5) < 0.025
    assert max(unlike(levels, shares, 0, repaired=False).values()) > 0.55


@pytest.mark.parametrize(("levels", "shares"), UNLIKE)
def test_members_are_found_past_references_of_unlike_levels(levels, shares):
    """The power control: beside deviations of sqrt(1 + 1 / 2) 0.002 on either side, 0.004 is an AUC of 0.88.

    RMIA's ratio keeps part of an image's hardness (a = 0.3), which spreads ten times as far.
    """
    found = unlike(levels, shares, 0.004, repaired=True)
    assert found["lira"] > 0.84 and found["rmia"] > 0.55


def test_too_few_references_are_refused():
    score, others, trained = np.zeros(4), np.zeros((2, 4)), np.zeros((2, 4), bool)
    trained[0, 2] = True
    with pytest.raises(ValueError, match="two references"):
        lira(score, others, trained, ~trained)
    trained[1, 2] = True
    with pytest.raises(ValueError, match="a reference for every image"):
        rmia(score, others, trained, ~trained, np.ones(4, bool))
