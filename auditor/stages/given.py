"""Images made elsewhere in the place of generations: no checkpoint, no probe noise, no word on what was left out.

Probe i is the i-th image in the order of ids. An image that repeats another's pixels, prompt and seed is left out: a
file copied a hundred times is one generation, not a hundred. What is left counts in *units*, the independent trials of
every rate: all images of one prompt are one, however it is spaced and whatever the case of its letters; so are images
of one seed and no prompt, and any other image is one by itself.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditor.config import ImagesConfig
from auditor.data import Geometry, ImageSource, open_source, survey
from auditor.data.origins import Origin, read_origins
from auditor.data.survey import pixel_digest
from auditor.errors import DataError
from auditor.stages.pieces import Piece
from auditor.stages.remembered import from_bytes, to_bytes
from auditor.store.digest import value_digest
from auditor.store.given import GivenImage, GivenImages
from auditor.store.record import Generation, ImageSet
from auditor.store.run_directory import RunDirectory, read_state

PART, PART_BYTES = 64, 2**24  # images a piece, and their pixels at most
PROMPTS, MIXED = "prompts", "prompts, and images without one"


@dataclass(frozen=True)
class Given:
    """A set of images made elsewhere, surveyed."""

    source: ImageSource
    geometry: Geometry
    info: ImageSet
    digests: Mapping[str, bytes]  # of every readable image, 16 bytes that are equal exactly where the pixels are
    origins: Mapping[str, Origin]  # of images about which anything is known

    @cached_property
    def digest(self) -> str:
        """Of everything that determines a result."""
        known = [[name, origin.prompt, origin.seed] for name, origin in sorted(self.origins.items())]
        return value_digest([self.info.digest, [name for name, _ in self.info.unreadable], known])

    @cached_property
    def ids(self) -> list[str]:
        """The images that count, by probe: the first of those that repeat each other in all that is known of them."""
        known = {self.digests[name] for name in self.origins if name in self.digests}
        first: dict[tuple[bytes, Origin], str] = {}
        for name, digest in self.digests.items():
            if name in self.origins or digest not in known:  # else a mere copy of a file whose origin is known
                first.setdefault((digest, self.origins.get(name, Origin())), name)
        return list(first.values())

    @cached_property
    def units(self) -> NDArray[np.int64]:
        """Number of each image's unit, Int64[G], in the order of their first images."""
        number: dict[tuple[str, str], int] = {}
        return np.array([number.setdefault(self._unit(name), len(number)) for name in self.ids], np.int64)

    def _unit(self, name: str) -> tuple[str, str]:
        origin = self.origins.get(name, Origin())
        if origin.prompt is not None:
            return "prompt", folded(origin.prompt)
        return ("seed", origin.seed) if origin.seed is not None else ("image", name)

    @cached_property
    def alone(self) -> NDArray[np.bool_]:
        """Bool[G]: the first image of each unit; these are independent of each other."""
        first = np.unique(self.units, return_index=True)[1]
        return np.isin(np.arange(len(self.ids)), first)

    @cached_property
    def prompts(self) -> tuple[str, ...]:
        """The prompt of each unit, as first spelt; an empty text where none is known."""
        origins = [self.origins.get(name, Origin()) for name in self.ids]
        texts: dict[int, str] = {}
        for unit, origin in zip(self.units.tolist(), origins, strict=True):
            texts.setdefault(unit, origin.prompt or "")
        return tuple(texts[unit] for unit in sorted(texts))

    @property
    def trials(self) -> NDArray[np.int64] | None:
        """The units where they are not simply the images, else None."""
        return None if self.alone.all() and not any(self.prompts) else self.units

    @property
    def unit(self) -> str:
        """What the units are, in words."""
        if self.trials is None:
            return "generations"
        return PROMPTS if all(self.prompts) else MIXED

    def describe(self) -> GivenImages:
        """The record's entry, images not named yet."""
        origins = [self.origins.get(name, Origin()) for name in self.ids]
        prompts = [origin.prompt for origin in origins if origin.prompt is not None]
        return GivenImages(
            path=self.source.path,
            digest=self.digest,
            images=self.info.images,
            unreadable=self.info.unreadable,
            repeats=self.info.images - len(self.ids),
            shape=[self.geometry.channels, self.geometry.height, self.geometry.width],
            prompted=len(prompts),
            prompts=len(set(map(folded, prompts))),
            seeded=sum(origin.seed is not None for origin in origins),
            units=int(self.alone.sum()),
            unit=self.unit,
        )

    def generation(self, salt: str, seed: str, *, pinned: bool) -> Generation:
        """The record's entry about how they were made: next to nothing is known."""
        return Generation(
            sampler="unknown",
            steps=None,
            probes=len(self.ids) + len(self.info.unreadable),
            guidance_scale=None,
            batch_size=None,
            seed_pinned=pinned,
            salt=salt,
            root_seed=seed,
            denoiser_evaluations=0,
            non_finite=len(self.info.unreadable),
            deterministic=None,
        )

    def named(self, probes: Collection[int]) -> dict[int, GivenImage]:
        """What is known of some images, by probe."""
        found = {}
        for probe in sorted(set(probes)):
            origin = self.origins.get(self.ids[probe], Origin())
            found[probe] = GivenImage(id=self.ids[probe], prompt=origin.prompt, seed=origin.seed)
        return found


def folded(prompt: str) -> str:
    """A prompt without what may be lost on the model: it is not there to say, and fewer trials promise less."""
    return " ".join(prompt.split()).casefold()


def read_given(asked: ImagesConfig, geometry: Geometry, run: RunDirectory | None = None) -> Given:
    """The images, surveyed in one pass, with what is known of their prompts and seeds.

    Args:
      asked: Where they lie.
      geometry: Theirs.
      run: Whose survey serves here too; None = survey them.

    Raises:
      ConfigError, DataError: See :func:`auditor.data.open_source` and :func:`auditor.data.origins.read_origins`.
    """
    id_column, image_column = asked.id_column, asked.image_column
    source = open_source(asked.path, geometry, id_column=id_column, image_column=image_column)
    known = _remembered(run, source, geometry)
    if known is not None:
        return known
    info, digests, _ = survey(source)
    origins = read_origins(
        asked.path, list(digests), listed=asked.metadata, id_column=id_column, image_column=image_column
    )
    return Given(source, geometry, info, digests, origins)


def geometry_of(asked: ImagesConfig, *, resize: bool) -> Geometry:
    """Channels and size of the first readable image."""
    any_size, columns = Geometry(3, 1, 1), (asked.id_column, asked.image_column)
    source = open_source(asked.path, any_size, id_column=columns[0], image_column=columns[1])
    return Geometry(*source.first_shape(), resize=resize)


def remember_given(run: RunDirectory, given: Given) -> None:
    """Keep what the survey found in the run directory, so that workers need not read every image again."""

    def compute() -> dict[str, NDArray[Any]]:
        origins = {name: [origin.prompt, origin.seed] for name, origin in given.origins.items()}
        return {
            "ids": to_bytes(list(given.digests)),
            "digests": np.frombuffer(b"".join(given.digests.values()), np.uint8).reshape(-1, 16),
            "info": to_bytes(given.info.model_dump(mode="json")),
            "origins": to_bytes(origins),
        }

    run.arrays("inputs/images", {"images": given.digest}, compute)


def _remembered(run: RunDirectory | None, source: ImageSource, geometry: Geometry) -> Given | None:
    """What :func:`remember_given` kept in the state that the run began with; None if nothing."""
    if run is None:
        return None
    key = {"images": read_state(run.path / "run.json")["specification"].get("images")}
    if not run.done("inputs/images", key):
        return None
    kept = run.arrays("inputs/images", key, dict)
    rows = kept["digests"].tobytes()
    digests = {name: rows[16 * row : 16 * row + 16] for row, name in enumerate(from_bytes(kept["ids"]))}
    origins = {name: Origin(*values) for name, values in from_bytes(kept["origins"]).items()}
    info = ImageSet.model_validate(from_bytes(kept["info"])).model_copy(update={"path": source.path})
    return Given(source, geometry, info, digests, origins)


def given_pieces(run: RunDirectory, given: Given) -> list[Piece]:
    """The images that count, copied into the run directory as generations are, a few a piece."""
    size = int(np.prod([given.geometry.channels, given.geometry.height, given.geometry.width]))
    part = max(1, min(PART, PART_BYTES // size))

    def piece(start: int) -> Piece:
        probes = range(start, min(start + part, len(given.ids)))
        key = {"images": given.digest, "probes": [probes.start, probes.stop]}
        name = f"generate/{start // part:05d}"
        return Piece(run, name, key, len(probes), partial(read_part, given, probes))

    return [piece(start) for start in range(0, len(given.ids), part)]


def read_part(given: Given, probes: Sequence[int]) -> dict[str, NDArray[Any]]:
    """Some of the images, "pixels" UInt8[B C H W] and "probe" Int64[B], each held against the survey.

    Raises:
      DataError: One of them cannot be read any more, or has other pixels.
    """
    names = [given.ids[probe] for probe in probes]
    pixels: dict[str, NDArray[np.uint8]] = {}
    for batch in given.source.batches(PART, only=frozenset(names)):
        pixels.update(zip(batch.ids, batch.pixels, strict=True))
    for name in names:
        if name not in pixels or pixel_digest(pixels[name])[:16] != given.digests[name]:
            got = "other pixels" if name in pixels else "nothing readable"
            expected, remedy = "what it was when the audit began", "Restore the images, or audit anew."
            raise DataError(f"{given.source.path}: image {name}", got, expected, remedy)
    return {"pixels": np.stack([pixels[name] for name in names]), "probe": np.asarray(probes, np.int64)}
