"""
Everything that can go wrong in a way a person can act on.

    RelayError                 exit code
    ├── UsageError             2  the command line does not make sense
    ├── SettingsError          3  the settings are missing, wrong or unreadable
    ├── SecretError            3  a secret, or the place that keeps it, is missing
    ├── NotFound               4  there is no such text, file or account
    ├── NotAllowed             4  the text's status does not allow this
    ├── RefusedByCallRail      5  CallRail answered, and said no
    ├── OutcomeUnknown         6  CallRail may or may not have taken the text
    ├── Waiting                7  the text is kept, and held or waiting
    └── Unavailable            8  the store, a port or CallRail cannot be reached now
        └── AlreadyRunning     8  another process serves the store, or copies it

An error says what happened, to what, and what to do, in one or two sentences. It shows what a person typed as
typed, and holds no key; only logs are masked.
"""

from datetime import datetime
from typing import ClassVar


class RelayError(Exception):
    """An error whose words are meant for a person; its exit code follows from its class."""

    exit_code: ClassVar[int] = 1


class UsageError(RelayError):
    exit_code = 2


class SettingsError(RelayError):
    exit_code = 3


class SecretError(RelayError):
    exit_code = 3


class KeyringError(SecretError):
    """Raised when the OS keyring can't be used, for example because it's locked."""


class NotFound(RelayError):
    exit_code = 4


class NotAllowed(RelayError):
    exit_code = 4


class RefusedByCallRail(RelayError):
    exit_code = 5


class OutcomeUnknown(RelayError):
    exit_code = 6


class Waiting(RelayError):
    exit_code = 7


class Unavailable(RelayError):
    exit_code = 8


class AlreadyRunning(Unavailable):
    """Raised when another process holds the store: *by* is the command it runs."""

    def __init__(
        self, store: str, *, by: str, pid: int | None, since: datetime | None, has_dashboard: bool
    ) -> None:
        self.process = process = "" if pid is None else f" (process {pid})"
        super().__init__(f"`{by}` is running on {store}{process}. Wait until it's done, then run this again.")
        self.by = by
        self.since = since
        self.has_dashboard = has_dashboard
