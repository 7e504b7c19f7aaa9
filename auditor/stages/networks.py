"""The networks that membership is tested under: the audited one, fresh weights in its place, other checkpoints."""

from __future__ import annotations

from dataclasses import replace

from auditor.checkpoint.fresh import reinitialise
from auditor.checkpoint.load import load
from auditor.stages.inputs import AUDITED, Inputs

UNTRAINED = "untrained"


def under(inputs: Inputs, network: str, seed: str) -> Inputs:
    """The audit's inputs with another network in place of the audited one, loaded anew.

    Args:
      inputs: The audit's own.
      network: "audited"; "untrained" = its architecture with fresh weights; else the digest of the configured control
        or of a reference.
      seed: Root seed, which the fresh weights are drawn from.

    Raises:
      CheckpointError: The checkpoint changed after it was scanned.
    """
    if network == AUDITED:
        return inputs
    if network == UNTRAINED:
        return replace(inputs, checkpoint=reinitialise(inputs.checkpoint, seed), network=network)
    known = [reference.scan for reference in inputs.references] + ([inputs.control] if inputs.control else [])
    scan = next(scan for scan in known if scan.digest == network)
    return replace(inputs, scan=scan, checkpoint=load(scan, device=inputs.device), network=network)
