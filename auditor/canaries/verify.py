"""Is the training set the one that the ledger describes? If not, the coins say nothing about the checkpoint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from auditor.errors import ConfigError
from auditor.store.canaries import Canary, Ledger

EXPECTED = "included canaries exactly as often as their tier says, and no other canary"
REMEDY = "Give the ledger, the canary images and the training set of one and the same training."


def refuse_other_images(ledger: Ledger, pictures: Mapping[str, bytes], shape: Sequence[int]) -> None:
    """Canary images must be the ledger's, one for each entry, no two alike.

    Args:
      pictures: 16-byte pixel digest of every image in the canary folder, by id.
      shape: C, H, W that they were decoded to. The ledger's digests are of its own shape, and compared only where it
        is the same.

    Raises:
      ConfigError: An image is missing, altered, or the same as another.
    """
    missing = [canary.id for canary in ledger.canaries if canary.id not in pictures]
    if missing:
        got = f"no image of {some(missing)}"
        raise ConfigError("canaries.images", got, "one image for every entry of the ledger", REMEDY)
    altered = [one.id for one in ledger.canaries if pictures[one.id].hex() != one.sha256[:32]]
    if altered and list(shape) == ledger.shape:
        got = f"other pixels than the ledger's in {some(altered)}"
        raise ConfigError("canaries.images", got, "the images that `auditor canary` wrote", REMEDY)
    if len({pictures[canary.id] for canary in ledger.canaries}) < len(ledger.canaries):
        raise ConfigError("canaries.images", "two canaries with the same pixels", "distinct images", REMEDY)


def refuse_other_training(
    ledger: Ledger, pictures: Mapping[str, bytes], trained: Collection[bytes], held_out: Collection[bytes]
) -> None:
    """The training set must hold every included canary as often as its tier says, and nothing else of the ledger.

    Args:
      pictures: As :func:`refuse_other_images`.
      trained: Pixel digest of every training image, repeats included.
      held_out: Of every held-out image.

    Raises:
      ConfigError: It does not, or canaries are held out.
    """
    times, faults = Counter(trained), Counter(held_out)
    known = [(canary, times[pictures[canary.id]]) for canary in ledger.canaries]
    absent = [one.id for one, found in known if one.included and found == 0]
    added = [one.id for one, found in known if not one.included and found]
    often = [(one, found) for one, found in known if one.included and found not in (0, one.repetitions)]
    held = [one.id for one, _ in known if faults[pictures[one.id]]]
    faulty = [
        f"none of the included {some(absent)}" if absent else "",
        f"left-out {some(added)} among the training images" if added else "",
        uneven(often) if often else "",
        f"{some(held)} among the held-out images" if held else "",
    ]
    if any(faulty):
        raise ConfigError("training set", "; ".join(fault for fault in faulty if fault), EXPECTED, REMEDY)


def uneven(often: Sequence[tuple[Canary, int]]) -> str:
    """The first canary of a wrong number, and how many there are."""
    first, found = often[0]
    more = f" (and {len(often) - 1} more so)" if len(often) > 1 else ""
    return f"{first.id} {found} times instead of {first.repetitions}{more}"


def some(ids: Sequence[str]) -> str:
    """One id, or how many with the first as an example."""
    return ids[0] if len(ids) == 1 else f"{len(ids)} canaries (such as {ids[0]})"
