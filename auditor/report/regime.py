"""The regime of an audited checkpoint, in words and figures."""

from __future__ import annotations

from collections.abc import Iterator

from auditor.store.parts import Estimate
from auditor.store.record import Record
from auditor.store.regime import CheckpointRegime, MemorizerAgreement

MEANING = {
    "memorization": "It answers most noise with training images, as pure memory would.",
    "transition": "It answers most noise with new images, but favours some training images.",
    "generalization": "It answers noise with new images, and favours its training images in none of the tests.",
    "cannot conclude": "Which regime it is in could not be told.",
}


def sentence(regime: CheckpointRegime) -> str:
    """The verdict and what it means."""
    return f"Regime: {regime.verdict.regime}. {MEANING[regime.verdict.regime]}"


def figures(agreement: MemorizerAgreement) -> Iterator[tuple[str, Estimate, bool, str]]:
    """(name, estimate, whether it is a share, what it means) in the order of their weight."""
    yield (
        "Lands where the memorizer does", agreement.share, True,
        f"share of {agreement.probes:,} probes from which the checkpoint and the closed-form memorizer of its "
        f"{agreement.items:,} training images reach the very same image; {agreement.chance:.2g} by chance",
    )  # fmt: skip
    yield (
        "The same with held-out images", agreement.control, True,
        "the memorizer of as many images that the checkpoint never saw",
    )  # fmt: skip
    yield (
        "Training images favoured, p", agreement.p_value, False,
        f"{agreement.training_reached:,} training and {agreement.control_reached:,} held-out images are reached "
        f"together with their memorizers; {agreement.significance:.2g} counts",
    )  # fmt: skip
    yield (
        "Reproduced training images, at least", agreement.shared_bound, False,
        "X of the copy test at the level that this verdict asks for",
    )  # fmt: skip
    yield "Lands on any training image", agreement.landed, True, "nearer to it than any other real image is"
    yield "Lands on any held-out image", agreement.landed_holdout, True, "what chance resemblance alone gives"
    yield "Training images, beyond held-out ones", agreement.reproduced, True, "the difference of the two lines above"
    yield "Plausible generations", agreement.plausible, True, "as near to real images as all but 1% of held-out ones"
    yield "GL score", agreement.gl, True, "generations that no training image comes too near to; 0.99 if none is copied"


def estimates(record: Record) -> Iterator[tuple[str, Estimate]]:
    """Every estimate of the record's regime with where it comes from."""
    agreement = record.regime.agreement if record.regime else None
    if agreement is not None:
        for _, estimate, _, _ in figures(agreement):
            yield f"regime, {agreement.encoder}", estimate
        yield f"regime, {agreement.encoder}", agreement.gl_published
        for cluster in agreement.clusters:
            yield f"regime, {agreement.encoder}, {cluster.cluster}", cluster.share
