"""Ledgers and signals of canaries whose coins are tossed here, for every test that needs some."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from auditor.canaries.tiers import Signals
from auditor.probes import generator
from auditor.store.canaries import Canary, Ledger


def tossed(per_tier: int = 64, tiers: tuple[int, ...] = (1, 4, 16), seed: str = "ledger") -> list[Canary]:
    """Canaries with fair coins and made-up digests."""
    coins = generator(seed, "coins").integers(0, 2, per_tier * len(tiers))
    return [
        Canary(
            id=f"c{place:03d}", repetitions=tiers[place // per_tier], included=bool(coin), sha256=f"{place + 1:064x}"
        )
        for place, coin in enumerate(coins)
    ]


def ledger(canaries: list[Canary]) -> Ledger:
    return Ledger(tool_version="0", salt="s", data="d", shape=[1, 8, 8], canaries=canaries)


def leaking(canaries: list[Canary], strength: dict[int, float], seed: str = "signals") -> Signals:
    """Normal scores, those of included canaries raised by their tier's strength; reproduced where it shows."""
    rng = generator(seed, "noise")
    included = np.array([canary.included for canary in canaries])
    raised: NDArray[np.float64] = np.array([strength[canary.repetitions] for canary in canaries]) * included
    membership = rng.standard_normal(len(canaries)) + raised
    similarity = 0.3 + 0.05 * rng.standard_normal(len(canaries)) + 0.1 * raised
    return Signals("loss, t=100", membership, similarity, similarity > 0.6)
