"""The steps of looking images up in a finished audit: what was asked for, its embeddings, and what surrounds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from auditor.copies.lookup import LISTED, listed, survey_surroundings
from auditor.data.base import Geometry, Payload
from auditor.data.decode import MAX_BYTES, Unreadable, decode, stored_shape
from auditor.data.survey import pixel_digest
from auditor.encoders.base import Encoder
from auditor.encoders.views import MIRROR, view
from auditor.errors import DataError
from auditor.search.exact import nearest_neighbours
from auditor.stages.finished import Finished
from auditor.store.lookup import CopyFound, Kind, LookedUnder, LookedUp, RecordScore
from auditor.store.record import Competition, Neighbour

BATCH = 64
TIERS = {"verbatim": 2, "certified": 1, "suspect": 0}


@dataclass(frozen=True)
class Asked:
    """One image that someone asked for."""

    text: str
    kind: Kind
    row: int | None = None  # in its set, for ids
    pixels: NDArray[np.uint8] | None = None  # [C H W], for files
    stored_as: str | None = None
    digest: bytes | None = None
    unscored: str | None = None


def understand(finished: Finished, texts: Sequence[str]) -> list[Asked]:
    """Files first, then training ids, then held-out ids; what is none of them is said to be so, and stops nothing."""
    train = {name: row for row, name in enumerate(finished.train.ids)}
    holdout = {name: row for row, name in enumerate(finished.holdout.ids)}
    asked = []
    for text in texts:
        if _is_file(text):
            asked.append(read_file(text, finished.geometry))
        elif text in train:
            row = train[text]
            asked.append(Asked(text, "training id", row, digest=finished.train.digests[row]))
        elif text in holdout:
            row = holdout[text]
            asked.append(Asked(text, "held-out id", row, digest=finished.holdout.digests[row]))
        else:
            asked.append(Asked(text, "unknown", unscored="no such file, and no image of either set has this id"))
    return asked


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # a name too long, or with a zero byte
        return False


def read_file(text: str, geometry: Geometry) -> Asked:
    """An image file in the audit's size and channels; larger ones are reduced, as a training would have done."""
    path = Path(text)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise Unreadable(f"{path.stat().st_size} bytes, over the limit of {MAX_BYTES}")
        payload = Payload(path.read_bytes())
        channels, height, width = stored_shape(payload)
        fitting = Geometry(geometry.channels, geometry.height, geometry.width, resize=True)
        pixels = decode(text, payload, fitting)
    except (Unreadable, DataError, OSError) as error:
        return Asked(text, "file", unscored=f"not readable: {error}")
    same = (channels, height, width) == (geometry.channels, geometry.height, geometry.width)
    stored = None if same else f"{channels} channel{'s' if channels > 1 else ''} of {height}x{width}"
    return Asked(text, "file", pixels=pixels, stored_as=stored, digest=pixel_digest(pixels)[:16])


def vectors_of(
    finished: Finished, asked: Sequence[Asked], name: str, encoder: Encoder | None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(vectors of all, vectors of the mirrored files): stored ones for ids, new ones for files."""
    stored: dict[Kind, Any] = {
        "training id": finished.vectors(name, "train"),
        "held-out id": finished.vectors(name, "holdout"),
    }
    dim = stored["training id"].shape[1]
    vectors = np.zeros((len(asked), dim), np.float32)
    files = [place for place, one in enumerate(asked) if one.pixels is not None]
    mirrored = np.zeros((len(files), dim), np.float32)
    for place, one in enumerate(asked):
        if one.row is not None:
            vectors[place] = stored[one.kind][np.array([one.row])][0]
    for start in range(0, len(files), BATCH):
        places = files[start : start + BATCH]
        pixels = np.stack([one.pixels for one in (asked[place] for place in places) if one.pixels is not None])
        assert encoder is not None
        vectors[places] = encoder(pixels)
        mirrored[start : start + BATCH] = encoder(view(pixels, MIRROR))
    return vectors, mirrored


def look_under(
    finished: Finished, asked: Sequence[Asked], competition: Competition, encoder: Encoder | None
) -> list[LookedUnder]:
    """Every image under one encoder, in the order asked.

    Args:
      encoder: Needed for files; ids have their embeddings.
    """
    name, threshold = competition.encoder, competition.duplicate_threshold
    vectors, mirrored = vectors_of(finished, asked, name, encoder)
    train, holdout = finished.vectors(name, "train"), finished.vectors(name, "holdout")
    around = survey_surroundings(vectors, train, holdout, np.asarray(finished.vectors(name, "generations")), threshold)
    turned = nearest_neighbours(mirrored, train, LISTED) if len(mirrored) else None
    order = {place: at for at, place in enumerate(p for p, one in enumerate(asked) if one.pixels is not None)}
    ids, held_ids = finished.train.ids, finished.holdout.ids
    found = []
    for row in range(len(asked)):
        near = listed(around.training, row, threshold, ids)
        also = listed(turned, order[row], threshold, ids) if turned is not None and row in order else []
        nearest = Neighbour(id=ids[around.training.index[row, 0]], similarity=float(around.training.similarity[row, 0]))
        held = None
        if around.holdout.index.shape[1]:
            held = Neighbour(
                id=held_ids[around.holdout.index[row, 0]], similarity=float(around.holdout.similarity[row, 0])
            )
        found.append(
            LookedUnder(
                encoder=name,
                resolving=competition.resolving,
                threshold=threshold,
                near=[Neighbour(id=one, similarity=similarity) for one, similarity in near],
                near_mirrored=[Neighbour(id=one, similarity=similarity) for one, similarity in also],
                nearest=nearest,
                nearest_holdout=held,
                nearest_other=float(around.other[row]),
                probe=int(finished.probe[around.generation[row]]),
                similarity=float(around.similarity[row]),
                probes_landing=int(around.landing[row]),
                holdout=int(around.rivals[row]),
                holdout_as_near=int(around.as_near[row]),
                p_value=float(around.p_value[row]),
            )
        )
    return found


def membership_rows(finished: Finished) -> dict[str, RecordScore]:
    """Every row of membership.parquet by id; empty where membership was not tested."""
    membership = finished.record.membership
    file = finished.run.path / (membership.records.file if membership and membership.records else "")
    if not file.is_file():
        return {}
    rows = pq.read_table(file).to_pylist()
    return {
        row["id"]: RecordScore(
            id=row["id"],
            slice=row["slice"],
            scores={key.removeprefix("score_"): value for key, value in row.items() if key.startswith("score_")},
            p_value=row["p_value"],
            q_value=row["q_value"],
        )
        for row in rows
    }


def copies_by_id(finished: Finished) -> dict[str, CopyFound]:
    """The strongest copy evidence by training id; that of encoders that do not resolve only where it is verbatim."""
    found: dict[str, CopyFound] = {}
    for competition in finished.record.copies:
        for evidence in competition.evidence:
            if not competition.resolving and evidence.tier != "verbatim":
                continue
            for name in evidence.members:
                if name not in found or TIERS[evidence.tier] > TIERS[found[name].tier]:
                    found[name] = CopyFound(
                        encoder=competition.encoder, tier=evidence.tier, id=name, probe=evidence.probe,
                        similarity=evidence.similarity, q_value=evidence.q_value,
                    )  # fmt: skip
    return found


def assemble(
    finished: Finished,
    asked: Sequence[Asked],
    under: Mapping[int, list[LookedUnder]],
    scores: Mapping[str, RecordScore],
) -> list[LookedUp]:
    """One answer per image asked for.

    Args:
      under: By place in ``asked``.
      scores: See :func:`membership_rows`.
    """
    train, holdout = finished.train.rows_by_digest(), finished.holdout.rows_by_digest()
    copies, answers = copies_by_id(finished), []
    for place, one in enumerate(asked):
        rows, held = (side.get(one.digest, []) if one.digest else [] for side in (train, holdout))
        exact = [finished.train.ids[row] for row in rows]
        seen = under.get(place, [])
        like = dict.fromkeys([*exact, *(near.id for each in seen if each.resolving for near in each.near)])
        evidence = [copies[name] for name in like if name in copies]
        answers.append(
            LookedUp(
                asked=one.text,
                kind=one.kind,
                stored_as=one.stored_as,
                exact=exact,
                exact_holdout=[finished.holdout.ids[row] for row in held],
                under=seen,
                membership=[scores[name] for name in like if name in scores],
                copy_found=max(evidence, key=lambda copy: TIERS[copy.tier], default=None),
                unscored=one.unscored,
            )
        )
    return answers
