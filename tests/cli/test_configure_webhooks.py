"""``configure --webhooks``: CallRail's side and ours."""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from callrail_relay.callrail.simulator import Fault, Kind, Simulator
from callrail_relay.callrail.simulator.records import Integration
from callrail_relay.cli import app
from tests.callrail.simulated import KEY, make_simulator
from tests.cli.served import served
from tests.support.memory_keyring import MemoryKeyring
from tests.support.public_way import PublicWay, proving, public_way
from tests.support.simulator import add_company, add_tracker

PUBLIC = "https://texts.example.com"
TOKEN = "hook-token-of-the-tests"
RECEIVED = f"{PUBLIC}/hooks/callrail/{TOKEN}?event=received"
SENT = f"{PUBLIC}/hooks/callrail/{TOKEN}?event=sent"
CONFIG = {"sms_received_webhook": [RECEIVED], "sms_sent_webhook": [SENT]}
SIGNING_KEY = "example-signing-key-1"


@pytest.fixture
def simulator() -> Simulator:
    return make_simulator()


@pytest.fixture
def way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PublicWay]:
    """A public URL that leads to this relay."""
    monkeypatch.setenv("CALLRAIL_RELAY_DATA", str(tmp_path))
    with public_way(tmp_path) as way:
        way.answer = proving(tmp_path / "relay.db")
        for name, value in way.environment.items():
            monkeypatch.setenv(name, value)
        yield way


@pytest.fixture
def config(
    tmp_path: Path,
    simulator: Simulator,
    memory: MemoryKeyring,
    way: PublicWay,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Path]:
    """The settings of a relay that is set up."""
    path = tmp_path / "relay.toml"
    monkeypatch.setenv("CALLRAIL_API_KEY", KEY)
    monkeypatch.setenv("CALLRAIL_RELAY_HOOK_TOKEN", TOKEN)
    with served(simulator) as url:
        write(path, simulator, url)
        yield path


def write(path: Path, simulator: Simulator, url: str, *, public_url: str = PUBLIC) -> None:
    path.write_text(
        f'[callrail]\napi_url = "{url}"\naccount_id = "{simulator.account_id}"\n'
        f'company_id = "{simulator.company_id}"\ntracking_number = "{simulator.tracking_number}"\n'
        f'accepted_terms = true\n[server]\npublic_url = "{public_url}"\n',
        encoding="utf-8",
    )
    if os.name != "nt":
        path.chmod(0o600)


def register(config: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["configure", "--webhooks", "--config", str(config), *words])


def add_integration(simulator: Simulator, config: dict[str, Any]) -> None:
    company = simulator.companies[simulator.company_id]
    simulator.integrations[company.id] = Integration(id=1, company=company, config=config)


def configs(simulator: Simulator) -> list[dict[str, list[str]]]:
    return [integration.config for integration in simulator.integrations.values()]


def stored_keys(memory: MemoryKeyring) -> list[str]:
    return [value for (_, name), value in memory.entries.items() if name.startswith("signing-keys")]


def test_both_webhooks_are_registered_and_the_key_is_kept(
    simulator: Simulator, config: Path, memory: MemoryKeyring
) -> None:
    """Doing it again changes nothing. Neither secret is shown."""
    first = register(config)
    assert 0 == first.exit_code, first.stderr
    assert [CONFIG] == configs(simulator)
    assert [SIGNING_KEY] == stored_keys(memory)
    assert "created the webhooks at CallRail" in first.stderr
    assert "CallRail's signing keys: OS keyring (Memory)" in first.stderr

    again = register(config)

    assert 0 == again.exit_code
    assert "our URLs are already at CallRail" in again.stderr
    assert [CONFIG] == configs(simulator)
    assert [SIGNING_KEY] == stored_keys(memory)
    for secret in (SIGNING_KEY, TOKEN, KEY):
        assert secret not in first.output + again.output


def test_the_urls_of_others_stay(simulator: Simulator, config: Path) -> None:
    """With every other event; only ours go: one with a former secret, and one at a former address."""
    former = f"https://old.example.com/hooks/callrail/{TOKEN}?event=received"
    theirs = "https://example.invalid/zapier"
    add_integration(
        simulator,
        {
            "sms_received_webhook": [theirs, f"{PUBLIC}/hooks/callrail/former?event=received", former],
            "post_call_webhook": [theirs],
        },
    )

    done = register(config)

    assert 0 == done.exit_code, done.stderr
    assert "added our URLs" in done.stderr
    assert [
        {
            "sms_received_webhook": [theirs, RECEIVED],
            "post_call_webhook": [theirs],
            "sms_sent_webhook": [SENT],
        }
    ] == configs(simulator)


def test_each_company_of_the_routes_is_told_of(
    simulator: Simulator, config: Path, memory: MemoryKeyring
) -> None:
    """Each has its own key; one that is known already stays."""
    second = add_company(simulator, name="Second Co")
    number = add_tracker(simulator, company_id=second.id).tracking_numbers[0]
    with config.open("a", encoding="utf-8") as file:
        file.write(
            f'[[routes]]\nteam_id = "2"\ncompany_id = "{second.id}"\ntracking_number = "{number}"\n'
            f'[[routes]]\nteam_id = "3"\n'
        )
    memory.entries["callrail-relay", f"signing-keys@{config}"] = "former"

    done = register(config, "--json")

    assert 0 == done.exit_code, done.stderr
    assert {
        "companies": [
            {"company_id": company, "change": "created", "active": True, "signing_key": True}
            for company in (second.id, simulator.company_id)
        ],
        "signing_keys": "OS keyring (Memory)",
    } == json.loads(done.stdout)
    assert ["example-signing-key-2,example-signing-key-1,former"] == stored_keys(memory)


def test_a_key_of_the_environment_is_told(
    simulator: Simulator, config: Path, memory: MemoryKeyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is the right one is left alone; another one wins over what is stored."""
    monkeypatch.setenv("CALLRAIL_SIGNING_KEY", f"another, {SIGNING_KEY}")
    assert "environment variable CALLRAIL_SIGNING_KEY" in register(config).stderr
    assert [] == stored_keys(memory)

    monkeypatch.setenv("CALLRAIL_SIGNING_KEY", "another")
    done = register(config)
    assert 0 == done.exit_code
    assert "The environment variable CALLRAIL_SIGNING_KEY overrides them" in done.stderr


def test_an_address_that_does_not_answer_is_not_registered(
    simulator: Simulator, config: Path, way: PublicWay
) -> None:
    """
    CallRail would switch its webhooks off, and replies be lost. With the wizard the settings stay written.
    """
    way.answer = None
    alone, wizard = register(config), register(config, "--accept-terms")

    for done in (alone, wizard):
        assert 8 == done.exit_code, done.stderr
        assert "The webhooks weren't registered at CallRail." in done.stderr
        assert "callrail-relay serve" in done.stderr
    assert [] == configs(simulator)


def test_an_address_that_cannot_be_right_is_not_registered(simulator: Simulator, config: Path) -> None:
    config.write_text(config.read_text("utf-8").replace(PUBLIC, "http://127.0.0.1:8787"), "utf-8")

    done = register(config)

    assert (3, True) == (done.exit_code, "only to this computer" in done.stderr)
    assert [] == configs(simulator)


def test_a_public_address_is_wanted(simulator: Simulator, config: Path) -> None:
    text = config.read_text("utf-8")
    config.write_text(text.partition("[server]")[0], encoding="utf-8")

    done = register(config)

    assert 3 == done.exit_code
    assert "CallRail needs a public https address" in done.stderr
    assert "configure --public-url" in done.stderr
    assert [] == configs(simulator)


def test_a_relay_that_is_not_set_up_is_told(tmp_path: Path) -> None:
    config = tmp_path / "relay.toml"
    config.touch(0o600)
    done = register(config)
    assert (3, True) == (done.exit_code, "callrail-relay configure" in done.stderr)


def test_a_key_that_may_not_write_is_refused(simulator: Simulator, config: Path) -> None:
    simulator.read_only = True
    done = register(config)
    assert 5 == done.exit_code
    assert "doesn't let this API key change webhooks (403)" in done.stderr


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        (Fault(Kind.STATUS, on="read", status=503), 8, "CallRail is having problems (503)"),
        (Fault(Kind.DROP, on="read"), 8, "can't be reached"),
        (Fault(Kind.STATUS, on="read", status=401), 5, "doesn't recognize this API key"),
        # The second request is the one that changes something.
        (Fault(Kind.DROP_ANSWER, on="read", position=2), 8, "run the command again, which is safe"),
        (Fault(Kind.STATUS, on="read", status=422, position=2), 5, "rejected the request (422)"),
        (Fault(Kind.GARBAGE, on="read"), 8, "not the way CallRail does"),
    ],
)
def test_callrail_that_does_not_do_it_is_told(
    simulator: Simulator, config: Path, fault: Fault, code: int, words: str
) -> None:
    simulator.fault(fault)
    done = register(config)
    assert (code, True) == (done.exit_code, words in done.stderr), done.stderr
    simulator.faults.clear()
    assert 0 == register(config).exit_code
    assert [CONFIG] == configs(simulator)


def test_the_wizard_registers_as_well(simulator: Simulator, config: Path) -> None:
    done = register(config, "--accept-terms", "--json")

    assert 0 == done.exit_code, done.stderr
    document = json.loads(done.stdout)
    assert f"{PUBLIC}/hooks/if3/{TOKEN}" == document["hook_url"]
    assert "created" == document["webhooks"]["companies"][0]["change"]


def test_a_key_that_callrail_does_not_tell_is_asked_for(simulator: Simulator, config: Path) -> None:
    """The webhooks stay registered; the key has to be copied from CallRail's page."""
    company = simulator.companies[simulator.company_id]
    simulator.companies[company.id] = replace(company, signing_key="")

    done = register(config)

    assert 3 == done.exit_code
    assert f"CallRail didn't show the signing key for {company.id}" in done.stderr
    assert [CONFIG] == configs(simulator)


def test_url_at_callrail_can_hold_every_secret(
    simulator: Simulator, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the one for IF3 can; and it is found at a former address."""
    monkeypatch.setenv("CALLRAIL_RELAY_HOOK_TOKEN", "a b/c?d")
    path = "/hooks/callrail/a%20b%2Fc%3Fd"
    add_integration(simulator, {"sms_received_webhook": [f"https://old.example.com{path}"]})
    assert 0 == register(config).exit_code
    assert [[f"{PUBLIC}{path}?event=sent"]] == [one["sms_sent_webhook"] for one in configs(simulator)]
    CliRunner().invoke(app, ["configure", "--remove-webhooks", "--config", str(config)])
    assert [{"sms_received_webhook": [], "sms_sent_webhook": []}] == configs(simulator)


def test_webhooks_are_removed_and_those_of_others_stay(
    simulator: Simulator, config: Path, memory: MemoryKeyring
) -> None:
    """Ours go, also those of a former address, and the keys with them. Doing it again changes nothing."""
    theirs, former = "https://example.invalid/zapier", f"https://old.example.com/hooks/callrail/{TOKEN}"
    add_integration(simulator, {"sms_received_webhook": [theirs, former], "post_call_webhook": [theirs]})
    assert 0 == register(config).exit_code
    remove = ["configure", "--remove-webhooks", "--config", str(config), "--json"]

    first, again = CliRunner().invoke(app, remove), CliRunner().invoke(app, remove)

    assert {"companies": [simulator.company_id]} == json.loads(first.stdout), first.stderr
    assert {"companies": []} == json.loads(again.stdout), again.stderr
    assert [
        {"sms_received_webhook": [theirs], "post_call_webhook": [theirs], "sms_sent_webhook": []}
    ] == configs(simulator)
    assert [] == stored_keys(memory)
    assert 2 == CliRunner().invoke(app, [*remove, "--webhooks"]).exit_code
    assert 2 == CliRunner().invoke(app, [*remove, "--public-url", PUBLIC]).exit_code
