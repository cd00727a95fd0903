"""Secrets, from the first place that has them: environment, systemd credential, OS keyring, opt-in file."""

import asyncio
import os
import re
import shlex
import stat
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from enum import Enum
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import SecretStr, TypeAdapter

from callrail_relay.config import sentence
from callrail_relay.config.places import APPLICATION, is_default_config_file, write_privately
from callrail_relay.errors import KeyringError, SecretError

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

T = TypeVar("T")

_TEXTS = TypeAdapter(dict[str, str])
_HEADING = "# Secrets of callrail-relay. Only you may read this file.\n"


def _read_file(path: Path) -> dict[str, str]:
    """Return the texts in ``secrets.toml`` by key, if no other user can read it. Raises SecretError."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            # On Windows the user's own directory keeps others out.
            if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise SecretError(sentence("secrets_open", path=path, quoted=shlex.quote(str(path))))
            return _TEXTS.validate_python(tomllib.loads(file.read().decode("utf-8-sig")))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SecretError(sentence("secrets_unreadable", path=path, why=error.strerror)) from error
    except ValueError:  # not TOML, not UTF-8, or not texts; its own words might quote a secret
        raise SecretError(sentence("secrets_damaged", path=path)) from None


def _write_file(path: Path, secrets: Mapping[str, str]) -> None:
    import tomlkit  # noqa: PLC0415 - not for reading secrets, as `serve` does

    try:
        write_privately(path, _HEADING + tomlkit.dumps(secrets))
        close_to_others(path)
    except OSError as error:
        raise SecretError(sentence("secrets_unwritable", path=path, why=error.strerror)) from error


def close_to_others(path: Path) -> None:
    """Let only this user use a file on Windows, whatever its directory allows; elsewhere its mode does."""
    if os.name != "nt":
        return
    who = ["whoami", "/user", "/fo", "csv", "/nh"]
    me = subprocess.run(who, capture_output=True, text=True, check=False)  # noqa: S603 - Windows' own
    if sid := re.search(r"S-1-[\d-]+", me.stdout):
        rights = ["icacls", str(path), "/inheritance:r", "/grant:r", f"*{sid[0]}:F"]
        subprocess.run(rights, capture_output=True, check=False)  # noqa: S603 - as above


class OsKeyring:
    """The OS keyring, which may wait for a dialog that nobody sees; neither loop nor process waits for it."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._hangs = False

    async def words(self) -> str | None:
        return await self._ask(_words)

    async def get(self, user: str) -> str | None:
        return await self._ask(lambda: _backend().get_password(APPLICATION, user))

    async def set(self, user: str, text: str) -> None:
        await self._ask(lambda: _backend().set_password(APPLICATION, user, text))

    async def delete(self, user: str) -> None:
        def delete_if_there() -> None:
            if _backend().get_password(APPLICATION, user) is not None:
                _backend().delete_password(APPLICATION, user)

        await self._ask(delete_if_there)

    async def _ask(self, question: Callable[[], T]) -> T:
        if not self._hangs:  # it had its chance: waiting again, in another thread, would gain nothing
            try:
                if sys.platform != "linux":
                    await _in_daemon_thread(_backend)  # slow on a busy computer, but it asks no one
                async with asyncio.timeout(self._timeout):
                    return await _in_daemon_thread(question)
            except TimeoutError:
                self._hangs = True
            except Exception as error:
                # Every backend raises its own library's errors: D-Bus, Win32, Security.framework.
                raise KeyringError(sentence("keyring_failed", error=type(error).__name__)) from error
        raise KeyringError(sentence("keyring_silent", timeout=self._timeout))


def _backend() -> "KeyringBackend":
    # The import loads every backend there is, and some call D-Bus: slow, and it may hang, too.
    import keyring  # noqa: PLC0415 - slow to import

    return keyring.get_keyring()


def _words() -> str | None:
    if not _may_be_there():
        return None
    backend = _backend()
    from keyring.backends import fail, null  # noqa: PLC0415  # as above

    if isinstance(backend, fail.Keyring | null.Keyring):
        return None
    return f"OS keyring ({backend.name})"


def _may_be_there() -> bool:
    """Whether it's worth asking: a Linux server has no keyring, and the library takes 10 MB to say so."""
    if sys.platform != "linux":
        return True
    bus = Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}", "bus")
    # os.path's own leaves the ~ of a user without a home directory as it is, and Path's fails.
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")  # noqa: PTH111  # see above
    named = Path(home, "python_keyring", "keyringrc.cfg")
    return (
        not os.environ.keys().isdisjoint({"DBUS_SESSION_BUS_ADDRESS", "PYTHON_KEYRING_BACKEND"})
        or bus.exists()
        or named.exists()
        or any(not one.module.startswith("keyring.") for one in entry_points(group="keyring.backends"))
    )


async def _in_daemon_thread(question: Callable[[], T]) -> T:
    """Return the answer to *question*. At exit, the process would wait for asyncio's own threads."""
    answer: Future[T] = Future()
    answer.set_running_or_notify_cancel()  # so that the thread may always settle it

    def work() -> None:
        try:
            answer.set_result(question())
        except Exception as error:  # noqa: BLE001  # raised again when the answer is awaited
            answer.set_exception(error)

    threading.Thread(target=work, name="keyring", daemon=True).start()
    return await asyncio.wrap_future(answer)


class SecretName(Enum):
    """A secret: its name in keyring and file, what people call it, and its variable."""

    API_KEY = ("api-key", "CallRail API key", "CALLRAIL_API_KEY")
    HOOK_TOKEN = ("hook-token", "webhook secret", "CALLRAIL_RELAY_HOOK_TOKEN")
    # "<expiry, ISO 8601>|<token>" while a rotation lasts
    HOOK_TOKEN_PREVIOUS = ("hook-token-previous", "previous webhook secret", None)
    # several are separated by commas
    SIGNING_KEYS = ("signing-keys", "CallRail signing key", "CALLRAIL_SIGNING_KEY")
    # cloudflared's or ngrok's
    TUNNEL_TOKEN = ("tunnel-token", "tunnel's token", "CALLRAIL_RELAY_TUNNEL_TOKEN")

    def __init__(self, key: str, words: str, variable: str | None) -> None:
        self.key = key
        self.words = words
        self.variable = variable
        self.credential = variable and variable.lower().replace("_", "-")  # systemd's


@dataclass(frozen=True)
class Found:
    """A secret, and in words where it came from, such as "environment variable CALLRAIL_API_KEY"."""

    secret: SecretStr
    source: str
    outside: bool = False  # it overrides a stored one, and is never stored

    def reveal(self) -> str:
        return self.secret.get_secret_value()


class Secrets:
    """The secrets of one settings file: the keyring's entries name it, and ``secrets.toml`` is beside it."""

    def __init__(
        self, config_file: Path, environ: Mapping[str, str] = os.environ, keyring_timeout: float = 3.0
    ) -> None:
        path = Path(os.path.abspath(config_file))  # noqa: PTH100  # unlike resolve(), it keeps links
        self._suffix = "" if is_default_config_file(path) else f"@{path}"
        self._environ = environ
        self._keyring = OsKeyring(keyring_timeout)
        self.file = path.with_name("secrets.toml")  # used only if no other user can read it

    @property
    def file_in_use(self) -> bool:
        return self.file.exists()

    async def find(self, name: SecretName, *, use_file: bool = False) -> Found | None:
        """
        Return the secret from the first place that has it; SecretError if one might and can't be read.

        A locked keyring isn't an error if the file is in use, or about to be (*use_file*).
        """
        if found := self._from_outside(name):
            return found
        try:
            keyring = await self._keyring.words()
            found = _found(await self._keyring.get(self._user(name)), keyring) if keyring else None
        except SecretError:
            if not (use_file or self.file_in_use):
                raise
        return found or self.in_file(name)

    def in_file(self, name: SecretName) -> Found | None:
        return _found(_read_file(self.file).get(name.key), f"file {self.file}")

    async def require(self, name: SecretName) -> Found:
        """Return the secret; if no place has it, SecretError says how to set it."""
        if (found := await self.find(name)) is None:
            variable = f"set {name.variable}, or " if name.variable else ""
            raise SecretError(sentence("secret_missing", name=name.words, variable=variable))
        return found

    async def store(self, name: SecretName, value: str, *, use_file: bool = False) -> str:
        """Keep *value* in the OS keyring, or in the file if that is in use; return where it went."""
        secret = _checked(value, f"The {name.words}")
        if secret is None:
            raise SecretError(sentence("secret_empty", name=name.words))
        if not (use_file or self.file_in_use):
            if keyring := await self._keyring.words():
                await self._keyring.set(self._user(name), secret.get_secret_value())
                return keyring
            variable = f", or set {name.variable}" if name.variable else ""
            raise KeyringError(sentence("keyring_missing", name=name.words, variable=variable))
        _write_file(self.file, _read_file(self.file) | {name.key: secret.get_secret_value()})
        await self._delete_from_keyring(name)
        return f"file {self.file}"

    async def remove(self, name: SecretName) -> None:
        secrets = _read_file(self.file)
        if secrets.pop(name.key, None) is not None:
            _write_file(self.file, secrets)  # even if it's empty: it stays as a sign that it's in use
        await self._delete_from_keyring(name)

    def shadowed_by(self, name: SecretName) -> str | None:
        """Return what overrides a stored secret, in words: a variable or a systemd credential; else None."""
        found = self._from_outside(name)
        return found.source if found else None

    def _from_outside(self, name: SecretName) -> Found | None:
        """Return the secret from its variable, else from its systemd credential."""
        variable, directory = name.variable, self._environ.get("CREDENTIALS_DIRECTORY")
        source = f"environment variable {variable}"
        if variable and (found := _found(self._environ.get(variable), source, outside=True)):
            return found
        if name.credential is None or not directory:
            return None
        source = f"systemd credential {name.credential}"
        try:
            return _found((Path(directory) / name.credential).read_text("utf-8"), source, outside=True)
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise SecretError(sentence("credential_unreadable", source=source)) from error

    async def _delete_from_keyring(self, name: SecretName) -> None:
        """Delete it from the keyring; one that can't be reached is skipped if the file is in use."""
        try:
            if await self._keyring.words():
                await self._keyring.delete(self._user(name))
        except SecretError:
            if not self.file_in_use:
                raise

    def _user(self, name: SecretName) -> str:
        return f"{name.key}{self._suffix}"


def _found(raw: str | None, source: str, *, outside: bool = False) -> Found | None:
    secret = _checked(raw or "", f"What the {source} holds")
    return Found(secret, source, outside) if secret else None


def _checked(raw: str, what: str) -> SecretStr | None:
    """Return *raw* without white space or quotes around it, None if nothing is left: it goes into headers."""
    text = raw.strip().strip("\"'")  # `set` of Windows and Docker's files of variables keep quotes
    if not all(" " <= character <= "~" for character in text):
        raise SecretError(sentence("secret_garbled", what=what))
    return SecretStr(text) if text else None
