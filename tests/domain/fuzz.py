"""
Throws bytes at the mapping: whatever comes, it never raises, and no body that is taken needs 100 ms.

    python -m tests.domain.fuzz --minutes 10 --seed 7

Inputs begin as real requests and are changed at random; one that makes the mapping say something new is
changed further. Prints what it found, with the input to try again, and ends with 1 if that is anything.
"""

# ruff: noqa: RUF001, T201 - the marks that people use; it reports to the person who started it

import argparse
import base64
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

from callrail_relay.domain.account import Limits
from callrail_relay.domain.mapper import (
    MappingPolicy,
    NewSubmission,
    RawSubmission,
    StoredSubmission,
    map_saved,
    map_stored,
    map_webhook,
    new_submission,
    repeat_key,
)
from callrail_relay.domain.message import Source
from callrail_relay.domain.payload import MOST_ENTRIES, is_storable
from callrail_relay.domain.routing import Route, RouteRule, Routes
from callrail_relay.sentences import explain
from callrail_relay.web.public import LARGEST_BODY
from tests.support.clock import START
from tests.support.policies import guard_policy

SAMPLES = Path(__file__).parent.parent / "data" / "if3"
FORM = "application/x-www-form-urlencoded"
CHARSETS = [
    "utf-8",
    "utf-8-sig",
    "utf-16",
    "utf-16-le",
    "utf-32-be",
    "cp1252",
    "cp932",
    "iso2022_jp",
    "gb18030",
]
TYPES = [
    None,
    "application/json",
    FORM,
    "text/plain",
    "multipart/form-data; boundary=b",
    *(
        f"{kind}; charset={name}"
        for kind in ("application/json", FORM)
        for name in (*CHARSETS, "latin1", "x")
    ),
]
TOKENS = [
    *b'{ } [ ] " , : & = % + ; ? < \\ \n \r \0 \x1b - . 0'.split(b" "),
    *b"&message= &seller_phone= message seller_phone seller_phone_non_international seller team_id".split(),
    *b"%26 %00 %E2%80%99 %F0%9F %zz + &amp; https://example.com/?a=1&b=2 Smith&Sons {{name}} [[".split(),
    *b'null true NaN 1e400 -0 2025550122 "+12025550122" "\\ud83d" \\u0000 {"message": '.split(),
    *b'{"body": "query": {"json": {"payload": "rawRequest" "content" "headers":{} "raw_body" '.split(),
    b'"data":[',
    *(mark.encode() for mark in "“”’é😀\u200d\u0301\u200b\ufeff\u2028﷽Ⅷ٣１"),
    *(b"\xff", b"\xc3", b"\xe2\x80", b"\xf0\x9f\x98", b"\xed\xa0\x80", b"\xff\xfe", b"\0\0\xfe\xff"),
]

ROUTE = Route("ACC1", "COM1", "+12025550133")
POLICY = MappingPolicy(
    routes=Routes(rules=(RouteRule(ROUTE, team_id="42"), RouteRule(ROUTE, sender_id="789")), default=ROUTE),
    guards=guard_policy(),
    max_characters=140,
    limits=Limits(150, 1000),
)


@dataclass(frozen=True, slots=True)
class Input:
    body: bytes
    content_type: str | None = None
    query: str = ""

    def __str__(self) -> str:
        data = base64.b64encode(self.body).decode()
        shown = data if len(data) <= 400 else f"{data[:400]}… ({len(self.body)} bytes)"
        return f"{self.content_type!r} {self.query[:100]!r} base64 {shown}"


@dataclass(slots=True)
class Report:
    """What was found; *limit* is how many seconds of work an input may take."""

    limit: float
    tried: int = 0
    kept: int = 0
    slowest: float = 0.0
    slowest_input: Input | None = None
    faults: list[str] = field(default_factory=list)


def fuzz(random: Random, goes_on: Callable[[int], bool], *, limit: float) -> Report:
    """Try inputs as long as *goes_on* says so, which gets how many were tried."""
    report = Report(limit)
    corpus = list(_seeds())
    known: set[object] = set()
    fresh = list(corpus)
    while goes_on(report.tried):
        # The seeds first, then changes of what is known.
        tried = fresh.pop() if fresh else _changed(random, random.choice(corpus), corpus)
        report.tried += 1
        feature = _try(tried, report)
        if feature not in known:
            known.add(feature)
            corpus.append(tried)
    report.kept = len(known)
    return report


def _try(tried: Input, report: Report) -> object:
    """Map *tried* in every way there is; what it made the mapping say tells whether it is something new."""
    try:
        mapped, seconds = _timed(tried, report.limit)
        if seconds > report.slowest:
            report.slowest, report.slowest_input = seconds, tried
        if seconds > report.limit:
            report.faults.append(f"took {seconds * 1000:.0f} ms: {tried}")
        drafts, skipped = map_saved(tried.body, POLICY, START)
        stored = StoredSubmission(
            id="id",
            source=Source.WEBHOOK,
            body=tried.body,
            content_type=tried.content_type,
            query=tried.query,
            message_ids=(),
        )
        again = map_stored(stored, POLICY, START)
        repeat_key(tried.query, tried.body, tried.query)
    except Exception as error:  # noqa: BLE001 - that is what is looked for
        report.faults.append(f"{type(error).__name__}: {error}: {tried}")
        return type(error)
    if [message.draft for message in mapped.messages] != again:
        report.faults.append(f"mapped otherwise the second time: {tried}")
    reasons = [reason for message in mapped.messages for reason in message.verdict.reasons]
    for draft in (*again, *drafts):
        values = (
            draft.text,
            draft.recipient,
            draft.seller,
            draft.team_id,
            draft.sender_id,
            draft.opportunity_id,
        )
        if not all(is_storable(value) for value in values if value is not None):
            report.faults.append(f"no database keeps what it became: {tried}")
    if any(reason.code == "internal" for reason in reasons):
        report.faults.append(f"a fault of our own: {tried}")
    told = frozenset((reason.code, *explain(reason).split()[:6]) for reason in (*reasons, *skipped))
    return told, min(len(mapped.messages), 3), min(len(drafts), 3)


def _timed(tried: Input, limit: float) -> tuple[NewSubmission, float]:
    """
    What it is mapped to, and the work that took: the least of five times, since others share the processor.
    """
    raw = RawSubmission(id="id", body=tried.body, content_type=tried.content_type, query=tried.query)
    best = float("inf")
    for _ in range(5):
        began = time.thread_time()
        drafts = map_webhook(
            raw.body, content_type=raw.content_type, query=raw.query or "", routes=POLICY.routes
        )
        mapped = new_submission(raw, Source.WEBHOOK, drafts, POLICY, lambda: "id")
        best = min(best, time.thread_time() - began)
        if best < limit:
            break
    return mapped, best


def _seeds() -> Iterator[Input]:
    for path in sorted(SAMPLES.iterdir()):
        yield Input(path.read_bytes(), FORM if "form" in path.name else "application/json")
    text = "Hi Dana, it’s 50% off & more at https://example.com/?a=1&b=2 👍🏽"
    for kind, body in (
        ("application/json", f'"{{\\"message\\": \\"{text}\\", \\"seller_phone\\": \\"2025550122\\"}}"'),
        ("application/json", f'{{"message": “{text}”, "seller_phone": 2025550122,}}'),
        ("application/json", '[{"json": {"body": {}, "query": {"message": "x"}, "headers": {}}}]'),
        ("application/json", '{"payload": {"message": "Hi"}, "req": {"headers": {}}}'),
        (
            "application/json",
            '{"data": [{"method": "POST", "content": "message=a&b", "headers": {}}], "total": 1}',
        ),
        (FORM, f"message={text}&seller_phone=%2B12025550122&team_id=42"),
        (FORM, "message=Smith&Sons&source=x&seller_phone=2025550122"),
    ):
        for charset in CHARSETS:
            yield Input(body.encode(charset, "replace"), f"{kind}; charset={charset}")
    # The largest of each kind.
    for part in (
        b"[",
        b'{"a":',
        b"&",
        b"a=b&",
        b"0,",
        b"9",
        b" ",
        b"%41",
        b"e\xcc\x81",
        "👨‍👩‍👧".encode(),
        b"Ab. ",
    ):
        filled = part * (LARGEST_BODY // len(part))
        for before, behind in (
            (b"", b""),
            (b"[", b"0]"),
            (b'{"message":"', b'"}'),
            (b"message=", b""),
            (b'{"team_id":', b"}"),
        ):
            room = LARGEST_BODY - len(before) - len(behind)
            content_type = FORM if before == b"message=" else "application/json"
            yield Input(before + filled[:room] + behind, content_type)
    # As many texts as are kept each by itself, and more.
    for one in (b'{"message":"Hi Dana are you still there","seller_phone":"2025550122"},', b'{"message":1},'):
        most = LARGEST_BODY // len(one) - 1
        yield Input(b"[" + one * min(most, MOST_ENTRIES) + b"{}]", "application/json")
        yield Input(b"[" + one * most + b"{}]", "application/json")


def _changed(random: Random, old: Input, corpus: list[Input]) -> Input:
    body = old.body
    for _ in range(random.choice((1, 1, 2, 4, 8))):
        at = random.randint(0, len(body))
        end = min(len(body), at + random.choice((1, 2, 8, 64, 1024)))
        other = random.choice(corpus).body
        start = random.randint(0, len(other))
        here = (
            b"",
            random.choice(TOKENS),
            body[at:end] + random.choice(TOKENS),
            body[at:end] * random.choice((2, 16, 4096)),
            random.choice(TOKENS) * random.choice((2, 64, 8192)),
            random.randbytes(end - at),
            other[start : start + random.choice((8, 64, LARGEST_BODY))],
        )
        body = (body[:at] + random.choice(here) + body[end:])[:LARGEST_BODY]
    chance = random.random()
    if chance < 0.1:
        body = body.decode(errors="replace").encode(random.choice(CHARSETS), "replace")[:LARGEST_BODY]
    if chance < 0.3:
        return Input(body, random.choice(TYPES))
    if chance < 0.35:
        return Input(b"", old.content_type, body.decode("utf-8", "replace"))
    return replace(old, body=body)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--limit", type=float, default=0.1, help="seconds of work that an input may take")
    arguments = parser.parse_args()
    until = time.monotonic() + arguments.minutes * 60
    report = fuzz(Random(arguments.seed), lambda _: time.monotonic() < until, limit=arguments.limit)
    print(f"{report.tried} inputs, {report.kept} kinds of answers")
    print(f"slowest, {report.slowest * 1000:.1f} ms of work: {report.slowest_input}")
    for fault in report.faults[:50]:
        print(f"FOUND {fault}")
    print(f"{len(report.faults)} faults")
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
