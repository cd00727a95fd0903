"""Everything CallRail would know, starting with one account, company and tracking number."""

import string
from dataclasses import replace
from datetime import timedelta
from itertools import count
from random import Random, SystemRandom

from callrail_relay.callrail.simulator import records
from callrail_relay.callrail.simulator.faults import Fault, Faults
from callrail_relay.callrail.simulator.records import Direction
from callrail_relay.callrail.simulator.webhooks import Webhooks
from callrail_relay.clock import Clock
from callrail_relay.errors import NotFound, UsageError

# https://support.callrail.com/hc/en-us/articles/11491614252045
STOP_WORDS = frozenset({"STOP", "END", "CANCEL", "UNSUBSCRIBE", "QUIT"})
START_WORDS = frozenset({"START", "YES"})


class Simulator:
    """
    The state of one CallRail.

    ``read_only`` is how a key starts until write access is switched on. ``max_characters`` is the longest
    text that is accepted: CallRail documents 140 and has accepted 1,591. Both may be changed while it runs.
    """

    def __init__(self, *, clock: Clock, api_key: str, random: Random | None = None) -> None:
        self.clock = clock
        self.api_key = api_key
        self.random = random or SystemRandom()
        self.read_only = False
        self.max_characters = 1591
        self.webhooks = Webhooks(clock)
        self.faults = Faults(clock, self.random)
        self.integrations: dict[str, records.Integration] = {}  # by company
        self.conversations: dict[str, records.Conversation] = {}
        self.conversations_by_customer: dict[tuple[str, str], records.Conversation] = {}
        self.texts: list[records.Text] = []
        self.opted_out: set[tuple[str, str]] = set()
        self._threads: dict[tuple[str, str], str] = {}
        self._message_ids = count(11111)

        self.account_id, self.company_id = new_id("ACC", 1), new_id("COM", 1)
        self.tracking_number = "+12025550133"
        created_at = clock.now() - timedelta(days=60)
        account = records.Account(
            id=self.account_id, numeric_id=123456789, name="Example Account", created_at=created_at
        )
        company = records.Company(
            id=self.company_id,
            account_id=account.id,
            name="Example Co",
            created_at=created_at,
            signing_key="example-signing-key-1",
        )
        tracker = records.Tracker(
            id=new_id("TRK", 1), company=company, name="Main line", tracking_numbers=(self.tracking_number,)
        )
        self.accounts = {account.id: account}
        self.companies = {company.id: company}
        self.trackers = {tracker.id: tracker}

    def fault(self, *faults: Fault) -> None:
        """Let these things go wrong from now on, after the ones that are there already."""
        self.faults.extend(map(replace, faults))

    def opt_out(self, recipient: str, tracking_number: str | None = None) -> None:
        """Opt the person out of this number, or of all numbers. Raises NotFound."""
        numbers = {number for tracker in self.trackers.values() for number in tracker.tracking_numbers}
        if tracking_number is not None:
            self.tracker_of(tracking_number)
            numbers = {tracking_number}
        customer = _customer(recipient)
        self.opted_out |= {(number, customer) for number in numbers}

    def receive(self, recipient: str, content: str, *, tracking_number: str | None = None) -> records.Message:
        """
        Receive a text from the person on one of our numbers, the first one unless named. Raises NotFound.

        A stop word alone opts them out of texts from that number; START or YES alone opts them in again.
        """
        number, customer = tracking_number or self.tracking_number, _customer(recipient)
        word = content.strip().upper()
        message = self.record(number, customer, content, "incoming")
        if word in STOP_WORDS:
            self.opted_out.add((number, customer))
        elif word in START_WORDS:
            self.opted_out.discard((number, customer))
        return message

    def write(self, recipient: str, content: str, *, tracking_number: str | None = None) -> records.Message:
        """Add a text that a person sent from CallRail's own page; it counts toward the limits."""
        number = tracking_number or self.tracking_number
        account = self.accounts[self.tracker_of(number).company.account_id]
        account.texts.spend(self.clock.now())
        return self.record(number, _customer(recipient), content, "outgoing", agent="Pat Example")

    def record(
        self, number: str, customer: str, content: str, direction: Direction, *, agent: str | None = None
    ) -> records.Message:
        """Put one text into its conversation."""
        tracker = self.tracker_of(number)
        conversation = self.conversations_by_customer.get((tracker.company.id, customer))
        if conversation is None:
            conversation = records.Conversation(
                id=self._conversation_id(), company=tracker.company, customer=customer
            )
            self.conversations[conversation.id] = conversation
            self.conversations_by_customer[tracker.company.id, customer] = conversation
        # One thread for a conversation's texts over one tracking number.
        thread = self._threads.setdefault((conversation.id, number), new_id("SMT", len(self._threads) + 1))
        message = records.Message(
            id=next(self._message_ids),
            direction=direction,
            content=content,
            created_at=self.clock.now(),
            thread_id=thread,
            tracker=tracker,
            tracking_number=number,
            agent=agent,
        )
        conversation.messages.append(message)
        if integration := self.integrations.get(tracker.company.id):
            self.webhooks.post(integration, conversation, message)
        return message

    def find_account(self, account_id: str) -> records.Account | None:
        """Return the account by its ACC id or its nine-digit number, since paths have either."""
        named = (one for one in self.accounts.values() if account_id in {one.id, str(one.numeric_id)})
        return next(named, None)

    def tracker_of(self, number: str) -> records.Tracker:
        for tracker in self.trackers.values():
            if number in tracker.tracking_numbers:
                return tracker
        raise NotFound("The simulator has no such tracking number. Add a tracker first.")

    def _conversation_id(self) -> str:
        """Return five letters and digits without a prefix, as seen on 2026-04-07."""
        while True:
            conversation_id = "".join(self.random.choices(string.ascii_lowercase + string.digits, k=5))
            if conversation_id not in self.conversations:
                return conversation_id


def _customer(recipient: object) -> str:
    number = records.normalize(recipient)
    if number is None:
        raise UsageError("The recipient is not a North American number. Write it as +12025550122.")
    return number


def new_id(prefix: str, number: int) -> str:
    """Return an id like CallRail's: a prefix of three letters and 32 hexadecimal digits."""
    return f"{prefix}{number:032x}"
