"""Replaces a file that another program may be reading."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO, TypeVar

from callrail_relay.clock import pause

T = TypeVar("T")

STEP = 0.05  # seconds between two tries
_TRIES = 20 if os.name == "nt" else 0  # Windows refuses while a program has the target open


def patiently(act: Callable[[], T]) -> T:
    """Retry for a second what Windows refuses while another program has the file open, or moves it."""
    for _ in range(_TRIES):
        try:
            return act()
        except PermissionError:
            pause(STEP)
    return act()


def replace(source: Path, target: Path) -> None:
    """Replace *target* with *source*, at once and completely."""
    patiently(lambda: source.replace(target))


@contextmanager
def new_content(target: Path, *, encoding: str = "utf-8") -> Iterator[TextIO]:
    """A file of mode 0600 that becomes *target*, completely or not at all, even if the power fails."""
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding=encoding, newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        replace(Path(temporary), target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Put a folder's renames on disk; Windows does that by itself."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
