"""
What a value of the settings may be: the types of single keys.

A rule that is broken raises a ValueError whose words go on from
"limits.per_hour ...": they begin with "must".
"""

import ipaddress
import re
from datetime import time, timedelta
from typing import Annotated, Literal
from urllib.parse import quote, urlsplit
from zoneinfo import available_timezones

from pydantic import BeforeValidator, Field, PlainValidator

from callrail_relay.config.durations import parse_duration
from callrail_relay.config.places import data_directory
from callrail_relay.domain.addresses import is_loopback
from callrail_relay.domain.guards import Mode
from callrail_relay.domain.phone import BadPhone, normalise

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_ACCOUNT_ID = re.compile(r"ACC[0-9A-Za-z]+|[0-9]{9}", re.ASCII)
_COMPANY_ID = re.compile(r"COM[0-9A-Za-z]+", re.ASCII)
_MINUTE = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])", re.ASCII)
_ALERT_URL = re.compile(r"[0-9A-Za-z][0-9A-Za-z+.-]*://\S", re.ASCII)
_HOST = re.compile(r"[0-9A-Za-z._:%-]+", re.ASCII)
_SHORTEST_KEPT = timedelta(days=2)
_DATABASES = ("sqlite:///", "postgresql://", "postgresql+psycopg://")


def _text(raw: object) -> str:
    """
    *raw* without the white space around it; a number is taken for the text a person meant by it.
    """
    if isinstance(raw, bool) or not isinstance(raw, str | int):
        raise ValueError("must be text in quotes")  # noqa: TRY004  # pydantic gathers ValueErrors only
    text = str(raw).strip()
    if not text:
        raise ValueError("must not be empty: fill it in, or leave it out")
    return text


def _number(raw: object) -> object:
    if isinstance(raw, bool):
        raise ValueError("must be a whole number")  # noqa: TRY004  # pydantic gathers ValueErrors only
    return raw


def _lower(raw: object) -> object:
    return raw.strip().lower() if isinstance(raw, str) else raw


def _account_id(raw: object) -> str:
    account_id = _text(raw)
    if not _ACCOUNT_ID.fullmatch(account_id):
        raise ValueError("must be ACC and what follows it, or the nine digits of CallRail's account number")
    return account_id


def _company_id(raw: object) -> str:
    company_id = _text(raw)
    if not _COMPANY_ID.fullmatch(company_id):
        raise ValueError("must be COM and what follows it, as CallRail's API shows it")
    return company_id


def _tracking_number(raw: object) -> str:
    try:
        return normalise(_text(raw))
    except BadPhone as fault:
        raise ValueError("must be a phone number of the US or Canada: +1 and ten digits") from fault


def _minute(raw: object) -> time:
    """
    A time of day: ``21:00`` in quotes, or TOML's own ``21:00:00``.
    """
    if isinstance(raw, time) and raw == time(raw.hour, raw.minute):
        return raw
    written = _MINUTE.fullmatch(raw.strip()) if isinstance(raw, str) else None
    if written is None:
        raise ValueError('must be a time of day in hours and minutes, such as "21:00"')
    return time(int(written[1]), int(written[2]))


def _time_zone(raw: object) -> str:
    """
    The name of a time zone with its area. Short ones are refused: "EST" has no summer time.
    """
    name = _text(raw)
    if "/" not in name or name not in available_timezones():
        raise ValueError('must be a time zone as the IANA names it, such as "America/New_York"')
    return name


def _some_time(raw: object) -> timedelta:
    duration = parse_duration(raw)
    if not duration:
        raise ValueError("must be longer than 0 seconds")
    return duration


def _poll_every(raw: object) -> timedelta:
    duration = parse_duration(raw)
    if duration < timedelta(minutes=1):
        raise ValueError("must be 1 minute or more: CallRail limits requests; leave it out to look never")
    return duration


def _network(raw: object) -> Network:
    try:
        return ipaddress.ip_network(raw.strip() if isinstance(raw, str) else str(raw))
    except ValueError as fault:
        raise ValueError("must be an IP address or a network such as 10.0.0.0/8") from fault


def _host(raw: object) -> str:
    host = _text(raw).removeprefix("[").removesuffix("]")
    if not _HOST.fullmatch(host):
        raise ValueError("must be an address or a host name alone, such as 127.0.0.1 or 0.0.0.0")
    return host


def _web_address(raw: object) -> str:
    """
    An http(s) address without anything after its path, and without a slash at the end.
    """
    address = _text(raw).rstrip("/")
    try:
        parts = urlsplit(address)
        sound = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound or re.search(r"[\s?#@\\]", address):
        raise ValueError("must be an address such as https://texts.example.com, without a password, ? or #")
    return address


def _api_url(raw: object) -> str:
    address = _web_address(raw)
    parts = urlsplit(address)
    if parts.path:
        raise ValueError("must end with the host, or its port: the relay adds /v3 and the rest")
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ValueError(
            "must begin with https:// (http:// is for this machine's own addresses, such as 127.0.0.1)"
        )
    return address


def check_database_url(raw: object) -> str:
    url = _text(raw)
    if not url.startswith(_DATABASES) or url in _DATABASES or url.startswith("sqlite:///:memory:"):
        raise ValueError("must begin with sqlite:/// and a file, or with postgresql://")
    return url


def _alert_url(raw: object) -> str:
    url = _text(raw)
    if not _ALERT_URL.match(url):
        raise ValueError("must be an address of Apprise, such as mailto://... or slack://...")
    return url


def default_database_url() -> str:
    # SQLAlchemy unquotes the path, and takes what follows a "?" for options.
    return f"sqlite:///{quote((data_directory() / 'relay.db').as_posix(), safe='/:')}"


def _kept_for(raw: object) -> timedelta | None:
    """
    How long something is kept; None for ever.
    """
    if raw is None or (isinstance(raw, str) and raw.strip().lower() == "off"):
        return None
    kept = parse_duration(raw)
    if kept < _SHORTEST_KEPT:
        raise ValueError('must be at least 2d, which the limit of a day looks back on, or "off"')
    return kept


AlertUrl = Annotated[str, PlainValidator(_alert_url)]
Percent = Annotated[int, BeforeValidator(_number), Field(ge=1, le=100)]
Text = Annotated[str, PlainValidator(_text)]
AccountId = Annotated[str, PlainValidator(_account_id)]
CompanyId = Annotated[str, PlainValidator(_company_id)]
TrackingNumber = Annotated[str, PlainValidator(_tracking_number)]
Duration = Annotated[timedelta, PlainValidator(parse_duration)]
SomeTime = Annotated[timedelta, PlainValidator(_some_time)]
KeptFor = Annotated[timedelta | None, PlainValidator(_kept_for)]
PollEvery = Annotated[timedelta, PlainValidator(_poll_every)]
Minute = Annotated[time, PlainValidator(_minute)]
TimeZone = Annotated[str, PlainValidator(_time_zone)]
Host = Annotated[str, PlainValidator(_host)]
Networks = tuple[Annotated[Network, PlainValidator(_network)], ...]
ApiUrl = Annotated[str, PlainValidator(_api_url)]
WebAddress = Annotated[str, PlainValidator(_web_address)]
DatabaseUrl = Annotated[str, PlainValidator(check_database_url)]
Port = Annotated[int, BeforeValidator(_number), Field(ge=0, le=65535)]
Count = Annotated[int, BeforeValidator(_number), Field(ge=1)]
GuardMode = Annotated[Mode, BeforeValidator(_lower)]
MaxCharacters = Annotated[int, BeforeValidator(_number), Field(ge=1, le=1530)]
Concurrency = Annotated[int, BeforeValidator(_number), Field(ge=1, le=64)]
OnUnknown = Annotated[Literal["ask", "resend_once"], BeforeValidator(_lower)]
LogLevel = Annotated[Literal["debug", "info", "warning", "error", "critical"], BeforeValidator(_lower)]
LogFormat = Annotated[Literal["auto", "pretty", "json"], BeforeValidator(_lower)]
