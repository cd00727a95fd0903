"""The OS keyring: the Keychain, the Credential Manager, the Secret Service."""

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from callrail_relay.config.places import APPLICATION
from callrail_relay.errors import SecretFault

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

T = TypeVar("T")

_REMEDY = (
    "Unlock it and try again, or run `callrail-relay configure --secrets-file`, "
    "or give the secret by environment variable."
)


class OsKeyring:
    """
    Entries of this program in the OS keyring, under a user name each.

    Every question is asked in a daemon thread and has *timeout* seconds: a
    keyring may wait for a dialogue that nobody sees, and must hold up neither the
    event loop nor the end of the process. Raises SecretFault where it hangs or fails.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._hangs = False

    async def words(self) -> str | None:
        """What this keyring is called, None where there is none."""
        return await self._ask(_words)

    async def get(self, user: str) -> str | None:
        return await self._ask(lambda: _backend().get_password(APPLICATION, user))

    async def set(self, user: str, text: str) -> None:
        await self._ask(lambda: _backend().set_password(APPLICATION, user, text))

    async def delete(self, user: str) -> None:
        """Take the entry out, where there is one."""

        def delete_if_there() -> None:
            if _backend().get_password(APPLICATION, user) is not None:
                _backend().delete_password(APPLICATION, user)

        await self._ask(delete_if_there)

    async def _ask(self, question: Callable[[], T]) -> T:
        if self._hangs:  # it had its time: a second wait and a second thread would bring nothing
            raise self._no_answer()
        try:
            async with asyncio.timeout(self._timeout):
                return await _in_daemon_thread(question)
        except TimeoutError:
            self._hangs = True
            raise self._no_answer() from None
        except Exception as error:
            # Every backend lets the errors of its own library through: D-Bus, Win32, Security.framework.
            raise SecretFault(f"The OS keyring failed ({type(error).__name__}). {_REMEDY}") from error

    def _no_answer(self) -> SecretFault:
        return SecretFault(
            f"The OS keyring did not answer within {self._timeout:g} s; it may be locked. {_REMEDY}"
        )


def _backend() -> "KeyringBackend":
    # The import loads every backend there is, and some of them call D-Bus: slow, and it too may hang.
    import keyring  # noqa: PLC0415

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
    """
    Whether it is worth asking: on a server with Linux there is no keyring, and keyring takes 10 MB to say so.

    There it reaches all of its own by D-Bus. Others come with other packages, or are named by the user.
    """
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
    """The answer to *question*. asyncio's own threads would be waited for at the end of the process."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: Exception | None) -> None:
        if answer.done():  # cancelled: nobody waits any more
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(result)  # type: ignore[arg-type]  # a T whenever there is no error

    def work() -> None:
        result, failure = None, None
        try:
            result = question()
        except Exception as error:  # noqa: BLE001  # raised again where the answer is awaited
            failure = error
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=work, name="keyring", daemon=True).start()
    return await answer
