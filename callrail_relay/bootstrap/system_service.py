"""The service of a whole Linux: its own settings, secrets and store, and moving a person's there."""

import os
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import callrail_relay
from callrail_relay.bootstrap.context import AppContext, load_context, sentence
from callrail_relay.bootstrap.stopped_store import move_store
from callrail_relay.config import places
from callrail_relay.config.loading import PREFIX, read_text
from callrail_relay.config.saving import update
from callrail_relay.config.secrets import SecretName
from callrail_relay.errors import Unavailable
from callrail_relay.outbox.engine import store_file

ROOT = Path("/")
"""Where the files of a system service are; tests have their own."""

CREDENTIALS = {name: name.credential for name in SecretName if name.credential}
_HIDDEN_PLACES = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108 - not written to


def config_file() -> Path:
    return ROOT / "etc/callrail-relay/config.toml"


def data_directory() -> Path:
    return ROOT / "var/lib/callrail-relay"


def variables() -> dict[str, str]:
    """What every other command needs to work on the system service."""
    return {
        places.CONFIG_VARIABLE: str(config_file()),
        places.DATA_VARIABLE: str(data_directory()),
        "CREDENTIALS_DIRECTORY": str(config_file().parent),
    }


def require_program_for_all() -> None:
    """Raises Unavailable if the unit's own user could not run this program."""
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

    The settings come last: once they are there, they and the moved store are what counts.
    """
    target, wrote = config_file(), []
    file, moved = store_file(context.settings.database.url), data_directory() / "relay.db"
    settings = dict(settings)
    if file is not None and "url" in context.settings.database.model_fields_set:
        # It comes to the data directory, which is the default.
        settings["database"] = {**settings.get("database", {}), "url": None}
        os.environ.pop(f"{PREFIX}DATABASE__URL", None)
    if file is not None and file.exists() and file.resolve() != moved.resolve():
        move_store(file.resolve(), moved)
        undo.callback(move_store, moved, file.resolve())
        wrote.append(sentence("data_is", path=moved.parent))
    places.private_directory(target.parent)
    undo.callback(_remove_if_empty, target.parent)
    for name, value in secrets.items():
        path = target.parent / CREDENTIALS[name]
        _put(path, value, undo)
        wrote.append(f"The {name.words} is in {path}.")
    if context.config_path != target:
        _put(target, read_text(context.config_path) or "", undo)
        wrote.append(sentence("settings_are", path=target))
    if settings:
        update(target, settings)
    os.environ.update(variables())
    return load_context(target), wrote


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def _put(path: Path, text: str, undo: ExitStack) -> None:
    former = read_text(path)
    try:
        places.write_privately(path, text)
    except OSError as error:
        raise Unavailable(sentence("unit_unwritable", path=path, why=error.strerror)) from error
    undo.callback(path.unlink) if former is None else undo.callback(places.write_privately, path, former)


def remove_files() -> Iterator[str]:
    """Remove the settings and secrets of the service; gives the path of each."""
    for name in ("config.toml", *CREDENTIALS.values()):
        if (file := config_file().with_name(name)).exists():
            file.unlink()
            yield str(file)
    _remove_if_empty(config_file().parent)
