"""Speed as ratios, measured side by side in one process: ``make bench`` writes reports/bench.md.

Each pair is run alternately, and the ratio is that of the medians, so that other work on the machine weighs on both
sides alike. No time is asserted anywhere: the table is for reading.
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import bench_sweep
import faiss
import numpy as np
import torch
from diffusers import DDIMPipeline, DDIMScheduler, UNet2DModel

from auditor.checkpoint.load import LoadedCheckpoint, load
from auditor.checkpoint.scan import scan
from auditor.config import GenerationConfig
from auditor.data import Geometry, open_source
from auditor.diffusion.samplers import sample_ddim
from auditor.diffusion.schedule import NoiseSchedule
from auditor.diffusion.truncated import NEAREST, TruncatedDenoiser
from auditor.probes import generator, probe_noise
from auditor.search.euclidean import EuclideanIndex
from auditor.search.exact import best_match
from auditor.stages.generate import sample_part

CHECKPOINT = Path(__file__).parent.parent / "fixtures" / "general-a" / "checkpoint"
GARMENTS = CHECKPOINT.parent.parent / "general"
STEPS, BATCH, ROUNDS = 50, 64, 5
MEMORIZER_BATCH, MEMORIZER_ROWS = 32, 100_000


def alternate(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[float, float]:
    """Median seconds of both, run in turn after one warm-up each."""
    ours(), theirs()
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for side, work in zip(seconds, (ours, theirs), strict=True):
            began = time.perf_counter()
            work()
            side.append(time.perf_counter() - began)
    return statistics.median(seconds[0]), statistics.median(seconds[1])


def generation(checkpoint: LoadedCheckpoint) -> list[tuple[str, float, float]]:
    """One batch of 64 through 50 DDIM steps, noise and pixels included, against two yardsticks."""
    network = UNet2DModel.from_pretrained(CHECKPOINT / "unet", use_safetensors=True).eval()
    pipeline = DDIMPipeline(unet=network, scheduler=DDIMScheduler.from_pretrained(CHECKPOINT / "scheduler"))
    pipeline.set_progress_bar_config(disable=True)
    x, times = torch.randn(BATCH, *checkpoint.denoiser.sample_shape), torch.arange(STEPS) * (1000 // STEPS)
    config = GenerationConfig(steps=STEPS, batch_size=BATCH)

    def ours() -> None:
        sample_part(checkpoint, checkpoint.denoiser, config, "bench", range(BATCH), "cpu")

    @torch.inference_mode()
    def bare() -> None:
        for t in times:
            network(x, t.expand(BATCH))

    def diffusers() -> None:
        pipeline(batch_size=BATCH, num_inference_steps=STEPS, eta=0.0, output_type="np")

    return [
        ("generation: 50 bare denoiser calls", *alternate(ours, bare)),
        ("generation: diffusers' DDIMPipeline call", *alternate(ours, diffusers)),
    ]


def search(dimension: int) -> tuple[str, float, float]:
    """Item scores of 200,000 items against 4,096 generations, against one bare FAISS search in the same blocks."""
    rng = np.random.default_rng(0)
    items, references = (rng.standard_normal((rows, dimension), dtype=np.float32) for rows in (200_000, 4_096))
    for vectors in (items, references):
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)

    def bare() -> None:
        index = faiss.IndexFlatIP(dimension)
        index.add(references)
        for start in range(0, len(items), 65_536):
            index.search(items[start : start + 65_536], 1)

    return (
        f"item scores S_i, {dimension} dimensions: bare FAISS",
        *alternate(lambda: best_match(items, references), bare),
    )


def crowd() -> torch.Tensor:
    """The 60,000 garments of both general checkpoints, and 40,000 of them again with noise of a twentieth: 100,000."""
    names = ("train-a", "train-b", "holdout")
    sources = [open_source(GARMENTS / f"{name}.parquet", Geometry(1, 16, 16)) for name in names]
    pixels = np.concatenate([batch.pixels for source in sources for batch in source.batches(2048)])
    real = torch.from_numpy(pixels).float() / 127.5 - 1
    again = real[: MEMORIZER_ROWS - len(real)]
    jitter = generator("bench", "jitter").standard_normal(again.shape, dtype=np.float32)
    return torch.cat([real, again + 0.05 * torch.from_numpy(jitter)])


def memorizer() -> list[tuple[str, float, float]]:
    """A whole DDIM ladder of the truncated memorizer, against bare FAISS searches for the states of the same walk.

    Each step is taken once with FAISS as it comes and once with matrix products forced, on both sides alike: FAISS 1.15
    multiplies matrices only from 128,000 query numbers on, however few threads it has.
    """
    points, schedule = crowd(), NoiseSchedule.from_alphas_cumprod(np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)))
    index, bare = EuclideanIndex(points.flatten(1).numpy()), faiss.IndexFlatL2(points[0].numel())
    bare.add(points.flatten(1).numpy())
    denoiser, ladder = TruncatedDenoiser(points, schedule, index), schedule.ladder(STEPS)
    noise = probe_noise("bench", "start", range(MEMORIZER_BATCH), denoiser.sample_shape)
    states = [noise.double()]
    sample_ddim(denoiser, noise, ladder, on_step=lambda _, x: states.append(x))
    usual, rows = faiss.cvar.distance_compute_blas_threshold, []
    for threshold, name in ((usual, "bare FAISS"), (1, "bare FAISS by matrix products")):
        faiss.cvar.distance_compute_blas_threshold = threshold
        steps = []
        for t, state in zip(ladder[:-1], states, strict=False):
            x_t, times = state.float(), torch.full((MEMORIZER_BATCH,), t)
            query = (state.flatten(1) / schedule.signal_scale[t]).float().numpy()
            steps.append(once(partial(denoiser, x_t, times), partial(bare.search, query, NEAREST)))
        ours, theirs = (sum(side) for side in zip(*steps, strict=True))
        worst = max(steps, key=lambda step: step[0] / step[1])
        rows += [(f"memorizer, 50 steps, 100,000 rows: {name}", ours, theirs), (f"its worst step: {name}", *worst)]
    faiss.cvar.distance_compute_blas_threshold = usual
    return rows


def once(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[float, float]:
    """Seconds of both, run once in turn."""
    began = time.perf_counter()
    ours()
    between = time.perf_counter()
    theirs()
    return between - began, time.perf_counter() - between


def main() -> None:
    checkpoint = load(scan(CHECKPOINT))
    counted, sweeping = bench_sweep.cost(alternate)
    changed, reduced = bench_sweep.precision(alternate)
    rows = [*generation(checkpoint), search(256), search(512), *sweeping, *reduced, *memorizer()]
    lines = [
        "# Speed", "",
        f"`make bench`, {torch.get_num_threads()} threads, {platform.machine()}, torch {torch.__version__}, "
        f"faiss {faiss.__version__}. Medians of {ROUNDS} alternating runs; the memorizer's steps once each.", "",
        "| against | auditor, s | yardstick, s | ratio |", "|---|--:|--:|--:|",
        *(f"| {name} | {ours:.3f} | {theirs:.3f} | {ours / theirs:.2f} |" for name, ours, theirs in rows), "",
        counted, "", bench_sweep.memory(), "", *changed, "",
    ]  # fmt: skip
    text = "\n".join(lines)
    (Path(__file__).parent / "bench.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
