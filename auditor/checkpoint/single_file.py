"""A pipeline in one safetensors file, in the naming of its first authors, with its configuration given locally.

The configuration is a folder as ``save_pretrained`` writes it. What the file holds needs no weights there; what the
file leaves out, often the autoencoder and the text encoders, comes from there. Nothing is guessed: this module tells
from the header which is which, before anything is read.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path

from auditor.checkpoint.allowed import PICKLE_SUFFIXES
from auditor.checkpoint.safetensors_header import HeaderError, check_header
from auditor.errors import CheckpointError, ConfigError, UnsafeArtifactError

NETWORK = "model.diffusion_model."
AUTOENCODER = ("first_stage_model.", "vae.")
ENCODERS = {name: (f"text_encoders.{name}.transformer.",) for name in ("clip_l", "clip_g", "t5xxl")}
# Files of a transformer alone come with its prefix or without.
PREFIXES: dict[str, dict[str, tuple[str, ...]]] = {
    "StableDiffusionPipeline": {
        "unet": (NETWORK,),
        "vae": AUTOENCODER[:1],
        "text_encoder": ("cond_stage_model.transformer.", "cond_stage_model.model."),  # of 1.x, of 2.x
    },
    "StableDiffusionXLPipeline": {
        "unet": (NETWORK,),
        "vae": AUTOENCODER[:1],
        "text_encoder": ("conditioner.embedders.0.transformer.",),
        "text_encoder_2": ("conditioner.embedders.1.model.",),
    },
    "StableDiffusion3Pipeline": {
        "transformer": (
            NETWORK, "joint_blocks.", "pos_embed", "x_embedder.", "t_embedder.", "y_embedder.", "context_embedder.",
            "final_layer.",
        ),
        "vae": AUTOENCODER,
        "text_encoder": ENCODERS["clip_l"],
        "text_encoder_2": ENCODERS["clip_g"],
        "text_encoder_3": ENCODERS["t5xxl"],
    },
    "FluxPipeline": {
        "transformer": (
            NETWORK, "double_blocks.", "single_blocks.", "img_in.", "txt_in.", "time_in.", "vector_in.",
            "guidance_in.", "final_layer.",
        ),
        "vae": AUTOENCODER,
        "text_encoder": ENCODERS["clip_l"],
        "text_encoder_2": ENCODERS["t5xxl"],
    },
}  # fmt: skip
# What training leaves behind: tables of the noise schedule, an average of the weights, scales that no image depends on,
# and of 2.x the text encoder's last layer, whose output its network never sees.
LEFT_BEHIND = re.compile(
    r"^(alphas_cumprod|betas|denoiser\.|log_one_minus|logvar|posterior_|sqrt_|model_ema\.|first_stage_model\.loss\.)|"
    r"^(v_pred|ztsnr)$|"
    r"(^|\.)(position_ids|logit_scale)$|^cond_stage_model\.(model\.)?(logit_scale|text_projection)$|"
    r"^cond_stage_model\.model\.transformer\.resblocks\.23\."
)
# The first layer of a network, whose columns are the channels it takes, and the last, whose rows are those it gives.
FIRST_AND_LAST = {
    "StableDiffusionPipeline": ("input_blocks.0.0.weight", "out.2.weight"),
    "StableDiffusionXLPipeline": ("input_blocks.0.0.weight", "out.2.weight"),
    "FluxPipeline": ("img_in.weight", "final_layer.linear.weight"),
}
SAVE_AGAIN = "Download or save the checkpoint again."
WEIGHTS = PICKLE_SUFFIXES | {".safetensors"}


def check_single_file(file: Path, config: Path, index: Mapping[str, object]) -> tuple[frozenset[str], list[str]]:
    """Refuse a file by its header; else the components that it holds, and notes on where the others come from.

    Args:
      file: The single file.
      config: The folder of its configuration.
      index: Its model_index.json.

    Raises:
      ConfigError: Another format, or a pipeline that is not read from single files.
      UnsafeArtifactError: The header disagrees with the file.
      CheckpointError: A tensor of no component, no denoising network, or a component that neither holds.
    """
    pipeline = str(index["_class_name"])
    shapes = tensor_shapes(file, pipeline)
    names, prefixes = list(shapes), PREFIXES[pipeline]
    wanted = [name for name in prefixes if index.get(name) not in (None, [None, None])]
    known = sum((prefixes[name] for name in wanted), ())
    foreign = [name for name in names if not name.startswith(known) and not LEFT_BEHIND.search(name)]
    if foreign:
        expected = f"tensors of {', '.join(known)}"
        remedy = "Give the configuration of its own kind."
        raise CheckpointError(str(file), f"the tensor {foreign[0]}", expected, remedy)
    held = [name for name in wanted if any(is_of(tensor, prefixes[name]) for tensor in names)]
    main = next(iter(prefixes))
    if main not in held:
        raise CheckpointError(str(file), f"no tensor of {main}", "a file with the denoising network", SAVE_AGAIN)
    if pipeline in FIRST_AND_LAST:
        refuse_other_inputs(file, main, shapes, FIRST_AND_LAST[pipeline])
    others = [name for name in wanted if name not in held]
    refuse_absent(file, config, others)
    notes = [f"{', '.join(held)} from {file.name}" + (f"; {', '.join(others)} from {config}" if others else "")]
    averaged = sum(name.startswith("model_ema.") for name in names)
    if averaged:
        notes.append(f"{averaged} averaged weights (model_ema) not used")
    return frozenset(held), notes


def tensor_shapes(file: Path, pipeline: str) -> dict[str, tuple[int, ...]]:
    """Shapes by name in the file's header, if it is of a format and a pipeline that are read."""
    if file.suffix.lower() != ".safetensors":
        raise ConfigError(str(file), "another format", "a .safetensors file, or a folder", "Convert it.")
    if pipeline not in PREFIXES:
        got, expected = f"the configuration of a {pipeline}", f"one of {', '.join(PREFIXES)}"
        raise ConfigError(str(file), got, expected, "Save it as a folder.")
    try:
        return {tensor.name: tensor.shape for tensor in check_header(file)}
    except HeaderError as error:
        raise UnsafeArtifactError(
            str(file), error, "a safetensors file that agrees with its header", SAVE_AGAIN
        ) from error


def is_of(tensor: str, prefixes: tuple[str, ...]) -> bool:
    """Whether a name is a component's, and the tensor of use."""
    return tensor.startswith(prefixes) and not LEFT_BEHIND.search(tensor)


def refuse_other_inputs(
    file: Path, main: str, shapes: Mapping[str, tuple[int, ...]], first_and_last: tuple[str, str]
) -> None:
    """Raise CheckpointError for a network that takes more than the latents it gives, as those for inpainting do."""
    first, last = (shapes.get(NETWORK + layer) or shapes.get(layer, ()) for layer in first_and_last)
    if len(first) > 1 and len(last) > 1 and first[1] != last[0]:  # what is missing is named where it is loaded
        remedy = "Networks for inpainting or for editing images are not audited by this version."
        raise CheckpointError(f"{file}: {main}", f"{first[1]} channels in, {last[0]} out", "as many", remedy)


def refuse_absent(file: Path, config: Path, others: Collection[str]) -> None:
    """Raise CheckpointError for a component that is not in the file, and whose folder has no weights either."""
    for name in others:
        folder = config / name
        if not any(entry.suffix.lower() in WEIGHTS for entry in (folder.iterdir() if folder.is_dir() else ())):
            raise CheckpointError(
                f"{file}: {name}", f"no tensor of it, and no weights in {folder}", "its weights in one of them",
                "Copy them there.",
            )  # fmt: skip
