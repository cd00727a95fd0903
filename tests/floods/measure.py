"""
What a flood costs a relay in memory, and what a good sender notices of it. Linux only: it reads ``/proc``.
"""

import json
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tests.benchmarks.servers import RAISED, Server, relay, sink

MOST_MEMORY = 50.0
MOST_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Megabytes that the relay grew by, and the seconds that good webhooks took meanwhile."""

    attack: str
    listener: str
    memory_before: float
    most_memory: float
    webhooks: list[float]

    @property
    def growth(self) -> float:
        return self.most_memory - self.memory_before

    @property
    def is_good(self) -> bool:
        return self.growth < MOST_MEMORY and max(self.webhooks) < MOST_SECONDS

    def __str__(self) -> str:
        middle = sorted(self.webhooks)[len(self.webhooks) // 2]
        return (
            f"| {self.attack} | {self.listener} | {self.memory_before:.0f} MB | {self.growth:.0f} MB |"
            f" {len(self.webhooks)} | {middle * 1000:.0f} ms | {max(self.webhooks) * 1000:.0f} ms |"
        )


def measure(attack: str, listener: str, folder: Path, seconds: float) -> Figures:
    """
    Flood the *listener* ("public" or "private") of a new relay, and post a text a second to its webhook.
    """
    with sink() as callrail, relay(folder, callrail, **RAISED) as server:
        _post(server, -1)
        time.sleep(1)  # another process has to come to rest
        before = most = server.memory()
        url = server.url if listener == "public" else server.private_url
        arguments = (attack, str(urlsplit(url).port), str(seconds))
        webhooks: list[float] = []
        with subprocess.Popen((sys.executable, "-m", "tests.floods.attacks", *arguments)) as flood:
            while flood.poll() is None:
                time.sleep(0.5)
                webhooks.append(_post(server, len(webhooks)))
                most = max(most, server.memory())
        assert flood.returncode == 0, "the flood failed"
    return Figures(
        attack=attack, listener=listener, memory_before=before, most_memory=most, webhooks=webhooks
    )


def _post(server: Server, number: int) -> float:
    """Post a good webhook on a new connection; returns how long the 200 took."""
    body = {"message": f"Text {number}", "seller_phone": f"+1202555{100 + number % 100:04}"}
    request = urllib.request.Request(server.hook, json.dumps(body).encode())
    began = time.monotonic()
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status == 200
    return time.monotonic() - began
