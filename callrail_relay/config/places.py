"""Where this user's settings, data and secrets are, and how private files are made."""

import contextlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

import platformdirs

from callrail_relay.config import sentence
from callrail_relay.errors import SettingsError
from callrail_relay.replacing import new_content

APPLICATION = "callrail-relay"
CONFIG_VARIABLE = "CALLRAIL_RELAY_CONFIG"
DATA_VARIABLE = "CALLRAIL_RELAY_DATA"
_NO_HOME = sentence("no_home", config_variable=CONFIG_VARIABLE, data_variable=DATA_VARIABLE)


def config_file(override: Path | None = None) -> Path:
    """Return the settings file: *override* (``--config``), CALLRAIL_RELAY_CONFIG, or the user's own."""
    return override_path(override) or default_config_file()


def default_config_file() -> Path:
    return _users_own(platformdirs.user_config_path) / "config.toml"


def is_default_config_file(path: Path) -> bool:
    """Whether *path* is the default settings file; a user without a home directory has none."""
    try:
        return path == default_config_file()
    except SettingsError:
        return False


def override_path(override: Path | None) -> Path | None:
    """Return the settings file that a person named, as an absolute path; None for the default one."""
    return _absolute(override) if override is not None else _from_environment(CONFIG_VARIABLE)


def data_directory() -> Path:
    """Return CALLRAIL_RELAY_DATA, else the platform's user data directory; it need not exist yet."""
    return _from_environment(DATA_VARIABLE) or _users_own(platformdirs.user_data_path)


def log_file() -> Path:
    """Return where a program without a console logs: the user's log directory, else beside the data."""
    try:
        directory = _users_own(platformdirs.user_log_path)
    except SettingsError:
        directory = data_directory()
    return directory / "callrail-relay.log"


def _users_own(directory: Callable[..., Path]) -> Path:
    try:
        return directory(APPLICATION, appauthor=False)
    except RuntimeError as error:  # no HOME, and a user id that isn't in passwd, as in many containers
        raise SettingsError(_NO_HOME) from error


def private_directory(path: Path) -> Path:
    """Make *path* and its missing parents with mode 0700; of existing ones, only our own data directory."""
    missing = [directory for directory in (path, *path.parents) if not directory.exists()]
    for directory in reversed(missing):
        directory.mkdir(mode=0o700, exist_ok=True)
    if os.name == "posix" and path.name == APPLICATION:
        with contextlib.suppress(OSError, RuntimeError):
            if path == platformdirs.user_data_path(APPLICATION, appauthor=False):
                path.chmod(stat.S_IMODE(path.stat().st_mode) & stat.S_IRWXU)
    return path


def remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()


def write_privately(path: Path, text: str) -> None:
    """Write *text* to *path* with mode 0600, completely or not at all, even if the power fails."""
    target = path.resolve()  # a link stays a link
    private_directory(target.parent)
    with new_content(target) as file:
        file.write(text)


def _from_environment(variable: str) -> Path | None:
    value = os.environ.get(variable, "").strip().strip('"')  # `set` of Windows keeps quotes
    return _absolute(Path(value)) if value else None


def _absolute(path: Path) -> Path:
    # No shell has expanded the ~ in a service file or in --config=~/relay.toml.
    # Path's own methods either fail for an unknown ~name or follow links; these do neither.
    expanded = os.path.expanduser(path)  # noqa: PTH111  # see above
    if Path(expanded).parts[:1] == ("~",):
        raise SettingsError(_NO_HOME)
    try:
        return Path(os.path.abspath(expanded))  # noqa: PTH100  # see above
    except OSError as error:
        raise SettingsError(sentence("folder_deleted", path=path)) from error


def file_stamp(path: Path) -> object:
    """Return a value that differs after each change of a file; None if there's none."""
    with contextlib.suppress(OSError):
        found = path.stat()
        return found.st_mtime_ns, found.st_size, found.st_ino
    return None
