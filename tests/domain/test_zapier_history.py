"""Zapier's task history: what it shows as sent is not sent again unseen, and what is old is known as old."""

import csv
import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from callrail_relay.domain.guards import Mode
from callrail_relay.domain.mapper import MappingPolicy, map_saved
from callrail_relay.domain.message import Reason
from callrail_relay.domain.payload import Payload
from callrail_relay.domain.routing import Routes
from callrail_relay.domain.saved import read_saved
from callrail_relay.sentences import explain
from tests.support.factories import make_route
from tests.support.policies import DEFAULT, guard_policy

NOW = datetime(2026, 11, 23, 15, tzinfo=UTC)
TEXT = {"message": "Hi Dana", "seller_phone": "+12025550122", "team_id": 42}
CSV = (
    "Task ID,Zap,Status,Timestamp,1. Message,1. Seller Phone,2. Content\n"
    'a1,IF3,success,2026-11-23T14:50:00Z,"Hi Dana, it\'s me",+12025550122,x\n'
    "a2,IF3,held,2026-11-23T14:55:00Z,Hi Pat,+12025550123,\n"
    "a3,IF3,error,2026-11-20 08:00:00,Hi Lee,+12025550124,\n"
)


MAPPING = replace(DEFAULT.mapping, routes=Routes(default=make_route()))


def codes(document: str | bytes, mapping: MappingPolicy = MAPPING) -> list[tuple[str | None, list[str]]]:
    raw = document.encode() if isinstance(document, str) else document
    drafts, _ = map_saved(raw, mapping, NOW)
    return [(one.text, [reason.code for reason in one.reasons]) for one in drafts]


def test_a_csv_file_is_read_with_its_times() -> None:
    """Sent, held and old: only the second would be sent."""
    assert [
        ("Hi Dana, it's me", ["sent_by_zapier"]),
        ("Hi Pat", []),
        ("Hi Lee", ["too_old"]),
    ] == codes(CSV)
    [first, *_] = read_saved(CSV.encode())
    assert isinstance(first, Payload)
    assert NOW - timedelta(minutes=10) == first.came_at


@pytest.mark.parametrize(
    "run",
    [
        {"status": "success", "date": "2026-11-23T14:00:00Z", "input": TEXT},
        {
            "state": "Success",
            "created_at": 1795442400,
            "steps": [{"output": TEXT}, {"input": {"content": "x"}}],
        },
        {"status": "success", "timestamp": "11/23/2026 2:00 PM", "data": json.dumps({"body": TEXT})},
        {"status": "success", "date": "2026-11-23 14:00", "data": json.dumps(TEXT)},
        {"status": "success", "date": "2026-11-23 14:00", **TEXT},
    ],
)
def test_a_run_is_found_wherever_its_text_is(run: dict[str, object]) -> None:
    """In a list, in an object of results, or alone; an unsuccessful one is a text as any other."""
    failed = {**run, "status": "halted", "state": "halted"}
    for document in ([run, failed], {"results": [run, failed]}):
        assert [("Hi Dana", ["sent_by_zapier"]), ("Hi Dana", [])] == codes(json.dumps(document))
    lines = "\n".join(json.dumps(one) for one in (run, failed))
    assert [("Hi Dana", ["sent_by_zapier"]), ("Hi Dana", [])] == codes(lines)


@pytest.mark.parametrize(
    ("rows", "texts", "remedy"),
    [
        ("held,,+12025550122,Is 9, or 10, good?\nheld,,+12025550123,Yes", 1, "Line 3 has more cells"),
        ("held,,+12025550122,Is 9 good?,\nheld,,+12025550123,Yes\n,,,,,,", 1, "Line 3 has more cells"),
        ('held,,+12025550122,"Is 9 good?\nheld,,+12025550123,Yes', 0, "left over"),
        ('held,,+12025550122,"Is ""9"" "good?\nheld,,+12025550123,Yes', 0, "left over"),
    ],
)
def test_a_csv_file_without_its_quotes_sends_no_part_of_a_text(rows: str, texts: int, remedy: str) -> None:
    """A comma that isn't in quotes would cut the text, a missing quote would add the next row to it."""
    saved = read_saved(f"\r\nStatus,Date,Seller Phone,Message\n{rows}\n".encode())
    skipped = [one for one in saved if isinstance(one, Reason)]
    assert (texts, 1) == (len(saved) - len(skipped), len(skipped))
    assert remedy in explain(skipped[0])


@pytest.mark.parametrize("separator", [";", "\t"])
def test_a_csv_file_may_have_the_separators_of_another_country(separator: str) -> None:
    """Excel writes semicolons where the comma is the decimal point, and tabs as "Unicode text"."""
    rows = csv.reader(io.StringIO(CSV))
    written = "\r\n".join(separator.join(f'"{cell}"' for cell in row) for row in rows)
    assert codes(CSV) == codes(f"\ufeff{written}".encode("utf-16-le"))


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("Success", "sent_by_zapier"),
        ("Zap run successful", "sent_by_zapier"),
        ("Run completed", "sent_by_zapier"),
        ("Finished", "sent_by_zapier"),
        ("Unsuccessful", None),
        ("not sent", None),
        ("Incomplete", None),
        ("Filtered", None),
    ],
)
def test_how_a_run_ended(status: str, code: str | None) -> None:
    """In whatever words; a run whose time is empty is a run as well."""
    for time in ("2026-11-23T14:50:00Z", ""):
        rows = f"Status,Timestamp,Message,Seller Phone\n{status},{time},Hi,+12025550122\n"
        assert [("Hi", [code] if code else [])] == codes(rows)


@pytest.mark.parametrize("ended", [{"status": None}, {"status": ""}, {"status": "", "run_status": "held"}])
def test_a_run_may_not_say_how_it_ended(ended: dict[str, object]) -> None:
    """It is as old as it says, and sent if another of its columns says so."""
    run = {**ended, "date": "2026-11-20 08:00", **TEXT}
    assert [("Hi Dana", ["too_old"])] == codes(json.dumps(run))
    assert [("Hi Dana", ["sent_by_zapier", "too_old"])] == codes(json.dumps(run | {"task_status": "success"}))
    columns = ",".join([*ended, "Date,Message,Seller Phone"])
    cells = ",".join([*(str(one or "") for one in ended.values()), "2026-11-20 08:00,Hi Dana,+12025550122"])
    assert [("Hi Dana", ["too_old"])] == codes(f"{columns}\n{cells}\n")


@pytest.mark.parametrize(
    "time",
    [
        "11/23/2026 14:50:00",
        "11/23/2026 2:50:00 PM",
        "11/23/26 14:50",
        "Nov 23, 2026 02:50:12 PM",
        "Nov 23, 2026 at 2:50pm",
        "11/23/2026, 2:50\u202fPM",
        "2026-11-23 14:50:00 UTC",
    ],
)
def test_times_are_read_as_programs_write_them(time: str) -> None:
    """Zapier, Excel and Google Sheets; what is old is known as old."""
    for day, expected in ("23", []), ("21", ["too_old"]):
        run = {"status": "held", "date": time.replace("23", day, 1), **TEXT}
        assert [("Hi Dana", expected)] == codes(json.dumps(run))


@pytest.mark.parametrize(
    "time",
    [
        *("soon", "23/11/2026 14:50", "46349.62", "5 hours ago"),
        *(
            "0001-01-01T00:00:00Z",
            "1969-12-31 18:00:00",
            "12/31/1969 6:00 PM",
            "9999-12-31T23:59:59Z",
        ),  # "never"
    ],
)
def test_a_time_that_cannot_be_read_is_for_a_person(time: str) -> None:
    """The text may be old; one without a time counts as new."""
    assert [("Hi Dana", ["sent_by_zapier"])] == codes(json.dumps({"status": "success", "date": time, **TEXT}))
    assert [("Hi Dana", ["bad_time"])] == codes(json.dumps({"status": "held", "date": time, **TEXT}))
    for none in (" ", None):
        assert [("Hi Dana", [])] == codes(json.dumps({"status": "held", "date": none, **TEXT}))


@pytest.mark.parametrize("mode", [Mode.OFF, Mode.WARN])
def test_an_age_that_holds_no_text_need_not_be_known(mode: Mode) -> None:
    """Neither what is old nor what may be old is held then."""
    mapping = replace(MAPPING, guards=guard_policy(too_old=mode))
    for time in ("soon", "2026-01-01 08:00"):
        assert [("Hi Dana", [])] == codes(json.dumps({"status": "held", "date": time, **TEXT}), mapping)


def test_a_run_without_a_text_is_said_to_have_none() -> None:
    """Nothing else in it is taken for one."""
    run = {"status": "success", "date": "2026-11-23", "input": {"a": 1}}
    drafts, skipped = map_saved(json.dumps(run).encode(), MAPPING, NOW)
    assert ([], ["not_a_payload"]) == (drafts, [one.code for one in skipped])
