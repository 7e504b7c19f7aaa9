"""NumPy archives: UInt8[N H W] or [N H W C] images, read row by row without unpickling or loading the array."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from math import prod
from typing import IO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from auditor.data.base import Payload
from auditor.data.decode import MAX_PIXELS
from auditor.data.indexed import clean_text
from auditor.data.places import Place
from auditor.data.rows import row_ids
from auditor.errors import ConfigError, DataError

IMAGE_ARRAYS = ("images", "image", "x", "data", "arr_0")
CAPTION_ARRAYS = ("captions", "labels", "y")
MAX_SIDE_BYTES = 2**30  # of the id and caption arrays, which are held whole


class ArchiveRows:
    """The images of one archive; ids come from ``id_column`` if named, captions from a usual array name."""

    def __init__(self, file: Place, id_column: str | None, image_column: str | None) -> None:
        self._file = file
        headers = array_headers(file)
        self._name = image_array(file, headers, image_column)
        self._shape = headers[self._name][0]
        count = self._shape[0]
        self._ids = row_ids(clean_text(file.stem), count)
        if id_column is not None:
            self._ids = [clean_text(str(value)) for value in side_array(file, headers, id_column, count)]
        caption = next((name for name in CAPTION_ARRAYS if name in headers and name != id_column), None)
        self._captions = None if caption is None else side_array(file, headers, caption, count)

    @property
    def ids(self) -> Sequence[str]:
        return self._ids

    def forwards(self, wanted: Collection[int] | None) -> Iterator[tuple[int, Payload | str]]:
        row_shape = self._shape[1:]
        row_bytes = prod(row_shape)
        member = f"{self._name}.npy"
        with (
            reading(self._file),
            self._file.open("rb") as whole,
            zipfile.ZipFile(whole) as archive,
            archive.open(member) as stream,
        ):
            read_header(stream)
            for row in range(self._shape[0]):
                content = stream.read(row_bytes)
                if len(content) != row_bytes:
                    raise EOFError(f"the array ends in row {row}")
                if wanted is None or row in wanted:
                    caption = None if self._captions is None else str(self._captions[row])
                    yield row, Payload(np.frombuffer(content, np.uint8).reshape(row_shape), caption)


Header = tuple[tuple[int, ...], bool, np.dtype[np.generic]]  # shape, Fortran order, dtype


def read_header(stream: IO[bytes]) -> Header:
    """Shape, order and dtype at the head of a .npy stream, which is left at the first value."""
    version = npy.read_magic(stream)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read(stream)
    return shape, fortran, dtype


def array_headers(file: Place) -> dict[str, Header]:
    """The header of every array of the archive.

    Raises:
      ConfigError: A member is not a .npy array, or holds pickled objects.
      DataError: The archive is damaged.
    """
    headers: dict[str, Header] = {}
    with reading(file), file.open("rb") as whole, zipfile.ZipFile(whole) as archive:
        for member in archive.namelist():
            if not member.endswith(".npy"):
                raise ConfigError(str(file), f"the member {member}", "only .npy arrays", "Save it with numpy.savez.")
            with archive.open(member) as stream:
                header = read_header(stream)
            if header[2].hasobject:
                remedy = "Save strings as a fixed-width array, such as dtype U20."
                raise ConfigError(f"{file}: {member}", "pickled objects", "plain arrays", remedy)
            headers[member.removesuffix(".npy")] = header
    return headers


def image_array(file: Place, headers: dict[str, Header], name: str | None) -> str:
    """The array that holds the images: the named one, else a usual name, else the only one that can."""
    fitting = [key for key, header in headers.items() if _holds_images(header)]
    usual = [key for key in IMAGE_ARRAYS if key in fitting]
    found = name or (usual[0] if usual else fitting[0] if len(fitting) == 1 else None)
    if found is None or found not in fitting:
        seen = ", ".join(f"{key} {header[2]}{list(header[0])}" for key, header in headers.items())
        expected = "an array uint8 [N H W] or [N H W C] with C = 1, 3 or 4, in C order"
        raise ConfigError(f"{file}: images", seen or "no arrays", expected, "Name it with data.image_column.")
    return found


def _holds_images(header: Header) -> bool:
    shape, fortran, dtype = header
    if dtype != np.uint8 or fortran or len(shape) not in (3, 4) or prod(shape[1:3]) > MAX_PIXELS:
        return False
    return prod(shape[1:]) > 0 and (len(shape) == 3 or shape[3] in (1, 3, 4))


def side_array(file: Place, headers: dict[str, Header], name: str, count: int) -> NDArray[np.generic]:
    """A one-dimensional array with one value per image, such as ids or labels."""
    if name not in headers:
        raise ConfigError(f"{file}: {name}", "no such array", f"one of {', '.join(headers)}", "Correct the name.")
    shape, _, dtype = headers[name]
    if shape != (count,) or dtype.itemsize * count > MAX_SIDE_BYTES:
        raise ConfigError(f"{file}: {name}", f"shape {list(shape)}", f"[{count}], one per image", "Correct the array.")
    with reading(file), file.open("rb") as whole, np.load(whole, allow_pickle=False) as archive:
        values: NDArray[np.generic] = archive[name]
    return values


@contextmanager
def reading(file: Place) -> Iterator[None]:
    """Whatever damaged bytes raise inside, as one line that names the file."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, ValueError, KeyError, EOFError, OSError, NotImplementedError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise DataError(str(file), first, "a complete .npz archive", "Copy or build it again.") from error
