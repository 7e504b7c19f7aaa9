"""One shard's part of an audit, for schedulers that start one command many times; `auditor run` then finishes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from auditor.config import AuditConfig
from auditor.encoders.views import names_of
from auditor.errors import ConfigError
from auditor.executors import ShardExecutor
from auditor.progress import Progress, Silent
from auditor.stages.copies import search_every_encoder
from auditor.stages.embed import Embedded, embed_everything, embed_sets
from auditor.stages.generate import Made, generate_all
from auditor.stages.membership import test_membership
from auditor.stages.pieces import Share, Unfinished
from auditor.stages.pool import deal_holdout
from auditor.stages.reopen import Opened, begin
from auditor.stages.searching import best_of_pool
from auditor.stages.slices import HeldOut


def work(
    config: AuditConfig,
    run_dir: Path | str,
    shard: ShardExecutor,
    *,
    stage: str | None = None,
    progress: Progress | None = None,
) -> Mapping[str, int]:
    """Make one shard's pieces of an audit, as far as the other shards' are there.

    Generations and both sets' embeddings need nothing from other shards. Whatever comes later needs all of what came
    before, and is made when the same command is given again. What only one process can do, such as the copy decision
    before membership, every shard does for itself, to the same result.

    Args:
      config: What to audit and how. Bits are the same only with as many CPU threads everywhere: set ``threads`` where
        machines differ.
      run_dir: A new folder, or that of an earlier run of the same audit; all shards share it.
      shard: Which pieces are this process's.
      stage: One of "generate", "embed", "search", "membership"; None = all, as far as possible.
      progress: Where stages report how far they are; silent by default.

    Returns:
      By kind of piece, how many other shards still have to make before this one can go on; empty if it made all it can.

    Raises:
      AuditError: See :func:`auditor.run`; or the stage asked for needs pieces of other shards that are not there.
    """
    if stage is not None and stage not in STAGES:
        raise ConfigError("stage", repr(stage), f"one of {', '.join(STAGES)}", "Correct the name.")
    opened = begin(config, Path(run_dir), survey=False)
    shared = replace(opened, inputs=replace(opened.inputs, spread=Share(shard)))
    left: dict[str, int] = {}
    for name in [stage] if stage else STAGES:
        try:
            STAGES[name](shared, progress or Silent())
        except Unfinished as error:
            if stage is not None and error.stage in list(STAGES)[: list(STAGES).index(stage)]:
                raise  # what the stage needs is not there
            left[error.stage] = error.pieces
            if name != "generate":
                break
    return left


def generate(opened: Opened, show: Progress) -> Made:
    """The checkpoint's generations and the memorizer's."""
    return generate_all(opened.run, opened.inputs, opened.config.generation, opened.seed, show)


def embed(opened: Opened, show: Progress) -> tuple[Made, list[Embedded]]:
    """Both sets, then what was generated."""
    with suppress(Unfinished):  # raised again below, with what was generated
        embed_sets(opened.run, opened.inputs, show)
    made = generate(opened, show)
    views = names_of(opened.config.copies.views)
    return made, embed_everything(opened.run, opened.inputs, made, views, show)


def search(opened: Opened, show: Progress) -> tuple[Made, list[Embedded], HeldOut]:
    """Every image's nearest generation, under all encoders."""
    made, embedded = embed(opened, show)
    held_out = deal_holdout(opened.inputs, embedded[0], opened.seed)
    best_of_pool(opened.run, opened.inputs, embedded, held_out, made.key, show)
    return made, embedded, held_out


def membership(opened: Opened, show: Progress) -> None:
    """The attacks, once the copy decision has said which images are near-duplicates."""
    made, embedded, held_out = search(opened, show)
    run, inputs, config, seed = opened.run, opened.inputs, opened.config, opened.seed
    searches = search_every_encoder(run, inputs, made, embedded, held_out, config, seed, show)
    test_membership(run, inputs, embedded[0], searches, held_out, config, seed, show)


STAGES: Mapping[str, Callable[[Opened, Progress], object]] = {
    "generate": generate, "embed": embed, "search": search, "membership": membership
}  # fmt: skip
