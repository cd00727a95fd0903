"""A fake Zap: a real HTTP server that takes what IF3's old webhook took, in the manner of a test."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PATH = "/hooks/catch/123/secret-of-the-zap/"


@dataclass(frozen=True, kw_only=True)
class Taken:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def words(self) -> str:
        """The message of IF3's."""
        found: str = json.loads(self.body)["message"]
        return found


@dataclass(frozen=True, kw_only=True)
class Manner:
    """
    How a request is answered: ``closes`` at once without an answer, before that it is taken or not.

    ``send`` is called with what was taken, as the second step of a Zap.
    """

    status: int = 200
    body: bytes = b'{"status":"success","of":"the zap"}'
    content_type: str | None = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    delay: float = 0.0
    closes: bool = False
    send: Callable[[Taken], object] = lambda _: None


class Zap:
    def __init__(self) -> None:
        self.manner = Manner()
        self.taken: list[Taken] = []
        self.port = 0
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{PATH}"

    @property
    def words(self) -> list[str]:
        return [one.words for one in self.taken]

    def open(self) -> None:
        """Listen, on the port of before if there was one."""
        zap = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = (
                65536  # one packet for an answer: the second would wait for an acknowledgment of the first
            )

            def do_POST(self) -> None:
                body = self.rfile.read(length := int(self.headers.get("Content-Length", "0")))
                if len(body) < length:
                    return  # the relay was killed before it had sent all of it
                taken = Taken(path=self.path, headers=dict(self.headers.items()), body=body)
                manner = zap.manner
                zap.taken.append(taken)
                manner.send(taken)
                if manner.delay:
                    time.sleep(manner.delay)
                if manner.closes:
                    self.close_connection = True
                    return
                self.send_response(manner.status)
                if manner.content_type is not None:
                    self.send_header("Content-Type", manner.content_type)
                for name, value in manner.headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(manner.body)))
                self.end_headers()
                self.wfile.write(manner.body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the server's own name
                pass

        class Server(ThreadingHTTPServer):
            allow_reuse_address = True
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - the base's own
                pass  # a client that went away

        self._server = Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        """Refuse connections from now on."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = None


@contextmanager
def running_zap() -> Iterator[Zap]:
    zap = Zap()
    zap.open()
    try:
        yield zap
    finally:
        zap.close()
