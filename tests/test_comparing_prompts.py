"""A comparison of text-to-image checkpoints: all asked for the same prompts, from the same noises."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageOps
from safetensors.torch import load_file, save_file

from auditor.checkpoint.latents import PixelScaling, same_space
from auditor.checkpoint.load import load
from auditor.checkpoint.scan import scan
from auditor.cli.compare import comparison
from auditor.cli.main import main
from auditor.comparing import compare, read_compared
from auditor.comparison_config import ComparisonConfig, validate_comparison
from auditor.config import GenerationConfig
from auditor.errors import ConfigError
from auditor.stages.comparison.inputs import open_compared
from auditor.stages.comparison.prompts import draw_captions
from auditor.stages.generate import sample_part
from auditor.store.comparison import Comparison
from tests.image_pipelines import save_dit
from tests.micro import write_checkpoint, write_micro_inputs
from tests.single_files import save_single_file
from tests.text_pipelines import save_sd

TEXTS = ("a red square", "two cats", "the sea", "a ball")
SEEDS = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, fixtures: Path) -> Path:
    """Two untrained pipelines of one autoencoder, and captioned pictures of which neither was trained on any."""
    path = tmp_path_factory.mktemp("prompted")
    save_sd(path / "ours")
    save_sd(path / "theirs", block_out_channels=(8, 24))
    table = pq.read_table(fixtures / "twemoji" / "holdout.parquet")
    table = table.take(np.random.default_rng(0).permutation(len(table)))  # both sides of one origin
    pq.write_table(table.slice(0, 60), path / "train.parquet")
    pq.write_table(table.slice(60, 90), path / "holdout.parquet")
    (path / "prompts.txt").write_text("\n".join(["", *TEXTS, TEXTS[0]]))
    return path


def asked(folder: Path, **changes: object) -> ComparisonConfig:
    raw: dict[str, object] = {
        "models": [
            {"checkpoint": str(folder / "ours")},
            {"checkpoint": str(folder / "theirs"), "train": str(folder / "train.parquet"), "base": "ours"},
        ],
        "data": {"holdout": str(folder / "holdout.parquet"), "split": "group", "resize": True, "id_column": "id"},
        "generation": {"probes": 160, "steps": 2, "batch_size": 32, "salt": "micro", "guidance_scale": 2.0},
        "prompts": {"source": "captions", "seeds": SEEDS},
        "sheet": 3,
    }
    return validate_comparison({**raw, **changes}, "prompted")


@pytest.fixture(scope="module")
def made(folder: Path) -> Comparison:
    return compare(asked(folder), folder / "run")


def test_prompts_are_the_unit_and_no_memorizer_reads_them(made: Comparison, folder: Path) -> None:
    assert made.prompts is not None and 36 <= made.prompts.prompts <= 40
    assert made.prompts.from_training and made.prompts.from_holdout
    assert [column.kind for column in made.columns] == ["checkpoint"] * 2
    assert [column.denoiser_evaluations for column in made.columns] == [160 * 2 * 2] * 2  # guided
    assert [(pair.prompts, pair.probes) for pair in made.pairs] == [(made.prompts.prompts, 160)]
    assert made.pairs[0].rp.n == made.prompts.prompts // 2
    assert [verdict.regime for verdict in made.regimes] == ["cannot conclude"] * 2
    assert any("does not read" in reason for reason in made.regimes[1].reasons)
    assert [(one.tuned, one.onto.n) for one in made.moved] == [("theirs", made.prompts.prompts)]
    assert not any("empty prompt" in line for line in made.not_tested)
    rows = pq.read_table(folder / "run" / "probes.parquet").to_pylist()
    assert len(rows) == 160 and {row["agrees"] for row in rows} == {row["memorizer_reaches"] for row in rows} == {None}


def test_the_report_says_what_was_asked_for(made: Comparison, folder: Path) -> None:
    prompt = made.sheet[1].prompt
    assert prompt
    for name in ("comparison.html", "comparison.md"):
        text = (folder / "run" / name).read_text()
        assert "asked for the same" in text and "different noise under the same prompt" in text
        assert "Checkpoints answered under guidance scale 2." in text
        assert "higher the fewer noises a prompt has" in text and "picked out of all answers" not in text
        assert prompt in text


def test_the_same_command_goes_on_to_the_same_record(made: Comparison, folder: Path) -> None:
    again = compare(asked(folder), folder / "run")
    plain = [{**found.model_dump(), "seconds": None} for found in (again, made, read_compared(folder / "run"))]
    assert plain[0] == plain[1] == plain[2]


def test_every_checkpoint_answers_a_probe_under_the_prompt_of_its_place(folder: Path, tmp_path: Path) -> None:
    """Against the checkpoints bound by hand; under prompts in another order the pictures are others."""
    changes = {"prompts": {"file": str(folder / "prompts.txt"), "seeds": 2}, "data": {}, "sheet": 8,
               "models": [{"checkpoint": str(folder / name)} for name in ("ours", "theirs")],
               "generation": {"probes": 8, "steps": 2, "batch_size": 8, "salt": "micro"}}  # fmt: skip
    config = asked(folder, **changes)
    found = compare(config, tmp_path / "run")
    texts = json.loads(next((tmp_path / "run").glob("inputs/prompts*")).read_text())["file"]
    assert sorted(texts) == sorted(TEXTS)
    assert [row.prompt for row in found.sheet] == [texts[probe % 4] for probe in range(8)]
    plain = GenerationConfig(probes=8, steps=2, batch_size=8)
    for place, model in enumerate(open_compared(config).models):
        for order, alike in ((texts, True), (texts[1:] + texts[:1], False)):
            bound = model.checkpoint.with_prompts(order)
            pixels = sample_part(bound, bound.denoiser, plain, found.root_seed, range(8), "cpu")["pixels"]
            for row in found.sheet:
                picture = np.asarray(Image.open(tmp_path / "run" / str(row.images[place]))).transpose(2, 0, 1)
                assert np.array_equal(picture, pixels[row.probe]) == alike


def test_an_image_that_two_training_sets_share_is_drawn_once(folder: Path) -> None:
    models = [{"checkpoint": str(folder / name), "train": str(folder / "train.parquet")} for name in ("ours", "theirs")]
    (folder / "some.txt").write_text("\n".join(pq.read_table(folder / "train.parquet")["id"].to_pylist()[:30]))
    models[1]["ids"] = str(folder / "some.txt")
    drawn = draw_captions(open_compared(asked(folder, models=models)), 1_000, "seed")
    tables = [pq.read_table(folder / name)["caption"].to_pylist() for name in ("train.parquet", "holdout.parquet")]
    assert [sorted(drawn[side]) for side in ("train", "holdout")] == [sorted(table) for table in tables]


def test_a_held_out_set_without_captions_is_refused_however_few_are_drawn(folder: Path, tmp_path: Path) -> None:
    bare = pq.read_table(folder / "holdout.parquet").drop_columns(["caption"])
    pq.write_table(bare, tmp_path / "holdout.parquet")
    data = asked(folder).data.model_dump(mode="json") | {"holdout": str(tmp_path / "holdout.parquet")}
    inputs = open_compared(asked(folder, data=data))
    for count in (2, 40):
        with pytest.raises(ConfigError, match="100% of train captioned and 0% of holdout"):
            draw_captions(inputs, count, "seed")


def test_held_out_images_of_another_origin_withhold_what_comes_back(
    folder: Path, made: Comparison, tmp_path: Path
) -> None:
    """Inverted: a classifier that sees no checkpoint tells the sides apart, so neither can stand for the other."""
    table = pq.read_table(folder / "holdout.parquet")
    place = table.column_names.index("image")
    inverted = pa.array([negative(image["bytes"]) for image in table["image"].to_pylist()])
    pq.write_table(table.set_column(place, "image", inverted), tmp_path / "holdout.parquet")
    data = asked(folder).data.model_dump(mode="json") | {"holdout": str(tmp_path / "holdout.parquet")}
    found = compare(asked(folder, data=data), tmp_path / "run")
    reasons = {verdict.column: verdict.reasons for verdict in found.regimes}
    assert "not of one origin" in reasons["theirs"][0] and "not of one origin" not in " ".join(reasons["ours"])
    plain = [reason for verdict in made.regimes for reason in verdict.reasons]
    assert not any("not of one origin" in reason or "not written alike" in reason for reason in plain)
    assert any("only the captions" in note and "Too few images to be sure" in note for note in made.notes)


def test_captions_that_are_written_otherwise_withhold_it_too(folder: Path, tmp_path: Path) -> None:
    table = pq.read_table(folder / "holdout.parquet")
    repeated = pa.array([", ".join([text] * 5) for text in table["caption"].to_pylist()])
    place = table.column_names.index("caption")
    pq.write_table(table.set_column(place, "caption", repeated), tmp_path / "holdout.parquet")
    data = asked(folder).data.model_dump(mode="json") | {"holdout": str(tmp_path / "holdout.parquet")}
    found = compare(asked(folder, data=data), tmp_path / "run")
    assert "not written alike" in found.regimes[1].reasons[0]
    assert "Caption both sides alike" in found.regimes[1].remedies[0]
    listed = compare(asked(folder, data=data, prompts={"file": str(folder / "prompts.txt")}), tmp_path / "listed")
    assert not any("written alike" in line for line in [*listed.regimes[1].reasons, *listed.notes])


def negative(file: bytes) -> bytes:
    """A picture's file with its colours inverted."""
    written = io.BytesIO()
    ImageOps.invert(Image.open(io.BytesIO(file)).convert("RGB")).save(written, "PNG")
    return written.getvalue()


def test_the_same_network_is_reproduced_and_another_less(folder: Path, made: Comparison, tmp_path: Path) -> None:
    models = [{"checkpoint": str(folder / "ours"), "name": name} for name in ("one", "two")]
    data = asked(folder).data.model_dump(mode="json")
    twice = compare(asked(folder, models=models, data=data), tmp_path / "run").pairs[0]
    assert twice.rp.value == twice.identified.value == 1.0
    assert (made.pairs[0].matched.upper or 1.0) < 0.99


def test_what_prompts_leave_untested_is_said(folder: Path, tmp_path: Path, made: Comparison) -> None:
    """Of a list: that it may favour training images, and what a checkpoint does not see of its prompts."""
    (tmp_path / "long.txt").write_text("\n".join([*TEXTS, "very " * 100 + "long"]))
    generation = {"probes": 10, "steps": 1, "salt": "micro"}
    found = compare(asked(folder, prompts={"file": str(tmp_path / "long.txt"), "seeds": 2}, generation=generation),
                    tmp_path / "run")  # fmt: skip
    said = " ".join(found.not_tested)
    assert "Whether the prompts given favour training images" in said
    assert "of 1 prompt ours sees the beginning only" in said and "of 1 prompt theirs" in said
    assert not any("favour" in line or "beginning" in line for line in made.not_tested)
    assert all(column.guidance_scale is None for column in found.columns)
    assert "guidance scale 2" not in (tmp_path / "run" / "comparison.md").read_text()


def test_without_held_out_images_what_comes_back_is_not_known(folder: Path, tmp_path: Path, made: Comparison) -> None:
    generation = {"probes": 120, "steps": 1, "salt": "micro"}
    found = compare(asked(folder, data={"resize": True, "id_column": "id"}, generation=generation), tmp_path / "run")
    assert "not known: no held-out images competed" in found.regimes[1].reasons[-1]
    assert any("captions than those of training images" in line for line in found.not_tested)
    assert not any("captions than those of training images" in line for line in made.not_tested)
    assert found.moved[0].onto.n == 30


def test_classes_are_guided_and_their_memorizers_are_not(folder: Path, tmp_path: Path) -> None:
    save_dit(tmp_path / "classes")
    models = [{"checkpoint": str(tmp_path / "classes"), "train": str(folder / "train.parquet")}]
    pictures = []
    for scale in (None, 4.0):
        generation = {"probes": 8, "steps": 2, "salt": "micro", "guidance_scale": scale}
        changes = {"models": models, "prompts": {}, "generation": generation, "sheet": 8}
        run = tmp_path / f"run-{scale}"
        found = compare(asked(folder, tasks={"problems": ["inpaint"], "images": 4}, **changes), run)
        assert [column.guidance_scale for column in found.columns] == [scale, None]
        assert [column.denoiser_evaluations for column in found.columns] == [8 * 2 * (2 if scale else 1), 8 * 2]
        said = (
            "Checkpoints answered under guidance scale 4, the memorizers under none."
            in (run / "comparison.md").read_text()
        )
        assert said == any("Tasks under guidance" in line for line in found.not_tested) == (scale is not None)
        pictures.append([[(run / str(name)).read_bytes() for name in row.images] for row in found.sheet])
    assert all(plain[0] != guided[0] for plain, guided in zip(*pictures, strict=True))
    assert all(plain[1] == guided[1] for plain, guided in zip(*pictures, strict=True))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"attributes": {"captions": True}}, "attributes are what was asked for"),
        ({"prompts": {"source": "captions", "file": "x.txt"}}, "file and source are both given"),
        ({"models": [{"checkpoint": "a"}, {"checkpoint": "b"}], "data": {}}, "without image sets"),
        ({"generation": {"probes": 3}}, "3 probes for 4 seeds"),
        ({"generation": {"guidance_scale": -1}}, "greater than or equal to 0"),
        ({"prompts": {"seeds": 1}}, "greater than or equal to 2"),
    ],
)
def test_prompts_that_cannot_be_are_refused_at_once(folder: Path, changes: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        asked(folder, **changes)


def test_prompts_that_a_checkpoint_does_not_take_are_refused_before_anything_is_made(
    folder: Path, tmp_path: Path
) -> None:
    write_micro_inputs(tmp_path)
    write_checkpoint(tmp_path / "checkpoint")
    models = [{"checkpoint": str(tmp_path / "checkpoint"), "name": name} for name in ("one", "two")]
    prompts = {"file": str(folder / "prompts.txt")}
    with pytest.raises(ConfigError, match="text-to-image checkpoint"):
        compare(asked(folder, models=models, data={}, prompts=prompts, generation={"probes": 8}), tmp_path / "run")
    with pytest.raises(ConfigError, match="prompts to guide to"):
        compare(asked(folder, prompts={}), tmp_path / "run")
    (tmp_path / "empty.txt").write_text("\n \n")
    with pytest.raises(ConfigError, match=r"empty\.txt"):
        compare(asked(folder, prompts={"file": str(tmp_path / "empty.txt")}), tmp_path / "run")
    with pytest.raises(ConfigError, match=r"nowhere\.txt"):
        compare(asked(folder, prompts={"file": str(tmp_path / "nowhere.txt")}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_from_the_command_line(folder: Path, tmp_path: Path) -> None:
    arguments = ["compare", str(folder / "ours"), str(folder / "theirs"), "--prompts", str(folder / "prompts.txt"),
                 "--seeds", "8", "--guidance-scale", "2", "--probes", "32", "--steps", "2",
                 "--run-dir", str(tmp_path / "run")]  # fmt: skip
    assert main(arguments) == 0
    found = read_compared(tmp_path / "run")
    assert found.prompts is not None and (found.prompts.prompts, found.prompts.seeds) == (4, 8.0)


def test_an_option_replaces_what_a_file_asks_for(folder: Path, tmp_path: Path) -> None:
    models = "".join(f'[[models]]\ncheckpoint = "{folder / name}"\n' for name in ("ours", "theirs"))
    data = f'[data]\nholdout = "{folder / "holdout.parquet"}"\n'
    given = folder / "prompts.txt"
    for asked_for, options, source, file in (
        (f'file = "{given}"', {"captions": True}, "captions", None),
        ('source = "captions"', {"prompts": given}, "empty", given),
        ('source = "captions"', {"seeds": 8}, "captions", None),
    ):
        (tmp_path / "compare.toml").write_text(f"{models}{data}[prompts]\n{asked_for}\n")
        prompts = comparison((tmp_path / "compare.toml",), options).prompts
        assert (prompts.source, prompts.file) == (source, file)
    with pytest.raises(ConfigError, match="file and source are both given"):
        comparison((folder / "ours", folder / "theirs"), {"captions": True, "prompts": given})


def test_a_single_file_beside_the_folder_that_it_was_made_of(folder: Path, tmp_path: Path) -> None:
    """Under --config; the same network in float16, whose autoencoder is the same space up to rounding."""
    file, description = save_single_file(folder / "ours", tmp_path)
    halves = {name: value.half() for name, value in load_file(file).items()}
    save_file(halves, tmp_path / "halves.safetensors")
    arguments = ["compare", str(folder / "ours"), str(file), str(tmp_path / "halves.safetensors"),
                 "--config", str(description), "--prompts", str(folder / "prompts.txt"), "--offload", "parts",
                 "--probes", "32", "--steps", "2", "--run-dir", str(tmp_path / "run")]  # fmt: skip
    assert main(arguments) == 0
    found = read_compared(tmp_path / "run")
    assert [model.name for model in found.models] == ["ours", file.stem, "halves"]
    pictures = [[(tmp_path / "run" / str(name)).read_bytes() for name in row.images] for row in found.sheet]
    assert all(first == second for first, second, _ in pictures)
    assert any(first != third for first, _, third in pictures)


def test_another_autoencoder_is_another_space(folder: Path, tmp_path: Path) -> None:
    """Also one that differs in one tensor alone, and inside files whose names say nothing."""
    file, description = save_single_file(folder / "ours", tmp_path)
    tensors = load_file(file)
    name = next(name for name in tensors if name.startswith("first_stage_model") and name.endswith("conv_in.weight"))
    save_file({**tensors, name: 1.02 * tensors[name]}, tmp_path / "moved.safetensors")
    models = [{"checkpoint": str(one), "config": str(description)} for one in (file, tmp_path / "moved.safetensors")]
    with pytest.raises(ConfigError, match="different autoencoders"):
        open_compared(asked(folder, models=models))
    pixels = PixelScaling((3, 16, 16))
    assert same_space(pixels, replace(pixels, low=0.0))
    assert not same_space(pixels, load(scan(folder / "ours")).codec)


@pytest.mark.parametrize("side", [8, 24])
def test_checkpoints_are_compared_at_the_size_asked_for(folder: Path, side: int) -> None:
    generation = {"probes": 8, "steps": 2, "image_size": side}
    shapes = [
        model.checkpoint.codec.pixel_shape for model in open_compared(asked(folder, generation=generation)).models
    ]
    assert shapes == [(3, side, side)] * 2


@pytest.mark.slow
def test_adapters_move_their_captions_onto_their_pictures_and_at_scale_nought_none(
    fixtures: Path, tmp_path: Path
) -> None:
    base, lora = fixtures / "twemoji" / "checkpoint", fixtures / "twemoji-lora"
    adapted = {
        "checkpoint": str(base), "adapter": str(lora / "pytorch_lora_weights.safetensors"), "base": "twemoji",
        "train": str(lora / "train.parquet"),
    }  # fmt: skip
    models = [
        {"checkpoint": str(base), "name": "twemoji"},
        {**adapted, "name": "adapted"},
        {**adapted, "name": "nought", "adapter_scale": 0.0},
    ]
    raw = {
        "models": models,
        "data": {"holdout": str(lora / "holdout.parquet"), "split": "group", "id_column": "id"},
        "generation": {"probes": 256, "samplers": ["dpmpp_2m"], "steps": 8, "guidance_scale": 3.0, "salt": "fixtures"},
        "prompts": {"source": "captions"},
    }
    found = compare(validate_comparison(raw, "flags"), tmp_path / "run")
    moved = {one.tuned: one for one in found.moved}
    assert (moved["adapted"].onto.lower or 0.0) > 0.3 and moved["adapted"].p_value < 1e-6
    assert moved["nought"].onto.value == 0.0 and moved["nought"].p_value == 1.0
    pairs = {(pair.left, pair.right): pair for pair in found.pairs}
    same, other = pairs["twemoji", "nought"], pairs["twemoji", "adapted"]
    assert same.rp.value == 1.0 and (other.rp.upper or 1.0) < 0.5
    reasons = {verdict.column: " ".join(verdict.reasons) for verdict in found.regimes}
    assert "distinct training images come back" in reasons["adapted"]
    assert "No training image is shown to come back" in reasons["nought"]
