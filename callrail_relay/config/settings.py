"""
Everything that can be set, with its default.

The descriptions are the comments of a new settings file and the words of the
reference.
"""

from collections.abc import Iterable
from datetime import time, timedelta
from itertools import pairwise
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from callrail_relay.config.types import (
    AccountId,
    AlertUrl,
    ApiUrl,
    CompanyId,
    Concurrency,
    Count,
    DatabaseUrl,
    Duration,
    Flag,
    GuardMode,
    Host,
    KeptFor,
    LogFormat,
    LogLevel,
    MaxCharacters,
    Minute,
    Networks,
    OnUnknown,
    Percent,
    PollEvery,
    Port,
    SomeTime,
    Text,
    TimeZone,
    TrackingNumber,
    WebAddress,
    default_database_url,
)
from callrail_relay.domain.guards import Mode
from callrail_relay.domain.routing import Route, RouteRule, Routes


class Table(BaseModel):
    """A table of the settings file: what is not listed is refused, and nothing changes once it is read."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class CallRail(Table):
    """The CallRail account, and where texts leave from when no route says otherwise."""

    api_url: ApiUrl = Field(
        default="https://api.callrail.com",
        description="CallRail's API; http:// for a sandbox on this machine only",
    )
    account_id: AccountId | None = Field(default=None, description="ACC..., or the nine-digit account number")
    company_id: CompanyId | None = Field(
        default=None, description="COM..., the company the texts are sent for"
    )
    tracking_number: TrackingNumber | None = Field(
        default=None, description="the CallRail number the texts leave from"
    )
    accepted_terms: Flag = Field(
        default=False,
        description="true: a person writes every text, to a person who agreed; CallRail forbids mass texts",
    )

    def route(self) -> Route | None:
        """The route for whatever no rule matches, where all three parts of it are set."""
        if self.account_id and self.company_id and self.tracking_number:
            return Route(self.account_id, self.company_id, self.tracking_number)
        return None


class RouteSettings(Table):
    """One [[routes]] table: whose texts leave from another account, company or number."""

    team_id: Text | None = Field(default=None, description="the team in IF3")
    sender_id: Text | None = Field(default=None, description="the sender in IF3")
    account_id: AccountId | None = Field(default=None, description="left out: that of [callrail]")
    company_id: CompanyId | None = Field(default=None, description="left out: that of [callrail]")
    tracking_number: TrackingNumber | None = Field(default=None, description="left out: that of [callrail]")

    @model_validator(mode="after")
    def _names_a_sender(self) -> Self:
        if self.team_id is None and self.sender_id is None:
            raise ValueError(
                "must name a team_id or a sender_id; all other texts are sent as [callrail] says"
            )
        return self

    def rule(self, fallback: CallRail) -> RouteRule:
        """This route with its gaps filled from *fallback*; ValueError names a gap that stays."""
        return RouteRule(
            Route(
                _given("account_id", self.account_id, fallback.account_id),
                _given("company_id", self.company_id, fallback.company_id),
                _given("tracking_number", self.tracking_number, fallback.tracking_number),
            ),
            team_id=self.team_id,
            sender_id=self.sender_id,
        )


def _given(name: str, own: str | None, fallback: str | None) -> str:
    value = own or fallback
    if value is None:
        raise ValueError(f"must each have {name}, of their own or from [callrail]")
    return value


def _rises(values: Iterable[Any]) -> bool:
    return all(earlier < later for earlier, later in pairwise(values))


class Server(Table):
    """The public listener, which IF3 posts to."""

    host: Host = Field(
        default="127.0.0.1", description="0.0.0.0 to be reached without a proxy or tunnel on this machine"
    )
    port: Port = Field(default=8787, description="0 takes a free port")
    public_url: WebAddress | None = Field(
        default=None, description="the address under which IF3 reaches this listener"
    )
    trusted_proxies: Networks = Field(default=(), description="addresses whose X-Forwarded-For is believed")
    allow_addresses: Networks = Field(
        default=(), description="the only addresses that may post to IF3's webhook; empty: all"
    )


class Dashboard(Table):
    """The private listener: a page that shows how all stands, and readiness for programs."""

    enabled: Flag = Field(default=True, description="false: no private listener")
    host: Host = Field(
        default="127.0.0.1", description="loopback, unless a trusted network is meant to see it"
    )
    port: Port = Field(default=8788, description="0 takes a free port")


class Limits(Table):
    """How much and how fast; CallRail's own limits are 150 an hour and 1,000 a day."""

    per_hour: Count = Field(default=150, description="texts an account may send in any 60 minutes")
    per_day: Count = Field(default=1000, description="texts an account may send in any 24 hours")
    max_characters: MaxCharacters = Field(
        default=140, description="a longer text is split; 140 is the limit that CallRail documents"
    )
    recipient_interval: Duration = Field(
        default=timedelta(seconds=1), description="between two texts to one person"
    )
    lookups_per_hour: Count = Field(
        default=800,
        description="requests for looking up unknown texts; CallRail allows 1,000 an hour in all",
    )


class Delivery(Table):
    """How texts are sent, and what happens when it is not known whether one was."""

    concurrency: Concurrency = Field(default=4, description="texts under way at one time")
    max_age: SomeTime = Field(default=timedelta(hours=4), description="a text that waited longer is held")
    connect_timeout: SomeTime = Field(
        default=timedelta(seconds=5), description="for a connection to CallRail"
    )
    read_timeout: SomeTime = Field(default=timedelta(seconds=60), description="for CallRail's answer")
    reconcile_after: tuple[SomeTime, ...] = Field(
        default=(timedelta(seconds=15), timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=15)),
        description="when a text with an unknown outcome is looked up, counted from the moment it became so",
    )
    on_unknown: OnUnknown = Field(
        default="ask",
        description="ask a person when a look-up finds nothing, or resend_once",
    )

    @field_validator("reconcile_after")
    @classmethod
    def _rises(cls, after: tuple[timedelta, ...]) -> tuple[timedelta, ...]:
        if not (after and _rises(after)):
            raise ValueError(
                'must be one or more times, each longer than the one before, such as ["15s", "1m"]'
            )
        return after


class Guards(Table):
    """Rules that hold a text for a person; each is hold, warn or off."""

    duplicate: GuardMode = Field(
        default=Mode.HOLD, description="the same words to the same person within `duplicate_window`"
    )
    duplicate_window: SomeTime = Field(
        default=timedelta(seconds=5), description="how soon the same words are taken for sent by mistake"
    )
    mass_text: GuardMode = Field(default=Mode.HOLD, description="similar words to 5 people within 10 minutes")
    opt_out: GuardMode = Field(default=Mode.HOLD, description="the person said STOP to this number")
    too_old: GuardMode = Field(default=Mode.HOLD, description="the text waited longer than delivery.max_age")
    merge_tag: GuardMode = Field(
        default=Mode.HOLD, description="a placeholder such as {{name}} was not filled in"
    )
    quiet_hours: GuardMode = Field(default=Mode.OFF, description="it is night where the recipient is")
    quiet_start: Minute = Field(
        default=time(21), description="when quiet hours begin, by the recipient's own clock"
    )
    quiet_end: Minute = Field(
        default=time(8),
        validate_default=True,
        description="when quiet hours end, by the recipient's own clock",
    )
    quiet_zone: TimeZone | None = Field(
        default=None,
        description="the time zone of all recipients; left out: that of each number",
    )

    @field_validator("quiet_end")
    @classmethod
    def _differs(cls, end: time, info: ValidationInfo) -> time:
        if end == info.data.get("quiet_start"):
            raise ValueError(
                "must differ from guards.quiet_start; to send at any hour set guards.quiet_hours to off"
            )
        return end


class Replies(Table):
    """What people write back, read from CallRail's conversations and told by its webhooks."""

    poll_every: PollEvery = Field(
        default=timedelta(minutes=10),
        description="how often replies are read from CallRail; off if its webhooks are to be trusted alone",
    )
    forward_to: tuple[AlertUrl, ...] = Field(
        default=(),
        description="Apprise addresses that get each reply, with the opportunity in IF3; empty: nobody does",
    )


class Alerts(Table):
    """Who is told when something is wrong, and when it is. `callrail-relay alerts test` tries it."""

    urls: tuple[AlertUrl, ...] = Field(
        default=(), description="Apprise addresses: e-mail, Slack, Telegram and others; empty: nobody is told"
    )
    budget: tuple[Percent, ...] = Field(
        default=(50, 70, 90, 100), description="percent of the hour or the day at which to tell"
    )
    waiting: SomeTime = Field(
        default=timedelta(minutes=15),
        description="how long a text may be held or unknown untold",
    )
    failures: Count = Field(default=5, description="texts that fail within 10 minutes, from which on to tell")

    @field_validator("budget")
    @classmethod
    def _budget_rises(cls, budget: tuple[int, ...]) -> tuple[int, ...]:
        if not _rises(budget):
            raise ValueError("must rise, such as [50, 70, 90, 100]")
        return budget


class Retention(Table):
    """How long what is personal is kept. Ids, times, outcomes and the list of opt-outs stay for ever."""

    after: KeptFor = Field(
        default=timedelta(days=365),
        description="age at which texts, phones, names and raw bodies are removed, or off",
    )


class Log(Table):
    """What the relay says while it works."""

    level: LogLevel = Field(default="info", description="debug, info, warning, error or critical")
    format: LogFormat = Field(
        default="auto", description="auto (pretty on a terminal, else json), pretty or json"
    )


class Database(Table):
    """Where texts are kept."""

    url: DatabaseUrl = Field(
        default_factory=default_database_url,
        description="sqlite:///FILE (default: relay.db in the data directory), or postgresql://...",
    )
    allow_network_drive: Flag = Field(
        default=False,
        description="true: keep SQLite on NFS, SMB or the like all the same, where it breaks one day",
    )


class Settings(Table):
    """All settings, read once by ``loading.load``."""

    callrail: CallRail = CallRail()
    routes: tuple[RouteSettings, ...] = ()
    server: Server = Server()
    dashboard: Dashboard = Dashboard()
    limits: Limits = Limits()
    delivery: Delivery = Delivery()
    guards: Guards = Guards()
    alerts: Alerts = Alerts()
    replies: Replies = Replies()
    retention: Retention = Retention()
    log: Log = Log()
    database: Database = Field(default_factory=Database)

    @field_validator("routes")
    @classmethod
    def _leads_somewhere(
        cls, routes: tuple[RouteSettings, ...], info: ValidationInfo
    ) -> tuple[RouteSettings, ...]:
        if "callrail" in info.data:
            for route in routes:
                route.rule(info.data["callrail"])
        return routes

    def routes_table(self) -> Routes:
        """The routes, their gaps filled from [callrail], which is also the default where it is whole."""
        return Routes(
            tuple(route.rule(self.callrail) for route in self.routes), default=self.callrail.route()
        )


TABLES: dict[str, type[Table]] = {
    "callrail": CallRail,
    "routes": RouteSettings,
    "server": Server,
    "dashboard": Dashboard,
    "limits": Limits,
    "delivery": Delivery,
    "guards": Guards,
    "alerts": Alerts,
    "replies": Replies,
    "retention": Retention,
    "log": Log,
    "database": Database,
}
"""What a table of the settings file is read by."""
