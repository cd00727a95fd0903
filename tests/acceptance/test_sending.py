"""The main job, driven as a user drives it: texts in, texts out."""

import asyncio
import json
import signal
import sys
from pathlib import Path

import httpx2
import pytest

from tests.acceptance.program import HOOK_TOKEN, PAYLOAD, Program, Sandbox, Started, wait_until

PERSON = "+12025550122"
KILL = signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL
SEND = ("send", "--to", PERSON, "--message", "Is Tuesday good?")


def test_demo_shows_a_text_on_its_way(program: Program) -> None:
    """`demo` needs nothing, ends with 0, and stores no settings and no data."""
    shown = program.run("demo")

    assert 0 == shown.returncode, shown.stderr
    assert "CallRail answers 200" in shown.stderr
    assert not (program.folder / "data").exists()


def test_demo_stays_when_asked(program: Program) -> None:
    """`demo --keep` stays up until it is stopped, and then ends with 0."""
    with program.started("demo", "--keep", "--json") as demo:
        assert "sent" == demo.read_json()["status"]
        code, errors = demo.stop(signal.SIGINT if sys.platform != "win32" else signal.SIGTERM)

    assert 0 == code, errors


def test_send_delivers_and_waits(configured: Program, sandbox: Sandbox) -> None:
    """`send` ends with 0 when CallRail accepted the text."""
    message = configured.json(*SEND)

    assert ("sent", PERSON, "send") == (message["status"], message["recipient"], message["source"])
    assert ["Is Tuesday good?"] == [text["content"] for text in sandbox.texts()]


def test_dry_run_sends_nothing(configured: Program, sandbox: Sandbox) -> None:
    """`send --dry-run` shows the segments, stores nothing and sends nothing."""
    message = configured.json("send", "--to", "202-555-0122", "--message", "word " * 40, "--dry-run")

    assert [1, 2] == [segment["position"] for segment in message["segments"]]
    assert [] == sandbox.texts()
    assert [] == configured.json("messages", "list")


def test_send_without_waiting_leaves_it_to_serve(configured: Program, sandbox: Sandbox) -> None:
    """`send --no-wait` ends with 0 once the text is stored."""
    message = configured.json(*SEND, "--no-wait")

    assert "queued" == message["status"]
    assert [] == sandbox.texts()


def test_send_without_waiting_says_why_a_text_is_on_hold(configured: Program) -> None:
    shown = configured.run("send", "--to", PERSON, "--message", "Hi {{first_name}}", "--no-wait")

    assert 0 == shown.returncode
    assert shown.stdout.startswith("On hold: ")
    assert "{{first_name}}" in shown.stdout


def test_refused_text_is_code_5(configured: Program, sandbox: Sandbox) -> None:
    """A person who opted out: CallRail's own words, and code 5."""
    sandbox.opt_out(PERSON)

    shown = configured.run(*SEND)

    assert 5 == shown.returncode
    assert "opted out" in shown.stderr
    assert "failed" == configured.json("messages", "list")[0]["status"]


@pytest.mark.parametrize("status", [401, 403])
def test_refused_key_pauses_the_account(configured: Program, sandbox: Sandbox, status: int) -> None:
    """401 and 403 are code 5, pause the account, and keep the text in the queue."""
    sandbox.fault(kind="status", status=status)

    assert 5 == configured.run(*SEND).returncode
    assert "queued" == configured.json("messages", "list")[0]["status"]
    assert str(status) in configured.json("status")["accounts"][0]["paused"]["reason"]
    # The next one meets the pause.
    assert 7 == configured.run("send", "--to", "+12025550123", "--message", "Hello").returncode


LADDER = {"CALLRAIL_RELAY_DELIVERY__RECONCILE_AFTER": '["0.5s", "1s"]'}


def test_lost_answer_is_looked_up(configured: Program, sandbox: Sandbox) -> None:
    """CallRail took the text and its answer was lost: it is found in the conversation, and not sent twice."""
    sandbox.fault(kind="drop_answer", times=1)

    shown = configured.run(*SEND, "--json", env=LADDER)

    assert 0 == shown.returncode, shown.stderr
    [attempt] = json.loads(shown.stdout)["segments"][0]["attempts"]
    assert "Found in CallRail's conversation" in attempt["detail"]
    assert ["Is Tuesday good?"] == [text["content"] for text in sandbox.texts()]


def test_unknown_outcome_is_code_6(configured: Program, sandbox: Sandbox) -> None:
    """What no look-up finds is code 6, and waits for a person, who decides."""
    sandbox.fault(kind="drop", times=1)
    assert 6 == configured.run(*SEND, env=LADDER).returncode
    [unknown] = configured.json("messages", "list", "--status", "unknown")

    assert "messages resend" in unknown["reason"]
    assert 2 == configured.run("messages", "resend", unknown["id"]).returncode
    assert 0 == configured.run("messages", "resend", unknown["id"], "--yes").returncode
    with configured.serving(env=LADDER):
        configured.wait_for("sent", 1)
    assert ["Is Tuesday good?"] == [text["content"] for text in sandbox.texts()]
    for verb in ("resend", "cancel"):
        # Nothing to ask: whatever the answer, it is refused.
        assert 4 == configured.run("messages", verb, unknown["id"]).returncode
        assert 4 == configured.run("messages", verb, unknown["id"], "--yes").returncode
    assert 4 == configured.run("messages", "mark-sent", unknown["id"]).returncode


def test_waiting_for_the_budget_is_code_7(configured: Program, sandbox: Sandbox) -> None:
    """With the hour used up `send` does not wait for its end, and says until when the text waits."""
    limit = {"CALLRAIL_RELAY_LIMITS__PER_HOUR": "1"}
    assert 0 == configured.run(*SEND, env=limit).returncode

    shown = configured.run("send", "--to", PERSON, "--message", "One more", env=limit)

    assert 7 == shown.returncode
    assert "sending limit for the hour" in shown.stderr
    assert 1 == len(sandbox.texts())


def test_unreachable_callrail_is_code_8(configured: Program) -> None:
    """Nothing listens there: code 8 within the time-out, and the text stays queued."""
    nowhere = {"CALLRAIL_RELAY_CALLRAIL__API_URL": "http://127.0.0.1:9"}

    shown = configured.run(*SEND, "--timeout", "1", env=nowhere)

    assert 8 == shown.returncode
    assert "stays queued" in shown.stderr
    assert "queued" == configured.json("messages", "list")[0]["status"]


def test_webhook_is_answered_and_sent(serving: Started, configured: Program, sandbox: Sandbox) -> None:
    """A text posted by IF3 is answered in Zapier's shape, is sent, and is found by the id of the answer."""
    answer = serving.post(PAYLOAD)

    assert 200 == answer.status_code
    assert {"status", "id", "request_id", "attempt"} == set(answer.json())
    configured.wait_for("sent", 1)
    assert [PAYLOAD["message"]] == [text["content"] for text in sandbox.texts()]
    assert "sent" == configured.json("messages", "show", answer.json()["id"])["status"]


def test_serve_stops_cleanly(configured: Program) -> None:
    """Ctrl-C and SIGTERM end `serve` with 0, and it starts again on the same store."""
    for number in (signal.SIGTERM, signal.SIGINT):
        with configured.serving() as serving:
            assert 200 == serving.post(PAYLOAD | {"message": f"Stop {number}"}).status_code
            code, errors = serving.stop(number)
        assert 0 == code, errors


def test_a_burst_is_there_after_a_crash(configured: Program) -> None:
    """
    Killed right behind a burst, before all of it was looked into: the next command shows every text that was
    answered with 200, with its words and its person, and none twice.
    """
    with configured.serving() as relay:
        answered = asyncio.run(burst(f"{relay.public}/hooks/if3/{HOOK_TOKEN}", 300))
        relay.stop(KILL)

    listed = configured.json("messages", "list", "--limit", "0")

    assert 300 == len(answered)
    assert answered == {message["text"] for message in listed}
    assert 300 == len(listed)
    assert {PERSON} == {message["recipient"] for message in listed}


async def burst(url: str, size: int) -> set[str]:
    """Texts posted from many connections; those that were answered with 200."""
    answered = set()
    limits = httpx2.Limits(max_connections=64)
    async with httpx2.AsyncClient(trust_env=False, timeout=60, limits=limits) as client:

        async def post(words: str) -> None:
            answer = await client.post(url, json=PAYLOAD | {"message": words})
            if answer.status_code == 200:
                answered.add(words)

        await asyncio.gather(*(post(f"Text {number}") for number in range(size)))
    return answered


def test_killed_serve_loses_nothing(configured: Program, sandbox: Sandbox) -> None:
    """What was answered with 200 before kill -9 is sent after the next start, once."""
    sandbox.fault(kind="delay", delay=30, times=1)
    with configured.serving() as serving:
        for number in range(5):
            posted = PAYLOAD | {
                "message": f"Text {number}",
                "seller_phone_non_international": f"202555010{number}",
            }
            assert 200 == serving.post(posted | {"seller_phone": None}).status_code
        serving.process.kill()
    with configured.serving():
        configured.wait_until_settled()

    statuses = [message["status"] for message in configured.json("messages", "list")]
    contents = [text["content"] for text in sandbox.texts()]
    assert 5 == len(statuses)
    assert set(statuses) <= {"sent", "unknown"}
    assert len(contents) == len(set(contents))
    assert statuses.count("sent") <= len(contents)


def test_serve_in_the_sandbox(program: Program) -> None:
    """`serve --sandbox` needs no account, its texts are seen by the other commands, and it's not for IF3."""
    program.environment["CALLRAIL_RELAY_HOOK_TOKEN"] = HOOK_TOKEN
    with program.serving("--sandbox") as serving:
        assert 200 == serving.post(PAYLOAD).status_code
        program.wait_for("sent", 1)
        _, told = serving.stop()
    assert "Don't give it to IF3" in told
    assert "hook-url" not in told


def test_replay_reads_zapier_and_knows_what_was_sent(configured: Program, sandbox: Sandbox) -> None:
    """A saved payload is sent once; the second time it is a duplicate, unless forced."""
    file = str(Path(__file__).parents[1] / "data" / "if3" / "if3-zapier-raw-request.json")

    first, second = configured.json("replay", file), configured.json("replay", file)

    assert ["sent"] == [row["status"] for row in first]
    assert [("duplicate", first[0]["id"])] == [(row["status"], row["id"]) for row in second]
    assert ["sent"] == [row["status"] for row in configured.json("replay", file, file, "--force")]
    assert 2 == len(sandbox.texts())


@pytest.mark.skipif(sys.platform == "win32", reason="no Ctrl-C for another process")
def test_replay_that_was_interrupted_is_run_again(configured: Program, sandbox: Sandbox) -> None:
    """What the first run left in the queue is sent by the second one, and said before."""
    lines = "\n".join(json.dumps(PAYLOAD | {"message": f"Text {number}"}) for number in range(3))
    file = configured.folder / "saved.jsonl"
    file.write_text(lines)
    slow = {"CALLRAIL_RELAY_LIMITS__RECIPIENT_INTERVAL": "5"}
    with configured.started("replay", str(file), "--yes", env=slow) as first:
        wait_until(lambda: bool(sandbox.texts()))
        code, told = first.stop(signal.SIGINT)
    assert (130, True) == (code, "stays queued" in told)
    left = 3 - len(sandbox.texts())

    plan = configured.run("replay", str(file), "--dry-run")
    again = configured.run("replay", str(file), "--yes")

    assert f"{left} will be sent, {left} of them already queued" in plan.stderr
    assert (0, f"{3 - left} already sent, {left} sent.\n") == (again.returncode, again.stderr)
    assert ["Text 0", "Text 1", "Text 2"] == [text["content"] for text in sandbox.texts()]


def test_send_takes_the_text_from_standard_input(configured: Program, sandbox: Sandbox) -> None:
    """As `echo` gives it; what is no text is refused."""
    send = ("send", "--to", PERSON, "--message", "-")
    assert 0 == configured.run(*send, stdin="Hi José 😀,\nsee you\n").returncode
    assert 2 == configured.run(*send, stdin="\n").returncode
    assert ["Hi José 😀,\nsee you"] == [text["content"] for text in sandbox.texts()]


def test_replay_of_many_asks_first(configured: Program, sandbox: Sandbox) -> None:
    """More than one text needs a yes: without a terminal code 2, with --yes they are sent in order."""
    lines = "\n".join(json.dumps(PAYLOAD | {"message": f"Text {number}"}) for number in range(3))

    assert 2 == configured.run("replay", "-", stdin=lines).returncode
    assert [] == sandbox.texts()
    shown = configured.run("replay", "-", "--yes", "--json", stdin=lines)

    assert ["sent"] * 3 == [row["status"] for row in json.loads(shown.stdout)]
    assert ["Text 0", "Text 1", "Text 2"] == [text["content"] for text in sandbox.texts()]


def test_dry_run_of_a_replay_tells_what_it_then_does(configured: Program, sandbox: Sandbox) -> None:
    """
    Text by text, with what is known, what is twice in the file and what a rule holds; then in one sentence.
    """
    assert "sent" == configured.json("send", "--to", PERSON, "--message", "Known")["status"]
    texts = ["Known", "New", "New", "Hi {{name}}"]
    lines = "\n".join(json.dumps(PAYLOAD | {"message": text}) for text in texts)

    plan = configured.run("replay", "-", "--dry-run", "--json", stdin=lines)
    assert ["Known"] == [text["content"] for text in sandbox.texts()]
    done = configured.run("replay", "-", "--yes", "--json", stdin=lines)

    planned = [row["status"] for row in json.loads(plan.stdout)]
    assert ["duplicate", "queued", "duplicate", "held"] == planned
    assert [status.replace("queued", "sent") for status in planned] == [
        row["status"] for row in json.loads(done.stdout)
    ]
    assert (
        "1 will be sent, 1 on hold: unfilled placeholder, 1 already sent, 1 twice in these files."
        in plan.stderr
    )


def test_held_text_waits_for_a_person(configured: Program, sandbox: Sandbox) -> None:
    """A text with a merge tag is held with code 7; approved it is sent, cancelled it never is."""
    shown = configured.run("send", "--to", PERSON, "--message", "Hi {{name}}", "--json")
    assert 7 == shown.returncode
    held = json.loads(shown.stdout)["id"]

    assert 0 == configured.run("messages", "approve", held).returncode
    assert 4 == configured.run("messages", "approve", held).returncode
    with configured.serving():
        configured.wait_for("sent", 1)
    other = configured.json("send", "--to", PERSON, "--message", "Hi {{first}}")["id"]
    assert 2 == configured.run("messages", "cancel", other).returncode
    refused = configured.run("messages", "cancel", other, other, held, "--yes")
    assert (4, f"cancelled  {other}\n") == (refused.returncode, refused.stdout)
    assert ["Hi {{name}}"] == [text["content"] for text in sandbox.texts()]


def test_people_who_opted_out_are_kept_on_a_list(configured: Program, sandbox: Sandbox) -> None:
    """A person on the list is not texted, and no approval changes that until they are off it."""
    assert 0 == configured.run("opt-outs", "add", "--recipient", PERSON, "--reason", "By phone.").returncode
    [entry] = configured.json("opt-outs", "list")
    assert (PERSON, sandbox.tracking_number, "By phone.") == (
        entry["recipient"],
        entry["tracking_number"],
        entry["reason"],
    )
    shown = configured.run(*SEND, "--json")
    held = json.loads(shown.stdout)["id"]
    assert 7 == shown.returncode
    assert 4 == configured.run("messages", "approve", held).returncode
    assert 0 == configured.run("opt-outs", "remove", "--recipient", PERSON).returncode
    assert 4 == configured.run("opt-outs", "remove", "--recipient", PERSON).returncode
    assert 0 == configured.run("messages", "approve", held).returncode
    with configured.serving():
        configured.wait_for("sent", 1)
    assert "No opt-outs yet." in configured.run("opt-outs", "list").stdout


def test_pause_keeps_and_resume_sends(serving: Started, configured: Program, sandbox: Sandbox) -> None:
    """While paused, texts are accepted and none is sent."""
    assert 0 == configured.run("pause", "--reason", "The office is closed.").returncode
    assert 200 == serving.post(PAYLOAD).status_code
    assert "The office is closed." == configured.json("status")["accounts"][0]["paused"]["reason"]
    assert 1 == configured.json("status")["messages"]["queued"]
    assert 0 == configured.run("resume").returncode

    configured.wait_for("sent", 1)
    assert 1 == len(sandbox.texts())


def test_messages_are_listed_and_searched(configured: Program) -> None:
    """The filters of `messages list`, newest first."""
    for text in ("First 100%", "Second"):
        configured.run("send", "--to", PERSON, "--message", text, "--no-wait")

    def found(*filters: str) -> list[str]:
        return [message["text"] for message in configured.json("messages", "list", *filters)]

    assert ["Second", "First 100%"] == found()
    assert ["Second"] == found("--limit", "1")
    assert ["First 100%"] == found("--search", "100%")
    assert [] == found("--status", "sent")
    assert ["Second", "First 100%"] == found("--recipient", "(202) 555-0122", "--since", "1h")
    assert [] == found("--since", "2199-01-01")
    assert "Second" in configured.run("messages", "list").stdout
    assert "First 100%" in configured.run("messages", "list", "--status", "queued").stdout
