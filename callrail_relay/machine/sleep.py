"""Keeps this computer awake by its own means, for as long as this process lives."""

import subprocess
import sys

from callrail_relay.errors import Unavailable
from callrail_relay.machine import sentence

if sys.platform == "win32":
    import ctypes

HOLDERS = {
    "linux": (
        *("systemd-inhibit", "--what=idle:sleep", "--mode=block", "--who=callrail-relay"),
        "--why=Texts are taken and sent",
    ),
    "darwin": ("caffeinate", "-i"),
}
_CONTINUOUS, _SYSTEM_REQUIRED = 0x80000000, 0x00000001


class KeepAwake:
    def __init__(self) -> None:
        self.holder: subprocess.Popen[str] | None = None

    def hold(self) -> None:
        """Keep it awake, unless that is done; call it again and again. Raises Unavailable."""
        if sys.platform == "win32":
            # For this thread, until it ends.
            if not ctypes.windll.kernel32.SetThreadExecutionState(_CONTINUOUS | _SYSTEM_REQUIRED):
                raise Unavailable(sentence("not_awake"))
            return
        if (holder := self.holder) is not None:
            if holder.poll() is not None:
                self.holder = None
                raise Unavailable(sentence("awake_ended", words=" ".join(holder.communicate()[1].split())))
            return
        try:
            # It ends when its standard input does: with this process, however that ends.
            self.holder = subprocess.Popen(  # noqa: S603 - the system's own program, and no shell
                [*HOLDERS[sys.platform], "cat"],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
            )
        except (OSError, KeyError) as error:
            raise Unavailable(sentence("not_awake_why", error=error)) from error

    def close(self) -> None:
        if sys.platform == "win32":
            ctypes.windll.kernel32.SetThreadExecutionState(_CONTINUOUS)
        elif self.holder is not None:
            self.holder.communicate()
