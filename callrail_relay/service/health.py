"""The checks of ``doctor``, ``/readyz`` and the dashboard."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from callrail_relay.clock import Cached, Clock
from callrail_relay.domain import sentences_from
from callrail_relay.domain.health import LITTLE_SPACE, CheckResult, Code, Condition, Facts, judge
from callrail_relay.domain.message import instant
from callrail_relay.domain.routing import Discovery, Route
from callrail_relay.errors import RefusedByCallRail, RelayError, Unavailable, Waiting
from callrail_relay.outbox import budget, times
from callrail_relay.outbox.store import Store
from callrail_relay.sentences import at, plural, point_words, roughly, span
from callrail_relay.service.background import Refused
from callrail_relay.service.operations import Operations

PROBE_INTERVAL = timedelta(seconds=1)  # anyone may ask about the store, and must not keep the disk busy


RELAY = "relay"  # the check of whether a ``serve`` works on the store now
PUBLIC_ADDRESS = "public address"
_KNOWN = (RELAY, PUBLIC_ADDRESS, "accounts", "texts")  # the verdict knows these itself, and newer


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthReport:
    findings: tuple[CheckResult, ...]

    @property
    def exit_code(self) -> int:
        """Return the code of the first check that failed."""
        return next((one.exit_code for one in self.findings if one.exit_code), 0)

    def failed_checks(self) -> list[CheckResult]:
        """Return what failed, for the verdict."""
        return [one for one in self.findings if one.condition is Condition.FAILED and one.name not in _KNOWN]

    def document(self) -> dict[str, Any]:
        return {"ok": self.exit_code == 0, "checks": [finding.document() for finding in self.findings]}


says = sentences_from(__package__, "health")  # what a check found, as `doctor` and the dashboard show it


class CheckWarning(RelayError):
    """Raised by a check for something worth knowing that keeps no text from being sent."""


# Returns a sentence if all is well; otherwise raises CheckWarning, or another RelayError.
Check = Callable[[], Awaitable[str]]
Checks = Sequence[tuple[str, Check]]  # by name


async def run_checks(checks: Checks) -> HealthReport:
    """Run every check, no matter what earlier ones found."""
    findings = []
    for name, check in checks:
        exit_code = 0
        try:
            condition, detail = Condition.OK, await check()
        except CheckWarning as warning:
            condition, detail = Condition.WARNING, str(warning)
        except RelayError as error:
            condition, detail, exit_code = Condition.FAILED, str(error), error.exit_code
        findings.append(CheckResult(name=name, condition=condition, detail=detail, exit_code=exit_code))
    return HealthReport(findings=tuple(findings))


def store_probe(store: Store, refused: Refused) -> Callable[[], Awaitable[bool]]:
    """Return a check of whether the store can be written; *refused* gets errors reported nowhere else."""

    async def write() -> bool:
        try:
            await store.write_probe()
        except Exception as error:  # noqa: BLE001 - the relay goes on, and says that it can't write
            if not isinstance(error, Unavailable):
                refused(f"the database can't be written to: {type(error).__name__}")
            return False
        return True

    answer = Cached(write, PROBE_INTERVAL, store.clock)

    async def writable() -> bool:
        """Write to the store, at most once in PROBE_INTERVAL; False also if any other write failed since."""
        return await answer.get() and not store.write_failed

    return writable


NO_SPACE = 20 * 1024 * 1024
ANSWER_AGE = timedelta(minutes=15)
CLOCK_MARGIN = timedelta(minutes=1)
POLL_MARGIN = timedelta(minutes=5)  # a poll for replies takes a while, and may wait its turn


async def check_store(store: Store) -> str:
    """Check that the store can be written, and that no message in it is later than the clock."""
    now, latest = await store.now(), await store.read(times.latest_instant)
    await store.write_probe()
    if latest > now + CLOCK_MARGIN:
        raise CheckWarning(says("clock", store=store.name, latest=instant(latest), now=instant(now)))
    return says("writable", store=store.name)


def _raise_first(facts: Facts, errors: Mapping[Code, type[RelayError]]) -> None:
    """Raise what the verdict says, if it has one of these points."""
    for point in judge(facts):
        if error := errors.get(point.code):
            raise error(point_words(point, facts))


async def check_relay(read: Callable[[], Awaitable[Facts]]) -> str:
    """Check that a relay is running, and uses the settings as they are now."""
    facts = await read()
    _raise_first(facts, {Code.NOT_RUNNING: Unavailable, Code.NEEDS_RESTART: CheckWarning})
    nodes = len(facts.running.nodes)
    return says("running") if nodes == 1 else says("running_several", count=nodes)


def check_space(free_bytes: int, directory: str) -> str:
    megabytes = free_bytes // (1024 * 1024)
    if free_bytes < NO_SPACE:
        raise Unavailable(says("no_space", directory=directory, megabytes=megabytes))
    if free_bytes < LITTLE_SPACE:
        raise CheckWarning(says("little_space", directory=directory, megabytes=megabytes))
    return says("space", directory=directory, megabytes=megabytes)


async def check_routes(discovery: Discovery, routes: Sequence[Route]) -> str:
    """Check that every account, company and number in the settings is known to the key and can text."""
    accounts = await discovery.accounts()
    visible = {entry.id for entry in accounts} | {entry.numeric_id for entry in accounts}
    for route in routes:
        if route.account_id not in visible:
            raise RefusedByCallRail(says("no_account", account=route.account_id))
        companies = await discovery.companies(route.account_id)
        if route.company_id not in {entry.id for entry in companies}:
            raise RefusedByCallRail(says("no_company", account=route.account_id, company=route.company_id))
        numbers = await discovery.numbers(route.account_id, route.company_id)
        if route.tracking_number not in {entry.number for entry in numbers}:
            end = route.tracking_number[-4:]
            raise RefusedByCallRail(says("no_number", company=route.company_id, end=end))
    used = {route.account_id for route in routes}
    for entry in accounts:
        if len({entry.id, entry.numeric_id} & used) > 1:
            raise CheckWarning(says("two_names", account=entry.id))
    return says("callrail", numbers=plural(len(routes), "number"))


def check_clock(words: str, ahead: timedelta) -> str:
    """Check this computer's clock, which CallRail's is *ahead* of, as *words* say."""
    if abs(ahead) > CLOCK_MARGIN:
        by, way = roughly(abs(ahead).total_seconds()), "slow" if ahead > timedelta() else "fast"
        raise CheckWarning(says("clock_is_off", words=words, by=by, way=way))
    return words


class Remembered(Cached[str | CheckWarning]):
    """A check that asks CallRail; repeated after a failure, or when its result is ANSWER_AGE old."""

    def __init__(self, check: Check, clock: Clock) -> None:
        async def find() -> str | CheckWarning:
            try:
                return await check()
            except CheckWarning as warning:
                return warning

        super().__init__(find, ANSWER_AGE, clock)

    async def __call__(self) -> str:
        is_new, found = self.is_old(), await self.get()
        words = str(found) if is_new else says("asked", answer=found, at=self.read_at)
        if isinstance(found, CheckWarning):
            raise CheckWarning(words)
        return words


def check_replies(
    keys: int, source: str | None, every: timedelta | None, ago: timedelta | None, channels: int
) -> str:
    """
    Check that replies come in, so a STOP holds the next text.

    CallRail signs them with *keys* from *source*, or they're polled every so often, last a while *ago*.
    """
    if not keys and every is None:
        raise CheckWarning(says("no_replies"))
    are_read = every is not None and ago is not None and ago <= every * 2 + POLL_MARGIN
    known = says("signing_keys", keys=plural(keys, "key"), source=source) if keys else ""
    passed = says("forwarded", channels=plural(channels, "channel")) if channels else ""
    often = "" if every is None else span(every.total_seconds())
    if every is None:
        words = says("not_polled")
    elif ago is None:
        words = says("not_read", every=often)
    else:
        words = says("read" if are_read else "read_long_ago", ago=roughly(ago.total_seconds()), every=often)
    sentences = " ".join(filter(None, (known, words, passed)))
    if not are_read:
        raise CheckWarning(sentences)
    return sentences


async def check_accounts(operations: Operations) -> str:
    facts = await operations.facts()
    errors = {Code.PAUSED: Waiting, Code.UNREACHABLE: Unavailable, Code.FOREIGN_ACCOUNT: CheckWarning}
    _raise_first(facts, errors)
    if not operations.account_ids:
        raise CheckWarning(says("not_tried"))
    accepted = await operations.store.read(budget.last_accepted, operations.account_ids)
    proof = says("not_proven") if accepted is None else says("proven", at=at(accepted, facts.now))
    return says("not_paused", proof=proof)


async def check_waiting(operations: Operations) -> str:
    _raise_first(await operations.facts(), {Code.NEEDS_REVIEW: CheckWarning})
    return says("no_review")
