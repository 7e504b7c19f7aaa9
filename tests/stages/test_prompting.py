"""What a text-to-image checkpoint is asked for: prompts blind to the sets, and a refusal where they cannot be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import auditor
from auditor.config import AuditConfig, validate
from auditor.diffusion.denoiser import predict
from auditor.diffusion.sweep import samples_of
from auditor.errors import ConfigError
from auditor.report.lookup import not_shown
from auditor.report.prompting import asked_sentence
from auditor.stages.inputs import open_inputs
from auditor.stages.membership.scores import conditioned
from auditor.stages.prompt_list import joined, merged
from auditor.stages.rewording import reworded
from auditor.stats.power import zero_hit_bound
from auditor.store.prompting import Prompting
from auditor.store.record import Record
from auditor.store.wording import percent
from tests.micro import write_micro_inputs
from tests.text_pipelines import save_sd

TRAIN, HOLDOUT = 60, 120


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, fixtures: Path) -> Path:
    """An untrained pipeline of 16x16 pictures, and captioned pictures of which none was trained on."""
    path = tmp_path_factory.mktemp("prompted")
    save_sd(path / "checkpoint")
    table = pq.read_table(fixtures / "twemoji" / "holdout.parquet")
    pq.write_table(table.slice(0, TRAIN), path / "train.parquet")
    pq.write_table(table.slice(TRAIN, HOLDOUT), path / "holdout.parquet")
    return path


def config(folder: Path, **changes: dict[str, object]) -> AuditConfig:
    sections: dict[str, dict[str, object]] = {
        "checkpoint": {"path": str(folder / "checkpoint")},
        "data": {
            "train": str(folder / "train.parquet"), "holdout": str(folder / "holdout.parquet"), "split": "group",
            "resize": True, "id_column": "id",
        },
        "generation": {"probes": 64, "steps": 2, "batch_size": 16, "salt": "micro", "guidance_scale": 2.0},
        "prompts": {"seeds": 2},
        "membership": {"members": 30, "nonmembers": 30, "attacks": ["loss"]},
    }  # fmt: skip
    for name, update in changes.items():
        sections[name] = {**sections.get(name, {}), **update}
    return validate(sections, "prompted")


@pytest.fixture(scope="module")
def uncaptioned(folder: Path) -> Path:
    """The held-out pictures without their captions."""
    table = pq.read_table(folder / "holdout.parquet")
    pq.write_table(table.set_column(2, "caption", pa.array([""] * len(table))), folder / "bare.parquet")
    return folder / "bare.parquet"


@pytest.fixture(scope="module")
def audited(folder: Path) -> Record:
    return auditor.run(config(folder), folder / "run")


def test_cliques_are_looked_for_among_generations_of_different_prompts(audited: Record) -> None:
    """Two generations of one prompt are alike for what they were asked for, not only for what was learnt by heart."""
    prompting = audited.generation.prompts
    assert prompting is not None and audited.generation.probes > prompting.prompts and audited.cliques
    assert {one.generations + one.flat for one in audited.cliques} == {prompting.prompts}


def test_a_lookup_counts_prompts_and_not_their_generations(audited: Record, folder: Path) -> None:
    prompting = audited.generation.prompts
    assert prompting is not None
    found = auditor.lookup(folder / "run", ["nobody"])
    assert (found.probes, found.trials, found.asked_for) == (64, prompting.prompts, "captions")
    bound = percent(zero_hit_bound(prompting.prompts))
    assert any(
        f"{prompting.prompts} independent trials" in one and f"up to {bound} of" in one for one in not_shown(found)
    )
    worst = found.model_copy(update={"asked_for": "training"})
    assert any("a small p-value is no sign" in one for one in not_shown(worst))
    assert not any("a small p-value is no sign" in one for one in not_shown(found))


@pytest.mark.parametrize(("prompts", "trials"), [({}, 32), ({"source": "training", "seeds": 1}, 60)])
def test_a_plan_counts_prompts_and_not_their_generations(folder: Path, prompts: dict[str, object], trials: int) -> None:
    planned = auditor.plan(config(folder, prompts=prompts))
    assert (planned.trials, planned.by_prompt) == (trials, True)
    assert planned.zero_hit_rate == zero_hit_bound(trials)
    assert any(f"no hit among {trials} prompts" in line.answer for line in planned.lines())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"prompts": 3, "seeds": 128 / 3, "source": "file"}, "3 prompts, 42 or 43 generations each, as given."),
        ({"prompts": 1, "seeds": 1.0, "source": "file"}, "1 prompt, 1 generation each, as given."),
        ({"from_training": 17, "from_holdout": 15}, "17 captions of training images, 15 of held-out ones (1 of both)"),
        ({"from_training": 1, "from_holdout": 30}, "4 generations each: 1 caption of training images, 30 of"),
    ],
)
def test_prompts_are_told_in_whole_numbers(change: dict[str, object], said: str) -> None:
    asked = Prompting(source="captions", prompts=31, from_training=16, from_holdout=15, seeds=4.0, digest="d")
    assert said in asked_sentence(asked.model_copy(update=change))


def test_a_plan_without_prompts_counts_generations(folder: Path) -> None:
    planned = auditor.plan(config(folder, prompts={"source": "empty"}, generation={"guidance_scale": None}))
    assert (planned.trials, planned.by_prompt) == (64, False)


def test_prompts_are_captions_of_both_sets_in_proportion(audited: Record) -> None:
    asked = audited.generation.prompts
    assert asked is not None and asked.source == "captions" and asked.prompts == 32 and asked.seeds == 2
    assert asked.from_training + asked.from_holdout == 32
    assert 3 <= asked.from_training <= 20  # 10.7 of 32 expected of 60 among 180 captions


def test_the_unit_of_the_copy_rate_is_the_prompt(audited: Record) -> None:
    rate = audited.copies[0].copy_rate
    assert (rate.n, rate.unit) == (32, "share of prompts")


def test_an_untrained_network_copies_nothing_under_any_prompt(audited: Record) -> None:
    assert audited.copies[0].certified == 0
    assert audited.copies[0].copied_prompts == []
    assert audited.regime is None  # the memorizer does not read prompts


def test_going_on_gives_the_same_record_and_other_prompts_are_refused(audited: Record, folder: Path) -> None:
    again = auditor.run(config(folder), folder / "run")
    assert again.model_dump(exclude={"started", "seconds"}) == audited.model_dump(exclude={"started", "seconds"})
    with pytest.raises(ConfigError, match="seeds"):
        auditor.run(config(folder, prompts={"seeds": 4}), folder / "run")


def test_training_captions_alone_are_a_worst_case_that_proves_nothing(folder: Path, tmp_path: Path) -> None:
    record = auditor.run(config(folder, prompts={"source": "training"}), tmp_path / "run")
    (check,) = (check for check in record.checks if check.id == "prompts")
    assert check.status == "failed"
    assert record.judgement is not None and record.judgement.outcome == "cannot conclude"
    assert record.generation.prompts is not None and record.generation.prompts.from_holdout == 0


def test_a_list_of_prompts_and_none_at_all(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("red apple\n\ndog face\nred apple\n")
    listed = auditor.run(config(folder, prompts={"file": str(file)}), tmp_path / "listed")
    assert listed.generation.prompts is not None
    assert (listed.generation.prompts.source, listed.generation.prompts.prompts) == ("file", 2)
    assert any("prompts given" in note for note in listed.not_tested)
    unguided = {"guidance_scale": None}
    bare = auditor.run(config(folder, prompts={"source": "empty"}, generation=unguided), tmp_path / "bare")
    assert bare.generation.prompts is not None and bare.generation.prompts.source == "empty"
    for report in ("report.md", "report.html"):
        assert "Nothing: the empty prompt." in (tmp_path / "bare" / report).read_text()
    found = auditor.lookup(tmp_path / "bare", ["nobody"])
    assert (found.trials, found.asked_for) == (None, None)  # as many independent trials as generations
    assert any("empty prompt" in note for note in bare.not_tested)


def test_a_list_of_empty_prompts_is_refused_by_its_name(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "prompts.csv").write_text('caption\n""\n""\n')
    with pytest.raises(ConfigError, match=r"prompts.csv: got empty prompts alone; expected at least one with text"):
        open_inputs(config(folder, prompts={"file": str(tmp_path / "prompts.csv")}))


def test_prompts_that_the_checkpoint_sees_the_same_of_are_one_trial(folder: Path, tmp_path: Path) -> None:
    long = " ".join(["red apple"] * 40)
    file = tmp_path / "prompts.txt"
    file.write_text(f"Red Apple\nred apple\n{long}\n{long} pie\ndog face\n")
    record = auditor.run(config(folder, prompts={"file": str(file)}), tmp_path / "run")
    assert record.generation.prompts is not None and record.generation.prompts.prompts == 3
    assert record.copies[0].copy_rate.n == 3
    assert any("of 1 prompt the checkpoint sees the beginning only" in note for note in record.not_tested)


def test_a_caption_of_either_set_in_other_letters_is_of_both() -> None:
    drawn = joined({"train": ["a", "b"], "holdout": ["A", "c"]})
    prompts = merged(drawn, [text.lower() for text in drawn.texts])
    origins = {text.lower(): prompts.origin(place) for place, text in enumerate(prompts.texts)}
    assert origins == {"a": "both", "b": "training caption", "c": "held-out caption"}
    assert merged(drawn, drawn.texts) == drawn


@pytest.mark.parametrize("probes", [4, 16, 64])  # of 2 prompts alone, both may be of the captioned side by chance
def test_captions_on_one_side_are_refused_before_anything_is_made(
    folder: Path, uncaptioned: Path, tmp_path: Path, probes: int
) -> None:
    asked = config(folder, data={"holdout": str(uncaptioned)}, generation={"probes": probes})
    with pytest.raises(ConfigError, match="100% of train captioned and 0% of holdout"):
        auditor.run(asked, tmp_path / "run")
    assert not (tmp_path / "run" / "generate").exists()


def test_prompts_for_a_checkpoint_that_takes_none_are_refused(folder: Path, tmp_path: Path) -> None:
    write_micro_inputs(tmp_path)
    sets = {"train": str(tmp_path / "train"), "holdout": str(tmp_path / "holdout"), "id_column": None}
    with pytest.raises(ConfigError, match="takes none"):
        open_inputs(config(folder, checkpoint={"path": str(tmp_path / "checkpoint")}, data=sets, generation={
            "guidance_scale": None}))  # fmt: skip


def test_any_first_prompts_are_as_blind_as_all() -> None:
    drawn = {"train": [f"t{k}" for k in range(200)], "holdout": [f"h{k}" for k in range(100)] + ["t0"]}
    prompts = joined(drawn)
    assert len(prompts.texts) == len(set(prompts.texts)) == 300
    ours = np.cumsum([text.startswith("t") for text in prompts.texts])
    assert np.all(np.abs(ours - np.arange(1, 301) * 2 / 3) < 2.5)
    assert prompts.origin(prompts.texts.index("t0")) == "both"
    assert prompts.origin(prompts.texts.index("h3")) == "held-out caption"


def test_members_are_scored_under_their_own_captions(folder: Path) -> None:
    inputs = open_inputs(config(folder))
    ids = inputs.train.distinct_ids[:5]
    denoiser, (names, x0, condition) = conditioned(inputs, inputs.train, ids, "members", labelled=True)
    table = pq.read_table(folder / "train.parquet").to_pydict()
    text = dict(zip(table["id"], table["caption"], strict=True))
    assert condition is not None and inputs.checkpoint.text is not None
    one_by_one = inputs.checkpoint.text.with_prompts([text[name] for name in names])
    x_t, t = samples_of(denoiser.schedule, "seed", names, x0).noise("x").float(), torch.full((5,), 300)
    expected = torch.cat([one_by_one(x_t[k : k + 1], t[:1], torch.tensor([k])) for k in range(5)])
    assert torch.allclose(denoiser(x_t, t, condition), expected, atol=1e-6)
    unlabelled, (_, _, none) = conditioned(inputs, inputs.train, ids, "members", labelled=False)
    assert none is None
    empty = predict(unlabelled, x_t, t).eps
    assert not torch.allclose(predict(denoiser, x_t, t, condition).eps, empty, atol=1e-4)


def test_captions_that_the_checkpoint_sees_the_same_of_are_one_condition(folder: Path, tmp_path: Path) -> None:
    table = pq.read_table(folder / "train.parquet")
    captions = ["red apple", "Red Apple", "dog face", "red apple", *table["caption"].to_pylist()[4:]]
    pq.write_table(table.set_column(2, "caption", pa.array(captions)), tmp_path / "train.parquet")
    inputs = open_inputs(config(folder, data={"train": str(tmp_path / "train.parquet")}))
    ids = list(inputs.train.digests)
    _, (names, _, condition) = conditioned(inputs, inputs.train, ids, "members", labelled=True)
    text = dict(zip(table["id"].to_pylist(), (caption.lower() for caption in captions), strict=True))
    assert condition is not None
    same = condition[:, None] == condition[None]
    assert same.tolist() == [[text[one] == text[other] for other in names] for one in names]
    assert int(same.sum()) > len(names)


@pytest.mark.parametrize("text", ["red apple", "a a b", "flag: chile and peru", "one", "same same"])
def test_rewording_keeps_or_drops_words_by_the_text_alone(text: str) -> None:
    (shuffled,), (dropped,) = reworded([text], "shuffle", "s"), reworded([text], "drop", "s")
    assert sorted(shuffled.split()) == sorted(text.split())
    assert len(dropped.split()) == max(1, len(text.split()) - 1)
    assert reworded(["other", text], "shuffle", "s")[1] == shuffled
    assert reworded([text], "no", "s") == [text]
    if len(set(text.split())) > 1:
        assert shuffled != text


def test_reworded_captions_are_other_prompts_of_the_same_number(folder: Path, tmp_path: Path, audited: Record) -> None:
    record = auditor.run(config(folder, prompts={"seeds": 2, "reword": "shuffle"}), tmp_path / "run")
    ours, theirs = record.generation.prompts, audited.generation.prompts
    assert ours is not None and theirs is not None and ours.reworded == "shuffle"
    assert ours.digest != theirs.digest and ours.prompts == theirs.prompts
    assert (ours.from_training, ours.from_holdout) == (theirs.from_training, theirs.from_holdout)
