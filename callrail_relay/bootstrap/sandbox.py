"""The simulator on loopback, and relays that talk to it."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

from callrail_relay.bootstrap.context import AppContext
from callrail_relay.callrail.simulator import Simulator, create_app, load_faults
from callrail_relay.clock import SystemClock
from callrail_relay.config.secrets import SecretName, Secrets
from callrail_relay.config.settings import Settings
from callrail_relay.config.types import default_database_url
from callrail_relay.service.tokens import new_token
from callrail_relay.web.server import Listener


@dataclass(frozen=True, kw_only=True)
class Sandbox:
    """A running simulator, and the settings with which a relay talks to it."""

    url: str
    simulator: Simulator

    @property
    def _route(self) -> dict[str, str]:
        names = ("account_id", "company_id", "tracking_number")
        return {name: getattr(self.simulator, name) for name in names}

    def document(self) -> dict[str, str]:
        return {"url": self.url, "api_key": self.simulator.api_key, **self._route}

    def overrides(self) -> dict[str, object]:
        return {
            "callrail": {"api_url": self.url, **self._route, "accepted_terms": True},
            # None of the person's own routes: the sandbox must not touch real accounts.
            "routes": (),
        }

    def environ(self, hook_token: str | None = None) -> dict[str, str]:
        """Return such a relay's secrets: the sandbox's key, and a webhook secret, by default a new one."""
        # Never the stored one: what IF3 really posts must not end up in a sandbox.
        token = hook_token or new_token()
        secrets = {SecretName.API_KEY: self.simulator.api_key, SecretName.HOOK_TOKEN: token}
        return {str(name.variable): value for name, value in secrets.items()}


def demonstration(directory: Path, sandbox: Sandbox) -> AppContext:
    """Open a relay that keeps everything in *directory*, talks to *sandbox*, and takes no port in use."""
    overrides = sandbox.overrides() | {
        "server": {"host": "127.0.0.1", "port": 0},
        "dashboard": {"host": "127.0.0.1", "port": 0},
        # It's thrown away.
        "database": {"url": default_database_url(directory), "allow_network_drive": True},
    }
    path, settings = directory / "config.toml", Settings.model_validate(overrides)
    secrets = Secrets(path, sandbox.environ())
    return AppContext(config_path=path, settings=settings, secrets=secrets, data=directory)


@asynccontextmanager
async def open_sandbox(*, port: int, faults: str | bytes | None = None) -> AsyncIterator[Sandbox]:
    """Open the simulator on loopback; *faults* is a JSON list. Raises UsageError or Unavailable."""
    api_key = os.environ.get("CALLRAIL_API_KEY", "").strip() or token_hex(16)
    simulator = Simulator(clock=SystemClock(), api_key=api_key)
    if faults is not None:
        simulator.fault(*load_faults(faults))
    async with Listener(create_app(simulator), host="127.0.0.1", port=port, setting="--port") as listener:
        yield Sandbox(url=listener.url, simulator=simulator)
