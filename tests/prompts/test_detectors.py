"""Every detector against a second implementation on diffusers' own networks, in plain loops, one prompt at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from scipy.ndimage import sobel

from auditor.checkpoint.load import LoadedCheckpoint
from auditor.diffusion.slopes import eps_slope
from auditor.probes import probe_noise
from auditor.stages.prompts import DETECTORS
from tests.prompts.conftest import Captions, bind, scores, setting

NOISES, STEPS, GUIDANCE = 2, 4, 3.0  # steps divide 1,000, or diffusers' scheduler leaves its own ladder
TOLERANCE = 1e-4  # relative; float32 networks at another batch size differ by a few 1e-6


class Plain:
    """The fixture by diffusers alone."""

    def __init__(self, pipeline: StableDiffusionPipeline) -> None:
        self.pipeline, self.unet = pipeline, pipeline.unet
        self.scheduler = DDIMScheduler.from_config(
            pipeline.scheduler.config, timestep_spacing="trailing", set_alpha_to_one=True
        )
        self.scheduler.set_timesteps(STEPS)
        self.noises = probe_noise("tests", "prompts", range(NOISES), (8, 8, 8))[:, None]
        self.alpha_bar = pipeline.scheduler.alphas_cumprod.double()

    @torch.no_grad()
    def states(self, text: str) -> tuple[torch.Tensor, int]:
        """Hidden states, and the place of the end of text."""
        tokens = self.pipeline.tokenizer(text, padding="max_length", truncation=True, return_tensors="pt")
        return self.pipeline.text_encoder(tokens.input_ids)[0], int(tokens.attention_mask.sum()) - 1

    @torch.no_grad()
    def eps(self, x: torch.Tensor, t: int, text: str) -> torch.Tensor:
        return self.unet(x, t, self.states(text)[0]).sample

    def x0(self, x: torch.Tensor, eps: torch.Tensor, t: int) -> torch.Tensor:
        return (x.double() - (1 - self.alpha_bar[t]).sqrt() * eps.double()) / self.alpha_bar[t].sqrt()

    def walk(self, x: torch.Tensor, text: str) -> Iterator[tuple[torch.Tensor, dict[str, torch.Tensor]]]:
        """Difference of eps and attention at every step of diffusers' guided DDIM."""
        for t in self.scheduler.timesteps:
            with hooked(self.unet) as attention:
                given = self.eps(x, t, text)
            null = self.eps(x, t, "")
            yield given - null, dict(attention)
            x = self.scheduler.step(null + GUIDANCE * (given - null), t, x).prev_sample


@contextmanager
def hooked(unet: torch.nn.Module) -> Iterator[dict[str, torch.Tensor]]:
    """Attention to text, mean over heads [pixels tokens], from what the projections give, as a hook sees it."""
    seen: dict[str, torch.Tensor] = {}
    maps: dict[str, torch.Tensor] = {}
    handles = []
    for name, module in unet.named_modules():
        if name.endswith("attn2"):

            def note(part: str):
                return lambda module, inputs, output: seen.__setitem__(part, output)

            def finish(module, inputs, output, name: str = name) -> None:
                heads = []
                for q, k in zip(seen["q"].chunk(module.heads, 2), seen["k"].chunk(module.heads, 2), strict=True):
                    logits = (q[0].double() @ k[0].double().T) / q.shape[-1] ** 0.5
                    heads.append(logits.exp() / logits.exp().sum(1, keepdim=True))
                maps[name] = torch.stack(heads).mean(0)

            handles += [module.to_q.register_forward_hook(note("q")), module.to_k.register_forward_hook(note("k"))]
            handles.append(module.register_forward_hook(finish))
    try:
        yield maps
    finally:
        for handle in handles:
            handle.remove()


def magnitude(plain: Plain, text: str) -> float:
    return np.mean([(plain.eps(z, 999, text) - plain.eps(z, 999, "")).norm().item() for z in plain.noises])


def path_magnitude(plain: Plain, text: str) -> float:
    return np.mean([[step.norm().item() for step, _ in plain.walk(z, text)] for z in plain.noises])


def guided_x0(plain: Plain, z: torch.Tensor, text: str) -> torch.Tensor:
    null = plain.eps(z, 999, "")
    return plain.x0(z, null + GUIDANCE * (plain.eps(z, 999, text) - null), 999)


def one_step(plain: Plain, text: str) -> float:
    return np.mean([(guided_x0(plain, z, text) - z).square().mean().item() for z in plain.noises])


def consistency(plain: Plain, text: str) -> float:
    points = [plain.x0(z, plain.eps(z, 999, text), 999).flatten().numpy() for z in plain.noises]
    return np.mean([a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in combinations(points, 2)])


def regeneration(plain: Plain, text: str) -> float:
    pictures = []
    for z in plain.noises:
        x = z
        for t in plain.scheduler.timesteps:
            null = plain.eps(x, t, "")
            x = plain.scheduler.step(null + GUIDANCE * (plain.eps(x, t, text) - null), t, x).prev_sample
        pictures.append(x.double().flatten().numpy())
    return np.mean([a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in combinations(pictures, 2)])


def edges(plain: Plain, text: str) -> float:
    marked = []
    for z in plain.noises:
        latents = guided_x0(plain, z, text).float() / plain.pipeline.vae.config.scaling_factor
        with torch.no_grad():
            picture = (plain.pipeline.vae.decode(latents).sample[0] / 2 + 0.5).clamp(0, 1).mul(255).round() / 255
        strength = sum(np.hypot(sobel(c, 0), sobel(c, 1)) for c in picture.double().numpy())
        marked.append(strength[1:-1, 1:-1] > 1.5)
    return float((np.mean(marked, 0) > 0.5).mean())


def sharpness(plain: Plain, text: str) -> float:
    """J d by reverse-mode differentiation twice: d/dw of (J' w) . d is J d."""
    scale, found = (1 - plain.alpha_bar[999]).sqrt().float(), []
    for z in plain.noises:
        pull = -(plain.eps(z, 999, text) - plain.eps(z, 999, "")) / scale
        products = []
        for prompt in (text, ""):
            x, w = z.clone().requires_grad_(), torch.zeros_like(z).requires_grad_()
            with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
                score = -plain.unet(x, 999, plain.states(prompt)[0]).sample / scale
                (back,) = torch.autograd.grad(score, x, w, create_graph=True)
                products.append(torch.autograd.grad(back, w, pull)[0])
        found.append((products[0] - products[1]).norm().item())
    return np.mean(found)


def entropy_terms(attention: dict[str, torch.Tensor]) -> np.ndarray:
    """-a log a of each token, mean over layers."""
    shares = [layer.mean(0).numpy() for layer in attention.values()]
    return np.mean([-share * np.log(share) for share in shares], 0)


def first_entropy(plain: Plain, text: str) -> float:
    found = []
    for z in plain.noises:
        with hooked(plain.unet) as attention:
            plain.eps(z, 999, text)
        ordered = [name for name in attention if name.startswith("down")]  # 2 layers; then the middle; then upwards
        ordered += [name for name in attention if name.startswith("mid")]
        ordered += [name for name in attention if name.startswith("up")]
        found.append(entropy_terms({"fourth": attention[ordered[3]]}).sum())
    return np.mean(found)


def entropy(plain: Plain, text: str) -> float:
    found = []
    for z in plain.noises:
        terms = [entropy_terms(attention) for _, attention in plain.walk(z, text)]
        end = plain.states(text)[1]
        # a fifth of 4 steps is the last one
        found.append(terms[-1].sum() + terms[-1][end:].sum() - terms[0][end:].sum())
    return np.mean(found)


def bright_ending(plain: Plain, text: str) -> float:
    found = []
    for z in plain.noises:
        steps = list(plain.walk(z, text))
        end = plain.states(text)[1]
        finest = [layer[:, end] for layer in steps[-1][1].values() if len(layer) == 64]  # as fine as the latents
        mask = torch.stack(finest).mean(0).view(8, 8)
        found.append(np.mean([(mask * step).norm().item() for step, _ in steps]) / mask.mean().item())
    return np.mean(found)


PLAIN = {
    function.__name__: function
    for function in (
        magnitude, path_magnitude, one_step, consistency, edges, sharpness, first_entropy, entropy, bright_ending,
        regeneration,
    )
}  # fmt: skip


def test_every_detector_has_a_second_implementation() -> None:
    assert set(PLAIN) == set(DETECTORS)


@pytest.mark.parametrize("name", PLAIN)
def test_equals_the_plain_one(
    twemoji: LoadedCheckpoint, pipeline: StableDiffusionPipeline, captions: Captions, name: str
) -> None:
    texts = [captions.repeated[0], captions.held_out[0], "a much longer prompt, of words that nobody trained on"]
    found = scores(twemoji, texts, [name], setting(NOISES, STEPS, GUIDANCE))[name]
    plain = Plain(pipeline)
    # pixels are rounded to 1/255 and held against a threshold: one pixel of 900 may fall on the other side
    absolute = 1 / 900 + 1e-9 if name == "edges" else 0
    assert found == pytest.approx([PLAIN[name](plain, text) for text in texts], rel=TOLERANCE, abs=absolute)
    assert len(set(found.tolist())) > 1


def test_finite_differences_stand_in_for_the_derivative(twemoji: LoadedCheckpoint, captions: Captions) -> None:
    denoiser = bind(twemoji, captions.repeated[:2])
    x, along = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 2, 8, 8, 8))).float()
    t, condition = torch.tensor([999, 600]), torch.tensor([0, 1])
    exact, differences = (eps_slope(denoiser, x, t, condition, along, exact=one) for one in (True, False))
    # central differences: h^2 of the third derivative, and float32's rounding over h
    assert (exact - differences).norm() < 0.01 * exact.norm()
    assert not torch.equal(exact, differences)


def test_a_network_without_forward_derivative_is_differenced(twemoji: LoadedCheckpoint, captions: Captions) -> None:
    inner = bind(twemoji, captions.repeated[:1])

    class Fused(torch.autograd.Function):
        """An operation that has no forward derivative, such as a fused kernel."""

        @staticmethod
        def forward(x):
            return x.clone()

        @staticmethod
        def setup_context(ctx, inputs, output) -> None:
            return None

    class Opaque:
        prediction_type, schedule, sample_shape = inner.prediction_type, inner.schedule, inner.sample_shape

        def __call__(self, x_t, t, condition=None):
            return inner(Fused.apply(x_t), t, condition)

    x, along = torch.from_numpy(np.random.default_rng(1).standard_normal((2, 1, 8, 8, 8))).float()
    arguments = (x, torch.tensor([999]), torch.tensor([0]), along)
    assert torch.equal(eps_slope(Opaque(), *arguments), eps_slope(inner, *arguments, exact=False))


@pytest.mark.parametrize("name", ["magnitude", "one_step", "consistency", "sharpness"])
def test_first_steps_point_at_repeated_captions(twemoji: LoadedCheckpoint, captions: Captions, name: str) -> None:
    texts = captions.repeated[:12] + captions.held_out[:12] + captions.once[:12]
    found = scores(twemoji, texts, [name])[name].reshape(3, 12)
    assert (found[0][:, None] > found[1]).mean() > 0.9
    # the negative control: captions seen once stand no higher than captions never seen (12 x 12 pairs, 3 sigma)
    assert 0.14 < (found[2][:, None] > found[1]).mean() < 0.86


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_scores_do_not_depend_on_the_batch(twemoji: LoadedCheckpoint, captions: Captions, batch_size: int) -> None:
    names = ["magnitude", "entropy"]
    one = scores(twemoji, captions.held_out[:5], names)
    other = scores(twemoji, captions.held_out[4:0:-1], names, setting(batch_size=batch_size))
    for name in names:
        assert other[name] == pytest.approx(one[name][4:0:-1], rel=TOLERANCE)
