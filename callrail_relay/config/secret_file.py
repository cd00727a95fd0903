"""The opt-in file of secrets, for machines without an OS keyring."""

import os
import shlex
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path

from callrail_relay.config.places import write_privately
from callrail_relay.errors import SecretFault

_HEADING = "Secrets of callrail-relay. Nobody but you may read this file."


class SecretFile:
    """``secrets.toml``: one text to a key. It counts only while nobody else can read it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def words(self) -> str:
        return f"file {self.path}"

    @property
    def exists(self) -> bool:
        return self.path.exists()

    def get(self, key: str) -> str | None:
        return self._read().get(key)

    def set(self, key: str, text: str) -> None:
        """Keep *text*, and make the file where there is none."""
        self._write({**self._read(), key: text})

    def delete(self, key: str) -> None:
        """Take the key out; the file stays, as a sign that it is in use."""
        secrets = self._read()
        if secrets.pop(key, None) is not None:
            self._write(secrets)

    def _read(self) -> dict[str, str]:
        try:
            with self.path.open("rb") as file:
                self._refuse_when_open_to_others(os.fstat(file.fileno()).st_mode)
                secrets = tomllib.load(file)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise SecretFault(
                f"The secrets in {self.path} cannot be read: {error.strerror}. "
                "The user that runs the relay must own the file."
            ) from error
        except ValueError as error:  # not TOML, or not UTF-8; the parser's own words might quote a secret
            raise self._damaged() from error
        if not all(isinstance(text, str) for text in secrets.values()):
            raise self._damaged()
        return secrets

    def _damaged(self) -> SecretFault:
        return SecretFault(
            f'The file of secrets {self.path} is damaged: it takes lines such as api-key = "...". '
            "Mend it, or delete it and run `callrail-relay configure --secrets-file`."
        )

    def _refuse_when_open_to_others(self, mode: int) -> None:
        # Windows has no such bits; there the user's own directory keeps others out.
        if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise SecretFault(
                f"The secrets in {self.path} are open to other users of this machine. "
                f"Run `chmod 600 {shlex.quote(str(self.path))}`, and change what others may have read."
            )

    def _write(self, secrets: Mapping[str, str]) -> None:
        # Whoever only reads secrets, as `serve` does, needs no way to write TOML.
        import tomlkit  # noqa: PLC0415

        document = tomlkit.document()
        document.add(tomlkit.comment(_HEADING))
        document.update(secrets)
        try:
            write_privately(self.path, tomlkit.dumps(document))
        except OSError as error:
            raise SecretFault(
                f"The file of secrets {self.path} cannot be written: {error.strerror}. "
                "Make its directory writable, or name another settings file with --config."
            ) from error
