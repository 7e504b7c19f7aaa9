"""Reading a policy: the shipped file, files that change it, and faults that name their key."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from auditor.errors import EXIT_USAGE, ConfigError
from auditor.policy import Policy, default_policy_text, read_policy


def write(folder: Path, text: str) -> Path:
    path = folder / "policy.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_shipped_file_states_every_key_with_the_value_that_holds_when_it_is_left_out() -> None:
    assert tomllib.loads(default_policy_text()) == Policy().model_dump()
    assert read_policy() == Policy()


def test_shipped_policy_asks_for_copies_and_membership_and_power() -> None:
    policy = read_policy()
    assert policy.copies.max_copies == 0
    assert policy.membership.required
    assert policy.copies.max_floor < 100 and policy.power.min_planted_recall > 0 and policy.power.min_coverage > 0.9
    assert {"placebo", "blind", "positive-control"} <= set(policy.validity.required)
    assert not policy.probes.allow_pinned


def test_a_file_changes_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    policy = read_policy(write(tmp_path, "[copies]\nmax_floor = 7\n[probes]\nallow_pinned = true\n"))
    expected = Policy().model_dump()
    expected["copies"]["max_floor"], expected["probes"]["allow_pinned"] = 7, True
    assert policy.model_dump() == expected


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[copies]\nmax_copy = 1\n", "copies.max_copy: got an unknown key"),
        ("[copies]\nmax_copies = -1\n", "copies.max_copies: got -1"),
        ("[copies]\nmax_copies = 0.5\n", "copies.max_copies: got 0.5"),
        ("[copies]\nmax_rate = 0\n", "copies.max_rate: got 0"),
        ("[membership]\nmax_auc = nan\n", "membership.max_auc: got nan"),  # every comparison with NaN is false
        ("[membership]\nmax_auc = 60\n", "membership.max_auc: got 60"),
        ("[validity]\nrequired = ['palcebo']\n", "validity.required.0: got 'palcebo'"),
        ("schema_version = 2\n", "schema_version: got 2"),
        ("[copies\n", "valid TOML"),
    ],
)
def test_a_fault_is_one_line_that_names_file_and_key(tmp_path: Path, text: str, named: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read_policy(path)
    message = str(caught.value)
    assert named in message and str(path) in message and "\n" not in message
    assert caught.value.exit_code == EXIT_USAGE


def test_a_missing_file_and_bytes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a TOML file"):
        read_policy(tmp_path / "absent.toml")
    binary = tmp_path / "policy.toml"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_policy(binary)
