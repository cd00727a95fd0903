"""What a run is built from: settings, secrets, the data directory, and policies that follow from them."""

import logging
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from pathlib import Path
from random import Random, SystemRandom

from callrail_relay.clock import Clock, SystemClock
from callrail_relay.config.loading import ignored_variables, load
from callrail_relay.config.places import config_file, data_directory, file_stamp, log_file, private_directory
from callrail_relay.config.secrets import Secrets
from callrail_relay.config.settings import Dashboard, Server, Settings
from callrail_relay.config.types import explain as explain  # noqa: PLC0414 - for the commands, too
from callrail_relay.config.types import parse_duration
from callrail_relay.domain import sentences_from
from callrail_relay.domain.account import Limits
from callrail_relay.domain.alerts import AlertPolicy
from callrail_relay.domain.delivery import ClaimPolicy
from callrail_relay.domain.guards import GuardPolicy
from callrail_relay.domain.inbound import InboundPolicy, PollPolicy
from callrail_relay.domain.mapper import MappingPolicy
from callrail_relay.domain.reconcile import LookupPolicy, OnUnknown
from callrail_relay.domain.routing import Routes, local_url
from callrail_relay.errors import RelayError, SettingsError
from callrail_relay.outbox.engine import peek_at_messages, store_file

LEASE_MARGIN = timedelta(seconds=10)
read_duration = parse_duration
sentence = sentences_from(__package__, "words")

TERMS = sentence("terms")


@dataclass(frozen=True, kw_only=True)
class AppContext:
    config_path: Path
    settings: Settings
    secrets: Secrets
    data: Path
    clock: Clock = field(default_factory=SystemClock)
    # For ids and waits; secrets come from elsewhere, hence the noqa. The system's own randomness would cost
    # more than the rest of an id.
    random: Random = field(default_factory=lambda: Random(SystemRandom().getrandbits(256)))  # noqa: S311
    overrides: Mapping[str, object] = field(default_factory=dict)
    stamp: object = None  # of the settings file, as it was read

    @property
    def store_file(self) -> Path | None:
        """Return the file of the SQLite store; None for PostgreSQL."""
        return store_file(self.settings.database.url)

    @property
    def routes(self) -> Routes:
        return self.settings.routes_table()

    @property
    def limits(self) -> Limits:
        return Limits(self.settings.limits.per_hour, self.settings.limits.per_day)

    @property
    def guards(self) -> GuardPolicy:
        return GuardPolicy(**dict(self.settings.guards), max_age=self.settings.delivery.max_age)

    @property
    def mapping(self) -> MappingPolicy:
        return MappingPolicy(
            routes=self.routes,
            guards=self.guards,
            max_characters=self.settings.limits.max_characters,
            limits=self.limits,
        )

    @property
    def companies(self) -> tuple[tuple[str, str], ...]:
        """Return the account and id of each company, each once."""
        return tuple(dict.fromkeys((route.account_id, route.company_id) for route in self.routes))

    @property
    def claim(self) -> ClaimPolicy:
        return ClaimPolicy(
            accounts=frozenset(self.routes.account_ids),
            limits=self.limits,
            recipient_interval=self.settings.limits.recipient_interval,
            lease=self._request_time + LEASE_MARGIN,
            max_characters=self.settings.limits.max_characters,
            guards=self.guards,
        )

    @property
    def inbound(self) -> InboundPolicy:
        return InboundPolicy(
            accounts={route.company_id: route.account_id for route in self.routes},
            tracking_numbers=frozenset(self.routes.tracking_numbers),
            forwards=bool(self.settings.replies.forward_to),
        )

    @property
    def polling(self) -> PollPolicy | None:
        if (every := self.settings.replies.poll_every) is None:
            return None
        return PollPolicy(
            companies=self.companies,
            every=every,
            requests_per_hour=self.settings.limits.lookups_per_hour,
            lease=self._request_time * 3,
        )

    @property
    def alerts(self) -> AlertPolicy:
        return AlertPolicy(**{name: getattr(self.settings.alerts, name) for name in AlertPolicy.__slots__})

    @property
    def lookups(self) -> LookupPolicy:
        delivery = self.settings.delivery
        return LookupPolicy(
            accounts=frozenset(self.routes.account_ids),
            ladder=delivery.reconcile_after,
            on_unknown=OnUnknown(delivery.on_unknown),
            requests_per_hour=self.settings.limits.lookups_per_hour,
            lease=self._request_time * 3,
        )

    @property
    def _request_time(self) -> timedelta:
        """Return the longest time that one request to CallRail takes."""
        return self.settings.delivery.connect_timeout + self.settings.delivery.read_timeout

    def require_route(self) -> None:
        if not self.routes.account_ids:
            raise SettingsError(sentence("no_route", path=self.config_path))

    def require_terms(self) -> None:
        if not self.settings.callrail.accepted_terms:
            raise SettingsError(sentence("terms_not_accepted", path=self.config_path))


def load_context(
    config: Path | None,
    *,
    overrides: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    must_exist: bool = True,
) -> AppContext:
    """Load the context of *config*, or the user's own; secrets come from *environ*. Raises SettingsError."""
    path = config_file(config)
    stamp = file_stamp(path)  # before the file is read, so that no later change is missed
    if ignored := ignored_variables():
        _warn(ignored)
    settings = load(config, overrides=overrides, must_exist=must_exist)
    secrets = Secrets(path) if environ is None else Secrets(path, environ)
    return AppContext(
        config_path=path,
        settings=settings,
        secrets=secrets,
        data=data_directory(),
        overrides=overrides or {},
        stamp=stamp,
    )


def peek(config: Path | None) -> tuple[tuple[str, ...], list[tuple[str, str | None, str]]]:
    """Return one's own numbers, and id, person and status of the newest texts; creates and awaits nothing."""
    with suppress(RelayError):
        context = load_context(config)
        return context.routes.tracking_numbers, peek_at_messages(context.settings.database.url)
    return (), []


@cache
def _warn(words: str) -> None:
    """Say it once per process. Until logs are set up, Python writes it to standard error as it is."""
    logging.getLogger("callrail_relay").warning("%s", words)


def listener_url(listener: Server | Dashboard) -> str:
    return local_url(listener.host, listener.port)


def open_missing_streams(log: Path | None = None) -> None:
    """Replace each missing standard stream: with *log*, or the log file, for errors."""
    # Otherwise the next file to be opened, perhaps the store, gets the number that libraries write to.
    missing = [name for name in ("stdin", "stdout", "stderr") if getattr(sys, name) is None]
    for name in missing:
        mode = "r" if name == "stdin" else "w"
        null = os.open(os.devnull, os.O_RDWR)
        setattr(sys, name, os.fdopen(null, mode, encoding="utf-8", closefd=False))
    if "stderr" in missing:
        from callrail_relay.telemetry.logs import LogFile  # noqa: PLC0415 - only where it's needed

        with suppress(RelayError, OSError):
            path = log or log_file()
            private_directory(path.parent)
            sys.stderr = LogFile(path)
