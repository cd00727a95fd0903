"""Putting a new file in the place of one that another program may be reading."""

import os
from pathlib import Path

from callrail_relay.clock import pause

STEP = 0.05
"""Seconds between two tries."""

_TRIES = 20 if os.name == "nt" else 0


def replace(source: Path, target: Path) -> None:
    """
    Put *source* in the place of *target*, at once and whole.

    Windows refuses while a program, such as a virus scanner, has the target open: it is tried for a second.
    """
    for _ in range(_TRIES):
        try:
            source.replace(target)
        except PermissionError:
            pause(STEP)
        else:
            return
    source.replace(target)
