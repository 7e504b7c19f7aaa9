"""An audit that takes embeddings from an index ends with the record of one that makes them itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import auditor
from auditor.cli.main import main
from auditor.config import AuditConfig, validate
from auditor.data import Geometry, open_source, select, survey
from auditor.encoders.pixel import PixelEncoder
from auditor.errors import ConfigError, DataError
from auditor.indexing import IndexInfo, add_to_index, build_index, index_info
from auditor.indexing.training import TrainingIndex
from tests.indexing.pictures import RGB, write_pictures

Build = Callable[..., IndexInfo]
SPEC = PixelEncoder(3, 12, 10).spec


def audit_of(fixtures: Path, index: Path | None) -> AuditConfig:
    """A small audit of a checkpoint that memorised 128 real garments, under two encoders."""
    data = {"train": str(fixtures / "memorized" / "train"), "holdout": str(fixtures / "memorized" / "holdout")}
    clip = {"name": "clip", "model": f"local-dir:{fixtures / 'tiny-clip'}"}
    sections: dict[str, Any] = {
        "checkpoint": {"path": str(fixtures / "memorized" / "checkpoint")},
        "data": data | ({"index": str(index)} if index else {}),
        "generation": {"probes": 48, "steps": 4, "salt": "index"},
        "encoders": [{"name": "pixel"}, clip],
        "membership": {"enabled": False},
        "regime": {"probes": 0},
    }
    return validate(sections, "test")


def without_times(run_dir: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((run_dir / "record.json").read_text())
    record["config"]["data"].pop("index")
    return {key: value for key, value in record.items() if key not in ("started", "seconds", "index")}


@pytest.fixture(scope="module")
def plain(fixtures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The audit without an index."""
    run_dir = tmp_path_factory.mktemp("plain") / "run"
    assert auditor.run(audit_of(fixtures, None), run_dir).index is None
    return run_dir


@pytest.mark.parametrize(("kind", "size"), [("pixel", 50), ("pixel", 128), ("clip", 128)])
def test_the_record_is_the_same_with_and_without_an_index(
    fixtures: Path, tmp_path: Path, plain: Path, kind: str, size: int
) -> None:
    encoder = next(encoder for encoder in audit_of(fixtures, None).encoders if encoder.name == kind)
    train = fixtures / "memorized" / "train"
    info = build_index(train, tmp_path / "index", encoder=encoder, size=(16, 16), channels=1, partition_size=size)
    record = auditor.run(audit_of(fixtures, tmp_path / "index"), tmp_path / "run")
    assert record.index is not None and record.index.digest == info.digest and record.index.encoder == kind
    assert without_times(tmp_path / "run") == without_times(plain)
    embedded = {path.name for path in (tmp_path / "run" / "ledger" / "embed").glob("*") if (path / "train").exists()}
    assert embedded == {"pixel", "clip"} - {kind}  # the other encoder's are made as ever
    for report in ("report.md", "report.html"):
        assert info.digest is not None and info.digest in (tmp_path / "run" / report).read_text()


def test_images_are_not_decoded_again(build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from auditor.data import indexed

    source = write_pictures(tmp_path / "pictures", 300, unreadable=(7, 123))
    build(source, tmp_path / "index", partition_size=128)
    decoded: list[str] = []
    decode = indexed.decode
    monkeypatch.setattr(indexed, "decode", lambda name, *rest: (decoded.append(name), decode(name, *rest))[1])
    index = TrainingIndex.open(tmp_path / "index", RGB, [SPEC], check=True)
    found = index.survey(open_source(source, RGB))
    assert len(set(decoded)) == len(decoded) == 64  # a sample, to see whether it is the same set
    assert found == survey(open_source(source, RGB)) and len(found.images.unreadable) == 2


def test_a_part_of_an_index_in_the_order_of_ids(build: Build, tmp_path: Path) -> None:
    source = write_pictures(tmp_path / "pictures", 40, prefix="m", unreadable=(3,))
    build(source, tmp_path / "index")
    add_to_index(tmp_path / "index", write_pictures(source, 20, seed=1, prefix="a"), partition_size=7)  # sorted before
    listed = ["a0003", "m0001", "m0003", "a0019", "m0039", "a0000"]
    (tmp_path / "ids.txt").write_text("\n".join(listed))
    index = TrainingIndex.open(tmp_path / "index", RGB, [SPEC], check=True)
    whole = open_source(source, RGB)
    for chosen in (whole, select(whole, tmp_path / "ids.txt")):
        found = index.survey(chosen)
        assert found == survey(chosen)
        vectors = index.embeddings(list(found.digests), tmp_path / "run" / "all.npy")
        images = next(chosen.batches(100))
        assert list(found.digests) == images.ids and isinstance(vectors, np.memmap) and not vectors.flags.writeable
        assert np.array_equal(vectors, PixelEncoder(3, 12, 10)(images.pixels))


def test_an_index_that_does_not_fit_is_refused(build: Build, pictures: Path, tmp_path: Path) -> None:
    build(pictures, tmp_path / "index")
    with pytest.raises(ConfigError, match=r"got EncoderSpec\(name='pixel'.*expected one of the audit's encoders"):
        TrainingIndex.open(tmp_path / "index", RGB, [PixelEncoder(3, 8, 8).spec], check=True)
    with pytest.raises(ConfigError, match="Build it in the checkpoint's size and channels"):
        TrainingIndex.open(tmp_path / "index", Geometry(3, 12, 10, resize=True), [SPEC], check=True)
    index = TrainingIndex.open(tmp_path / "index", RGB, [SPEC], check=True)
    more = write_pictures(tmp_path / "more", 75)
    with pytest.raises(ConfigError, match=r"5 images .* it does not have \(such as '0070'\).*auditor index add"):
        index.survey(open_source(more, RGB))
    other = write_pictures(tmp_path / "other", 70, seed=1)
    with pytest.raises(DataError, match="64 of 64 images looked at are not what it was made of"):
        index.survey(open_source(other, RGB))


def test_a_damaged_or_unfinished_index_is_refused(build: Build, pictures: Path, tmp_path: Path) -> None:
    build(pictures, tmp_path / "index")
    file = tmp_path / "index" / "partitions" / "00002" / "embeddings.npy"
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataError, match="partition 00002: got files of another SHA-256"):
        TrainingIndex.open(tmp_path / "index", RGB, [SPEC], check=True)
    file.with_name("entry.json").unlink()
    assert index_info(tmp_path / "index").missing == ["00002"]
    with pytest.raises(ConfigError, match="partition 00002 missing or damaged; expected a complete index"):
        TrainingIndex.open(tmp_path / "index", RGB, [SPEC], check=True)


def test_the_command_line_names_an_index(fixtures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = fixtures / "memorized"
    sets = ["--train", str(folder / "train"), "--holdout", str(folder / "holdout")]
    arguments = ["plan", str(folder / "checkpoint"), *sets, "--index"]
    assert main([*arguments, str(tmp_path / "absent")]) == 4
    assert "expected a folder that `auditor index build` wrote" in capsys.readouterr().err
    (tmp_path / "train.faiss").write_bytes(b"IxFI")
    assert main([*arguments, str(tmp_path / "train.faiss")]) == 4
    assert "an index file of another program" in capsys.readouterr().err
