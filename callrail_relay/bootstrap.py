"""
Puts the concrete pieces together: the only file that knows them all.
"""

import os
import random
import secrets
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from urllib.parse import quote

from callrail_relay.callrail.client import CallRail
from callrail_relay.callrail.simulator import Simulator, create_app, load_faults
from callrail_relay.clock import Clock, SystemClock
from callrail_relay.config.durations import parse_duration
from callrail_relay.config.loading import load
from callrail_relay.config.os_keyring import OsKeyring
from callrail_relay.config.places import config_file, data_directory, private_directory
from callrail_relay.config.rules import is_loopback
from callrail_relay.config.saving import Changes, find_despite_keyring, overruled, save
from callrail_relay.config.secrets import SecretName, Secrets
from callrail_relay.config.settings import Settings
from callrail_relay.domain.budget import Limits
from callrail_relay.domain.claim import ClaimPolicy
from callrail_relay.domain.events import EventHook, ignore
from callrail_relay.domain.guards import GuardPolicy
from callrail_relay.errors import SecretFault, SettingsFault, Unavailable
from callrail_relay.outbox.nodes import node_name
from callrail_relay.outbox.store import Outbox
from callrail_relay.service.checks import (
    check_accounts,
    check_public_url,
    check_routes,
    check_space,
    check_store,
    check_waiting,
)
from callrail_relay.service.delivery import Delivery, DeliveryPolicy
from callrail_relay.service.health import Check, HealthReport, StoreProbe, Worry, examine
from callrail_relay.service.hook_tokens import GRACE, HookToken, HookTokens, new_token
from callrail_relay.service.intake import Intake, MappingPolicy
from callrail_relay.service.operations import Operations
from callrail_relay.telemetry import logs
from callrail_relay.web.listener import Listener
from callrail_relay.web.login import Login
from callrail_relay.web.private import PrivatePages, create_private_app
from callrail_relay.web.public import Hook, create_public_app

LEASE_MARGIN = timedelta(seconds=10)

TERMS = (
    "CallRail is for person-to-person texts only: bulk, blast and automated messaging is against its terms. "
    "Every text that leaves through this relay must have been written by a person, to one person who "
    "agreed to "
    "be texted."
)


@dataclass(frozen=True, kw_only=True)
class Installation:
    """
    What a run stands on: settings, secrets, the data directory, time and chance.
    """

    config_path: Path
    settings: Settings
    secrets: Secrets
    data: Path
    clock: Clock = field(default_factory=SystemClock)
    random: Random = field(default_factory=random.SystemRandom)

    @property
    def limits(self) -> Limits:
        return Limits(self.settings.limits.per_hour, self.settings.limits.per_day)

    @property
    def guards(self) -> GuardPolicy:
        guards = self.settings.guards
        return GuardPolicy(
            duplicate=guards.duplicate,
            merge_tag=guards.merge_tag,
            opt_out=guards.opt_out,
            too_old=guards.too_old,
            max_age=self.settings.delivery.max_age,
        )

    @property
    def mapping(self) -> MappingPolicy:
        return MappingPolicy(
            routes=self.settings.routes_table(),
            guards=self.guards,
            max_characters=self.settings.limits.max_characters,
            limits=self.limits,
        )

    @property
    def account_ids(self) -> tuple[str, ...]:
        """
        The accounts of the settings, each once, in their order.
        """
        return tuple(dict.fromkeys(route.account_id for route in self.settings.routes_table()))

    @property
    def delivery(self) -> DeliveryPolicy:
        delivery = self.settings.delivery
        return DeliveryPolicy(
            claim=ClaimPolicy(
                accounts=frozenset(self.account_ids),
                limits=self.limits,
                recipient_interval=self.settings.limits.recipient_interval,
                lease=delivery.connect_timeout + delivery.read_timeout + LEASE_MARGIN,
                max_characters=self.settings.limits.max_characters,
                guards=self.guards,
            ),
            concurrency=delivery.concurrency,
        )

    def require_ready_to_send(self) -> None:
        """
        Raises SettingsFault unless texts have a route and the terms are accepted.
        """
        self.require_route()
        self.require_terms()

    def require_route(self) -> None:
        """
        Raises SettingsFault unless there is an account, a company and a number to send from.
        """
        if not self.account_ids:
            raise SettingsFault(
                f"No account, company and tracking number to send from is set in {self.config_path}; run "
                "`callrail-relay configure`."
            )

    def require_terms(self) -> None:
        """
        Raises SettingsFault unless somebody accepted CallRail's rule on what may be sent.
        """
        if not self.settings.callrail.accepted_terms:
            raise SettingsFault(
                f"{TERMS} Accept this once with `callrail-relay configure`, or with accepted_terms = "
                "true under "
                f"[callrail] in {self.config_path}."
            )


@dataclass(frozen=True, kw_only=True)
class Relay:
    """
    The services of one run, on one open store.
    """

    installation: Installation
    outbox: Outbox
    intake: Intake
    operations: Operations


def find_installation(
    config: Path | None,
    *,
    overrides: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    must_exist: bool = True,
) -> Installation:
    """
    The installation that *config* names, or the user's own. Raises SettingsFault.

    *environ* takes the place of the environment for secrets, as the demonstration needs it.
    """
    path = config_file(config)
    return Installation(
        config_path=path,
        settings=load(config, overrides=overrides, must_exist=must_exist),
        secrets=Secrets(path) if environ is None else Secrets(path, environ),
        data=data_directory(),
    )


def read_duration(text: str) -> timedelta:
    """
    A span of time as the settings write it: seconds, or 15s, 5m, 4h, 30d. Raises ValueError.
    """
    return parse_duration(text)


def log_events(installation: Installation) -> EventHook:
    """
    Send logs where the settings say, and return the hook that writes events to them.
    """
    log = installation.settings.log
    logs.configure(log.level, log.format)
    return logs.event_logger()


@asynccontextmanager
async def open_relay(installation: Installation, hook: EventHook = ignore) -> AsyncIterator[Relay]:
    """
    The services on an open store; closed at the end. Raises Unavailable.
    """
    settings = installation.settings
    outbox = await Outbox.open(settings.database.url, installation.clock)
    try:
        yield Relay(
            installation=installation,
            outbox=outbox,
            intake=Intake(
                outbox,
                installation.mapping,
                clock=installation.clock,
                random=installation.random,
                hook=hook,
            ),
            operations=Operations(
                outbox,
                account_ids=installation.account_ids,
                limits=installation.limits,
                max_characters=settings.limits.max_characters,
            ),
        )
    finally:
        await outbox.close()


@asynccontextmanager
async def open_delivery(relay: Relay, hook: EventHook = ignore) -> AsyncIterator[Delivery]:
    """
    A worker for *relay*, with its connection to CallRail and a name of its own.

    Raises SecretFault without an API key, Unavailable without a data directory.
    """
    installation = relay.installation
    key = await installation.secrets.require(SecretName.API_KEY)
    async with open_callrail(installation, key.secret.reveal()) as callrail:
        with node_name(private_directory(installation.data)) as node:
            yield Delivery(
                relay.outbox,
                callrail,
                installation.delivery,
                node=node,
                clock=installation.clock,
                random=installation.random,
                hook=hook,
            )


@asynccontextmanager
async def open_callrail(
    installation: Installation, api_key: str, api_url: str | None = None
) -> AsyncIterator[CallRail]:
    """
    CallRail's API for *api_key*, at *api_url* or that of the settings.
    """
    delivery = installation.settings.delivery
    async with CallRail.open(
        api_url or installation.settings.callrail.api_url,
        api_key,
        connect_timeout=delivery.connect_timeout,
        read_timeout=delivery.read_timeout,
        connections=delivery.concurrency,
    ) as callrail:
        yield callrail


@dataclass(frozen=True, kw_only=True)
class Sandbox:
    """
    A running simulator, and what to set so that a relay talks to it.
    """

    url: str
    simulator: Simulator

    def document(self) -> dict[str, str]:
        return {
            "url": self.url,
            "api_key": self.simulator.api_key,
            "account_id": self.simulator.account_id,
            "company_id": self.simulator.company_id,
            "tracking_number": self.simulator.tracking_number,
        }

    def overrides(self) -> dict[str, object]:
        """
        The settings of a relay that talks to it.
        """
        return {
            "callrail": {
                "api_url": self.url,
                "account_id": self.simulator.account_id,
                "company_id": self.simulator.company_id,
                "tracking_number": self.simulator.tracking_number,
                "accepted_terms": True,
            },
        }

    def environ(self) -> dict[str, str]:
        """
        The secrets of such a relay: the sandbox's key, and the webhook secret where the environment has it.
        """
        environ = {str(SecretName.API_KEY.variable): self.simulator.api_key}
        token = os.environ.get(str(SecretName.HOOK_TOKEN.variable))
        return environ if token is None else environ | {str(SecretName.HOOK_TOKEN.variable): token}


def demonstration(directory: Path, sandbox: Sandbox) -> Installation:
    """
    A relay that keeps everything in *directory*, talks to *sandbox*, and takes no port that may be in use.
    """
    overrides = sandbox.overrides() | {
        "server": {"host": "127.0.0.1", "port": 0},
        "dashboard": {"host": "127.0.0.1", "port": 0},
        "database": {"url": f"sqlite:///{quote((directory / 'relay.db').as_posix(), safe='/:')}"},
    }
    environ = sandbox.environ() | {str(SecretName.HOOK_TOKEN.variable): new_token()}
    path = directory / "config.toml"
    return Installation(
        config_path=path,
        settings=Settings.model_validate(overrides),
        secrets=Secrets(path, environ),
        data=directory,
    )


@asynccontextmanager
async def open_sandbox(*, port: int, faults: str | None = None) -> AsyncIterator[Sandbox]:
    """
    The simulator on loopback; *faults* is a JSON list. Raises UsageFault for bad ones, Unavailable.

    It accepts the key of CALLRAIL_API_KEY where that is set, else one of its own.
    """
    simulator = Simulator(
        clock=SystemClock(), api_key=os.environ.get("CALLRAIL_API_KEY", "").strip() or secrets.token_hex(16)
    )
    if faults is not None:
        simulator.fault(*load_faults(faults))
    async with Listener(create_app(simulator), host="127.0.0.1", port=port, setting="--port") as listener:
        yield Sandbox(url=listener.url, simulator=simulator)


@dataclass(frozen=True, kw_only=True)
class Listening:
    """
    Where the relay listens; the login link is good once.
    """

    public_url: str
    private_url: str | None
    login_url: str | None


@asynccontextmanager
async def open_listeners(relay: Relay, delivery: Delivery, tokens: HookTokens) -> AsyncIterator[Listening]:
    """
    The public listener, and the private one where the settings have it. Raises Unavailable.
    """
    installation = relay.installation
    server, dashboard = installation.settings.server, installation.settings.dashboard
    hook = Hook(
        relay.intake,
        tokens,
        installation.clock,
        allow_addresses=server.allow_addresses,
        wake=delivery.wake,
    )
    public = Listener(
        create_public_app(hook, StoreProbe(relay.outbox, installation.clock).writable),
        host=server.host,
        port=server.port,
        setting="server.port (--port)",
        trusted_proxies=[str(network) for network in server.trusted_proxies],
    )
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(public)
        if not dashboard.enabled:
            yield Listening(public_url=public.url, private_url=None, login_url=None)
            return
        login = Login()
        private = Listener(
            create_private_app(_private_pages(relay, login), host=dashboard.host),
            host=dashboard.host,
            port=dashboard.port,
            setting="dashboard.port",
        )
        await stack.enter_async_context(private)
        yield Listening(
            public_url=public.url,
            private_url=private.url,
            login_url=f"{private.url}/login?token={login.token}",
        )


def _private_pages(relay: Relay, login: Login) -> PrivatePages:
    installation = relay.installation

    async def look() -> HealthReport:
        return await examine(checks(relay))

    return PrivatePages(
        relay.operations,
        look,
        login,
        installation.clock,
        loopback=is_loopback(installation.settings.dashboard.host),
    )


async def read_hook_tokens(installation: Installation) -> Sequence[HookToken]:
    """
    The tokens that open the webhook, the current one first; none where none is set. Raises SecretFault.
    """
    current = await installation.secrets.find(SecretName.HOOK_TOKEN)
    try:
        former = await installation.secrets.find(SecretName.HOOK_TOKEN_PREVIOUS)
    except SecretFault:
        # Only a keyring can hold it; one that does not answer must not keep the current one from working.
        former = None
    tokens = [] if current is None else [HookToken(value=current.secret.reveal())]
    if former is not None:
        valid_until, _, value = former.secret.reveal().partition("|")
        tokens.append(HookToken(value=value, valid_until=datetime.fromisoformat(valid_until)))
    return tokens


async def require_hook_token(installation: Installation) -> HookToken:
    """
    The current token. Raises SecretFault.
    """
    found = await installation.secrets.require(SecretName.HOOK_TOKEN)
    return HookToken(value=found.secret.reveal())


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """
    A new webhook secret, where it went in words, and until when the former one works as well.
    """

    token: HookToken
    place: str
    former_until: datetime


async def rotate_hook_token(installation: Installation) -> Rotation:
    """
    Make a new token and keep the former one valid for a day.

    Raises SecretFault, also where the token comes from a place that only its owner can change.
    """
    secrets = installation.secrets
    owner = secrets.shadowed_by(SecretName.HOOK_TOKEN)
    if owner is not None:
        raise SecretFault(f"The webhook secret comes from the {owner}; change it there, and restart `serve`.")
    current = await secrets.require(SecretName.HOOK_TOKEN)
    former_until = installation.clock.now() + GRACE
    former = f"{former_until.isoformat()}|{current.secret.reveal()}"
    # The former one first: whatever happens in between, it keeps working.
    await secrets.store(SecretName.HOOK_TOKEN_PREVIOUS, former, use_file=secrets.file_in_use)
    token = new_token()
    place = await secrets.store(SecretName.HOOK_TOKEN, token, use_file=secrets.file_in_use)
    return Rotation(token=HookToken(value=token), place=place, former_until=former_until)


async def hook_tokens(installation: Installation) -> HookTokens:
    """
    The tokens for the public listener. Raises SecretFault where there is none.
    """
    await installation.secrets.require(SecretName.HOOK_TOKEN)

    async def read() -> Sequence[HookToken]:
        try:
            return await read_hook_tokens(installation)
        except SecretFault:
            # The keyring may be locked by now; the tokens known so far stay good.
            return ()

    return HookTokens(await read_hook_tokens(installation), read, installation.clock)


def hook_url(settings: Settings, token: HookToken, base: str | None = None) -> str:
    """
    The URL to paste into IF3.
    """
    server = settings.server
    public = base or server.public_url or f"http://{_reachable(server.host)}:{server.port}"
    return f"{public.rstrip('/')}/hooks/if3/{token.value}"


def _reachable(host: str) -> str:
    """
    A host to listen on as the host of a URL for this machine.
    """
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # compared only
    return f"[{host}]" if ":" in host else host


async def diagnose(config: Path | None) -> HealthReport:
    """
    The findings of every check; without readable settings there is but one.
    """

    async def read_settings() -> str:
        path = find_installation(config).config_path
        if not path.exists():
            raise Worry(f"There is no settings file {path} yet; `callrail-relay configure` makes it.")
        return f"{path} is read."

    report = await examine([("settings", read_settings)])
    if report.exit_code:
        return report
    installation = find_installation(config)
    try:
        async with open_relay(installation) as relay:
            return HealthReport(findings=report.findings + (await examine(checks(relay))).findings)
    except Unavailable as error:
        without_store = [*_settings_checks(installation), ("store", _raising(error))]
        return HealthReport(findings=report.findings + (await examine(without_store)).findings)


def _raising(error: Unavailable) -> Check:
    async def check() -> str:
        raise error

    return check


def checks(relay: Relay) -> list[tuple[str, Check]]:
    """
    Everything that must hold, in the order in which it is best put right.
    """
    installation = relay.installation
    probe = StoreProbe(relay.outbox, installation.clock)

    async def space() -> str:
        free = shutil.disk_usage(private_directory(installation.data)).free
        return check_space(free, str(installation.data))

    async def public_url() -> str:
        return check_public_url(installation.settings.server.public_url)

    return [
        *_settings_checks(installation),
        ("store", lambda: check_store(probe, relay.outbox.name)),
        ("disk", space),
        ("CallRail", lambda: _check_callrail(installation)),
        ("accounts", lambda: check_accounts(relay.operations)),
        ("public address", public_url),
        ("texts", lambda: check_waiting(relay.operations)),
    ]


def _settings_checks(installation: Installation) -> list[tuple[str, Check]]:
    async def terms() -> str:
        installation.require_terms()
        return "CallRail's rule for person-to-person texts is accepted."

    async def route() -> str:
        installation.require_route()
        return f"Texts leave from {len(set(installation.settings.routes_table()))} number(s)."

    async def api_key() -> str:
        return f"From the {(await installation.secrets.require(SecretName.API_KEY)).rung}."

    async def hook_token() -> str:
        return f"From the {(await installation.secrets.require(SecretName.HOOK_TOKEN)).rung}."

    return [
        ("terms", terms),
        ("routes", route),
        ("API key", api_key),
        ("webhook secret", hook_token),
    ]


async def _check_callrail(installation: Installation) -> str:
    installation.require_route()
    key = await installation.secrets.require(SecretName.API_KEY)
    async with open_callrail(installation, key.secret.reveal()) as callrail:
        return await check_routes(callrail, list(installation.settings.routes_table()))


@dataclass(frozen=True, kw_only=True)
class KnownKey:
    """
    An API key that is there already, and in words where.

    One that is *outside* comes from the environment or from systemd: it wins over a
    stored one, and is never stored.
    """

    value: str = field(repr=False)
    place: str
    outside: bool


@dataclass(frozen=True, kw_only=True)
class SavedSetup:
    """
    What ``save_setup`` left: the settings that count now, and in words where each secret is.

    *overruled* are keys that were written and do not count, since the environment sets them otherwise.
    *outranks_key* is what wins over a key that was stored.
    """

    settings: Settings
    token: HookToken
    key_place: str
    token_place: str
    overruled: tuple[str, ...]
    outranks_key: str | None


async def known_api_key(installation: Installation, *, use_file: bool) -> KnownKey | None:
    """
    The API key, where there is one. Raises SecretFault, also where no place could keep a secret.

    *use_file*, here and below, is a person's wish to keep secrets in the file from now on.
    """
    secrets = installation.secrets
    found = await find_despite_keyring(secrets, SecretName.API_KEY, use_file=use_file)
    if not use_file:
        await _require_place(secrets)
    if found is None:
        return None
    outside = secrets.shadowed_by(SecretName.API_KEY) is not None
    return KnownKey(value=found.secret.reveal(), place=found.rung, outside=outside)


async def _require_place(secrets: Secrets) -> None:
    """
    Raises SecretFault where a secret has to be kept, and nothing can keep it.
    """
    names = (SecretName.API_KEY, SecretName.HOOK_TOKEN)
    if secrets.file_in_use or all(secrets.shadowed_by(name) for name in names):
        return
    if await OsKeyring(timeout=3.0).words() is None:
        raise SecretFault(
            "There is no OS keyring here to keep the secrets in; nothing was written. Keep them in a file "
            "with `callrail-relay configure --secrets-file`, or give them by the environment variables "
            f"{' and '.join(name.variable or '' for name in names)}."
        )


async def save_setup(
    installation: Installation, changes: Changes, *, new_key: str | None, use_file: bool
) -> SavedSetup:
    """
    Write *changes* to the settings and store the secrets; a failure leaves what was there before.

    Without a *new_key* the known one stays. A webhook secret is made where there is none. *use_file* moves
    both to the file. Raises SettingsFault, SecretFault.
    """
    path, secrets = installation.config_path, installation.secrets
    key = None if new_key is not None else await secrets.require(SecretName.API_KEY)
    token = await find_despite_keyring(secrets, SecretName.HOOK_TOKEN, use_file=use_file)
    token_value = new_token() if token is None else token.secret.reveal()
    kept: dict[SecretName, str] = {}
    if token is None or (use_file and not secrets.shadowed_by(SecretName.HOOK_TOKEN)):
        kept[SecretName.HOOK_TOKEN] = token_value
    if new_key is not None:
        kept[SecretName.API_KEY] = new_key
    elif key is not None and use_file and not secrets.shadowed_by(SecretName.API_KEY):
        kept[SecretName.API_KEY] = key.secret.reveal()
    places = {
        **({} if key is None else {SecretName.API_KEY: key.rung}),
        **({} if token is None else {SecretName.HOOK_TOKEN: token.rung}),
        **await save(path, secrets, changes, kept, use_file=use_file or secrets.file_in_use),
    }
    return SavedSetup(
        settings=load(path),
        token=HookToken(value=token_value),
        key_place=places[SecretName.API_KEY],
        token_place=places[SecretName.HOOK_TOKEN],
        overruled=tuple(overruled(path, changes)),
        outranks_key=secrets.shadowed_by(SecretName.API_KEY) if SecretName.API_KEY in kept else None,
    )
