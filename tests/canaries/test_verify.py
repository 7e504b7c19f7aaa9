"""A ledger of another training set, or of other images, is refused before anything is computed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from auditor.canaries.verify import refuse_other_images, refuse_other_training
from auditor.errors import ConfigError
from auditor.store.canaries import Canary
from tests.canaries.ledgers import ledger, tossed

CANARIES = tossed(8, (1, 3))
INCLUDED = [canary for canary in CANARIES if canary.included]
LEFT_OUT = [canary for canary in CANARIES if not canary.included]
THRICE = next(canary for canary in INCLUDED if canary.repetitions == 3)


def digest(canary: Canary) -> bytes:
    return bytes.fromhex(canary.sha256)[:16]


def last_digits(canaries: list[Canary]) -> list[Canary]:
    """With digests that differ in the bytes that are compared."""
    return [canary.model_copy(update={"sha256": canary.sha256[-32:] + "0" * 32}) for canary in canaries]


CANARIES, INCLUDED, LEFT_OUT = map(last_digits, (CANARIES, INCLUDED, LEFT_OUT))
THRICE = next(canary for canary in INCLUDED if canary.repetitions == 3)
PICTURES = {canary.id: digest(canary) for canary in CANARIES}
TRAINED = [digest(canary) for canary in INCLUDED for _ in range(canary.repetitions)] + [b"a" * 16, b"b" * 16]
HELD_OUT = [b"h" * 16]


def test_the_training_set_of_the_ledger_is_accepted() -> None:
    refuse_other_images(ledger(CANARIES), PICTURES, [1, 8, 8])
    refuse_other_training(ledger(CANARIES), PICTURES, TRAINED, HELD_OUT)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda trained: trained.remove(digest(THRICE)), f"{THRICE.id} 2 times instead of 3"),
        (lambda trained: trained.append(digest(THRICE)), f"{THRICE.id} 4 times instead of 3"),
        (lambda trained: trained.append(digest(LEFT_OUT[0])), f"left-out {LEFT_OUT[0].id} among the training images"),
        (lambda trained: trained.clear(), rf"none of the included {len(INCLUDED)} canaries"),
    ],
)
def test_another_training_set_is_refused(change: Callable[[list[bytes]], None], message: str) -> None:
    trained = list(TRAINED)
    change(trained)
    with pytest.raises(ConfigError, match=message) as caught:
        refuse_other_training(ledger(CANARIES), PICTURES, trained, HELD_OUT)
    assert caught.value.exit_code == 4


def test_a_turned_coin_is_refused() -> None:
    """Inclusion changed by hand after the toss would make the bound worthless."""
    turned = [one.model_copy(update={"included": one.included ^ (one.id == THRICE.id)}) for one in CANARIES]
    with pytest.raises(ConfigError, match=f"left-out {THRICE.id} among the training images"):
        refuse_other_training(ledger(turned), PICTURES, TRAINED, HELD_OUT)


def test_held_out_canaries_are_refused() -> None:
    with pytest.raises(ConfigError, match=f"{LEFT_OUT[0].id} among the held-out images"):
        refuse_other_training(ledger(CANARIES), PICTURES, TRAINED, [digest(LEFT_OUT[0])])


def test_other_canary_images_are_refused() -> None:
    one, two = CANARIES[:2]
    with pytest.raises(ConfigError, match=f"no image of {one.id}"):
        refuse_other_images(ledger(CANARIES), {k: v for k, v in PICTURES.items() if k != one.id}, [1, 8, 8])
    altered = PICTURES | {one.id: b"x" * 16}
    with pytest.raises(ConfigError, match=f"other pixels than the ledger's in {one.id}"):
        refuse_other_images(ledger(CANARIES), altered, [1, 8, 8])
    refuse_other_images(ledger(CANARIES), altered, [1, 4, 4])  # resized: their digests are others by nature
    with pytest.raises(ConfigError, match="two canaries with the same pixels"):
        refuse_other_images(ledger(CANARIES), PICTURES | {one.id: PICTURES[two.id]}, [1, 4, 4])
