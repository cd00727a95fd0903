"""Beside a Zap: the relay passes requests on and sends nothing, until it takes over in one instant."""

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator

import httpx2
import pytest

from tests.acceptance.program import HOOK_TOKEN, LONGEST, PAYLOAD, Program, Sandbox, Started
from tests.support.zap import PATH, Manner, Taken, Zap, running_zap

KILL = signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL


@pytest.fixture
def zap() -> Iterator[Zap]:
    with running_zap() as zap:
        yield zap


def text(number: int, *, words: str = "Text") -> dict[str, object]:
    return PAYLOAD | {"message": f"{words} {number}", "seller_phone_non_international": None}


def start(program: Program, zap: Zap) -> None:
    shown = program.run("shadow", "start", "--forward-to", zap.url, "--yes")
    assert 0 == shown.returncode, shown.stderr
    assert "secret-of-the-zap" not in shown.stdout


def until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + LONGEST
    while not done():
        assert time.monotonic() < end
        time.sleep(0.05)  # another process has to get there


def test_a_request_is_passed_on_as_it_came_and_nothing_is_sent(
    configured: Program, sandbox: Sandbox, zap: Zap
) -> None:
    """
    Body, query and content type arrive byte for byte, the Zap's answer goes back, and our secret stays here.
    """
    start(configured, zap)
    body = b'{ "message":"Caf\xc3\xa9 \\ud83d\\ude4f", "seller_phone" : "+12025550122","team_id":42 }\r\n'
    with configured.serving() as relay:
        url = f"{relay.public}/hooks/if3/{HOOK_TOKEN}?a=%41&b='x'&c=%20"
        headers = {"Content-Type": "application/json; Charset=UTF-8"}
        answer = httpx2.post(url, content=body, headers=headers, trust_env=False, timeout=LONGEST)
        ping = httpx2.post(url.partition("?")[0], content=b"{}", trust_env=False, timeout=LONGEST)

    assert (200, zap.manner.body) == (answer.status_code, answer.content)
    assert "application/json" == answer.headers["content-type"]
    assert zap.manner.body == ping.content
    [taken, _] = zap.taken
    assert body == taken.body
    assert f"{PATH}?a=%41&b='x'&c=%20" == taken.path
    assert "application/json; Charset=UTF-8" == taken.headers["Content-Type"]
    assert HOOK_TOKEN not in json.dumps([taken.path, taken.headers])
    [message] = configured.json("messages", "list")
    assert ("shadow", None, []) == (message["status"], message["reason"], message["reasons"])
    assert [] == sandbox.texts()
    assert "Shadow mode since" in configured.run("status").stdout
    status = configured.json("shadow", "status")
    assert ("shadow", 0) == (status["mode"], status["waiting"])
    assert "127.0.0.1" in status["forward_to"]
    assert "secret-of-the-zap" not in status["forward_to"]


def test_whatever_a_person_clicks_nothing_is_sent_in_shadow(
    configured: Program, sandbox: Sandbox, zap: Zap
) -> None:
    """Every verb on a text in shadow ends with 4, and so does approving an older one, and `send`."""
    with configured.serving() as relay:
        assert 200 == relay.post(text(0, words="Hi {{first_name}}")).status_code
        start(configured, zap)
        assert 200 == relay.post(text(1, words="Hi {{first_name}}")).status_code
        assert 200 == relay.post(text(2)).status_code
        in_shadow = configured.json("messages", "list", "--status", "shadow")
        assert [None, "merge_tag"] == [
            one["reasons"][0]["code"] if one["reasons"] else None for one in in_shadow
        ]
        for verb in ("approve", "resend", "cancel", "mark-sent", "remap"):
            for one in in_shadow:
                assert 4 == configured.run("messages", verb, one["id"], "--yes").returncode, verb
        [held] = configured.json("messages", "list", "--status", "held")
        refused = configured.run("messages", "approve", held["id"])
        assert 4 == refused.returncode
        assert "shadow end" in refused.stderr
        assert 4 == configured.run("send", "--to", "+12025550123", "--message", "Hi").returncode
        assert [] == sandbox.texts()
        assert 0 == configured.run("shadow", "end", "--yes").returncode
        assert 4 == configured.run("messages", "approve", in_shadow[0]["id"], "--yes").returncode
        assert 0 == configured.run("messages", "approve", held["id"]).returncode
        until(lambda: len(sandbox.texts()) == 1)


def test_what_certainly_did_not_arrive_follows_in_order(configured: Program, zap: Zap) -> None:
    """While the Zap is down IF3 gets our own 200; then all of it arrives, once, in order."""
    start(configured, zap)
    with configured.serving() as relay:
        zap.close()
        for number in range(6):
            answer = relay.post(text(number) | {"seller_phone": f"+1202555010{number % 3}"})
            assert (200, "success") == (answer.status_code, answer.json()["status"])
        assert 6 == configured.json("shadow", "status")["waiting"]
        zap.open()
        # Nothing overtakes what waits for the same person.
        relay.post(text(6) | {"seller_phone": "+12025550100"})
        until(lambda: len(zap.taken) == 7)
    assert [f"Text {number}" for number in range(7)] == zap.words
    assert 0 == configured.json("shadow", "status")["waiting"]


def test_what_may_have_arrived_is_not_passed_on_again(configured: Program, zap: Zap) -> None:
    """Closed without an answer, or a 5xx; an answer that is too large is not IF3's."""
    start(configured, zap)
    with configured.serving() as relay:
        zap.manner = Manner(closes=True)
        assert "success" == relay.post(text(1)).json()["status"]
        zap.manner = Manner(status=502, body=b"Bad", content_type="text/plain")
        assert (502, "Bad") == ((answer := relay.post(text(2))).status_code, answer.text)
        zap.manner = Manner(body=b"x" * 500_000)
        assert {"status", "id", "request_id", "attempt"} == relay.post(text(3)).json().keys()
        zap.manner = Manner(status=302, body=b"", content_type=None, headers=(("Location", zap.url),))
        assert 302 == relay.post(text(4)).status_code
    assert [f"Text {number}" for number in range(1, 5)] == zap.words


def test_what_never_arrived_is_held_when_the_shadow_ends(
    configured: Program, sandbox: Sandbox, zap: Zap
) -> None:
    """A message like any other: a person sends it, or cancels it; everything after the switch is sent."""
    start(configured, zap)
    with configured.serving() as relay:
        zap.close()
        relay.post(text(1))
        relay.post(text(2) | {"seller_phone": "+12025550123"})
        ended = configured.json("shadow", "end", "--yes")
        # One that is being tried at that moment is on hold when the try ends.
        assert ("live", True) == (ended["mode"], ended["held"] in (1, 2))
        again = configured.run("shadow", "end", "--yes")
        assert (4, True) == (again.returncode, "already live" in again.stderr)
        configured.wait_for("held", 2)
        held = configured.json("messages", "list", "--status", "held")
        assert ["not_passed_on"] * 2 == [one["reasons"][0]["code"] for one in held]
        relay.post(text(3))
        until(lambda: len(sandbox.texts()) == 1)
        assert 0 == configured.run("messages", "approve", held[0]["id"], "--yes").returncode
        assert 0 == configured.run("messages", "cancel", held[1]["id"], "--yes").returncode
        until(lambda: len(sandbox.texts()) == 2)
        zap.open()
        assert 0 == configured.run("shadow", "resume", "--yes").returncode
        assert zap.manner.body == relay.post(text(4)).content
    assert ["Text 3", "Text 2"] == [one["content"] for one in sandbox.texts()]
    assert ["Text 4"] == zap.words


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.zapier.com/hooks/catch/1/a",
        "ftp://hooks.zapier.com/a",
        "http://hooks.zapier.com/hooks/catch/1/a",
        "https://user:password@hooks.zapier.com/",
        "https://hooks.zapier.com/a b",
        f"https://texts.example.com/hooks/if3/{HOOK_TOKEN}",
        "http://localhost:8787/hooks/if3/a-former-secret",
    ],
)
def test_an_address_that_cannot_be_right_is_refused(configured: Program, url: str) -> None:
    """Code 2 in one sentence that shows no secret, and nothing is changed."""
    shown = configured.run("shadow", "start", "--forward-to", url)

    assert 2 == shown.returncode, shown.stderr
    assert HOOK_TOKEN not in shown.stderr
    assert "live" == configured.json("shadow", "status")["mode"]


def test_a_loop_is_refused(configured: Program, zap: Zap) -> None:
    """A URL of this relay under another secret is found by asking; what comes back is refused."""
    with configured.serving() as relay:
        own = f"{relay.public}/hooks/if3/a-former-secret"
        shown = configured.run("shadow", "start", "--forward-to", own)
        assert (2, True) == (shown.returncode, "own webhook URL" in shown.stderr)
        start(configured, zap)
        relay.post(text(1))
        mark = {"Via": zap.taken[0].headers["Via"]}
        url = f"{relay.public}/hooks/if3/{HOOK_TOKEN}"
        looped = httpx2.post(url, json=text(2), headers=mark, trust_env=False, timeout=LONGEST)
        assert 421 == looped.status_code
    assert ["Text 1"] == zap.words


def test_a_kill_in_shadow_loses_and_doubles_nothing(configured: Program, sandbox: Sandbox, zap: Zap) -> None:
    """
    What waited goes on after kill -9, and what was under way then is not passed on again.
    """
    start(configured, zap)
    relay: Started
    with configured.serving() as relay:
        zap.close()
        for number in range(5):
            assert 200 == relay.post(text(number)).status_code
        relay.process.send_signal(KILL)
        relay.process.wait()
    zap.open()
    with configured.serving() as relay:
        until(lambda: len(zap.taken) == 5)
        zap.manner = Manner(delay=5)
        with pytest.raises(httpx2.TransportError), httpx2.Client(trust_env=False) as client:
            client.post(f"{relay.public}/hooks/if3/{HOOK_TOKEN}", json=text(5), timeout=0.5)
        until(lambda: len(zap.taken) == 6)
        relay.process.send_signal(KILL)
        relay.process.wait()
    zap.manner = Manner()
    with configured.serving() as relay:
        relay.post(text(6) | {"seller_phone": "+12025550123"})
        until(lambda: len(zap.taken) == 7)
    assert [f"Text {number}" for number in range(7)] == zap.words
    assert [] == sandbox.texts()


def through_callrail(sandbox: Sandbox, *, times: int = 1, cut: int | None = None) -> Callable[[Taken], None]:
    """The second step of a Zap: it posts the text to CallRail."""

    def send(taken: Taken) -> None:
        fields = json.loads(taken.body)
        for _ in range(times):
            sandbox.send_by_others(fields["seller_phone"], fields["message"][:cut])

    return send


def test_the_report_counts_what_was_planted(configured: Program, sandbox: Sandbox, zap: Zap) -> None:
    """A Zap that loses, doubles, cuts, swaps and ignores opt-outs, a killed relay, and the totals of it."""
    words = "Hi Dana, are you still thinking of selling the house? I could come by"
    people = {
        name: f"+120255501{number:02}"
        for number, name in enumerate(("right", "lost", "twice", "short", "swap", "stop", "held"))
    }

    def post(relay: Started, name: str, more: str = "on Tuesday.") -> None:
        changes = {"message": f"{words} {more}", "seller_phone": people[name], "seller": name}
        relay.post(PAYLOAD | changes | {"seller_phone_non_international": None})

    configured.environment |= {"CALLRAIL_RELAY_GUARDS__MASS_TEXT": "off"}
    start(configured, zap)
    opted_out = configured.run("opt-outs", "add", "--recipient", people["stop"])
    assert 0 == opted_out.returncode, opted_out.stderr
    empty = configured.json("shadow", "report")
    assert (0, None) == (empty["counts"]["texts"], empty["since"])
    with configured.serving() as relay:
        zap.manner = Manner(send=through_callrail(sandbox))
        post(relay, "right")
        post(relay, "stop")
        post(relay, "held", "at {{time}}.")
        zap.manner = Manner()
        post(relay, "lost")
        zap.manner = Manner(send=through_callrail(sandbox, times=2))
        post(relay, "twice")
        relay.process.send_signal(KILL)
        relay.process.wait()
    with configured.serving() as relay:
        zap.manner = Manner(send=through_callrail(sandbox, cut=40))
        post(relay, "short")
        zap.manner = Manner()
        post(relay, "swap", "first.")
        post(relay, "swap", "second.")
        for more in ("second.", "first."):
            sandbox.send_by_others(people["swap"], f"{words} {more}")
            time.sleep(0.01)  # CallRail dates them to the millisecond
        report = configured.json("shadow", "report", "--give-up-after", "0s")

    found = {"texts": 8, "sent": 7, "pending": 0, "missing": 1, "late": 0, "cut": 1, "doubled": 1}
    assert found | {"out_of_order": 1, "to_opted_out": 1, "would_hold": 2} == report["counts"]
    requests = report["requests"]
    assert (8, 0, 0) == (
        requests["forwarded"] + requests["unknown"],
        requests["refused"],
        requests["waiting"],
    )
    assert requests["unknown"] <= 1  # that the Zap answered may not be on disk when a kill comes
    by_person = {people[name]: name for name in people}
    named = {
        by_person[one["recipient"]]: one["findings"]
        for one in report["texts"]
        if by_person[one["recipient"]] != "swap"
    }
    assert {
        "right": [],
        "held": [],
        "lost": ["missing"],
        "twice": ["doubled"],
        "short": ["cut"],
        "stop": ["to_opted_out"],
    } == named
    said = configured.run("shadow", "report", "--give-up-after", "0s").stdout
    assert "8 texts in 1 day. The Zap lost 1, duplicated 1, cut 1 short," in said
    assert "would have held 2." in said
    lines = configured.run("shadow", "report", "--csv").stdout.splitlines()
    assert 9 == len(lines)
    assert all(text["content"] for text in sandbox.texts())


def test_a_report_while_callrail_is_down_says_what_is_known(
    configured: Program, sandbox: Sandbox, zap: Zap
) -> None:
    """Code 8, with the requests and what the relay would have held."""
    start(configured, zap)
    with configured.serving() as relay:
        relay.post(text(1))
    configured.environment["CALLRAIL_RELAY_CALLRAIL__API_URL"] = "http://127.0.0.1:9"

    shown = configured.run("shadow", "report", "--json")

    assert 8 == shown.returncode
    assert "compared yet" in shown.stderr
    report = json.loads(shown.stdout)
    assert (1, 0, 0) == tuple(report["counts"][name] for name in ("texts", "sent", "missing"))
    assert 1 == report["requests"]["forwarded"]
