"""Ratios measured side by side, and the sections of reports/bench.md that hold them."""

from __future__ import annotations

import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import faiss
import numpy as np
import torch

from auditor.probes import generator

ROUNDS = 5
BENCH = Path(__file__).parent / "bench.md"
CHUNK = 50_000  # rows drawn at a time

Work = Callable[[], object]


class Row(NamedTuple):
    """One line of a table of ratios."""

    name: str  # of what ours is measured against
    ours: float  # seconds
    yardstick: float


def alternate(*works: Work, rounds: int = ROUNDS, warm: bool = True) -> tuple[float, ...]:
    """Median seconds of each, run in turn, after one warm-up each where ``warm``."""
    if warm:
        once(*works)
    return tuple(statistics.median(times) for times in zip(*(once(*works) for _ in range(rounds)), strict=True))


def once(*works: Work) -> tuple[float, ...]:
    """Seconds of each, run once in turn."""
    marks = [time.perf_counter()]
    for work in works:
        work()
        marks.append(time.perf_counter())
    return tuple(after - before for before, after in pairwise(marks))


def table(rows: Sequence[tuple[str, float, float]]) -> list[str]:
    """Rows as Markdown, with their ratios."""
    return [
        "| against | auditor, s | yardstick, s | ratio |", "|---|--:|--:|--:|",
        *(f"| {name} | {ours:.3f} | {theirs:.3f} | {ours / theirs:.2f} |" for name, ours, theirs in rows),
    ]  # fmt: skip


def conditions() -> str:
    """On what, and beside how much other work."""
    load = os.getloadavg()[1]
    return (
        f"Threads: {torch.get_num_threads()} on {os.cpu_count()} CPUs ({platform.machine()}), load {load:.1f} with "
        f"other work; torch {torch.__version__}, faiss {faiss.__version__}."
    )


def write_section(file: Path, name: str, lines: Sequence[str]) -> None:
    """Put a section into a report, in place of the one of that name if there is one."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    section = "\n".join([begin, *lines, end])
    text = file.read_text() if file.exists() else ""
    found = re.compile(f"{re.escape(begin)}.*{re.escape(end)}", re.DOTALL)
    text = found.sub(lambda _: section, text) if found.search(text) else f"{text.rstrip()}\n\n{section}\n"
    file.write_text(text)


def unit_rows(rows: int, dim: int, stream: str) -> Iterator[np.ndarray]:
    """Random unit vectors, Float32[<= CHUNK D] at a time, the same for the same stream and D."""
    for number, start in enumerate(range(0, rows, CHUNK)):
        block = generator("bench", stream, number).standard_normal((CHUNK, dim), dtype=np.float32)
        block /= np.linalg.norm(block, axis=1, keepdims=True)
        yield block[: rows - start]


@contextmanager
def vectors_on_disk(rows: int, dim: int) -> Iterator[np.ndarray]:
    """Random unit vectors as a memory-mapped file, deleted afterwards."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "vectors.npy"
        written = np.lib.format.open_memmap(file, "w+", np.float32, (rows, dim))
        for number, block in enumerate(unit_rows(rows, dim, "pool")):
            written[number * CHUNK : number * CHUNK + len(block)] = block
        written.flush()
        del written
        yield np.load(file, mmap_mode="r")
