"""What the command line refuses before it spends anything, and what a shard refuses to take part in."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import auditor
from auditor.cli.main import main
from auditor.cli.worker import slurm_shard
from auditor.config import ExecutionConfig
from auditor.errors import ConfigError, DataError
from auditor.executors import LocalExecutor, ProcessExecutor, ShardExecutor
from auditor.executors.build import EXECUTORS, build_executor, crowded
from auditor.executors.devices import device_of
from auditor.working import work
from tests.executors.audits import small_audit, write_inputs
from tests.micro import write_picture


@pytest.fixture(scope="module", autouse=True)
def threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("audits")
    write_inputs(path)
    return path


def test_without_ray_nothing_begins(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    for ask in (lambda config: auditor.run(config, tmp_path / "run"), auditor.plan):
        with pytest.raises(ConfigError, match=r"pip install 'diffusion-auditor\[ray\]'"):
            ask(small_audit(folder, "ray"))
    assert not (tmp_path / "run").exists()
    build_executor(ExecutionConfig(executor="processes", workers=2), 1)  # the others do not need it


def test_executors_by_name() -> None:
    assert list(EXECUTORS) == ["local", "processes", "ray"]
    assert isinstance(build_executor(ExecutionConfig(), 1), LocalExecutor)
    made = build_executor(ExecutionConfig(executor="processes", workers=3), 1)
    assert isinstance(made, ProcessExecutor) and made.workers == 3


def test_more_threads_than_cores_are_pointed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    monkeypatch.setattr("auditor.executors.processes.cuda_devices", list)
    said = crowded(ProcessExecutor(2), 4)
    assert said is not None and "Set threads = 2" in said
    assert crowded(ProcessExecutor(2), 2) is None and crowded(LocalExecutor(), 16) is None


def test_workers_see_one_of_several_gpus_each() -> None:
    assert [device_of(["4", "7"], slot).get("CUDA_VISIBLE_DEVICES") for slot in range(3)] == ["4", "7", "4"]
    assert device_of(["0"], 1) == device_of([], 0) == {}


def test_a_slurm_array_task_knows_its_shard() -> None:
    names = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_MAX", "SLURM_ARRAY_TASK_COUNT")
    assert slurm_shard(dict(zip(names, ("3", "1", "8", "8"), strict=True))) == "2/8"
    with pytest.raises(ConfigError, match="counts up by one"):
        slurm_shard(dict(zip(names, ("0", "0", "8", "5"), strict=True)))
    with pytest.raises(ConfigError, match="no shard"):
        slurm_shard({})


def test_a_shard_that_is_none_ends_the_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["worker", str(folder / "checkpoint"), "--train", str(folder / "train")]
    assert main([*given, "--holdout", str(folder / "holdout"), "--shard", "3/3"]) == 4
    assert "0 <= i < n" in capsys.readouterr().err


@pytest.fixture(scope="module")
def begun(folder: Path) -> Path:
    """A run of which shard 0 of 2 has made its generations, and what needs no other shard."""
    assert work(small_audit(folder), folder / "begun", ShardExecutor(0, 2)).keys() == {"generate"}
    return folder / "begun"


def test_a_shard_takes_no_part_in_a_run_of_other_options(folder: Path, begun: Path) -> None:
    with pytest.raises(ConfigError, match=r"generation\.steps: 2 -> 3"):
        work(small_audit(folder, generation={"steps": 3}), begun, ShardExecutor(1, 2))


def test_a_stage_without_what_it_needs_is_an_error(folder: Path, begun: Path) -> None:
    with pytest.raises(auditor.errors.AuditError, match="pieces that other shards have not made") as caught:
        work(small_audit(folder), begun, ShardExecutor(0, 2), stage="search")
    assert caught.value.exit_code == 2
    assert work(small_audit(folder), begun, ShardExecutor(0, 2), stage="generate").keys() == {"generate"}
    with pytest.raises(ConfigError, match="one of generate, embed, search, membership"):
        work(small_audit(folder), begun, ShardExecutor(0, 2), stage="report")


def test_an_image_that_changed_since_the_survey_is_refused_by_name(folder: Path, tmp_path: Path) -> None:
    """A shard does not survey the sets again, so it looks at every image that it uses."""
    import numpy as np

    for name in ("train", "holdout", "checkpoint", "base"):
        shutil.copytree(folder / name, tmp_path / name)
    work(small_audit(tmp_path), tmp_path / "run", ShardExecutor(1, 2), stage="generate")
    write_picture(tmp_path / "train" / "train-0007.png", np.random.default_rng(99))
    with pytest.raises(DataError, match=r"image train-0007: got other pixels"):
        work(small_audit(tmp_path), tmp_path / "run", ShardExecutor(0, 2), stage="embed")
    with pytest.raises(ConfigError, match="train: "):  # and whoever finishes the run surveys anew
        auditor.run(small_audit(tmp_path), tmp_path / "run")
    (tmp_path / "train" / "train-0007.png").unlink()
    with pytest.raises(DataError, match=r"image train-0007: got nothing readable"):
        work(small_audit(tmp_path), tmp_path / "run", ShardExecutor(0, 2), stage="embed")
