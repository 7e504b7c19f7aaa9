"""Draw a held-out set before training, by whole groups of near-duplicates."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from auditor.config import EncoderConfig
from auditor.copies.groups import duplicate_groups
from auditor.copies.pool import Pool, floor_of_planted
from auditor.copies.split import group_split
from auditor.data import Geometry, open_source, pixels_of, survey
from auditor.data.groups import write_groups
from auditor.encoders.pixel import build_pixel
from auditor.errors import ConfigError
from auditor.probes import draw_salt
from auditor.progress import Silent
from auditor.stages.embed import embed_images
from auditor.stages.inputs import Images
from auditor.store.run_directory import RunDirectory, write_json
from auditor.validity.planted import embed_planted, sample_originals

SIDE = 32  # images are compared at 32x32, in colour


def split(
    images: Path, *, share: float = 0.2, salt: str | None = None, threshold: float | None = None, out: Path
) -> list[Path]:
    """Write ``train.txt``, ``holdout.txt`` (ids, one a line), ``groups.csv`` and ``split.json`` into ``out``.

    The table says which images were dealt as one (``data.groups``), the last file how the split was drawn.

    Groups are found label-blind at 32x32 pixels under the ``pixel`` encoder. A split by group is what lets repeated and
    near-duplicated images compete in the copy test (``data.split = "group"``).

    Args:
      images: A folder, tar, parquet, Arrow or npz of any image sizes.
      share: Share of the groups to hold out, in (0, 1).
      salt: Repeats an earlier split; None draws one, and ``split.json`` keeps it.
      threshold: Similarity at which two images count as duplicates; None = 5th percentile of planted copies.
      out: A folder that does not exist or is empty.

    Raises:
      ConfigError: ``out`` holds files, or there are too few images.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError("split folder", out, "an empty folder", "Name another folder with --out.")
    salt = salt or draw_salt()
    source = open_source(images, Geometry(3, SIDE, SIDE, resize=True))
    info, digests, _ = survey(source)
    ids = list(digests)
    encoder = build_pixel(EncoderConfig(name="pixel"), 3, SIDE, SIDE, "cpu")
    with tempfile.TemporaryDirectory() as scratch:
        run = RunDirectory.open(Path(scratch) / "split", {}, salt)
        vectors = embed_images(run, "pool", Images(source, info, digests), encoder, Silent())
        pool = Pool(vectors, ids, np.ones(len(ids), np.bool_), np.array([d.hex() for d in digests.values()]))
        if threshold is None:
            rows = sample_originals(pool.pixel_digest, salt)
            planted = embed_planted(rows, pixels_of(source, [ids[row] for row in rows]), encoder, salt)
            threshold = floor_of_planted(planted)
        groups = duplicate_groups(pool, threshold).group.tolist()
    train, holdout = group_split(ids, groups, seed=salt, holdout_fraction=share)
    out.mkdir(parents=True, exist_ok=True)
    for name, members in (("train", train), ("holdout", holdout)):
        (out / f"{name}.txt").write_text("\n".join(members) + "\n")
    account = {
        "images": str(images), "digest": info.digest, "salt": salt, "share_of_groups": share, "threshold": threshold,
        "groups": len(set(groups)), "train": len(train), "holdout": len(holdout), "unreadable": info.unreadable,
    }  # fmt: skip
    write_groups(out / "groups.csv", {name: str(group) for name, group in zip(ids, groups, strict=True)})
    write_json(out / "split.json", account)
    return [out / "train.txt", out / "holdout.txt", out / "groups.csv", out / "split.json"]
