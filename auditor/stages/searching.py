"""The search for every real image's nearest generation, as pieces: blocks of a set against all generations.

Each set is searched whole, whatever slice an image is in, so that a piece depends on nothing but vectors. Workers get
these as files, which they map instead of loading.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditor.progress import Progress
from auditor.search.exact import BestMatch, References
from auditor.search.rows import Part, ShardFile
from auditor.stages.embed import Embedded
from auditor.stages.inputs import Inputs
from auditor.stages.pieces import Piece
from auditor.stages.pool import rows_of
from auditor.stages.reopen import Opened
from auditor.stages.slices import HeldOut
from auditor.store.run_directory import RunDirectory

ROWS = 16_384  # a piece; fixed, since a block's size may decide between generations that float32 cannot tell apart


def best_of_pool(
    run: RunDirectory, inputs: Inputs, embedded: Embedded, held_out: HeldOut, key: object, show: Progress
) -> BestMatch:
    """The generation, under any view, nearest to each row of the pool: training rows, then competition rows.

    Args:
      key: What determined the generations.
    """
    sets, queries = {"train": embedded.train, "holdout": embedded.holdout}, queries_in_order(embedded)
    keys = keys_of(inputs, embedded, key)
    pieces = search_pieces(run, embedded.name, sets, queries, keys)
    files = [file for vectors in (*sets.values(), *queries) if (file := file_of(vectors))]
    mapped = dict(zip(sets, files, strict=False)), files[len(sets) :]
    whole = len(files) == len(sets) + len(queries)  # else some vectors are held in memory, where no worker sees them
    recipe = partial(searched_again, embedded.name, *mapped, keys) if whole else None
    total = sum(piece.items for piece in pieces)
    with show.stage(f"search {total} images under {embedded.name}", total, "image") as meter:
        inputs.spread(pieces, recipe, meter)
    held = len(sets["train"]) + rows_of(inputs.holdout, held_out.competition)
    rows = np.concatenate([np.arange(len(sets["train"])), held])
    found = [piece.get() for piece in pieces]
    similarity, index = (np.concatenate([part[name] for part in found])[rows] for name in ("similarity", "index"))
    return BestMatch(similarity, index)


def queries_in_order(embedded: Embedded) -> list[NDArray[np.float32]]:
    """Generations as they are, then under each view: the rows of the decision's queries."""
    return [embedded.generations, *embedded.views.values()]


def keys_of(inputs: Inputs, embedded: Embedded, key: object) -> dict[str, dict[str, Any]]:
    """What determines the search of each set, as plain values."""
    common = {"made": key, "encoder": asdict(embedded.encoder.spec), "views": list(embedded.views)}
    return {name: {**common, "set": inputs.sets[name].info.digest} for name in ("train", "holdout")}


def search_pieces(
    run: RunDirectory,
    name: str,
    sets: Mapping[str, Part],
    queries: Sequence[Part],
    keys: Mapping[str, Mapping[str, Any]],
) -> list[Piece]:
    """Similarity Float64[rows] and query row Int64[rows] of the nearest query, per block of each set.

    Args:
      name: Of the encoder.
      sets: Unit vectors by set, Float32[N D].
      queries: Unit vectors, stacked in this order.
      keys: By set, what determines them.
    """
    references = functools.cache(lambda: References(np.concatenate([part[:] for part in queries])))

    def compute(vectors: Part, rows: slice) -> dict[str, NDArray[Any]]:
        found = references().best(vectors[rows])
        return {"similarity": found.similarity, "index": found.index}

    def piece(which: str, vectors: Part, start: int) -> Piece:
        rows = slice(start, min(start + ROWS, vectors.shape[0]))
        key = {**keys[which], "rows": [rows.start, rows.stop]}
        place = f"search/{name}/{which}/{start // ROWS:05d}"
        return Piece(run, place, key, rows.stop - rows.start, partial(compute, vectors, rows))

    return [
        piece(which, vectors, start) for which, vectors in sets.items() for start in range(0, vectors.shape[0], ROWS)
    ]


def searched_again(
    name: str,
    sets: Mapping[str, Path],
    queries: Sequence[Path],
    keys: Mapping[str, Mapping[str, Any]],
    opened: Opened,
) -> list[Piece]:
    """The same pieces in a worker, from files of vectors."""
    mapped = {which: ShardFile(file) for which, file in sets.items()}
    return search_pieces(opened.run, name, mapped, [ShardFile(file) for file in queries], keys)


def file_of(vectors: NDArray[np.float32]) -> Path | None:
    """The .npy file that an array maps whole; None if it is held in memory."""
    file = getattr(vectors, "filename", None)
    return None if file is None or ShardFile(Path(file)).shape != vectors.shape else Path(file)
