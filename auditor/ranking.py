"""Ranking prompts by how much a checkpoint seems to know them by heart: no pictures made, no training data needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import torch

from auditor.checkpoint.load import load
from auditor.checkpoint.scan import scan
from auditor.data.prompts import read_prompts
from auditor.errors import ConfigError
from auditor.probes import draw_salt, root_seed
from auditor.progress import Progress, Silent
from auditor.ranking_config import OPENED, RankingConfig
from auditor.report.leaflet import write_leaflet
from auditor.report.pages import Images, known_images
from auditor.report.prompts import prompts_leaflet
from auditor.stages.environment import environment
from auditor.stages.prompt_base import OnBase, beside_base, common_detectors, open_base, opened_as
from auditor.stages.prompt_record import Sides, assemble, illustrate
from auditor.stages.prompts import Listed, describe_list, list_prompts, score_list
from auditor.store.digest import value_digest
from auditor.store.prompts import PromptRanking
from auditor.store.run_directory import RunDirectory, write_json

FILE = "prompts.json"
APART = OPENED | {"adapter", "adapter_scale", "base", "config"}  # the digests of checkpoints have them
Given = Path | str | Sequence[str]


def rank_prompts(
    checkpoint: Path | str,
    prompts: Given,
    run_dir: Path | str,
    *,
    controls: Given | None = None,
    asked: RankingConfig | None = None,
    progress: Progress | None = None,
    images: Images | str = "full",
) -> PromptRanking:
    """Rank prompts by detectors of memorisation, and call those that stand out beside control prompts.

    A detector alone cannot call: what it measures depends on a prompt's length and style too. With controls, prompts
    that the checkpoint was surely not trained on and that are of the same length and style, such as held-out captions,
    calls keep the share of false ones at ``asked.alpha``; without, prompts are ranked and none is called. Writes
    prompts.json, prompts.html and prompts.md. Killed and called again, it goes on where it was.

    With ``asked.base``, what the checkpoint was fine-tuned from, prompts are scored on both under the same noises, and
    called ones are told apart: added by the fine-tune, or known to its base already
    (:func:`auditor.prompts.contrast.contrast`).

    Args:
      checkpoint: Folder of a text-to-image checkpoint, or a single .safetensors file with ``asked.config``.
      prompts: A file (see :func:`auditor.data.prompts.read_prompts`) or the texts.
      run_dir: A new folder, or that of an earlier call with the same arguments.
      controls: Likewise; None = none.
      asked: Detectors, noises, level, the base of a fine-tune.
      progress: Where stages report how far they are; silent by default.
      images: ``full``, or ``none`` to leave pictures out of the reports.

    Raises:
      ConfigError: Not a text-to-image checkpoint; no prompts, or empty ones only; more steps than training times; a
        base that does not fit.
      AuditError: See :mod:`auditor.errors`; nothing finished so far is lost.
    """
    show, chosen, asked = progress or Silent(), known_images(images), asked or RankingConfig()
    texts = texts_of(prompts, asked.column)
    against = None if controls is None else texts_of(controls, asked.column)
    path = Path(checkpoint)
    refuse_idle_config(asked, path)
    fused = replace(opened_as(asked, path), adapter=asked.adapter, adapter_scale=asked.adapter_scale)
    scanned = scan(path, allow_pickle=asked.allow_pickle, asked=fused)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    loaded = load(scanned, device=device)
    bound = loaded.with_prompts(texts).denoiser  # refuses a checkpoint without text
    if asked.steps > len(bound.schedule):
        expected = f"at most {len(bound.schedule)}, the checkpoint's training times"
        raise ConfigError("steps", asked.steps, expected, "Take fewer steps.")
    base = open_base(asked, loaded, device)
    detectors, left_out = common_detectors([loaded] if base is None else [loaded, base], asked)

    listed = list_prompts(bound, texts)
    empty = list_prompts(bound, [""])[0].seen
    tested = [one for one in listed if one.seen != empty]
    if not tested:
        raise ConfigError("prompts", "empty prompts only", "prompts with words in them", "Correct the list.")
    pool = list_prompts(bound, against or [])
    kept = without(pool, {empty, *(one.seen for one in tested)})

    specification = {
        "prompts": value_digest(texts), "controls": None if against is None else value_digest(against),
        "asked": asked.model_dump(mode="json", exclude=set(APART)),
        "tool": version("diffusion-auditor"), "checkpoint": scanned.digest,
        **({} if base is None else {"base": base.info.digest}),
    }  # fmt: skip
    run = RunDirectory.open(Path(run_dir), specification, asked.salt or draw_salt())
    seed = root_seed(run.salt, scanned.digest)
    scored = [one.prompt for one in (*tested, *kept)]
    scores = score_list(run, loaded, scored, detectors, asked, seed, device, show)
    sides = Sides(listed, tested, kept, overlapping=len(pool) - len(kept), given=against is not None)
    found = assemble(sides, scores, detectors, left_out, asked, seed)
    if base is not None:
        on_base = score_list(run, base, scored, detectors, asked, seed, device, show, under="prompts/base")
        found = beside_base(found, sides, scores, OnBase(base.info, on_base), loaded.info, asked.alpha)
    ranking = PromptRanking(
        tool_version=version("diffusion-auditor"),
        digest=value_digest(specification),
        started=run.started,
        seconds=run.seconds,
        environment=environment(device),
        asked=asked.model_dump(mode="json"),
        checkpoint=loaded.info,
        tested=describe_list(source_of(prompts), texts, listed),
        controls=None if controls is None else describe_list(source_of(controls), against or [], pool),
        seed_pinned=asked.salt is not None,
        salt=run.salt,
        alpha=asked.alpha,
        evaluations=scores.made,
        **found,
    )
    ranking = illustrate(ranking, run, loaded, asked, seed, device)
    write_json(run.path / FILE, ranking.model_dump(mode="json"))
    write_leaflet(prompts_leaflet(ranking), run.path, "prompts", images=chosen)
    return ranking


def refuse_idle_config(asked: RankingConfig, checkpoint: Path) -> None:
    """Raise ConfigError if a single file's configuration is given, and nothing is a single file."""
    if asked.config is not None and not any(path.is_file() for path in (checkpoint, asked.base) if path is not None):
        got, expected = "one for folders", "none, since they have their own"
        raise ConfigError("config", got, expected, "Remove the option, or correct the path of the file.")


def texts_of(given: Given, column: str | None) -> list[str]:
    """The prompts of a file, or those given."""
    if isinstance(given, (str, Path)):
        return read_prompts(Path(given), column)
    if not given:
        raise ConfigError("prompts", "none", "at least one", "Give prompts.")
    return [str(text).strip() for text in given]


def source_of(given: Given) -> str:
    """A path, or that the texts came from Python."""
    return str(given) if isinstance(given, (str, Path)) else "given"


def without(pool: Sequence[Listed], others: set[str]) -> list[Listed]:
    """Controls that are neither empty nor tested."""
    return [one for one in pool if one.seen not in others]
