"""Both sides of a comparison by families: one part of an audit, and diffusers' own call from the same latents."""

from __future__ import annotations

import sys
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import diffusers
import numpy as np
import torch
from bench_pipelines import Case

from auditor.checkpoint.asked import Asked
from auditor.checkpoint.attention import text_encoders
from auditor.checkpoint.flux import pack, unpack
from auditor.checkpoint.load import load
from auditor.checkpoint.scan import scan
from auditor.config import GenerationConfig
from auditor.diffusion.samplers import SAMPLERS
from auditor.probes import probe_noise
from auditor.stages.generate import conditions_of, sample_part

# A divisor of 1000: of others, DDIMScheduler's steps end elsewhere than the next begin.
STEPS, BATCH, SEED = 10, 4, "bench"
PROMPTS = ["red apple", "dog face", "flag: chile", "a cat"]
LORA = "pytorch_lora_weights.safetensors"


class Call(NamedTuple):
    """A network, and what it was called with."""

    network: Any
    arguments: tuple[Any, ...]
    named: dict[str, Any]


@torch.inference_mode()
def again(calls: list[Call]) -> None:
    """The bare calls."""
    for call in calls:
        call.network(*call.arguments, **call.named)


class Ours:
    """One part of an audit."""

    def __init__(self, case: Case, path: Path) -> None:
        adapter = path.parent / "lora" / LORA if case.adapter else None
        config = path.parent / "config" if path.is_file() else None
        loaded = load(scan(path, asked=Asked(adapter, image_size=case.size, config=config)))
        self.text = loaded.text is not None
        self.checkpoint: Any = loaded.with_prompts(PROMPTS) if self.text else loaded
        self.network, self.codec = self.checkpoint.denoiser.network, self.checkpoint.codec
        self.encoders = [encoder.network for encoder in text_encoders(self.checkpoint.denoiser)]
        self.denoiser = self.checkpoint.denoiser if case.guidance is None else self.checkpoint.guided(case.guidance)
        self.config = GenerationConfig(sampler=case.sampler, steps=STEPS, batch_size=BATCH, probes=BATCH)
        self.noise = probe_noise(SEED, "start", range(BATCH), self.denoiser.sample_shape)
        self.condition = conditions_of(range(BATCH), self.checkpoint.num_classes)

    def part(self) -> np.ndarray:
        """Pixels UInt8[B C H W], with every prompt embedded anew."""
        if self.text:
            self.checkpoint.denoiser.prompts.kept.clear()
        return sample_part(self.checkpoint, self.denoiser, self.config, SEED, range(BATCH), "cpu")["pixels"]

    def networks(self) -> list[torch.nn.Module]:
        """All that a part calls: the denoising network, text encoders and decoder."""
        autoencoder = getattr(self.codec, "network", None)
        return [self.network, *self.encoders, *([autoencoder.decoder] if autoencoder else [])]

    def latents(self) -> torch.Tensor:
        """Float32[B C H W], what a part decodes."""
        ladder = self.denoiser.schedule.ladder(STEPS)
        return SAMPLERS[self.config.sampler].sample(self.denoiser, self.noise, ladder, condition=self.condition)

    def calls(self) -> tuple[list[Call], list[Call]]:
        """Every call that a part makes: of the denoising network, and of text encoders."""
        seen: list[Call] = []
        handles = [
            network.register_forward_pre_hook(lambda *call: seen.append(Call(*call)), with_kwargs=True)
            for network in (self.network, *self.encoders)
        ]
        self.part()
        for handle in handles:
            handle.remove()
        own = [call for call in seen if call.network is self.network]
        return own, [call for call in seen if call.network is not self.network]


class Theirs:
    """diffusers' own call from the latents of ours; of networks of classes in pixels, its scheduler's loop."""

    def __init__(self, case: Case, path: Path, ours: Ours) -> None:
        self.case, self.ours = case, ours
        if path.is_file():
            given = {"config": str(path.parent / "config"), "safety_checker": None, "local_files_only": True}
            self.pipeline: Any = diffusers.StableDiffusionPipeline.from_single_file(str(path), **given)
        else:
            self.pipeline = diffusers.DiffusionPipeline.from_pretrained(path, local_files_only=True)
        if case.adapter:
            self.pipeline.load_lora_weights(path.parent / "lora", weight_name=LORA)
        self.pipeline.set_progress_bar_config(disable=True)

    @torch.inference_mode()
    def images(self) -> np.ndarray:
        """Float32[B H W C] in [0, 1]."""
        noise, condition = self.ours.noise, self.ours.condition
        if self.case.beside == "scheduler":
            return self.walked(noise, condition)
        if self.ours.text:
            return self.called(prompt=PROMPTS, latents=pack(noise) if self.case.packed else noise)
        drawn = mock.patch.object(sys.modules[type(self.pipeline).__module__], "randn_tensor", lambda *_, **__: noise)
        with drawn:  # the latents, which these pipelines do not take
            return self.called(batch_size=BATCH) if condition is None else self.called(class_labels=condition.tolist())

    def called(self, **given: object) -> np.ndarray:
        """What the pipeline gives for these arguments and those of its family."""
        guided = {} if self.ours.condition is None else {"guidance_scale": self.case.guidance or 1.0}
        asked = {"num_inference_steps": STEPS, "output_type": "np"}
        images: np.ndarray = self.pipeline(**asked, **guided, **given, **self.case.call).images
        return images

    def walked(self, x: torch.Tensor, labels: torch.Tensor) -> np.ndarray:
        """What a pipeline would do that passed labels on."""
        network, scheduler = self.pipeline.unet, self.pipeline.scheduler
        scheduler.set_timesteps(STEPS)
        for t in scheduler.timesteps:
            x = scheduler.step(network(x, t, class_labels=labels).sample, t, x).prev_sample
        return (x / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy()

    def latents(self) -> torch.Tensor:
        """Float32[B C H W], the scheduler's last state."""
        kept: list[torch.Tensor] = []
        step = self.pipeline.scheduler.step

        @wraps(step)  # pipelines read its signature
        def noted(*arguments: Any, **named: Any) -> Any:
            found = step(*arguments, **named)
            kept[:] = [found[0]]
            return found

        with mock.patch.object(self.pipeline.scheduler, "step", noted):
            self.images()
        shape = self.ours.noise.shape
        return unpack(kept[0], shape[-2] // 2, shape[-1] // 2) if self.case.packed else kept[0][: len(self.ours.noise)]


def apart(ours: Ours, theirs: Theirs) -> tuple[str, str]:
    """Largest differences: of latents in their standard deviations, and of pixels in levels of 255."""
    made, wanted = ours.latents(), theirs.latents()
    levels = np.abs(ours.part() - (theirs.images() * 255).round().transpose(0, 3, 1, 2)).max()
    return f"{float((made - wanted).abs().max() / wanted.std()):.0e}", f"{levels:.0f}"
