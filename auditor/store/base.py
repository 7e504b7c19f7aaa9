"""The record's part about the base of a fine-tune."""

from __future__ import annotations

from auditor.store.parts import Estimate, Part


class BaseContrast(Part):
    """Copies of the base from the same probes and prompts, beside those of the fine-tune."""

    name: str
    copied: int  # training items certified or verbatim of the base
    shared: int  # of the fine-tune's copies, those that are the base's as well
    added: int  # those that are not
    lower_bound: Estimate  # X of the base
    copy_rate: Estimate  # of the base
