"""Changes settings while the relay runs: writes the file, and uses at once what can be."""

import asyncio
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from callrail_relay.bootstrap import service_setup
from callrail_relay.bootstrap.context import AppContext, sentence
from callrail_relay.bootstrap.wiring import alert_sender, channels, try_alerts
from callrail_relay.config.loading import InvalidSettings, load, outranked_by, read_text
from callrail_relay.config.places import file_stamp, write_privately
from callrail_relay.config.saving import changed
from callrail_relay.config.settings import Guards, Settings, nested
from callrail_relay.domain.events import EventHook, SettingsChanged
from callrail_relay.errors import NotAllowed, SettingsError

# What a change on the page is used for at once. All else needs a restart.
AT_ONCE = {
    *(f"guards.{key}" for key in Guards.model_fields),
    *("delivery.max_age", "limits.per_hour", "limits.per_day"),
    *(f"alerts.{key}" for key in ("urls", "waiting", "failures", "budget", "weekly_summary")),
}
_FOLLOWED = ("server.public_url", "server.trusted_proxies", "tunnel.")  # by the task that keeps the tunnel


@dataclass(frozen=True, kw_only=True)
class Saved:
    """The result of saving: *faults* by key, or *lines* to add by hand, or the keys that changed."""

    faults: Mapping[str, str] = field(default_factory=dict)
    lines: str = ""
    why: str = ""  # nothing was written
    keys: tuple[str, ...] = ()

    @property
    def waits(self) -> bool:
        return not AT_ONCE.issuperset(self.keys)


@dataclass(eq=False)
class Editor:
    """The settings of a running relay; *take_up* has it use a context with others."""

    context: AppContext
    take_up: Callable[[AppContext], None]
    hook: EventHook
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    @property
    def place(self) -> Path:
        """Return the file that a person would edit: systemd gives the system service a copy."""
        path = self.context.config_path
        credentials = os.environ.get("CREDENTIALS_DIRECTORY")
        return service_setup.SYSTEM_CONFIG if credentials and path.parent == Path(credentials) else path

    def read(self, text: str | None = None) -> Settings:
        """Return the settings as in the file now, or as in *text*. Raises SettingsError."""
        path, overrides = self.context.config_path, self.context.overrides
        return load(path, overrides=overrides, must_exist=False, text=text)

    def fixed_by(self, key: str) -> str | None:
        """Return the option or variable that sets *key*, so that the file's value doesn't count."""
        return outranked_by(tuple(key.split(".")), self.context.overrides)

    def stamp(self) -> str:
        """Return what differs after every change of the file: a form has the one that it was made from."""
        return str(file_stamp(self.context.config_path))

    def why_not(self) -> str | None:
        """Return why the file can't be written, if that can be seen in advance."""
        if self.place != self.context.config_path:
            return sentence("copy_of_file")
        folder = self.context.config_path.resolve().parent
        there = next(one for one in (folder, *folder.parents) if one.exists())
        return None if os.access(there, os.W_OK) else sentence("folder_closed", folder=there)

    async def save(
        self, typed: Mapping[str, object], stamp: str, by: str, *, lines: str | None = None
    ) -> Saved:
        """
        Write what differs in *typed*, by key; None removes a key. *lines* are shown instead of all of it.

        Raises SettingsError if the file as it is has an error, and NotAllowed if it isn't the one of *stamp*.
        """
        async with self._lock:
            saved, found = await asyncio.to_thread(self._save, typed, stamp, lines)
            if saved.keys:
                new = found.by_key()
                used = {key: new[key] for key in saved.keys if key in AT_ONCE}
                settings = Settings.model_validate(nested(self.context.settings.by_key() | used))
                self.context = replace(self.context, settings=settings)
                self.take_up(self.context)
                self.hook(SettingsChanged(keys=saved.keys, by=by))
            return saved

    async def try_alerts(self) -> list[str]:
        """Send a test alert; return the services that didn't accept it. Raises SettingsError without any."""
        tried, failed = await try_alerts(replace(self.context, settings=await asyncio.to_thread(self.read)))
        return [service for name, service in zip(tried.names, tried.services, strict=True) if name in failed]

    def channels(self) -> list[str]:
        """Return the service of each alert channel in the file, such as Slack. Raises SettingsError."""
        found = channels(replace(self.context, settings=self.read()), "alerts.urls")
        return found.services if found else []

    def _save(self, typed: Mapping[str, object], stamp: str, lines: str | None) -> tuple[Saved, Settings]:
        path = self.context.config_path
        text = read_text(path)
        if self.stamp() != stamp:
            raise NotAllowed(sentence("file_changed"))
        present = self.read(text or "")
        typed = {key: value for key, value in typed.items() if self.fixed_by(key) is None}
        try:
            wanted = self.read(changed(path, text, nested(typed)))
            if "alerts.urls" in typed:
                alert_sender(replace(self.context, settings=wanted))
        except InvalidSettings as error:
            faults = {".".join(map(str, at[: 1 + (at[0] != "routes")])): w for at, w in error.faults.items()}
            return Saved(faults=faults), present
        except SettingsError as error:
            fault = re.sub(r"^alerts\.urls\[\d+\] \(.*?\) ", "", str(error))
            return Saved(faults={"alerts.urls": fault}), present
        changes = {key: value for key, value in wanted.differing(present).items() if key in typed}
        # What a person changed in the file, and sees in the form that they save, is used, too.
        newer = wanted.differing(self.context.settings)
        seen = [key for key in typed if key in newer and key in AT_ONCE and key not in changes]
        why = self.why_not()
        if changes and why is None:
            try:
                write_privately(path, changed(path, text, nested(changes)))
            except OSError as error:
                why = sentence("file_unwritable", path=path, why=error.strerror)
        if changes and why is not None:
            return Saved(lines=lines or _lines(path, changes), why=why), present
        return Saved(keys=(*changes, *seen)), wanted


def unused(used: Settings, present: Settings) -> tuple[str, ...]:
    """Return the keys that need a restart: *used* has other values for them than *present*, the file's."""
    return tuple(key for key in present.differing(used) if not key.startswith(_FOLLOWED))


def _lines(path: Path, changes: Mapping[str, object]) -> str:
    gone = "".join(f"# Remove {key}\n" for key, value in changes.items() if value is None)
    kept = {key: value for key, value in changes.items() if value is not None}
    return (gone + changed(path, "", nested(kept))).strip()
