"""A user who may not do everything, and a folder that everybody may look into."""

import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Inside, this process is no administrator: permissions of files hold for it as well."""
    if sys.platform == "win32" or os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def public_folder() -> Iterator[Path]:
    """An empty folder that an ordinary user may enter; pytest's own are closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="relay-disk-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o700)
        shutil.rmtree(folder)


def allow(path: Path, mode: int) -> None:
    """Set what may be done with a file or a folder."""
    path.chmod(mode)


def damage(path: Path) -> None:
    """Overwrite all of a file but its first 4 KiB."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))


def modes(folder: Path) -> dict[str, int]:
    """What may be done with a folder and with the files in it, by name."""
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.iterdir())}
