"""The search for every real image's nearest generation, as pieces: blocks of a set against all generations.

Each set is searched whole, whatever slice an image is in, so that a piece depends on nothing but vectors. Workers get
these as files, which they map instead of loading.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
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
    run: RunDirectory,
    inputs: Inputs,
    everything: Sequence[Embedded],
    held_out: HeldOut,
    key: object,
    show: Progress,
) -> dict[str, BestMatch]:
    """Under each encoder, the generation that is nearest to each pool row under any view.

    The pool's rows are the training images, then the competition slice.

    Args:
      key: What determined the generations.
    """
    searches = [search_of(inputs, embedded, key) for embedded in everything]
    pieces = {search.name: search_pieces(run, search) for search in searches}
    listed = [piece for each in pieces.values() for piece in each]
    total = sum(piece.items for piece in listed)
    # Vectors that no file holds are seen by no worker.
    recipe = partial(searched_again, searches) if all(search.on_disk for search in searches) else None
    with show.stage(f"search {total} images", total, "image") as meter:
        inputs.spread(listed, recipe, meter)
    trained = len(inputs.train.digests)
    rows = np.concatenate([np.arange(trained), trained + rows_of(inputs.holdout, held_out.competition)])
    best = {}
    for name, each in pieces.items():
        found = [piece.get() for piece in each]
        similarity, index = (np.concatenate([part[of] for part in found])[rows] for of in ("similarity", "index"))
        best[name] = BestMatch(similarity, index)
    return best


@dataclass(frozen=True)
class Search:
    """One encoder's search: vectors, as files where they are any, and what determines the result."""

    name: str
    sets: Mapping[str, Part]  # unit vectors by set, Float32[N D]
    queries: Sequence[Part]  # unit vectors: generations as they are, then under each view
    keys: Mapping[str, Mapping[str, Any]]  # by set, plain values

    @property
    def on_disk(self) -> bool:
        """Whether it can travel."""
        return all(isinstance(part, ShardFile) for part in (*self.sets.values(), *self.queries))


def search_of(inputs: Inputs, embedded: Embedded, key: object) -> Search:
    """The search of both sets among all generations of an audit under one encoder."""
    common = {"made": key, "encoder": asdict(embedded.encoder.spec), "views": list(embedded.views)}
    keys = {name: {**common, "set": inputs.sets[name].info.digest} for name in ("train", "holdout")}
    sets = {"train": on_file(embedded.train), "holdout": on_file(embedded.holdout)}
    queries = [on_file(vectors) for vectors in (embedded.generations, *embedded.views.values())]
    return Search(embedded.name, sets, queries, keys)


def on_file(vectors: NDArray[np.float32]) -> Part:
    """The .npy file that an array maps whole, or the array."""
    name = getattr(vectors, "filename", None)
    file = None if name is None else ShardFile(Path(name))
    return vectors if file is None or file.shape != vectors.shape else file


def search_pieces(run: RunDirectory, search: Search) -> list[Piece]:
    """Similarity Float64[rows] and query row Int64[rows] of the nearest query, per block of each set."""
    references = functools.cache(lambda: References(np.concatenate([part[:] for part in search.queries])))

    def compute(vectors: Part, rows: slice) -> dict[str, NDArray[Any]]:
        found = references().best(vectors[rows])
        return {"similarity": found.similarity, "index": found.index}

    def piece(which: str, vectors: Part, start: int) -> Piece:
        rows = slice(start, min(start + ROWS, vectors.shape[0]))
        key = {**search.keys[which], "rows": [rows.start, rows.stop]}
        place = f"search/{search.name}/{which}/{start // ROWS:05d}"
        return Piece(run, place, key, rows.stop - rows.start, partial(compute, vectors, rows))

    blocks = [(which, vectors, start) for which, vectors in search.sets.items()
              for start in range(0, vectors.shape[0], ROWS)]  # fmt: skip
    return [piece(*block) for block in blocks]


def searched_again(searches: Sequence[Search], opened: Opened) -> list[Piece]:
    """The same pieces in a worker."""
    return [piece for search in searches for piece in search_pieces(opened.run, search)]
