"""A real HTTP server that takes what an alert channel posts."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver:
    """What came in at *url*, which is one of Apprise's; answered with *status*."""

    def __init__(self, port: int) -> None:
        self.url = f"json://127.0.0.1:{port}/secret-of-the-channel"
        self.status = 200
        self.taken: list[dict[str, Any]] = []
        self.refused = 0

    @property
    def messages(self) -> list[str]:
        return [one["message"] for one in self.taken]

    @property
    def titles(self) -> list[str]:
        return [one["title"] for one in self.taken]

    def take(self, body: bytes) -> int:
        if self.status == 200:
            self.taken.append(json.loads(body))
        else:
            self.refused += 1
        return self.status


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver on loopback, until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(receiver.take(body))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the server's own name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver = Receiver(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()
