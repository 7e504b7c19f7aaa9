"""The command line: parses, calls the library, and turns every end into its exit code.

0 pass or done    1 the gate failed    2 error    3 cannot conclude
4 usage or configuration    5 unsafe artifact refused    130 interrupted, resumable
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click
from rich.console import Console

from auditor.cli import (
    canary,
    cliques,
    compare,
    doctor,
    extract,
    gate,
    index,
    init,
    lookup,
    plan,
    prompts,
    report,
    run,
    scan,
    split,
    worker,
)
from auditor.cli.display import printable
from auditor.errors import EXIT_ERROR, EXIT_INTERRUPTED, EXIT_USAGE, AuditError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="diffusion-auditor", prog_name="auditor")
def cli() -> None:
    """Does this diffusion checkpoint give its training data away, and may it be published?

    \b
    auditor init > audit.toml          write a commented configuration
    auditor plan audit.toml            what it will cost and what its sizes can conclude
    auditor run audit.toml             audit; the same command again resumes
    auditor gate runs/audit            the verdict as an exit code, for CI
    auditor compare A B --train ...    regime, and what the same noise makes of both
    """


for command in (
    init.init, plan.plan, run.run, gate.gate, compare.compare, report.report, split.split, canary.canary,
    cliques.cliques, lookup.lookup, extract.extract, prompts.prompts, index.index, worker.worker, scan.scan,
    doctor.doctor,
):  # fmt: skip
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code; no traceback unless AUDITOR_DEBUG is set."""
    try:
        code = cli.main(args=list(arguments) if arguments is not None else None, standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except click.ClickException as error:
        message = error.format_message()
        if message.startswith("Usage:"):  # no command at all: click answers with the help, which has lines
            click.echo(message, err=True)
        else:
            _say(message)
        return EXIT_USAGE
    except AuditError as error:
        _say(str(error))
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        _say("interrupted: the run directory is whole. The same command goes on from here.")
        return EXIT_INTERRUPTED
    except OSError as error:
        if os.environ.get("AUDITOR_DEBUG"):
            raise
        _say(str(_unusable(error)))
        return EXIT_ERROR
    except Exception as error:
        if os.environ.get("AUDITOR_DEBUG"):
            raise
        _say(f"internal error: {type(error).__name__}: {error}. Set AUDITOR_DEBUG=1 for the traceback.")
        return EXIT_ERROR


def _unusable(error: OSError) -> AuditError:
    """What the operating system refused, such as a name too long, a folder without permission, or a full disk."""
    subject = str(error.filename) if error.filename is not None else "system"
    reason = error.strerror or type(error).__name__
    return AuditError(subject, reason, "a path that can be read or written", "Correct the path, or free it for use.")


def _say(text: str) -> None:
    Console(stderr=True, soft_wrap=True, highlight=False).print(f"[red]error[/red] {printable(text)}")


def entry() -> None:
    """Entry point of the ``auditor`` command."""
    sys.exit(main())
