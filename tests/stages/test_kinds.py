"""A generator that shows its training pictures in every way there is: each is found, certified, named and pictured."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import auditor
from auditor.copies.pool import Pool
from auditor.encoders.pixel import PixelEncoder
from auditor.encoders.views import MIRROR, view
from auditor.errors import DataError
from auditor.report.findings import findings
from auditor.report.html import html
from auditor.report.markdown import markdown
from auditor.stages.copies import search_copies
from auditor.stages.embed import Embedded
from auditor.stages.generate import Generations
from auditor.stages.inputs import Inputs, open_inputs
from auditor.stages.kinds import Pictures as Kept
from auditor.stages.kinds import Sight
from auditor.stages.masks import darkened
from auditor.stages.pictures import write_pictures
from auditor.stages.slices import HeldOut
from auditor.store.record import Competition
from auditor.store.run_directory import RunDirectory
from auditor.validity.transformations import crop, jpeg
from tests.copies.test_blends import mixed
from tests.copies.test_kinds import with_details_of
from tests.copies.textures import Pictures, pasted, textures
from tests.micro import micro_config, write_checkpoint
from tests.records import record

TRAIN, HOLDOUT, STRANGERS = 150, 250, 60
EACH = 10  # generations of each kind but the template's two


@dataclass(frozen=True)
class Shown:
    """What was found of one set of generations."""

    competition: Competition
    notes: list[str]
    run: Path


World = tuple[Path, Inputs, Pictures]


def write(folder: Path, pictures: Pictures, name: str) -> None:
    folder.mkdir(parents=True)
    for number, picture in enumerate(pictures):
        Image.fromarray(picture.transpose(1, 2, 0)).save(folder / f"{name}-{number:03d}.png")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder, rng = tmp_path_factory.mktemp("kinds"), np.random.default_rng(71)
    training = textures(rng, TRAIN)
    write(folder / "train", training, "train")
    write(folder / "holdout", textures(rng, HOLDOUT), "holdout")
    write_checkpoint(folder / "checkpoint", sample_size=64, in_channels=3, out_channels=3)
    return folder, open_inputs(micro_config(folder, membership={"enabled": False}, data={"split": "group"})), training


def search(world: World, made: Pictures, name: str, **copies: object) -> Shown:
    folder, inputs, _ = world
    config = micro_config(folder, membership={"enabled": False}, copies=copies)
    encoder, probes = PixelEncoder(3, 64, 64), np.arange(len(made)) * 2 + 1  # every other probe gave no image
    held = list(inputs.holdout.digests)
    vectors = [encoder(np.stack(list(read(folder / part)))) for part in ("train", "holdout")]
    views = {MIRROR: encoder(view(made, MIRROR))}
    embedded = Embedded("pixel", encoder, *vectors, encoder(made), vectors[0][:40], views, {MIRROR: vectors[0][:40]})
    generations = Generations([{"pixels": made, "probe": probes}], 2 * len(made))
    run = RunDirectory.open(folder / name, {"of": name}, "salt")
    held_out = HeldOut(held[:190], held[190:], [])
    found, _ = search_copies(run, inputs, embedded, held_out, generations, config, "seed")
    (competition,) = write_pictures(run.path, inputs, generations, [found.competition])
    return Shown(competition, found.notes, run.path)


def read(folder: Path):
    for file in sorted(folder.glob("*.png")):
        yield np.asarray(Image.open(file)).transpose(2, 0, 1)


@pytest.fixture(scope="module")
def strangers() -> Pictures:
    return textures(np.random.default_rng(72), STRANGERS)


@pytest.fixture(scope="module")
def shown(world: World, strangers: Pictures) -> Shown:
    rng, training = np.random.default_rng(73), world[2]
    ten = [training[start : start + EACH] for start in range(0, 80, EACH)]
    made = [
        *ten[0],
        *(jpeg(20)(one, rng) for one in ten[1]),
        *view(ten[2], MIRROR),
        *(crop(0.8)(one, rng) for one in ten[3]),
        *(pasted(one, host, 8, 16, 44) for one, host in zip(ten[4], strangers, strict=False)),
        *(mixed(ten[5][k], ten[6][k], 0.5) for k in range(EACH)),
        *(with_details_of(one, other) for one, other in zip(training[80:82], strangers, strict=False)),
        *strangers[20:],
    ]
    return search(world, np.stack(made), "all")


def number(id: str) -> int:
    return int(id.split("-")[1])


def test_whole_copies_are_certified_and_their_kinds_named(shown: Shown) -> None:
    kinds = {number(e.id): e.kind for e in shown.competition.evidence if e.tier in ("verbatim", "certified")}
    for first, kind in ((0, "exact"), (10, "near"), (20, "mirrored")):
        assert [kinds.get(row) for row in range(first, first + EACH)].count(kind) >= EACH - 1
    assert all(e.probe % 2 == 1 for e in shown.competition.evidence)


def test_crops_and_parts_are_certified_with_a_mask(shown: Shown) -> None:
    parts = shown.competition.closer[0]
    assert parts.what == "parts"
    found = {number(e.id): e for e in parts.evidence if e.certified}
    cropped = [found[row] for row in range(30, 40) if row in found]
    assert sum(one.kind == "cropped" and one.scale == 1.25 for one in cropped) >= 8
    assert sum(found[row].kind == "part" for row in range(40, 50) if row in found) >= 7
    assert sum(row >= 82 for row in found) <= 10  # of some fifty calls a tenth may be wrong
    assert parts.lower_bound.value is not None and parts.lower_bound.value > 20
    one = found[next(row for row in range(40, 50) if row in found)]
    mask = np.asarray(Image.open(shown.run / str(one.mask_image))).astype(int)
    inside, outside = mask[16:32, 24:40].mean(), np.r_[mask[:, :8].ravel(), mask[56:].ravel()].mean()
    assert inside > 2 * outside  # the piece is bright, the rest at a quarter


def test_blends_are_certified_with_the_other_picture(shown: Shown) -> None:
    blends = shown.competition.closer[1]
    assert blends.what == "blends"
    found = {number(e.id): e for e in blends.evidence if e.certified}
    right = [row for row in range(50, 70) if row in found]
    assert len(right) >= 16
    assert all(abs(number(str(found[row].beside)) - row) == EACH and found[row].beside_training for row in right)
    assert len(found) - len(right) <= 4
    assert all((shown.run / str(found[row].beside_image)).is_file() for row in right)


def test_a_template_is_named_so(shown: Shown) -> None:
    named = {number(e.id): (e.tier, e.kind) for e in shown.competition.evidence}
    assert {named[row][1] for row in (80, 81) if row in named} == {"template"}


def test_the_reports_show_one_pair_of_each_kind(shown: Shown) -> None:
    told = record(copies=[shown.competition])
    page, text = html(told, shown.run), markdown(told)
    for word in ("exact copy", "near-copy", "mirrored copy", "cropped copy", "partial copy", "blend of two pictures"):
        assert word.capitalize() in page
        assert f"| {word} |" in text
    assert "same layout, other details" in text
    assert "file missing" not in page
    assert page.count("Certified cropped copy") == page.count("Certified partial copy") == 3  # in turn, six in all
    assert page.count("what it repeats") == 2 * 2 + 6  # both examples with a caption, and what is shown of parts
    listed = [f for f in findings(told) if f.rule == "copies.parts.item"]
    assert listed and {f.severity for f in listed} == {"high"}
    assert any("blended with train-" in f.statement for f in findings(told))
    assert "data:image" not in html(told, shown.run, images="none")


def test_control_strangers_are_certified_in_no_way(world: World, strangers: Pictures) -> None:
    found = search(world, strangers, "none").competition
    assert found.certified == found.verbatim == 0
    assert [(s.certified, s.lower_bound.value) for s in found.closer] == [(0, 0), (0, 0)]
    assert not any(f.rule.startswith("copies.") for f in findings(record(copies=[found])) if f.severity != "low")


def test_without_a_closer_look_the_audit_says_so(world: World, strangers: Pictures) -> None:
    found = search(world, strangers, "without", closer=0)
    assert found.competition.closer == []
    assert "copies.closer is 0" in " ".join(found.notes)


def test_only_so_many_generations_are_looked_at_and_all_evidence_has_a_kind(world: World, shown: Shown) -> None:
    made = np.concatenate([textures(np.random.default_rng(74), 30), view(world[2][20:30], MIRROR)])
    found = search(world, made, "first", closer=30)
    assert [s.generations for s in found.competition.closer] == [30, 30]
    assert [s.certified for s in found.competition.closer] == [0, 0]
    assert "10 of 40 generations (copies.closer)" in " ".join(found.notes)
    mirrored = [e for e in found.competition.evidence if e.tier == "verbatim"]
    assert len(mirrored) == EACH and {e.kind for e in mirrored} == {"mirrored"}
    assert [s.generations for s in shown.competition.closer] == [102, 102]


def test_records_without_kinds_still_read_and_show(shown: Shown) -> None:
    whole = shown.competition.model_dump(mode="json")
    for item in whole["evidence"]:
        del item["kind"], item["covered"]
    del whole["closer"]
    old = Competition.model_validate(whole)
    assert {e.kind for e in old.evidence} == {None} and old.closer == []
    told = record(copies=[old])
    page = html(told, shown.run)
    assert "One example of each kind" not in page + markdown(told)
    assert "near-copy" in " ".join(f.statement for f in findings(told))


def test_pictures_come_as_asked_for_and_name_what_is_lost(world: World, tmp_path: Path) -> None:
    _, inputs, training = world
    ids = [*sorted(inputs.train.digests)[:3], *sorted(inputs.holdout.digests)[:3]]
    pool = Pool(np.eye(6, dtype=np.float32), ids, np.arange(6) < 3, np.arange(6))
    sight = Sight(pool, inputs, Generations([{"pixels": training[:1], "probe": np.arange(1)}], 1))
    kept = Kept(tmp_path, sight, np.array([2, 0, 5, 2]))
    assert (kept(np.array([2, 2, 0])) == training[[2, 2, 0]]).all()
    assert list(tmp_path.iterdir()) == []  # no file is left, whatever happens
    assert len(Kept(tmp_path, sight, np.array([], np.int64)).rows) == 0
    gone = Sight(replace(pool, ids=[ids[0], "gone", *ids[2:]]), inputs, sight.generations)
    with pytest.raises(DataError, match="gone"):
        Kept(tmp_path, gone, np.array([0, 1]))


@pytest.mark.parametrize(("train", "made"), [(2, 1), (40, 3)])
def test_hardly_any_grey_pictures_are_looked_at_like_many(tmp_path: Path, train: int, made: int) -> None:
    rng = np.random.default_rng(75)
    for name, count in (("train", train), ("holdout", 200)):
        (tmp_path / name).mkdir()
        for number, picture in enumerate(textures(rng, count, 32, 1)):
            Image.fromarray(picture[0]).save(tmp_path / name / f"{name}-{number:03d}.png")
    write_checkpoint(tmp_path / "checkpoint", sample_size=32)
    config = micro_config(tmp_path, generation={"probes": made}, membership={"enabled": False})
    found = auditor.run(config, tmp_path / "run")
    assert [s.certified for s in found.copies[0].closer] == [0, 0]
    assert found.copies[0].closer[0].generations == made
    assert found.judgement is not None and found.judgement.outcome != "pass"


def test_darkened_keeps_what_the_mask_marks() -> None:
    pixels = np.full((1, 6, 8), 200, np.uint8)
    mask = np.zeros((3, 4), bool)
    mask[0, 1] = True
    found = darkened(pixels, mask)[0]
    assert (found[:2, 2:4] == 200).all()
    assert (found == 200).sum() == 4
    assert (found[2:] == 50).all()
