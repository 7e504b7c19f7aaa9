"""Whether a file holds adapters of a known kind and nothing else, from its header alone."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from auditor.checkpoint.manifest import check_json, read_object
from auditor.checkpoint.safetensors_header import HeaderError, check_header
from auditor.errors import CheckpointError, ConfigError, UnsafeArtifactError

# As diffusers and peft, older diffusers, kohya's trainers and LyCORIS name the factors of a layer, and its alpha.
FACTOR = re.compile(
    r"\.(lora_[AB]\.weight|(lora|lora_linear_layer|to_\w+_lora)\.(up|down)\.weight|lora_(up|down)\.weight|alpha"
    r"|lora_magnitude_vector(\.weight)?|dora_scale|hada_(w[12]_[ab]|t[12])|lokr_(w[12](_[ab])?|t2))$"
)
KINDS = ("LORA", "LOHA", "LOKR")  # as peft calls them; DoRA is LORA with use_dora
OTHER_KINDS = "Other adapters than LoRA, DoRA, LoHa and LoKr are not audited by this version: fuse them into the base."
OTHER_BASE = "Name the base that it was trained on."
MISFIT = f"{OTHER_BASE} {OTHER_KINDS}"
PEFT = "base_model.model."  # before the names in what peft's own save_pretrained writes


def check_adapter(file: Path) -> list[Path]:
    """Refuse an adapter file by its header; else it, and the adapter_config.json that peft keeps beside its own.

    Raises:
      ConfigError: No such file, another format, or peft is not installed.
      UnsafeArtifactError: The header disagrees with the file, or the configuration would fetch code.
      CheckpointError: A tensor that is no factor of an adapter, or peft's configuration is missing or of
        another kind.
    """
    subject = f"checkpoint.adapter: {file}"
    if file.suffix.lower() != ".safetensors" or not file.is_file():
        got = "another format" if file.is_file() else "no such file"
        raise ConfigError(subject, got, "a .safetensors file with adapters", "Correct the path.")
    if importlib.util.find_spec("peft") is None:
        raise ConfigError(subject, "no installed peft", "peft", "pip install 'diffusion-auditor[lora]'")
    try:
        names = [tensor.name for tensor in check_header(file)]
    except HeaderError as error:
        remedy = "Download or save the adapter again."
        raise UnsafeArtifactError(subject, error, "a safetensors file that agrees with its header", remedy) from error
    unknown = [name for name in names if not FACTOR.search(name)]
    if unknown or not names:
        got = f"the tensor {unknown[0]}" if unknown else "no tensors"
        raise CheckpointError(subject, got, "factors of adapters (lora_A, hada_w1_a, lokr_w1, ...)", OTHER_KINDS)
    return [file, check_config(file)] if all(name.startswith(PEFT) for name in names) else [file]


def check_config(file: Path) -> Path:
    """adapter_config.json beside peft's adapter, if it is of a known kind."""
    config = file.parent / "adapter_config.json"
    subject = f"checkpoint.adapter: {config}"
    if not config.is_file():
        raise CheckpointError(
            subject, "no such file", "the configuration that peft saves", "Copy it beside the adapter."
        )
    content = read_object(config, subject)
    check_json({key: value for key, value in content.items() if value is not None}, subject)
    if content.get("peft_type") not in KINDS:
        got, expected = repr(content.get("peft_type")), f"a peft_type of {', '.join(KINDS)}"
        raise CheckpointError(subject, got, expected, OTHER_KINDS)
    return config
