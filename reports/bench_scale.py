"""Time and memory of searches against n, and what five billion images would take: reports/scale.md.

``python reports/bench_scale.py`` writes the table; it is part of ``make bench``. ``python reports/bench_scale.py child
FILE n`` searches n rows of a file and prints what it took.

Each size is searched in a process of its own. Its memory is sampled from /proc/self/status: what it allocated itself
(RssAnon), apart from pages of the file, which the kernel keeps while there is room and drops when there is none
(RssFile).
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from bench_table import conditions, unit_rows, vectors_on_disk

from auditor.search.exact import best_match, nearest_neighbours
from auditor.search.ranges import within
from auditor.stages.scale import IMAGES, MACHINES, Rates, measure_search, scale, scale_lines

SIZES = (1_000, 10_000, 100_000, 1_000_000, 3_000_000)
DIM, GENERATIONS, K, THRESHOLD = 512, 1_000, 10, 0.3
BUDGET = 2e9
SCALE = Path(__file__).parent / "scale.md"
SEARCHES = ("item scores", f"{K} nearest", "range")


def measure(sizes: tuple[int, ...] = SIZES) -> list[str]:
    """The report's lines."""
    with vectors_on_disk(max(sizes), DIM) as pool:
        found = {rows: child(Path(pool.filename), rows) for rows in sizes}
    head = " | ".join(f"{name}, s | MB" for name in SEARCHES)
    lines = [
        "# Scale", "",
        f"`python reports/bench_scale.py`: {GENERATIONS:,} generations against n rows of {DIM} numbers on disk, each n "
        f"in a process of its own. {conditions()} MB: peak of what the process allocated (RssAnon), imports included; "
        f"*mapped*: pages of the file in memory beside it, which the kernel drops when it needs the room.", "",
        f"| n | {head} | answer of item scores, MB | mapped, MB |", f"|--:|{'--:|' * (2 * len(SEARCHES) + 2)}",
    ]  # fmt: skip
    for rows, result in found.items():
        cells = " | ".join(f"{result[name][0]:.2f} | {result[name][1] / 1e6:.0f}" for name in SEARCHES)
        mapped = max(result[name][2] for name in SEARCHES)
        lines.append(f"| {rows:,} | {cells} | {16 * rows / 1e6:.1f} | {mapped / 1e6:,.0f} |")
    return [*lines, "", flatness(found), "", *extrapolation()]


def flatness(found: dict[int, dict[str, list[float]]]) -> str:
    """How much memory grows from 100,000 rows on, and whether it stays under the budget."""
    large = [rows for rows in found if rows >= 100_000]
    if len(large) < 2:
        return "Too few sizes to say how memory grows."
    first, last = min(large), max(large)
    grown = []
    for name in SEARCHES:
        answer = 16 if name == "item scores" else 0  # bytes a row: what it was asked for
        before, after = (found[rows][name][1] - answer * rows for rows in (first, last))
        grown.append(f"{name} {after / before - 1:+.1%}")
    most = max(result[name][1] for result in found.values() for name in SEARCHES)
    return (
        f"From {first:,} to {last:,} rows memory changes by {', '.join(grown)}, the 16 bytes a row that item scores "
        f"answer with left out; its peak is {most / 1e6:,.0f} MB of a budget of {BUDGET / 1e6:,.0f} MB."
    )


def extrapolation() -> list[str]:
    """What `auditor plan` prints at five billion images, for one encoder of 512 dimensions and 10,000 generations."""
    from bench_embedding import MODEL, forward_seconds  # not in the processes whose memory is measured

    embedding = forward_seconds()
    rates = Rates(embedding, *measure_search([DIM]))
    one, many = (scale(rates, [DIM], 10_000, 600 * 10**6, images=IMAGES, machines=m) for m in (1, MACHINES))
    return [
        f"## {IMAGES:,} images", "",
        f"As `auditor plan` extrapolates, from {1 / embedding:.1f} images/s through open_clip's {MODEL} ({DIM} "
        f"dimensions), {1e-9 / rates.score:.3f} billion similarities/s in item scores and {1e-9 / rates.pair:.3f} "
        f"between images, and a process of 600 MB. A machine here is the one measured, without a GPU. Reading is not "
        f"counted.", "",
        "| at that size | |", "|---|---|",
        *(f"| {question.split(': ')[1]} | {answer} |" for question, answer in scale_lines(one, many)),
    ]  # fmt: skip


def child(file: Path, rows: int) -> dict[str, list[float]]:
    """Search in a process of its own: seconds, peak RssAnon and peak RssFile in bytes, by search."""
    script = [sys.executable, __file__, "child", str(file), str(rows)]
    result: dict[str, list[float]] = json.loads(subprocess.check_output(script, text=True))
    return result


def search(file: Path, rows: int) -> dict[str, list[float]]:
    """Every search of one size, in this process."""
    made, pool = next(iter(unit_rows(GENERATIONS, DIM, "generations"))).copy(), np.load(file, mmap_mode="r")[:rows]
    best_match(made, made)  # libraries loaded, threads started
    works: tuple[Callable[[], object], ...] = (
        lambda: best_match(pool, made),
        lambda: nearest_neighbours(made, pool, K),
        lambda: sum(len(batch.query) for batch in within(made, pool, THRESHOLD)),
    )
    return {name: watched(work) for name, work in zip(SEARCHES, works, strict=True)}


def watched(work: Callable[[], object]) -> list[float]:
    """Seconds, and the largest RssAnon and RssFile seen meanwhile, in bytes."""
    peaks, done = memory(), threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            peaks[:] = [max(pair) for pair in zip(peaks, memory(), strict=True)]

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.perf_counter()
    work()
    seconds = time.perf_counter() - began
    done.set()
    watcher.join()
    return [seconds, *peaks]


def memory() -> list[float]:
    """RssAnon and RssFile of this process, in bytes (Linux)."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return [1024.0 * int(status[name].split()[0]) for name in ("RssAnon", "RssFile")]


def main() -> None:
    if sys.argv[1:2] == ["child"]:
        print(json.dumps(search(Path(sys.argv[2]), int(sys.argv[3]))))
        return
    SCALE.write_text("\n".join([*measure(), ""]))
    print(SCALE.read_text())


if __name__ == "__main__":
    main()
