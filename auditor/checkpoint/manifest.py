"""model_index.json and the components it names: which classes would be built, before any is."""

from __future__ import annotations

import json
from pathlib import Path

from auditor.checkpoint.allowed import (
    ATTENTION_KEYS,
    ATTENTIONS,
    CLASSES,
    NEVER_LOADED,
    PIPELINES,
    REMOTE_CODE_KEYS,
    TEXT_PIPELINES,
    TOKENIZERS,
)
from auditor.errors import CheckpointError, ConfigError, UnsafeArtifactError

MAX_JSON = 2**26  # bytes
BARE_NETWORK = "UNet2DModel"
CLASS_REMEDY = "Checkpoints of other classes are not audited by this version."


def read_json(file: Path, subject: str) -> object:
    """The parsed file.

    Raises:
      CheckpointError: Not JSON, or of more than :data:`MAX_JSON` bytes.
    """
    remedy = "Download or save the checkpoint again."
    if file.stat().st_size > MAX_JSON:
        raise CheckpointError(subject, f"{file.stat().st_size} bytes", f"at most {MAX_JSON}", remedy)
    try:
        content: object = json.loads(file.read_bytes().decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(subject, str(error)[:120], "valid JSON", remedy) from error
    return content


def read_object(file: Path, subject: str) -> dict[str, object]:
    """The parsed file, which must hold a JSON object."""
    content = read_json(file, subject)
    if not isinstance(content, dict):
        raise CheckpointError(subject, type(content).__name__, "a JSON object", "Download the checkpoint again.")
    return content


def check_json(content: object, subject: str) -> None:
    """Raise UnsafeArtifactError if a key anywhere in the content would fetch or run code."""
    pending = [content]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            for key in REMOTE_CODE_KEYS.intersection(value):
                remedy = "Remove the entry and save the checkpoint with classes of diffusers."
                raise UnsafeArtifactError(subject, f"a remote-code entry {key!r}", "no such entry", remedy)
            pending += value.values()
        elif isinstance(value, list):
            pending += value


def read_manifest(root: Path) -> dict[str, object]:
    """model_index.json with every class on the allow-list, and every component's own class the one it names.

    For a folder without it, but with the config.json of a bare UNet2DModel and a scheduler_config.json, the index
    that ``save_pretrained`` would have written, its components at "." (see :func:`component_folder`).
    """
    index, subject = read_index(root), f"{root}: model_index.json"
    passed_over = NEVER_LOADED if index["_class_name"] in TEXT_PIPELINES else frozenset()
    for name, entry in index.items():
        if not name.startswith("_") and isinstance(entry, list) and name not in passed_over:
            _check_component(root, name, entry, subject)
    return index


def read_index(root: Path) -> dict[str, object]:
    """model_index.json, or one made up for a bare network, if its pipeline is on the allow-list.

    Nothing else is read, so that a pipeline of another kind is refused by its name whatever its folder holds.

    Raises:
      UnsafeArtifactError: Another pipeline; the message lists those that are audited.
    """
    file = root / "model_index.json"
    subject = f"{root}: model_index.json"
    index = read_object(file, subject) if file.is_file() else _bare_index(root)
    pipeline = index.get("_class_name")
    if not isinstance(pipeline, str) or pipeline not in PIPELINES:
        expected = f"one of {', '.join(sorted(PIPELINES))}"
        raise UnsafeArtifactError(f"{subject}: _class_name", repr(pipeline), expected, CLASS_REMEDY)
    return index


def _check_component(root: Path, name: str, entry: list[object], subject: str) -> None:
    """One ``name: [library, class]`` entry, and the class its own configuration states."""
    if entry == [None, None]:
        return
    if len(entry) != 2 or not isinstance(entry[0], str) or entry[0] not in CLASSES:
        got = f"the library {entry[0]!r}" if len(entry) == 2 else repr(entry)
        raise UnsafeArtifactError(f"{subject}: {name}", got, f"one of {', '.join(CLASSES)}", CLASS_REMEDY)
    classes = CLASSES[entry[0]]
    if not isinstance(entry[1], str) or entry[1] not in classes:
        expected = f"one of {', '.join(sorted(classes))}"
        raise UnsafeArtifactError(f"{subject}: {name}", f"the class {entry[1]!r}", expected, CLASS_REMEDY)
    config = component_config(root, name, entry[1])
    for key in ATTENTION_KEYS.intersection(config):
        if config[key] not in ATTENTIONS:
            remedy = "Remove the entry, which changes no weight."
            raise UnsafeArtifactError(f"{root}: {name}: {key}", repr(config[key]), "eager or sdpa", remedy)
    if config.get("quantization_config"):
        remedy = "Quantized weights are not audited by this version: audit what they were made of."
        raise CheckpointError(f"{root}: {name}: quantization_config", "quantized weights", "none", remedy)
    for stated in _stated_classes(config):
        if not isinstance(stated, str) or stated not in classes:
            where = f"{root}: {name}: class"
            raise UnsafeArtifactError(where, repr(stated), f"the class {entry[1]}", CLASS_REMEDY)


def _stated_classes(config: dict[str, object]) -> list[object]:
    """The classes that a component's own configuration names: of diffusers, of a transformers model, a tokenizer."""
    architectures = config.get("architectures") or []
    named = [config[key] for key in ("_class_name", "tokenizer_class") if config.get(key) is not None]
    return [*named, *(architectures if isinstance(architectures, list) else [architectures])]


def component_folder(root: Path, name: str) -> Path:
    """Where a component lies: its own folder, or the checkpoint's root for a bare network."""
    own = root / name
    return own if own.is_dir() else root


def component_config(root: Path, name: str, kind: str = "") -> dict[str, object]:
    """The component's config.json, scheduler_config.json or, of a tokenizer's class, tokenizer_config.json.

    Raises:
      CheckpointError: There is none, or it is not a JSON object.
    """
    folder = component_folder(root, name)
    prefix = "scheduler_" if name == "scheduler" else "tokenizer_" if kind in TOKENIZERS else ""
    file = folder / f"{prefix}config.json"
    subject = f"{root}: {file.relative_to(root).as_posix()}"
    if not file.is_file():
        remedy = "Download or save the checkpoint again."
        raise CheckpointError(subject, "no such file", f"the configuration of {name}", remedy)
    return read_object(file, subject)


def _bare_index(root: Path) -> dict[str, object]:
    config, scheduler = root / "config.json", root / "scheduler_config.json"
    if not scheduler.is_file():
        scheduler = root / "scheduler" / "scheduler_config.json"
    found = read_object(config, f"{root}: config.json") if config.is_file() else {}
    if found.get("_class_name") != BARE_NETWORK or not scheduler.is_file():
        expected = "a folder with model_index.json (or config.json of a UNet2DModel beside scheduler_config.json)"
        got = f"the class {found['_class_name']}" if "_class_name" in found else "no model_index.json"
        raise ConfigError(str(root), got, expected, "Point at the folder that save_pretrained wrote.")
    kind = read_object(scheduler, f"{root}: scheduler_config.json").get("_class_name")
    return {
        "_class_name": "ScoreSdeVePipeline" if kind == "ScoreSdeVeScheduler" else "DDPMPipeline",
        "unet": ["diffusers", BARE_NETWORK],
        "scheduler": ["diffusers", kind],
    }
