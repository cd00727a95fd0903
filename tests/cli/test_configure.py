import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import keyring
import pytest
from keyring.backends import fail
from keyring.errors import KeyringLocked
from typer.testing import CliRunner, Result

from callrail_relay.callrail.simulator import Fault, Kind, Simulator
from callrail_relay.cli import app
from tests.callrail.simulated import KEY, make_simulator
from tests.cli.served import served
from tests.config.test_places import mode, posix_only
from tests.support.memory_keyring import MemoryKeyring
from tests.support.simulator import add_account, add_company, add_tracker, change_tracker

RUNG = "OS keyring (Memory)"
ACCEPTED = ("--api-key-stdin", "--accept-terms")


@pytest.fixture
def simulator() -> Simulator:
    return make_simulator()


@pytest.fixture
def api_url(simulator: Simulator) -> Iterator[str]:
    with served(simulator) as url:
        yield url


@pytest.fixture
def no_keyring(memory: MemoryKeyring) -> None:
    keyring.set_keyring(fail.Keyring())  # type: ignore[no-untyped-call]  # keyring has no annotation there


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Where the settings go: a file in a directory that do not exist yet."""
    return tmp_path / "settings" / "relay.toml"


@pytest.fixture
def configured(api_url: str, config: Path, memory: MemoryKeyring) -> str:
    """A first run that went well; the URL it printed."""
    first = run(config, *ACCEPTED, "--api-url", api_url)
    assert 0 == first.exit_code, first.stderr
    return first.stdout


def run(config: Path, *words: str, key: str | bytes = KEY) -> Result:
    """``configure`` without a terminal."""
    return CliRunner().invoke(app, ["configure", "--config", str(config), *words], input=key)


def settings(config: Path) -> dict[str, dict[str, object]]:
    return tomllib.loads(config.read_text("utf-8"))


def token(memory: MemoryKeyring, config: Path) -> str:
    return memory.entries["callrail-relay", f"hook-token@{config}"]


def test_everything_is_set_up_where_there_is_one_of_each(
    simulator: Simulator, api_url: str, config: Path, memory: MemoryKeyring
) -> None:
    """What there is only one of is taken and said, and the URL for IF3 is alone on standard output."""
    done = run(config, *ACCEPTED, "--api-url", api_url, "--public-url", "https://texts.example.com/")

    assert 0 == done.exit_code
    assert {
        "callrail": {
            "api_url": api_url,
            "account_id": simulator.account_id,
            "company_id": simulator.company_id,
            "tracking_number": simulator.tracking_number,
            "accepted_terms": True,
        },
        "server": {"public_url": "https://texts.example.com"},
    } == settings(config)
    assert KEY == memory.entries["callrail-relay", f"api-key@{config}"]
    assert f"https://texts.example.com/hooks/if3/{token(memory, config)}\n" == done.stdout
    for words in (
        f"Account: {simulator.account_id}  Example Account (account number 123456789), the only one there",
        f"Company: {simulator.company_id}  Example Co, the only one there is.",
        "Tracking number: +12025550133  Main line, the only one there is.",
        "New API keys are read-only",
        f"Settings: {config}",
        f"API key: {RUNG}",
        f"Webhook secret: {RUNG}",
        '"Outbound Text Webhook"',
        "callrail-relay doctor",
    ):
        assert words in done.stderr
    assert KEY not in done.output


def test_json_is_one_object(simulator: Simulator, api_url: str, config: Path, memory: MemoryKeyring) -> None:
    """Standard output holds the document and nothing else."""
    done = run(config, *ACCEPTED, "--api-url", api_url, "--json")

    assert {
        "settings_file": str(config),
        "account_id": simulator.account_id,
        "company_id": simulator.company_id,
        "tracking_number": simulator.tracking_number,
        "hook_url": f"http://127.0.0.1:8787/hooks/if3/{token(memory, config)}",
        "secrets": {"api_key": RUNG, "hook_token": RUNG},
    } == json.loads(done.stdout)
    assert "IF3 needs a public https address" in done.stderr
    assert "paste" not in done.stderr


def test_choices_are_named_where_there_are_several(
    simulator: Simulator, api_url: str, config: Path, memory: MemoryKeyring
) -> None:
    """An ambiguous choice ends with 2 and a list, and nothing is written."""
    second = add_company(simulator, name="Second Co")

    done = run(config, *ACCEPTED, "--api-url", api_url)

    assert 2 == done.exit_code
    assert f"1. {simulator.company_id}  Example Co" in done.stderr
    assert f"2. {second.id}  Second Co" in done.stderr
    assert "Name one with --company-id." in done.stderr
    assert not config.exists()
    assert {} == memory.entries


def test_what_is_given_is_taken(
    simulator: Simulator, api_url: str, config: Path, memory: MemoryKeyring
) -> None:
    """Account number and phone may be written as people write them."""
    add_account(simulator, name="Second Account")
    company = add_company(simulator, name="Second Co")
    add_tracker(simulator, company_id=company.id, name="Website")
    wanted = add_tracker(simulator, company_id=company.id, name="Visitors", pool=2).tracking_numbers[1]

    done = run(
        config,
        *(*ACCEPTED, "--api-url", api_url, "--account-id", "123-456-789", "--company-id", company.id),
        *("--tracking-number", f"({wanted[2:5]}) {wanted[5:8]}-{wanted[8:]}"),
    )

    assert 0 == done.exit_code, done.stderr
    written = settings(config)["callrail"]
    assert (simulator.account_id, wanted) == (written["account_id"], written["tracking_number"])
    assert "from a session pool" in done.stderr


@pytest.mark.parametrize(
    ("option", "name", "listed"),
    [
        ("--account-id", "ACC9", "Example Account"),
        ("--company-id", "COM9", "Example Co"),
        ("--tracking-number", "+12025550177", "+12025550133  Main line"),
    ],
)
def test_unknown_one_is_refused_with_those_that_exist(
    option: str, name: str, listed: str, api_url: str, config: Path, memory: MemoryKeyring
) -> None:
    done = run(config, *ACCEPTED, "--api-url", api_url, option, name)

    assert 5 == done.exit_code
    assert re.search(rf"1\. (\S+  )?{re.escape(listed)}", done.stderr)
    assert option in done.stderr
    assert not config.exists()


def test_number_that_cannot_text_is_no_choice(
    simulator: Simulator, api_url: str, config: Path, memory: MemoryKeyring
) -> None:
    """Without a number that can text, the sentence says how to get one."""
    for tracker_id in simulator.trackers:
        change_tracker(simulator, tracker_id, sms_enabled=False)

    done = run(config, *ACCEPTED, "--api-url", api_url, "--tracking-number", simulator.tracking_number)

    assert 5 == done.exit_code
    assert "register the business for texts" in done.stderr
    assert not config.exists()


@pytest.mark.parametrize(
    ("key", "code", "words"),
    [
        ("another-key", 5, "doesn't recognize this API key"),
        ("", 3, "The CallRail API key is empty"),
        (b"\xff\xfe", 3, "Standard input is not text"),
        ("two words", 3, "Copy the key again"),
    ],
)
def test_wrong_key_leaves_nothing_behind(
    key: str | bytes, code: int, words: str, api_url: str, config: Path, memory: MemoryKeyring
) -> None:
    done = run(config, *ACCEPTED, "--api-url", api_url, key=key)

    assert (code, "") == (done.exit_code, done.stdout)
    assert words in done.stderr
    assert not config.exists()
    assert {} == memory.entries


def test_unreachable_callrail_is_told(config: Path, memory: MemoryKeyring) -> None:
    done = run(config, *ACCEPTED, "--api-url", "http://127.0.0.1:9")

    assert 8 == done.exit_code
    assert not config.exists()


def test_busy_callrail_is_told(
    simulator: Simulator, api_url: str, config: Path, memory: MemoryKeyring
) -> None:
    simulator.fault(Fault(Kind.STATUS, on="any", status=503))

    assert 8 == run(config, *ACCEPTED, "--api-url", api_url).exit_code


def test_missing_key_is_asked_for_in_words(config: Path, memory: MemoryKeyring) -> None:
    """Without a terminal no one can type it."""
    done = run(config, "--accept-terms", key="")

    assert 3 == done.exit_code
    assert "Pipe it in with --api-key-stdin, or set CALLRAIL_API_KEY." in done.stderr


def test_terms_must_be_accepted(api_url: str, config: Path, memory: MemoryKeyring) -> None:
    """CallRail's rule is shown, and without a word on it nothing is written."""
    done = run(config, "--api-key-stdin", "--api-url", api_url)

    assert 3 == done.exit_code
    assert "person-to-person texts only" in done.stderr
    assert "--accept-terms" in done.stderr
    assert not config.exists()


@pytest.mark.usefixtures("no_keyring")
def test_missing_keyring_is_told_before_anything_else(api_url: str, config: Path) -> None:
    done = run(config, *ACCEPTED, "--api-url", api_url)

    assert 3 == done.exit_code
    assert "configure --secrets-file" in done.stderr
    assert "person-to-person" not in done.stderr
    assert not config.parent.exists()


@pytest.mark.usefixtures("no_keyring")
def test_environment_needs_no_keyring(api_url: str, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where both secrets come from the environment, nothing has to be kept."""
    monkeypatch.setenv("CALLRAIL_API_KEY", KEY)
    monkeypatch.setenv("CALLRAIL_RELAY_HOOK_TOKEN", "token-of-the-environment")

    done = run(config, "--accept-terms", "--api-url", api_url)

    assert 0 == done.exit_code, done.stderr
    assert "Using the API key from the environment variable CALLRAIL_API_KEY; it isn't stored." in done.stderr
    assert done.stdout.endswith("/hooks/if3/token-of-the-environment\n")
    assert [config] == list(config.parent.iterdir())


@posix_only
@pytest.mark.usefixtures("no_keyring")
def test_file_of_secrets_is_private(api_url: str, config: Path) -> None:
    """--secrets-file keeps both beside the settings, for this user's eyes only."""
    done = run(config, *ACCEPTED, "--api-url", api_url, "--secrets-file")

    file = config.with_name("secrets.toml")
    assert 0 == done.exit_code, done.stderr
    assert f"API key: file {file}" in done.stderr
    assert {"api-key", "hook-token"} == set(tomllib.loads(file.read_text("utf-8")))
    assert (0o600, 0o600) == (mode(file), mode(config))


def test_locked_keyring_is_what_the_file_is_for(api_url: str, config: Path, memory: MemoryKeyring) -> None:
    """The remedy that the fault names works."""

    def refuse() -> None:
        raise KeyringLocked

    memory.before = refuse

    refused = run(config, *ACCEPTED, "--api-url", api_url)
    done = run(config, *ACCEPTED, "--api-url", api_url, "--secrets-file")

    assert 3 == refused.exit_code
    assert "configure --secrets-file" in refused.stderr
    assert 0 == done.exit_code, done.stderr
    assert "This webhook URL is new" not in done.stderr


def test_url_that_replaces_one_in_a_locked_keyring_is_called_new(
    configured: str, config: Path, memory: MemoryKeyring
) -> None:
    """IF3 still has the other one, whose texts the relay would refuse."""

    def refuse() -> None:
        raise KeyringLocked

    memory.before = refuse
    done = run(config, *ACCEPTED, "--secrets-file")

    assert (0, True) == (done.exit_code, done.stdout != configured)
    assert "This webhook URL is new. If IF3 has an earlier one, paste this one" in done.stderr
    assert "This webhook URL is new" not in run(config, "--secrets-file").stderr


def test_file_takes_over_from_the_keyring(configured: str, config: Path, memory: MemoryKeyring) -> None:
    """A later --secrets-file moves both secrets, and the URL stays."""
    done = run(config, "--secrets-file")

    assert (0, configured) == (done.exit_code, done.stdout)
    assert {} == memory.entries
    assert KEY == tomllib.loads(config.with_name("secrets.toml").read_text("utf-8"))["api-key"]


@pytest.mark.usefixtures("configured")
def test_file_takes_nothing_from_the_environment(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What belongs to the environment is never stored."""
    monkeypatch.setenv("CALLRAIL_API_KEY", KEY)
    monkeypatch.setenv("CALLRAIL_RELAY_HOOK_TOKEN", "token-of-the-environment")

    assert 0 == run(config, "--secrets-file").exit_code
    assert [config] == list(config.parent.iterdir())


def test_second_run_keeps_secrets_and_comments(configured: str, config: Path, memory: MemoryKeyring) -> None:
    """Run again it asks less: the terms are accepted, key and webhook secret are there."""
    config.write_text(f"# the office\n{config.read_text('utf-8')}", "utf-8")
    before = config.read_text("utf-8")

    done = run(config)

    assert (0, configured) == (done.exit_code, done.stdout)
    assert before == config.read_text("utf-8")
    assert "person-to-person" not in done.stderr
    assert f"Kept the API key in the {RUNG}." in done.stderr


def test_second_run_keeps_what_was_chosen(configured: str, config: Path, simulator: Simulator) -> None:
    """A number that came later makes the one in the settings no less clear."""
    add_tracker(simulator, name="Website")

    done = run(config)

    assert (0, configured) == (done.exit_code, done.stdout)
    assert "Tracking number: +12025550133  Main line, as in the settings." in done.stderr


def test_second_run_says_that_sending_is_still_paused(configured: str, config: Path) -> None:
    """Only a person ends a pause: a running relay keeps the old key, and a new one may be read-only."""
    CliRunner().invoke(app, ["pause", "--config", str(config)])
    paused = run(config, *ACCEPTED)
    CliRunner().invoke(app, ["resume", "--config", str(config)])

    words = "Sending is still paused. When the relay uses these settings, run `callrail-relay resume`."
    assert words in paused.stderr
    assert words not in run(config, *ACCEPTED).stderr


def test_number_that_went_away_is_not_kept(configured: str, config: Path, simulator: Simulator) -> None:
    for tracker_id in list(simulator.trackers):
        change_tracker(simulator, tracker_id, status="disabled")
    add_tracker(simulator, name="Website")
    add_tracker(simulator, name="Billboard")

    done = run(config)

    assert 2 == done.exit_code
    assert "Name one with --tracking-number." in done.stderr


@pytest.mark.usefixtures("configured")
def test_stored_key_may_be_outranked(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is piped in is stored; if the environment has another, the command says which one counts."""
    monkeypatch.setenv("CALLRAIL_API_KEY", "another-key")

    done = run(config, "--api-key-stdin")

    assert 0 == done.exit_code, done.stderr
    assert "The environment variable CALLRAIL_API_KEY overrides it" in done.stderr


def test_settings_may_be_outranked(
    simulator: Simulator, api_url: str, config: Path, memory: MemoryKeyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable that wins over what was just written is named by its key."""
    monkeypatch.setenv("CALLRAIL_RELAY_CALLRAIL__COMPANY_ID", "COM77")

    done = run(config, *ACCEPTED, "--api-url", api_url)

    assert 0 == done.exit_code, done.stderr
    assert "The environment sets callrail.company_id to something else" in done.stderr
    assert simulator.company_id == settings(config)["callrail"]["company_id"]


@pytest.mark.parametrize("text", ["[callrail\n", "[callrail]\ncompany_id = 'Example Co'\n", "[colours]\n"])
def test_broken_settings_are_not_written_over(text: str, config: Path, memory: MemoryKeyring) -> None:
    config.parent.mkdir()
    config.write_text(text, "utf-8")

    done = run(config, *ACCEPTED)

    assert 3 == done.exit_code
    assert text == config.read_text("utf-8")


def test_option_mends_what_is_wrong_in_the_file(configured: str, api_url: str, config: Path) -> None:
    config.write_text(config.read_text("utf-8").replace(api_url, "http://api.example.com"), "utf-8")
    assert 3 == run(config).exit_code

    done = run(config, "--api-url", api_url)

    assert 0 == done.exit_code, done.stderr
    assert api_url == settings(config)["callrail"]["api_url"]


@pytest.mark.parametrize(
    ("flag", "address", "name"),
    [
        ("--api-url", "http://api.example.com", "--api-url"),
        ("--public-url", "texts.example.com", "The public URL"),
        ("--public-url", "http://127.0.0.1:8787", "The public URL"),
        ("--public-url", "https://texts.example.com/hooks/if3/secret", "The public URL"),
    ],
)
def test_bad_address_is_told_with_its_name(
    flag: str, address: str, name: str, config: Path, memory: MemoryKeyring
) -> None:
    done = run(config, *ACCEPTED, flag, address)

    assert 3 == done.exit_code
    assert name in done.stderr


def test_unverified_values_are_stored_as_given(config: Path, memory: MemoryKeyring) -> None:
    """With --no-verify CallRail is not asked: nothing listens here."""
    done = run(
        config,
        *(*ACCEPTED, "--no-verify", "--api-url", "http://127.0.0.1:9", "--account-id", "123456789"),
        *("--company-id", "COM1", "--tracking-number", "202-555-0133", "--json"),
    )

    assert 0 == done.exit_code, done.stderr
    document = json.loads(done.stdout)
    assert ("123456789", "+12025550133") == (document["account_id"], document["tracking_number"])
    assert "Nothing was checked with CallRail" in done.stderr


def test_unverified_values_must_all_be_given(config: Path, memory: MemoryKeyring) -> None:
    done = run(config, *ACCEPTED, "--no-verify", "--account-id", "123456789")

    assert 2 == done.exit_code
    assert "give --company-id and --tracking-number as well" in done.stderr


def test_unverified_values_must_make_sense(config: Path, memory: MemoryKeyring) -> None:
    done = run(
        config,
        *(*ACCEPTED, "--no-verify", "--account-id", "1", "--company-id", "COM1"),
        *("--tracking-number", "+12025550133"),
    )

    assert 3 == done.exit_code
    assert "--account-id" in done.stderr
    assert not config.exists()
