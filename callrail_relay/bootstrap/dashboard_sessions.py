"""
Where the dashboard's sessions are noted: a file that only the relay's own user can read.
"""

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path

from callrail_relay.bootstrap.installation import Installation
from callrail_relay.config.places import write_privately
from callrail_relay.web.sessions import NoNotes, Notes

FILE = "sessions.json"


@dataclass(frozen=True, slots=True)
class SessionFile:
    """
    A file of mode 0600 with the sessions of the listener at *address*.

    Of another listener it tells nothing: while that one runs, it alone knows whom it signed out. Without the
    file the dashboard works as well; only sessions end with the relay.
    """

    path: Path
    address: str

    def read(self) -> str:
        try:
            noted = json.loads(self.path.read_text(encoding="utf-8"))
            return str(noted["sessions"]) if noted["address"] == self.address else ""
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            write_privately(self.path, json.dumps({"address": self.address, "sessions": text}))


def session_notes(installation: Installation) -> Notes:
    """
    Where this relay's sessions are noted; nowhere where any free port is taken, which is another each time.
    """
    dashboard = installation.settings.dashboard
    if not dashboard.port:
        return NoNotes()
    return SessionFile(installation.data / FILE, f"{dashboard.host}:{dashboard.port}")
