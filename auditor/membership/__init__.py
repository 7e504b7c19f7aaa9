"""Membership attacks on one shared denoiser sweep; importing the package registers them all."""

from auditor.membership import clid, loss, pfami, pia, pian, rediffuse, secmi, sima, small_noise
from auditor.membership.base import ATTACKS, Attack

__all__ = ["ATTACKS", "Attack", "clid", "loss", "pfami", "pia", "pian", "rediffuse", "secmi", "sima", "small_noise"]
