"""Looking single images up in a finished audit, without its checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from auditor.audit import read_record
from auditor.config import EncoderConfig
from auditor.errors import ConfigError
from auditor.progress import Progress, Silent
from auditor.stages.finished import audited_encoders, open_finished
from auditor.stages.lookup import assemble, look_under, membership_rows, understand
from auditor.store.lookup import LookedUnder, Lookup


def lookup(
    run_dir: Path | str,
    images: Sequence[str | Path],
    *,
    train: Path | None = None,
    holdout: Path | None = None,
    encoders: Sequence[EncoderConfig] = (),
    progress: Progress | None = None,
) -> Lookup:
    """What a finished audit says about some images: trained on, reproduced, recognised as members.

    Needs the run directory with its embeddings and, for files, the encoders; the image sets only the first time, to see
    that they are those audited. The search is exact; the training set's embeddings stream through.

    Args:
      run_dir: Of a completed audit.
      images: Image files, training ids or held-out ids. What is none of them is answered as unknown, and a file that
        cannot be read says why: a long list does not fail for one line.
      train, holdout: Where the sets lie now, if they were moved since.
      encoders: Sections in place of the audit's, in their order, if weights were moved.
      progress: Where it reports how far it is; silent by default.

    Raises:
      ConfigError: No completed audit, no images asked for, or sets, weights or embeddings that are not there any more.
    """
    if not images:
        raise ConfigError("images", "none", "image files or ids", "Name one or more, or a list with --list.")
    show, run_dir = progress or Silent(), Path(run_dir)
    record = read_record(run_dir)
    finished = open_finished(record, run_dir, train=train, holdout=holdout)
    asked = understand(finished, [str(image) for image in images])
    places = [place for place, one in enumerate(asked) if one.unscored is None]
    usable = [asked[place] for place in places]
    files = any(one.pixels is not None for one in usable)
    built = audited_encoders(finished, encoders) if files else {}
    under: dict[int, list[LookedUnder]] = {place: [] for place in places}
    with show.stage(f"look {len(usable)} images up", max(1, len(record.copies)), "encoder") as meter:
        for competition in record.copies if usable else []:
            encoder = built.get(competition.encoder)
            for place, one in zip(places, look_under(finished, usable, competition, encoder), strict=True):
                under[place].append(one)
            meter(1)
    scores, prompts = membership_rows(finished), record.generation.prompts
    if prompts and prompts.source == "empty":  # generations under no text are independent, as of other checkpoints
        prompts = None
    units = prompts.prompts if prompts else record.images.units if record.images else None
    return Lookup(
        run=str(run_dir),
        audit_digest=record.audit_digest,
        checkpoint=record.audited,
        training=record.training.path,
        training_images=record.training.images,
        probes=len(finished.probe),
        trials=units,
        asked_for=prompts.source if prompts else None,
        scored=len(scores),
        images=assemble(finished, asked, under, scores),
    )
