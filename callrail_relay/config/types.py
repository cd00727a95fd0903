"""The type of each setting, and how it's read and written; an error continues "limits.per_hour ..."."""

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import time, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote, unquote, urlsplit
from zoneinfo import available_timezones

from pydantic import AfterValidator, BeforeValidator, Field, IPvAnyNetwork, PlainSerializer, StringConstraints

from callrail_relay.config.places import data_directory
from callrail_relay.domain import read_table, sentences_from
from callrail_relay.domain.guards import Mode
from callrail_relay.domain.phone import BadPhone, normalize
from callrail_relay.domain.routing import is_loopback

must = sentences_from(__package__, "types")
_TABLES = read_table(__package__, "types")
_PATTERNS: dict[str, tuple[str, str]] = _TABLES["patterns"]
_KINDS: dict[str, str] = _TABLES["kinds"]

_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(?P<amount>[0-9]{1,15}(?:\.[0-9]{1,20})?)\s*(?P<unit>[smhd]?)", re.ASCII)
_LONGEST = timedelta(days=3650)
_MINUTE = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])", re.ASCII)
_DATABASES = ("sqlite:///", "postgresql://", "postgresql+psycopg://")


def parse_duration(raw: object) -> timedelta:
    """Return a time of at most ten years, from a timedelta, a number of seconds, or text such as ``4h``."""
    if isinstance(raw, timedelta):
        duration = raw
    else:
        written = _DURATION.fullmatch("" if isinstance(raw, bool) else str(raw).strip())
        if written is None:
            raise ValueError(must("duration"))
        seconds = Decimal(written["amount"]) * _SECONDS[written["unit"]]
        # Whole microseconds: float would lose some of them.
        duration = timedelta(microseconds=int(min(seconds, Decimal(10**9)) * 1_000_000))
    if not timedelta() <= duration <= _LONGEST:
        raise ValueError(must("duration_range"))
    return duration


def duration_text(duration: timedelta | None) -> str:
    """Return the shortest text that is read as *duration*, for example ``4h``; None is ``off``."""
    if duration is None:
        return "off"
    for unit in ("d", "h", "m"):
        whole, rest = divmod(duration, timedelta(seconds=_SECONDS[unit]))
        if whole and not rest:
            return f"{whole}{unit}"
    return f"{Decimal(duration // timedelta.resolution).scaleb(-6).normalize():f}s"


def _at_least(shortest: timedelta, words: str, *off: str | None) -> BeforeValidator:
    def read(raw: object) -> timedelta | None:
        if _lower(raw) in off:
            return None
        duration = parse_duration(raw)
        if duration < shortest:
            raise ValueError(words)
        return duration

    return BeforeValidator(read)


def _rising(words: str, *, least: int = 0) -> AfterValidator:
    def check(values: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(values) < least or any(earlier >= later for earlier, later in pairwise(values)):
            raise ValueError(words)
        return values

    return AfterValidator(check)


def _minute(raw: object) -> time:
    """Return a time of day: ``21:00`` in quotes, or TOML's own ``21:00:00``."""
    if isinstance(raw, time) and raw == time(raw.hour, raw.minute):
        return raw
    written = _MINUTE.fullmatch(raw.strip()) if isinstance(raw, str) else None
    if written is None:
        raise ValueError(must("minute"))
    return time(int(written[1]), int(written[2]))


def _text(raw: object) -> str:
    """Return *raw* without the white space around it; a number is taken as the text that was meant."""
    if isinstance(raw, bool) or not isinstance(raw, str | int):
        raise ValueError(must("text"))  # noqa: TRY004 - pydantic gathers ValueErrors
    text = str(raw).strip()
    if not text:
        raise ValueError(must("empty"))
    return text


def _tracking_number(raw: object) -> str:
    try:
        return normalize(_text(raw))
    except BadPhone as fault:
        raise ValueError(must("tracking_number")) from fault


def _time_zone(raw: object) -> str:
    """Return the name of a time zone with its area. Short ones are refused: "EST" has no summer time."""
    if "/" in (name := _text(raw)) and name in available_timezones():
        return name
    raise ValueError(must("time_zone"))


def _web_address(raw: object) -> str:
    """Return an http(s) address without anything after its path, and without a slash at the end."""
    address = _text(raw).rstrip("/")
    with suppress(ValueError):
        parts = urlsplit(address)
        sound = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        if sound and not re.search(r"[\s?#@\\]", address):
            return address
    raise ValueError(must("web_address"))


def _api_url(raw: object) -> str:
    address = _web_address(raw)
    parts = urlsplit(address)
    if parts.path:
        raise ValueError(must("api_url_path"))
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ValueError(must("api_url_scheme"))
    return address


def check_database_url(raw: object) -> str:
    """Return *raw* if it names a SQLite file or a PostgreSQL server. Raises ValueError."""
    url = _text(raw)
    if not url.startswith(_DATABASES) or url in _DATABASES or url.startswith("sqlite:///:memory:"):
        raise ValueError(must("database_url"))
    if not url.startswith("sqlite:"):
        _check_postgresql_url(url)
    elif "\0" in unquote(url):
        raise ValueError(must("database_file"))
    return url


def _check_postgresql_url(url: str) -> None:
    """Refuse what SQLAlchemy or libpq would refuse in their own words, or read as part of a password."""
    from sqlalchemy import exc, make_url  # noqa: PLC0415 - slow to import, and a store in a file needs none

    try:
        urlsplit(url)  # it sees a bracket that nothing closes
        address = make_url(url)
        host, port, name = address.host or "", address.port or 5432, address.database or ""
    except (exc.ArgumentError, ValueError) as fault:
        raise ValueError(must("postgresql")) from fault
    if re.search(r"\s", url) or "@" in host or "@" in name or not 0 < port < 65536:
        raise ValueError(must("postgresql"))
    try:
        from psycopg import ProgrammingError, conninfo  # noqa: PLC0415 - an extra
    except ImportError:
        return  # reported where the store is opened
    for option in address.query:
        try:
            conninfo.make_conninfo(**{option: ""})
        except (ProgrammingError, TypeError) as fault:
            raise ValueError(must("database_option", option=option)) from fault


def default_database_url(data: Path | None = None) -> str:
    # SQLAlchemy unquotes the path, and takes what follows a "?" for options.
    return f"sqlite:///{quote(((data or data_directory()) / 'relay.db').as_posix(), safe='/:')}"


def _whole_number(raw: object) -> object:
    if isinstance(raw, bool):
        raise ValueError(must("whole_number"))  # noqa: TRY004 - pydantic gathers ValueErrors
    return raw.strip() if isinstance(raw, str) else raw


def _lower(raw: object) -> object:
    return raw.strip().lower() if isinstance(raw, str) else raw


def _host(raw: object) -> str:
    return _text(raw).removeprefix("[").removesuffix("]")


_AS_TEXT = PlainSerializer(duration_text, when_used="json")
_AS_MINUTE = PlainSerializer(lambda moment: f"{moment:%H:%M}", when_used="json")


def _matching(name: str) -> StringConstraints:
    return StringConstraints(pattern=_PATTERNS[name][0])


Text = Annotated[str, BeforeValidator(_text)]
AccountId = Annotated[str, _matching("account_id"), BeforeValidator(_text)]
CompanyId = Annotated[str, _matching("company_id"), BeforeValidator(_text)]
AlertUrl = Annotated[str, _matching("alert_url"), BeforeValidator(_text)]
HeartbeatUrl = Annotated[str, _matching("heartbeat_url"), BeforeValidator(_text)]
Host = Annotated[str, _matching("host"), BeforeValidator(_host)]
TrackingNumber = Annotated[str, BeforeValidator(_tracking_number)]
ApiUrl = Annotated[str, BeforeValidator(_api_url)]
WebAddress = Annotated[str, BeforeValidator(_web_address)]
DatabaseUrl = Annotated[str, BeforeValidator(check_database_url)]
TimeZone = Annotated[str, BeforeValidator(_time_zone)]
Networks = tuple[Annotated[IPvAnyNetwork, BeforeValidator(_text)], ...]
Duration = Annotated[timedelta, BeforeValidator(parse_duration), _AS_TEXT]
SomeTime = Annotated[timedelta, _at_least(timedelta.resolution, must("some_time")), _AS_TEXT]
RisingTimes = Annotated[tuple[SomeTime, ...], _rising(must("rising_times"), least=1)]
PollEvery = Annotated[
    timedelta | None, _at_least(timedelta(minutes=1), must("poll_every"), "off", None), _AS_TEXT
]
KeptFor = Annotated[timedelta | None, _at_least(timedelta(days=2), must("kept_for"), "off", None), _AS_TEXT]
Minute = Annotated[time, BeforeValidator(_minute), _AS_MINUTE]
Flag = Annotated[bool, BeforeValidator(_lower)]
Port = Annotated[int, Field(ge=0, le=65535), BeforeValidator(_whole_number)]
Count = Annotated[int, Field(ge=1), BeforeValidator(_whole_number)]
Percent = Annotated[int, Field(ge=1, le=100), BeforeValidator(_whole_number)]
RisingPercent = Annotated[tuple[Percent, ...], _rising(must("rising_percent"))]
MaxCharacters = Annotated[int, Field(ge=1, le=1530), BeforeValidator(_whole_number)]
Concurrency = Annotated[int, Field(ge=1, le=64), BeforeValidator(_whole_number)]
GuardMode = Annotated[Mode, BeforeValidator(_lower)]
TunnelKind = Annotated[Literal["none", "tailscale", "cloudflared", "ngrok", "ssh"], BeforeValidator(_lower)]
OnUnknown = Annotated[Literal["ask", "resend_once"], BeforeValidator(_lower)]
Weekday = Annotated[
    Literal["off", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"],
    BeforeValidator(_lower),
]
LogLevel = Annotated[Literal["debug", "info", "warning", "error", "critical"], BeforeValidator(_lower)]
LogFormat = Annotated[Literal["auto", "pretty", "json"], BeforeValidator(_lower)]


def explain(kind: str, context: Mapping[str, Any]) -> str | None:
    """Return what a value must be, by the kind of pydantic's error; None if there's no such setting."""
    if kind == "extra_forbidden":
        return None
    if kind == "string_pattern_mismatch":
        return dict(_PATTERNS.values())[context["pattern"]]
    shown = {name: f"{value:g}" if isinstance(value, float) else value for name, value in context.items()}
    return (_KINDS.get(kind) or _KINDS[kind.partition("_")[0]]).format_map(shown)
