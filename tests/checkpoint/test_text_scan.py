"""What belongs to text in a checkpoint is read as strictly as the rest, and as people publish it."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

from auditor.checkpoint.attention import text_encoders
from auditor.checkpoint.load import load
from auditor.checkpoint.scan import scan
from auditor.errors import AuditError, CheckpointError, UnsafeArtifactError
from tests.single_files import clip_names
from tests.text_pipelines import PROMPTS, save_pixart, save_sd, save_sd3, text_unet

TEXT = "text_encoder/model.safetensors"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_sd(tmp_path_factory.mktemp("sd") / "sd")


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """A fresh Stable Diffusion folder that the test may change."""
    return shutil.copytree(original, tmp_path / "sd")


def edit(file: Path, change: Callable[[dict[str, object]], object]) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def edit_text(root: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = {name: tensor.clone() for name, tensor in load_file(root / TEXT).items()}
    change(tensors)
    save_file(tensors, root / TEXT)


def output(root: Path) -> torch.Tensor:
    checkpoint = load(scan(root)).with_prompts(PROMPTS)
    x = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    return checkpoint.denoiser(x, torch.tensor([9, 500, 900]), torch.arange(3))


def old_names(root: Path) -> None:
    save_file(clip_names(load_file(root / TEXT)), root / TEXT)


def old_tokenizer(root: Path) -> None:
    content = json.loads((root / "tokenizer" / "tokenizer.json").read_text())["model"]
    (root / "tokenizer" / "tokenizer.json").unlink()
    (root / "tokenizer" / "vocab.json").write_text(json.dumps(content["vocab"]))
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in content["merges"]]
    (root / "tokenizer" / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")


def safety_checker(root: Path) -> None:
    extra = {
        "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
        "feature_extractor": ["transformers", "CLIPImageProcessor"], "image_encoder": [None, None],
    }  # fmt: skip
    edit(root / "model_index.json", lambda index: index.update(extra))


def half_precision_names(root: Path) -> None:
    for file in root.rglob("*.safetensors"):
        file.rename(file.with_suffix(".fp16.safetensors"))


def bfloat_names(root: Path) -> None:
    for file in root.rglob("*.safetensors"):
        file.rename(file.with_suffix(".bf16.safetensors"))


def in_shards(root: Path) -> None:
    """The network in two files with an index, in half precision's naming."""
    unet = root / "unet"
    (unet / "diffusion_pytorch_model.safetensors").unlink()
    text_unet().save_pretrained(unet, max_shard_size="20KB", variant="fp16")
    assert len(list(unet.glob("*-of-*.safetensors"))) > 1


@pytest.mark.parametrize(
    "change", [old_names, old_tokenizer, safety_checker, half_precision_names, bfloat_names, in_shards]
)
def test_as_people_publish_them(change: Callable[[Path], None], original: Path, folder: Path) -> None:
    change(folder)
    torch.testing.assert_close(output(folder), output(original))


def tokenizer_with_code(root: Path) -> None:
    entry = {"AutoTokenizer": ["tokenizer.MyTokenizer", None]}
    edit(root / "tokenizer" / "tokenizer_config.json", lambda config: config.update(auto_map=entry))


def another_tokenizer(root: Path) -> None:
    edit(root / "tokenizer" / "tokenizer_config.json", lambda config: config.update(tokenizer_class="MyTokenizer"))


def another_encoder(root: Path) -> None:
    edit(root / "model_index.json", lambda index: index.update(text_encoder=["transformers", "LlamaForCausalLM"]))


def another_architecture(root: Path) -> None:
    edit(root / "text_encoder" / "config.json", lambda config: config.update(architectures=["MyTextModel"]))


def another_library(root: Path) -> None:
    edit(root / "model_index.json", lambda index: index.update(tokenizer=["my_tokenizers", "CLIPTokenizer"]))


def diffusers_tokenizer(root: Path) -> None:
    edit(root / "model_index.json", lambda index: index.update(tokenizer=["diffusers", "CLIPTokenizer"]))


def kernels_from_the_hub(root: Path) -> None:
    name = "kernels-community/flash-attn"
    edit(root / "text_encoder" / "config.json", lambda config: config.update(attn_implementation=name))


UNSAFE = [
    tokenizer_with_code, another_tokenizer, another_encoder, another_architecture, another_library, diffusers_tokenizer,
    kernels_from_the_hub,
]  # fmt: skip


@pytest.mark.parametrize("damage", UNSAFE)
def test_classes_off_the_list_are_refused_unopened(damage: Callable[[Path], None], folder: Path) -> None:
    damage(folder)
    with pytest.raises(UnsafeArtifactError):
        scan(folder)


@pytest.mark.parametrize("component", ["unet", "text_encoder"])
def test_quantized_weights_are_refused_unopened(component: str, folder: Path) -> None:
    entry = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    edit(folder / component / "config.json", lambda config: config.update(quantization_config=entry))
    with pytest.raises(CheckpointError, match=f"{component}: quantization_config: got quantized weights"):
        scan(folder)


@pytest.mark.parametrize("attention", ["eager", "sdpa", None])
def test_attentions_of_torch_are_accepted(attention: str | None, folder: Path) -> None:
    edit(folder / "text_encoder" / "config.json", lambda config: config.update(_attn_implementation=attention))
    scan(folder)


def lost(root: Path) -> None:
    edit_text(root, lambda tensors: tensors.pop("final_layer_norm.bias"))


def extra(root: Path) -> None:
    edit_text(root, lambda tensors: tensors.update({"extra.weight": torch.ones(2)}))


def broken(root: Path) -> None:
    edit_text(root, lambda tensors: tensors["final_layer_norm.bias"].fill_(float("nan")))


def other_shape(root: Path) -> None:
    edit_text(root, lambda tensors: tensors.update({"final_layer_norm.bias": torch.ones(5)}))


def stray_adapter(root: Path) -> None:
    (root / "text_encoder" / "adapter_config.json").write_text('{"peft_type": "LORA"}')


def no_encoder(root: Path) -> None:
    edit(root / "model_index.json", lambda index: index.update(text_encoder=[None, None]))


def no_vocabulary(root: Path) -> None:
    for file in ("tokenizer.json", "vocab.json", "merges.txt"):
        (root / "tokenizer" / file).unlink(missing_ok=True)
    (root / "tokenizer" / "vocab.json").write_text("[1, 2]")


def inpainting(root: Path) -> None:
    text_unet(in_channels=9).save_pretrained(root / "unet")


def told_guidance(root: Path) -> None:
    text_unet(time_cond_proj_dim=8).save_pretrained(root / "unet")


def other_width(root: Path) -> None:
    text_unet(cross_attention_dim=20).save_pretrained(root / "unet")


def flow(root: Path) -> None:
    config = {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000}
    (root / "scheduler" / "scheduler_config.json").write_text(json.dumps(config))


UNUSABLE = {
    "text_encoder": [lost, extra, broken, other_shape, stray_adapter, no_encoder, other_width],
    "tokenizer": [no_vocabulary],
    "unet": [inpainting, told_guidance],
    "scheduler": [flow],
}


@pytest.mark.parametrize(("named", "damage"), [(name, one) for name, several in UNUSABLE.items() for one in several])
def test_parts_that_do_not_fit_are_named(named: str, damage: Callable[[Path], None], folder: Path) -> None:
    damage(folder)
    with pytest.raises(CheckpointError, match=named) as caught:
        load(scan(folder))
    assert "\n" not in str(caught.value)


def test_a_flow_network_needs_a_flow(tmp_path: Path) -> None:
    root = save_sd3(tmp_path / "sd3")
    load(scan(root))  # negative control
    edit(root / "scheduler" / "scheduler_config.json", lambda config: config.update(use_karras_sigmas=True))
    with pytest.raises(AuditError, match="use_karras_sigmas"):
        load(scan(root))
    edit(root / "scheduler" / "scheduler_config.json", lambda config: config.update(_class_name="DDIMScheduler"))
    with pytest.raises(AuditError, match="diffusion"):
        load(scan(root))


def test_a_tokenizer_of_sentencepiece_alone_is_read(tmp_path: Path) -> None:
    # As PixArt's is published: no tokenizer.json, and sentencepiece itself as the oracle.
    folder = save_pixart(tmp_path / "pixart", "PixArtAlphaPipeline")
    corpus = [" ".join(PROMPTS), "the quick brown fox jumps over the lazy dog"] * 20
    written = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(corpus), model_writer=written, vocab_size=40, pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
        hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    for file in (folder / "tokenizer").iterdir():
        file.unlink()
    (folder / "tokenizer" / "spiece.model").write_bytes(written.getvalue())
    stated = {"tokenizer_class": "T5Tokenizer", "extra_ids": 0, "model_max_length": 120}
    (folder / "tokenizer" / "tokenizer_config.json").write_text(json.dumps(stated))
    [encoder] = text_encoders(load(scan(folder)).with_prompts(PROMPTS).denoiser)
    oracle = SentencePieceProcessor(model_proto=written.getvalue())
    for prompt in PROMPTS:
        ids, mask = encoder.tokens(prompt)
        assert ids[0, : mask.sum()].tolist() == [*oracle.encode(prompt), 1]


def test_an_older_class_of_pixart_is_read(tmp_path: Path) -> None:
    folder = save_pixart(tmp_path / "pixart", "PixArtAlphaPipeline")
    wanted = output(folder)
    edit(folder / "model_index.json", lambda index: index.update(transformer=["diffusers", "Transformer2DModel"]))
    edit(folder / "transformer" / "config.json", lambda config: config.update(_class_name="Transformer2DModel"))
    torch.testing.assert_close(output(folder), wanted)


@pytest.mark.parametrize("index", ["model.safetensors.index.json", "model.safetensors.index.fp16.json"])
def test_an_index_may_name_no_weights_elsewhere(folder: Path, index: str) -> None:
    names = {name: "model-00001-of-00001.safetensors" for name in load_file(folder / TEXT)}
    (folder / TEXT).rename(folder / "text_encoder" / "model-00001-of-00001.safetensors")
    (folder / "text_encoder" / index).write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": names}))
    scan(folder)  # negative control
    (folder / "text_encoder" / "model-00001-of-00001.safetensors").rename(folder.parent / "out.safetensors")
    elsewhere = {"weight_map": dict.fromkeys(names, "../../out.safetensors")}
    edit(folder / "text_encoder" / index, lambda content: content.update(elsewhere))
    with pytest.raises(UnsafeArtifactError, match="names of files beside it"):
        scan(folder)


def test_a_tokenizer_left_out_is_named(folder: Path) -> None:
    edit(folder / "model_index.json", lambda index: index.update(tokenizer=[None, None]))
    with pytest.raises(CheckpointError, match="tokenizer: got no entry in "):
        load(scan(folder))
