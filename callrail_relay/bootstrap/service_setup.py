"""Installing ``serve`` as a service: what it lacks, where that goes, and whether it answers."""

import getpass
import os
import shutil
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import callrail_relay
from callrail_relay.bootstrap.context import AppContext, listener_url, load_context
from callrail_relay.clock import SystemClock
from callrail_relay.config.loading import environment_changes, read_text
from callrail_relay.config.places import (
    CONFIG_VARIABLE,
    DATA_VARIABLE,
    config_file,
    data_directory,
    log_file,
    override_path,
    private_directory,
    write_privately,
)
from callrail_relay.config.saving import save, update
from callrail_relay.config.secrets import OsKeyring, Secret, SecretName, Secrets
from callrail_relay.errors import AlreadyRunning, NotAllowed, RelayError, SecretError, Unavailable, UsageError
from callrail_relay.machine.service_managers import Launchd, Manager, Systemd, TaskScheduler
from callrail_relay.machine.service_managers import ServiceState as ServiceState  # noqa: PLC0414 - for the commands, too
from callrail_relay.machine.service_units import Kind as Kind  # noqa: PLC0414 - as above
from callrail_relay.machine.service_units import ServicePlan, render
from callrail_relay.outbox.engine import store_file
from callrail_relay.outbox.presence import StoreLock, has_workers, names_of_store

ROOT = Path("/")
"""Where the files of a system service are; tests have their own."""

ANSWERS_WITHIN, MUST_RUN_WITHIN = 30.0, 6.0
"""Seconds for a new service to answer, and to be running at all."""

_KINDS = {
    "linux": (Kind.SYSTEMD, Kind.SYSTEMD_SYSTEM),
    "darwin": (Kind.LAUNCHD,),
    "win32": (Kind.WINDOWS,),
}
_CREDENTIALS = "CREDENTIALS_DIRECTORY"
_CONNECTION = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")
_HIDDEN_PLACES = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108 - not written to


def system_config() -> Path:
    return ROOT / "etc/callrail-relay/config.toml"


def system_data() -> Path:
    return ROOT / "var/lib/callrail-relay"


def system_variables() -> dict[str, str]:
    """What every other command needs to work on the system service."""
    return {
        CONFIG_VARIABLE: str(system_config()),
        DATA_VARIABLE: str(system_data()),
        _CREDENTIALS: str(system_config().parent),
    }


# Which service


def find_kind(*, system: bool | None, name: str | None = None) -> Kind:
    """The kind that *name* names, or that of this computer; *system* None takes the one that is installed."""
    if name is not None:
        if name not in list(Kind):
            raise UsageError(f"--kind takes {', '.join(Kind)}.")
        return Kind.SYSTEMD_SYSTEM if system and name == Kind.SYSTEMD else Kind(name)
    if sys.platform == "linux":
        if system is None and not Systemd(Kind.SYSTEMD).state().installed:
            system = find_manager(Kind.SYSTEMD_SYSTEM).state().installed
        return Kind.SYSTEMD_SYSTEM if system else Kind.SYSTEMD
    if system:
        raise UsageError("--system is for Linux only; leave it out.")
    if sys.platform in _KINDS:
        return _KINDS[sys.platform][0]
    raise Unavailable(
        "This computer has no systemd, launchd or Task Scheduler. Have it run `callrail-relay serve` in its "
        "own way."
    )


def find_manager(kind: Kind) -> Manager:
    if kind is Kind.LAUNCHD:
        return Launchd(log_file())
    if kind is Kind.WINDOWS:
        return TaskScheduler(log_file())
    return Systemd(kind, root=ROOT)


def make_plan(kind: Kind, config: Path | None, *, credentials: tuple[str, ...] | None = None) -> ServicePlan:
    """The plan of a service that runs this very program, with these settings and this data."""
    system = kind is Kind.SYSTEMD_SYSTEM
    here = Path(sys.executable)
    script = here.with_name(f"callrail-relay{'.exe' if os.name == 'nt' else ''}")
    windowless = here.with_name("pythonw.exe")
    takes_windowless = kind is Kind.WINDOWS and (os.name != "nt" or windowless.exists())
    is_ours = kind in _KINDS.get(sys.platform, ())
    domain = os.environ.get("USERDOMAIN")
    return ServicePlan(
        program=(str(script),) if script.exists() else (str(here), "-P", "-m", "callrail_relay"),
        python=str(windowless if takes_windowless else here),
        config=str(system_config() if system else config_file(config)),
        data=str(system_data() if system else data_directory()),
        log="" if system else str(log_file()),
        user=f"{domain}\\{getpass.getuser()}" if domain else getpass.getuser(),
        at_start=starts_without_login(kind),
        credentials=_credentials() if credentials is None else credentials,
        environment={name: value for name, value in _connection() if is_ours and "@" not in value},
    )


def printed(kind: Kind, config: Path | None) -> str:
    """What ``install`` would write."""
    return render(kind, make_plan(kind, config))


def starts_without_login(kind: Kind) -> bool:
    """Whether the service runs when no one is signed in; on Windows an administrator has to allow that."""
    if kind is Kind.WINDOWS and sys.platform == "win32":
        import ctypes  # noqa: PLC0415 - its windll is on Windows alone

        return bool(ctypes.windll.shell32.IsUserAnAdmin())
    return kind is not Kind.LAUNCHD


def _connection() -> Iterator[tuple[str, str]]:
    """The variables for the way to CallRail."""
    for name in _CONNECTION:
        for spelled in (name, name.lower()):
            if value := os.environ.get(spelled):
                yield spelled, value
                break


def _credentials() -> tuple[str, ...]:
    """The credentials that are stored, or those that there will be."""
    names = [name.credential for name in SecretName if name.credential]
    with suppress(OSError):
        if there := [name for name in names if (system_config().parent / name).exists()]:
            return tuple(there)
    return tuple(names[:2])


# What it lacks


@dataclass(frozen=True, kw_only=True)
class Needs:
    """
    What the service would not find by itself, and has to be stored for it.

    *outside* names variables and credentials, *locked* the secrets in a keyring that is closed until someone
    signs in, *lost* in sentences what can't be stored.
    """

    outside: tuple[str, ...]
    locked: tuple[str, ...]
    lost: tuple[str, ...]
    secrets: Mapping[SecretName, str] = field(repr=False)
    settings: Mapping[str, Any]


def load_for(kind: Kind, config: Path | None) -> AppContext:
    """The settings, secrets and data that the service takes over. Raises SettingsError."""
    if kind is Kind.SYSTEMD_SYSTEM and override_path(config) is None:
        if system_config().exists():  # installed before: they are what counts
            os.environ.update(system_variables())
        elif (home := _home_of_sudo()) and not config_file().exists():
            os.environ[CONFIG_VARIABLE] = str(home / ".config/callrail-relay/config.toml")
            os.environ.setdefault(DATA_VARIABLE, str(home / ".local/share/callrail-relay"))
    return load_context(config)


def _home_of_sudo() -> Path | None:
    """The home of the person who ran sudo."""
    import pwd  # noqa: PLC0415 - not on Windows

    with suppress(KeyError):
        home = Path(pwd.getpwnam(os.environ["SUDO_USER"]).pw_dir)
        if (home / ".config/callrail-relay/config.toml").exists():
            return home
    return None


async def find_needs(context: AppContext, kind: Kind) -> Needs:
    """Raises SettingsError or SecretError if the service could not send."""
    context.require_route()
    context.require_terms()
    for name in (SecretName.API_KEY, SecretName.HOOK_TOKEN):
        await context.secrets.require(name)
    system = kind is Kind.SYSTEMD_SYSTEM
    keyring = await OsKeyring(timeout=3.0).words() if starts_without_login(kind) else None
    outside, locked, lost, secrets = [], [], [], {}
    for name in SecretName:
        found = await context.secrets.find(name)
        if found is None:
            continue
        if system and name.credential is None:
            lost.append("The URL before the last `hook-url --rotate` stops working.")
            continue
        if found.secret == await _found_by_service(context, name, keyring, system=system):
            continue
        secrets[name] = found.secret.reveal()
        if place := context.secrets.shadowed_by(name):
            outside.append(f"{name.words} ({place})")
        elif found.source == keyring:
            locked.append(name.words)
    settings, variables = environment_changes(context.config_path, context.settings)
    lost += [
        f"The service does not get {name}, because that holds a password; write it into the service by hand."
        for name, value in _connection()
        if "@" in value
    ]
    if os.environ.get("PGPASSWORD") and store_file(context.settings.database.url) is None:
        lost.append("The service does not get PGPASSWORD; put the password into ~/.pgpass.")
    return Needs(
        outside=(*outside, *variables),
        locked=tuple(locked),
        lost=tuple(lost),
        secrets=secrets,
        settings=settings,
    )


async def _found_by_service(
    context: AppContext, name: SecretName, keyring: str | None, *, system: bool
) -> Secret | None:
    """The secret as the service would find it: without this environment, and without a closed *keyring*."""
    folder = system_config().parent
    if system and not (folder / str(name.credential)).exists():
        return None
    try:
        found = await Secrets(context.config_path, {_CREDENTIALS: str(folder)} if system else {}).find(name)
    except SecretError:
        return None
    return None if found is None or found.source == keyring else found.secret


# Installing


@dataclass(frozen=True, kw_only=True)
class Installed:
    """What was done, in lines for a person; *fault* says why the service does not answer, None if it does."""

    state: ServiceState
    wrote: tuple[str, ...]
    warning: str | None
    fault: str | None


async def install(context: AppContext, kind: Kind, needs: Needs) -> Installed:
    """Store what is needed, install the service, and wait until it answers. Raises RelayError."""
    manager = find_manager(kind)
    other = {Kind.SYSTEMD: Kind.SYSTEMD_SYSTEM, Kind.SYSTEMD_SYSTEM: Kind.SYSTEMD}.get(kind)
    if other and find_manager(other).state().installed:
        system = " --system" if other is Kind.SYSTEMD_SYSTEM else ""
        raise NotAllowed(
            f"There is a service already: {find_manager(other).state().path}. Remove it first with "
            f"`callrail-relay service uninstall{system}`."
        )
    if not manager.state().running:
        await _require_free(context)
    if kind is Kind.SYSTEMD_SYSTEM:
        context, wrote = _move_to_system(context, needs)
    else:
        places = (
            await save(
                context.config_path,
                context.secrets,
                needs.settings,
                needs.secrets,
                use_file=starts_without_login(kind)
                or context.secrets.file_in_use
                or not await OsKeyring(3.0).words(),
            )
            if needs.secrets or needs.settings
            else {}
        )
        wrote = [f"The {name.words} is in the {place}." for name, place in places.items()]
        if needs.settings:
            wrote.append(f"The settings are in {context.config_path}.")
    warning = manager.install(render(kind, make_plan(kind, context.config_path)))
    fault = await _why_silent(context, manager)
    state = read_state(kind, context)
    return Installed(
        state=state, wrote=(f"The service is {state.path}.", *wrote), warning=warning, fault=fault
    )


async def _require_free(context: AppContext) -> None:
    """Raises Unavailable if another `serve`, or any other program, is where the service would be."""
    server = _server(context)
    if server is not None:
        process = "" if server.pid is None else f" (process {server.pid})"
        raise Unavailable(
            f"The relay is already running{process}, and not as a service. Stop it, then run this again."
        )
    if context.settings.server.port and await _health(context) is not None:
        raise Unavailable(
            f"Port {context.settings.server.port} is in use. Stop that program, or change server.port."
        )


def _server(context: AppContext) -> Any:  # noqa: ANN401 - a Node
    file = store_file(context.settings.database.url)
    return None if file is None else StoreLock(file).server()


async def _health(context: AppContext) -> int | None:
    """The status of `/healthz`: 0 if something listens that does not answer, None if nothing listens."""
    import httpx  # noqa: PLC0415 - heavy

    try:
        async with httpx.AsyncClient(trust_env=False, timeout=5.0) as client:
            return (await client.get(f"{listener_url(context.settings.server)}/healthz")).status_code
    except httpx.ConnectError:
        return None
    except httpx.RequestError:
        return 0


async def _why_silent(context: AppContext, manager: Manager) -> str | None:
    """Wait until the service runs and answers; else why not."""
    port, clock = context.settings.server.port, context.clock
    began = clock.monotonic()
    while (passed := clock.monotonic() - began) < ANSWERS_WITHIN:
        if (not port or await _health(context) in (200, 503)) and manager.state().running:
            return None
        if passed > MUST_RUN_WITHIN and not manager.state().running:
            return "It was started and has ended."
        await clock.sleep(0.3)
    return f"It does not answer at {listener_url(context.settings.server)}."


def read_state(kind: Kind, context: AppContext | None) -> ServiceState:
    """The state; since when it runs the relay itself says, if the system does not."""
    state = find_manager(kind).state()
    if state.running and state.since is None and context is not None:
        with suppress(RelayError):
            server = _server(context)
            return replace(state, since=None if server is None else server.since)
    return state


async def restart(kind: Kind, config: Path | None) -> tuple[ServiceState, str | None]:
    """Start it again, unless the settings are wrong; says why it does not answer. Raises RelayError."""
    manager = find_manager(kind)
    manager.require()
    context = load_for(kind, config)
    manager.restart()
    fault = await _why_silent(context, manager)
    return read_state(kind, context), fault


def uninstall(kind: Kind) -> tuple[str, ...]:
    """Stop the service and remove what ``install`` wrote; returns what it removed."""
    manager = find_manager(kind)
    path = manager.state().path
    manager.uninstall()
    if kind is not Kind.SYSTEMD_SYSTEM:
        return (path,)
    removed = [path]
    for name in ("config.toml", *(name.credential for name in SecretName if name.credential)):
        file = system_config().with_name(name)
        if file.exists():
            file.unlink()
            removed.append(str(file))
    with suppress(OSError):
        system_config().parent.rmdir()  # only if it is empty
    return tuple(removed)


# A system service


def require_program_for_all() -> None:
    """Raises Unavailable if the unit's own user could not run this program."""
    hidden = [*map(Path, _HIDDEN_PLACES), Path.home()]
    program = Path(make_plan(Kind.SYSTEMD_SYSTEM, None).program[0])
    package = Path(callrail_relay.__file__).parent
    for path in (program, program.resolve(), Path(sys.prefix), Path(sys.base_prefix), package):
        inside = any(path.is_relative_to(place) for place in hidden if place != Path("/"))
        if inside or not all(_open_to_all(one) for one in (path, *path.parents)):
            raise Unavailable(
                f"The system service has a user of its own, which can't use {path}. Install the program "
                "where every user can run it, such as in /opt/callrail-relay, and use that one."
            )


def _open_to_all(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return bool(mode & stat.S_IXOTH) if path.is_dir() else bool(mode & stat.S_IROTH)


def _move_to_system(context: AppContext, needs: Needs) -> tuple[AppContext, list[str]]:
    """Copy settings and secrets, and move the stopped store. Raises NotAllowed while it is used."""
    target, wrote = system_config(), []
    file = store_file(context.settings.database.url)
    settings = dict(needs.settings)
    if file is not None and "url" in context.settings.database.model_fields_set:
        # It comes to the data directory, which is the default.
        settings["database"] = {**settings.get("database", {}), "url": None}
    store, moved = (None, None) if file is None else (file.resolve(), (system_data() / "relay.db").resolve())
    if store == moved or not (store and store.exists()):
        store = None
    elif moved and moved.exists():
        raise NotAllowed(f"There is a store in {store}, and one in {moved} already. Remove one of them.")
    with _stopped(store):
        private_directory(target.parent)
        if context.config_path != target:
            write_privately(target, read_text(context.config_path) or "")
            wrote.append(f"The settings are in {target}.")
        if settings:
            update(target, settings)
        for name, value in needs.secrets.items():
            write_privately(target.parent / str(name.credential), value)
            wrote.append(f"The {name.words} is in {target.parent / str(name.credential)}.")
        if store:
            _move_store(store, system_data())
            wrote.append(f"The data is in {system_data()}.")
    os.environ.update(system_variables())
    return load_context(target), wrote


@contextmanager
def _stopped(store: Path | None) -> Iterator[None]:
    """Keep every relay from a store. Raises NotAllowed if one works on it."""
    if store is None:
        yield
        return
    lock = StoreLock(store)
    try:
        lock.take("service install", SystemClock().now())
    except AlreadyRunning as error:
        raise NotAllowed(f"{error} Only a stopped store can be moved.") from error
    try:
        if has_workers(names_of_store(store)):
            raise NotAllowed("A `send` or `replay` is under way. Run this again when it has ended.")
        yield
    finally:
        lock.release()


def _move_store(store: Path, target: Path) -> None:
    """Move a store's files; whatever happens, the new one is whole before the old one goes."""
    folder, moved = store.parent, target / "relay.db"
    private_directory(target)
    for old in target.glob("relay.db-*"):
        old.unlink()
    beside = [path for end in ("-wal", "-journal") if (path := Path(f"{store}{end}")).exists()]
    beside += [*folder.glob("node-*.id"), *folder.glob("dashboard.key")]
    for path in beside:
        shutil.copy2(path, target / path.name.replace(store.name, moved.name, 1))
    whole = target / "relay.db.new"
    shutil.copy2(store, whole)
    with whole.open("rb+") as file:
        os.fsync(file.fileno())
    whole.rename(moved)
    for path in (store, *beside, Path(f"{store}-shm")):
        path.unlink(missing_ok=True)
