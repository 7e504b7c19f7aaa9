"""Looking images up in a finished audit of a memorising checkpoint: files, ids, lists, and what was moved."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import auditor
from auditor.cli.lookup import read_list
from auditor.cli.main import main
from auditor.errors import ConfigError
from auditor.report.lookup import headline, not_shown, sentences
from auditor.store.lookup import LookedUp, Lookup
from tests.micro import micro_config, write_micro_inputs

TRAINED = "fm-0-2059"


@pytest.fixture(scope="module")
def audited(fixtures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small audit of `memorized`, whose sets lie in a folder that may be moved."""
    folder = tmp_path_factory.mktemp("lookup")
    shutil.copytree(fixtures / "memorized" / "train", folder / "train")
    shutil.copytree(fixtures / "memorized" / "holdout", folder / "holdout")
    config = auditor.AuditConfig.model_validate(
        {
            "checkpoint": {"path": str(fixtures / "memorized" / "checkpoint")},
            "data": {"train": str(folder / "train"), "holdout": str(folder / "holdout"), "split": "group"},
            "generation": {"probes": 256, "steps": 12, "salt": "lookup"},
            "membership": {"enabled": False},
            "regime": {"probes": 0},
        }
    )
    auditor.run(config, folder / "run")
    return folder


def one(audited: Path, *asked: str | Path) -> LookedUp:
    return auditor.lookup(audited / "run", asked).images[0]


def landed_on(audited: Path) -> str:
    """A training image that a probe reproduced, by the record."""
    copies = auditor.read_record(audited / "run").copies[0].evidence
    return next(evidence.id for evidence in copies if evidence.tier != "suspect")


def test_a_reproduced_training_image_is_known_by_file_and_by_id(audited: Path) -> None:
    name = landed_on(audited)
    by_file, by_id = one(audited, audited / "train" / f"{name}.png"), one(audited, name)
    for image in (by_file, by_id):
        assert image.exact == [name] and image.under[0].probes_landing >= 1
        assert image.under[0].p_value < 0.01 and image.copy_found is not None and image.copy_found.id == name
        assert headline(image).startswith("In the training set, once; reproduced (")
    assert by_file.under[0].similarity == pytest.approx(by_id.under[0].similarity)


def test_held_out_images_are_not_in_the_set_and_their_p_values_are_not_small(audited: Path) -> None:
    names = sorted(path.stem for path in (audited / "holdout").glob("*.png"))[::70]
    found = auditor.lookup(audited / "run", names).images
    assert len(found) == 50
    assert all(image.exact == [] and image.exact_holdout and image.copy_found is None for image in found)
    assert sum(image.under[0].p_value <= 0.05 for image in found) <= 9  # binomial: probability 0.001
    assert all("Held out, not trained on" in headline(image) for image in found)


def test_altered_files_are_near_duplicates(audited: Path, tmp_path: Path) -> None:
    pixels = np.asarray(Image.open(audited / "train" / f"{TRAINED}.png"))
    brighter = np.clip(pixels.astype(int) + 5, 0, 255).astype(np.uint8)
    for name, altered in (("brighter", brighter), ("mirrored", pixels[:, ::-1])):
        Image.fromarray(np.ascontiguousarray(altered)).save(tmp_path / f"{name}.png")
    Image.fromarray(pixels).resize((64, 64), Image.Resampling.NEAREST).save(tmp_path / "large.png")
    near, turned, large = auditor.lookup(
        audited / "run", [tmp_path / f"{name}.png" for name in ("brighter", "mirrored", "large")]
    ).images
    assert near.exact == [] and near.under[0].near[0].id == TRAINED and "near-duplicate" in headline(near)
    assert turned.under[0].near_mirrored[0].id == TRAINED and "mirrored" in headline(turned).lower()
    nearest = large.under[0].nearest  # reduced in another way than it was enlarged: near, but no copy
    assert large.stored_as == "1 channel of 64x64" and nearest is not None and nearest.id == TRAINED
    assert any("how the training reduced it" in sentence for sentence in sentences(large, 256))


def test_what_cannot_be_looked_up_stops_nothing(audited: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG nothing more")
    (tmp_path / "empty.png").touch()
    asked = [tmp_path / "broken.png", tmp_path / "empty.png", "no such id", "x" * 5_000, "a\0b", TRAINED]
    found = auditor.lookup(audited / "run", asked).images
    assert [image.unscored is None for image in found] == [False] * 5 + [True]
    assert "not readable" in (found[0].unscored or "") and "no image of either set" in (found[2].unscored or "")
    assert not list(sentences(found[0], 256))


def test_a_list_of_unknown_images_only_is_answered(audited: Path) -> None:
    assert one(audited, "no such id").under == []
    with pytest.raises(ConfigError, match="images"):
        auditor.lookup(audited / "run", [])


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_a_list_from_another_system_names_the_same_images(tmp_path: Path, ending: str) -> None:
    """The first line would be unknown with its byte order mark, and a name with a line separator two names."""
    names = ["first.png", "a\u2028b.png", "fm-0-2059"]
    (tmp_path / "list.txt").write_bytes(("\ufeff" + ending.join([names[0], "", *names[1:]])).encode())
    assert read_list(tmp_path / "list.txt") == names


def test_the_sets_may_be_moved_once_they_were_seen(audited: Path, tmp_path: Path) -> None:
    shutil.copytree(audited / "run", tmp_path / "run")
    shutil.copytree(audited / "train", tmp_path / "train")
    shutil.rmtree(tmp_path / "run" / "inputs", ignore_errors=True)
    shutil.rmtree(tmp_path / "run" / "ledger" / "inputs", ignore_errors=True)
    (audited / "train").rename(audited / "elsewhere")
    try:
        with pytest.raises(ConfigError, match="--train"):
            auditor.lookup(tmp_path / "run", [TRAINED])
        (tmp_path / "train" / f"{TRAINED}.png").unlink()
        with pytest.raises(ConfigError, match="127 images"):
            auditor.lookup(tmp_path / "run", [TRAINED], train=tmp_path / "train")
        moved = auditor.lookup(tmp_path / "run", [TRAINED], train=audited / "elsewhere")
        assert moved == auditor.lookup(tmp_path / "run", [TRAINED])  # seen once, no longer needed
    finally:
        (audited / "elsewhere").rename(audited / "train")


def test_missing_embeddings_and_unfinished_runs_are_refused(audited: Path, tmp_path: Path) -> None:
    shutil.copytree(audited / "run", tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "embed" / "pixel" / "train")
    with pytest.raises(ConfigError, match="no embeddings"):
        auditor.lookup(tmp_path / "run", [TRAINED])
    (tmp_path / "run" / "record.json").unlink()
    with pytest.raises(ConfigError, match="unfinished"):
        auditor.lookup(tmp_path / "run", [TRAINED])


def test_the_command_prints_or_writes_json(audited: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "list.txt").write_text(f"{TRAINED}\n\nno such id\n")
    assert main(["lookup", str(audited / "run"), "--list", str(tmp_path / "list.txt"), "--json"]) == 0
    found = Lookup.model_validate(json.loads(capsys.readouterr().out))
    assert [image.asked for image in found.images] == [TRAINED, "no such id"] and found.probes == 256
    assert main(["lookup", str(audited / "run"), TRAINED]) == 0
    said = capsys.readouterr().out
    assert f"{TRAINED}: In the training set, once" in said and "What this does not show" in said
    assert main(["lookup", str(audited / "run")]) == 4
    assert main(["lookup", str(audited / "run"), "--list", str(tmp_path / "none.txt")]) == 4


def test_membership_scores_are_given_with_what_they_do_not_say(tmp_path: Path) -> None:
    write_micro_inputs(tmp_path)
    record = auditor.run(micro_config(tmp_path, regime={"probes": 0}), tmp_path / "run")
    assert record.membership is not None and record.membership.records is not None
    found = auditor.lookup(tmp_path / "run", [f"train-{index:04d}" for index in range(96)])
    scored = [image for image in found.images if image.membership]
    assert len(scored) == found.scored == record.membership.records.records < 96
    row = scored[0].membership[0]
    assert row.id == scored[0].asked and row.p_value is not None and "combined" in row.scores
    assert any("Membership scores of" in sentence for sentence in sentences(scored[0], found.probes))
    assert any(f"scored for {found.scored} of 96" in sentence for sentence in not_shown(found))
