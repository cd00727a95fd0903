"""The log of a real `serve` through all that can go wrong, at its loudest."""

import gzip
import json
import socket
import sqlite3
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

import httpx2

from tests.acceptance.program import API_KEY, HOOK_TOKEN, LONGEST, PAYLOAD, Program, Sandbox, Started
from tests.support.factories import recipient
from tests.support.leaks import require_no_leak

WORDS = str(PAYLOAD["message"])
PERSON = str(PAYLOAD["seller_phone"])

# What CallRail, or a proxy before it, may say: everything that we told it.
INDISCREET = json.dumps({"error": f"{PERSON} (202) 555-0122 Token token={API_KEY} {WORDS}"})

LOUD = {
    "CALLRAIL_RELAY_LOG__LEVEL": "debug",
    "PYTHONASYNCIODEBUG": "1",
    "CALLRAIL_RELAY_DELIVERY__READ_TIMEOUT": "1",
    "CALLRAIL_RELAY_DELIVERY__RECONCILE_AFTER": "1,2",
    "CALLRAIL_RELAY_ALERTS__URLS": "json://127.0.0.1:9/secret-of-the-channel",
    "CALLRAIL_RELAY_GUARDS__MASS_TEXT": "off",
}


def post(serving: Started, number: int, words: str = WORDS) -> str:
    """A text to person *number*; returns its submission's id."""
    phones = {"seller_phone": recipient(number), "seller_phone_non_international": recipient(number)}
    answer = serving.post(PAYLOAD | {"message": words} | phones)
    assert 200 == answer.status_code
    return str(answer.json()["id"])


def misbehave(serving: Started) -> None:
    """Requests of strangers, of scanners, and of an IF3 that is out of its mind."""
    url = f"{serving.public}/hooks/if3/{HOOK_TOKEN}"
    with httpx2.Client(trust_env=False, timeout=LONGEST) as client:
        client.get(url)
        client.post(f"{url}x", content=WORDS)
        client.post(url, content=f'{{"message": "{WORDS}", "seller_phone": "{PERSON}", ')
        client.post(url, content=b"\xff\xfe" + WORDS.encode())
        client.post(url, content=gzip.compress(b"x" * 10_000_000), headers={"Content-Encoding": "gzip"})
        client.post(url, json=[PAYLOAD] * 30)
        client.get(f"{serving.private}/login?token={API_KEY}")
        client.get(serving.private, headers={"Cookie": f"x={API_KEY}", "X-Phone": PERSON})
    address = urlsplit(serving.public)
    for raw in (b"nonsense " + PERSON.encode() + b"\r\n\r\n", b"POST " + b"/" * 100_000, b"\x16\x03\x01"):
        place = (address.hostname or "", address.port or 0)
        with socket.create_connection(place, timeout=LONGEST) as connection:
            connection.sendall(raw)


def damage(program: Program, submission_id: str) -> None:
    """Make a stored text such that the program fails over it, by a fault whose words hold the text."""
    [path] = program.folder.rglob("relay.db")
    connection = sqlite3.connect(path, timeout=LONGEST)
    connection.execute(
        "UPDATE messages SET reasons = ? WHERE submission_id = ?", (f"{WORDS} {PERSON}", submission_id)
    )
    connection.commit()
    connection.close()


def lines_of(log: str) -> list[dict[str, Any]]:
    """What is JSON of a log, line by line; the program's greeting is not."""
    return [json.loads(line) for line in log.splitlines() if line.startswith("{")]


def test_no_log_tells_what_it_should_not(configured: Program, sandbox: Sandbox) -> None:
    """
    Nor does it for any fault: of CallRail, of a sender, of the store, of the alerts, of the program.

    Each event is one line, which names its message.
    """
    faults: tuple[dict[str, object], ...] = (
        {"kind": "status", "status": 500, "body": INDISCREET},
        {"kind": "status", "status": 422, "body": INDISCREET},
        {"kind": "garbage", "body": INDISCREET},
        {"kind": "drop_answer"},
        {"kind": "half_body"},
        {"kind": "other_customer"},
    )
    for number, fault in enumerate(faults):
        sandbox.fault(**fault, number=recipient(number), times=1)
    sandbox.fault(kind="status", status=500, body=INDISCREET, on="read", times=3)
    configured.run("pause", "--reason", f"Somebody called from {PERSON}")
    with configured.serving("--log-level", "debug", env=LOUD) as serving:
        serving.read_log('"alert_failed"')
        configured.run("resume")
        ids = [post(serving, number) for number in range(len(faults))]
        ids += [post(serving, 20), post(serving, 21, f"{WORDS} {{{{name}}}}")]
        misbehave(serving)
        configured.wait_until_settled()
        sandbox.fault(kind="status", status=401, body=INDISCREET, times=1)
        ids.append(post(serving, 22))
        serving.read_log('"account_paused"')
        damaged = post(serving, 23)
        damage(configured, damaged)
        configured.run("resume")
        httpx2.get(f"{serving.private}/metrics", trust_env=False, timeout=LONGEST)
        httpx2.get(f"{serving.private}/readyz", trust_env=False, timeout=LONGEST)
        serving.read_log('"program_failed"')
        code, log = serving.stop()

    require_no_leak(log, "The log")
    assert 0 == code
    assert "Traceback" not in log
    greeting = [line for line in log.splitlines() if not line.startswith("{")]
    assert 2 == len(greeting), greeting
    lines = lines_of(log)
    assert all({"action", "level", "timestamp"} <= line.keys() for line in lines)
    actions = Counter(str(line["action"]) for line in lines)
    expected = {"message_accepted", "attempt_started", "attempt_finished", "program_failed", "alert_failed"}
    assert expected <= set(actions)
    kinds = ("message_", "attempt_", "outcome_")
    per_message = [line for line in lines if str(line["action"]).startswith(kinds)]
    assert all(line["message_id"] for line in per_message)
    accepted = [line["message_id"] for line in lines if line["action"] == "message_accepted"]
    assert len(set(accepted)) == len(accepted)
    assert set(ids) <= {line["submission_id"] for line in lines if line["action"] == "message_accepted"}
