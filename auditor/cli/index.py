"""`auditor index`: the embeddings of a training set, made once, for the audits of many checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from auditor.cli.approximate import approximate
from auditor.cli.canary import pair
from auditor.cli.display import Terminal, printable
from auditor.cli.find import find
from auditor.config import EncoderConfig
from auditor.errors import EXIT_ERROR, EXIT_PASS, ConfigError

if TYPE_CHECKING:
    from auditor.executors import Executor
    from auditor.indexing import IndexInfo

SOURCE_OPTIONS = (
    click.option("--id-column", help="parquet, Arrow and npz: where the ids are."),
    click.option("--image-column", help="The same for the images; of a tar, their extension."),
    click.option("--partition-size", type=click.IntRange(1), default=65_536, show_default=True,
                 help="Images a partition, the unit of work and of what a kill can lose; best a multiple of 128."),
    click.option("--decode-workers", type=click.IntRange(0),
                 help="Threads that decode, in each process [default: one a CPU]."),
    click.option("--executor", default="local", show_default=True, metavar="NAME",
                 help="Who makes partitions: local, processes or ray."),
    click.option("--workers", "processes", type=click.IntRange(1), help="Processes, or actors, at most."),
    click.option("--shard", metavar="I/N",
                 help="Make only every N-th partition, from the I-th on, counted from 0, in this process."),
)  # fmt: skip


@contextmanager
def executing(executor: str, processes: int | None, shard: str | None) -> Iterator[Executor]:
    """The executor that the options ask for; its workers are ended at the end.

    Raises:
      ConfigError: An unknown name, an engine that is not installed, or a shard that is not I/N.
    """
    import torch

    from auditor.config import ExecutionConfig
    from auditor.executors.build import EXECUTORS
    from auditor.executors.shard import ShardExecutor

    if shard is not None:
        part, slash, whole = shard.partition("/")
        if not (slash and part.isdecimal() and whole.isdecimal()):
            raise ConfigError("--shard", shard, "I/N, such as 0/8", "Count from 0 to N - 1.")
        if executor != "local" or processes is not None:
            got = f"--shard {shard} with --executor {executor}" + (f" --workers {processes}" if processes else "")
            raise ConfigError("options", got, "one of them: a shard is made in its own process", "Leave one out.")
        yield ShardExecutor(int(part), int(whole))
        return
    build = EXECUTORS[executor]  # an unknown name ends here
    config = ExecutionConfig.model_validate({"executor": executor, "workers": processes})
    with closing(build(config, torch.get_num_threads())) as found:
        yield found


def source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator that adds what `build` and `add` ask about a source."""
    for option in reversed(SOURCE_OPTIONS):
        command = option(command)
    return command


@click.group()
def index() -> None:
    """Embed a training set once, for the audits of many checkpoints (`auditor run --index DIR`).

    \b
    auditor index build shards --out index --size 64x64 --channels 3 --encoder sscd --weights sscd.onnx
    auditor index info index           what it holds, and whether decoding or the encoder bounded its speed
    auditor index verify index         every digest, norm, count and id
    auditor index add index more       images whose ids it does not have yet
    auditor index merge a b --out c    indexes made apart
    auditor index approximate index --out lookup   to look single records up, with its recall measured
    auditor index find index photo.png --approximate lookup
    """


index.add_command(approximate)
index.add_command(find)


@index.command()
@click.argument("source")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A new folder, or one to go on with.")
@click.option("--encoder", type=click.Choice(["pixel", "clip", "sscd"]), default="pixel", show_default=True)
@click.option("--model", help="clip: an open_clip name or local-dir:FOLDER; sscd: 288, 320, sscd or sscd_distilled.")
@click.option("--weights", type=click.Path(path_type=Path), help="clip, sscd: a file.")
@click.option("--size", metavar="HxW", required=True, help="Of the audited checkpoint's images.")
@click.option("--channels", type=click.Choice(["1", "3"]), required=True, help="The same.")
@click.option("--resize", is_flag=True, help="Bring images to that size and those channels.")
@source_options
def build(
    source: str, out: Path, encoder: str, model: str | None, weights: Path | None, size: str, channels: str,
    executor: str, processes: int | None, shard: str | None, decode_workers: int | None, **options: Any,
) -> None:  # fmt: skip
    """Embed SOURCE into OUT.

    SOURCE: a folder of images, webdataset tar, parquet, Arrow, npz (a file or a folder of them), a folder that Hugging
    Face datasets saved, or a URL (file, memory, zip, s3, gs, http ...; see the extra `remote`).

    Killed and started again with the same command, it goes on where it was.
    """
    config = EncoderConfig.model_validate({"name": encoder, "model": model, "weights": weights})

    from auditor.indexing import build_index  # torch loads only once the options are right

    options |= {"encoder": config, "size": pair(size), "channels": int(channels), "workers": decode_workers}
    with executing(executor, processes, shard) as found:
        show(build_index(source, out, **options, executor=found, progress=Terminal()))


@index.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.argument("source")
@source_options
def add(
    directory: Path, source: str, executor: str, processes: int | None, shard: str | None, decode_workers: int | None,
    **options: Any,
) -> None:  # fmt: skip
    """Embed those images of SOURCE whose ids the index DIRECTORY does not have yet."""
    from auditor.indexing import add_to_index

    with executing(executor, processes, shard) as found:
        options |= {"workers": decode_workers, "executor": found, "progress": Terminal()}
        show(add_to_index(directory, source, **options))


@index.command()
@click.argument("directories", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A new folder, or one to go on with.")
def merge(directories: tuple[Path, ...], out: Path) -> None:
    """Copy indexes of the same encoder and geometry, without an id in common, into OUT."""
    from auditor.indexing import merge_indexes

    show(merge_indexes(directories, out, progress=Terminal()))


@index.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Everything, as JSON.")
def info(directory: Path, as_json: bool) -> None:
    """What an index holds. Only its ledger is read; `verify` reads its files."""
    from auditor.indexing import index_info

    found = index_info(directory)
    if as_json:
        click.echo(found.model_dump_json(indent=1))
    else:
        show(found)


@index.command()
@click.argument("directory", type=click.Path(path_type=Path))
def verify(directory: Path) -> int:
    """Read the whole index and name everything that is wrong with it. Ends with 0 if nothing is, else with 2."""
    from auditor.indexing import verify_index

    faults = verify_index(directory)
    for fault in faults:
        click.echo(printable(fault))
    if not faults:
        click.echo(f"{printable(directory)}: whole")
    return EXIT_ERROR if faults else EXIT_PASS


def show(found: IndexInfo) -> None:
    """An index in a few lines."""
    shape = found.shape
    lines = [
        ("index", found.path),
        ("digest", found.digest or f"none before it is complete: {len(found.missing)} partitions missing"),
        ("encoder", f"{found.encoder.name}: {found.encoder.detail}; {found.encoder.dim} dimensions"),
        ("images as", f"{shape.channels} x {shape.height} x {shape.width}{', resized' if shape.resize else ''}"),
        *(("source", source) for source in found.sources),
        ("images", f"{found.images:,} of {found.planned:,}, partitions: {found.partitions:,}"),
    ]
    if found.unreadable:
        name, reason = found.unreadable_first[0]
        lines.append(("unreadable", f"{found.unreadable:,} (first: {name}: {reason})"))
    if found.bottleneck:
        seconds = f"{found.encoding:,.1f} s in the encoder, {found.waiting:,.1f} s waiting for decoded images"
        lines.append(("bottleneck", f"{found.bottleneck}: {seconds}"))
    for title, text in lines:
        click.echo(f"{title:<11}{printable(text)}")
