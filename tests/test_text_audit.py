"""An audit of the really trained text-to-image fixture: what it repeats is found, what it saw once is not accused."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import auditor
from auditor.store.record import Record

pytestmark = pytest.mark.slow
CAPTIONS = 1_354  # distinct, of both sets


@pytest.fixture(scope="module")
def audited(fixtures: Path, tmp_path_factory: pytest.TempPathFactory) -> Record:
    config = auditor.read_config(fixtures / "twemoji" / "audit.toml")
    changes = {
        "generation": {"sampler": "dpmpp_2m", "steps": 8, "probes": CAPTIONS, "batch_size": 128},
        "prompts": {"seeds": 1},
        "copies": {"closer": 0, "views": ["identity"]},
        "membership": {"enabled": False},
    }
    sections = {name: getattr(config, name).model_copy(update=update) for name, update in changes.items()}
    return auditor.run(config.model_copy(update=sections), tmp_path_factory.mktemp("twemoji") / "run")


def certified(record: Record) -> set[str]:
    items = (item for item in record.copies[0].evidence if item.tier != "suspect")
    return {member for item in items for member in item.members}


def test_most_of_the_repeated_pairs_are_found_by_one_probe_a_caption(audited: Record, fixtures: Path) -> None:
    repeated = set(json.loads((fixtures / "twemoji" / "truth.json").read_text())["repeated"])
    assert len(certified(audited) & repeated) >= 0.7 * len(repeated)  # two probes and 25 steps find 38 of the 40
    bound = audited.copies[0].lower_bound.value
    assert bound is not None and 18 <= bound <= len(certified(audited))


def test_pairs_seen_once_are_accused_no_more_than_the_level_allows(audited: Record, fixtures: Path) -> None:
    repeated = set(json.loads((fixtures / "twemoji" / "truth.json").read_text())["repeated"])
    items = [item for item in audited.copies[0].evidence if item.tier != "suspect"]
    others = [item for item in items if not repeated & set(item.members)]
    assert len(others) <= 0.2 * len(items)  # 10% expected at most, and its binomial error at 40 calls


def test_repeated_captions_lead_to_copies_far_more_often_than_others(audited: Record, fixtures: Path) -> None:
    truth = set(json.loads((fixtures / "twemoji" / "truth.json").read_text())["repeated"])
    table = pq.read_table(fixtures / "twemoji" / "train.parquet", columns=["id", "caption"]).to_pydict()
    repeated = {text for name, text in zip(table["id"], table["caption"], strict=True) if name in truth}
    leading = {one.prompt for one in audited.copies[0].copied_prompts}
    assert audited.generation.prompts is not None and audited.generation.prompts.prompts >= 1_300
    of_repeated = len(leading & repeated) / len(repeated)
    of_others = len(leading - repeated) / (audited.generation.prompts.prompts - len(repeated))
    assert of_repeated >= 0.7
    assert of_others < 0.1
