"""Membership attacks on one shared denoiser sweep; importing the package registers them all."""

from auditor.membership import loss, pia, pian, secmi
from auditor.membership.base import ATTACKS, Attack

__all__ = ["ATTACKS", "Attack", "loss", "pia", "pian", "secmi"]
