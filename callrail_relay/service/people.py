"""Signing in with a name and a password, and the people who can."""

import asyncio
import hashlib
import hmac
import secrets
import unicodedata
from collections.abc import Mapping

from callrail_relay.domain.people import LONGEST_PASSWORD, Person, Tries, name_key, read_name, read_password
from callrail_relay.errors import NotAllowed
from callrail_relay.outbox import people
from callrail_relay.outbox.store import Store
from callrail_relay.service.tokens import new_token

COST = {"n": 2**15, "r": 8, "p": 3, "maxmem": 2**26}  # as OWASP recommends: 32 MiB, about a fifth of a second
FREE_TRIES, FREE_TRIES_OF_ADDRESS = 5, 20  # several people may share an address
BY_LINK = ""  # the name of a person who signs in by a link


class People:
    """Who may use the dashboard. All of it, except wrong passwords, is in the store, for all nodes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tries = Tries()
        self._turns = asyncio.Semaphore(2)

    async def all(self) -> list[Person]:
        return await self._store.read(people.read_people)

    async def by_link(self) -> Person | None:
        """Return the person who signs in by a link. Only the first sign-in needs to write to the store."""
        found = await self._store.read(people.find_person, BY_LINK)
        return found or await self._store.write(people.add_person, BY_LINK, "", new_token())

    async def sign_in(self, name: str, password: str, address: str) -> Person | None:
        """Return the person with this name and password; None takes as long. Raises TooManyTries."""
        limits = {f"name {name_key(name)}": FREE_TRIES, f"from {address}": FREE_TRIES_OF_ADDRESS}
        return await self._checked(name, password, limits)

    async def add(self, name: str, password: str) -> Person:
        """Add a person. Raises UsageError, NotAllowed."""
        name, hashed = read_name(name), await self._hashed(read_password(password))
        if (added := await self._store.write(people.add_person, name, hashed, new_token())) is None:
            raise NotAllowed(f"There is a {name} already. Use another name, or remove that person first.")
        return added

    async def change_password(self, name: str, password: str, new: str) -> Person:
        """Change one's own password, which ends one's sessions. Raises UsageError, NotAllowed."""
        read_password(new)
        # Counted separately: others' wrong passwords don't keep a signed-in person from changing theirs.
        if await self._checked(name, password, {f"change {name_key(name)}": FREE_TRIES}):
            hashed = await self._hashed(new)
            if changed := await self._store.write(people.change_password, name, hashed, new_token()):
                return changed
        raise NotAllowed("The current password is wrong. Nothing was changed.")

    async def remove(self, name: str | None = None) -> None:
        """Remove a person, or everyone, also those who signed in by a link; their sessions end."""
        await self._store.write(people.remove, name)

    async def admit(self, name: str, stamp: str) -> bool:
        """Return whether a session of this person goes on."""
        person = await self._store.read(people.find_person, name)
        return person is not None and person.stamp == stamp

    async def end_sessions(self) -> str:
        """End all sessions, and return the stamp of new ones."""
        await self._store.write(people.end_sessions, stamp := new_token())
        return stamp

    async def _checked(self, name: str, password: str, limits: Mapping[str, int]) -> Person | None:
        self._tries.begin(limits, self._store.clock.monotonic())
        person = await self._store.read(people.find_person, name)
        known = person.password if person else ""
        if not hmac.compare_digest(await self._hashed(password, known), known):
            return None
        self._tries.forgive(limits, self._store.clock.monotonic())
        return person

    async def _hashed(self, password: str, like: str = "") -> str:
        """Hash it like another one, or with a new salt; in a thread, two at a time: it takes memory."""
        async with self._turns:
            return await asyncio.to_thread(_hash, password, like)


def _hash(password: str, like: str) -> str:
    salt = like.split("$")[1] if like else secrets.token_hex(16)
    # Keyboards write one accent in two ways. What is longer than any password matches none.
    typed = unicodedata.normalize("NFC", password[: LONGEST_PASSWORD + 1]).encode()
    return f"scrypt${salt}${hashlib.scrypt(typed, salt=bytes.fromhex(salt), **COST).hex()}"
