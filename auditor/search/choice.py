"""Which approximate index fits a number of rows and a memory budget.

    rows n                memory budget                            factory
    under 100,000         any                                      Flat: exact search, nothing is built
    from 100,000          4 D + 8 bytes a row fit                  IVF{lists},Flat
                          D + 8 bytes a row fit                    IVF{lists},SQ8
                          M + 8 bytes a row fit, the largest M     OPQ{M},IVF{lists},PQ{M}, M of 64 48 32 24 16 8
                          not even M = 8                           an error that names the least budget

    lists                 4 sqrt(n) to 1,000,000; 16,384 to 10 million; 65,536 to 300 million; 131,072 above
                          (fewer where training them, 39 vectors a list, would take over half the budget;
                          from 65,536 on they are found by a graph: IVF{lists}_HNSW32)

The number of lists is that of autofaiss (2.18.0), which chose well up to five billion rows. Its choice of graphs for
small sets is left out: they take hours to build and eight times the memory of SQ8, and exact search is as fast there.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from auditor.errors import ConfigError

EXACT_BELOW = 100_000  # rows; one query of a million rows takes 0.1 s exactly on one core
CODES = (64, 48, 32, 24, 16, 8)  # bytes of a product-quantised vector
ROW_ID = 8  # bytes
LEAST_PER_LIST, MOST_PER_LIST = 39, 64  # training vectors; FAISS asks for the first
LEAST_PER_CODEBOOK, MOST_PER_CODEBOOK = 39 * 256, 256 * 256  # likewise, for the 256 values of a byte
GRAPH_FROM, GRAPH_LINKS = 65_536, 32
FORMS = re.compile(r"(?:OPQ(\d+)(?:_(\d+))?,)?IVF(\d+)(?:_HNSW(\d+))?,(?:(Flat|SQ8)|PQ(\d+)(?:x8)?)")


@dataclass(frozen=True)
class Factory:
    """What a FAISS factory string says, of the forms that are saved without FAISS's own file format."""

    text: str
    lists: int  # 0 = Flat: exact search
    code_bytes: int  # of a row

    def training_rows(self, rows: int) -> int:
        """Vectors that training takes."""
        return min(rows, max(MOST_PER_LIST * self.lists, MOST_PER_CODEBOOK if "PQ" in self.text else 0))

    def index_bytes(self, rows: int, dim: int) -> int:
        """Memory of the finished index: codes, row numbers, and the lists' centres with their graph."""
        return rows * (self.code_bytes + ROW_ID) + self.lists * (4 * dim + 2 * 4 * GRAPH_LINKS) if self.lists else 0


def choose_factory(rows: int, dim: int, memory_bytes: int) -> Factory:
    """The most faithful index of the table above whose memory stays within the budget.

    Args:
      rows: n, at least 1.
      dim: D.
      memory_bytes: For the finished index; training takes at most half of it, and is over before rows are added.

    Raises:
      ConfigError: Not even 8 bytes a row fit.
    """
    if rows < EXACT_BELOW:
        return Factory("Flat", 0, 0)
    lists = list_count(rows, dim, memory_bytes)
    inverted = f"IVF{lists}_HNSW{GRAPH_LINKS}" if lists >= GRAPH_FROM else f"IVF{lists}"
    forms = [f"{inverted},Flat", f"{inverted},SQ8"]
    forms += [f"OPQ{size},{inverted},PQ{size}" for size in CODES if dim % size == 0]  # rows >= EXACT_BELOW train them
    candidates = [parse_factory(form, dim) for form in forms]
    for factory in candidates:
        if factory.index_bytes(rows, dim) <= memory_bytes:
            return factory
    least = min(factory.index_bytes(rows, dim) for factory in candidates)
    remedy = "Raise the budget, split the index over machines, or search exactly, which needs no index."
    raise ConfigError("memory budget", f"{memory_bytes:,} bytes", f"at least {least:,} for {rows:,} rows", remedy)


def list_count(rows: int, dim: int, memory_bytes: int) -> int:
    """Lists for that many rows, fewer where the budget does not allow to train them; at least 1."""
    if rows <= 1_000_000:
        lists = 4 * math.isqrt(rows)
    else:
        lists = 16_384 if rows <= 10_000_000 else 65_536 if rows <= 300_000_000 else 131_072
    trainable = memory_bytes // 2 // (LEAST_PER_LIST * 4 * dim)
    return max(1, min(lists, trainable, rows // LEAST_PER_LIST))


def parse_factory(text: str, dim: int) -> Factory:
    """What a factory string of a supported form says.

    Raises:
      ConfigError: Another form, or sizes that do not divide D.
    """
    if text == "Flat":
        return Factory(text, 0, 0)
    form = FORMS.fullmatch(text)
    expected = "Flat, or [OPQm[_d],]IVFn[_HNSWm], then Flat, SQ8 or PQm"
    if form is None:
        raise ConfigError("index factory", text, expected, "Leave it at auto to choose by size and memory.")
    rotation, reduced, lists, _, plain, code = form.groups()
    inner = int(reduced) if reduced else dim
    sizes = [int(size) for size in (rotation, code) if size is not None]
    wrong = any(size == 0 or inner % size for size in sizes)
    if wrong or int(lists) < 1 or not 1 <= inner <= dim:
        remedy = f"Use sizes that divide {inner} dimensions, and at least one list."
        raise ConfigError("index factory", text, "sizes that fit the vectors", remedy)
    width = {"Flat": 4 * inner, "SQ8": inner}[plain] if plain else int(code)
    return Factory(text, int(lists), width)
