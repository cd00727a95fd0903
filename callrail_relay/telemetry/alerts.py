"""Alerts in words, and channels to the owner through Apprise (https://github.com/caronc/apprise)."""

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from callrail_relay.domain import read_table
from callrail_relay.domain.alerts import Code, Incident, Level
from callrail_relay.domain.message import Reason
from callrail_relay.domain.phone import mask_all
from callrail_relay.errors import SettingsError, Unavailable
from callrail_relay.sentences import explain, plural, shown

if TYPE_CHECKING:
    import apprise

TIMEOUT = 20  # seconds that one channel may take

_SENTENCES = read_table(__package__, "alerts")


def alert_text(incidents: Sequence[Incident]) -> str:
    ordered = sorted(incidents, key=lambda one: (not one.is_open, one.opened_at, one.key))
    return "\n\n".join(_sentence(one) for one in ordered)


def alert_title(incidents: Sequence[Incident], level: Level) -> str:
    return str(_SENTENCES["titles"][level]).format(**_parameters(incidents[0]))


def _parameters(incident: Incident) -> dict[str, Any]:
    parameters = _PARAMETERS.get(incident.code, dict)(dict(incident.parameters))
    instants = (name for name in ("since", "oldest") if parameters.get(name))
    return parameters | {name: shown("until", parameters[name]) for name in instants}


def _sentence(incident: Incident) -> str:
    parameters = _parameters(incident)
    if incident.is_open:
        return str(_SENTENCES[incident.code]["open"].format(**parameters)).strip()
    return f"Resolved: {_SENTENCES[incident.code]['over'].format(**parameters)}"


def _of_pause(given: dict[str, Any]) -> dict[str, Any]:
    # It may contain a person's note, or CallRail's answer.
    reason = mask_all(explain(Reason(**given["reason"])) if given["reason"] else "")
    remedy = "" if "callrail-relay resume" in reason else _SENTENCES[Code.PAUSED]["remedy"]
    return given | {"reason": f"{reason} {remedy}".strip()}


def _of_limit(given: dict[str, Any]) -> dict[str, Any]:
    words, full = _SENTENCES[Code.LIMIT], ""
    if given["used"] >= given["allowed"]:
        at = shown("until", given["free_at"]) if given["free_at"] else ""
        full = words["full_until" if at else "full"].format(at=at)
    percent = given["used"] * 100 // given["allowed"]
    return given | {"limit": words[given["window"]], "full": full, "percent": percent}


def _of_review(given: dict[str, Any]) -> dict[str, Any]:
    counts = ((given["held"], "on hold"), (given["unknown"], "unconfirmed"))
    count = given["held"] + given["unknown"]
    words = ", ".join(f"{number} {kind}" for number, kind in counts if number)
    need = "needs" if count == 1 else "need"
    return given | {"counts": f"{plural(count, 'message')} {need} your review ({words})"}


def _of_week(given: dict[str, Any]) -> dict[str, Any]:
    waiting, words = given["waiting"], _SENTENCES[Code.WEEKLY]
    need = words["needs" if waiting == 1 else "need"].format(count=waiting) if waiting else ""
    counts = {name: f"{given[name]:,}" for name in ("sent", "lost", "reviewed")}
    return given | counts | {"duplicates": plural(given["doubled"], "duplicate"), "need": need}


_PARAMETERS: dict[Code, Callable[[dict[str, Any]], dict[str, Any]]] = {
    Code.PAUSED: _of_pause,
    Code.LIMIT: _of_limit,
    Code.REVIEW: _of_review,
    Code.FAILURES: lambda given: {"messages": plural(given["count"], "message")},
    Code.DISK: lambda given: given | {"megabytes": given["free_bytes"] // (1024 * 1024)},
    Code.WEEKLY: _of_week,
}


# The worst first.
_KINDS = {Level.ERROR: "failure", Level.WARNING: "warning", Level.OVER: "success", Level.INFO: "info"}


@dataclass(frozen=True, repr=False)
class AppriseChannels:
    """The channels of one setting, with their names."""

    channels: "Sequence[tuple[str, apprise.Apprise]]"

    @classmethod
    def open(cls, urls: Sequence[str], *, setting: str) -> "AppriseChannels":
        """Return the channels for *urls* from *setting*. Raises SettingsError, also if Apprise is missing."""
        try:
            import apprise  # noqa: PLC0415 - an extra, and slow to import
        except ImportError as error:
            raise SettingsError(_SENTENCES["channels"]["no_apprise"].format(setting=setting)) from error
        # An address contains a secret: a channel is named by place and scheme, and Apprise's log is kept out.
        logging.getLogger("apprise").propagate = False
        program, channels = "callrail-relay", []
        asset = apprise.AppriseAsset(app_id=program, app_desc=program, storage_mode="memory")
        for place, url in enumerate(urls):
            channel = apprise.Apprise(asset=asset)
            name = f"{setting}[{place}] ({url.partition(':')[0]})"
            if not channel.add(url):
                raise SettingsError(_SENTENCES["channels"]["unknown"].format(name=name))
            channels.append((name, channel))
        return cls(channels)

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.channels]

    @property
    def services(self) -> list[str]:
        return [str(channel[0].service_name) for _, channel in self.channels]

    async def send_alerts(self, incidents: Sequence[Incident]) -> list[str]:
        """Tell all channels; return the names of those that failed. Raises Unavailable if all did."""
        level = min((one.level for one in incidents), key=list(_KINDS).index)
        title, words = alert_title(incidents, level), alert_text(incidents)
        failed = await self.pass_on(title, words, self.names, _KINDS[level])
        if len(failed) == len(self.channels):
            raise Unavailable(_SENTENCES["channels"]["failed"].format(names=", ".join(failed)))
        return failed

    async def pass_on(self, title: str, words: str, names: Collection[str], kind: str = "info") -> list[str]:
        """Pass words on to the channels with these names; return those that failed."""
        chosen = [(name, channel) for name, channel in self.channels if name in names]
        said = {"body": words, "title": title, "notify_type": kind, "body_format": "text", "timeout": TIMEOUT}
        taken = await asyncio.gather(*(channel.async_notify(**said) for _, channel in chosen))
        return [name for (name, _), was_taken in zip(chosen, taken, strict=True) if not was_taken]
