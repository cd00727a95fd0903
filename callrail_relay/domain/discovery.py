"""What CallRail has to choose from: accounts, companies, and numbers that can text."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class AccountEntry:
    """An account that the key can see. *numeric_id* is the nine-digit number that CallRail's pages show."""

    id: str
    name: str
    numeric_id: str | None


@dataclass(frozen=True, slots=True)
class CompanyEntry:
    id: str
    name: str
    time_zone: str | None


@dataclass(frozen=True, slots=True)
class NumberEntry:
    """A tracking number that can send texts. *pooled* ones belong to a session pool and may be recycled."""

    number: str
    name: str
    company_id: str
    pooled: bool


class Discovery(Protocol):
    """Whoever can ask CallRail for these. All raise RefusedByCallRail and Unavailable."""

    async def accounts(self) -> list[AccountEntry]: ...

    async def companies(self, account_id: str) -> list[CompanyEntry]: ...

    async def numbers(self, account_id: str, company_id: str | None = None) -> list[NumberEntry]: ...
