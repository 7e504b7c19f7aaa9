"""The whole decision on real garments: copies are found, their absence is not held against anyone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from auditor.copies.decide import CopyDecision, decide
from auditor.copies.evidence import DOUBTS, Doubt
from auditor.copies.groups import GroupClass
from auditor.copies.pool import Pool
from auditor.copies.verbatim import verbatim_copies
from auditor.encoders.pixel import PixelEncoder
from auditor.errors import ConfigError
from auditor.store.record import Competition
from auditor.validity.planted import PlantedCopies, embed_planted, sample_originals
from auditor.validity.transformations import noise
from tests.conftest import FIXTURES

ENCODER = PixelEncoder(1, 16, 16)
N, M, COPIED = 300, 900, 30


@cache
def garments() -> NDArray[np.uint8]:
    """Held-out garments of ``memorized``, shuffled: UInt8[3500 1 16 16]."""
    paths = sorted((FIXTURES / "memorized" / "holdout").glob("*.png"))
    images = np.stack([np.asarray(Image.open(path)) for path in paths])[:, None]
    return images[np.random.default_rng(1).permutation(len(images))]


@dataclass(frozen=True)
class Case:
    """A pool of real garments and what a generator made; ``copied`` are training rows."""

    pixels: NDArray[np.uint8]
    pool: Pool
    generated: NDArray[np.uint8]
    copied: NDArray[np.int64]
    planted: PlantedCopies

    def decide(self, **options: object) -> CopyDecision:
        def verbatim(generations: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.bool_]:
            return verbatim_copies(self.generated[generations], self.pixels[rows])

        settings = {"encoder": "pixel", "planted": self.planted, "split": "group", "verbatim": verbatim, **options}
        return decide(self.pool, ENCODER(self.generated), **settings)


def make(copies: int, repeats: int = 0, deviation: float = 3.0) -> Case:
    """Blurred garments that are not in the pool, and noisy copies of training garments, some of them repeated."""
    rng = np.random.default_rng(2)
    training, holdout, others = garments()[:N], garments()[N : N + M], garments()[N + M : N + M + 700, 0]
    pixels = np.concatenate([training, *[training[:COPIED]] * repeats, holdout])
    blurred = [np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(0.7))) for image in others]
    noisy = noise(deviation)(np.repeat(training[:copies], 3, axis=0), rng)
    digest = np.array([image.tobytes().hex() for image in pixels])
    pool = Pool(
        ENCODER(pixels), [f"g{i}" for i in range(len(pixels))], np.arange(len(pixels)) < len(pixels) - M, digest
    )
    rows = sample_originals(digest, "seed", 100)
    planted = embed_planted(rows, pixels[rows], ENCODER, "seed")
    return Case(pixels, pool, np.concatenate([np.stack(blurred)[:, None], noisy]), np.arange(copies), planted)


def test_copies_are_certified_and_counted() -> None:
    found = make(COPIED).decide().competition
    certified = {int(e.id[1:]) for e in found.evidence if e.tier in ("verbatim", "certified")}
    assert found.resolving
    assert len(certified & set(range(COPIED))) >= 28
    # The chance calls are a tenth on average; 10 of 40 would be far beyond.
    assert len(certified - set(range(COPIED))) <= 10
    assert 25 <= found.lower_bound.value <= COPIED
    assert found.verbatim >= 25
    assert found.copy_rate.lower < 90 / 790 < found.copy_rate.upper


def test_without_copies_nothing_is_certified_and_the_rate_is_bounded() -> None:
    found = make(0).decide().competition
    assert (found.certified, found.verbatim, found.lower_bound.value) == (0, 0, 0)
    assert found.holdout_hits > 20
    assert found.copy_rate.value == 0
    # 1 - 0.05^(1/700) = 0.00427, over a recall of at least 0.9
    assert 0.0042 < found.copy_rate.upper < 0.0048


def test_evidence_is_what_the_embeddings_say() -> None:
    case = make(COPIED)
    found = case.decide(evidence=40).competition
    generations, pool = ENCODER(case.generated).astype(np.float64), case.pool.embeddings.astype(np.float64)
    assert len(found.evidence) == 40
    order = [("verbatim", "certified", "suspect").index(e.tier) for e in found.evidence]
    assert order == sorted(order)
    for e in found.evidence:
        row = int(e.id[1:])
        assert e.similarity == pytest.approx((generations @ pool[row]).max(), abs=1e-6)
        assert (e.why == "") == (e.tier != "suspect")
        if e.tier != "verbatim":
            assert e.similarity == pytest.approx(generations[e.probe] @ pool[row], abs=1e-12)
        nearest = pool[case.pool.training :] @ generations[e.probe]
        assert e.nearest_holdout is not None
        assert e.nearest_holdout.similarity == pytest.approx(nearest.max(), abs=1e-12)
        assert e.nearest_holdout.id == f"g{case.pool.training + int(nearest.argmax())}"


def test_suspects_above_every_held_out_image_are_not_said_to_have_rivals() -> None:
    # 300 training against 900 held-out garments: 2 copies score above all of these, and 4 are the least to call.
    case = make(2)
    decision = case.decide(verbatim=None)
    items, contest = decision.items, decision.contest
    held_out = items.score[items.is_hit & (decision.groups.kind == GroupClass.HELD_OUT)].max()
    why = {e.id: (e.similarity, e.why) for e in decision.competition.evidence}
    assert contest.training_hits >= contest.floor
    assert {"g0", "g1"} <= why.keys()
    for similarity, reason in why.values():
        ahead = f"no held-out image scores as high, but fewer than {contest.floor} training images do"
        assert reason.startswith(ahead if similarity > held_out else "held-out images score as high too often")
    said = DOUBTS[Doubt.NOT_DISTINCT].format(floor=4, q_value=0.1008)
    assert said.endswith("(q = 0.101)")  # not the 0.1 that suffices


@pytest.mark.parametrize(("split", "least", "most"), [("group", 28, COPIED), ("image", 0, 0), ("unknown", 0, 0)])
def test_repeated_images_compete_only_after_a_split_by_group(split: str, least: int, most: int) -> None:
    # 30 of the 300 training garments stand in the set five times; copies are too noisy to be verbatim.
    decision = make(COPIED, repeats=4, deviation=9.0).decide(split=split)
    found = decision.competition
    certified = [e for e in found.evidence if e.tier == "certified" and len(e.members) > 1]
    assert least <= len(certified) <= most
    assert found.grouped_training_images >= 5 * COPIED
    if split != "group":
        assert found.uncompeting_groups >= COPIED
        assert "not made by group" in decision.notes[0]
        assert sum("do not compete" in e.why for e in found.evidence) >= 28


def test_verbatim_copies_of_images_that_cannot_compete_are_still_called() -> None:
    found = make(COPIED, repeats=4, deviation=2.0).decide(split="unknown").competition
    assert found.verbatim >= 28
    assert found.evidence[0].tier == "verbatim"


def test_an_image_on_both_sides_is_untestable_but_not_hidden() -> None:
    case = make(COPIED)
    pixels = case.pixels.copy()
    pixels[-COPIED:] = pixels[:COPIED]  # someone put the copied images into the held-out set
    digest = np.array([image.tobytes().hex() for image in pixels])
    pool = Pool(ENCODER(pixels), case.pool.ids, case.pool.is_training, digest)
    found = Case(pixels, pool, case.generated, case.copied, case.planted).decide().competition
    assert found.untestable_groups >= COPIED
    assert found.verbatim >= 25
    unreported = Case(pixels, pool, case.generated, case.copied, case.planted).decide(verbatim=None).competition
    assert unreported.certified == 0
    assert sum(e.why.startswith("untestable") for e in unreported.evidence) >= 28


def test_an_encoder_that_does_not_resolve_gives_suspects_only() -> None:
    case = make(COPIED)
    rows = case.planted.rows
    rough = embed_planted(rows, case.pixels[rows], ENCODER, "seed", {"noise": noise(60.0)})
    found = case.decide(planted=rough, verbatim=None).competition
    assert not found.resolving
    assert found.planted_p05 < found.pool_p99
    assert (found.certified, found.lower_bound.value) == (0, None)
    assert found.suspects > 0
    assert "look-alikes" in found.evidence[0].why


def test_order_of_the_sets_and_of_the_probes_does_not_matter() -> None:
    case = make(COPIED)
    straight = case.decide().competition
    rng = np.random.default_rng(9)
    n = case.pool.training
    rows = np.r_[rng.permutation(n), n + rng.permutation(M)]
    probes = rng.permutation(len(case.generated))
    pool = Pool(
        case.pool.embeddings[rows], [case.pool.ids[r] for r in rows], case.pool.is_training[rows],
        case.pool.pixel_digest[rows],
    )  # fmt: skip
    position = np.argsort(rows)
    planted = PlantedCopies(position[case.planted.rows], case.planted.embeddings, case.planted.similarity)
    shuffled = Case(case.pixels[rows], pool, case.generated[probes], case.copied, planted).decide().competition
    for name in ("certified", "verbatim", "suspects", "n_items", "m_items", "training_hits", "holdout_hits"):
        assert getattr(straight, name) == getattr(shuffled, name)
    assert straight.lower_bound == shuffled.lower_bound
    assert {(e.id, e.tier, e.q_value) for e in straight.evidence} == {
        (e.id, e.tier, e.q_value) for e in shuffled.evidence
    }


def test_the_record_survives_json() -> None:
    found = make(COPIED).decide().competition
    assert Competition.model_validate_json(found.model_dump_json()) == found


def test_memory_mapped_embeddings_give_the_same_decision(tmp_path: Path) -> None:
    case = make(COPIED)
    np.save(tmp_path / "pool.npy", case.pool.embeddings)
    mapped = np.load(tmp_path / "pool.npy", mmap_mode="r")
    pool = Pool(mapped, case.pool.ids, case.pool.is_training, case.pool.pixel_digest)
    assert (
        Case(case.pixels, pool, case.generated, case.copied, case.planted).decide().competition
        == case.decide().competition
    )


def test_no_generations_are_refused() -> None:
    case = make(0)
    with pytest.raises(ConfigError, match="generations: got 0"):
        decide(case.pool, np.empty((0, 257), np.float32), encoder="pixel", planted=case.planted)
