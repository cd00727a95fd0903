"""
The ladder of places that keep a secret: environment, systemd credential, OS keyring, opt-in file.

The highest place that has the secret wins, and everybody who asks is told which
one it was.
"""

import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import NoReturn

from callrail_relay.config.os_keyring import OsKeyring
from callrail_relay.config.places import is_default_config_file
from callrail_relay.config.secret_file import SecretFile
from callrail_relay.errors import SecretFault

_STARS = "**********"


class SecretName(Enum):
    """A secret: its name in keyring and file, what people call it, its variable and its credential file."""

    API_KEY = ("api-key", "CallRail API key", "CALLRAIL_API_KEY", "callrail-api-key")
    HOOK_TOKEN = ("hook-token", "webhook secret", "CALLRAIL_RELAY_HOOK_TOKEN", "callrail-relay-hook-token")
    # "<expiry, ISO 8601>|<token>" while a rotation lasts
    HOOK_TOKEN_PREVIOUS = ("hook-token-previous", "previous webhook secret", None, None)
    # several are separated by commas
    SIGNING_KEYS = ("signing-keys", "CallRail signing key", "CALLRAIL_SIGNING_KEY", "callrail-signing-key")

    def __init__(self, key: str, words: str, variable: str | None, credential: str | None) -> None:
        self.key = key
        self.words = words
        self.variable = variable
        self.credential = credential


class Secret:
    """
    A text that shows as stars until ``reveal`` is called, which is done where it is used and nowhere else.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"Secret('{_STARS}')"

    def __str__(self) -> str:
        return _STARS

    def __eq__(self, other: object) -> bool:
        """Takes the same time wherever the two differ."""
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> NoReturn:
        raise TypeError("A secret is not copied or pickled")


@dataclass(frozen=True)
class Found:
    """A secret, and in words the place it came from, such as "environment variable CALLRAIL_API_KEY"."""

    secret: Secret
    rung: str


class Secrets:
    """
    The secrets that go with one settings file.

    Two settings files never share what is stored: the keyring's entries carry
    the file's path unless it is the default one, and the file of secrets lies
    beside the settings.
    """

    def __init__(
        self,
        config_file: Path,
        environ: Mapping[str, str] = os.environ,
        keyring_timeout: float = 3.0,
    ) -> None:
        """*keyring_timeout* is in seconds."""
        path = Path(os.path.abspath(config_file))  # noqa: PTH100  # unlike resolve(), it keeps links
        self._suffix = "" if is_default_config_file(path) else f"@{path}"
        self._environ = environ
        self._keyring = OsKeyring(keyring_timeout)
        self._file = SecretFile(path.with_name("secrets.toml"))

    @property
    def file_in_use(self) -> bool:
        """Whether somebody opted in to the file of secrets."""
        return self._file.exists

    @property
    def file(self) -> Path:
        """The opt-in file, whether it is in use or not."""
        return self._file.path

    async def find(self, name: SecretName) -> Found | None:
        """
        The secret from the highest place that has it, None where no place has.

        Raises SecretFault for a place that cannot be read and might have it. A
        keyring that cannot be read is passed over where the file is in use.
        """
        found = self._from_environment(name) or self._from_credential(name)
        if found is not None:
            return found
        try:
            found = await self._from_keyring(name)
        except SecretFault:
            if not self.file_in_use:
                raise
        return found or self._from_file(name)

    async def find_despite_keyring(self, name: SecretName, *, use_file: bool) -> Found | None:
        """
        The same for somebody who is about to store.

        *use_file* tells that the file of secrets will be used from now on: then a keyring that cannot be
        opened is what the file is there for, and no fault.
        """
        try:
            return await self.find(name)
        except SecretFault:
            if use_file and not self.file_in_use:
                return None
            raise

    async def require(self, name: SecretName) -> Found:
        """The secret; SecretFault says how to give it where no place has it."""
        found = await self.find(name)
        if found is None:
            variable = f"set {name.variable}, or " if name.variable else ""
            raise SecretFault(
                f"The {name.words} is not set. Run `callrail-relay configure`, or {variable}keep it in a "
                "file with `callrail-relay configure --secrets-file`."
            )
        return found

    async def store(self, name: SecretName, value: str, *, use_file: bool) -> str:
        """
        Keep *value* in the OS keyring, or in the file; the answer says in words where it went.

        Where there is no keyring, a file that is in use already serves. What the
        other of the two held is removed, so that an old secret cannot come back.
        ``shadowed_by`` tells what wins over the stored one.
        """
        secret = _checked(value, f"The {name.words}")
        if secret is None:
            raise SecretFault(f"The {name.words} is empty. Give it again.")
        keyring = None if use_file else await self._keyring.words()
        if keyring is not None:
            await self._keyring.set(self._user(name), secret.reveal())
            self._file.delete(name.key)
            return keyring
        if not use_file and not self.file_in_use:
            raise _no_keyring(name)
        self._file.set(name.key, secret.reveal())
        await self._delete_from_keyring(name)
        return self._file.words

    async def remove(self, name: SecretName) -> None:
        """Take the secret out of the file and the keyring; the environment is its owner's."""
        self._file.delete(name.key)
        await self._delete_from_keyring(name)

    def shadowed_by(self, name: SecretName) -> str | None:
        """
        What wins over a stored secret, in words: a variable or a systemd credential; None where nothing does.
        """
        found = self._from_environment(name) or self._from_credential(name)
        return found.rung if found else None

    def _from_environment(self, name: SecretName) -> Found | None:
        if name.variable is None:
            return None
        return _found(self._environ.get(name.variable), f"environment variable {name.variable}")

    def _from_credential(self, name: SecretName) -> Found | None:
        directory = self._environ.get("CREDENTIALS_DIRECTORY")
        if name.credential is None or not directory:
            return None
        rung = f"systemd credential {name.credential}"
        try:
            return _found((Path(directory) / name.credential).read_text(encoding="utf-8"), rung)
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise SecretFault(
                f"The {rung} cannot be read. Check LoadCredential= in the service's unit."
            ) from error

    async def _from_keyring(self, name: SecretName) -> Found | None:
        keyring = await self._keyring.words()
        return _found(await self._keyring.get(self._user(name)), keyring) if keyring else None

    def _from_file(self, name: SecretName) -> Found | None:
        return _found(self._file.get(name.key), self._file.words)

    async def _delete_from_keyring(self, name: SecretName) -> None:
        """A keyring that cannot be reached is passed over where the file is in use."""
        try:
            if await self._keyring.words():
                await self._keyring.delete(self._user(name))
        except SecretFault:
            if not self.file_in_use:
                raise

    def _user(self, name: SecretName) -> str:
        return f"{name.key}{self._suffix}"


def _found(raw: str | None, rung: str) -> Found | None:
    secret = _checked(raw or "", f"What the {rung} holds")
    return Found(secret, rung) if secret else None


def _checked(raw: str, what: str) -> Secret | None:
    """
    *raw* without the white space around it, None where nothing is left.

    Secrets travel in headers and paths: one with a line break in it, or with a
    character that is not ASCII, was not copied alone or not copied whole.
    """
    text = raw.strip()
    if not all(" " <= character <= "~" for character in text):
        raise SecretFault(
            f"{what} has a line break or a character that is not ASCII in it. Copy it once more."
        )
    return Secret(text) if text else None


def _no_keyring(name: SecretName) -> SecretFault:
    variable = f", or set {name.variable}" if name.variable else ""
    return SecretFault(
        f"There is no OS keyring here to keep the {name.words} in. Install or unlock one, or run "
        f"`callrail-relay configure --secrets-file`{variable}."
    )
