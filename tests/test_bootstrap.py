"""The pieces put together, as the commands get them."""

import asyncio
import io
import json
import logging
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from threading import Event
from unittest.mock import patch

import httpx2
import pytest
import sqlalchemy as sa
import structlog
from keyring.errors import KeyringLocked

from callrail_relay.bootstrap.context import LEASE_MARGIN, AppContext, load_context, read_duration
from callrail_relay.bootstrap.credentials import (
    hook_tokens,
    hook_url,
    read_hook_tokens,
    require_hook_token,
    rotate_hook_token,
)
from callrail_relay.bootstrap.diagnosis import checks, diagnose
from callrail_relay.bootstrap.listeners import Listening, open_listeners
from callrail_relay.bootstrap.sandbox import Sandbox, demonstration, open_sandbox
from callrail_relay.bootstrap.wiring import Relay, log_events, open_callrail, open_relay, open_worker
from callrail_relay.callrail.simulator import Fault, Kind
from callrail_relay.config.secrets import Found, SecretName
from callrail_relay.domain.events import AttemptFinished, ComputerSlept, MessageAccepted, PingReceived
from callrail_relay.domain.guards import Mode
from callrail_relay.domain.health import Condition
from callrail_relay.domain.mapper import map_direct
from callrail_relay.domain.message import Status
from callrail_relay.domain.outcome import OutcomeKind, Sent
from callrail_relay.domain.routing import Route
from callrail_relay.errors import (
    AlreadyRunning,
    NotAllowed,
    SecretError,
    SettingsError,
    Unavailable,
    UsageError,
)
from callrail_relay.outbox import engine, relay_secrets
from callrail_relay.outbox.copying import copy_store
from callrail_relay.service.background import SleepWatch
from callrail_relay.service.delivery import Delivery, TaskGroup
from callrail_relay.service.health import RELAY, HealthReport, run_checks
from callrail_relay.service.tokens import GRACE, REREAD, HookToken, digest
from tests.config.test_places import posix_only
from tests.service.rig import Events
from tests.support.clock import START, ManualClock
from tests.support.factories import RECIPIENT, TEXT
from tests.support.memory_keyring import MemoryKeyring
from tests.support.pgbouncer import running_pgbouncer
from tests.support.postgres import PostgresCluster
from tests.support.public_way import PUBLIC, proving, public_way
from tests.web.posting import payload

pytestmark = pytest.mark.anyio

NAMES = [
    "settings",
    "terms",
    "routes",
    "API key",
    "webhook secret",
    "network",
    "store",
    "place",
    "disk",
    "files",
    "CallRail",
    "accounts",
    "relay",
    "guards",
    "public address",
    "replies",
    "texts",
    "alerts",
]


@asynccontextmanager
async def demonstrated(
    folder: Path, clock: ManualClock | None = None
) -> AsyncIterator[tuple[AppContext, Sandbox]]:
    async with open_sandbox(port=0) as sandbox:
        context = demonstration(folder, sandbox)
        yield (context if clock is None else replace(context, clock=clock)), sandbox


@asynccontextmanager
async def served(context: AppContext, events: Events) -> AsyncIterator[tuple[Relay, TaskGroup, Listening]]:
    """What ``serve`` opens, in its order."""
    async with (
        open_relay(context, events, long_running=True) as relay,
        open_worker(relay) as worker,
        open_listeners(relay, worker) as listening,
    ):
        yield relay, worker, listening


def configured(folder: Path, sandbox: Sandbox, **changes: dict[str, object]) -> AppContext:
    """A relay that was set up by a file, with its secrets in the environment."""
    settings = sandbox.overrides() | changes
    path = folder / "config.toml"
    tables = [_table(name, keys) for name, keys in settings.items() if name != "routes"]
    path.write_text("\n".join(tables), encoding="utf-8")
    return load_context(path)


def _table(name: str, keys: object) -> str:
    assert isinstance(keys, dict)
    return "\n".join([f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())])


def findings(report: HealthReport) -> dict[str, Condition]:
    return {finding.name: finding.condition for finding in report.findings}


def detail(report: HealthReport, name: str) -> str:
    [found] = [finding.detail for finding in report.findings if finding.name == name]
    return found


# --- a whole relay ---------------------------------------------------------------------------------------


async def test_webhook_reaches_callrail(tmp_path: Path) -> None:
    """All pieces together: a text posted over HTTP is stored, sent to the sandbox, and shown."""
    events = Events()
    async with demonstrated(tmp_path) as (context, sandbox), served(context, events) as parts:
        relay, worker, listening = parts
        url = hook_url(context.settings, await require_hook_token(context), listening.public_url)
        async with httpx2.AsyncClient() as client:
            accepted = await client.post(url, json=payload())
            await worker_once(worker, events)
            assert 200 == (await client.get(f"{listening.public_url}/healthz")).status_code
            assert listening.login_url is not None
            token = {"token": httpx2.URL(listening.login_url).params["token"]}
            await client.post(f"{listening.private_url}/login", data=token)
            page = await client.get(f"{listening.private_url}/texts")
            ready = await client.get(f"{listening.private_url}/readyz")

        [message] = await relay.operations.find(accepted.json()["id"])
        assert Status.SENT == message.status
        assert [str(payload()["message"])] == [text.content for text in sandbox.simulator.texts]
        assert str(payload()["message"]) in page.text
        assert 200 == ready.status_code, ready.text
        assert NAMES == [check["name"] for check in ready.json()["checks"]]


async def worker_once(worker: TaskGroup, events: Events) -> None:
    """Let a running worker finish one attempt, and stop it."""
    task = asyncio.create_task(worker.run())
    [finished] = await events.until(AttemptFinished)
    assert OutcomeKind.SENT == finished.outcome
    worker.stop()
    await task


async def test_webhook_wakes_the_worker(tmp_path: Path) -> None:
    """A text is sent without any time passing on the relay's clock."""
    events = Events()
    async with demonstrated(tmp_path, ManualClock()) as (context, sandbox):
        async with served(context, events) as (_, worker, listening), httpx2.AsyncClient() as client:
            assert isinstance(context.clock, ManualClock)
            task = asyncio.create_task(worker.run())
            await context.clock.until_asleep(2)
            token = await require_hook_token(context)
            await client.post(f"{listening.public_url}/hooks/if3/{token}", json=payload())
            await events.until(AttemptFinished)
            worker.stop()
            await task

        assert 1 == len(sandbox.simulator.texts)


async def test_running_relay_reads_replies_first_when_the_computer_woke(tmp_path: Path) -> None:
    """And says that it slept."""
    events, clock = Events(), ManualClock()
    async with (
        demonstrated(tmp_path, clock) as (context, sandbox),
        open_relay(context, events, long_running=True) as relay,
        open_worker(relay, long_running=True) as worker,
    ):
        delivery, polling = worker.tasks[0], worker.polling
        assert isinstance(delivery, Delivery)
        assert polling is not None
        await polling.turn()
        body = json.dumps(payload()).encode()
        clock.suspend(timedelta(hours=1))
        await relay.intake.accept_request(body, content_type="application/json")
        await delivery.turn()
        await delivery.settle()
        before = len(sandbox.simulator.texts)
        await polling.turn()
        await delivery.turn()
        await delivery.settle()

        assert (0, 1) == (before, len(sandbox.simulator.texts))
        [watch] = [task for task in worker.tasks if isinstance(task, SleepWatch)]
        await watch.turn()
        assert [3600] == [event.seconds for event in events.of(ComputerSlept)]


async def test_text_survives_the_end_of_the_process(tmp_path: Path) -> None:
    """What one run stored the next one sends."""
    async with demonstrated(tmp_path) as (context, sandbox):
        async with open_relay(context) as relay:
            draft = map_direct(to=RECIPIENT, text=TEXT, sender=None, routes=context.mapping.routes)
            await relay.intake.accept(relay.intake.direct(draft))
        events = Events()
        async with (
            open_relay(context, events, long_running=True) as relay,
            open_worker(relay) as worker,
        ):
            await worker_once(worker, events)

        assert [TEXT] == [text.content for text in sandbox.simulator.texts]


async def test_private_listener_can_be_left_out(tmp_path: Path) -> None:
    """Then there is no link either."""
    async with demonstrated(tmp_path) as (context, _):
        settings = context.settings
        dashboard = settings.dashboard.model_copy(update={"enabled": False})
        quiet = replace(context, settings=settings.model_copy(update={"dashboard": dashboard}))
        async with served(quiet, Events()) as (_, _, listening):
            assert (None, None) == (listening.private_url, listening.login_url)


async def test_port_in_use_ends_both_listeners(tmp_path: Path) -> None:
    """The setting is named, and the public listener does not stay behind."""
    async with demonstrated(tmp_path) as (context, sandbox):
        settings = context.settings
        dashboard = settings.dashboard.model_copy(update={"port": int(sandbox.url.rpartition(":")[2])})
        blocked = replace(context, settings=settings.model_copy(update={"dashboard": dashboard}))
        with pytest.raises(Unavailable, match=r"set dashboard\.port to another port"):
            async with served(blocked, Events()):
                raise AssertionError


async def test_worker_needs_a_key(tmp_path: Path) -> None:
    """Without one nothing could be sent, and the sentence says how to set it."""
    async with demonstrated(tmp_path) as (context, _):
        keyless = replace(context, secrets=load_context(None, environ={}).secrets)
        async with open_relay(keyless) as relay:
            with pytest.raises(SecretError, match="CallRail API key"):
                async with open_worker(relay):
                    raise AssertionError


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store that is not in the data directory."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{(tmp_path / 'elsewhere' / 'relay.db').as_posix()}"


def with_store(context: AppContext, url: str) -> AppContext:
    database = context.settings.database.model_copy(update={"url": url})
    return replace(context, settings=context.settings.model_copy(update={"database": database}))


@asynccontextmanager
async def relay_on(store_url: str, folder: Path) -> AsyncIterator[Relay]:
    async with (
        demonstrated(folder) as (context, _),
        open_relay(with_store(context, store_url)) as relay,
    ):
        yield relay


async def test_store_that_a_send_works_on_is_not_copied(store_url: str, tmp_path: Path) -> None:
    """It would send what waits, and the copy would send it again."""
    other = f"sqlite:///{(tmp_path / 'other' / 'relay.db').as_posix()}"

    def copy() -> None:
        copy_store(store_url, other, lambda _: lambda _: None, now=START)

    async with relay_on(store_url, tmp_path) as relay, open_worker(relay):
        with pytest.raises(NotAllowed, match="Stop every `serve`"):
            await asyncio.to_thread(copy)
    await asyncio.to_thread(copy)


async def test_nothing_is_sent_from_a_store_that_is_copied(store_url: str, tmp_path: Path) -> None:
    """Neither from where the texts come nor from where they go."""
    source = f"sqlite:///{(tmp_path / 'source' / 'relay.db').as_posix()}"
    for url in (source, store_url):
        async with relay_on(url, tmp_path):
            pass
    for names in ((source, store_url), (store_url, source)):
        begun, checked = Event(), Event()

        def begin(_rows: int, begun: Event = begun, checked: Event = checked) -> Callable[[int], None]:
            begun.set()
            assert checked.wait(30)
            return lambda _: None

        copying = asyncio.create_task(asyncio.to_thread(copy_store, *names, begin, now=START))
        assert await asyncio.to_thread(begun.wait, 30)
        try:
            async with relay_on(store_url, tmp_path) as relay:
                with pytest.raises(AlreadyRunning, match=r"`database copy` is running on .+ Wait until"):
                    async with open_worker(relay):
                        raise AssertionError
        finally:
            checked.set()
        await copying
    async with relay_on(store_url, tmp_path) as relay, open_worker(relay):
        pass


async def test_store_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    """A file that is no database is named."""
    (tmp_path / "relay.db").write_bytes(b"no database at all, but long enough to look like one" * 100)
    async with demonstrated(tmp_path) as (context, _):
        with pytest.raises(Unavailable, match=r"relay\.db is not a database"):
            async with open_relay(context):
                raise AssertionError


async def test_connection_takes_a_key_that_is_not_stored(tmp_path: Path) -> None:
    """As the wizard needs it before the settings exist."""
    async with open_sandbox(port=0) as sandbox:
        context = load_context(None, overrides=sandbox.overrides(), environ={})
        async with open_callrail(context, sandbox.simulator.api_key) as callrail:
            route = Route(
                sandbox.simulator.account_id, sandbox.simulator.company_id, sandbox.simulator.tracking_number
            )
            assert isinstance(await callrail.send_text(route, RECIPIENT, TEXT), Sent)


# --- the sandbox -----------------------------------------------------------------------------------------


async def test_sandbox_says_what_to_set() -> None:
    """One object for programs, and the settings of a relay that talks to it."""
    async with open_sandbox(port=0) as sandbox:
        document = sandbox.document()
        assert ["url", "api_key", "account_id", "company_id", "tracking_number"] == list(document)
        assert sandbox.url == document["url"]
        context = load_context(None, overrides=sandbox.overrides(), environ=sandbox.environ())
        context.require_route()
        context.require_terms()
        assert (document["account_id"],) == context.routes.account_ids
        assert (document["tracking_number"],) == context.routes.tracking_numbers
        found = await context.secrets.require(SecretName.API_KEY)
        assert document["api_key"] == found.reveal()


async def test_sandbox_takes_the_key_that_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLRAIL_API_KEY", " given-key ")
    async with open_sandbox(port=0) as sandbox:
        assert "given-key" == sandbox.simulator.api_key


async def test_sandbox_has_the_faults_it_was_given() -> None:
    """As JSON; bad ones are told before anything listens."""
    async with open_sandbox(port=0, faults='[{"kind": "drop"}]') as sandbox:
        assert 1 == len(sandbox.simulator.faults)
    with pytest.raises(UsageError):
        async with open_sandbox(port=0, faults='[{"kind": "dance"}]'):
            raise AssertionError


async def test_sandbox_gives_a_fresh_machine_a_secret_for_one_run() -> None:
    """A stored one is never used, since IF3 may post to it for real."""
    async with open_sandbox(port=0) as sandbox:
        fresh = load_context(None, overrides=sandbox.overrides(), environ=sandbox.environ())
        given = load_context(None, overrides=sandbox.overrides(), environ=sandbox.environ("one-of-its-own"))

    assert 43 == len(await require_hook_token(fresh))
    assert "one-of-its-own" == await require_hook_token(given)
    assert sandbox.simulator.api_key == (await given.secrets.require(SecretName.API_KEY)).reveal()


# --- what a run stands on --------------------------------------------------------------------------------


async def test_settings_become_policies(tmp_path: Path) -> None:
    """Limits, guards, waits and the lease of an attempt."""
    async with open_sandbox(port=0) as sandbox:
        context = configured(
            tmp_path,
            sandbox,
            limits={"per_hour": 7, "per_day": 70, "max_characters": 300, "recipient_interval": 2.5},
            delivery={"concurrency": 2, "max_age": "1h", "connect_timeout": 3.0, "read_timeout": 30.0},
            guards={"duplicate": "off", "merge_tag": "warn", "duplicate_window": "1m"},
        )
    claim, mapping = context.claim, context.mapping

    assert (7, 70) == (mapping.limits.per_hour, mapping.limits.per_day)
    assert 300 == mapping.max_characters == claim.max_characters
    assert (Mode.OFF, Mode.WARN, Mode.HOLD) == (
        mapping.guards.duplicate,
        mapping.guards.merge_tag,
        mapping.guards.opt_out,
    )
    assert timedelta(hours=1) == mapping.guards.max_age
    assert timedelta(minutes=1) == mapping.guards.duplicate_window
    assert 2 == context.settings.delivery.concurrency
    assert timedelta(seconds=2.5) == claim.recipient_interval
    assert timedelta(seconds=33) + LEASE_MARGIN == claim.lease
    assert frozenset(context.routes.account_ids) == claim.accounts


def test_nothing_configured_cannot_send() -> None:
    """The route comes first, then the rule on what may be sent; both sentences say what to do."""
    nothing = load_context(None)
    with pytest.raises(SettingsError, match="run `callrail-relay configure`"):
        nothing.require_route()
    with pytest.raises(SettingsError, match=r"person-to-person texts only.*accepted_terms = true"):
        nothing.require_terms()
    assert () == nothing.routes.account_ids == nothing.routes.tracking_numbers


def test_durations_are_read_as_in_the_settings() -> None:
    """For options of the command line."""
    assert timedelta(minutes=5) == read_duration("5m")
    with pytest.raises(ValueError, match="must be"):
        read_duration("soon")


@pytest.fixture
def untouched_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.mark.usefixtures("untouched_logging")
def test_events_are_logged_as_the_settings_say() -> None:
    """Level and form come from the settings."""
    stream = io.StringIO()
    with patch("sys.stderr", stream):
        hook = log_events(load_context(None, overrides={"log": {"level": "info", "format": "json"}}))
        hook(PingReceived())
        hook(MessageAccepted(message_id="x", submission_id="y", status=Status.QUEUED))
        hook(MessageAccepted(message_id="x", submission_id="y", status=Status.HELD, reasons=("no_text",)))

    assert ["ping_received", "message_accepted"] == [
        json.loads(line)["action"] for line in stream.getvalue().splitlines()
    ]


# --- the webhook's secret --------------------------------------------------------------------------------


async def with_token_in_file(folder: Path) -> AppContext:
    """An context whose webhook secret is in the file that its owner opted in to."""
    context = replace(load_context(folder / "config.toml", must_exist=False), clock=ManualClock())
    await context.secrets.store(SecretName.HOOK_TOKEN, "first", use_file=True)
    return context


async def test_rotation_keeps_the_former_secret_for_a_day(tmp_path: Path) -> None:
    """A running relay knows both; after the day only the new one opens."""
    context = await with_token_in_file(tmp_path)
    clock = context.clock
    assert isinstance(clock, ManualClock)
    async with open_relay(context) as relay:
        running = await hook_tokens(context, relay.store)
        assert [HookToken(value="first")] == await read_hook_tokens(context)

        rotation = await rotate_hook_token(context)
        clock.advance(10)

        assert clock.now() + GRACE - timedelta(seconds=10) == rotation.former_until
        assert "secrets.toml" in rotation.place
        assert rotation.token == await require_hook_token(context)
        assert await running.opens(rotation.token)
        assert await running.opens("first")
        clock.advance(GRACE)
        assert not await running.opens("first")
        assert await running.opens(rotation.token)


async def test_promised_day_begins_with_the_rotation(tmp_path: Path) -> None:
    """Even if no sender uses the new secret, so that nothing makes a running relay look for it."""
    context = await with_token_in_file(tmp_path)
    clock = context.clock
    assert isinstance(clock, ManualClock)
    async with open_relay(context) as relay:
        running = await hook_tokens(context, relay.store)

        await rotate_hook_token(context)

        clock.advance(GRACE - timedelta(seconds=10))
        assert await running.opens("first")
        clock.advance(10)
        assert not await running.opens("first")


async def test_leaked_secret_is_ended_at_once(tmp_path: Path) -> None:
    """With all those before it: in a running relay within seconds, and in one that starts later."""
    context = await with_token_in_file(tmp_path)
    clock = context.clock
    assert isinstance(clock, ManualClock)
    async with open_relay(context) as relay:
        running = await hook_tokens(context, relay.store)
        second = (await rotate_hook_token(context)).token
        clock.advance(10)
        assert await running.opens(second)
        assert await running.opens("first")

        rotation = await rotate_hook_token(context, at_once=True)

        clock.advance(REREAD)
        assert rotation.former_until is None
        for tokens in (running, await hook_tokens(context, relay.store)):
            assert [False, False, True] == [
                await tokens.opens(token) for token in ("first", second, rotation.token)
            ]
        assert [HookToken(value=rotation.token)] == await read_hook_tokens(context)


async def test_secret_made_while_the_keyring_was_locked_opens_as_well(
    memory: MemoryKeyring, tmp_path: Path
) -> None:
    """IF3 may have the URL of either, until a rotation ends both."""

    def refuse() -> None:
        raise KeyringLocked

    context = replace(load_context(tmp_path / "config.toml", must_exist=False), clock=ManualClock())
    clock = context.clock
    assert isinstance(clock, ManualClock)
    await context.secrets.store(SecretName.HOOK_TOKEN, "in keyring", use_file=False)
    with patch.object(memory, "before", refuse):
        await context.secrets.store(SecretName.HOOK_TOKEN, "in file", use_file=True)

    assert ["in keyring", "in file"] == [one.value for one in await read_hook_tokens(context)]
    async with open_relay(context) as relay:
        running = await hook_tokens(context, relay.store)
        second = (await rotate_hook_token(context)).token
        clock.advance(10)
        opened = [await running.opens(one) for one in ("in keyring", "in file", second)]
        assert [True, True, True] == opened

        await rotate_hook_token(context, at_once=True)
        clock.advance(REREAD)
        opened = [await running.opens(one) for one in ("in keyring", "in file", second)]
        assert [False, False, False] == opened


async def test_two_rotations_in_one_day_keep_both_promises(tmp_path: Path) -> None:
    context = await with_token_in_file(tmp_path)
    clock = context.clock
    assert isinstance(clock, ManualClock)
    async with open_relay(context) as relay:
        running = await hook_tokens(context, relay.store)
        for _ in range(2):
            await rotate_hook_token(context)
            clock.advance(timedelta(hours=1))

        assert await running.opens(await require_hook_token(context))
        assert await running.opens("first")


async def test_rotation_without_a_store_changes_nothing(tmp_path: Path) -> None:
    """No node could be told."""
    context = await with_token_in_file(tmp_path)
    url = f"sqlite:///{tmp_path / 'secrets.toml'}/relay.db"
    broken = with_store(context, url)

    with pytest.raises(Unavailable):
        await rotate_hook_token(broken, at_once=True)
    assert [HookToken(value="first")] == await read_hook_tokens(context)


async def test_secret_of_the_environment_is_rotated_by_its_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is stored that would not count."""
    monkeypatch.setenv("CALLRAIL_RELAY_HOOK_TOKEN", "given")
    context = load_context(tmp_path / "config.toml", must_exist=False)

    with pytest.raises(SecretError, match="CALLRAIL_RELAY_HOOK_TOKEN; change it there"):
        await rotate_hook_token(context)
    assert [HookToken(value="given")] == await read_hook_tokens(context)


async def test_missing_secret_is_told(tmp_path: Path) -> None:
    """A relay without one does not start."""
    context = load_context(tmp_path / "config.toml", must_exist=False)
    async with open_relay(context) as relay:
        for attempt in (partial(hook_tokens, store=relay.store), require_hook_token, rotate_hook_token):
            with pytest.raises(SecretError, match="webhook secret"):
                await attempt(context)


async def test_locked_keyring_does_not_close_the_webhook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was known stays good when it cannot be read again."""
    context = await with_token_in_file(tmp_path)
    async with open_relay(context) as relay:
        running = await hook_tokens(context, relay.store)
        assert isinstance(context.clock, ManualClock)
        context.clock.advance(10)

        async def locked(_name: SecretName) -> None:
            raise SecretError("The keyring is locked.")

        monkeypatch.setattr(context.secrets, "find", locked)
        assert not await running.opens("wrong")
        assert await running.opens("first")


async def test_former_secret_that_cannot_be_read_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The current one may come from the environment, where no keyring is needed."""
    context = await with_token_in_file(tmp_path)
    find = context.secrets.find

    async def half_locked(name: SecretName) -> Found | None:
        if name is SecretName.HOOK_TOKEN_PREVIOUS:
            raise SecretError("The keyring is locked.")
        return await find(name)

    monkeypatch.setattr(context.secrets, "find", half_locked)
    assert [HookToken(value="first")] == await read_hook_tokens(context)


@pytest.mark.parametrize(
    ("server", "base", "url"),
    [
        ({}, None, "http://127.0.0.1:8787/hooks/if3/t"),
        ({"host": "0.0.0.0", "port": 80}, None, "http://127.0.0.1:80/hooks/if3/t"),
        ({"host": "::"}, None, "http://[::1]:8787/hooks/if3/t"),
        ({"public_url": "https://texts.example.com/"}, None, "https://texts.example.com/hooks/if3/t"),
        ({"public_url": "https://texts.example.com"}, "http://127.0.0.1:9", "http://127.0.0.1:9/hooks/if3/t"),
    ],
)
def test_url_for_if3(server: dict[str, object], base: str | None, url: str) -> None:
    """The public address, else what this machine can reach; a given one wins."""
    context = load_context(None, overrides={"server": server})

    assert url == hook_url(context.settings, "t", base)


def test_url_can_hold_every_secret() -> None:
    """Also one that a person made with `openssl rand -base64`, or quoted in a file for Docker."""
    url = hook_url(load_context(None).settings, '"a b/c?d+e="')

    assert "http://127.0.0.1:8787/hooks/if3/%22a%20b%2Fc%3Fd%2Be%3D%22" == url


# --- the checks ------------------------------------------------------------------------------------------


async def test_nothing_configured_gives_every_finding() -> None:
    """Not only the first; the exit code is that of the first failure."""
    report = await diagnose(None)

    assert NAMES == [finding.name for finding in report.findings]
    assert 3 == report.exit_code
    found = findings(report)
    assert Condition.WARNING == found["settings"]
    assert {"terms", "routes", "API key", "webhook secret", "relay"} == {
        name for name, condition in found.items() if condition is Condition.FAILED
    }
    for untried in ("CallRail", "accounts"):
        assert Condition.WARNING == found[untried]
        assert "Not tried, because a check that it needs failed." == detail(report, untried)
    assert {"store", "texts"} <= {name for name, condition in found.items() if condition is Condition.OK}
    assert all("callrail-relay configure" in detail(report, name) for name in ("settings", "terms", "routes"))


async def test_settings_that_cannot_be_read_are_the_only_finding(tmp_path: Path) -> None:
    """Everything else would be guessing."""
    path = tmp_path / "config.toml"
    path.write_text("[limits]\nper_hour = 'many'\n", encoding="utf-8")
    report = await diagnose(path)

    assert {"settings": Condition.FAILED} == findings(report)
    assert 3 == report.exit_code
    assert "per_hour" in detail(report, "settings")


async def test_settings_that_broke_since_the_start_are_a_finding(tmp_path: Path) -> None:
    """A relay that runs has read them; its next start will fail."""
    path = tmp_path / "config.toml"
    path.touch()
    async with open_relay(load_context(path)) as relay:
        path.write_text("[limits]\nper_hour = 'many'\n", encoding="utf-8")
        report = await run_checks(checks(relay))

    assert NAMES == [finding.name for finding in report.findings]
    assert Condition.FAILED == findings(report)["settings"]
    assert "per_hour" in detail(report, "settings")


async def test_everything_is_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    With a sandbox in CallRail's place, and a public URL that leads here. What was not tried is a warning.
    """
    async with open_sandbox(port=0) as sandbox:
        with public_way(tmp_path) as way:
            way.answer = proving(tmp_path / "data" / "relay.db")
            for variable, value in {**way.environment, "CALLRAIL_RELAY_DATA": str(tmp_path / "data")}.items():
                monkeypatch.setenv(variable, value)
            monkeypatch.setenv("CALLRAIL_API_KEY", sandbox.simulator.api_key)
            monkeypatch.setenv("CALLRAIL_RELAY_HOOK_TOKEN", "token")
            monkeypatch.setenv("CALLRAIL_SIGNING_KEY", "key")
            configured(tmp_path, sandbox, server={"public_url": PUBLIC})
            (tmp_path / "config.toml").chmod(0o600)
            path = tmp_path / "config.toml"
            idle = await diagnose(path)
            async with open_relay(load_context(path), long_running=True):
                report = await diagnose(path)

        assert 8 == idle.exit_code, idle
        assert {RELAY} == {
            name for name, condition in findings(idle).items() if condition is Condition.FAILED
        }
        assert 0 == report.exit_code, report
        well = {name for name, condition in findings(report).items() if condition is Condition.OK}
        # The machine of a test may have little space.
        assert set(NAMES) - {"replies", "alerts", "disk"} == well - {"disk"}
        assert f"{PUBLIC} leads to this relay" in detail(report, "public address")
        assert "You won't hear about it" in detail(report, "alerts")
        assert "environment variable CALLRAIL_API_KEY" in detail(report, "API key")
        assert sandbox.simulator.api_key not in str(report)


@posix_only
async def test_files_that_others_can_read_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store itself is closed when it is opened; a link in its place is named as well."""
    config, data = tmp_path / "config.toml", tmp_path / "data"
    monkeypatch.setenv("CALLRAIL_RELAY_DATA", str(data))
    config.write_text("")
    await diagnose(config)
    data.chmod(0o755)
    for path, mode in (
        (config, 0o644), (data / "relay.db", 0o666), (data / "node-0.id", 0o640), (tmp_path / "x", 0o600)
    ):  # fmt: skip
        path.touch()
        path.chmod(mode)

    named = detail(await diagnose(config), "files")

    for name in (f"{config} (0644)", f"{data} (0755)", f"{data / 'node-0.id'} (0640)"):
        assert name in named
    assert "relay.db" not in named
    assert 0o600 == stat.S_IMODE((data / "relay.db").stat().st_mode)

    (data / "relay.db").rename(tmp_path / "elsewhere.db")
    (data / "relay.db").symlink_to(tmp_path / "elsewhere.db")
    assert f"{data / 'relay.db'} (to {tmp_path / 'elsewhere.db'})" in detail(await diagnose(config), "files")


async def test_a_secret_that_was_replaced_elsewhere_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a computer that shares the store, and still has the former one."""
    monkeypatch.setenv("CALLRAIL_RELAY_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("CALLRAIL_RELAY_HOOK_TOKEN", "former")
    config = tmp_path / "config.toml"
    config.touch()
    async with open_relay(load_context(config)) as relay:
        await relay.store.write(relay_secrets.end_tokens, [digest("former")], await relay.store.now() + GRACE)
        assert Condition.WARNING == findings(await diagnose(config))["webhook secret"]
        await relay.store.write(relay_secrets.end_tokens, [digest("former")])
        report = await diagnose(config)

    assert Condition.FAILED == findings(report)["webhook secret"]
    assert "Put the new one in the environment variable" in detail(report, "webhook secret")


async def test_paused_account_is_a_finding(tmp_path: Path) -> None:
    """The exit code says that texts wait."""
    async with demonstrated(tmp_path) as (context, _), open_relay(context) as relay:
        await relay.operations.pause(None, "Holidays.")
        report = await run_checks(checks(relay))

        assert Condition.FAILED == findings(report)["accounts"]
        assert 7 == report.exit_code


async def test_conversations_that_cannot_be_read_are_a_finding(tmp_path: Path) -> None:
    """Texts are sent all the same; the lists of accounts, companies and numbers can be read."""
    async with demonstrated(tmp_path) as (context, sandbox), open_relay(context) as relay:
        sandbox.simulator.fault(Fault(Kind.STATUS, on="read", position=4, status=403))
        report = await run_checks(checks(relay))

        assert Condition.WARNING == findings(report)["CallRail"]
        assert "But conversations can't be read" in detail(report, "CallRail")
        assert "doesn't let this API key see that (403)" in detail(report, "CallRail")


async def test_store_that_cannot_be_opened_is_a_finding_among_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What does not need the store is checked all the same."""
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"no database at all, but long enough to look like one" * 100)
    monkeypatch.setenv("CALLRAIL_RELAY_DATABASE__URL", f"sqlite:///{broken.as_posix()}")
    monkeypatch.setattr(engine, "BUSY_TIMEOUT", 0.0)
    report = await diagnose(None)

    assert ["settings", "terms", "routes", "API key", "webhook secret", "network", "store"] == [
        finding.name for finding in report.findings
    ]
    assert "is not a database" in detail(report, "store")
    assert 3 == report.exit_code


@pytest.mark.parametrize("mode", ["transaction", "session"])
@pytest.mark.parametrize("more", ["", "ignore_startup_parameters = options"])
async def test_a_pooler_before_postgresql_is_refused(
    postgres_cluster: PostgresCluster, postgres_url: str, tmp_path: Path, mode: str, more: str
) -> None:
    """Behind it nothing says that a commit is on disk; PostgreSQL itself is taken."""
    async with relay_on(postgres_url, tmp_path):
        pass
    with running_pgbouncer(postgres_cluster, mode, more) as pooled:
        url = pooled.url(postgres_url.rpartition("/")[2])
        with pytest.raises(Unavailable, match="connection pooler such as PgBouncer"):
            async with relay_on(url, tmp_path):
                raise AssertionError


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
async def test_a_database_that_cannot_hold_every_text_is_refused(
    postgres_cluster: PostgresCluster, tmp_path: Path, encoding: str
) -> None:
    """PostgreSQL takes the encoding of its system's locale if no one names another."""
    name = postgres_cluster.create_database(encoding=encoding)
    with pytest.raises(Unavailable, match=f"{name} has the encoding {encoding}.*--encoding UTF8"):
        async with relay_on(postgres_cluster.url(name), tmp_path):
            raise AssertionError
    postgres_cluster.drop_database(name)


async def test_the_encoding_of_the_environment_does_not_count(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A text with an emoji fits, whatever programs of PostgreSQL are told."""
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    async with relay_on(postgres_url, tmp_path) as relay:
        assert "😀" == await relay.store.read(lambda tx: tx.scalar(sa.select(sa.literal("😀"))))
