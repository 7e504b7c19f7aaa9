"""What a fine-tuning did: the base's and the fine-tune's answers among the images that the fine-tuning was on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from auditor.comparison_config import ComparisonConfig
from auditor.regime.landing import Landing, land
from auditor.regime.moved import moved
from auditor.stages.comparison.columns import Answers, MadeColumn
from auditor.stages.comparison.landings import Landed, has_row
from auditor.stages.comparison.regimes import Regimes
from auditor.stages.comparison.reproduce import EmbeddedColumns
from auditor.stages.prompt_list import Prompts
from auditor.store.comparison import Moved


def moved_probes(
    answers: Sequence[Answers],
    embedded: EmbeddedColumns,
    found: Regimes,
    config: ComparisonConfig,
    asked: Prompts | None,
) -> list[Moved]:
    """For every model that names its base, under every encoder and sampler: which probes moved onto its images."""
    columns = [answer.checkpoint for answer in answers]
    results = []
    for landed in found.landed:
        base = base_of(landed.column, columns)
        if base is not None:
            results.append(moved_between(landed, base, embedded, config.level, asked))
    return results


def base_of(tuned: MadeColumn, columns: Sequence[MadeColumn]) -> MadeColumn | None:
    """The column of the model that ``tuned`` was fine-tuned from, under the same sampler."""
    named = tuned.model.config.base
    same = (c for c in columns if c.model.name == named and c.config.sampler == tuned.config.sampler)
    return next(same, None) if named is not None else None


def moved_between(
    tuned: Landed, base: MadeColumn, embedded: EmbeddedColumns, level: float, asked: Prompts | None
) -> Moved:
    """One base and one fine-tune on the probes that both answered."""
    probes, rows, base_rows = np.intersect1d(tuned.probes, base.generations.probe, return_indices=True)
    vectors = embedded.of(tuned.encoder, base)[base_rows]
    before = land(np.ascontiguousarray(vectors), tuned.real.pool.embeddings, tuned.group)
    after = Landing(
        *(np.asarray(getattr(tuned.landing, name))[rows] for name in ("item", "on_item", "similarity", "row"))
    )
    training = has_row(tuned.group[: tuned.real.pool.training], int(tuned.group.max()) + 1)
    names = (base.name, tuned.column.name)
    prompt = None if asked is None else asked.of_probes(probes)
    return moved(before, after, training, probes, encoder=tuned.encoder, names=names, level=level, prompt=prompt)
