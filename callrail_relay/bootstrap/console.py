"""Standard streams where there is no console."""

import os
import sys
from typing import TextIO

from callrail_relay.config.places import log_file, private_directory
from callrail_relay.errors import RelayError


def open_missing_streams() -> None:
    """
    Put something in the place of each standard stream that is missing: for standard error the log file.

    Windows gives none to a program without a console, and POSIX none where the number was closed: the next
    file that is opened, maybe the store, would then get the number that libraries write to.
    """
    missing = [name for name in ("stdin", "stdout", "stderr") if getattr(sys, name) is None]
    for name in missing:
        # A number that is never closed.
        number = os.open(os.devnull, os.O_RDWR)
        mode = "r" if name == "stdin" else "w"
        setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))
    if "stderr" in missing:
        sys.stderr = _open_log() or sys.stderr


def _open_log() -> TextIO | None:
    from callrail_relay.telemetry.log_file import open_log_file  # noqa: PLC0415 - only where it is needed

    try:
        path = log_file()
        private_directory(path.parent)
    except (RelayError, OSError):
        return None
    return open_log_file(path)
