"""Everything CallRail would know."""

import string
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from random import Random
from typing import Literal

from callrail_relay.callrail.simulator.faults import Fault, FaultBook
from callrail_relay.callrail.simulator.records import (
    Account,
    Bucket,
    Company,
    Conversation,
    Direction,
    Draft,
    Integration,
    Message,
    Text,
    Tracker,
    is_north_american,
    is_toll_free,
    normalize,
)
from callrail_relay.callrail.simulator.webhooks import Webhooks
from callrail_relay.clock import Clock
from callrail_relay.errors import NotFound, UsageError

# https://support.callrail.com/hc/en-us/articles/11491614252045
STOP_WORDS = frozenset({"STOP", "END", "CANCEL", "UNSUBSCRIBE", "QUIT"})
START_WORDS = frozenset({"START", "YES"})

# https://apidocs.callrail.com/#rate-limiting
GENERAL_PER_HOUR, GENERAL_PER_DAY = 1_000, 10_000

_FIRST_NUMBER = "+12025550133"
# Away from that of the first number, whose neighbours are everybody's example of a customer.
_FIRST_AREA_CODE = 303
_DESTINATION = "+12025550144"

Unreachable = Literal["landline", "blocked", "do_not_contact"]


@dataclass(slots=True, kw_only=True)
class Simulator:
    """
    The state of one CallRail, with one account, company and tracking number to begin with.

    ``read_only`` is what a key is until write access is switched on. ``max_characters`` is the
    longest text that is taken: CallRail documents 140 and has taken 1,591. ``appends_opt_out``
    switches the wording CallRail adds to a first text without a stop word. All of them may be
    changed while it runs. Set-up asked for something that is not there raises NotFound.
    """

    clock: Clock
    api_key: str
    random: Random = field(default_factory=Random)
    per_hour: int = 150
    per_day: int = 1000
    read_only: bool = False
    max_characters: int = 1591
    appends_opt_out: bool = True

    accounts: dict[str, Account] = field(init=False, default_factory=dict)
    companies: dict[str, Company] = field(init=False, default_factory=dict)
    trackers: dict[str, Tracker] = field(init=False, default_factory=dict)
    integrations: dict[int, Integration] = field(init=False, default_factory=dict)
    conversations: dict[str, Conversation] = field(init=False, default_factory=dict)
    conversations_by_customer: dict[tuple[str, str], Conversation] = field(init=False, default_factory=dict)
    texts: list[Text] = field(init=False, default_factory=list)
    faults: FaultBook = field(init=False)
    webhooks: Webhooks = field(init=False)
    general_limits: dict[str, Bucket] = field(init=False, default_factory=dict)
    text_limits: dict[str, Bucket] = field(init=False, default_factory=dict)
    opted_out: set[tuple[str, str]] = field(init=False, default_factory=set)
    unreachable: dict[str, Unreachable] = field(init=False, default_factory=dict)
    request_ids: Iterator[int] = field(init=False)
    tracking_number: str = field(init=False)

    _numbers: Iterator[str] = field(init=False)
    _message_ids: Iterator[int] = field(init=False)
    _thread_positions: Iterator[int] = field(init=False)

    def __post_init__(self) -> None:
        self.faults = FaultBook(self.random)
        self.webhooks = Webhooks(self.clock)
        self.request_ids = count(1)
        self._numbers = _tracking_numbers()
        self._message_ids = count(11111)
        self._thread_positions = count()
        self.add_account()
        self.add_company()
        self.tracking_number = self.add_tracker(name="Main line").tracking_numbers[0]

    @property
    def account_id(self) -> str:
        return next(iter(self.accounts))

    @property
    def numeric_id(self) -> int:
        return self.accounts[self.account_id].numeric_id

    @property
    def company_id(self) -> str:
        return next(iter(self.companies))

    def add_account(
        self,
        *,
        name: str = "Example Account",
        registered: bool = True,
        per_hour: int | None = None,
        per_day: int | None = None,
    ) -> Account:
        """An account without a company; one that is not *registered* for 10DLC may not send."""
        position = len(self.accounts)
        account = Account(
            id=_id("ACC", position),
            numeric_id=123456789 + position,
            name=name,
            created_at=self.clock.now() - timedelta(days=60),
            registered=registered,
        )
        self.accounts[account.id] = account
        self.general_limits[account.id] = Bucket(GENERAL_PER_HOUR, GENERAL_PER_DAY)
        self.text_limits[account.id] = Bucket(per_hour or self.per_hour, per_day or self.per_day)
        return account

    def add_company(
        self,
        *,
        account_id: str | None = None,
        name: str = "Example Co",
        time_zone: str = "America/Chicago",
        disabled: bool = False,
    ) -> Company:
        """A company of the first account, or of the one named, without any tracker."""
        account = self._account(account_id)
        position = len(self.companies)
        company = Company(
            id=_id("COM", position),
            account_id=account.id,
            name=name,
            time_zone=time_zone,
            signing_key=f"example-signing-key-{position + 1}",
            created_at=account.created_at,
            disabled_at=self.clock.now() if disabled else None,
        )
        self.companies[company.id] = company
        return company

    def add_tracker(
        self,
        *,
        company_id: str | None = None,
        name: str = "Website",
        numbers: tuple[str, ...] = (),
        pool: int = 0,
    ) -> Tracker:
        """
        A tracker that can text, of the first company or the one named.

        Without *numbers* it gets a new one; with *pool* it is a session tracker of so many new numbers.
        """
        company = self._company(company_id)
        tracker = Tracker(
            id=_id("TRK", len(self.trackers)),
            account_id=company.account_id,
            company_id=company.id,
            name=name,
            type="session" if pool else "source",
            tracking_numbers=numbers or tuple(next(self._numbers) for _ in range(pool or 1)),
            destination_number=_DESTINATION,
        )
        self.trackers[tracker.id] = tracker
        return tracker

    def fault(self, *faults: Fault) -> None:
        """Let these things go wrong from now on, after those that are there already."""
        self.faults.add(*faults)

    def spend(self, texts: int, *, account_id: str | None = None) -> None:
        """Take *texts* off the account's limits, as another program on the same account would."""
        self.text_limits[self._account(account_id).id].spend(self.clock.now(), texts)

    def opt_out(self, recipient: str, tracking_number: str | None = None) -> None:
        """The person gets nothing more from this number, or from any number there is."""
        self.opted_out |= self._pairs(recipient, tracking_number)

    def opt_in(self, recipient: str, tracking_number: str | None = None) -> None:
        self.opted_out -= self._pairs(recipient, tracking_number)

    def receive(self, recipient: str, content: str, *, tracking_number: str | None = None) -> Message:
        """
        A text from the person to one of our numbers, the first one unless named.

        One stop word alone opts them out of texts from that number, START or YES alone lifts it.
        """
        draft = self._draft(recipient, content, tracking_number)
        message = self.record(draft, "incoming")
        word = content.strip().upper()
        if word in STOP_WORDS:
            self.opt_out(recipient, draft.tracking_number)
        elif word in START_WORDS:
            self.opt_in(recipient, draft.tracking_number)
        return message

    def write(self, recipient: str, content: str, *, tracking_number: str | None = None) -> Message:
        """A text that a person sent from CallRail's own page; it counts toward the limits."""
        draft = self._draft(recipient, content, tracking_number)
        self.spend(1, account_id=draft.tracker.account_id)
        return self.record(draft, "outgoing", agent="Pat Example")

    def record(self, draft: Draft, direction: Direction, *, agent: str | None = None) -> Message:
        """Put one text into its conversation; *agent* is who sent it from CallRail's own page."""
        conversation = self.conversation_with(draft.tracker.company_id, draft.customer) or self._begin(draft)
        message = Message(
            id=next(self._message_ids),
            direction=direction,
            content=draft.content,
            created_at=self.clock.now(),
            thread_id=self._thread_id(conversation, draft.tracking_number),
            tracker_id=draft.tracker.id,
            tracking_number=draft.tracking_number,
        )
        conversation.messages.append(message)
        for integration in self.integrations.values():
            if integration.company_id == conversation.company_id:
                company = self.companies[conversation.company_id]
                self.webhooks.add(integration.config, company, conversation, message, agent)
        return message

    def conversation_with(self, company_id: str, customer: str) -> Conversation | None:
        return self.conversations_by_customer.get((company_id, customer))

    def find_account(self, account_id: str) -> Account | None:
        """The account by its ACC id or its nine-digit number, since paths have either."""
        if account_id in self.accounts:
            return self.accounts[account_id]
        return next((a for a in self.accounts.values() if str(a.numeric_id) == account_id), None)

    def _draft(self, recipient: str, content: str, tracking_number: str | None) -> Draft:
        number = tracking_number or self.tracking_number
        return Draft(
            tracker=self._tracker_of(number),
            tracking_number=number,
            customer=_customer(recipient),
            content=content,
        )

    def _begin(self, draft: Draft) -> Conversation:
        conversation = Conversation(
            id=self._conversation_id(),
            account_id=draft.tracker.account_id,
            company_id=draft.tracker.company_id,
            customer_phone_number=draft.customer,
            # What caller ID says of most mobile phones.
            customer_name="Wireless Caller",
        )
        self.conversations[conversation.id] = conversation
        self.conversations_by_customer[conversation.company_id, draft.customer] = conversation
        return conversation

    def _thread_id(self, conversation: Conversation, number: str) -> str:
        """The thread of the conversation's texts over one tracking number."""
        for message in conversation.messages:
            if message.tracking_number == number:
                return message.thread_id
        return _id("SMT", next(self._thread_positions))

    def _conversation_id(self) -> str:
        """Five letters and digits without a prefix, as seen on 2026-04-07."""
        while True:
            conversation_id = "".join(self.random.choices(string.ascii_lowercase + string.digits, k=5))
            if conversation_id not in self.conversations:
                return conversation_id

    def _pairs(self, recipient: str, tracking_number: str | None) -> set[tuple[str, str]]:
        numbers = {number for tracker in self.trackers.values() for number in tracker.tracking_numbers}
        if tracking_number is not None:
            self._tracker_of(tracking_number)
            numbers = {tracking_number}
        return {(number, _customer(recipient)) for number in numbers}

    def _account(self, account_id: str | None) -> Account:
        account = self.find_account(account_id or self.account_id)
        if account is None:
            raise NotFound("The simulator has no such account. Add it first.")
        return account

    def _company(self, company_id: str | None) -> Company:
        company = self.companies.get(company_id or self.company_id)
        if company is None:
            raise NotFound("The simulator has no such company. Add it first.")
        return company

    def _tracker_of(self, number: str) -> Tracker:
        for tracker in self.trackers.values():
            if number in tracker.tracking_numbers:
                return tracker
        raise NotFound("The simulator has no such tracking number. Add a tracker first.")


def _customer(recipient: object) -> str:
    number = normalize(recipient)
    if number is None:
        raise UsageError("The recipient is not a North American number. Write it as +12025550122.")
    return number


def _id(prefix: str, position: int) -> str:
    """An id as CallRail's: a prefix of three letters and 32 hexadecimal digits; *position* counts from 0."""
    return f"{prefix}{position + 1:032x}"


def _tracking_numbers() -> Iterator[str]:
    """Numbers set aside for fiction, 555-0100 to 555-0199 of every area code that may text."""
    yield _FIRST_NUMBER
    for area_code in range(_FIRST_AREA_CODE, 1000):
        for line in range(100, 200):
            number = f"+1{area_code}5550{line}"
            if is_north_american(number) and not is_toll_free(number):
                yield number
