"""The whole audit, read from top to bottom."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import torch
from pydantic import ValidationError

from auditor.config import AuditConfig
from auditor.encoders.views import names_of
from auditor.errors import ConfigError
from auditor.executors.build import build_executor, crowded
from auditor.policy import DEFAULT_NAME, Policy, copies_rule, judge, membership_rule, read_policy
from auditor.progress import Progress, Silent
from auditor.report import render
from auditor.stages.base import answers_of_base
from auditor.stages.black_box import describe_given, not_tested_without_network
from auditor.stages.canaries import measure_canaries
from auditor.stages.cliques import measure_cliques
from auditor.stages.copies import search_every_encoder
from auditor.stages.embed import embed_everything
from auditor.stages.environment import environment
from auditor.stages.generate import generate_all
from auditor.stages.membership import test_membership
from auditor.stages.membership.power import with_power
from auditor.stages.pictures import write_pictures, write_samples
from auditor.stages.pool import deal_holdout
from auditor.stages.prompting import prompt_check, prompt_notes, prompting
from auditor.stages.regime import of_one_origin, regime_of
from auditor.stages.reopen import Opened, begin, shared, specification
from auditor.stages.untested import not_tested
from auditor.store.digest import value_digest
from auditor.store.record import SCHEMA_VERSION, EncoderInfo, Judgement, Record, Slices
from auditor.store.run_directory import write_json
from auditor.validity.placebo import holm_checks

KEPT_POLICY = "policy.toml"  # the run's own, kept beside its record: a gate runs elsewhere, and later


def run(config: AuditConfig, run_dir: Path | str, *, progress: Progress | None = None) -> Record:
    """Audit a checkpoint, or images made elsewhere, and write record.json, report.html and report.md.

    Killed and called again with the same arguments, it goes on where it was and ends with the same record but for the
    times in it.

    Args:
      config: What to audit and how.
      run_dir: A new folder, or that of an earlier run of the same audit.
      progress: Where stages report how far they are; silent by default.

    Returns:
      The complete record, judged by the configuration's policy or the default one.

    Raises:
      AuditError: See :mod:`auditor.errors`; nothing finished so far is lost.
    """
    show = progress or Silent()
    policy = read_policy(config.policy)
    threads = config.threads or torch.get_num_threads()
    with closing(build_executor(config.execution, threads)) as executor:
        if said := crowded(executor, threads):
            show.note(said)
        return _audit(shared(begin(config, Path(run_dir)), executor), policy, show)


def _audit(opened: Opened, policy: Policy, show: Progress) -> Record:
    """From opened inputs to the record and its reports."""
    results, inputs, config, seed = opened.run, opened.inputs, opened.config, opened.seed
    made = generate_all(results, inputs, config.generation, seed, show)
    embedded = embed_everything(results, inputs, made, names_of(config.copies.views), show)
    held_out = deal_holdout(inputs, embedded[0], seed)
    base = answers_of_base(results, inputs, embedded, names_of(config.copies.views), config, seed, show)
    searches = search_every_encoder(results, inputs, made, embedded, held_out, config, seed, show, base)
    tested = test_membership(results, inputs, embedded[0], searches, held_out, config, seed, show)
    found = measure_canaries(results, inputs, embedded[0], searches[0], tested.membership, config, seed, show)

    cliques = measure_cliques(results, inputs, made, embedded, searches, held_out, config, show)
    regime = regime_of(results, inputs, made, embedded, searches, held_out, config, seed, show)
    notes = [f"{search.competition.encoder}: {note}" for search in searches for note in search.notes]
    checks = [check for search in searches for check in search.checks] + prompt_check(config, inputs.prompts)
    checks = holm_checks(checks + tested.checks)
    given = inputs.given
    left = not_tested_without_network(given) if given else not_tested(tested.membership) + prompt_notes(config, inputs)
    competitions = write_pictures(results.path, inputs, made.generations, [search.competition for search in searches])
    record = Record(
        tool_version=version("diffusion-auditor"),
        audit_digest=value_digest(specification(config, inputs)),
        started=results.started,
        seconds=results.seconds,
        environment=environment(inputs.device),
        config=config.model_dump(mode="json"),
        checkpoint=None if given else inputs.checkpoint.info,
        images=describe_given(given, competitions, cliques) if given else None,
        training=inputs.train.info,
        holdout=inputs.holdout.info,
        slices=Slices(**{name: len(ids) for name, ids in asdict(held_out).items()}),
        generation=given.generation(results.salt, seed, pinned=config.generation.salt is not None)
        if given
        else made.describe(
            config.generation,
            results.salt,
            seed,
            prompting(config, inputs),
            inputs.asked.evaluations(config.generation.guidance_scales),
        ),
        encoders=[EncoderInfo(**asdict(encoder.spec)) for encoder in inputs.encoders],
        checks=checks,
        copies=competitions,
        membership=with_power(tested.membership, policy.membership, config.copies.level),
        regime=of_one_origin(regime, checks),
        canaries=found,
        index=inputs.train.index.describe() if inputs.train.index else None,
        cliques=cliques,
        copies_outcome=copies_rule(competitions, policy),
        membership_outcome=membership_rule(
            tested.membership, policy, checks, asked=config.membership.enabled, network=given is None
        ),
        not_tested=left + notes + tested.notes,
        sample_images=write_samples(results.path, made.generations),
    )
    name = str(config.policy) if config.policy else DEFAULT_NAME
    if config.policy:
        (results.path / KEPT_POLICY).write_bytes(config.policy.read_bytes())
    record = record.model_copy(update={"judgement": judge(record, policy, name)})
    write_json(results.path / "record.json", record.model_dump(mode="json"))
    render(record, results.path)
    return record


def read_record(run_dir: Path | str) -> Record:
    """The record of a completed run.

    Raises:
      ConfigError: No record there, an unfinished run, or a record of another schema version.
    """
    run_dir = Path(run_dir)
    file = run_dir / "record.json"
    if not file.is_file():
        begun = (run_dir / "run.json").is_file()
        got = "an unfinished run" if begun else "no run"
        remedy = "Give the command that began it again." if begun else "Audit a checkpoint with `auditor run`."
        if (run_dir / "comparison.json").is_file():
            got, remedy = "a comparison", "`auditor report` shows it; only an audit (`auditor run`) can be judged."
        raise ConfigError(str(run_dir), got, "a completed audit", remedy)
    try:
        return Record.model_validate_json(file.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        got = f"{'.'.join(map(str, first['loc'])) or 'its text'}: {first['msg']}"
        expected = f"a record of schema {SCHEMA_VERSION}"
        raise ConfigError(str(file), got, expected, "Audit again, or use the version that wrote it.") from error


def judge_run(run_dir: Path | str, policy: Path | None = None) -> tuple[Record, Judgement]:
    """A completed run's record and its judgement, made anew from the record's numbers.

    Args:
      run_dir: Of a completed run.
      policy: A policy file; None = the one that the run was made with, as it was then, or the default.
    """
    record = read_record(run_dir)
    asked, kept = record.config.get("policy"), Path(run_dir) / KEPT_POLICY
    chosen = policy or (Path(str(asked)) if asked else None)
    file = kept if policy is None and asked and kept.is_file() else chosen
    return record, judge(record, read_policy(file), str(chosen) if chosen else DEFAULT_NAME)
