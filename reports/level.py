"""Is the list of copies of fixtures/twemoji as clean as it says? ``python reports/level.py`` (an hour).

Of what an audit certifies, at most a tenth on average should be by chance. Which pictures the checkpoint saw often is
known: 40, as against 800 that it saw once and 514 held out. Two things are measured, in reports/level.md:

- The audit is repeated under other salts: other noise, captions and slices of the held-out pictures.
- On the generations of each, the labels of all pictures but the 40 are dealt anew. A level is a promise about how
  training and held-out pictures were dealt, and a single deal may be unlucky; over many deals it must hold.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import auditor
from auditor.cli.display import Terminal
from auditor.config import AuditConfig, EncoderConfig
from auditor.copies.compete import compete
from auditor.copies.decide import decide
from auditor.copies.pool import Pool
from auditor.copies.queries import queries_of
from auditor.data import Geometry, open_source
from auditor.encoders.pixel import build_pixel
from auditor.encoders.views import MIRROR, view
from auditor.stats.intervals import clopper_pearson
from auditor.store.record import Record
from auditor.validity.planted import embed_planted, sample_originals

ROOT = Path(__file__).parent.parent
FIXTURE = Path("fixtures") / "twemoji"
DEALS = 2_000
REPEATED = 40
HEADER = (
    "| salt | certified | of them repeated | seen once | X (95%) "
    "| dealt anew: wrong among certified | as wrong as observed | X above 40 |",
    "|---|--:|--:|--:|--:|--:|--:|--:|",
)


INTRODUCTION = f"""\
# Is the list of copies as clean as it says?

`python reports/level.py` makes this page from `fixtures/twemoji`: 40 pictures were trained on 96 times, 800 once, 514
not at all. At a nominal false discovery rate of 0.10 the 40 are certified, or nearly, and some that were seen once.
These are plain pictures (a circle, a square, a stop sign), which a blurred generation resembles whatever was learnt.
A level is a promise about how pictures were dealt to the two sets; they were dealt once, before training, so that other
noise and other captions meet the same plain ones again.

So labels are dealt anew, {DEALS:,} times on the generations of each audit, among all pictures but the 40. On average
over deals the wrong share must be at most 0.10, and X may exceed the 40 that are there in at most 5%. *As wrong as
observed* is the share of deals whose list is as wrong as the audit's own: below 5%, pictures seen once would be
favoured by more than chance.
"""


@dataclass(frozen=True)
class Items:
    """What an audit knows of every picture before labels are read, and the truth about it; one entry a picture."""

    score: NDArray[np.float64]
    is_hit: NDArray[np.bool_]
    is_repeated: NDArray[np.bool_]
    is_training: NDArray[np.bool_]


@dataclass(frozen=True)
class Dealt:
    """What competitions over dealt labels found, one entry a deal."""

    false_share: NDArray[np.float64]  # of those certified; 0 where none is
    lower_bound: NDArray[np.int64]


def main() -> None:
    """Audit, deal, and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--salts", type=int, default=6, help="besides the reference audit's")
    salts: int = parser.parse_args().salts
    os.chdir(ROOT)
    runs = {"fixtures": Path("runs") / "reference-twemoji"}
    runs |= {f"fixtures-{number}": Path("runs") / f"level-{number}" for number in range(1, salts + 1)}
    rows, found = [], []
    for salt, run_dir in runs.items():
        record = auditor.run(asked(salt), run_dir, progress=Terminal())
        row, dealt = described(salt, record, run_dir)
        rows.append(row)
        found.append(dealt)
    (ROOT / "reports" / "level.md").write_text("\n".join([INTRODUCTION, *HEADER, *rows, "", *conclusion(found), ""]))
    print("reports/level.md")


def asked(salt: str) -> AuditConfig:
    """The reference audit, or that of copies alone under another salt; a finished one in runs/ is not done again."""
    config = auditor.read_config(FIXTURE / "audit.toml")
    if salt == config.generation.salt:
        return config
    generation = config.generation.model_copy(update={"salt": salt})
    membership = config.membership.model_copy(update={"enabled": False})
    return config.model_copy(update={"generation": generation, "membership": membership})


def described(salt: str, record: Record, run_dir: Path) -> tuple[str, Dealt]:
    """One line of the table, and what dealing labels anew found."""
    competition = record.copies[0]
    repeated = set(json.loads((FIXTURE / "truth.json").read_text())["repeated"])
    certified = [item.id for item in competition.evidence if item.tier in ("certified", "verbatim")]
    right = sum(name in repeated for name in certified)
    wrong = len(certified) - right
    dealt = deal(measured(run_dir), competition.m_items)
    observed = wrong / max(len(certified), 1)
    cells = (
        f"`{salt}`", str(len(certified)), f"{right} of {REPEATED}", f"{wrong} ({observed:.0%})",
        f"{competition.lower_bound.value:.0f}", f"{dealt.false_share.mean():.3f}",
        f"{(dealt.false_share >= observed - 1e-12).mean():.1%}", f"{(dealt.lower_bound > REPEATED).mean():.1%}",
    )  # fmt: skip
    return f"| {' | '.join(cells)} |", dealt


def measured(run_dir: Path) -> Items:
    """Scores and hits among all pictures of both sets, from the generations of a finished audit."""
    sets = [read(FIXTURE / f"{name}.parquet") for name in ("train", "holdout")]
    pixels, ids = np.concatenate([one[0] for one in sets]), [name for _, names in sets for name in names]
    is_training = np.arange(len(ids)) < len(sets[0][1])
    encoder = build_pixel(EncoderConfig(name="pixel"), *pixels.shape[1:], "cpu")
    digests = np.array([hashlib.sha256(picture.tobytes()).hexdigest()[:32] for picture in pixels])
    pool, mirrored = Pool(encoder(pixels), ids, is_training, digests), encoder(view(pixels, MIRROR))
    made = run_dir / "embed" / "pixel" / "generations"
    further = {MIRROR: np.load(made / MIRROR / "all.npy")}
    queries = queries_of(np.load(made / "all.npy"), further, lambda rows, _: mirrored[rows])
    originals = sample_originals(digests, "level")
    planted = embed_planted(originals, pixels[originals], encoder, "level")
    decision = decide(pool, queries, encoder="pixel", planted=planted, split="group")
    row = decision.items.row[decision.competes]
    repeated = set(json.loads((FIXTURE / "truth.json").read_text())["repeated"])
    return Items(
        decision.items.score[decision.competes],
        decision.items.is_hit[decision.competes],
        np.array([ids[place] in repeated for place in row]),
        is_training[row],
    )


def read(path: Path) -> tuple[NDArray[np.uint8], list[str]]:
    """Pixels and ids of a set."""
    batches = list(open_source(path, Geometry(3, 32, 32), id_column="id").batches(512))
    return np.concatenate([batch.pixels for batch in batches]), [name for batch in batches for name in batch.ids]


def deal(items: Items, competitors: int) -> Dealt:
    """Competitions in which every picture but those repeated is trained on or held out at random.

    Args:
      items: Measured once; that a margin counts all held-out pictures, not the competitors alone, favours neither side.
      competitors: Held-out pictures that compete, drawn anew in each deal.
    """
    rng, others = np.random.default_rng(0), np.flatnonzero(~items.is_repeated)
    shares, bounds = [], []
    for _ in range(DEALS):
        label = items.is_training.copy()
        label[others] = rng.permutation(label[others])
        held_out = rng.permutation(np.flatnonzero(~label))[:competitors]
        kept = np.concatenate([np.flatnonzero(label), held_out])
        contest = compete(items.score[kept], items.is_hit[kept], label[kept])
        wrong = int((contest.certified & ~items.is_repeated[kept]).sum())
        shares.append(wrong / max(int(contest.certified.sum()), 1))
        bounds.append(contest.lower_bound)
    return Dealt(np.array(shares), np.array(bounds))


def conclusion(found: list[Dealt]) -> list[str]:
    """The figures over all audits, in words."""
    share = float(np.mean([dealt.false_share.mean() for dealt in found]))
    above = [int((dealt.lower_bound > REPEATED).sum()) for dealt in found]
    worst = clopper_pearson(max(above), DEALS, 0.95, "upper").upper
    return [
        f"Over all deals {share:.3f} of the certified are wrong where 0.10 is allowed, and X exceeds the truth in at "
        f"most {max(above) / DEALS:.1%} of one audit's deals (upper end {worst:.1%}) where 5% is allowed.",
    ]


if __name__ == "__main__":
    main()
