"""Where a checkpoint's answers and its memorizers' land among the real images, under one encoder."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from auditor.comparison_config import ComparisonConfig
from auditor.data.captions import stated_class
from auditor.regime.agreement import Reached, memorizer_agreement
from auditor.regime.clusters import cluster_shares
from auditor.regime.gl import gl_published, gl_score, nearest_similarity, plausible
from auditor.regime.landing import Landing, item_of, land
from auditor.search.outside import nearest_outside_group
from auditor.stages.comparison.columns import SAME_SIZE, Answers, MadeColumn
from auditor.stages.comparison.decided import Decided
from auditor.stages.comparison.real_images import RealImages, captions_of, clusters_of
from auditor.stages.comparison.reproduce import EmbeddedColumns
from auditor.store.digest import value_digest
from auditor.store.parts import Estimate
from auditor.store.regime import MemorizerAgreement
from auditor.store.run_directory import RunDirectory

HELD_OUT_SAMPLE = 2_000  # held-out images whose nearest other real image says what is plausible


@dataclass(frozen=True)
class Landed:
    """Where one column's answers land among the real images of its checkpoint, under one encoder."""

    column: MadeColumn
    encoder: str
    real: RealImages
    group: NDArray[np.int64]  # [N] duplicate group of each real image
    probes: NDArray[np.int64]  # [G] that the checkpoint and its memorizers all answered
    landing: Landing
    memorizer: NDArray[np.int64] | None  # [G] item that the memorizer reaches; None where there is none


class Judge:
    """One column under one encoder; every piece of work is in the run directory once it is done.

    ``decision`` makes the copy decision when it is first needed; ``significance`` is the error that each of the
    column's two tests is allowed (:func:`auditor.regime.shares.significance`).
    """

    def __init__(
        self,
        run: RunDirectory,
        answer: Answers,
        embedded: EmbeddedColumns,
        name: str,
        real: RealImages,
        config: ComparisonConfig,
        seed: str,
        decision: Callable[[], Decided],
        significance: float,
    ) -> None:
        self.run, self.answer, self.embedded, self.real = run, answer, embedded, real
        self.name, self.config, self.seed, self.significance = name, config, seed, significance
        columns = [c for c in (answer.checkpoint, answer.memorizer, answer.control) if c is not None]
        self.probes = functools.reduce(np.intersect1d, [column.generations.probe for column in columns])
        self.key = {
            "columns": [column.key for column in columns], "real": real.key, "split": config.data.split,
            "level": config.level, "seed": seed,
        }  # fmt: skip
        self.stage = f"{name}/{value_digest(self.key)[:16]}"
        self.decision = functools.cache(decision)

    def vectors(self, column: MadeColumn) -> NDArray[np.float32]:
        """A column's vectors on the probes that all of them answered."""
        rows = np.searchsorted(column.generations.probe, self.probes)
        return self.embedded.of(self.name, column)[rows]

    def copies(self) -> dict[str, Any]:
        """What the copy competition certifies, and whether the encoder resolves."""
        key = self.key | {"significance": self.significance}
        found: dict[str, Any] = self.run.value(f"regimes/{self.stage}/copies", key, lambda: self.decision().plain())
        return found

    def notes(self) -> list[str]:
        """Sentences about this checkpoint's images that someone should look at."""
        model, notes = self.answer.checkpoint.model, list(self.copies()["notes"])
        classes = model.checkpoint.num_classes
        if classes is not None and None in {stated_class(c, classes) for c in captions_of(self.run, self.real.train)}:
            notes.append("the training images state no class numbers, so that the memorizer knows no classes.")
        return [f"{model.name}, {self.name}: {note}" for note in notes]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Where answers land, what the memorizers reach, and how near real images are."""

        def compute() -> dict[str, NDArray[Any]]:
            real, group, own = self.real, self.decision().group, self.vectors(self.answer.checkpoint)
            landing = land(own, real.pool.embeddings, group)
            found = {
                "group": group, "item": landing.item, "on_item": landing.on_item, "similarity": landing.similarity,
                "row": landing.row, "to_training": nearest_similarity(own, real.training_vectors),
            }  # fmt: skip
            if self.answer.memorizer is not None:
                reached = self.vectors(self.answer.memorizer)
                row = item_of(reached, real.training_vectors, np.arange(real.pool.training))
                found |= {"memorizer": group[row], "memorizer_row": row}
            if self.answer.control is not None:
                found |= self._control(group, own)
            if real.holdout is not None:
                found["between_real"] = self._between_real(group)
            return found

        return self.run.arrays(f"regimes/{self.stage}/landing", self.key, compute)

    def _control(self, group: NDArray[np.int64], own: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        """The same against as many held-out images as there are training images."""
        assert self.answer.control is not None
        rows = np.unique(self.real.rows_of_holdout(self.answer.control_ids))
        vectors = np.ascontiguousarray(self.real.pool.embeddings[rows])
        found: dict[str, NDArray[Any]] = {
            "control": item_of(self.vectors(self.answer.control), vectors, group[rows]),
            "control_rows": rows,
        }
        # the nearest of fewer images is less near: a calibrated threshold takes sets of one size
        if len(rows) >= SAME_SIZE * self.real.train.info.distinct:
            found["to_control"] = nearest_similarity(own, vectors)
        return found

    def _between_real(self, group: NDArray[np.int64]) -> NDArray[np.float64]:
        """Held-out images' similarity to their nearest other real image, an evenly spaced sample of them."""
        first, last = self.real.pool.training, len(group)
        rows = np.unique(np.linspace(first, last - 1, min(HELD_OUT_SAMPLE, last - first)).astype(np.int64))
        return nearest_outside_group(rows, self.real.pool.embeddings, group).similarity

    def landed(self) -> Landed:
        """Where the column's answers land."""
        found = self.arrays()
        landing = Landing(found["item"], found["on_item"], found["similarity"], found["row"])
        return Landed(
            self.answer.checkpoint, self.name, self.real, np.asarray(found["group"]), self.probes, landing,
            found.get("memorizer"),
        )  # fmt: skip

    def agreement(self) -> MemorizerAgreement:
        """The column against its memorizer, as the record holds it; there must be one."""
        found, level, n = self.arrays(), self.config.level, self.real.pool.training
        group, copies = np.asarray(found["group"]), self.copies()
        items = int(group.max()) + 1
        control_set = has_row(group[found["control_rows"]], items) if "control" in found else None
        landing = self.landed().landing
        cluster, names = clusters_of(self.run, self.real, self.config, self.seed)
        by_cluster = cluster_shares(
            landing.landed, np.asarray(found["memorizer"]), cluster[found["memorizer_row"]], names, level=level
        )
        between = found.get("between_real", np.empty(0))
        return memorizer_agreement(
            Reached(
                landing=landing.landed,
                memorizer=np.asarray(found["memorizer"]),
                control=np.asarray(found["control"]) if "control" in found else None,
                training=has_row(group[:n], items),
                holdout=has_row(group[n:], items),
                control_set=control_set,
            ),
            encoder=self.name,
            column=self.answer.checkpoint.name,
            resolving=bool(copies["resolving"]),
            plausible=plausible(landing.similarity, between, level=level),
            gl_published=gl_published(found["to_training"], level=level),
            gl=gl_score(found["to_training"], found.get("to_control"), level=level),
            certified=copies["certified"],
            lower_bound=Estimate.model_validate(copies["lower_bound"]),
            shared_bound=Estimate.model_validate(copies["shared_bound"]),
            significance=self.significance,
            clusters=by_cluster,
            level=level,
        )


def has_row(groups: NDArray[np.int64], items: int) -> NDArray[np.bool_]:
    """Bool[items]: which items these rows belong to."""
    present = np.zeros(items, np.bool_)
    present[groups] = True
    return present


def probe_table(landed: Landed) -> pa.Table:
    """One row per probe of a column."""
    landing, n, memorizer = landed.landing, landed.real.pool.training, landed.memorizer
    ids = np.array(landed.real.pool.ids, dtype=object)
    training_row = {int(item): row for row, item in reversed(list(enumerate(landed.group[:n])))}
    return pa.table(
        {
            "column": [landed.column.name] * len(landed.probes),
            "encoder": [landed.encoder] * len(landed.probes),
            "probe": landed.probes,
            "nearest": ids[landing.row],
            "nearest_is_training": landing.row < n,
            "similarity": landing.similarity,
            "lands": landing.on_item,
            "memorizer_reaches": pa.array(
                [None] * len(landed.probes) if memorizer is None else [ids[training_row[int(i)]] for i in memorizer],
                pa.string(),
            ),
            "agrees": pa.array(
                [None] * len(landed.probes) if memorizer is None else landing.on_item & (landing.item == memorizer),
                pa.bool_(),
            ),
        }
    )
