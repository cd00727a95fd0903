"""Writes settings and secrets together, so that a failure leaves what was there before."""

from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

from callrail_relay.config.loading import load, read_text
from callrail_relay.config.places import write_privately
from callrail_relay.config.secrets import SecretName, Secrets
from callrail_relay.config.settings import Settings
from callrail_relay.config.writing import update

Changes = Mapping[str, Mapping[str, object]]


async def save(
    path: Path, secrets: Secrets, changes: Changes, kept: Mapping[SecretName, str], *, use_file: bool
) -> dict[SecretName, str]:
    """
    Write *changes* to the settings and store the secrets of *kept*; says in words where each secret went.

    A secret that is new is taken out again when something fails after it. One that
    takes the place of another is not, so it comes last in *kept*.
    Raises SettingsFault before anything is written that would not be read again, and SecretFault.
    """
    load(path, overrides=changes, must_exist=False)
    places: dict[SecretName, str] = {}
    async with AsyncExitStack() as undo:
        former = read_text(path)
        update(path, changes)
        undo.callback(_put_back, path, former)
        for name, value in kept.items():
            is_new = await secrets.find_despite_keyring(name, use_file=use_file) is None
            places[name] = await secrets.store(name, value, use_file=use_file)
            if is_new:
                undo.push_async_callback(secrets.remove, name)
        undo.pop_all()
    return places


def _put_back(path: Path, former: str | None) -> None:
    if former is None:
        path.unlink()
    else:
        write_privately(path, former)


def overruled(path: Path, changes: Changes) -> Iterator[str]:
    """The keys of *changes*, as ``table.key``, that were written and do not count: the environment wins."""
    meant, counts = load(path, overrides=changes), load(path)
    for table, values in changes.items():
        for key, value in values.items():
            if value is not None and _value(meant, table, key) != _value(counts, table, key):
                yield f"{table}.{key}"


def _value(settings: Settings, table: str, key: str) -> object:
    return getattr(getattr(settings, table), key)
