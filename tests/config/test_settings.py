from datetime import time, timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest
from pydantic import ValidationError

from callrail_relay.config.settings import (
    TABLES,
    CallRail,
    Dashboard,
    Database,
    Delivery,
    Guards,
    Limits,
    Log,
    Replies,
    Retention,
    RouteSettings,
    Server,
    Settings,
    Table,
)
from callrail_relay.config.types import explain
from callrail_relay.domain.guards import Mode
from callrail_relay.domain.routing import Route, RouteRule, Routes

OWN = {"account_id": "ACC1", "company_id": "COM1", "tracking_number": "+12025550122"}


def words(table: type[Table], **values: object) -> str:
    """What is wrong with these values."""
    with pytest.raises(ValidationError) as caught:
        table.model_validate(values)
    return "; ".join(str(explain(fault["type"], fault.get("ctx", {}))) for fault in caught.value.errors())


def test_every_key_has_its_default() -> None:
    """An empty file is a working set of settings, with the values that the contract names."""
    settings = Settings()

    assert "https://api.callrail.com" == settings.callrail.api_url
    assert not settings.callrail.accepted_terms
    assert ("127.0.0.1", 8787, None) == (
        settings.server.host,
        settings.server.port,
        settings.server.public_url,
    )
    assert ((), ()) == (settings.server.trusted_proxies, settings.server.allow_addresses)
    assert Dashboard(enabled=True, host="127.0.0.1", port=8788) == settings.dashboard
    assert (
        Limits(per_hour=150, per_day=1000, max_characters=140, recipient_interval=timedelta(seconds=1))
        == settings.limits
    )
    assert 4 == settings.delivery.concurrency
    assert timedelta(hours=4) == settings.delivery.max_age
    assert (timedelta(seconds=5), timedelta(seconds=60)) == (
        settings.delivery.connect_timeout,
        settings.delivery.read_timeout,
    )
    assert [15, 60, 300, 900] == [after.total_seconds() for after in settings.delivery.reconcile_after]
    assert "ask" == settings.delivery.on_unknown
    assert {
        "duplicate_window": timedelta(seconds=5),
        "quiet_hours": Mode.OFF,
        "quiet_start": time(21),
        "quiet_end": time(8),
        "quiet_zone": None,
    } == {key: value for key, value in dict(settings.guards).items() if value is not Mode.HOLD}
    assert Log(level="info", format="auto") == settings.log


def test_tables_are_those_of_the_settings() -> None:
    """One check covers all of the tables."""
    assert list(Settings.model_fields) == list(TABLES)
    assert all(key.description for table in TABLES.values() for key in table.model_fields.values())


def test_settings_do_not_change() -> None:
    """They are read once."""
    settings = Settings()
    with pytest.raises(ValidationError):
        settings.limits = Limits()
    with pytest.raises(ValidationError):
        settings.limits.per_hour = 3


@pytest.mark.parametrize("account_id", ["ACC00000000000000000000000000000001", "123456789", 123456789])
def test_account_ids_are_kept_as_text(account_id: str | int) -> None:
    """Both kinds of account id, with or without quotes."""
    assert str(account_id) == CallRail.model_validate({"account_id": account_id}).account_id


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("account_id", "ABC1", "must be the whole ACC"),
        ("account_id", 12345678, "must be the whole ACC"),
        ("account_id", " ", "must not be empty"),
        ("account_id", True, "must be text in quotes"),
        ("account_id", ["ACC1"], "must be text in quotes"),
        ("company_id", "ACC1", "must be the whole COM"),
        ("company_id", "COM-1", "must be the whole COM"),
        ("tracking_number", "555-0122", "with its area code"),
        ("tracking_number", "+18765550122", "a US or Canadian number that can text"),
        ("api_url", "http://api.callrail.com", "must begin with https://"),
        ("api_url", "http://localhost.example.com", "must begin with https://"),
        ("api_url", "https://api.callrail.com/v3", "must end with the host"),
        ("api_url", "api.callrail.com", "must be an address"),
        ("api_url", "ftp://api.callrail.com", "must be an address"),
        ("api_url", "https://", "must be an address"),
        ("api_url", "https://key@api.callrail.com", "must be an address"),
        ("api_url", "https://api.callrail.com?x=1", "must be an address"),
        ("api_url", "http://127.0.0.1:99999", "must be an address"),
        ("api_url", "http://[::1", "must be an address"),
        ("accepted_terms", "perhaps", "must be true or false"),
    ],
)
def test_wrong_callrail_values_are_refused(key: str, value: object, rule: str) -> None:
    """The words go on from the key's name."""
    assert rule in words(CallRail, **{key: value})


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://api.callrail.com/", "https://api.callrail.com"),
        ("http://127.0.0.1:8900", "http://127.0.0.1:8900"),
        ("http://127.8.0.9/", "http://127.8.0.9"),
        ("http://[::1]:8900", "http://[::1]:8900"),
        ("http://localhost:8900", "http://localhost:8900"),
    ],
)
def test_unencrypted_addresses_are_for_this_machine(given: str, kept: str) -> None:
    """A sandbox on loopback needs no TLS; a slash at the end says nothing."""
    assert kept == CallRail.model_validate({"api_url": given}).api_url


@pytest.mark.parametrize("written", ["+12025550122", "(202) 555-0122", 12025550122, 2025550122])
def test_tracking_numbers_are_normalized(written: str | int) -> None:
    """E.164 inside, whatever a person wrote; TOML reads +1... without quotes as a number."""
    assert "+12025550122" == CallRail.model_validate({"tracking_number": written}).tracking_number


@pytest.mark.parametrize(
    ("table", "key", "value", "rule"),
    [
        (Server, "port", -1, "must be 0 or more"),
        (Server, "port", 65536, "must be 65535 or less"),
        (Server, "port", True, "must be a whole number"),
        (Server, "host", "http://127.0.0.1", "must be just an address or a host name"),
        (Server, "host", "", "must not be empty"),
        (Server, "public_url", "texts.example.com", "must be an address"),
        (Server, "trusted_proxies", ["10.0.0.1/8"], "must be an IP address or a network"),
        (Server, "allow_addresses", [5], "must be an IP address or a network"),
        (Server, "allow_addresses", "10.0.0.1", "must be a list"),
        (Limits, "per_hour", 0, "must be 1 or more"),
        (Limits, "per_hour", 1.5, "must be a whole number"),
        (Limits, "per_hour", True, "must be a whole number"),
        (Limits, "per_day", "many", "must be a whole number"),
        (Limits, "max_characters", 0, "must be 1 or more"),
        (Limits, "max_characters", 1531, "must be 1530 or less"),
        (Limits, "recipient_interval", "soon", "must be a number of seconds"),
        (Delivery, "concurrency", 0, "must be 1 or more"),
        (Delivery, "concurrency", 65, "must be 64 or less"),
        (Delivery, "read_timeout", 0, "must be longer than 0"),
        (Delivery, "reconcile_after", [], "must be one or more times"),
        (Delivery, "reconcile_after", ["1m", "15s"], "must be one or more times"),
        (Delivery, "reconcile_after", ["15s", "15s"], "must be one or more times"),
        (Delivery, "reconcile_after", ["x"], "must be a number of seconds"),
        (Delivery, "on_unknown", "resend", "'ask' or 'resend_once'"),
        (Guards, "duplicate", "block", "'hold', 'warn' or 'off'"),
        (Guards, "duplicate", True, "'hold', 'warn' or 'off'"),
        (Guards, "quiet_start", "24:00", "must be a time of day"),
        (Guards, "quiet_start", "9:00", "must be a time of day"),
        (Guards, "quiet_start", 21, "must be a time of day"),
        (Guards, "quiet_start", time(21, 0, 1), "must be a time of day"),
        (Guards, "quiet_start", "08:00", "must differ from guards.quiet_start"),
        (Guards, "quiet_end", "21:00", "must differ from guards.quiet_start"),
        (Guards, "quiet_zone", "EST", "must be an IANA time zone"),
        (Guards, "quiet_zone", "america/new_york", "must be an IANA time zone"),
        (Guards, "quiet_zone", "America/Washington", "must be an IANA time zone"),
        (Guards, "quiet_zone", "../etc/localtime", "must be an IANA time zone"),
        (Guards, "quiet_zone", "", "must not be empty"),
        (Log, "level", "loud", "'debug', 'info'"),
        (Log, "format", "xml", "'auto', 'pretty' or 'json'"),
        (Database, "url", "mysql://localhost/relay", "must begin with sqlite:///"),
        (Database, "url", "relay.db", "must begin with sqlite:///"),
        (Database, "url", "sqlite:///", "must begin with sqlite:///"),
        (Database, "url", "sqlite://", "must begin with sqlite:///"),
        (Database, "url", "sqlite:///:memory:", "must begin with sqlite:///"),
        (RouteSettings, "company_id", "COM1", "must name a team_id or a sender_id"),
        (RouteSettings, "team_id", "", "must not be empty"),
        (Replies, "poll_every", "59s", 'must be "off", or 1 minute or more'),
        (Replies, "poll_every", "soon", "must be"),
        (Replies, "forward_to", ["me@example.com"], "must be an Apprise address"),
    ],
)
def test_wrong_values_are_refused(table: type[Table], key: str, value: object, rule: str) -> None:
    """A value out of its bounds is reported with the bounds."""
    assert rule in words(table, **{key: value})


def test_values_are_read_as_people_write_them() -> None:
    """Case and white space say nothing; times and networks become what they are."""
    server = Server.model_validate(
        {"host": "[::]", "public_url": "https://x.example/relay/", "trusted_proxies": ["10.0.0.0/8", " ::1 "]}
    )
    guards = Guards.model_validate({"opt_out": " Warn", "quiet_start": time(22), "quiet_end": "06:30"})
    noon = Guards(quiet_start=time(12), quiet_end=time(13), quiet_zone="America/Chicago")

    assert ("::", "https://x.example/relay") == (server.host, server.public_url)
    assert (ip_network("10.0.0.0/8"), ip_network("::1")) == server.trusted_proxies
    assert (Mode.WARN, time(22), time(6, 30)) == (guards.opt_out, guards.quiet_start, guards.quiet_end)
    assert (time(12), time(13), "America/Chicago") == (noon.quiet_start, noon.quiet_end, noon.quiet_zone)
    assert "debug" == Log.model_validate({"level": "DEBUG"}).level


@pytest.mark.parametrize(
    ("written", "number", "enabled"),
    [("0", 0, False), (" 9000 ", 9000, True), ("+80", 80, "yes"), (8788.0, 8788, "ON"), (1, 1, "0")],
)
def test_numbers_and_flags_may_be_text(written: object, number: int, enabled: object) -> None:
    """As they are in the environment, where everything is."""
    table = Dashboard.model_validate({"port": written, "enabled": enabled})

    assert (number, enabled in {True, "yes", "ON"}) == (table.port, table.enabled)
    assert type(table.port) is int


def test_every_fault_of_a_table_is_told() -> None:
    """What contradicts something that is wrong itself is not one more."""
    wrong = {"quiet_start": "24:00", "quiet_end": "24:00", "opt_out": "no", "colour": 1}

    assert "must be a time of day" in (told := words(Guards, **wrong))
    assert "'hold', 'warn' or 'off'" in told
    assert "must differ" not in told
    assert 4 == len(told.split("; "))


@pytest.mark.parametrize(
    "url", ["sqlite:////var/lib/relay.db", "postgresql://u:p@db/relay", "postgresql+psycopg:///relay"]
)
def test_databases(url: str) -> None:
    """A file or a server."""
    assert url == Database(url=url).url


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:sesame@db:port/relay",
        "postgresql://u:sesame@db:99999/relay",
        "postgresql://u:sesame@[::1/relay",
        "postgresql://u:ses@me@db/relay",
        "postgresql:// u:sesame@db/relay",
        "postgresql+asyncpg://u:sesame@db/relay",
        "postgresql://db/relay?sslpasword=sesame",
        "sqlite:////var/lib/sesame%00.db",
    ],
)
def test_database_that_cannot_be_read_is_a_fault_of_its_key(url: str) -> None:
    """What SQLAlchemy or libpq would refuse later is refused here, and nothing of the URL is shown."""
    told = words(Database, url=url)

    assert "must " in told
    assert "sesame" not in told
    assert "me@" not in told


def test_database_lies_in_the_data_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The directory is asked for late, and may hold what a URL would misread."""
    monkeypatch.setenv("CALLRAIL_RELAY_DATA", str(tmp_path / "100% mine?"))

    assert Settings().database.url.startswith("sqlite:///")
    assert Settings().database.url.endswith("/100%25%20mine%3F/relay.db")


def test_routes_take_what_they_leave_out_from_callrail() -> None:
    """First to last as written, with the default behind them."""
    settings = Settings.model_validate(
        {
            "callrail": OWN,
            "routes": [
                {"team_id": 42, "company_id": "COM2"},
                {"sender_id": "789", "team_id": "43", "tracking_number": "2025550133", "account_id": "ACC2"},
            ],
        }
    )

    default = Route("ACC1", "COM1", "+12025550122")
    assert (
        Routes(
            (
                RouteRule(Route("ACC1", "COM2", "+12025550122"), team_id="42"),
                RouteRule(Route("ACC2", "COM1", "+12025550133"), team_id="43", sender_id="789"),
            ),
            default,
        )
        == settings.routes_table()
    )


@pytest.mark.parametrize("missing", ["account_id", "company_id", "tracking_number"])
def test_half_a_route_is_none(missing: str) -> None:
    """[callrail] is the default only where it is whole, and may fill gaps all the same."""
    rest = {key: value for key, value in OWN.items() if key != missing}
    settings = Settings.model_validate(
        {"callrail": rest, "routes": [{"team_id": "42", missing: OWN[missing]}]}
    )

    assert settings.routes_table().default is None
    assert [Route("ACC1", "COM1", "+12025550122")] == list(settings.routes_table())


@pytest.mark.parametrize("missing", ["account_id", "company_id", "tracking_number"])
def test_route_that_leads_nowhere_is_refused(missing: str) -> None:
    """What neither the route nor [callrail] says is named."""
    rest = {key: value for key, value in OWN.items() if key != missing}

    with pytest.raises(ValidationError, match=f"must each have {missing}"):
        Settings.model_validate({"callrail": rest, "routes": [{"team_id": "42"}]})


def test_route_is_not_blamed_for_callrail() -> None:
    """One fault is reported once."""
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({"callrail": {"account_id": "x"}, "routes": [{"team_id": "42"}]})

    assert [("callrail", "account_id")] == [fault["loc"] for fault in caught.value.errors()]


def test_no_settings_no_route() -> None:
    assert Routes() == Settings().routes_table()


@pytest.mark.parametrize(
    ("raw", "after"), [("off", None), ("30d", timedelta(days=30)), (172800, timedelta(days=2))]
)
def test_what_is_personal_is_kept_for_a_time_or_for_ever(raw: object, after: timedelta | None) -> None:
    """A time, or off."""
    assert after == Retention.model_validate({"after": raw}).after


@pytest.mark.parametrize("raw", ["1d", "never", 0, -1])
def test_what_is_personal_is_kept_for_two_days_at_least(raw: object) -> None:
    """The limit of a day is reckoned from what is kept."""
    with pytest.raises(ValidationError, match="must"):
        Retention.model_validate({"after": raw})


def test_replies_are_polled_every_ten_minutes_or_never() -> None:
    assert timedelta(minutes=10) == Replies().poll_every
    assert Replies.model_validate({"poll_every": "off"}).poll_every is None
