"""Putting a new file in the place of one that another program may be reading."""

import os
from pathlib import Path

from callrail_relay.clock import pause

STEP = 0.05  # seconds between two tries
_TRIES = 20 if os.name == "nt" else 0  # Windows refuses while a program has the target open


def replace(source: Path, target: Path) -> None:
    """Put *source* in the place of *target*, at once and whole; on Windows it is tried for a second."""
    for _ in range(_TRIES):
        try:
            source.replace(target)
        except PermissionError:
            pause(STEP)
        else:
            return
    source.replace(target)


def sync_folder(folder: Path) -> None:
    """Put on disk what was renamed in a folder; Windows does that by itself."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
