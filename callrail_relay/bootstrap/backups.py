"""Makes a backup, which is one private file, and restores it; moves or removes a stopped store."""

import asyncio
import os
import shutil
import sqlite3
from contextlib import ExitStack, closing
from datetime import datetime
from glob import escape
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryDirectory
from typing import Literal
from zipfile import ZIP_DEFLATED, ZipFile

import sqlalchemy as sa
from pydantic import AwareDatetime, BaseModel, Field

from callrail_relay.bootstrap.context import AppContext, sentence
from callrail_relay.bootstrap.wiring import open_callrail, open_relay
from callrail_relay.clock import SystemClock
from callrail_relay.config.loading import environment_changes, load, parse, read_text
from callrail_relay.config.places import config_file, data_directory, private_directory, write_privately
from callrail_relay.config.saving import changed, save
from callrail_relay.config.secrets import SecretName, Secrets, close_to_others
from callrail_relay.domain.events import ignore
from callrail_relay.domain.message import MessageFilter, Status
from callrail_relay.errors import AlreadyRunning, NotAllowed, NotFound, RelayError, Unavailable
from callrail_relay.outbox.backups import copy_file, prepare
from callrail_relay.outbox.engine import RESTORING, give_to_owner, restore_marker, store_file, store_files
from callrail_relay.outbox.presence import StoreLock, kept
from callrail_relay.replacing import replace, sync_folder
from callrail_relay.service.reconciliation import Reconciliation

VERSION = 1
LOOKS_FOR = 60.0  # seconds that `restore` asks CallRail; a running `serve` asks for the rest
_CONTENT, _STORE = "backup.json", "relay.db"
_KEPT = (SecretName.HOOK_TOKEN, SecretName.HOOK_TOKEN_PREVIOUS, SecretName.SIGNING_KEYS)


class Backup(BaseModel):
    """What a backup has beside the store, as in its JSON."""

    format: Literal["callrail-relay backup"] = "callrail-relay backup"
    version: int = VERSION
    made_at: AwareDatetime
    files: list[str]  # everything that is in it
    settings: str = Field(repr=False)  # the text of the settings file
    secrets: dict[str, str] = Field(repr=False)  # by their keys

    @property
    def has_store(self) -> bool:
        return _STORE in self.files

    @property
    def has_api_key(self) -> bool:
        return SecretName.API_KEY.key in self.secrets


# Making one


async def make_backup(context: AppContext, file: Path, *, with_api_key: bool) -> Backup:
    """Write a new file of mode 0600, complete or not at all. Raises NotAllowed, SecretError, Unavailable."""
    names = (*_KEPT, *([SecretName.API_KEY] if with_api_key else []))
    secrets = {name.key: found.reveal() for name in names if (found := await context.secrets.find(name))}
    store, made_at = context.store_file, context.clock.now()  # before the copy
    files = [_CONTENT, _STORE] if store is not None and store.exists() else [_CONTENT]
    made = Backup(made_at=made_at, files=files, settings=_settings_of(context), secrets=secrets)
    try:
        _write(made, store, file)
    except FileExistsError as error:
        raise NotAllowed(sentence("backup_exists", file=file)) from error
    except OSError as error:
        raise Unavailable(sentence("backup_unwritable", file=file, why=error.strerror)) from error
    return made


def _settings_of(context: AppContext) -> str:
    """Return the settings file, with what only the environment sets, and without the database's password."""
    changes, _ = environment_changes(context.config_path, context.settings)
    if context.store_file is None:
        url = sa.make_url(context.settings.database.url).difference_update_query(["password"])
        safe = url._replace(password=None).render_as_string(hide_password=False)
        changes.setdefault("database", {})["url"] = safe
    return changed(context.config_path, read_text(context.config_path) or "", changes)


def _write(backup: Backup, store: Path | None, file: Path) -> None:
    if os.path.lexists(file):
        raise FileExistsError
    with TemporaryDirectory(dir=file.parent, prefix=f".{file.name}.") as folder:
        copy, whole = Path(folder, _STORE), Path(folder, "backup")
        for path in (copy, whole):
            write_privately(path, "")
            close_to_others(path)
        with whole.open("wb") as raw:
            with ZipFile(raw, "w", ZIP_DEFLATED) as archive:
                archive.writestr(_CONTENT, backup.model_dump_json())
                if store is not None and backup.has_store:
                    copy_file(store, copy)
                    archive.write(copy, _STORE)
            raw.flush()
            os.fsync(raw.fileno())
        try:
            file.hardlink_to(whole)  # unlike a rename, it never replaces a file
        except FileExistsError:
            raise
        except OSError:  # a drive without links
            replace(whole, file)


# Bringing it back


def read_backup(file: Path) -> Backup:
    """Read and check a backup. Raises NotFound, and NotAllowed if it's damaged or something else."""
    try:
        with ZipFile(file) as archive:
            backup = Backup.model_validate_json(archive.read(_CONTENT))
            is_whole = archive.testzip() is None and archive.namelist() == backup.files
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise NotFound(sentence("backup_unreadable", file=file, why=error.strerror)) from error
    except Exception as error:  # whatever damage, or another program, did to the file
        raise NotAllowed(sentence("no_backup", file=file)) from error
    if not is_whole:
        raise NotAllowed(sentence("no_backup", file=file))
    if backup.version != VERSION:
        raise NotAllowed(sentence("newer_backup", file=file))
    return backup


async def restore(
    config: Path | None, file: Path, *, use_file: bool
) -> tuple[Backup, dict[SecretName, str], int]:
    """
    Restore a backup, completely or not at all; return it, where its secrets are, and how many texts are open.

    While it works, there's a marker beside the store, and no command opens a store that has one. What a crash
    leaves counts as nothing: the next ``restore`` starts over. Raises RelayError.
    """
    backup = read_backup(file)
    path, data = config_file(config), data_directory()
    store, marker = data / _STORE, restore_marker(data / _STORE)
    url = parse(path, backup.settings).get("database", {}).get("url")
    # What was only true of the other computer is left out.
    is_file = url is not None and store_file(url) is not None
    left_out = {"tunnel": None, **({"database": {"url": None}} if is_file else {})}
    text = changed(path, backup.settings, left_out)
    settings = load(path, text=text)
    if backup.has_store and store_file(settings.database.url) != store:
        raise NotAllowed(sentence("other_database"))
    _require_empty(path, marker)
    secrets, lock, open_texts = Secrets(path), StoreLock(store), 0
    try:
        with ExitStack() as undo:
            private_directory(data)
            lock.take("restore", SystemClock().now())
            _require_empty(path, marker)  # again, now that no other command can change it
            _clear(path, marker)
            write_privately(marker, text)
            undo.callback(marker.unlink)
            undo.callback(_clear, path, marker)
            if backup.has_store:
                open_texts = _stage(file, data / RESTORING, backup.made_at, settings.limits.max_characters)
            write_privately(path, text)
            kept = {name: value for name in SecretName if (value := backup.secrets.get(name.key))}
            places = await save(path, secrets, {}, kept, use_file=use_file)
            if backup.has_store:
                replace(data / RESTORING, store)
            for folder in (data, path.parent):
                sync_folder(folder)
            undo.pop_all()
            marker.unlink()
    except OSError as error:
        raise Unavailable(sentence("not_restored", data=data, why=error.strerror)) from error
    finally:
        lock.release()
    return backup, places, open_texts


def _require_empty(path: Path, marker: Path) -> None:
    """Raise NotAllowed if there's more than what an interrupted `restore` left."""
    there, was_interrupted = read_text(path), marker.exists()
    if there is not None and not (was_interrupted and there == read_text(marker)):
        raise NotAllowed(sentence("settings_exist", path=path))
    data, nothing = marker.parent, (f"{_STORE}-serve.", ".restoring.")  # what its very beginning leaves
    names = [one.name for one in data.iterdir()] if data.exists() else []
    found = [name for name in names if not name.startswith(nothing)]
    if found and not was_interrupted:
        raise NotAllowed(sentence("data_exists", data=data, found=found[0]))


def _clear(path: Path, marker: Path) -> None:
    """Remove what a `restore` wrote. Only with its marker there is a store, and no other one."""
    if marker.exists() and path.exists() and read_text(path) == read_text(marker):
        path.unlink()
    for name in (_STORE, RESTORING):
        for file in store_files(marker.with_name(name)):
            file.unlink(missing_ok=True)
    for target in (marker, marker.with_name(RESTORING), path, Secrets(path).file):
        for half_written in target.parent.glob(f".{escape(target.name)}.????????"):
            half_written.unlink()


def _stage(file: Path, staged: Path, made_at: datetime, max_characters: int) -> int:
    """Put the store of a backup beside its place, with nothing in it that would be sent."""
    write_privately(staged, "")
    close_to_others(staged)
    give_to_owner(staged)
    with ZipFile(file) as archive, archive.open(_STORE) as source, staged.open("wb") as target:
        copyfileobj(source, target)
    try:
        return prepare(staged, file.name, made_at, SystemClock().now(), max_characters)
    except Unavailable as error:
        raise NotAllowed(f"{file} can't be restored. {error}") from error


async def look_up(context: AppContext) -> tuple[int, int, str | None]:
    """Look up what was restored, for a minute; return how many are on hold, how many unasked, and why."""
    fault = None
    async with open_relay(context) as relay:
        try:
            async with open_callrail(context) as callrail, asyncio.timeout(LOOKS_FOR):
                find = callrail.find_texts
                await Reconciliation(relay.store, ignore, find, context.lookups, lambda: None).turn()
        except TimeoutError:
            fault = "There are many."
        except RelayError as error:
            fault = str(error)
        held = await relay.operations.list_messages(MessageFilter(statuses=(Status.HELD,), limit=0))
    restored = [one for message in held for one in message.reasons if one.code == "restored"]
    return len(restored), sum(one.parameters.get("problem") == "checking" for one in restored), fault


def move_store(store: Path, moved: Path) -> None:
    """Move a stopped store; whatever happens, the new one is complete and on disk before the old one goes."""
    if moved.exists():
        raise NotAllowed(sentence("two_stores", store=store, moved=moved))
    whole = moved.with_name(f"{moved.name}.new")
    try:
        with kept(store, "service install", SystemClock().now(), NotAllowed(sentence("command_runs"))):
            private_directory(moved.parent)
            for left in moved.parent.glob(f"{moved.name}[.-]*"):
                left.unlink()
            write_privately(whole, "")
            beside = [*store.parent.glob("node-*.id"), *store.parent.glob("dashboard.key")]
            with closing(sqlite3.connect(store, timeout=5.0, isolation_level=None)) as writer:
                writer.execute("BEGIN IMMEDIATE")  # no other command writes from now on
                copy_file(store, whole)
                for path in (whole, *(Path(shutil.copy2(path, moved.parent)) for path in beside)):
                    give_to_owner(path)
                whole.rename(moved)
                sync_folder(moved.parent)  # SQLite did so for the file itself
                for path in (*store_files(store), *beside):
                    path.unlink(missing_ok=True)
    except AlreadyRunning as error:
        raise NotAllowed(sentence("stopped_only", error=error)) from error
    except (OSError, sqlite3.Error) as error:
        raise Unavailable(sentence("not_moved", store=store, moved=moved, error=error)) from error


def remove_store(store: Path) -> None:
    """Remove a stopped store. Raises AlreadyRunning or NotAllowed."""
    with kept(store, "uninstall", SystemClock().now(), NotAllowed(sentence("command_runs"))):
        for path in store_files(store):
            path.unlink(missing_ok=True)
