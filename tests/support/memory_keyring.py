"""An OS keyring that works, and keeps nothing."""

from collections.abc import Callable, Iterator

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.errors import PasswordDeleteError


class MemoryKeyring(KeyringBackend):
    """A keyring that forgets; a test may say what happens before it answers."""

    priority = 1
    name = "Memory"

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # keyring has no annotation there
        self.entries: dict[tuple[str, str], str] = {}
        self.before: Callable[[], object] = lambda: None

    def get_password(self, service: str, username: str) -> str | None:
        self.before()
        return self.entries.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.before()
        self.entries[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        self.before()
        if self.entries.pop((service, username), None) is None:
            raise PasswordDeleteError


@pytest.fixture
def memory() -> Iterator[MemoryKeyring]:
    """The OS keyring of a test, which works."""
    memory, before = MemoryKeyring(), keyring.get_keyring()
    keyring.set_keyring(memory)
    yield memory
    keyring.set_keyring(before)
