"""`auditor index approximate`: looking single records up among millions and more."""

from __future__ import annotations

from pathlib import Path

import click

from auditor.cli.display import Terminal, printable


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A new folder.")
@click.option(
    "--factory",
    default="auto",
    show_default=True,
    help="By size and memory, or a FAISS factory string: IVF4096,SQ8 or OPQ32,IVF65536_HNSW32,PQ32.",
)
@click.option(
    "--memory",
    "gigabytes",
    type=click.FloatRange(min=0, min_open=True),
    default=8,
    show_default=True,
    help="GB that the finished index may take.",
)
@click.option(
    "--search-lists",
    "probes",
    type=click.IntRange(1),
    help="Lists that a query searches [default: a 64th of them, at least 16].",
)
@click.option("--neighbours", type=click.IntRange(1), default=1, show_default=True, help="k of the recall measured.")
@click.option(
    "--queries",
    type=click.IntRange(1),
    default=1_000,
    show_default=True,
    help="Rows looked up to measure recall; one exact pass serves them all.",
)
@click.option("--policy", type=click.Path(path_type=Path), help="What recall has to be [default: built in].")
def approximate(
    directory: Path, out: Path, factory: str, gigabytes: float, probes: int | None, neighbours: int, queries: int,
    policy: Path | None,
) -> None:  # fmt: skip
    """Build an approximate index of the index DIRECTORY, and measure how many nearest rows it finds.

    `auditor index find DIRECTORY IMAGE --approximate OUT` searches it; audits, and `auditor lookup` in them, are exact.
    """
    from auditor.policy import read_policy, recall_rule

    required = read_policy(policy)

    from auditor.indexing.approximate import build_lookup

    index = build_lookup(
        directory, out, factory=factory, memory_bytes=int(gigabytes * 1e9), probes=probes, neighbours=neighbours,
        queries=queries, progress=Terminal(),
    )  # fmt: skip
    manifest, recall = index.manifest, index.recall(min(neighbours, max(1, len(index) - 1)))
    ruled = recall_rule(recall, required)
    lists = f", {manifest.probes:,} lists searched" if manifest.probes else ": exact search"
    for title, text in (
        ("index", f"{out}: {manifest.factory}{lists}"),
        ("rows", f"{manifest.rows:,} of {manifest.dim} dimensions, {manifest.training_rows:,} of them to train"),
        ("recall", f"{ruled.outcome}: {ruled.reasons[0]}"),
        *(("remedy", remedy) for remedy in ruled.remedies),
    ):
        click.echo(f"{title:<8}{printable(text)}")
