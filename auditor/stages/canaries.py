"""Canaries: leakage of images whose inclusion was random, and what it says about epsilon."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from auditor.canaries.landing import land_on_canaries
from auditor.canaries.tiers import Signals, measure_tiers
from auditor.config import AuditConfig
from auditor.data.captions import stated_class
from auditor.diffusion.score_table import ScoreTable
from auditor.membership import ATTACKS
from auditor.membership.clid import BY_CAPTION
from auditor.progress import Progress
from auditor.stages.copies import CopySearch
from auditor.stages.embed import Embedded, embed_images
from auditor.stages.inputs import Images, Inputs
from auditor.stages.membership.scores import Source, attack
from auditor.store.canaries import Canary, CanaryAudit
from auditor.store.digest import value_digest
from auditor.store.membership import Membership
from auditor.store.run_directory import RunDirectory

FIXED = "loss"  # the attack where membership is not tested; of its variants the last declared, their mean


def measure_canaries(
    run: RunDirectory,
    inputs: Inputs,
    embedded: Embedded,
    search: CopySearch,
    membership: Membership | None,
    config: AuditConfig,
    seed: str,
    show: Progress,
) -> CanaryAudit | None:
    """What the checkpoint gives away about each tier of canaries; None where no ledger is configured.

    The attack and its variant are those that tell ordinary training images best from held-out ones, so that nothing is
    chosen on the canaries' own coins. The second signal is the similarity of the nearest generation under the first
    encoder listed, whatever the other encoders show.

    Args:
      embedded: The first encoder's.
      search: Under the first encoder.
      membership: Tested on ordinary images.
    """
    planted = inputs.canaries
    if planted is None:
        return None
    images = Images(planted.source, planted.info, planted.digests)
    canaries = planted.ledger.canaries
    ids = [canary.id for canary in canaries]
    kind, variant = strongest(membership)
    table = attack_canaries(run, inputs, images, canaries, kind, config, seed, show)
    variant = variant or list(table.scores[kind])[-1]
    score = dict(zip(table.ids, table.scores[kind][variant], strict=True))
    vectors = embed_images(run, f"{embedded.name}/canaries", images, embedded.encoder, show)
    row = {name: place for place, name in enumerate(images.digests)}
    landing = land_on_canaries(
        np.asarray(vectors[[row[name] for name in ids]]), [images.digests[name] for name in ids],
        embedded.generations, embedded.train, list(inputs.train.digests.values()), embedded.holdout,
    )  # fmt: skip
    signals = Signals(
        f"{kind}, {variant}", np.array([score.get(name, np.nan) for name in ids]), landing.similarity, landing.landed
    )
    return CanaryAudit(
        ledger_digest=value_digest(planted.ledger.model_dump(mode="json")),
        training_images=sum(digest in inputs.planted for digest in inputs.train.digests.values()),
        attack=kind,
        variant=variant,
        encoder=embedded.name,
        delta=config.canaries.delta,
        tiers=measure_tiers(canaries, signals, level=config.copies.level, delta=config.canaries.delta),
        certified=certified_canaries(search, inputs),
        unscored=table.unscored,
        denoiser_evaluations=table.evaluations,
    )


def strongest(membership: Membership | None) -> tuple[str, str | None]:
    """(attack, variant) with the largest AUC on ordinary images, of those that one sweep of the canaries can repeat."""
    tested = (
        []
        if membership is None
        else [one for one in membership.attacks if one.name in ATTACKS and one.name not in BY_CAPTION]
    )
    scored = [one for one in tested if one.auc.value is not None]
    if not scored:
        return FIXED, None
    best = max(scored, key=lambda one: one.auc.value or 0.0)
    return best.name, best.variant


def attack_canaries(
    run: RunDirectory,
    inputs: Inputs,
    images: Images,
    canaries: Sequence[Canary],
    kind: str,
    config: AuditConfig,
    seed: str,
    show: Progress,
) -> ScoreTable:
    """Scores of all canaries, included or not, under one attack, and under their own classes where all state one."""
    alone = config.membership.model_copy(update={"attacks": [kind]})
    classes = inputs.checkpoint.num_classes
    labelled = classes is not None and all(stated_class(one.caption, classes) is not None for one in canaries)
    with show.stage(f"membership of {len(canaries)} canaries", len(canaries), "image") as meter:
        only = config.model_copy(update={"membership": alone})
        ids = sorted(one.id for one in canaries)  # as the source gives them
        return attack(run, inputs, [Source(images, ids, "canaries")], only, seed, labelled, meter)[0]


def certified_canaries(search: CopySearch, inputs: Inputs) -> int:
    """How many of the certified and verbatim copies listed are canaries."""
    found = (item for item in search.competition.evidence if item.tier != "suspect")
    return sum(any(inputs.train.digests[name] in inputs.planted for name in item.members) for item in found)
