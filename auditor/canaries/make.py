"""Make canaries before training: images that exist nowhere else, each trained on or left out by a fair coin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from auditor.canaries.files import Drawn, Format, png, write_images
from auditor.canaries.patterns import Look, draw_pattern, look_of
from auditor.data import Geometry, open_source, select
from auditor.data.indexed import IndexedSource
from auditor.data.selection import Selection
from auditor.data.survey import pixel_digest
from auditor.errors import ConfigError
from auditor.probes import choose, draw_salt, generator
from auditor.store.canaries import Canary, Ledger
from auditor.store.run_directory import write_json

TIERS = (1, 4, 16)  # repetitions
SAMPLE = 1_000  # images that mean, contrast and captions are taken from
LEAST = 8  # canaries a tier: below, not even faultless guesses bound epsilon away from 0


def make_canaries(
    images: Path,
    *,
    out: Path,
    per_tier: int = 64,
    tiers: Sequence[int] = TIERS,
    ids: Path | None = None,
    salt: str | None = None,
    form: Format = "folder",
    size: tuple[int, int] | None = None,
    id_column: str | None = None,
    image_column: str | None = None,
) -> list[Path]:
    """Write ``add`` (what belongs into the training set), ``canaries`` (all of them) and ``canaries.json`` to ``out``.

    The data are not copied: put ``add`` beside them, or append it, and train on both. Each included canary stands in
    ``add`` as often as its tier says, under ids of its own. Every canary's coin is independent of the others and of
    its picture, which is what makes the audit's bound on epsilon valid; so inclusion must not be changed by hand.

    Args:
      images: The training images, as for an audit: folder, tar, parquet, Arrow or npz.
      out: A folder that does not exist or is empty.
      per_tier: Canaries a tier, included or not, at least :data:`LEAST`.
      tiers: How often an included canary is repeated; distinct, at least 1.
      ids: Only the images listed, one id a line, count as the data.
      salt: Repeats patterns and coins; None draws a secret one, which the ledger keeps.
      form: How ``add`` is written: ``"folder"``, ``"tar"`` or ``"parquet"``.
      size: (height, width) of canaries; None = that of the first readable image.
      id_column, image_column: See :func:`auditor.data.open_source`; ``add`` as parquet has the same.

    Returns:
      The three paths, ``add`` first.

    Raises:
      ConfigError: ``out`` holds files, tiers or sizes that cannot be, or images that cannot be opened.
      DataError: No image is readable.
    """
    refuse_unfit(out, per_tier, tiers)
    salt = salt or draw_salt()
    opened = open_source(images, Geometry(1, 1, 1, resize=True), id_column=id_column, image_column=image_column)
    channels, height, width = opened.first_shape()
    height, width = size or (height, width)
    geometry = Geometry(channels, height, width, resize=True)
    found = open_source(images, geometry, id_column=id_column, image_column=image_column)
    source = found if ids is None else select(found, ids)
    look, captions = sample(source, salt)
    shape = (channels, height, width)
    drawn, pictures = draw(salt, shape, look, per_tier, tiers, captions)
    ledger = Ledger(
        tool_version=version("diffusion-auditor"), salt=salt, data=str(images), shape=list(shape), canaries=drawn
    )
    out.mkdir(parents=True, exist_ok=True)
    everything = (Drawn(one.id, pictures[one.id], one.caption) for one in drawn)
    columns = id_column or "id", image_column or "image"
    paths = [write_images(repeated(drawn, pictures), out / "add", form, columns)]
    paths.append(write_images(everything, out / "canaries", "folder"))
    write_json(out / "canaries.json", ledger.model_dump(mode="json"))
    return [*paths, out / "canaries.json"]


def refuse_unfit(out: Path, per_tier: int, tiers: Sequence[int]) -> None:
    """Raise ConfigError for a folder with files in it, too few canaries, or tiers that are not distinct counts."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError("canary folder", out, "an empty folder", "Name another folder with --out.")
    if per_tier < LEAST:
        raise ConfigError("canaries a tier", per_tier, f"at least {LEAST}", "Take more: 64 resolve epsilon up to 2.")
    if not tiers or min(tiers) < 1 or len(set(tiers)) < len(tiers):
        raise ConfigError("tiers", list(tiers), "distinct repetitions, at least 1", "Take 1, 4 and 16.")


def sample(source: IndexedSource | Selection, salt: str) -> tuple[Look, list[str]]:
    """The look of up to :data:`SAMPLE` images drawn at random, and the captions they have.

    Raises:
      ConfigError: None of the images drawn is readable, or all are flat.
    """
    chosen = frozenset(choose(salt, "canary sample", source.ids, SAMPLE))
    captions: list[str] = []

    def images() -> Iterator[NDArray[np.uint8]]:
        for batch in source.batches(1, only=chosen):
            captions.extend(caption for caption in batch.captions if caption)
            yield batch.pixels[0]

    try:
        look = look_of(images())
    except ValueError as error:
        raise ConfigError(source.path, "no readable image", "pictures", "Correct the path or the list.") from error
    if look.deviation.max() == 0:
        raise ConfigError(source.path, "images without contrast", "pictures", "Correct the path.")
    return look, captions


def draw(
    salt: str, shape: tuple[int, int, int], look: Look, per_tier: int, tiers: Sequence[int], captions: Sequence[str]
) -> tuple[list[Canary], dict[str, bytes]]:
    """The ledger's entries, tier by tier, and the PNG file of each by id.

    Patterns, coins and captions come from streams of their own, so that a coin depends on nothing that can be seen.
    """
    count = per_tier * len(tiers)
    coins = generator(salt, "canary coins").integers(0, 2, count)
    texts = generator(salt, "canary captions").integers(0, max(len(captions), 1), count)
    drawn, pictures = [], {}
    for index, coin in enumerate(coins):
        tier = tiers[index // per_tier]
        pixels = draw_pattern(salt, index, shape, look)
        name = f"canary-{tier:02d}x-{index % per_tier:04d}"
        caption = captions[texts[index]] if captions else None
        digest = pixel_digest(pixels).hex()
        drawn.append(Canary(id=name, repetitions=tier, included=bool(coin), sha256=digest, caption=caption))
        pictures[name] = png(pixels)
    return drawn, pictures


def repeated(canaries: Sequence[Canary], pictures: dict[str, bytes]) -> Iterator[Drawn]:
    """Every included canary as often as it is trained on, each time under an id of its own."""
    for canary in canaries:
        for copy in range(canary.repetitions if canary.included else 0):
            yield Drawn(f"{canary.id}-r{copy:02d}", pictures[canary.id], canary.caption)
