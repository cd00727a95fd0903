"""The tunnel in the settings: kept up by ``serve``; set up, checked and removed by ``expose``."""

import json
import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from ipaddress import ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

from callrail_relay.bootstrap import editing, service_setup
from callrail_relay.bootstrap.context import AppContext, listener_url, sentence
from callrail_relay.bootstrap.listeners import Listening
from callrail_relay.bootstrap.wiring import UNUSED, Relay, open_relay
from callrail_relay.config.loading import load, read_text
from callrail_relay.config.places import file_stamp, private_directory
from callrail_relay.config.saving import overruled, put_back, update
from callrail_relay.config.secrets import SecretName
from callrail_relay.config.settings import Settings
from callrail_relay.domain.tunnels import WAYS, Kind, Tunnel, explain
from callrail_relay.errors import NotFound, RelayError, SettingsError, Unavailable
from callrail_relay.machine import tunnels
from callrail_relay.machine.notes import write_note
from callrail_relay.service.public_address import FromInside, TunnelKeeper

# Seconds for a running relay to see the settings, and for an address to lead to it: DNS may take a while.
TAKEN_UP_WITHIN, REACHED_WITHIN, TAILSCALE_WITHIN = 10.0, 30.0, 240.0
# Seconds before the relay asks through a tunnel that starts: else each start would send an alert.
SETTLES_WITHIN = 15.0
FAILURES = 10  # times in a row that the program was found failing: it may just be restarting
_IS_DONE = ("already exists", "already configured to route to your tunnel")

find_program = tunnels.find_program


def keep_tunnel(relay: Relay, listening: Listening, wake: Callable[[], None]) -> TunnelKeeper:
    """Return the task that keeps the tunnel up and follows the public URL's settings, then calls *wake*."""
    context, address = relay.context, relay.public_address
    path, settings, stamp = context.config_path, context.settings, context.stamp
    waiting: tuple[str, ...] | None = None

    def settle() -> None:
        if settings.tunnel.tunnel() is not None:
            address.not_before = context.clock.monotonic() + SETTLES_WITHIN

    def wanted() -> Tunnel | None:
        nonlocal settings, stamp, waiting
        if (newest := file_stamp(path)) != stamp:
            stamp, former = newest, settings.tunnel
            try:
                settings = load(path, overrides=context.overrides, must_exist=False)
            except SettingsError as error:
                logging.getLogger("callrail_relay").warning("The former settings stay in use: %s", error)
            address.move(settings.server.public_url)
            address.for_now = settings.tunnel.for_now
            listening.trust([str(one) for one in settings.server.trusted_proxies])
            keeper.try_again()
            if settings.tunnel != former:
                settle()
            wake()
        # The dashboard may have had the relay use some of them meanwhile.
        if (unused := editing.unused(relay.context.settings, settings)) != waiting:
            waiting = unused
            write_note(context.data / UNUSED, list(unused) or None)
        return settings.tunnel.tunnel()

    async def start(tunnel: Tunnel) -> tunnels.Program:
        way, token = WAYS[tunnel.kind], await _find_token(context, tunnel)
        arguments = way.arguments(tunnel, listening.public_url, has_token=bool(token))
        return await tunnels.Program.start([tunnel.program, *arguments], {way.token: token} if token else {})

    def forget_url() -> None:
        nonlocal stamp
        with suppress(SettingsError):  # this process forgets it all the same
            update(path, {"server": {"public_url": None}})
        stamp = file_stamp(path)  # not news to this process

    settle()
    note = partial(tunnels.note_state, private_directory(context.data))
    keeper = TunnelKeeper(relay.store, relay.hook, wanted, start, note, forget_url, address)
    return keeper


async def _find_token(context: AppContext, tunnel: Tunnel) -> str:
    found = await context.secrets.find(SecretName.TUNNEL_TOKEN) if WAYS[tunnel.kind].token else None
    return found.reveal() if found else ""


# `expose`


async def check(context: AppContext) -> dict[str, Any]:
    """Return whether this relay answers through its public URL now, and whether the tunnel runs."""
    tunnel = context.settings.tunnel.tunnel()
    async with open_relay(context) as relay:
        result = await relay.public_address.check()
        state = tunnels.read_state(context.data) if await relay.store.running() else None
    running = state is not None and state.running
    if tunnel is not None and tunnel.kind is Kind.TAILSCALE:
        running = await _funnel_target(tunnel) == tunnel.target
    reached = isinstance(result, str | FromInside)
    document = {"public_url": context.settings.server.public_url, "reached": reached}
    return document | {"kind": context.settings.tunnel.kind, "running": running, "detail": str(result)}


async def expose(
    context: AppContext, tunnel: Tunnel, *, for_now: bool, say: Callable[[str], None]
) -> dict[str, Any]:
    """
    Have the running relay bring the tunnel up, and save its address once this relay answered through it.

    If it doesn't, the settings stay what they were. Raises RelayError.
    """
    path, settings = context.config_path, context.settings
    former, added = settings.tunnel.tunnel(), _host_to_trust(settings)
    async with open_relay(context) as relay:
        if not await relay.store.running():
            raise Unavailable(sentence("nothing_answers"))
        tunnel = await _prepare(context, tunnel)
        written = text = read_text(path)
        options = {name: getattr(tunnel, name) or None for name in Tunnel.__slots__}
        options |= {"for_now": for_now or None, "trusted": added or settings.tunnel.trusted}
        try:
            update(path, {"tunnel": options})
            written = read_text(path)
            await _restart_system_service(context)
            say(sentence("brings_up"))
            address, detail = await _reach(context, relay, tunnel, for_now=for_now)
            trusted = [*map(str, settings.server.trusted_proxies), *([added] if added else [])]
            changes = {"server": {"public_url": address, "trusted_proxies": trusted}}
            update(path, changes)
        except BaseException:
            with suppress(OSError, SettingsError):
                if read_text(path) == written:
                    put_back(path, text)
                else:  # another program changed the file meanwhile
                    update(path, {"tunnel": settings.tunnel.model_dump(exclude_defaults=True) or None})
            await _end_funnel(tunnel, kept=former)
            await _restart_system_service(context)
            raise
        await _restart_system_service(context)
        await _end_funnel(former, kept=tunnel)
    for name in overruled(path, changes):
        say(sentence("overruled", name=name))
    document = {"public_url": address, "reached": True}
    return document | {"kind": tunnel.kind, "running": True, "detail": detail}


def save_public_url(context: AppContext, url: str) -> None:
    """Save the public URL that a person has without a tunnel of ours; a running relay uses it."""
    update(context.config_path, {"server": {"public_url": url}})


async def turn_off(context: AppContext) -> str:
    """Remove the tunnel from the settings, with its address and its place among the trusted proxies."""
    settings, tunnel = context.settings, context.settings.tunnel.tunnel()
    if tunnel is None:
        raise NotFound(sentence("no_tunnel"))
    ours = [ip_network(settings.tunnel.trusted)] if settings.tunnel.trusted else []
    kept = [str(one) for one in settings.server.trusted_proxies if one not in ours]
    update(
        context.config_path, {"tunnel": None, "server": {"public_url": None, "trusted_proxies": kept or None}}
    )
    await _restart_system_service(context)
    if why := await _end_funnel(tunnel):
        raise Unavailable(sentence("tunnel_stays", why=why))
    return tunnel.kind


def _host_to_trust(settings: Settings) -> str | None:
    """Return the address from which a tunnel reaches the listener, unless it's trusted already."""
    name = urlsplit(listener_url(settings.server)).hostname or ""
    with suppress(ValueError):  # the address of another name isn't known
        host = ip_address("127.0.0.1" if name == "localhost" else name)
        return None if any(host in network for network in settings.server.trusted_proxies) else str(host)
    return None


async def _restart_system_service(context: AppContext) -> None:
    """Restart the system service: it has a copy of the settings, which systemd makes when it starts."""
    kind = service_setup.Kind.SYSTEMD_SYSTEM
    is_its_own = sys.platform == "linux" and context.config_path == service_setup.SYSTEM_CONFIG
    if is_its_own and service_setup.find_manager(kind).state().installed:
        await service_setup.restart(kind, context.config_path)


async def _prepare(context: AppContext, tunnel: Tunnel) -> Tunnel:
    """Run what has to be run once; return the tunnel with the address it will have. Raises Unavailable."""
    if tunnel.kind is Kind.TAILSCALE:
        tunnel = await _find_node(replace(tunnel, target=listener_url(context.settings.server)))
    if tunnel.address is None or await _find_token(context, tunnel):
        return tunnel
    for words in WAYS[tunnel.kind].commands_before(tunnel):
        code, lines = await tunnels.output([tunnel.program, *words])
        if code != 0 and not any(done in line for line in lines for done in _IS_DONE):
            raise Unavailable(explain(tunnel, lines))
    return tunnel


async def _find_node(tunnel: Tunnel) -> Tunnel:
    """Return Tailscale's tunnel with this computer's address. Raises Unavailable if its port is taken."""
    _, lines = await tunnels.output([tunnel.program, "status", "--json", "--peers=false"])
    status = _read_json(lines)
    name = str((status.get("Self") or {}).get("DNSName", "")).rstrip(".")
    if status.get("BackendState") != "Running" or not name:
        raise Unavailable(explain(tunnel, [line for line in lines if "BackendState" in line] or lines))
    if (taken := await _funnel_target(tunnel)) not in (None, tunnel.target):
        raise Unavailable(sentence("port_taken", port=tunnel.remote_port, taken=taken))
    port = "" if tunnel.remote_port == 443 else f":{tunnel.remote_port}"
    return replace(tunnel, address=f"https://{name}{port}")


async def _funnel_target(tunnel: Tunnel) -> str | None:
    """Return where Tailscale's port leads, None if nowhere."""
    _, lines = await tunnels.output([tunnel.program, "funnel", "status", "--json"])
    for place, web in (_read_json(lines).get("Web") or {}).items():
        if place.endswith(f":{tunnel.remote_port}"):
            return str(web.get("Handlers", {}).get("/", {}).get("Proxy") or "another program")
    return None


async def _end_funnel(tunnel: Tunnel | None, *, kept: Tunnel | None = None) -> str | None:
    """End only *tunnel*'s port of Tailscale, unless *kept* has it; return why that failed."""
    if tunnel is None or tunnel.kind is not Kind.TAILSCALE:
        return None
    if kept is not None and (kept.kind, kept.remote_port) == (tunnel.kind, tunnel.remote_port):
        return None
    code, lines = await tunnels.output([tunnel.program, "funnel", f"--https={tunnel.remote_port}", "off"])
    return None if code == 0 else explain(tunnel, lines)


def _read_json(lines: list[str]) -> dict[str, Any]:
    words = "\n".join(lines)
    try:
        return dict(json.loads(words[words.index("{") :]))
    except ValueError:
        return {}


async def _reach(context: AppContext, relay: Relay, tunnel: Tunnel, *, for_now: bool) -> tuple[str, str]:
    """Wait until this relay answers through the tunnel; return its address, and how it answered."""
    clock, written = context.clock, context.config_path.stat().st_mtime_ns
    began, within = clock.monotonic(), TAILSCALE_WITHIN if tunnel.kind is Kind.TAILSCALE else REACHED_WITHIN
    fault: RelayError = Unavailable(sentence("not_taken_up"))
    failures = 0
    while (passed := clock.monotonic() - began) < within:
        state = tunnels.read_state(context.data, since=written)
        if state is None or state.tunnel != tunnel:
            if passed > TAKEN_UP_WITHIN:
                break
        elif state.detail:
            fault, failures = Unavailable(state.detail), failures + 1
            if failures > FAILURES:
                break
        elif not state.running or state.address is None:
            kind = tunnel.kind
            why = sentence("no_address", kind=kind) if state.running else sentence("not_connected", kind=kind)
            fault = Unavailable(why)
        else:
            address = replace(relay.public_address, url=state.address, for_now=for_now, last=None)
            result = await address.check()
            if isinstance(result, str | FromInside):
                return state.address, str(result)
            fault = result
        await clock.sleep(0.3)
    raise Unavailable(str(fault)) from fault
