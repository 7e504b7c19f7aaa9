"""What the base of a fine-tune copies is told from what the fine-tuning added."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

import auditor
from auditor.config import validate
from auditor.report.prompting import base_sentence
from auditor.store.record import Record

FLAGS, OTHERS = 32, 120


@pytest.fixture(scope="module")
def audited(fixtures: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Record]:
    """The adapted fixture and its base, on captions of the adapters' own pictures and of held-out flags."""
    folder = tmp_path_factory.mktemp("base")
    held_out = pq.read_table(fixtures / "twemoji-lora" / "holdout.parquet")
    pq.write_table(held_out.slice(0, OTHERS), folder / "holdout.parquet")
    base, lora = fixtures / "twemoji" / "checkpoint", fixtures / "twemoji-lora"
    sections = {
        "data": {
            "train": str(lora / "train.parquet"), "holdout": str(folder / "holdout.parquet"), "id_column": "id",
            "split": "group",
        },
        "generation": {
            "probes": 2 * (FLAGS + OTHERS), "sampler": "dpmpp_2m", "steps": 12, "guidance_scale": 3.0,
            "salt": "fixtures",
        },
        "prompts": {"seeds": 2},
        "copies": {"closer": 0, "views": ["identity"]},
        "membership": {
            "members": 20, "nonmembers": 20, "attacks": ["loss"], "dataset_inference": False,
            "references": [{"name": "twemoji", "checkpoint": str(base), "role": "base"}],
        },
    }  # fmt: skip
    adapted = {"checkpoint": {"path": str(base), "adapter": str(lora / "pytorch_lora_weights.safetensors")}}
    alone = {"checkpoint": {"path": str(base)}, "membership": {**sections["membership"], "references": []}}
    return {
        "adapted": auditor.run(validate(sections | adapted, "adapted"), folder / "adapted"),
        "base": auditor.run(validate(sections | alone, "base"), folder / "alone"),
    }


@pytest.mark.slow
def test_what_the_adapters_added_is_found_and_the_base_charged_with_none(audited: dict[str, Record]) -> None:
    found = audited["adapted"].copies[0]
    assert found.base is not None and found.base.name == "twemoji"
    assert found.certified + found.verbatim >= 8
    assert (found.base.copied, found.base.shared) == (0, 0)
    assert found.base.added == found.certified + found.verbatim
    listed = [item for item in found.evidence if item.tier != "suspect"]
    assert listed and all(item.base is False for item in listed)
    assert "the fine-tuning added" in base_sentence(found)


@pytest.mark.slow
def test_the_base_alone_copies_none_of_them(audited: dict[str, Record]) -> None:
    found = audited["base"].copies[0]
    assert (found.certified, found.verbatim, found.base) == (0, 0, None)


@pytest.mark.slow
def test_copies_are_listed_by_the_prompt_that_led_to_them(audited: dict[str, Record], fixtures: Path) -> None:
    found = audited["adapted"].copies[0]
    of_flags = set(pq.read_table(fixtures / "twemoji-lora" / "train.parquet").column("caption").to_pylist())
    assert found.copied_prompts
    landed = {
        kind: sum(one.origin == kind for one in found.copied_prompts)
        for kind in ("training caption", "held-out caption")
    }
    # Captions of other flags lead to the flags learnt, too, but not as often as their own.
    assert landed["training caption"] / FLAGS > landed["held-out caption"] / OTHERS
    assert all(one.prompt in of_flags for one in found.copied_prompts if one.origin == "training caption")
    assert all(0 < one.landing <= one.generations == 2 for one in found.copied_prompts)
    assert (found.copy_rate.unit, found.copy_rate.n) == ("share of prompts", FLAGS + OTHERS)
