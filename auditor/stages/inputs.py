"""What goes into an audit, opened and checked before anything expensive begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from auditor.checkpoint.asked import Asked
from auditor.checkpoint.load import LoadedCheckpoint, load
from auditor.checkpoint.scan import Scan, scan
from auditor.config import AuditConfig
from auditor.data import Geometry, ImageSource, Survey, open_source, read_ids, refuse_missing, select, survey
from auditor.data.groups import read_groups
from auditor.encoders.base import Encoder
from auditor.encoders.build import build_encoder
from auditor.errors import ConfigError, DataError
from auditor.indexing.training import TrainingIndex
from auditor.membership.evaluate import LEAST_A_SLICE, calibration_size
from auditor.stages.control import open_control
from auditor.stages.given import Given
from auditor.stages.ledger import Planted, open_canaries
from auditor.stages.pieces import Spread
from auditor.stages.prompt_list import Prompts
from auditor.stages.references import Reference, open_references, refuse_bad_lists
from auditor.stages.remembered import remembered
from auditor.stages.slices import SliceSizes, slice_sizes
from auditor.stages.suitability import refuse_unfit_options, try_network
from auditor.stages.suspects import read_suspects
from auditor.store.record import ImageSet
from auditor.store.run_directory import RunDirectory

MAX_OVERLAP = 0.001  # share of the held-out set that may also stand in the training set
LEAST_TRAINING = 2  # distinct training images
AUDITED = "audited"


@dataclass(frozen=True)
class Images:
    """A set of images, surveyed: every readable id with 16 bytes that are equal exactly where the pixels are."""

    source: ImageSource
    info: ImageSet
    digests: dict[str, bytes]
    index: TrainingIndex | None = None  # that has one encoder's embeddings of them
    uncaptioned: int = 0  # see :class:`auditor.data.survey.Survey`

    @property
    def distinct_ids(self) -> list[str]:
        """The first id of every distinct image, in the order of ids."""
        first: dict[bytes, str] = {}
        for name, digest in self.digests.items():
            first.setdefault(digest, name)
        return list(first.values())

    def check(self, ids: Sequence[str], digests: Sequence[bytes]) -> None:
        """Refuse images that are not what they were when the set was surveyed, perhaps on another machine.

        Args:
          ids: Of images just read.
          digests: SHA-256 of their shape and pixels.

        Raises:
          DataError: One of them changed.
        """
        for name, digest in zip(ids, digests, strict=True):
            if digest[:16] != self.digests[name]:
                expected, remedy = "those it had when the audit began", "Restore the images, or audit anew."
                raise DataError(f"{self.source.path}: image {name}", "other pixels", expected, remedy)

    def repeats(self) -> dict[bytes, int]:
        """How many times each distinct image stands in the set."""
        count: dict[bytes, int] = {}
        for digest in self.digests.values():
            count[digest] = count.get(digest, 0) + 1
        return count


@dataclass(frozen=True)
class Inputs:
    """Checkpoint, encoders, training set and held-out set, ready to be used."""

    scan: Scan
    checkpoint: LoadedCheckpoint
    device: str
    encoders: list[Encoder]
    train: Images
    holdout: Images
    sizes: SliceSizes
    references: list[Reference] = field(default_factory=list)  # that membership is tested against
    canaries: Planted | None = None  # None where no ledger is configured
    control: Scan | None = None  # of the negative control; None = the audited network, untrained
    suspects: list[str] = field(default_factory=list)  # training ids to ask about as a set; none = the members tested
    network: str = AUDITED  # which one the checkpoint is; see auditor.stages.networks
    spread: Spread = Spread()  # where pieces are made before they are read
    prompts: Prompts | None = None  # that generations are asked for; None = the checkpoint is not asked by text
    groups: dict[str, str] = field(default_factory=dict)  # by id of either set: what the split dealt as one
    given: Given | None = None  # images made elsewhere; then there is no checkpoint (auditor.stages.black_box)

    @property
    def asked(self) -> LoadedCheckpoint:
        """The checkpoint as generations are made from it: bound to the audit's prompts, if there are any."""
        return self.prompts.bind(self.checkpoint) if self.prompts else self.checkpoint

    @property
    def planted(self) -> frozenset[bytes]:
        """Pixel digests of all canaries, included or not: images that were made to be told apart, no ordinary ones."""
        return frozenset(self.canaries.digests.values()) if self.canaries else frozenset()

    @property
    def sets(self) -> dict[str, Images]:
        """All sets of images by name."""
        planted = self.canaries
        canaries = {"canaries": Images(planted.source, planted.info, planted.digests)} if planted else {}
        return {"train": self.train, "holdout": self.holdout, **canaries}

    def name_of(self, images: Images) -> str:
        """The name of one of the sets."""
        return next(name for name, one in self.sets.items() if one.info.digest == images.info.digest)


def open_inputs(config: AuditConfig, run: RunDirectory | None = None) -> Inputs:
    """Scan and load the checkpoint and its references, open both image sets, build the encoders.

    Args:
      config: What is asked for.
      run: Whose survey of both sets serves here too: one worker surveys for all. None = survey them.

    Raises:
      UnsafeArtifactError: The checkpoint could execute code or is not what it says.
      CheckpointError: It cannot be used.
      ConfigError: Missing paths, sets that overlap, too few held-out images, encoder weights that do not exist.
      DataError: No image is readable, or one has another shape than the checkpoint's.
    """
    asked = Asked.of(config.network, config.execution.offload)
    scanned = scan(config.network.path, allow_pickle=config.network.allow_pickle, asked=asked)
    paths = (config.data.train, config.data.holdout)
    for path in paths:
        if not path.exists():
            raise ConfigError("images", path, "a file or folder that exists", "Correct the path.")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    checkpoint = load(scanned, device=device)
    refuse_unfit_options(config, checkpoint)
    try_network(checkpoint, device)
    references = open_references(config, scanned, checkpoint, device)
    control = open_control(config, scanned, checkpoint, device)
    channels, height, width = checkpoint.codec.pixel_shape
    geometry = Geometry(channels, height, width, resize=config.data.resize)
    encoders = [
        build_encoder(encoder, channels=channels, height=height, width=width, device=device)
        for encoder in config.encoders
    ]
    data = config.data
    columns = data.id_column, data.image_column
    index = open_index(config, geometry, encoders, check=run is None)
    known = remembered(run, "train")
    train = open_images(data.train, geometry, *columns, ids=data.train_ids, known=known, index=index)
    holdout = open_images(data.holdout, geometry, *columns, ids=data.holdout_ids, known=remembered(run, "holdout"))
    refuse_overlap(train, holdout)
    refuse_few_captions(config, train, holdout)
    refuse_bad_lists(references, set(train.digests), set(holdout.digests))
    refuse_few_training(config, train)
    nonmembers = config.membership.nonmembers if config.membership.enabled else None
    sizes = slice_sizes(train.info.distinct, holdout.info.distinct, nonmembers)
    refuse_few_to_calibrate(config, "nonmembers", sizes.membership, holdout.info.distinct)
    canaries = open_canaries(config.canaries, geometry, train.digests, holdout.digests)
    suspects = read_suspects(config.membership.suspects, train.digests)
    return Inputs(
        scanned, checkpoint, device, encoders, train, holdout, sizes, references, canaries, control, suspects,
        groups=read_groups(data.groups, train.digests, holdout.digests) if data.groups else {},
    )  # fmt: skip


def open_images(
    path: Path,
    geometry: Geometry,
    id_column: str | None = None,
    image_column: str | None = None,
    *,
    ids: Path | None = None,
    first: int | None = None,
    known: Survey | None = None,
    index: TrainingIndex | None = None,
) -> Images:
    """One set, opened and surveyed in a single pass.

    Args:
      path, geometry, id_column, image_column: See :func:`auditor.data.open_source`.
      ids: A list of the ids that belong to the set, one a line; None = every image there.
      first: Only the first so many of the list.
      known: What an earlier survey found, which is then not made again.
      index: Has the pixel digests of a survey and one encoder's embeddings; it must have every image of the set.

    Raises:
      ConfigError: See :func:`auditor.data.open_source`; or a listed id that is not in the set.
      DataError: No image is readable, or one has another shape.
    """
    source = open_source(path, geometry, id_column=id_column, image_column=image_column)
    selected = source if ids is None else select(source, ids, first)
    if known is None and index is not None:
        known = index.survey(selected)
    if known is not None:
        return Images(selected, known.images.model_copy(update={"path": selected.path}), known.digests, index)
    found = survey(selected)
    if ids is not None:
        refuse_missing(read_ids(ids, first), found.digests, source)
    return Images(selected, found.images, found.digests, uncaptioned=found.uncaptioned)


def open_index(
    config: AuditConfig, geometry: Geometry, encoders: Sequence[Encoder], *, check: bool
) -> TrainingIndex | None:
    """The index that the configuration names; see :meth:`auditor.indexing.training.TrainingIndex.open`."""
    if config.data.index is None:
        return None
    return TrainingIndex.open(config.data.index, geometry, [encoder.spec for encoder in encoders], check=check)


def refuse_few_training(config: AuditConfig, train: Images) -> None:
    """Two distinct training images are the least that can be told from others; membership calibrates on two more.

    Raises:
      ConfigError: There are fewer.
    """
    distinct, remedy = train.info.distinct, "Give the whole training set."
    if distinct < LEAST_TRAINING:
        raise ConfigError("training set", f"{distinct} distinct images", f"at least {LEAST_TRAINING}", remedy)
    refuse_few_to_calibrate(config, "members", min(config.membership.members, distinct), distinct)


def refuse_few_captions(config: AuditConfig, train: Images, holdout: Images) -> None:
    """CLiD needs a caption of every image that it is asked about; where some are sure to lack one, nothing is begun.

    Raises:
      ConfigError: It is asked for, and on average one image tested or more has none.
    """
    if not config.membership.enabled or "clid" not in config.membership.attacks:
        return
    for images, tested in ((train, config.membership.members), (holdout, config.membership.nonmembers)):
        share = min(tested, len(images.digests)) / len(images.digests)
        if images.uncaptioned * share >= 1:
            among = f"{len(images.digests):,} images of {images.source.path}"
            got = f"clid, and {images.uncaptioned:,} of {among} without caption"
            raise ConfigError(
                "membership.attacks", got, "a caption for every image", "Leave clid out, or add captions."
            )


def refuse_few_to_calibrate(config: AuditConfig, side: str, size: int, distinct: int) -> None:
    """Either slice of either side needs two images; a side that gets none is not tested, and refused nowhere.

    Args:
      config: What is asked for.
      side: "members" or "nonmembers".
      size: Images of that side before near-duplicates are left out.
      distinct: Distinct images that they come from.

    Raises:
      ConfigError: There are fewer.
    """
    calibrated = calibration_size(size, config.membership.calibration)
    if config.membership.enabled and size > 0 and min(calibrated, size - calibrated) < LEAST_A_SLICE:
        got = f"{calibrated} {side} for calibration and {size - calibrated} for the report, of {distinct} images"
        without = f"Give more images, change membership.{side} or .calibration, or leave membership out."
        raise ConfigError("membership", got, f"at least {LEAST_A_SLICE} of each", without)


def refuse_overlap(train: Images, holdout: Images) -> None:
    """Held-out images that were trained on make every decision worthless.

    A few exact repeats happen in any large pool; they are left out as untestable. More than one in a thousand is a
    faulty split.

    Raises:
      ConfigError: Too many held-out images stand, pixel by pixel, in the training set.
    """
    trained = set(train.digests.values())
    shared = [name for name, digest in holdout.digests.items() if digest in trained]
    if len(shared) > MAX_OVERLAP * len(holdout.digests):
        raise ConfigError(
            "held-out set",
            f"{len(shared)} of {len(holdout.digests)} images that are also in the training set (such as {shared[0]})",
            f"at most {MAX_OVERLAP:.1%}",
            "Remove them from the held-out set, or draw it with `auditor split` before training.",
        )
