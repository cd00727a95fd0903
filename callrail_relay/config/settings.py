"""Everything that can be set. The words beside a default are comments in a new file, and the reference."""

from datetime import time
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from callrail_relay.config import types as t
from callrail_relay.domain.guards import Mode
from callrail_relay.domain.routing import Route, RouteRule, Routes
from callrail_relay.domain.tunnels import Kind, Tunnel


class Table(BaseModel):
    """A table of the settings file: what is not listed is refused, and nothing changes once it is read."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _key(default: Any, words: str) -> Any:  # noqa: ANN401 - as pydantic's own Field
    return Field(default, description=words, validate_default=True)


class CallRail(Table):
    """The CallRail account, and the number that sends texts if no route matches."""

    api_url: t.ApiUrl = _key(
        "https://api.callrail.com", "CallRail's API; http:// for a sandbox on this machine only"
    )
    account_id: t.AccountId | None = _key(None, "ACC..., or the nine-digit account number")
    company_id: t.CompanyId | None = _key(None, "COM..., the company the texts are sent for")
    tracking_number: t.TrackingNumber | None = _key(None, "the CallRail number that sends the texts")
    accepted_terms: t.Flag = _key(
        default=False,
        words="true: a person writes every text, to a person who agreed; CallRail forbids mass texts",
    )

    def route(self) -> Route | None:
        """The default route for texts that no rule matches; None unless all three parts are set."""
        if self.account_id and self.company_id and self.tracking_number:
            return Route(self.account_id, self.company_id, self.tracking_number)
        return None


class RouteSettings(Table):
    """One [[routes]] table: whose texts are sent from another account, company or number."""

    team_id: t.Text | None = _key(None, "the team in IF3")
    sender_id: t.Text | None = _key(None, "the sender in IF3")
    account_id: t.AccountId | None = _key(None, "left out: that of [callrail]")
    company_id: t.CompanyId | None = _key(None, "left out: that of [callrail]")
    tracking_number: t.TrackingNumber | None = _key(None, "left out: that of [callrail]")

    @model_validator(mode="after")
    def _names_a_sender(self) -> Self:
        if self.team_id is None and self.sender_id is None:
            raise ValueError(
                "must name a team_id or a sender_id; all other texts are sent as [callrail] says"
            )
        return self

    def rule(self, fallback: CallRail) -> RouteRule:
        """This route with its gaps filled from *fallback*; ValueError names a gap that stays."""
        parts = {part: getattr(self, part) or getattr(fallback, part) for part in Route.__slots__}
        for part, value in parts.items():
            if value is None:
                raise ValueError(f"must each have {part}, of their own or from [callrail]")
        return RouteRule(Route(**parts), team_id=self.team_id, sender_id=self.sender_id)


class Server(Table):
    """The public listener, which IF3 posts to."""

    host: t.Host = _key("127.0.0.1", "0.0.0.0 to be reached without a proxy or tunnel on this machine")
    port: t.Port = _key(8787, "0 takes a free port")
    public_url: t.WebAddress | None = _key(None, "the address under which IF3 reaches this listener")
    trusted_proxies: t.Networks = _key((), "addresses whose X-Forwarded-For is believed")
    allow_addresses: t.Networks = _key((), "the only addresses that may post to IF3's webhook; empty: all")
    keep_awake: t.Flag = _key(
        default=False, words="true: this computer doesn't go to sleep by itself while `serve` runs"
    )


class Dashboard(Table):
    """The private listener: the dashboard for people, and readiness checks for programs."""

    enabled: t.Flag = _key(default=True, words="false: no private listener")
    host: t.Host = _key("127.0.0.1", "loopback, unless a trusted network is meant to see it")
    port: t.Port = _key(8788, "0 takes a free port")


class TunnelSettings(Table):
    """The tunnel that gives the relay its public address: `callrail-relay expose` writes it."""

    kind: t.TunnelKind = _key("none", "tailscale, cloudflared, ngrok or ssh; `serve` keeps it up")
    program: t.Text | None = _key(None, "the path of its program")
    address: t.WebAddress | None = _key(None, "the URL it is to have; left out: a temporary one")
    target: t.Text | None = _key(None, "USER@HOST of ssh, or the name of cloudflared's tunnel")
    remote_port: t.Port = _key(0, "the port on the server of ssh, or Tailscale's port")
    for_now: t.Flag = _key(default=False, words="true: the address is for trying things out")
    trusted: t.Text | None = _key(None, "what `expose` added to server.trusted_proxies")

    def tunnel(self) -> Tunnel | None:
        if self.kind == "none":
            return None
        return Tunnel(
            kind=Kind(self.kind),
            program=self.program or self.kind,
            address=self.address,
            target=self.target or "",
            remote_port=self.remote_port,
        )


class Limits(Table):
    """How much and how fast; CallRail's own limits are 150 an hour and 1,000 a day."""

    per_hour: t.Count = _key(150, "texts an account may send in any 60 minutes")
    per_day: t.Count = _key(1000, "texts an account may send in any 24 hours")
    max_characters: t.MaxCharacters = _key(
        140, "a longer text is split; 140 is the limit that CallRail documents"
    )
    recipient_interval: t.Duration = _key("1s", "between two texts to one person")
    lookups_per_hour: t.Count = _key(
        800,
        "requests for looking up unknown texts and, three quarters at most, for polling replies; CallRail "
        "allows 1,000 an hour in all",
    )


class Delivery(Table):
    """How texts are sent, and what happens when it is not known whether one was."""

    concurrency: t.Concurrency = _key(4, "texts under way at one time")
    max_age: t.SomeTime = _key("4h", "a text that waited longer is held")
    connect_timeout: t.SomeTime = _key("5s", "for a connection to CallRail")
    read_timeout: t.SomeTime = _key("1m", "for CallRail's answer")
    reconcile_after: t.RisingTimes = _key(
        ("15s", "1m", "5m", "15m"),
        "when a text with an unknown outcome is looked up, counted from the moment it became so",
    )
    on_unknown: t.OnUnknown = _key("ask", "ask a person when a look-up finds nothing, or resend_once")


class Guards(Table):
    """Rules that hold a text for a person; each is hold, warn or off."""

    duplicate: t.GuardMode = _key(Mode.HOLD, "the same words to the same person within `duplicate_window`")
    duplicate_window: t.SomeTime = _key("5s", "how soon the same words are taken for sent by mistake")
    mass_text: t.GuardMode = _key(Mode.HOLD, "similar words to 5 people within 10 minutes")
    opt_out: t.GuardMode = _key(Mode.HOLD, "the person said STOP to this number")
    too_old: t.GuardMode = _key(Mode.HOLD, "the text waited longer than delivery.max_age")
    merge_tag: t.GuardMode = _key(Mode.HOLD, "a placeholder such as {{name}} was not filled in")
    quiet_hours: t.GuardMode = _key(Mode.OFF, "it is night where the recipient is")
    quiet_start: t.Minute = _key(time(21), "when quiet hours begin, by the recipient's own clock")
    quiet_end: t.Minute = _key(time(8), "when quiet hours end, by the recipient's own clock")
    quiet_zone: t.TimeZone | None = _key(
        None, "the time zone of all recipients; left out: that of each number"
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
    """What people write back, from CallRail's conversations and its webhooks."""

    poll_every: t.PollEvery = _key(
        "10m",
        "how often replies are read from CallRail; off if its webhooks are to be trusted alone",
    )
    forward_to: tuple[t.AlertUrl, ...] = _key(
        (), "Apprise addresses that get each reply, with the opportunity in IF3; empty: not passed on"
    )


class Alerts(Table):
    """Who gets alerts, and when. To try it, run `callrail-relay alerts test`."""

    urls: tuple[t.AlertUrl, ...] = _key(
        (), "Apprise addresses: email, Slack, Telegram and others; empty: no alerts"
    )
    budget: t.RisingPercent = _key(
        (50, 70, 90, 100), "percent of the hourly or daily limit at which to alert"
    )
    waiting: t.SomeTime = _key("15m", "how long a text may be held or unknown before an alert")
    failures: t.Count = _key(5, "how many texts must fail within 10 minutes for an alert")
    weekly_summary: t.Weekday = _key(
        "monday",
        'the day that begins with a summary of the week, at 8 AM by this computer\'s clock, or "off"',
    )
    heartbeat_url: t.HeartbeatUrl | None = _key(
        None, "an address that is requested every minute while all is well, as of healthchecks.io"
    )


class Retention(Table):
    """How long personal data is kept. Ids, times, outcomes and the list of opt-outs stay forever."""

    after: t.KeptFor = _key("365d", "age at which texts, phones, names and raw bodies are removed, or off")


class Log(Table):
    """What the relay says while it works."""

    level: t.LogLevel = _key("info", "debug, info, warning, error or critical")
    format: t.LogFormat = _key("auto", "auto (words on a terminal, else json), pretty or json")


class Database(Table):
    """Where texts are kept."""

    url: t.DatabaseUrl = Field(
        default_factory=t.default_database_url,
        description="sqlite:///FILE (default: relay.db in the data directory), or postgresql://...",
    )
    allow_network_drive: t.Flag = _key(
        default=False, words="true: allow SQLite on NFS, SMB or the like, where it breaks sooner or later"
    )


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


TABLES: dict[str, type[Table]] = {
    name: RouteSettings if name == "routes" else field.annotation  # type: ignore[misc]  # a class
    for name, field in Settings.model_fields.items()
}
