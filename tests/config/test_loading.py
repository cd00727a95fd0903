from collections.abc import Callable
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest

from callrail_relay.bootstrap.context import load_context
from callrail_relay.config.loading import ignored_variables, load, variable_names
from callrail_relay.config.places import default_config_file
from callrail_relay.config.settings import Settings
from callrail_relay.errors import SettingsError
from tests.config.test_places import posix_only

Write = Callable[[str], Path]


@pytest.fixture
def config(tmp_path: Path) -> Write:
    """Writes a settings file and gives its path."""

    def write(text: str) -> Path:
        path = tmp_path / "config.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def fault(path: Path | None = None, **overrides: object) -> str:
    """What is wrong with the settings."""
    with pytest.raises(SettingsError) as caught:
        load(path, overrides=overrides)
    return str(caught.value)


def test_nothing_set_is_the_defaults() -> None:
    """The default file may be missing."""
    assert Settings() == load()


def test_default_file_is_read() -> None:
    """You don't need to name it."""
    default_config_file().parent.mkdir(parents=True)
    default_config_file().write_text("[limits]\nper_hour = 3\n")

    assert 3 == load().limits.per_hour


def test_flags_over_environment_over_file_over_default(
    config: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each key is taken from the highest source that has it."""
    path = config("[limits]\nper_hour = 1\nper_day = 1\nmax_characters = 1\n")
    monkeypatch.setenv("CALLRAIL_RELAY_LIMITS__PER_HOUR", "2")
    monkeypatch.setenv("CALLRAIL_RELAY_LIMITS__PER_DAY", "2")

    limits = load(path, overrides={"limits": {"per_hour": 3, "per_day": None}, "server": {}}).limits

    assert (3, 2, 1, timedelta(seconds=1)) == (
        limits.per_hour,
        limits.per_day,
        limits.max_characters,
        limits.recipient_interval,
    )


def test_variable_names_the_file(config: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """CALLRAIL_RELAY_CONFIG is no setting itself."""
    monkeypatch.setenv("CALLRAIL_RELAY_CONFIG", str(config("[limits]\nper_hour = 1\n")))
    monkeypatch.setenv("CALLRAIL_RELAY_HOOK_TOKEN", "t")

    assert 1 == load().limits.per_hour


def test_environment_is_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers, times, lists and tables are read from it as the file would hold them."""
    for name, value in {
        "CALLRAIL__ACCOUNT_ID": "123456789",
        "CALLRAIL__ACCEPTED_TERMS": "true",
        "CALLRAIL": '{"company_id": "COM1", "tracking_number": "+12025550122"}',
        "ROUTES": '[{"team_id": 42, "company_id": "COM2"}]',
        "SERVER__TRUSTED_PROXIES": "10.0.0.0/8, 127.0.0.1",
        "SERVER__ALLOW_ADDRESSES": '["192.0.2.0/24"]',
        "DELIVERY__RECONCILE_AFTER": "20,1m",
        "DELIVERY__MAX_AGE": "30",
        "DATABASE__URL": "postgresql://db/relay",
        "GUARDS__QUIET_HOURS": "hold",
    }.items():
        monkeypatch.setenv(f"CALLRAIL_RELAY_{name}", value)

    settings = load()

    assert ("123456789", "COM1", True) == (
        settings.callrail.account_id,
        settings.callrail.company_id,
        settings.callrail.accepted_terms,
    )
    assert ["COM2"] == [route.company_id for route in settings.routes]
    assert (ip_network("10.0.0.0/8"), ip_network("127.0.0.1")) == settings.server.trusted_proxies
    assert (ip_network("192.0.2.0/24"),) == settings.server.allow_addresses
    assert (timedelta(seconds=20), timedelta(minutes=1)) == settings.delivery.reconcile_after
    assert timedelta(seconds=30) == settings.delivery.max_age
    assert "postgresql://db/relay" == settings.database.url
    assert "hold" == settings.guards.quiet_hours


def test_one_word_is_a_list_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the word alone would be JSON."""
    monkeypatch.setenv("CALLRAIL_RELAY_DELIVERY__RECONCILE_AFTER", "15")

    assert (timedelta(seconds=15),) == load().delivery.reconcile_after


@pytest.mark.parametrize("name", ["LIMITS__PER_HOUR", "LIMITS", "SERVER__TRUSTED_PROXIES", "NONSENSE"])
@pytest.mark.parametrize("value", ["", "  "])
def test_blank_variable_is_not_set(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """A line left empty in an environment file says nothing."""
    monkeypatch.setenv(f"CALLRAIL_RELAY_{name}", value)

    assert Settings() == load()


def test_every_key_has_its_variable() -> None:
    """The names are those of the contract."""
    names = list(variable_names())

    assert {
        "CALLRAIL_RELAY_LIMITS__PER_HOUR",
        "CALLRAIL_RELAY_CALLRAIL__API_URL",
        "CALLRAIL_RELAY_CALLRAIL__ACCEPTED_TERMS",
        "CALLRAIL_RELAY_DATABASE__URL",
        "CALLRAIL_RELAY_ROUTES",
    } <= set(names)
    assert len(names) == len(set(names))


def test_named_file_must_exist(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A slip in --config is not taken for empty settings, unless the file is about to be made."""
    missing = tmp_path / "missing.toml"
    assert f"There is no settings file {missing}. Create it with `callrail-relay configure" in fault(missing)
    assert Settings() == load(missing, must_exist=False)

    monkeypatch.setenv("CALLRAIL_RELAY_CONFIG", str(missing))
    assert "There is no settings file" in fault()


def test_directory_is_no_settings_file(tmp_path: Path) -> None:
    assert f"{tmp_path} is a directory. Name the settings file in it." == fault(tmp_path)


@posix_only
def test_unreadable_file_is_told(config: Write) -> None:
    """With the words of the system, and not as a missing file."""
    path = config("") / "config.toml"

    assert fault(path).startswith(f"The settings file {path} can't be read: Not a directory. Let the user")


def test_other_encodings_are_told(tmp_path: Path) -> None:
    """UTF-16, as some editors save it, with the byte where it shows."""
    path = tmp_path / "config.toml"
    path.write_bytes("[limits]".encode("utf-16"))

    assert f"The settings file {path} is not UTF-8 text (byte 1). Save it again as UTF-8." == fault(path)


def test_marks_of_windows_are_no_fault(tmp_path: Path) -> None:
    """A byte order mark and CR LF are read over."""
    path = tmp_path / "config.toml"
    path.write_bytes("\ufeff[limits]\r\nper_hour = 4\r\n".encode())

    assert 4 == load(path).limits.per_hour


@pytest.mark.parametrize(
    ("text", "words", "remedy"),
    [
        ("[limits]\nper_hour = ten\n", "invalid value (at line 2, column 12)", "Text needs quotes."),
        ("[limits]\nper_hour = 1,000\n", "expected newline", "Text needs quotes."),
        ('[log]\nfile = "C:\\Users\\me"\n', "invalid hex value", "Write a Windows path in single quotes"),
        ('[log]\nfile = "C:\\Me"\n', "unescaped '\\'", "Write a Windows path in single quotes"),
        ("[log]\n[log]\n", "cannot declare", "Put what belongs to it in one place."),
        ("[log]\na = 1\na = 2\n", "cannot overwrite a value", "Put what belongs to it in one place."),
        ("[log.a]\n[log]\nb = 1\n[log.a]\n", "cannot declare", "Put what belongs to it in one place."),
        ("log = { a = 1 }\nlog.b = 2\n", "cannot mutate", "Put what belongs to it in one place."),
        ("log = { a = 1, a = 2 }\n", "duplicate", "Put what belongs to it in one place."),
    ],
)
def test_wrong_syntax_is_told_with_its_place(config: Write, text: str, words: str, remedy: str) -> None:
    """Line and column, and what people mostly do to cause it."""
    path = config(text)

    assert fault(path).startswith(f"The settings file {path} is not valid TOML: {words}")
    assert remedy in fault(path)


@pytest.mark.parametrize(
    ("text", "line", "sentence"),
    [
        ("[limits]\n\nper_hour = 0", 3, "limits.per_hour ({}) is 0 and must be 1 or more."),
        ("[limits]\nper_hour = 1.5", 2, "limits.per_hour ({}) is 1.5 and must be a whole number."),
        (
            "[limits]\nmax_characters = 2000",
            2,
            "limits.max_characters ({}) is 2000 and must be 1530 or less.",
        ),
        ('[log]\n"level" = "loud"', 2, "log.level ({}) is \"loud\" and must be 'debug', 'info',"),
        ("[dashboard]\nenabled = []", 2, "dashboard.enabled ({}) must be true or false."),
        ('[dashboard]\nenabled = "x"', 2, 'dashboard.enabled ({}) is "x" and must be true or false.'),
        ("limits = 5", 1, "limits ({}) is 5 and must be a table."),
        ("[server]\ntrusted_proxies = 5", 2, "server.trusted_proxies ({}) is 5 and must be a list."),
        (
            '[server]\ntrusted_proxies = ["::1", "x"]',
            2,
            'server.trusted_proxies[1] ({}) is "x" and must be an IP address or a network',
        ),
        (
            "[limits]\nper_huor = 5",
            2,
            "limits.per_huor ({}) is not a setting; perhaps you meant limits.per_hour",
        ),
        ("[log]\ncolour = 5", 2, "log.colour ({}) is not a setting; log takes level, format."),
        ("[limit]", 1, "limit ({}) is not a setting; perhaps you meant limits."),
        ("_cli_parse_args = true", 1, "_cli_parse_args ({}) is not a setting; the file takes callrail,"),
        ("[fruit]", 1, "fruit ({}) is not a setting; the file takes callrail, routes, server,"),
        (
            '[[routes]]\nteam_id = "1"\n[log]\n[[routes]]\nteam = "2"',
            5,
            "routes[1].team ({}) is not a setting; perhaps you meant routes[1].team_id.",
        ),
        (
            '[[routes]]\nteam_id = "1"\n[[routes]]\ncompany_id = "COM1"',
            3,
            "routes[1] ({}) must name a team_id or a sender_id;",
        ),
        ('[guards]\nquiet_start = "08:00"', 1, "guards.quiet_end ({}) must differ from guards.quiet_start;"),
    ],
)
def test_fault_names_key_line_and_remedy(config: Write, text: str, line: int, sentence: str) -> None:
    """One sentence says what is wrong, where, and what would be right."""
    path = config(text)

    assert fault(path).startswith(sentence.format(f"{path}, line {line}"))


def test_line_is_left_out_where_it_is_not_plain(config: Write) -> None:
    """Keys can be written in more ways than are looked for."""
    path = config("limits.per_hour = 0\n")

    assert f"limits.per_hour ({path}) is 0 and must be 1 or more." == fault(path)


def test_route_without_company_is_a_fault(config: Write) -> None:
    path = config('[[routes]]\nteam_id = "1"\n')

    assert f"routes ({path}) must each have account_id, either their own or from [callrail]." == fault(path)


def test_variable_at_fault_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own, or that of the whole table."""
    monkeypatch.setenv("CALLRAIL_RELAY_LIMITS__PER_HOUR", "x")
    monkeypatch.setenv("CALLRAIL_RELAY_DELIVERY", '{"concurrency": 0}')
    monkeypatch.setenv("CALLRAIL_RELAY_GUARDS__QUIET_START", "08:00")
    monkeypatch.setenv("CALLRAIL_RELAY_ROUTES", '[{"team_id": ')
    monkeypatch.setenv("CALLRAIL_RELAY_LOG", "debug")

    assert [
        'routes (CALLRAIL_RELAY_ROUTES) is "[{\\"team_id\\": " and must be a list.',
        'limits.per_hour (CALLRAIL_RELAY_LIMITS__PER_HOUR) is "x" and must be a whole number.',
        "delivery.concurrency (CALLRAIL_RELAY_DELIVERY) is 0 and must be 1 or more.",
        "guards.quiet_end (CALLRAIL_RELAY_GUARDS__QUIET_START) must differ from guards.quiet_start;",
        "log (CALLRAIL_RELAY_LOG) must be a table.",
    ] == [
        line.replace("environment variable ", "").removesuffix(
            " to send at any hour set guards.quiet_hours to off."
        )
        for line in fault().splitlines()
    ]


@pytest.mark.parametrize(
    ("key", "flag"),
    [
        ("server.port", "--port"),
        ("callrail.account_id", "--account-id"),
        ("log.level", "--log-level"),
        ("dashboard.enabled", "--no-dashboard"),
    ],
)
def test_flag_at_fault_is_named(key: str, flag: str) -> None:
    """As it is typed."""
    table, name = key.split(".")

    with pytest.raises(SettingsError) as caught:
        load(overrides={table: {name: "?"}})

    assert str(caught.value).startswith(f'{key} ({flag}) is "?" and must be ')


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("CALLRAIL_RELAY_LIMIT__PER_HOUR", " (perhaps you meant CALLRAIL_RELAY_LIMITS__PER_HOUR)"),
        ("CALLRAIL_RELAY_LIMITS__PER_HUOR", " (perhaps you meant CALLRAIL_RELAY_LIMITS__PER_HOUR)"),
        ("CALLRAIL_RELAY_LIMITS_PER_HOUR", " (perhaps you meant CALLRAIL_RELAY_LIMITS__PER_HOUR)"),
        ("CALLRAIL_RELAY_API_KEY", " (perhaps you meant CALLRAIL_API_KEY)"),
        # What Kubernetes and Docker set for a service of that name.
        ("CALLRAIL_RELAY_SERVICE_HOST", ""),
        ("CALLRAIL_RELAY_SERVICE_PORT", ""),
        ("CALLRAIL_RELAY_PORT", ""),
        ("CALLRAIL_RELAY_PORT_8787_TCP_ADDR", ""),
        ("CALLRAIL_RELAY_NAME", ""),
    ],
)
def test_unknown_variable_is_named_and_ignored(
    monkeypatch: pytest.MonkeyPatch, name: str, meant: str
) -> None:
    """A misspelled name is reported, its value is not shown, and the settings are read anyway."""
    monkeypatch.setenv(name, "tcp://10.0.0.1:8787")

    assert 8787 == load().server.port
    assert f"Ignored, because there is no such setting: {name}{meant}." == ignored_variables()


def test_it_is_said_once_where_settings_are_read(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """However often a command reads them."""
    monkeypatch.setenv("CALLRAIL_RELAY_SERVICE_PORT_ONCE", "1")
    load_context(None)
    load_context(None)

    assert ["Ignored, because there is no such setting: CALLRAIL_RELAY_SERVICE_PORT_ONCE."] == caplog.messages


def test_all_faults_are_told_at_once(config: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line each, so that you don't have to run it again for the next."""
    path = config("[limits]\nper_hour = 0\nper_day = 0\n")
    monkeypatch.setenv("CALLRAIL_RELAY_LIMITS__PER_DAY", "-1")

    file, variable = fault(path, server={"port": 1}).splitlines()

    assert f"{path}, line 2" in file
    assert "CALLRAIL_RELAY_LIMITS__PER_DAY" in variable


@pytest.mark.parametrize(
    "text",
    [
        '[callrail]\naccount_id = "0123456789abcdef0123456789abcdef"',
        '[callrail]\napi_key = "hush-hush"',
        '[server]\npublic_url = "https://relay:hush-hush@texts.example.com"',
        '[database]\nurl = "mysql://relay:hush-hush@db"',
        'database = "postgresql:///db?password=hush"',
    ],
)
def test_what_may_be_secret_is_not_shown(config: Write, text: str) -> None:
    """A key in the wrong place does not get into a log."""
    words = fault(config(text))

    assert "hush" not in words
    assert "0123456789" not in words


def test_number_is_shown_as_it_was_typed(config: Write) -> None:
    """The person who typed it sees what is wrong with it."""
    assert '"2025550"' in fault(config('[callrail]\ntracking_number = "2025550"'))


def test_secret_in_the_settings_is_sent_away(config: Write) -> None:
    """The words say where secrets go."""
    assert "api_key" in (words := fault(config('[callrail]\napi_key = "x"')))
    assert "secrets are kept apart from the settings, and `callrail-relay configure` stores them" in words
