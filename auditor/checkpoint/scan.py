"""What a checkpoint is made of, established before anything of it is loaded; what could execute is refused."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from auditor.checkpoint.adapter_header import check_adapter
from auditor.checkpoint.allowed import CODE_SUFFIXES, PICKLE_SUFFIXES, SKIPPED_FOLDERS, TEXT_PIPELINES
from auditor.checkpoint.asked import Asked
from auditor.checkpoint.manifest import check_json, read_index, read_json, read_manifest
from auditor.checkpoint.pickles import PickleError, check_pickle
from auditor.checkpoint.safetensors_header import HeaderError, check_header
from auditor.checkpoint.single_file import check_single_file
from auditor.errors import CheckpointError, ConfigError, UnsafeArtifactError
from auditor.store.record import FileDigest

ZIP = b"PK\x03\x04"


@dataclass(frozen=True)
class Scan:
    """A folder found safe to open, as it was at that moment."""

    path: Path
    files: list[FileDigest]  # sorted by path
    digest: str  # SHA-256 over the JSON line [path, sha256] of each file, in that order
    model_index: dict[str, object]  # of model_index.json, or one made up for a bare network folder
    notes: list[str]  # for the record: what was accepted by opt-in or passed over
    pickled: bool  # some weights are pickles, accepted by opt-in
    stamps: dict[str, tuple[int, int]]  # (bytes, modification time in ns) by path
    asked: Asked = Asked()  # what is to be opened beyond the folder
    weights: Path | None = None  # the single file; path is then its configuration's folder
    held: frozenset[str] = frozenset()  # components in the single file; weights of all others are in the folder


def scan(path: Path, *, allow_pickle: bool = False, asked: Asked | None = None) -> Scan:
    """The checkpoint's files and digests, if all of them are what they say and none can execute.

    Args:
      path: A folder as ``save_pretrained`` writes it, with model_index.json; a bare UNet2DModel folder with
        config.json and scheduler_config.json; or a single safetensors file, with its configuration's folder asked for.
      allow_pickle: Accept pickled weights whose opcodes import nothing but tensors and containers.
      asked: What is to be opened beyond the folder; None = nothing.

    Raises:
      ConfigError: No such folder, nothing in it says which pipeline it is, or it takes nothing of what is asked.
      CheckpointError: A JSON file that cannot be read, or a component that is missing.
      UnsafeArtifactError: A pickle without opt-in or one that imports more than tensors, Python or machine code,
        remote-code entries, a class not on the allow-list, a link that leaves the folder, or a safetensors file whose
        header disagrees with its bytes.
    """
    asked = asked or Asked()
    notes: list[str] = []
    path, weights = split_single_file(path, asked)
    names = sorted(
        name for name in relative_files(path, notes) if weights is None or not (path / name).samefile(weights)
    )
    read_index(path)  # before any weight: of another pipeline nothing is looked at
    pickles = [name for name in names if check_file(path, name, allow_pickle)]
    if pickles:
        notes.append(f"pickled weights accepted by opt-in: {', '.join(pickles)}")
    model_index = read_manifest(path)
    pipeline = str(model_index["_class_name"])
    refuse_unasked(asked, pipeline)
    held: frozenset[str] = frozenset()
    if weights is not None:
        held, found = check_single_file(weights, path, model_index)
        notes += found
    stamps = {name: stamp(path / name) for name in names}
    files = [FileDigest(path=name, bytes=stamps[name][0], sha256=sha256(path / name)) for name in names]
    others = [] if weights is None else [(weights.name, weights)]
    if asked.adapter is not None:
        others += [(f"adapter/{own.name}", own) for own in check_adapter(asked.adapter)]
    for name, own in others:
        stamps[str(own.resolve())] = stamp(own)
        files.append(FileDigest(path=name, bytes=own.stat().st_size, sha256=sha256(own)))
    digest = asked.seal(digest_of(files))
    return Scan(path, files, digest, model_index, notes, bool(pickles), stamps, asked, weights, held)


def split_single_file(path: Path, asked: Asked) -> tuple[Path, Path | None]:
    """The folder to look into, and the single file that holds the weights, if the path is one."""
    if path.is_file():
        if asked.config is None or not asked.config.is_dir():
            got = "a single file without its configuration" if asked.config is None else f"no folder {asked.config}"
            remedy = "Name a folder with model_index.json and its configurations as checkpoint.config (--config)."
            raise ConfigError(str(path), got, "a single file with a configuration's folder", remedy)
        return asked.config, path
    if not path.is_dir():
        raise ConfigError(str(path), "no such folder", "a diffusers save_pretrained folder", "Correct the path.")
    if asked.config is not None:
        raise ConfigError("checkpoint.config", "one for a folder", "none, since it has its own", "Remove the option.")
    return path, None


def refuse_unasked(asked: Asked, pipeline: str) -> None:
    """Raise ConfigError if what is asked for is only for text-to-image checkpoints, and this is another."""
    for key in ("adapter", "image_size"):
        if getattr(asked, key) is not None and pipeline not in TEXT_PIPELINES:
            raise ConfigError(f"checkpoint.{key}", f"one for a {pipeline}", "none", "Remove the option.")


def relative_files(root: Path, notes: list[str]) -> Iterator[str]:
    """Posix paths of all files below the folder; links must stay inside it, everything must be a regular file.

    A snapshot in the cache of the Hugging Face hub is made of links into ``blobs`` beside it, which count as inside.
    """
    inside = [root.resolve(), *hub_blobs(root.resolve())]
    for folder, names, files in os.walk(root):
        for name in sorted(SKIPPED_FOLDERS.intersection(names)):
            notes.append(f"not looked into: {Path(folder, name).relative_to(root).as_posix()}/")
            names.remove(name)
        for name in [*names, *files]:
            _check_place(root, inside, Path(folder, name))
        yield from (Path(folder, name).relative_to(root).as_posix() for name in files)


def hub_blobs(root: Path) -> list[Path]:
    """Where the files of ``<cache>/models--<name>/snapshots/<revision>`` lie; none for a folder elsewhere."""
    repository = root.parent.parent
    known = root.parent.name == "snapshots" and repository.name.startswith("models--")
    return [repository / "blobs"] if known and not (repository / "blobs").is_symlink() else []


def _check_place(root: Path, inside: list[Path], entry: Path) -> None:
    subject = f"{root}: {entry.relative_to(root).as_posix()}"
    target = entry.resolve()
    if entry.is_symlink() and not any(target.is_relative_to(place) for place in inside):
        remedy = "Copy the folder with its links resolved (cp -rL) and audit the copy."
        raise UnsafeArtifactError(subject, f"a link to {target}", "files inside the folder", remedy)
    if entry.is_symlink() and target.is_dir() and not _walked(inside[0], target):
        # Loading would follow it, and find files that nobody has looked at.
        remedy = "Copy the folder with its links resolved (cp -rL) and audit the copy."
        raise UnsafeArtifactError(subject, f"a link to the folder {target}", "folders that are scanned", remedy)
    if not target.exists():
        raise CheckpointError(subject, "a link to nothing", "a file", "Download the checkpoint again.")
    if not stat.S_ISREG(target.stat().st_mode) and not target.is_dir():
        raise UnsafeArtifactError(subject, "a special file", "a regular file", "Remove it.")


def _walked(root: Path, folder: Path) -> bool:
    """Whether the files of a folder are met below the root without following links."""
    return folder.is_relative_to(root) and not SKIPPED_FOLDERS.intersection(folder.relative_to(root).parts)


def check_file(root: Path, name: str, allow_pickle: bool) -> bool:
    """Whether the file is a pickle (accepted by opt-in); anything that must not be in a checkpoint is refused."""
    file, suffix, subject = root / name, Path(name).suffix.lower(), f"{root}: {name}"
    with file.open("rb") as stream:
        head = stream.read(8)
    pickled = looks_pickled(head)
    if suffix in CODE_SUFFIXES:
        raise UnsafeArtifactError(subject, "code", "weights and configuration only", "Remove it; it is never run here.")
    if suffix == ".safetensors":
        _check_safetensors(file, subject, pickled)
        return False
    if suffix == ".json":
        content = read_json(file, subject)
        check_json(content, subject)
        if ".index." in file.name:  # model.safetensors.index.json, or with a variant behind it
            check_shards(content, subject)
        return False
    if suffix not in PICKLE_SUFFIXES and not pickled:
        return False
    if suffix not in PICKLE_SUFFIXES:
        raise UnsafeArtifactError(subject, "a pickle or zip archive", "a file that is what it says", "Remove it.")
    if not allow_pickle:
        remedy = "Convert it to safetensors (or remove it, where that lies beside it), or opt in with --allow-pickle."
        raise UnsafeArtifactError(subject, "pickled weights, which can execute code", "safetensors", remedy)
    try:
        check_pickle(file)
    except PickleError as error:
        raise UnsafeArtifactError(subject, error, "a pickle of plain tensors", "Convert it to safetensors.") from error
    return True


def check_shards(content: object, subject: str) -> None:
    """Raise UnsafeArtifactError if an index of weights names files that do not lie beside it: loaders open any path."""
    named = content.get("weight_map") if isinstance(content, dict) else None
    for shard in named.values() if isinstance(named, dict) else ():
        if not isinstance(shard, str) or Path(shard).name != shard or "\\" in shard:
            remedy = "Download or save the checkpoint again."
            raise UnsafeArtifactError(subject, f"weights in {shard!r}", "names of files beside it", remedy)


def _check_safetensors(file: Path, subject: str, pickled: bool) -> None:
    """A header length may look like a pickle's first bytes, so the header is asked first."""
    try:
        check_header(file)
    except HeaderError as error:
        got = "a pickle or zip archive" if pickled else error
        remedy = "Download or save the checkpoint again."
        raise UnsafeArtifactError(subject, got, "a safetensors file that agrees with its header", remedy) from error


def looks_pickled(head: bytes) -> bool:
    """Whether a file starts as a binary pickle (protocol 2 to 5) or as a zip archive."""
    return head.startswith(ZIP) or (len(head) > 1 and head[0] == 0x80 and 2 <= head[1] <= 5)


def stamp(file: Path) -> tuple[int, int]:
    """(bytes, modification time in nanoseconds)."""
    status = file.stat()
    return status.st_size, status.st_mtime_ns


def sha256(file: Path) -> str:
    """SHA-256 of a file, hexadecimal, read in blocks."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_of(files: list[FileDigest]) -> str:
    """SHA-256 over one JSON line ``[path, sha256]`` per file, hexadecimal."""
    lines = "".join(json.dumps([file.path, file.sha256]) + "\n" for file in files)
    return hashlib.sha256(lines.encode()).hexdigest()


def check_unchanged(scanned: Scan) -> None:
    """Raise UnsafeArtifactError if a scanned file has since changed in size or time."""
    for name, seen in scanned.stamps.items():
        file = scanned.path / name
        if not file.is_file() or stamp(file) != seen:
            got = "changed since it was scanned"
            raise UnsafeArtifactError(f"{scanned.path}: {name}", got, "the scanned file", "Run the audit again.")
