"""Random pipelines of every family, large enough that their networks' calls outweigh what lies between them.

Built from configurations by the same code as the tests' small ones; random weights take as long as trained ones.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import diffusers
import peft

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.image_pipelines import save_dit, save_ldm, save_score_sde, save_unet
from tests.single_files import save_single_file
from tests.text_pipelines import (
    ddim,
    flow_solver,
    save_flux,
    save_pixart,
    save_sana,
    save_sd,
    save_sd3,
    save_sdxl,
    seeded,
)

SIDE = 16  # of latents, and of images without
CLASSES = 1000  # which DiT's pipeline counts on
UNET: dict[str, object] = {
    "sample_size": SIDE, "block_out_channels": (96, 192), "norm_num_groups": 32, "in_channels": 3, "out_channels": 3,
    "layers_per_block": 2, "attention_head_dim": 32,
}  # fmt: skip
TEXT_UNET: dict[str, object] = {
    "sample_size": SIDE, "block_out_channels": (64, 128), "norm_num_groups": 32, "attention_head_dim": 4,
}  # fmt: skip
WIDE: dict[str, object] = {"num_attention_heads": 6, "attention_head_dim": 48}
MOVED = 0.02  # a wide network whose weights are moved as far as a small one's makes noise of its rounding
IMAGE = (2 * SIDE, 2 * SIDE)


@dataclass(frozen=True)
class Case:
    """One row: how a checkpoint is saved, how an audit is asked to sample it, and its pipeline called."""

    save: Callable[[Path], Path]  # into a folder; gives what is opened
    guidance: float | None = None
    call: Mapping[str, object] = field(default_factory=dict)
    sampler: str = "ddim"
    size: tuple[int, int] | None = None  # of images, where the checkpoint states none
    adapter: bool = False  # lora/ beside it
    packed: bool = False  # the pipeline takes and gives packed latents
    told: bool = False  # guidance is an input of the network
    beside: Literal["pipeline", "scheduler", "nothing"] = "pipeline"  # what diffusers has for it


def plain() -> diffusers.DDIMScheduler:
    """DDPM's betas, walked as the auditor walks them."""
    return diffusers.DDIMScheduler(timestep_spacing="trailing", clip_sample=False)


def save_classes(folder: Path) -> Path:
    return save_unet(folder, plain(), "DDIMPipeline", num_class_embeds=10, **UNET)


def save_sd_2(folder: Path) -> Path:
    """2.x beside 1.x: it predicts v, and its transformers project by matrices."""
    return save_sd(folder, ddim(prediction_type="v_prediction"), use_linear_projection=True, **TEXT_UNET)


def save_adapted(folder: Path) -> Path:
    """Stable Diffusion, and beside it a LoRA on its UNet's attention."""
    save_sd(folder, **TEXT_UNET)
    network = diffusers.UNet2DConditionModel.from_pretrained(folder / "unet")
    layers = {"r": 8, "lora_alpha": 8, "target_modules": ["to_q", "to_k", "to_v", "to_out.0"]}
    seeded(lambda: network.add_adapter(peft.LoraConfig(**layers, init_lora_weights=False)))
    state = peft.get_peft_model_state_dict(network)
    diffusers.StableDiffusionPipeline.save_lora_weights(
        folder.parent / "lora", unet_lora_layers=state, unet_lora_adapter_metadata=layers
    )
    return folder


def save_single(folder: Path) -> Path:
    """Stable Diffusion as model.safetensors, with config/ beside it."""
    return save_single_file(save_sd(folder, **TEXT_UNET), folder.parent)[0]


save_wide_dit = partial(save_dit, sample_size=SIDE, num_layers=4, num_embeds_ada_norm=CLASSES, **WIDE)
save_wide_sd3 = partial(
    save_sd3, sample_size=SIDE, pos_embed_max_size=SIDE, num_layers=2, caption_projection_dim=288, moved=MOVED, **WIDE
)
save_wide_flux = partial(
    save_flux, num_layers=1, num_single_layers=2, axes_dims_rope=(16, 16, 16), moved=MOVED, num_attention_heads=4,
    attention_head_dim=48,
)  # fmt: skip
save_wide_pixart = partial(save_pixart, sample_size=SIDE, num_layers=4, cross_attention_dim=288, moved=MOVED, **WIDE)
save_wide_sana = partial(
    save_sana, sample_size=SIDE, num_layers=2, moved=MOVED, num_attention_heads=8, attention_head_dim=32,
    num_cross_attention_heads=8, cross_attention_head_dim=32, cross_attention_dim=256,
)  # fmt: skip
AS_GIVEN = {"clean_caption": False, "use_resolution_binning": False}
FLUX_CALL = {"height": IMAGE[0], "width": IMAGE[1]}
CASES: dict[str, Case] = {
    "UNet (DDPM, DDIM, PNDM)": Case(lambda at: save_unet(at, plain(), "DDIMPipeline", **UNET)),
    "UNet of classes": Case(save_classes, beside="scheduler"),
    "score-SDE VE": Case(partial(save_score_sde, **UNET), beside="nothing"),
    "latent UNet (LDM)": Case(lambda at: save_ldm(at, plain(), **UNET)),
    "DiT": Case(lambda at: save_wide_dit(at, plain()), 4.0),
    "Stable Diffusion 1.x": Case(partial(save_sd, **TEXT_UNET), 4.0),
    "Stable Diffusion 1.x, not guided": Case(partial(save_sd, **TEXT_UNET)),
    "Stable Diffusion 2.x": Case(save_sd_2, 4.0),
    "Stable Diffusion 1.x, a LoRA on it": Case(save_adapted, 4.0, adapter=True),
    "Stable Diffusion 1.x, one file": Case(save_single, 4.0),
    "SDXL": Case(partial(save_sdxl, **TEXT_UNET), 4.0),
    "SD3": Case(save_wide_sd3, 4.0),
    "FLUX.1 dev": Case(save_wide_flux, 4.0, FLUX_CALL, size=IMAGE, packed=True, told=True),
    "FLUX.1 schnell": Case(partial(save_wide_flux, guidance=False), None, FLUX_CALL, size=IMAGE, packed=True),
    "PixArt-sigma": Case(save_wide_pixart, 4.0, AS_GIVEN),
    "Sana, its solver": Case(partial(save_wide_sana, scheduler=flow_solver()), 4.0, AS_GIVEN, "dpmpp_2m"),
}
