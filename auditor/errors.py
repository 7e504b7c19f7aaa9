"""Errors a user can cause, each with the exit code that the command ends with.

Every message is one line: ``<subject>: got <value>; expected <constraint>. <remedy>``.
"""

from __future__ import annotations

EXIT_PASS = 0
EXIT_FAIL = 1
EXIT_ERROR = 2
EXIT_CANNOT_CONCLUDE = 3
EXIT_USAGE = 4
EXIT_UNSAFE = 5
EXIT_INTERRUPTED = 130


class AuditError(Exception):
    """An audit cannot go on. ``exit_code`` 2: something broke that no option would have prevented."""

    exit_code = EXIT_ERROR

    def __init__(self, subject: str, got: object, expected: str, remedy: str) -> None:
        self.subject, self.got, self.expected, self.remedy = subject, got, expected, remedy
        super().__init__(f"{subject}: got {got}; expected {expected}. {remedy}")

    def __reduce__(self) -> tuple[type[AuditError], tuple[str, str, str, str]]:
        """Errors travel from worker processes; what was got travels as its text."""
        return type(self), (self.subject, str(self.got), self.expected, self.remedy)


class ConfigError(AuditError):
    """What was asked for cannot be done: options, paths, sizes, overlapping sets (exit code 4)."""

    exit_code = EXIT_USAGE


class DataError(AuditError):
    """Images that exist but cannot be used: unreadable, wrong channels or size (exit code 2)."""


class CheckpointError(AuditError):
    """A checkpoint that is safe to open but unusable: NaN weights, missing tensors (exit code 2)."""


class UnsafeArtifactError(AuditError):
    """A checkpoint that could execute code or is not what it says; refused unopened (exit code 5)."""

    exit_code = EXIT_UNSAFE
