"""An inverted-file index as plain arrays: written and read without FAISS's file format, which is never parsed.

FAISS files carry pointers, sizes and nested types from which its reader allocates and writes (faiss issue 5400); .npy
arrays without pickles carry numbers. What is kept, per index of L lists over n rows of D dimensions:

    centroids  Float32[L D']        list centres; D' = D, or what the rotation leaves
    rotation   Float32[D' D]        only with OPQ
    codebook   Float32[...]         PQ centres or SQ8 ranges; absent for Flat
    sizes      Int64[L]             rows per list
    ids        Int64[n]             row numbers, list after list
    codes      UInt8[n code bytes]  in the same order
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditor.errors import DataError
from auditor.search.choice import Factory
from auditor.search.index import import_faiss
from auditor.store.run_directory import save_array

ROTATION_ROUNDS = 10  # FAISS's 50 take five times as long: 100 s for 6,400 vectors of 64 dimensions on one core


def new_index(factory: Factory, dim: int) -> Any:
    """An untrained FAISS index of inner products."""
    faiss = import_faiss()
    index = faiss.index_factory(dim, factory.text, faiss.METRIC_INNER_PRODUCT)
    inverted(index).cp.min_points_per_centroid = 1  # whoever asks for many lists gets them, without a warning
    if isinstance(index, faiss.IndexPreTransform):
        _rotation(index).niter = ROTATION_ROUNDS
    return index


def inverted(index: Any) -> Any:
    """The inverted file itself, below a rotation if there is one."""
    faiss = import_faiss()
    return faiss.downcast_index(faiss.extract_index_ivf(index))


def write_lists(index: Any, folder: Path) -> list[Path]:
    """The trained parts and the lists as .npy files; memory is one list. Gives their paths."""
    faiss, ivf = import_faiss(), inverted(index)
    arrays = {"centroids": ivf.quantizer.reconstruct_n(0, ivf.nlist)}
    if isinstance(index, faiss.IndexPreTransform):
        rotation = _rotation(index)
        arrays["rotation"] = faiss.vector_to_array(rotation.A).reshape(rotation.d_out, rotation.d_in)
    trained = _codebook(ivf)
    if trained is not None:
        arrays["codebook"] = faiss.vector_to_array(trained)
    lists = ivf.invlists
    arrays["sizes"] = np.array([lists.list_size(number) for number in range(ivf.nlist)], np.int64)
    for name, array in arrays.items():
        save_array(folder / f"{name}.npy", array)
    _write_rows(lists, arrays["sizes"], ivf.code_size, folder)
    return [folder / f"{name}.npy" for name in (*arrays, "ids", "codes")]


def read_lists(factory: Factory, dim: int, rows: int, folder: Path) -> Any:
    """The index that :func:`write_lists` wrote; equal in every search.

    Raises:
      DataError: Arrays that do not belong together: other shapes, or row numbers that are no permutation.
    """
    faiss, index = import_faiss(), new_index(factory, dim)
    ivf = inverted(index)
    parts = {path.stem: np.load(path, mmap_mode="r", allow_pickle=False) for path in folder.glob("*.npy")}
    _check(parts, ivf, index, rows, folder)
    if "rotation" in parts:
        rotation = _rotation(index)
        faiss.copy_array_to_vector(np.ascontiguousarray(parts["rotation"]).ravel(), rotation.A)
        rotation.is_trained = True
    if "codebook" in parts:
        faiss.copy_array_to_vector(np.ascontiguousarray(parts["codebook"]), _codebook(ivf))
    ivf.quantizer.add(np.ascontiguousarray(parts["centroids"]))
    begin = 0
    for number, size in enumerate(parts["sizes"].tolist()):
        ids = np.ascontiguousarray(parts["ids"][begin : begin + size])
        codes = np.ascontiguousarray(parts["codes"][begin : begin + size])
        ivf.invlists.add_entries(number, size, faiss.swig_ptr(ids), faiss.swig_ptr(codes))
        begin += size
    ivf.is_trained = index.is_trained = True
    ivf.ntotal = index.ntotal = rows
    return index


def _rotation(index: Any) -> Any:
    return import_faiss().downcast_VectorTransform(index.chain.at(0))


def _codebook(ivf: Any) -> Any:
    """The C++ vector of what encoding learned, or None for whole vectors."""
    if hasattr(ivf, "pq"):
        return ivf.pq.centroids
    return ivf.sq.trained if hasattr(ivf, "sq") else None


def _write_rows(lists: Any, sizes: NDArray[np.int64], code_bytes: int, folder: Path) -> None:
    """ids.npy and codes.npy, list by list. Not through memory maps: on a full disk these end the process."""
    faiss, total = import_faiss(), int(sizes.sum())
    with (folder / "ids.npy").open("wb") as ids, (folder / "codes.npy").open("wb") as codes:
        for file, descr, shape in ((ids, "<i8", (total,)), (codes, "|u1", (total, code_bytes))):
            np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
        for number, size in enumerate(sizes.tolist()):
            if size:
                ids.write(faiss.rev_swig_ptr(lists.get_ids(number), size).tobytes())
                codes.write(faiss.rev_swig_ptr(lists.get_codes(number), size * code_bytes).tobytes())
        for file in (ids, codes):
            file.flush()
            os.fsync(file.fileno())


def _check(parts: dict[str, NDArray[Any]], ivf: Any, index: Any, rows: int, folder: Path) -> None:
    faiss, trained = import_faiss(), _codebook(ivf)
    expected: dict[str, tuple[str, tuple[int, ...]]] = {
        "centroids": ("float32", (ivf.nlist, ivf.d)),
        "sizes": ("int64", (ivf.nlist,)),
        "ids": ("int64", (rows,)),
        "codes": ("uint8", (rows, ivf.code_size)),
    }
    if isinstance(index, faiss.IndexPreTransform):
        expected["rotation"] = ("float32", (ivf.d, index.d))
    if trained is not None:  # SQ8 learns a least value and a range for each dimension
        expected["codebook"] = ("float32", (ivf.pq.centroids.size() if hasattr(ivf, "pq") else 2 * ivf.d,))
    found = {name: (str(part.dtype), part.shape) for name, part in parts.items()}
    if found != expected:
        wrong = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
        raise DataError(str(folder), f"other arrays: {', '.join(wrong)}", "those of its manifest", "Build it again.")
    sizes, ids = parts["sizes"], parts["ids"]
    listed = np.zeros(rows, np.bool_)
    in_range = bool(len(ids) == 0 or (ids.min() >= 0 and ids.max() < rows))
    if in_range:
        listed[ids] = True
    if not (in_range and listed.all() and (sizes >= 0).all() and int(sizes.sum()) == rows):
        raise DataError(str(folder), "row numbers that are no permutation", "each row once", "Build it again.")
