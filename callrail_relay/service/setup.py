"""Which account, company and number texts are sent from."""

import re
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

from callrail_relay.domain.phone import BadPhone, normalize
from callrail_relay.domain.routing import Discovery, Route, Routes
from callrail_relay.errors import RefusedByCallRail, SecretError, UsageError
from callrail_relay.outbox import opt_outs
from callrail_relay.outbox.store import Store
from callrail_relay.service import sentence

# People copy the whole header, from their Zap or another service. \x16 is a Ctrl-V that didn't paste.
_HEADER = re.compile(r"(?:Authorization:\s*)?(?:Token\s+token=|Bearer\s+)?", re.IGNORECASE)
_AROUND = "\"'`\N{LEFT DOUBLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK} \r\n\t\x16\N{BYTE ORDER MARK}"


@dataclass(frozen=True, slots=True)
class Choice:
    value: str  # what the settings will contain
    name: str
    note: str = ""
    alias: str | None = None  # its other value

    @property
    def line(self) -> str:
        return f"{self.value}  {self.name} {self.note}".rstrip()


@dataclass(frozen=True, slots=True)
class Question:
    what: str
    plural: str
    option: str  # answers it in advance
    choices: tuple[Choice, ...]
    when_none: str  # the error if there are no choices

    def in_advance(self, given: str | None) -> tuple[Choice, str] | None:
        """Return the choice *given*, or the only one, and why; None if a person must choose."""
        if not self.choices:
            raise RefusedByCallRail(self.when_none)
        if given is not None:
            if (choice := self.find(given)) is None:
                raise RefusedByCallRail(
                    sentence("not_listed", what=self.what, given=given.strip(), option=self.option)
                )
            return choice, f"as given with {self.option}"
        return (self.choices[0], "the only one there is") if len(self.choices) == 1 else None

    def find(self, name: str) -> Choice | None:
        """Return the choice with this value or alias, or the only one with this name, in any spelling."""
        wanted = _comparable(name)
        by_value = [one for one in self.choices if wanted in map(_comparable, (one.value, one.alias or ""))]
        found = by_value or [one for one in self.choices if wanted == _comparable(one.name)]
        return found[0] if wanted and (by_value or len(found) == 1) else None

    def answered(self, answer: str) -> Choice | None:
        """Return the choice by its place in the list (from 1), value or name; a name's beginning will do."""
        place = answer.strip()
        if place.isascii() and place.isdigit() and 1 <= int(place) <= len(self.choices):
            return self.choices[int(place) - 1]
        wanted = _comparable(answer)
        begun = [one for one in self.choices if wanted and _comparable(one.name).startswith(wanted)]
        return self.find(answer) or (begun[0] if len(begun) == 1 else None)


async def ask_for_account(discovery: Discovery) -> Question:
    choices = []
    for entry in await discovery.accounts():
        number = f"(account number {entry.numeric_id})" if entry.numeric_id else ""
        choices.append(Choice(entry.id, entry.name, number, alias=entry.numeric_id))
    when_none = sentence("no_account")
    return Question("account", "accounts", "--account-id", tuple(choices), when_none)


async def ask_for_company(discovery: Discovery, account_id: str) -> Question:
    choices = [Choice(entry.id, entry.name) for entry in await discovery.companies(account_id)]
    when_none = sentence("no_company", account_id=account_id)
    return Question("company", "companies", "--company-id", tuple(choices), when_none)


async def ask_for_number(discovery: Discovery, account_id: str, company_id: str) -> Question:
    choices = []
    for entry in await discovery.numbers(account_id, company_id):
        pooled = "(from a session pool: CallRail may reassign it)" if entry.pooled else ""
        choices.append(Choice(entry.number, entry.name, pooled))
    when_none = sentence("no_number", company_id=company_id)
    return Question("tracking number", "tracking numbers", "--tracking-number", tuple(choices), when_none)


def read_key(pasted: str) -> str:
    """Return the API key that a person typed: alone, quoted, or in its header. Raises SecretError."""
    key = _HEADER.sub("", pasted.strip(_AROUND), count=1).strip(_AROUND)
    if not key:
        raise SecretError(sentence("empty_key"))
    # It becomes part of a header, between quotes.
    if not all("!" <= character <= "~" and character not in '"\\' for character in key):
        raise SecretError(sentence("odd_key"))
    return key


def _comparable(name: str) -> str:
    """Return a phone number as E.164; an id in one case, and without the dashes of CallRail's pages."""
    try:
        return normalize(name)
    except BadPhone:
        return re.sub(r"[\s-]", "", name).casefold()


@dataclass(slots=True)
class Names:
    """What CallRail calls the companies, by id, and its numbers that can text."""

    companies: dict[str, str] = field(default_factory=dict)
    numbers: dict[Route, str] = field(default_factory=dict)


async def read_names(discovery: Discovery, account_ids: Sequence[str]) -> Names:
    """Read the names. Raises RefusedByCallRail and Unavailable."""
    names = Names()
    for account_id in account_ids:
        names.companies |= {one.id: one.name for one in await discovery.companies(account_id)}
        for number in await discovery.numbers(account_id):
            if number.company_id:
                names.numbers[Route(account_id, number.company_id, number.number)] = number.name
    return names


Ask = Callable[[], AbstractAsyncContextManager[Discovery]]  # opens a connection to CallRail


async def find_sending_route(number: str, routes: Routes, store: Store, ask: Ask) -> Route:
    """Return the route of *number*: one of *routes*, one looked up before, or what CallRail says."""
    known: list[Route] = [*routes, *await store.read(opt_outs.known_numbers, routes.account_ids)]
    found = next((route for route in known if route.tracking_number == number), None)
    if found is not None:
        return found
    async with ask() as discovery:
        for account_id in routes.account_ids:
            for entry in await discovery.numbers(account_id):
                if entry.number == number and entry.company_id:
                    found = Route(account_id, entry.company_id, number)
                    numbers = {route.tracking_number for route in known}
                    await store.write(opt_outs.remember_number, found, numbers)
                    return found
    raise UsageError(sentence("no_such_number", number=number, accounts=" or ".join(routes.account_ids)))


async def cover_new_numbers(store: Store, ours: Sequence[str]) -> None:
    """Opt those who opted out of all numbers in the settings out of numbers that were added since."""
    new = await store.read(opt_outs.new_numbers, ours)
    known = set(ours) - set(new)
    for number in new if known else ():
        await store.write(opt_outs.copy_opt_outs, number, known)
