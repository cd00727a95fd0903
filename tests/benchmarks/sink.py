"""
A CallRail that only answers, as quickly as it can, and notes when each text arrived.

``python -m tests.benchmarks.sink`` prints its port and serves until it is ended. ``GET /arrived`` tells,
since it was last asked: in ``arrived`` the number of each text and the instant at which it came first
(``time.monotonic``, in seconds, which all processes of one machine share); in ``again`` how many texts came
more than once.
"""

import asyncio
import json
import re
import time

from tests.benchmarks.loop import run
from tests.benchmarks.texts import NUMBER

_NUMBER = re.compile(NUMBER)
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_PERSON = re.compile(rb'"customer_phone_number": ?"([^"]*)"')

_ANSWER = (
    b'{"id":"c0nv1","current_tracker_id":"TRK00000000000000000000000000000001","customer_name":"EXAMPLE",'
    b'"customer_phone_number":"%b","last_message_at":"2026-04-07T22:25:04.953-04:00","state":"active",'
    b'"company_time_zone":"America/Chicago","company_id":"COM00000000000000000000000000000001",'
    b'"recent_messages":[{"direction":"outgoing","content":"Hi","created_at":"2026-04-07T22:25:04.953-04:00",'
    b'"sms_thread":{"id":"SMT00000000000000000000000000000001","notes":null,"tags":[]},"type":"sms",'
    b'"media_urls":[]}]}'
)
_NO_CONVERSATIONS = b'{"page":1,"per_page":250,"total_pages":1,"total_records":0,"conversations":[]}'
# Without x-rate-limit headers: CallRail's own numbers would be those of its limits, which are raised here.
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"


class Sink(asyncio.Protocol):
    """One connection: requests of any number, one after the other."""

    arrived: dict[int, float] = {}  # noqa: RUF012 - shared by all connections, on purpose
    again = 0

    def __init__(self) -> None:
        self._buffer = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as asyncio's own
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            length = _LENGTH.search(head)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self._buffer) < whole:
                return
            body, self._buffer = self._buffer[end + 4 : whole], self._buffer[whole:]
            if head.startswith(b"GET"):
                answer = self._report() if head.startswith(b"GET /arrived") else _NO_CONVERSATIONS
            else:
                answer = self._take(body)
            self._transport.write(_HEAD % (len(answer), answer))

    def _take(self, body: bytes) -> bytes:
        number = _NUMBER.search(body)
        person = _PERSON.search(body)
        if number is not None:
            if int(number[1]) in Sink.arrived:
                Sink.again += 1
            Sink.arrived.setdefault(int(number[1]), time.monotonic())
        return _ANSWER % (person[1] if person else b"")

    def _report(self) -> bytes:
        answer = json.dumps({"arrived": Sink.arrived, "again": Sink.again}).encode()
        Sink.arrived, Sink.again = {}, 0
        return answer


async def serve() -> None:
    """Listen on a free port, print it, and never end."""
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201 - this is how the caller learns the port
    await server.serve_forever()


if __name__ == "__main__":
    run(serve())
