"""Recall per kind of copy and encoder on real pictures: ``make recall`` writes reports/recall.md.

Pictures are split at random into training and held-out ones, 40 of the training pictures are "shown" as copies of one
kind among other real pictures, and the product's own decision is asked. Embeddings and closer looks know no labels,
so they are made once and kept under the cache folder; each repetition deals new labels and new copies. A run that
was killed goes on from there.

    python reports/recall.py [--cache runs/assets] [--sets clipart emoji photos] [--encoders pixel sscd_distilled sscd]
                             [--views "as it is" mirror "mirror, crop"] [--repetitions 20]
                             [--embed-only | --tabulate-only]
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from recall_embedded import HOW, Embedded, embedded, usable
from recall_plants import KINDS
from recall_sets import SETS, Pictures, Unavailable, pictures
from recall_table import BEGIN, END, Cell, summary, tables

from auditor.copies.closer import certified_items, look_closer
from auditor.copies.decide import decide
from auditor.copies.groups import duplicate_groups
from auditor.copies.pool import Pool, floor_of_planted
from auditor.copies.split import group_split
from auditor.encoders.views import MIRROR, WINDOWS
from auditor.probes import generator

ROOT = Path(__file__).parent.parent
COPIED = 40
ALPHA = 0.10
VIEWS = {"as it is": (), "mirror": (MIRROR,), "mirror, crop": (MIRROR, *WINDOWS)}
NONE = "no copies"
ENCODERS = ["pixel", "sscd_distilled", "sscd"]
DECIDES = ("closer", "compete", "groups", "items", "margin", "split")
CODE = hashlib.sha256(
    HOW.encode() + b"".join((ROOT / "auditor" / "copies" / f"{name}.py").read_bytes() for name in DECIDES)
).hexdigest()[:12]


def main() -> None:
    """Measure what was asked for, and write the table of all that has been measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, default=ROOT / "runs" / "assets")
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--encoders", nargs="+", choices=ENCODERS, default=ENCODERS)
    parser.add_argument("--views", nargs="+", choices=list(VIEWS), default=list(VIEWS))
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--embed-only", action="store_true")
    parser.add_argument("--tabulate-only", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    missing = []
    for name in () if asked.tabulate_only else asked.sets:
        try:
            shown = pictures(name, asked.cache)
        except Unavailable as error:
            missing.append(f"{SETS[name].title}: {error}")
            continue
        for encoder in asked.encoders:
            try:
                made = embedded(name, encoder, shown, asked.cache)
            except Unavailable as error:
                missing.append(f"{SETS[name].title}, {encoder}: {error}")
                continue
            for views in () if asked.embed_only else asked.views:
                measure(name, encoder, shown, made, views, asked.repetitions, asked.cache)
    write(ROOT / "reports" / "recall.md", measured(asked.cache), missing)


def measure(
    name: str, encoder: str, shown: Pictures, made: Embedded, views: str, repetitions: int, cache: Path
) -> None:
    """Every kind of copy, and none, of one set under one encoder and choice of views; kept under the cache."""
    for kind in (NONE, *KINDS):
        found = Cell(name, encoder, kind, views)
        file = file_of(found, cache)
        if file.is_file():
            found.rows = json.loads(file.read_text())
        for repetition in range(len(found.rows.get("whole", ())), repetitions):
            audit(found, shown, made, kind, VIEWS[views], repetition)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.with_suffix(".part").write_text(json.dumps(found.rows))
        file.with_suffix(".part").replace(file)
        print(found.line(), flush=True)


def measured(cache: Path) -> list[Cell]:
    """All that this version of the code has measured, whenever that was."""
    every = [
        Cell(name, encoder, kind, views)
        for name in SETS
        for encoder in ENCODERS
        for kind in (NONE, *KINDS)
        for views in VIEWS
    ]
    found = [cell for cell in every if file_of(cell, cache).is_file()]
    for cell in found:
        cell.rows = json.loads(file_of(cell, cache).read_text())
    return found


def file_of(cell: Cell, cache: Path) -> Path:
    """Where a cell's counts are kept, per version of the code that decides."""
    return cache / "counts" / CODE / cell.set / cell.encoder / f"{cell.kind}, {cell.views}.json"


def audit(cell: Cell, shown: Pictures, made: Embedded, kind: str, views: tuple[str, ...], repetition: int) -> None:
    """One split and one choice of copies, decided; what was called is counted into the cell."""
    is_training = deal(made, repetition)
    order = np.argsort(~is_training, kind="stable")
    pool = Pool(made.pool[order], [str(row) for row in order], is_training[order], order)
    copies = [] if kind == NONE else choose(shown, is_training, kind, repetition)
    queries, numbers = made.queries(kind, copies, views, order)
    decision = decide(pool, queries, encoder=made.name, planted=made.planted.at(order), alpha=ALPHA, split="group")
    copied = np.zeros(len(decision.groups), np.bool_)
    position = np.argsort(order)
    originals = shown.originals[[row for copy in copies for row in members(kind, copy)]]
    copied[decision.groups.group[position[originals]]] = True
    cell.count("whole", certified_items(decision.contest, decision.competes), copied, decision.resolving)
    if views == (MIRROR,):
        known = {"align": made.aligned(kind, numbers, order), "blend": made.blended(kind, numbers, order)}
        look = look_closer(pool, decision, queries, alpha=ALPHA, **known)
        for what, contest in (("parts", look.part_contest), ("blends", look.blend_contest)):
            cell.count(what, certified_items(contest, decision.competes), copied, decision.resolving)


def deal(made: Embedded, repetition: int) -> NDArray[np.bool_]:
    """Bool[N]: half of the duplicate groups are training, dealt as ``auditor split`` does."""
    group = groups_of(made)
    rows = [str(row) for row in range(len(group))]
    split = group_split(rows, group.tolist(), seed=f"recall/{repetition}", holdout_fraction=0.5)
    is_training = np.zeros(len(group), np.bool_)
    is_training[[int(row) for row in split.train]] = True
    return is_training


@functools.lru_cache(maxsize=1)
def groups_of(made: Embedded) -> NDArray[np.int64]:
    """Duplicate groups at the threshold that planted copies give, in the order of the pool."""
    count = len(made.pool)
    everyone = Pool(made.pool, [str(row) for row in range(count)], np.ones(count, np.bool_), np.arange(count))
    return duplicate_groups(everyone, floor_of_planted(made.planted)).group


def choose(shown: Pictures, is_training: NDArray[np.bool_], kind: str, repetition: int) -> list[int]:
    """Numbers of the copies that are shown, all of their originals training images: 40 originals, or as many as are."""
    fit = [copy for copy in range(usable(kind, shown)) if is_training[shown.originals[members(kind, copy)]].all()]
    order = generator("recall", f"{kind}/{repetition}").permutation(len(fit))
    return [fit[place] for place in order[: COPIED // (2 if kind == "blend" else 1)]]


def members(kind: str, copy: int) -> list[int]:
    """Numbers of the originals that a copy shows."""
    return [2 * copy, 2 * copy + 1] if kind == "blend" else [copy]


def write(file: Path, cells: list[Cell], missing: list[str]) -> None:
    """The measured part of the report, between its marks; the text around it stays."""
    known = {(cell.set, cell.encoder) for cell in cells}
    left_out = [f"{SETS[s].title}, {e}" for s in SETS for e in ENCODERS if (s, e) not in known]
    said = [*summary(cells, ALPHA), *(f"Not measured: {reason}." for reason in dict.fromkeys([*missing, *left_out]))]
    head, rest = file.read_text().split(BEGIN)
    file.write_text(
        "\n".join([head + BEGIN, *tables(cells), *(f"{line}\n" for line in said), END + rest.split(END)[1]])
    )


if __name__ == "__main__":
    main()
