"""A set that would count as used, put to networks that know neither side: the control, and the base of a fine-tune."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from auditor.checkpoint.scan import Scan
from auditor.config import AuditConfig
from auditor.membership.combined import signals_of
from auditor.membership.dataset_inference import confirm
from auditor.progress import Progress
from auditor.stages.inputs import Inputs
from auditor.stages.membership.scores import Source, attack, swept
from auditor.stages.networks import under
from auditor.store.membership import DatasetInference
from auditor.store.run_directory import RunDirectory


@dataclass(frozen=True)
class Unrelated:
    """A network that is taken to know neither side.

    Attributes:
      name: In words.
      place: Where in the run directory its scores of the members tested already lie; None = nowhere.
    """

    name: str
    scan: Scan
    place: str | None = None


def unrelated(inputs: Inputs, ids: Collection[str]) -> list[Unrelated]:
    """The control that is configured, and a base that is not listed to know any of the ids.

    The audited network, untrained, is none of them: it hardly sees how hard an image is.
    """
    found = [Unrelated("the unrelated checkpoint", inputs.control)] if inputs.control is not None else []
    for other in inputs.references:
        if other.config.role == "base" and other.trained_on.isdisjoint(ids):
            found.append(Unrelated(other.config.name, other.scan, f"references/{other.scan.digest[:16]}"))
    return found


def confirm_by_others(
    run: RunDirectory,
    inputs: Inputs,
    found: DatasetInference,
    sources: Sequence[Source],
    config: AuditConfig,
    seed: str,
    labelled: bool,
    show: Progress,
    *,
    scored: bool,
) -> DatasetInference:
    """The answer once every network that knows neither side was asked, until one tells the sets apart.

    The same attacks as of the audited checkpoint, on the same images and noise; they cost as much, and nothing where
    the set would not count as used anyway.

    Args:
      sources: The images compared, suspects first.
      scored: Whether these are the members and non-members tested, whole, so that a base has scored them already.
    """
    for network in unrelated(inputs, [name for source in sources for name in source.ids]):
        if found.outcome != "used":
            break
        view = under(inputs, network.scan.digest, seed)
        place = network.place if scored and network.place else f"control/sets/{network.scan.digest[:16]}"
        known = labelled and view.checkpoint.num_classes == inputs.checkpoint.num_classes
        total = sum(len(source.ids) for source in sources)
        with show.stage(f"the set under {network.name}", total, "image") as meter:
            tables = attack(run, view, sources, config, seed, known, meter, kinds=swept(config), stage=place)
        spent = 0 if place == network.place else sum(table.evaluations for table in tables)
        spent += found.control_evaluations
        suspects, heldout = (signals_of(table.scores) for table in tables)
        found = confirm(found, suspects, heldout, seed, network.name)
        found = found.model_copy(update={"control_evaluations": spent})
    return found
