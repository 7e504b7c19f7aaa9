"""Canaries before training: unique pictures of the data's look, fair coins, and files that an audit can read."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import auditor
from auditor.canaries.files import read_ledger
from auditor.canaries.patterns import draw_pattern, look_of
from auditor.cli.main import main
from auditor.data import Geometry, open_source, pixel_digests
from auditor.errors import ConfigError, DataError


def pictures(folder: Path, count: int = 40, mode: str = "RGB", side: int = 24) -> Path:
    """Bright pictures of little contrast, coloured alike in all channels."""
    folder.mkdir()
    rng = np.random.default_rng(3)
    for index in range(count):
        grey = rng.normal(170, 25, (side, side)).clip(0, 255).astype(np.uint8)
        Image.fromarray(grey).convert(mode).save(folder / f"p{index:03d}.png")
    return folder


def unit(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    rows = pixels.reshape(len(pixels), -1).astype(np.float64)
    rows -= rows.mean(axis=1, keepdims=True)
    found: NDArray[np.float64] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return found


def test_added_images_are_what_the_ledger_says(tmp_path: Path) -> None:
    data = pictures(tmp_path / "data")
    add, folder, file = auditor.make_canaries(data, out=tmp_path / "c", per_tier=20, salt="s")
    ledger = read_ledger(file)
    geometry = Geometry(3, 24, 24)
    assert ledger.shape == [3, 24, 24] and len(ledger.canaries) == 60
    added = list(pixel_digests(open_source(add, geometry)).values())
    known = pixel_digests(open_source(folder, geometry))
    assert set(known) == {canary.id for canary in ledger.canaries}
    assert len(set(known.values())) == 60
    for canary in ledger.canaries:
        assert known[canary.id].hex() == canary.sha256[:32]
        assert added.count(known[canary.id]) == canary.repetitions * canary.included
    assert {canary.repetitions for canary in ledger.canaries} == {1, 4, 16}


def test_every_format_holds_the_same_images(tmp_path: Path) -> None:
    data = pictures(tmp_path / "data", mode="L")
    found = []
    for form in ("folder", "tar", "parquet"):
        add, *_ = auditor.make_canaries(data, out=tmp_path / form, per_tier=8, salt="s", form=form)
        column = "id" if form == "parquet" else None
        found.append(pixel_digests(open_source(add, Geometry(1, 24, 24), id_column=column)))
    assert found[0] == found[1] == found[2] and len(found[0]) > 20


def test_the_same_salt_gives_the_same_bytes_and_another_one_others(tmp_path: Path) -> None:
    data = pictures(tmp_path / "data")
    files = [
        auditor.make_canaries(data, out=tmp_path / name, per_tier=8, salt=salt, form="tar")[0].read_bytes()
        for name, salt in (("a", "s"), ("b", "s"), ("c", "t"))
    ]
    assert files[0] == files[1] != files[2]
    drawn = [auditor.make_canaries(data, out=tmp_path / name, per_tier=8)[2] for name in "de"]
    assert read_ledger(drawn[0]).salt != read_ledger(drawn[1]).salt


def test_coins_are_fair_and_independent_of_tier_and_picture() -> None:
    """1,500 coins: within 4 standard deviations of one half, overall, by tier, and where the picture is bright."""
    from auditor.canaries.make import draw

    look = look_of(np.random.default_rng(0).integers(0, 256, (4, 1, 8, 8)).astype(np.uint8))
    canaries, _ = draw("coins", (1, 8, 8), look, 500, (1, 4, 16), [])
    included = np.array([canary.included for canary in canaries])
    corner = np.array([draw_pattern("coins", index, (1, 8, 8), look)[0, 0, 0] > 127 for index in range(1500)])
    for chosen in (np.ones(1500, bool), np.arange(1500) < 500, np.arange(1500) >= 1000, corner, ~corner):
        share = included[chosen].mean()
        assert abs(share - 0.5) < 4 * 0.5 / np.sqrt(chosen.sum())
    runs = (included[1:] != included[:-1]).mean()
    assert abs(runs - 0.5) < 4 * 0.5 / np.sqrt(1499)


@pytest.mark.parametrize("channels", [1, 3])
def test_canaries_share_the_look_of_the_data_and_nothing_else(channels: int) -> None:
    rng = np.random.default_rng(1)
    base = rng.normal(150, 30, (50, 1, 32, 32))
    data = (base + rng.normal(0, 8, (50, channels, 32, 32))).clip(0, 255).astype(np.uint8)
    look = look_of(data)
    drawn = np.stack([draw_pattern("look", index, (channels, 32, 32), look) for index in range(200)])
    ours = look_of(drawn)
    assert np.allclose(ours.mean, look.mean, atol=1.5) and np.allclose(ours.deviation, look.deviation, rtol=0.05)
    assert np.allclose(ours.correlation, look.correlation, atol=0.03)
    alike = unit(drawn) @ unit(drawn).T
    assert np.abs(alike[np.triu_indices(200, 1)]).max() < 0.65  # 19,900 pairs of about 63 dimensions
    assert (unit(drawn) @ unit(data).T).max() < 0.5


def test_patterns_outlive_halving_where_noise_does_not() -> None:
    """Smooth at any size: at half the resolution and back, a canary is still itself. White noise is not."""
    look = look_of(np.random.default_rng(2).integers(60, 200, (9, 1, 64, 64)).astype(np.uint8))
    noise = np.random.default_rng(4).integers(0, 256, (1, 64, 64)).astype(np.uint8)
    kept = []
    for pixels in (draw_pattern("s", 0, (1, 64, 64), look), noise):
        small = Image.fromarray(pixels[0]).resize((32, 32), Image.Resampling.BILINEAR)
        back = np.asarray(small.resize((64, 64), Image.Resampling.BILINEAR))
        kept.append(float((unit(pixels[None]) @ unit(back[None, None]).T)[0, 0]))
    assert kept[0] > 0.97 > 0.8 > kept[1]


def test_captions_of_the_data_are_handed_on(tmp_path: Path) -> None:
    data = pictures(tmp_path / "data", count=10)
    for index in range(10):
        (data / f"p{index:03d}.txt").write_text(str(index % 2))
    add, _, file = auditor.make_canaries(data, out=tmp_path / "c", per_tier=12, salt="s", form="tar")
    captions = {canary.caption for canary in read_ledger(file).canaries}
    assert captions == {"0", "1"}
    with tarfile.open(add) as tar:
        assert sum(name.endswith(".txt") for name in tar.getnames()) * 2 == len(tar.getnames())


def test_only_the_listed_images_give_the_look(tmp_path: Path) -> None:
    data = pictures(tmp_path / "data", mode="L")
    Image.fromarray(np.tile(np.array([0, 40], np.uint8), (24, 12))).save(data / "dark.png")
    (tmp_path / "ids").write_text("dark\n")
    _, folder, _ = auditor.make_canaries(data, out=tmp_path / "c", per_tier=8, salt="s", ids=tmp_path / "ids")
    batch = next(open_source(folder, Geometry(1, 24, 24)).batches(24))
    assert batch.pixels.max() < 130  # mean 40 +- 20, not 170 +- 25


def test_the_command_writes_and_names_three_things(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = pictures(tmp_path / "data")
    out = tmp_path / "c"
    command = ["canary", str(data), "--out", str(out), "--per-tier", "9", "--tiers", "2,3", "--size", "16x20"]
    assert main(command) == 0
    assert capsys.readouterr().out.split() == [str(out / name) for name in ("add", "canaries", "canaries.json")]
    ledger = read_ledger(out / "canaries.json")
    assert ledger.shape == [3, 16, 20] and [canary.repetitions for canary in ledger.canaries] == [2] * 9 + [3] * 9
    assert main(command) == 4  # the folder is no longer empty


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"per_tier": 7}, "canaries a tier: got 7"),
        ({"tiers": (1, 1)}, "distinct repetitions"),
        ({"tiers": (0, 2)}, "at least 1"),
        ({"images": "flat"}, "without contrast"),
        ({"ids": "none of them"}, "no readable image"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, options: dict[str, object], message: str) -> None:
    data = pictures(tmp_path / "data", count=2)
    if options.pop("images", None):
        for file in data.iterdir():
            Image.new("L", (8, 8), 7).save(file)
    if options.get("ids"):
        options["ids"] = tmp_path / "ids.txt"
        (tmp_path / "ids.txt").write_text("another\n")
    with pytest.raises(ConfigError, match=message):
        auditor.make_canaries(data, out=tmp_path / "c", **options)
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    "options", [["nowhere"], ["data", "--tiers", "1,x"], ["data", "--tiers", "0"], ["data", "--size", "3"]]
)
def test_the_command_refuses_in_one_line(
    tmp_path: Path, options: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures(tmp_path / "data", count=2)
    monkeypatch.chdir(tmp_path)
    assert main(["canary", *options]) == 4
    said = capsys.readouterr().err
    assert "expected" in said and said.count("\n") == 1
    assert not (tmp_path / "canary").exists()


def test_the_size_is_that_of_the_first_readable_image(tmp_path: Path) -> None:
    data = pictures(tmp_path / "data", count=3)
    (data / "a.png").write_bytes(b"no image")
    Image.new("L", (30, 20), 90).save(data / "b.png")
    source = open_source(data, Geometry(3, 24, 24))
    assert source.ids[:2] == ["a", "b"] and source.first_shape() == (1, 20, 30)
    for file in data.iterdir():
        file.write_bytes(b"no image")
    with pytest.raises(DataError, match="no readable image"):
        auditor.make_canaries(data, out=tmp_path / "c")


@pytest.mark.parametrize("content", ["{", "{}", '{"schema_version": 1}', "[]"])
def test_a_damaged_ledger_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "canaries.json").write_text(content)
    with pytest.raises(ConfigError, match="auditor canary"):
        read_ledger(tmp_path / "canaries.json")
