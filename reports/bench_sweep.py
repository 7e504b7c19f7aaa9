"""What the membership sweep costs: calls asked for, distinct and made; time against the bare calls; memory; precision.

Part of ``make bench``. ``python reports/bench_sweep.py memory N`` prints the peak memory of a sweep over N records.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from auditor.checkpoint.load import load
from auditor.checkpoint.scan import scan
from auditor.data import Geometry, open_source
from auditor.diffusion.denoiser import CountingDenoiser, Denoiser
from auditor.diffusion.prediction import PredictionType
from auditor.diffusion.schedule import NoiseSchedule
from auditor.diffusion.score_table import ScoreTable
from auditor.diffusion.sweep import Batch, sweep
from auditor.membership import ATTACKS
from auditor.probes import generator
from auditor.stats.roc import auc

FIXTURES = Path(__file__).parent.parent / "fixtures"
NAMES = ("loss", "secmi", "pia", "pian", "sima", "pfami")
BATCH, SIZES = 64, (1_000, 10_000, 100_000)
Alternate = Callable[..., tuple[float, ...]]


class Recording(CountingDenoiser):
    """A denoiser that keeps the inputs of its calls."""

    def __init__(self, inner: Denoiser) -> None:
        super().__init__(inner)
        self.inputs: list[tuple[torch.Tensor, torch.Tensor]] = []

    def __call__(self, x_t: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        self.inputs.append((x_t, t))
        return super().__call__(x_t, t, condition)


def images(name: str, count: int) -> tuple[list[str], torch.Tensor]:
    """The first images of a fixture set, in model space."""
    batch = next(iter(open_source(FIXTURES / name, Geometry(1, 16, 16)).batches(count)))
    return batch.ids, torch.from_numpy(batch.pixels).float() / 127.5 - 1


def swept(denoiser: Denoiser, batch: Batch, names: tuple[str, ...] = NAMES) -> ScoreTable:
    """All the attacks on one batch."""
    return sweep(denoiser, [batch], [ATTACKS[name] for name in names], seed="bench", batch_size=BATCH)


def cost(alternate: Alternate) -> tuple[str, list[tuple[str, float, float]]]:
    """A sentence that counts the calls, and the rows of the table: against bare calls, and attack by attack."""
    denoiser = load(scan(FIXTURES / "general-a" / "checkpoint")).denoiser
    ids, x0 = images("general/holdout.parquet", BATCH)
    batch: Batch = (ids, x0, None)
    recording = Recording(denoiser)
    table = swept(recording, batch)
    distinct = len({(int(t), x.numpy().tobytes()) for xs, ts in recording.inputs for x, t in zip(xs, ts, strict=True)})

    @torch.inference_mode()
    def bare() -> None:
        for x_t, t in recording.inputs:
            denoiser(x_t, t)

    def alone() -> None:
        for name in NAMES:
            swept(denoiser, batch, (name,))

    counted = (
        f"Sweep of {', '.join(NAMES)}: per image {table.evaluations_unshared / BATCH:g} evaluations asked for, "
        f"{distinct / BATCH:g} distinct, {recording.evaluations / BATCH:g} made, in batches of {BATCH}."
    )
    work = partial(swept, denoiser, batch)
    return counted, [
        ("membership sweep: its bare distinct denoiser calls", *alternate(work, bare)),
        ("membership sweep: each attack swept alone", *alternate(work, alone)),
    ]


class Affine:
    """A denoiser that costs next to nothing, so that memory is all there is to see."""

    prediction_type = PredictionType.EPSILON
    sample_shape = (1, 16, 16)
    schedule = NoiseSchedule.from_alphas_cumprod(np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)))

    def __call__(self, x_t: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        return 0.5 * x_t


def records(count: int) -> Iterator[Batch]:
    """Random images in batches of 128, made as they are asked for."""
    for start in range(0, count, 128):
        size = min(128, count - start)
        x0 = torch.from_numpy(generator("bench", f"records/{start}").standard_normal((size, 1, 16, 16), np.float32))
        yield [f"record-{start + place}" for place in range(size)], x0, None


def memory() -> str:
    """A sentence with the peak memory of sweeps over sets of several sizes, each in a process of its own."""
    script = [sys.executable, str(Path(__file__)), "memory"]
    peaks = [int(subprocess.check_output([*script, str(size)], text=True)) for size in SIZES]
    shown = ", ".join(f"{size:,} records {peak / 1024:.0f} MiB" for size, peak in zip(SIZES, peaks, strict=True))
    return f"Peak memory of a sweep of {', '.join(NAMES[:5])} over a stream: {shown}."


def print_peak(count: int) -> None:
    """Sweep ``count`` records and print the peak resident memory in KiB (Linux)."""
    torch.set_num_threads(1)
    sweep(Affine(), records(count), [ATTACKS[name] for name in NAMES[:5]], seed="bench")
    # not ru_maxrss, which begins with the size of the process that this one was started from
    status = Path("/proc/self/status").read_text()
    print(re.search(r"VmHWM:\s*(\d+) kB", status)[1])


def precision(alternate: Alternate) -> tuple[list[str], list[tuple[str, float, float]]]:
    """What bfloat16 and torch.compile would change: time beside float32, and every attack's AUC on ``memorized``."""
    scanned = scan(FIXTURES / "memorized" / "checkpoint")
    plain = load(scanned).denoiser
    sides = [images(f"memorized/{name}", 2 * BATCH) for name in ("train", "holdout")]
    others = {"bfloat16": load(scanned, dtype="bfloat16").denoiser, "compiled": compiled(load(scanned).denoiser)}
    expected, notes, rows = aucs(plain, sides), [], []
    for name, denoiser in others.items():
        changed = {key: value - expected[key] for key, value in aucs(denoiser, sides).items()}
        worst = max(changed, key=lambda key: abs(changed[key]))
        notes.append(f"{name}: the AUC that changes most is {worst}'s, by {changed[worst]:+.4f}.")
        work = (partial(swept, one, (*sides[0], None)) for one in (denoiser, plain))
        rows.append((f"membership sweep in {name}: in float32", *alternate(*work)))
    return notes, rows


def compiled(denoiser: Any) -> Denoiser:
    """The same network through torch.compile."""
    changed: Denoiser = replace(denoiser, network=torch.compile(denoiser.network))
    return changed


def aucs(denoiser: Denoiser, sides: list[tuple[list[str], torch.Tensor]]) -> dict[str, float]:
    """AUC of every attack and variant, members against non-members."""
    members, nonmembers = (swept(denoiser, (*side, None)).scores for side in sides)
    return {f"{a} {v}": auc(members[a][v], nonmembers[a][v]) for a in members for v in members[a]}


if __name__ == "__main__":
    print_peak(int(sys.argv[2]))
