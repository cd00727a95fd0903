"""Files that only their owner should be able to read."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path

HAS_MODES = os.name == "posix"
"""Whether a file's mode says who may read it. On Windows its directory does, by its own rules."""


def open_to_others(paths: Iterable[Path]) -> list[str]:
    """Return those of *paths* that other users may use, each with its mode; none on Windows."""
    if not HAS_MODES:
        return []
    modes = [(path, _mode(path)) for path in dict.fromkeys(paths)]
    return [f"{path} ({mode:04o})" for path, mode in modes if mode & (stat.S_IRWXG | stat.S_IRWXO)]


def files_in(directory: Path) -> list[Path]:
    """Return the files in *directory*; none if it can't be read."""
    try:
        return sorted(path for path in directory.iterdir() if path.is_file())
    except OSError:
        return []


def links(paths: Iterable[Path]) -> list[str]:
    """Return those of *paths* that are links, each with what it points to."""
    return [f"{path} (to {os.readlink(path)})" for path in dict.fromkeys(paths) if path.is_symlink()]  # noqa: PTH115 - as it is written, not resolved


def _mode(path: Path) -> int:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return 0
