"""Audits of held-out pictures as "training images": nothing was trained on, and captions alone may differ."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import auditor
from auditor.checkpoint.load import load
from auditor.checkpoint.scan import scan
from auditor.config import AuditConfig, validate
from auditor.data import Geometry, open_source
from auditor.diffusion.sweep import sweep
from auditor.membership import ATTACKS
from auditor.stages.inputs import open_inputs
from auditor.stages.membership.captions import captions_check
from auditor.stats.roc import auc

SIDE = 250


def plain(caption: str) -> str:
    return caption


def listed(caption: str) -> str:
    """As a list of keywords that repeats itself."""
    return ", ".join([caption] * 5)


def capitals(caption: str) -> str:
    return caption.upper()


def empty(caption: str) -> str:
    return ""


def config(
    fixtures: Path, folder: Path, styles: tuple[Callable[[str], str], ...], **changes: dict[str, object]
) -> AuditConfig:
    """The trained fixture with its held-out pictures on both sides, captions written in a style for each."""
    table = pq.read_table(fixtures / "twemoji" / "holdout.parquet")
    table = table.take(np.random.default_rng(0).permutation(len(table)))
    for name, style, rows in zip(("train", "holdout"), styles, (range(SIDE), range(SIDE, 2 * SIDE)), strict=True):
        side = table.take(list(rows))
        captions = pa.array([style(text) for text in side["caption"].to_pylist()])
        pq.write_table(side.set_column(2, "caption", captions), folder / f"{name}.parquet")
    sections: dict[str, dict[str, object]] = {
        "checkpoint": {"path": str(fixtures / "twemoji" / "checkpoint")},
        "data": {
            "train": str(folder / "train.parquet"), "holdout": str(folder / "holdout.parquet"), "split": "group",
            "id_column": "id",
        },
        "generation": {"probes": 32, "steps": 2, "salt": "captions"},
        "prompts": {"seeds": 1},
        "membership": {"members": 250, "nonmembers": 125, "attacks": ["loss"]},
        "copies": {"closer": 0},
    }  # fmt: skip
    return validate({name: {**section, **changes.get(name, {})} for name, section in sections.items()}, "captions")


def checked(config: AuditConfig, nonmembers: int = SIDE) -> list[str]:
    inputs = open_inputs(config)
    sides = inputs.train.distinct_ids, inputs.holdout.distinct_ids[:nonmembers]
    return [check.status for check in captions_check(inputs, *sides, config, "seed")]


def test_the_verdict_is_withheld_where_captions_are_written_otherwise(fixtures: Path, tmp_path: Path) -> None:
    record = auditor.run(config(fixtures, tmp_path, (plain, listed)), tmp_path / "run")
    status = {check.id: check.status for check in record.checks}
    assert status["captions"] == "failed" and status["blind"] != "failed"  # the images themselves are alike
    assert record.judgement is not None and record.judgement.outcome == "cannot conclude"
    assert record.membership_outcome.reasons[0].startswith("Membership is withheld: Captions of training")
    assert "written alike" in (tmp_path / "run" / "report.html").read_text()


def test_captions_of_one_origin_are_not_held_against_an_audit(fixtures: Path, tmp_path: Path) -> None:
    record = auditor.run(config(fixtures, tmp_path, (plain, plain)), tmp_path / "run")
    status = {check.id: check.status for check in record.checks}
    assert status["captions"] in ("passed", "not tested")
    assert not any("withheld" in reason for reason in record.membership_outcome.reasons)


def test_letters_whose_case_the_checkpoint_does_not_see_are_no_difference(fixtures: Path, tmp_path: Path) -> None:
    assert checked(config(fixtures, tmp_path, (plain, capitals))) == ["passed"]
    assert checked(config(fixtures, tmp_path, (plain, listed))) == ["failed"]


def test_the_same_few_captions_on_both_sides_leave_nothing_to_tell_apart(fixtures: Path, tmp_path: Path) -> None:
    few = config(fixtures, tmp_path, (lambda caption: f"picture {len(caption) % 5}",) * 2)
    assert checked(few) == ["not tested"]


def test_where_nothing_is_asked_for_by_caption_there_is_no_check(fixtures: Path, tmp_path: Path) -> None:
    nothing = {"prompts": {"source": "empty"}, "membership": {"enabled": False}}
    assert checked(config(fixtures, tmp_path, (plain, listed), **nothing)) == []
    assert checked(config(fixtures, tmp_path, (plain, empty), prompts={"source": "empty"})) == []


@pytest.mark.slow
def test_captions_alone_tell_images_apart_that_were_not_trained_on(fixtures: Path) -> None:
    """Why it is a check: CLiD takes the style of captions for membership."""
    trained = load(scan(fixtures / "twemoji" / "checkpoint"))
    source = open_source(fixtures / "twemoji" / "holdout.parquet", Geometry(*trained.codec.pixel_shape), id_column="id")
    read = next(iter(source.batches(514)))
    x0 = trained.codec.to_model(read.pixels)

    def scores(style: Callable[[str], str]) -> np.ndarray:
        captions = [style(text or "") for text in read.captions]
        batch = read.ids, x0, torch.arange(len(captions))
        table = sweep(trained.with_prompts(captions).denoiser, [batch], [ATTACKS["clid"]], seed="s")
        return table.scores["clid"]["relative"]

    own, other, draw = scores(plain), scores(listed), np.random.default_rng(0)
    halves = [draw.permutation(len(own)) for _ in range(40)]
    found = [np.mean([auc(own[half[:257]], against[half[257:]]) for half in halves]) for against in (own, other)]
    assert abs(found[0] - 0.5) < 0.02 and found[1] > 0.55
