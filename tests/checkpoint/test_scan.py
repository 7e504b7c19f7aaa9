"""Everything that could execute, or is not what it says, is refused unopened; the same folder without it is not."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from auditor.checkpoint.load import load
from auditor.checkpoint.scan import check_unchanged, scan
from auditor.errors import EXIT_ERROR, EXIT_UNSAFE, EXIT_USAGE, AuditError

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


class Runs:
    """A pickle of this would run a command."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("false",)


def edit(file: Path, change: Callable[[dict[str, object]], object]) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def write_code(root: Path) -> None:
    (root / "unet" / "my_unet.py").write_text("print('no')")


def write_library(root: Path) -> None:
    (root / "extra.so").write_bytes(b"\x7fELF")


def pickle_weights(root: Path) -> None:
    tensors = load_file(root / WEIGHTS)
    (root / WEIGHTS).unlink()
    torch.save(tensors, root / "unet" / "diffusion_pytorch_model.bin")


def disguise_zip(root: Path) -> None:
    torch.save({"conv_in.bias": torch.zeros(8)}, root / WEIGHTS)


def disguise_pickle(root: Path) -> None:
    (root / WEIGHTS).write_bytes(pickle.dumps(Runs()))


def pickle_in_text(root: Path) -> None:
    (root / "notes.txt").write_bytes(pickle.dumps(Runs(), protocol=4))


def truncate(root: Path) -> None:
    content = (root / WEIGHTS).read_bytes()
    (root / WEIGHTS).write_bytes(content[:-100])


def append(root: Path) -> None:
    with (root / WEIGHTS).open("ab") as stream:
        stream.write(b"\0" * 8)


def link_out(root: Path) -> None:
    outside = root.parent / "outside.safetensors"
    (root / WEIGHTS).rename(outside)
    (root / WEIGHTS).symlink_to(outside)


def link_folder_out(root: Path) -> None:
    (root / "unet").rename(root.parent / "elsewhere")
    (root / "unet").symlink_to(root.parent / "elsewhere")


def custom_pipeline_class(root: Path) -> None:
    edit(root / "model_index.json", lambda index: index.update(_class_name=["my_pipeline", "MyPipeline"]))


def foreign_pipeline(root: Path) -> None:
    edit(root / "model_index.json", lambda index: index.update(_class_name="StableVideoDiffusionPipeline"))


def custom_module(root: Path) -> None:
    edit(root / "model_index.json", lambda index: index.update(unet=["my_unet", "MyUNet"]))


def foreign_class(root: Path) -> None:
    edit(root / "model_index.json", lambda index: index.update(unet=["diffusers", "UNet3DConditionModel"]))


def foreign_component_class(root: Path) -> None:
    edit(root / "unet" / "config.json", lambda config: config.update(_class_name="MyUNet"))


def auto_map(root: Path) -> None:
    edit(root / "unet" / "config.json", lambda config: config.update(auto_map={"AutoModel": "my_unet.MyUNet"}))


def nested_custom_pipeline(root: Path) -> None:
    edit(root / "model_index.json", lambda index: index.update(_extra=[{"custom_pipeline": "me/mine"}]))


UNSAFE = [
    write_code, write_library, pickle_weights, disguise_zip, disguise_pickle, pickle_in_text, truncate, append,
    link_out, link_folder_out, custom_pipeline_class, foreign_pipeline, custom_module, foreign_class,
    foreign_component_class, auto_map, nested_custom_pipeline,
]  # fmt: skip


@pytest.mark.parametrize("damage", UNSAFE)
def test_unsafe_folder_is_refused_and_its_sound_original_is_not(damage: Callable[[Path], None], ddpm: Path) -> None:
    scan(ddpm)  # negative control
    damage(ddpm)
    with pytest.raises(AuditError) as caught:
        scan(ddpm)
    assert caught.value.exit_code == EXIT_UNSAFE
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", [disguise_zip, disguise_pickle, pickle_in_text, write_code])
def test_opting_in_to_pickles_excuses_no_disguise(damage: Callable[[Path], None], ddpm: Path) -> None:
    damage(ddpm)
    with pytest.raises(AuditError) as caught:
        scan(ddpm, allow_pickle=True)
    assert caught.value.exit_code == EXIT_UNSAFE


def test_plain_tensor_pickle_loads_by_opt_in_and_gives_the_same_weights(saved: dict[str, Path], ddpm: Path) -> None:
    pickle_weights(ddpm)
    scanned = scan(ddpm, allow_pickle=True)
    assert scanned.pickled and "diffusion_pytorch_model.bin" in scanned.notes[0]
    loaded, original = load(scanned), load(scan(saved["ddpm"]))
    x, t = torch.ones(1, 1, 8, 8), torch.tensor([7])
    assert torch.equal(loaded.denoiser(x, t), original.denoiser(x, t))


@pytest.mark.parametrize(
    ("missing", "exit_code"),
    [
        ("model_index.json", EXIT_USAGE),
        ("unet/config.json", EXIT_ERROR),
        ("scheduler/scheduler_config.json", EXIT_ERROR),
    ],
)
def test_missing_file_is_named(missing: str, exit_code: int, ddpm: Path) -> None:
    (ddpm / missing).unlink()
    with pytest.raises(AuditError, match=Path(missing).name) as caught:
        scan(ddpm)
    assert caught.value.exit_code == exit_code


def test_missing_folder_and_broken_json(ddpm: Path) -> None:
    with pytest.raises(AuditError, match="no such folder") as caught:
        scan(ddpm / "nowhere")
    assert caught.value.exit_code == EXIT_USAGE
    (ddpm / "model_index.json").write_text('{"_class_name": ')
    with pytest.raises(AuditError, match="valid JSON") as caught:
        scan(ddpm)
    assert caught.value.exit_code == EXIT_ERROR


def test_digest_is_that_of_the_sorted_files(ddpm: Path) -> None:
    scanned = scan(ddpm)
    paths = sorted(p.relative_to(ddpm).as_posix() for p in ddpm.rglob("*") if p.is_file())
    assert [file.path for file in scanned.files] == paths
    lines = [json.dumps([p, hashlib.sha256((ddpm / p).read_bytes()).hexdigest()]) + "\n" for p in paths]
    assert scanned.digest == hashlib.sha256("".join(lines).encode()).hexdigest()
    edit(ddpm / "unet" / "config.json", lambda config: config.update(_note="another byte"))
    assert scan(ddpm).digest != scanned.digest


def test_links_inside_the_folder_are_followed(ddpm: Path) -> None:
    (ddpm / WEIGHTS).rename(ddpm / "weights.safetensors")
    (ddpm / WEIGHTS).symlink_to("../weights.safetensors")
    load(scan(ddpm))


def as_in_the_hub_cache(root: Path, cache: Path) -> Path:
    """The folder as huggingface_hub keeps it: a snapshot of links into blobs named by their content."""
    repository = cache / "models--somebody--garments"
    snapshot, blobs = repository / "snapshots" / "0123abc", repository / "blobs"
    blobs.mkdir(parents=True)
    for place, file in enumerate(file for file in sorted(root.rglob("*")) if file.is_file()):
        file.rename(blobs / f"{place:040x}")
        link = snapshot / file.relative_to(root)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(Path(*[".."] * (len(link.relative_to(repository).parts) - 1), "blobs", f"{place:040x}"))
    return snapshot


def test_a_snapshot_in_the_hub_cache_is_read(ddpm: Path, tmp_path: Path) -> None:
    wanted = scan(ddpm).digest
    scanned = scan(as_in_the_hub_cache(ddpm, tmp_path / "hub"))
    assert scanned.digest == wanted
    load(scanned)


def test_a_snapshot_may_not_link_beyond_its_own_blobs(ddpm: Path, tmp_path: Path) -> None:
    snapshot = as_in_the_hub_cache(ddpm, tmp_path / "hub")
    scan(snapshot)  # negative control
    other = tmp_path / "hub" / "models--somebody--else" / "blobs"
    other.mkdir(parents=True)
    (snapshot / WEIGHTS).resolve().rename(other / "f")
    (snapshot / WEIGHTS).unlink()
    (snapshot / WEIGHTS).symlink_to(other / "f")
    with pytest.raises(AuditError, match="a link to "):
        scan(snapshot)


def test_blobs_beside_any_other_folder_are_outside(ddpm: Path, tmp_path: Path) -> None:
    snapshot = as_in_the_hub_cache(ddpm, tmp_path / "hub")
    snapshot.parent.parent.rename(tmp_path / "garments")
    with pytest.raises(AuditError, match="a link to "):
        scan(tmp_path / "garments" / "snapshots" / "0123abc")


@pytest.mark.parametrize("hidden", ["../../blobs/unet", ".cache/unet", ".git/unet"])
def test_a_linked_folder_that_is_not_scanned_is_refused(ddpm: Path, tmp_path: Path, hidden: str) -> None:
    snapshot = as_in_the_hub_cache(ddpm, tmp_path / "hub")
    target = snapshot / hidden
    target.parent.mkdir(exist_ok=True)
    target.mkdir()
    for file in (snapshot / "unet").iterdir():
        file.resolve().rename(target / file.name)
        file.unlink()
    (snapshot / "unet").rmdir()
    (snapshot / "unet").symlink_to(hidden)
    with pytest.raises(AuditError, match="a link to the folder"):
        scan(snapshot)


def test_a_linked_folder_that_is_scanned_under_its_own_name_is_read(ddpm: Path) -> None:
    (ddpm / "unet").rename(ddpm / "weights")
    (ddpm / "unet").symlink_to("weights")
    load(scan(ddpm))


def test_a_link_to_nothing_is_named(ddpm: Path) -> None:
    (ddpm / WEIGHTS).unlink()
    (ddpm / WEIGHTS).symlink_to("gone.safetensors")
    with pytest.raises(AuditError, match="link to nothing"):
        scan(ddpm)


def test_version_control_is_passed_over_with_a_note(ddpm: Path) -> None:
    before = scan(ddpm).digest
    (ddpm / ".git").mkdir()
    (ddpm / ".git" / "hook.py").write_text("")
    scanned = scan(ddpm)
    assert scanned.digest == before and ".git/" in scanned.notes[0]


def test_change_after_the_scan_is_refused(ddpm: Path) -> None:
    scanned = scan(ddpm)
    check_unchanged(scanned)  # negative control
    edit(ddpm / "unet" / "config.json", lambda config: config.update(_note="later"))
    with pytest.raises(AuditError, match="changed since it was scanned") as caught:
        load(scanned)
    assert caught.value.exit_code == EXIT_UNSAFE


def test_bare_network_folder_loads_like_its_pipeline(saved: dict[str, Path], ddpm: Path) -> None:
    bare = ddpm / "unet"
    (ddpm / "scheduler" / "scheduler_config.json").rename(bare / "scheduler_config.json")
    loaded, original = load(scan(bare)), load(scan(saved["ddpm"]))
    x, t = torch.ones(1, 1, 8, 8), torch.tensor([7])
    assert torch.equal(loaded.denoiser(x, t), original.denoiser(x, t))
    (bare / "scheduler_config.json").unlink()
    with pytest.raises(AuditError, match=r"model_index\.json"):
        scan(bare)


def test_remote_code_is_off_before_diffusers_is_imported() -> None:
    program = (
        "import sys, auditor.checkpoint.load as load; assert 'diffusers' not in sys.modules;"
        "from diffusers.utils.constants import DIFFUSERS_DISABLE_REMOTE_CODE as off;"
        "from huggingface_hub.constants import HF_HUB_OFFLINE as offline; print(off, offline)"
    )
    environment = {key: value for key, value in os.environ.items() if key != "HF_HUB_OFFLINE"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.split() == ["True", "True"]
