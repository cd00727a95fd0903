"""
What a value of the settings may be: the types of single keys, each with the rule by which it is read.
"""

import ipaddress
import re
from collections.abc import Callable
from datetime import time, timedelta
from functools import partial
from typing import Annotated, Any, Literal
from urllib.parse import quote, unquote, urlsplit
from zoneinfo import available_timezones

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
_WHOLE = re.compile(r"[+-]?[0-9]{1,15}", re.ASCII)
_YES = frozenset({"true", "yes", "on", "1", "t", "y"})
_NO = frozenset({"false", "no", "off", "0", "f", "n"})
_SHORTEST_KEPT = timedelta(days=2)
_POSTGRESQL = (
    "must be written as postgresql://USER:PASSWORD@HOST:PORT/DATABASE, without spaces, and with %40 for an @ "
    "in the password"
)
_DATABASES = ("sqlite:///", "postgresql://", "postgresql+psycopg://")


def _text(raw: object) -> str:
    """
    *raw* without the white space around it; a number is taken for the text a person meant by it.
    """
    if isinstance(raw, bool) or not isinstance(raw, str | int):
        raise ValueError("must be text in quotes")  # noqa: TRY004  # whoever reads a table gathers ValueErrors
    text = str(raw).strip()
    if not text:
        raise ValueError("must not be empty: fill it in, or leave it out")
    return text


def _flag(raw: object) -> bool:
    """
    True or false; in the environment also 1 or 0, yes or no, on or off.
    """
    written = str(raw).strip().lower() if isinstance(raw, bool | int | str) else ""
    if written not in _YES | _NO:
        raise ValueError("must be true or false")
    return written in _YES


def _number(least: int, most: int | None, raw: object) -> int:
    """
    A whole number within its bounds; in the environment all are text.
    """
    number = int(raw) if isinstance(raw, str) and _WHOLE.fullmatch(raw.strip()) else raw
    if isinstance(number, bool) or not isinstance(number, int | float) or number % 1:
        raise ValueError("must be a whole number")
    if number < least:
        raise ValueError(f"must be {least} or more")
    if most is not None and number > most:
        raise ValueError(f"must be {most} or less")
    return int(number)


def _from(least: int, most: int | None = None) -> Callable[[object], int]:
    return partial(_number, least, most)


def _one_of(*words: str) -> Callable[[object], Any]:
    """
    One of *words*, in capitals or small letters.
    """
    *most, last = (f"'{word}'" for word in words)
    known = {str(word): word for word in words}

    def rule(raw: object) -> str:
        written = raw.strip().lower() if isinstance(raw, str) else None
        if written not in known:
            raise ValueError(f"must be {', '.join(most)} or {last}")
        return known[written]

    return rule


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
    if not url.startswith("sqlite:"):
        _check_postgresql_url(url)
    elif "\0" in unquote(url):
        raise ValueError("must name a file; no file has %00 in its name")
    return url


def _check_postgresql_url(url: str) -> None:
    """
    Refuse what SQLAlchemy or libpq would refuse in their own words, or would take a part of a password for.
    """
    # Whoever has a store in a file need not wait for it.
    from sqlalchemy import make_url  # noqa: PLC0415
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415

    try:
        address = make_url(url)
        host, port, name = address.host or "", address.port or 5432, address.database or ""
    except (ArgumentError, ValueError) as fault:
        raise ValueError(_POSTGRESQL) from fault
    if re.search(r"\s", url) or "@" in host or "@" in name or not 0 < port < 65536:
        raise ValueError(_POSTGRESQL)
    try:
        from psycopg import ProgrammingError, conninfo  # noqa: PLC0415 - an extra
    except ImportError:
        return  # said where the store is opened
    for option in address.query:
        try:
            conninfo.make_conninfo(**{option: ""})
        except (ProgrammingError, TypeError) as fault:
            raise ValueError(
                f"must not have the option {option!r}, which PostgreSQL does not know"
            ) from fault


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


AlertUrl = Annotated[str, _alert_url]
Percent = Annotated[int, _from(1, 100)]
Text = Annotated[str, _text]
AccountId = Annotated[str, _account_id]
CompanyId = Annotated[str, _company_id]
TrackingNumber = Annotated[str, _tracking_number]
Duration = Annotated[timedelta, parse_duration]
SomeTime = Annotated[timedelta, _some_time]
KeptFor = Annotated[timedelta | None, _kept_for]
PollEvery = Annotated[timedelta, _poll_every]
Minute = Annotated[time, _minute]
TimeZone = Annotated[str, _time_zone]
Host = Annotated[str, _host]
Networks = tuple[Annotated[Network, _network], ...]
ApiUrl = Annotated[str, _api_url]
WebAddress = Annotated[str, _web_address]
DatabaseUrl = Annotated[str, check_database_url]
Flag = Annotated[bool, _flag]
Port = Annotated[int, _from(0, 65535)]
Count = Annotated[int, _from(1)]
GuardMode = Annotated[Mode, _one_of(*Mode)]
MaxCharacters = Annotated[int, _from(1, 1530)]
Concurrency = Annotated[int, _from(1, 64)]
OnUnknown = Annotated[Literal["ask", "resend_once"], _one_of("ask", "resend_once")]
LogLevel = Annotated[
    Literal["debug", "info", "warning", "error", "critical"],
    _one_of("debug", "info", "warning", "error", "critical"),
]
LogFormat = Annotated[Literal["auto", "pretty", "json"], _one_of("auto", "pretty", "json")]
