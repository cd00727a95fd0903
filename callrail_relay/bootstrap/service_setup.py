"""Installs ``serve`` as a service of a user or a whole Linux: what it lacks, and whether it answers."""

import getpass
import os
import socket
import stat
import sys
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import callrail_relay
from callrail_relay.bootstrap.backups import move_store
from callrail_relay.bootstrap.context import AppContext, listener_url, load_context, sentence
from callrail_relay.bootstrap.wiring import channels, open_relay
from callrail_relay.config import places
from callrail_relay.config.loading import PREFIX, environment_changes, read_text
from callrail_relay.config.saving import changed, put_back, save
from callrail_relay.config.secrets import OsKeyring, SecretName, Secrets
from callrail_relay.domain.health import Node
from callrail_relay.domain.public_url import Answer, NoAnswer, is_proven
from callrail_relay.errors import NotAllowed, RelayError, SecretError, Unavailable, UsageError
from callrail_relay.machine import service_managers
from callrail_relay.machine.addresses import fetch
from callrail_relay.machine.service_managers import Launchd, Manager, Systemd, TaskScheduler
from callrail_relay.machine.service_managers import ServiceState as ServiceState  # noqa: PLC0414 - for the commands, too
from callrail_relay.machine.service_units import Kind as Kind  # noqa: PLC0414 - as above
from callrail_relay.machine.service_units import ServicePlan, render
from callrail_relay.outbox import relay_secrets
from callrail_relay.outbox.presence import StoreLock
from callrail_relay.service.tokens import new_token

ANSWERS_WITHIN, MUST_RUN_WITHIN = 30.0, 6.0  # seconds for a new service to answer, and to be running at all

_KINDS = {"linux": Kind.SYSTEMD, "darwin": Kind.LAUNCHD, "win32": Kind.WINDOWS}
_OTHER = {Kind.SYSTEMD: Kind.SYSTEMD_SYSTEM, Kind.SYSTEMD_SYSTEM: Kind.SYSTEMD}
_CONNECTION = {"HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"}


def find_kind(*, system: bool | None) -> Kind:
    """Return this computer's kind; *system* None takes the installed one."""
    if sys.platform != "linux" and system:
        raise UsageError(sentence("linux_only"))
    if sys.platform not in _KINDS:
        raise Unavailable(sentence("no_manager"))
    kind = _KINDS[sys.platform]
    if system is None and kind in _OTHER and not find_manager(kind).state().installed:
        system = find_manager(_OTHER[kind]).state().installed
    return _OTHER[kind] if system else kind


def find_installed(*, system: bool = False) -> ServiceState | None:
    """Return the state of the service that is installed here, if any. Raises Unavailable if none can be."""
    state = find_manager(find_kind(system=system or None)).state()
    return state if state.installed else None


def find_manager(kind: Kind) -> Manager:
    if kind in _OTHER:
        return Systemd(kind)
    return Launchd(places.log_file()) if kind is Kind.LAUNCHD else TaskScheduler(places.log_file())


def printed(kind: Kind, config: Path | None) -> str:
    """Return what ``install`` writes: a service that runs this program, with these settings and data."""
    system = kind is Kind.SYSTEMD_SYSTEM
    here = Path(sys.executable)
    script = here.with_name(f"callrail-relay{'.exe' if os.name == 'nt' else ''}")
    windowless = here.with_name("pythonw.exe")
    takes_windowless = kind is Kind.WINDOWS and (os.name != "nt" or windowless.exists())
    is_ours = _KINDS.get(sys.platform) in (kind, _OTHER.get(kind))
    domain = os.environ.get("USERDOMAIN")
    names = [*CREDENTIALS.values()]
    stored = [name for name in names if SYSTEM_CONFIG.with_name(name).exists()]
    plan = ServicePlan(
        program=(str(script),) if script.exists() else (str(here), "-P", "-m", "callrail_relay"),
        python=str(windowless if takes_windowless else here),
        config=str(SYSTEM_CONFIG if system else places.config_file(config)),
        data=str(SYSTEM_DATA if system else places.data_directory()),
        log="" if system else str(places.log_file()),
        user=(f"{domain}\\" if domain else "") + getpass.getuser() if kind is Kind.WINDOWS else "",
        at_start=starts_without_login(kind),
        credentials=tuple(stored or names[:2]),
        environment={name: value for name, value in _connection() if is_ours and "@" not in value},
    )
    return render(kind, plan)


def starts_without_login(kind: Kind) -> bool:
    """Whether the service runs when nobody is signed in; on Windows, an administrator has to allow that."""
    if kind is Kind.WINDOWS and sys.platform == "win32":
        import ctypes  # noqa: PLC0415 - its windll exists only on Windows

        return bool(ctypes.windll.shell32.IsUserAnAdmin())
    return kind is not Kind.LAUNCHD


def _connection() -> list[tuple[str, str]]:
    """Return the variables for the way to CallRail, in either spelling."""
    return sorted(one for one in os.environ.items() if one[0].upper() in _CONNECTION and one[1])


# What it lacks


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What the service wouldn't find by itself; *lost* says in sentences what can't be stored."""

    outside: list[str]  # variables and credentials
    locked: list[str]  # secrets in a keyring that is locked until someone signs in
    lost: list[str]
    secrets: Mapping[SecretName, str] = field(repr=False)
    settings: Mapping[str, Any] = field(repr=False)


def load_for(kind: Kind | None, config: Path | None, *, must_exist: bool = True) -> AppContext:
    """Return the settings, secrets and data that the service takes over. Raises SettingsError."""
    if kind is Kind.SYSTEMD_SYSTEM and places.override_path(config) is None:
        if SYSTEM_CONFIG.exists():  # installed before: they're what counts
            os.environ.update(system_variables())
        elif not places.config_file().exists() and (person := os.environ.get("SUDO_USER")):
            import pwd  # noqa: PLC0415 - not on Windows

            with suppress(KeyError):
                home = Path(pwd.getpwnam(person).pw_dir)
                if (theirs := home / ".config/callrail-relay/config.toml").exists():
                    os.environ[places.CONFIG_VARIABLE] = str(theirs)
                    os.environ.setdefault(places.DATA_VARIABLE, str(home / ".local/share/callrail-relay"))
    return load_context(config, must_exist=must_exist)


async def find_needs(context: AppContext, kind: Kind) -> Needs:
    """Return what the service lacks. Raises SettingsError or SecretError if it couldn't send."""
    context.require_route()
    context.require_terms()
    for name in (SecretName.API_KEY, SecretName.HOOK_TOKEN):
        await context.secrets.require(name)
    system = kind is Kind.SYSTEMD_SYSTEM
    # As the service would find them: without this environment, and without a keyring that may be locked.
    theirs = Secrets(context.config_path, system_variables() if system else {})
    keyring = await OsKeyring(timeout=3.0).words() if starts_without_login(kind) else None
    outside, locked, lost, secrets = [], [], [], {}
    for name in SecretName:
        if (found := await context.secrets.find(name)) is None:
            continue
        if system and name not in CREDENTIALS:
            lost.append(sentence("former_url_ends"))
            continue
        with suppress(SecretError):
            known = await theirs.find(name)
            is_same = known is not None and known.secret == found.secret and known.source != keyring
            if known and is_same and (known.outside or not system):
                continue
        secrets[name] = found.reveal()
        if found.outside:
            outside.append(f"{name.words} ({found.source})")
        elif found.source == keyring:
            locked.append(name.words)
    settings, variables = environment_changes(context.config_path, context.settings)
    lost += [sentence("variable_lost", name=name) for name, value in _connection() if "@" in value]
    if os.environ.get("PGPASSWORD") and context.store_file is None:
        lost.append(sentence("password_lost"))
    return Needs(outside=[*outside, *variables], locked=locked, lost=lost, secrets=secrets, settings=settings)


# Installing


async def install(context: AppContext, kind: Kind, needs: Needs) -> tuple[list[str], str | None, str | None]:
    """Install it; return what was done, a warning, and why it doesn't answer. Raises RelayError."""
    manager = find_manager(kind)
    if kind in _OTHER and (other := find_manager(_OTHER[kind]).state()).installed:
        system = " --system" if other.kind is Kind.SYSTEMD_SYSTEM else ""
        raise NotAllowed(sentence("service_exists", path=other.path, system=system))
    if not manager.state().running:
        _require_free(context)
    with ExitStack() as undo:
        if kind is Kind.SYSTEMD_SYSTEM:
            context, wrote = move_in(context, needs.settings, needs.secrets, undo)
        else:
            wrote = await _store(context, kind, needs)
        warning = service_managers.install(manager, printed(kind, context.config_path))
        undo.pop_all()
    fault = await _why_silent(context, manager)
    return [sentence("service_is", path=manager.path), *wrote], warning, fault


async def _store(context: AppContext, kind: Kind, needs: Needs) -> list[str]:
    if not (needs.secrets or needs.settings):
        return []
    use_file = starts_without_login(kind) or context.secrets.file_in_use or not await OsKeyring(3.0).words()
    saved = await save(context.config_path, context.secrets, needs.settings, needs.secrets, use_file=use_file)
    wrote = [sentence("secret_is", name=name.words, place=place) for name, place in saved.items()]
    return [*wrote, sentence("settings_are", path=context.config_path)] if needs.settings else wrote


def _require_free(context: AppContext) -> None:
    """Raise Unavailable if another `serve`, or any other program, is where the service would be."""
    if (server := find_server(context)) is not None:
        process = "" if server.pid is None else f" (process {server.pid})"
        raise Unavailable(sentence("running_already", process=process))
    addresses = {"server": urlsplit(listener_url(context.settings.server))}
    if (dashboard := context.settings.dashboard).enabled:
        addresses["dashboard"] = urlsplit(listener_url(dashboard))
    for key, address in addresses.items():
        with suppress(OSError), socket.create_connection((address.hostname, address.port), timeout=2.0):
            raise Unavailable(sentence("port_used", port=address.port, key=key))


def find_server(context: AppContext) -> Node | None:
    """Return the `serve` that holds this computer's store, if any."""
    return StoreLock(file).server() if (file := context.store_file) else None


async def _is_this_relay(context: AppContext, answer: Answer, nonce: str) -> bool:
    """Whether only the relay of this store could give the *answer*. It creates no file."""
    if (file := context.store_file) and not file.exists():
        return False
    with suppress(RelayError):
        async with open_relay(context) as relay:
            secret = await relay.store.read(relay_secrets.find_relay_secret)
            return secret is not None and is_proven(answer, secret, nonce)
    return False


async def _why_silent(context: AppContext, manager: Manager) -> str | None:
    """Wait until the service runs and proves to be the relay of this store; otherwise return why not."""
    server, clock, nonce = context.settings.server, context.clock, new_token()
    began, fault = clock.monotonic(), None
    while (passed := clock.monotonic() - began) < ANSWERS_WITHIN:
        try:
            answer = await fetch(f"{listener_url(server)}/healthz?probe={nonce}", directly=True)
        except NoAnswer:
            proven, fault = False, sentence("silent", url=listener_url(server))
        else:
            proven = await _is_this_relay(context, answer, nonce)
            fault = sentence("other_program", url=listener_url(server))
        running = manager.state().running
        if running and (proven or not server.port):
            return None
        if passed > MUST_RUN_WITHIN and not running:
            return sentence("ended")
        await clock.sleep(0.3)
    return fault


def read_state(kind: Kind, config: Path | None) -> ServiceState:
    """Return the state; since when it runs, the relay itself says if the system doesn't."""
    state = find_manager(kind).state()
    with suppress(RelayError):  # the service may still run with settings that it has read
        if state.running and state.since is None and (server := find_server(load_context(config))):
            return replace(state, since=server.since)
    return state


async def restart(kind: Kind, config: Path | None) -> tuple[ServiceState, str | None]:
    """Restart it, unless the settings are wrong; return why it doesn't answer. Raises RelayError."""
    manager = find_manager(kind)
    manager.require()
    context = load_for(kind, config)
    channels(context, "alerts.urls")
    manager.restart()
    fault = await _why_silent(context, manager)
    return read_state(kind, config), fault


def uninstall(kind: Kind) -> tuple[str, ...]:
    """Stop the service and remove what ``install`` wrote; return what was removed."""
    manager = find_manager(kind)
    manager.uninstall()
    names = ("config.toml", *CREDENTIALS.values()) if kind is Kind.SYSTEMD_SYSTEM else ()
    files = [file for name in names if (file := SYSTEM_CONFIG.with_name(name)).exists()]
    for file in files:
        file.unlink()
    if names:
        places.remove_if_empty(SYSTEM_CONFIG.parent)
    return (str(manager.path), *map(str, files))


SYSTEM_CONFIG, SYSTEM_DATA = Path("/etc/callrail-relay/config.toml"), Path("/var/lib/callrail-relay")

CREDENTIALS = {name: name.credential for name in SecretName if name.credential}
_HIDDEN_PLACES = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108 - not written to


def system_variables() -> dict[str, str]:
    """Return what every other command needs to work on the system service."""
    return {
        places.CONFIG_VARIABLE: str(SYSTEM_CONFIG),
        places.DATA_VARIABLE: str(SYSTEM_DATA),
        "CREDENTIALS_DIRECTORY": str(SYSTEM_CONFIG.parent),
    }


def require_program_for_all() -> None:
    """Raise Unavailable if the unit's own user couldn't run this program."""
    hidden = {*map(Path, _HIDDEN_PLACES), Path.home()} - {Path("/")}
    program, package = Path(sys.executable).with_name("callrail-relay"), Path(callrail_relay.__file__).parent
    for path in (program, program.resolve(), Path(sys.prefix), Path(sys.base_prefix), package):
        around = {path, *path.parents}
        if around & hidden or not all(map(_open_to_all, around)):
            raise Unavailable(sentence("home_program", path=path))


def _open_to_all(path: Path) -> bool:
    with suppress(OSError):
        return bool(path.stat().st_mode & (stat.S_IXOTH if path.is_dir() else stat.S_IROTH))
    return False


def move_in(
    context: AppContext, settings: Mapping[str, Any], secrets: Mapping[SecretName, str], undo: ExitStack
) -> tuple[AppContext, list[str]]:
    """
    Move the stopped store, and copy secrets and settings; *undo* takes all of it back.

    The settings come last: once they're there, they and the moved store are what counts.
    """
    target, wrote = SYSTEM_CONFIG, []
    file, moved = context.store_file, SYSTEM_DATA / "relay.db"
    settings = dict(settings)
    if file is not None and "url" in context.settings.database.model_fields_set:
        # It goes to the data directory, which is the default.
        settings["database"] = {**settings.get("database", {}), "url": None}
        os.environ.pop(f"{PREFIX}DATABASE__URL", None)
    if file is not None and file.exists() and file.resolve() != moved.resolve():
        move_store(file.resolve(), moved)
        undo.callback(move_store, moved, file.resolve())
        wrote.append(sentence("data_is", path=moved.parent))
    places.private_directory(target.parent)
    undo.callback(places.remove_if_empty, target.parent)
    for name, value in secrets.items():
        path = target.parent / CREDENTIALS[name]
        _put(path, value, undo)
        wrote.append(f"The {name.words} is in {path}.")
    if context.config_path != target or settings:
        _put(target, changed(target, read_text(context.config_path) or "", settings), undo)
        wrote.append(sentence("settings_are", path=target))
    os.environ.update(system_variables())
    return load_context(target), wrote


def _put(path: Path, text: str, undo: ExitStack) -> None:
    former = read_text(path)
    try:
        places.write_privately(path, text)
    except OSError as error:
        raise Unavailable(sentence("unit_unwritable", path=path, why=error.strerror)) from error
    undo.callback(put_back, path, former)
