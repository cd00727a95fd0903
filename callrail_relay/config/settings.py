"""Everything that can be set, with its default. ``settings.toml`` has what each key says."""

from collections.abc import Mapping
from datetime import time, timedelta
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from callrail_relay.config import types as t
from callrail_relay.domain import read_table
from callrail_relay.domain.guards import Mode
from callrail_relay.domain.routing import Route, RouteRule, Routes
from callrail_relay.domain.tunnels import Kind, Tunnel


class Table(BaseModel):
    """A table of the settings file: what is not listed is refused, and nothing changes once it is read."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class CallRail(Table):
    """The CallRail account, and the number that sends texts if no route matches."""

    api_url: t.ApiUrl = "https://api.callrail.com"
    account_id: t.AccountId | None = None
    company_id: t.CompanyId | None = None
    tracking_number: t.TrackingNumber | None = None
    accepted_terms: t.Flag = False

    def route(self) -> Route | None:
        """The default route for texts that no rule matches; None unless all three parts are set."""
        if self.account_id and self.company_id and self.tracking_number:
            return Route(self.account_id, self.company_id, self.tracking_number)
        return None


class RouteSettings(Table):
    """One [[routes]] table: whose texts are sent from another account, company or number."""

    team_id: t.Text | None = None
    sender_id: t.Text | None = None
    account_id: t.AccountId | None = None
    company_id: t.CompanyId | None = None
    tracking_number: t.TrackingNumber | None = None

    @model_validator(mode="after")
    def _names_a_sender(self) -> Self:
        if self.team_id is None and self.sender_id is None:
            raise ValueError(t.must("sender"))
        return self

    def rule(self, fallback: CallRail) -> RouteRule:
        """This route with its gaps filled from *fallback*; ValueError names a gap that stays."""
        parts = {part: getattr(self, part) or getattr(fallback, part) for part in Route.__slots__}
        for part, value in parts.items():
            if value is None:
                raise ValueError(t.must("route_part", part=part))
        return RouteRule(Route(**parts), team_id=self.team_id, sender_id=self.sender_id)


class Server(Table):
    """The public listener, which IF3 posts to."""

    host: t.Host = "127.0.0.1"
    port: t.Port = 8787
    public_url: t.WebAddress | None = None
    trusted_proxies: t.Networks = ()
    allow_addresses: t.Networks = ()
    keep_awake: t.Flag = False


class Dashboard(Table):
    """The private listener: the dashboard for people, and readiness checks for programs."""

    enabled: t.Flag = True
    host: t.Host = "127.0.0.1"
    port: t.Port = 8788


class TunnelSettings(Table):
    """The tunnel that gives the relay its public address: `callrail-relay expose` writes it."""

    kind: t.TunnelKind = "none"
    program: t.Text | None = None
    address: t.WebAddress | None = None
    target: t.Text | None = None
    remote_port: t.Port = 0
    for_now: t.Flag = False
    trusted: t.Text | None = None

    def tunnel(self) -> Tunnel | None:
        if self.kind == "none":
            return None
        given = self.model_dump(include={*Tunnel.__slots__}, exclude_none=True)
        return Tunnel(**{"program": self.kind, **given, "kind": Kind(self.kind)})


class Limits(Table):
    """How much and how fast; CallRail's own limits are 150 an hour and 1,000 a day."""

    per_hour: t.Count = 150
    per_day: t.Count = 1000
    max_characters: t.MaxCharacters = 140
    recipient_interval: t.Duration = timedelta(seconds=1)
    lookups_per_hour: t.Count = 800


class Delivery(Table):
    """How texts are sent, and what happens when it is not known whether one was."""

    concurrency: t.Concurrency = 4
    max_age: t.SomeTime = timedelta(hours=4)
    connect_timeout: t.SomeTime = timedelta(seconds=5)
    read_timeout: t.SomeTime = timedelta(minutes=1)
    reconcile_after: t.RisingTimes = tuple(map(t.parse_duration, ("15s", "1m", "5m", "15m")))
    on_unknown: t.OnUnknown = "ask"


class Guards(Table):
    """Rules that hold a text for a person; each is hold, warn or off."""

    duplicate: t.GuardMode = Mode.HOLD
    duplicate_window: t.SomeTime = timedelta(seconds=5)
    mass_text: t.GuardMode = Mode.HOLD
    opt_out: t.GuardMode = Mode.HOLD
    too_old: t.GuardMode = Mode.HOLD
    merge_tag: t.GuardMode = Mode.HOLD
    quiet_hours: t.GuardMode = Mode.OFF
    quiet_start: t.Minute = time(21)
    quiet_end: t.Minute = time(8)
    quiet_zone: t.TimeZone | None = None

    @field_validator("quiet_end")
    @classmethod
    def _differs(cls, end: time, info: ValidationInfo) -> time:
        if end == info.data.get("quiet_start"):
            raise ValueError(t.must("quiet_end"))
        return end


class Replies(Table):
    """What people write back, from CallRail's conversations and its webhooks."""

    poll_every: t.PollEvery = timedelta(minutes=10)
    forward_to: tuple[t.AlertUrl, ...] = ()


class Alerts(Table):
    """Who gets alerts, and when. To try it, run `callrail-relay alerts test`."""

    urls: tuple[t.AlertUrl, ...] = ()
    budget: t.RisingPercent = (50, 70, 90, 100)
    waiting: t.SomeTime = timedelta(minutes=15)
    failures: t.Count = 5
    weekly_summary: t.Weekday = "monday"
    heartbeat_url: t.HeartbeatUrl | None = None


class Retention(Table):
    """How long personal data is kept. Ids, times, outcomes and the list of opt-outs stay forever."""

    after: t.KeptFor = timedelta(days=365)


class Log(Table):
    """What the relay says while it works."""

    level: t.LogLevel = "info"
    format: t.LogFormat = "auto"


class Database(Table):
    """Where texts are kept."""

    url: t.DatabaseUrl = Field(default_factory=t.default_database_url)
    allow_network_drive: t.Flag = False


class Settings(Table):
    """All settings, read once by ``loading.load``."""

    callrail: CallRail = CallRail()
    routes: tuple[RouteSettings, ...] = ()
    server: Server = Server()
    dashboard: Dashboard = Dashboard()
    tunnel: TunnelSettings = TunnelSettings()
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
    def _leads_somewhere(cls, routes: tuple[RouteSettings, ...], info: ValidationInfo) -> object:
        if "callrail" in info.data:
            for route in routes:
                route.rule(info.data["callrail"])
        return routes

    def routes_table(self) -> Routes:
        """The routes, their gaps filled from [callrail], which is also the default if it is complete."""
        rules = tuple(route.rule(self.callrail) for route in self.routes)
        return Routes(rules, default=self.callrail.route())

    def by_key(self) -> dict[str, Any]:
        """The value of each key, such as limits.per_hour, as it's written; the routes are one."""
        values: dict[str, Any] = {}
        for name, table in self.model_dump(mode="json").items():
            values |= {name: table} if name == "routes" else {f"{name}.{key}": table[key] for key in table}
        return values

    def differing(self, other: "Settings") -> dict[str, Any]:
        """The values, by key, that are not those of *other*."""
        others = other.by_key()
        return {key: value for key, value in self.by_key().items() if value != others[key]}


def nested(values: Mapping[str, object]) -> dict[str, Any]:
    """Return *values*, by key, as the file has them: each in its table."""
    tables: dict[str, Any] = {}
    for name, value in values.items():
        table, _, key = name.partition(".")
        if key:
            tables.setdefault(table, {})[key] = value
        else:
            tables[table] = value
    return tables


TABLES: dict[str, type[Table]] = {
    name: RouteSettings if name == "routes" else field.annotation  # type: ignore[misc]  # a class
    for name, field in Settings.model_fields.items()
}

for _name, _words in read_table(__package__, "settings").items():
    for _key, _field in TABLES[_name].model_fields.items():
        _field.description = _words[_key]
