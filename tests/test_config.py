"""The configuration refuses what it does not know, and the template shows all it does."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from auditor.cli.init import template
from auditor.config import AuditConfig, EncoderConfig, ReferenceConfig, read_config, validate
from auditor.errors import ConfigError

LEAST = {"checkpoint": {"path": "c"}, "data": {"train": "t", "holdout": "h"}}


def test_template_is_the_default_configuration() -> None:
    raw = tomllib.loads(template())
    asked = {"checkpoint": {"path": "checkpoint"}, "data": {"train": "train", "holdout": "holdout"}}
    assert validate(raw, "template") == validate(asked, "least")


def test_template_shows_every_key() -> None:
    shown = set(re.findall(r"^#? ?(\w+) = ", template(), flags=re.MULTILINE))
    fields = set(EncoderConfig.model_fields) | set(ReferenceConfig.model_fields)
    for name, field in AuditConfig.model_fields.items():
        inner = getattr(field.annotation, "model_fields", None)
        fields |= set(inner) if inner else {name}
    assert fields - {"encoders", "references"} <= shown


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"generation": {"step": 5}}, "generation.step: got an unknown key"),
        ({"generation": {"steps": 0}}, r"generation.steps: got 0; expected .*greater than or equal to 1"),
        ({"generation": {"sampler": "ddpm"}}, "generation.sampler: got 'ddpm'"),
        ({"copies": {"alpha": 1.5}}, "copies.alpha: got 1.5"),
        ({"data": {"train": "t"}}, "data.holdout"),
        ({"schema_version": 2}, "schema_version"),
        ({"membership": {"attacks": []}}, "membership.*attacks is empty"),
        ({"membership": {"attacks": ["loss", "pia", "loss"]}}, "membership.*attacks lists 'loss' twice"),
        ({"membership": {"enabled": False, "suspects": "s.txt"}}, "suspects is given, but enabled = false"),
        (
            {"membership": {"enabled": False, "references": [{"name": "r", "checkpoint": "r"}]}},
            "references is given, but enabled = false",
        ),
        (
            {"encoders": [{"name": "pixel"}, {"name": "pixel"}]},
            "^audit.toml: got the encoder 'pixel' is listed twice .*; expected options that fit together. Remove one",
        ),
        (
            {"prompts": {"file": "p.txt", "source": "training"}},
            "^audit.toml: prompts: got file and source are both given; expected .*. Remove one of them.$",
        ),
        (
            {"copies": {"views": ["mirror"]}},
            "copies: got views without 'identity'; expected .*. List \"identity\", and",
        ),
        ({"images": {"path": "made"}}, r"^audit.toml: got both \[checkpoint\] and \[images\]; .*Give one of them."),
    ],
)
def test_faults_name_key_value_and_expectation(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        validate({**LEAST, **change}, "audit.toml")
    assert caught.value.exit_code == 4
    assert "\n" not in str(caught.value)


def test_paths_are_taken_from_the_files_own_folder(tmp_path: Path) -> None:
    file = tmp_path / "audit.toml"
    file.write_text(
        'policy = "p.toml"\n[checkpoint]\npath = "c"\n[data]\ntrain = "/abs/t"\nholdout = "h"\n'
        '[[encoders]]\nname = "clip"\nmodel = "local-dir:m"\n'
    )
    config = read_config(file)
    assert config.checkpoint.path == tmp_path / "c"
    assert config.data.train == Path("/abs/t")
    assert config.policy == tmp_path / "p.toml"
    assert config.encoders[0].model == f"local-dir:{tmp_path / 'm'}"


def test_what_differs_is_not_listed_twice() -> None:
    encoders = [{"name": "clip", "model": name, "weights": "w"} for name in ("ViT-B-32", "ViT-L-14")]
    assert len(validate({**LEAST, "encoders": encoders}, "a").encoders) == 2
    assert validate({**LEAST, "membership": {"enabled": False, "attacks": []}}, "a").membership.attacks == []


@pytest.mark.parametrize("content", ["x = ", "\xff\xfe"])
def test_what_is_not_toml_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.toml").write_text(content, encoding="latin-1")
    with pytest.raises(ConfigError, match="valid TOML"):
        read_config(tmp_path / "a.toml")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="auditor init"):
        read_config(tmp_path / "none.toml")
