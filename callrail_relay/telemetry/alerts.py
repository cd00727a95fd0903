"""
Channels to the owner by URL, through Apprise (https://github.com/caronc/apprise): chat, e-mail and others.

A channel's URL holds its secret: it is named by its place and its scheme, and Apprise's own log, which may
name more, is kept out of ours.
"""

import asyncio
import logging
from collections.abc import Collection, Sequence
from types import ModuleType
from typing import TYPE_CHECKING

from callrail_relay.domain.alerts import Level
from callrail_relay.errors import SettingsError, Unavailable

if TYPE_CHECKING:
    import apprise

TIMEOUT = 20
"""Seconds that one channel may take."""

_KINDS = {Level.WARNING: "warning", Level.ERROR: "failure", Level.OVER: "success"}


class AppriseChannels:
    """The channels of one setting, each told in a thread of its own."""

    def __init__(self, channels: Sequence[tuple[str, "apprise.Apprise"]]) -> None:
        self._channels = channels

    @classmethod
    def open(cls, urls: Sequence[str], *, setting: str) -> "AppriseChannels":
        """
        Channels for *urls*, which *setting* holds. Raises SettingsError where Apprise is not installed, or
        does not know what one of them is.
        """
        try:
            import apprise  # noqa: PLC0415 - an extra, and slow to import
        except ImportError as error:
            raise SettingsError(
                f"{setting} needs Apprise: install it with `pip install 'callrail-relay[alerts]'`."
            ) from error
        logging.getLogger("apprise").propagate = False
        asset = apprise.AppriseAsset(
            app_id="callrail-relay", app_desc="callrail-relay", storage_mode="memory"
        )
        return cls([(name, _channel(apprise, asset, url, name)) for name, url in _named(urls, setting)])

    @property
    def names(self) -> list[str]:
        """What to call the channels in front of people."""
        return [name for name, _ in self._channels]

    async def pass_on(self, title: str, words: str, names: Collection[str]) -> list[str]:
        """Pass words on, on the channels of these names; returns the names of those that failed."""
        chosen = [(name, channel) for name, channel in self._channels if name in names]
        return await _tell_all(chosen, title, words, "info")

    async def tell(self, title: str, words: str, level: Level) -> list[str]:
        """Tell on all channels; returns the names of those that failed. Raises Unavailable when all did."""
        failed = await _tell_all(self._channels, title, words, _KINDS[level])
        if len(failed) == len(self._channels):
            raise Unavailable(
                f"{', '.join(failed)} did not take the alert; check the address and the network, and try it "
                "with `callrail-relay alerts test`."
            )
        return failed


def _named(urls: Sequence[str], setting: str) -> list[tuple[str, str]]:
    return [(f"{setting}[{place}] ({url.partition(':')[0]})", url) for place, url in enumerate(urls)]


def _channel(library: ModuleType, asset: "apprise.AppriseAsset", url: str, name: str) -> "apprise.Apprise":
    channel: apprise.Apprise = library.Apprise(asset=asset)
    if not channel.add(url):
        raise SettingsError(
            f"{name} is no address that Apprise knows; see https://github.com/caronc/apprise for how it is "
            "written."
        )
    return channel


async def _tell_all(
    channels: Sequence[tuple[str, "apprise.Apprise"]], title: str, words: str, kind: str
) -> list[str]:
    tellings = (asyncio.to_thread(_tell, channel, title, words, kind) for _, channel in channels)
    told = await asyncio.gather(*tellings)
    return [name for (name, _), took in zip(channels, told, strict=True) if not took]


def _tell(channel: "apprise.Apprise", title: str, words: str, kind: str) -> bool:
    try:
        return bool(channel.notify(words, title, kind, body_format="text", timeout=TIMEOUT))
    except Exception:  # noqa: BLE001 - what a channel of a hundred kinds may raise; its words may hold its secret
        return False
