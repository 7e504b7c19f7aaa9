"""Speed as ratios, measured side by side in one process: ``make bench`` writes reports/bench.md and reports/scale.md.

``python reports/bench.py search embedding`` measures these parts only, and leaves the other sections as they are. Each
pair is run alternately, and the ratio is that of the medians, so that other work on the machine weighs on both sides
alike. No time is asserted anywhere: the tables are for reading.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import bench_embedding
import bench_families
import bench_scale
import bench_search
import bench_sweep
import faiss
import numpy as np
import torch
from bench_table import BENCH, ROUNDS, alternate, conditions, once, table, write_section
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
from auditor.stages.generate import sample_part

CHECKPOINT = Path(__file__).parent.parent / "fixtures" / "general-a" / "checkpoint"
GARMENTS = CHECKPOINT.parent.parent / "general"
STEPS, BATCH = 50, 64
MEMORIZER_BATCH, MEMORIZER_ROWS = 32, 100_000


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


def networks() -> list[str]:
    """Generation and the membership sweep, beside the bare networks."""
    counted, sweeping = bench_sweep.cost(alternate)
    changed, reduced = bench_sweep.precision(alternate)
    rows = [*generation(load(scan(CHECKPOINT))), *sweeping, *reduced]
    return [
        "## Networks", "", f"{conditions()} Medians of {ROUNDS} alternating runs.", "", *table(rows), "", counted, "",
        bench_sweep.memory(), "", *changed,
    ]  # fmt: skip


def regime() -> list[str]:
    """The closed-form memorizer."""
    return ["## Memorizer", "", f"{conditions()} Steps once each.", "", *table(memorizer())]


def scales() -> list[str]:
    """Written to a report of its own."""
    bench_scale.main()
    return ["## Scale", "", "Time and memory against n, and at five billion images: [scale.md](scale.md)."]


PARTS: dict[str, Callable[[], list[str]]] = {
    "networks": networks,
    "families": bench_families.measure,
    "memorizer": regime,
    "embedding": bench_embedding.measure,
    "search": bench_search.measure,
    "scale": scales,
}


def main(names: list[str]) -> None:
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        sys.exit(f"no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    for name in names or PARTS:
        lines = PARTS[name]()
        write_section(BENCH, name, lines)
        print("\n".join([*lines, ""]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
