"""`auditor worker`: one shard of an audit."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from auditor.cli.display import Terminal
from auditor.cli.options import audit_options, configuration, default_run_directory, given_options
from auditor.errors import ConfigError


@click.command()
@audit_options
@given_options
@click.option("--run-dir", type=click.Path(path_type=Path), help="As for `auditor run`; all shards share it.")
@click.option("--shard", metavar="I/N", help="This shard of N, counted from 0 [default: the Slurm array task].")
@click.option(
    "--stage",
    type=click.Choice(["generate", "embed", "search", "membership", "all"]),
    default="all",
    show_default=True,
    help="What to make; each stage needs the ones before it whole.",
)
def worker(
    target: Path | None, run_dir: Path | None, shard: str | None, stage: str, assignments: tuple[str, ...],
    **options: Any,
) -> None:  # fmt: skip
    """Make one shard of the audit of TARGET, for Slurm arrays and Kubernetes indexed jobs.

    Start the same command for every shard, at once or in turn, then `auditor run` with the same TARGET, options and
    --run-dir: it makes whatever is left, and the record. Shards do not wait for each other. With --stage all a shard
    goes as far as the others' pieces let it; the same array again goes on from there.

    \b
    sbatch --array=0-7 --wrap "auditor worker audit.toml --run-dir /shared/run --stage generate"
    auditor worker audit.toml --run-dir /shared/run --shard $JOB_COMPLETION_INDEX/8
    """
    config = configuration(target, assignments, **options)
    directory = run_dir or default_run_directory(target, options["made"], options["adapter"])
    named = shard or slurm_shard(os.environ)

    from auditor.executors.shard import ShardExecutor
    from auditor.working import work  # torch and diffusers load only once the options are right

    terminal = Terminal()
    left = work(
        config, directory, ShardExecutor.parse(named), stage=None if stage == "all" else stage, progress=terminal
    )
    terminal.note(f"shard {named} is done")
    for kind, pieces in left.items():
        terminal.note(f"{kind}: {pieces:,} pieces of other shards are still missing")


def slurm_shard(environment: Mapping[str, str]) -> str:
    """The shard that a Slurm array task is: i/n.

    Raises:
      ConfigError: This is none, or its array does not count up by one.
    """
    names = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_MAX", "SLURM_ARRAY_TASK_COUNT")
    try:
        task, first, last, count = (int(environment[name]) for name in names)
    except (KeyError, ValueError):
        expected = "--shard I/N, or a Slurm array task"
        raise ConfigError("options", "no shard", expected, "Say which part is this one's: --shard 0/8.") from None
    if last - first + 1 != count:
        got = f"tasks {first} to {last}, {count} of them"
        raise ConfigError("Slurm array", got, "an array that counts up by one, such as 0-7", "Or give --shard I/N.")
    return f"{task - first}/{count}"
