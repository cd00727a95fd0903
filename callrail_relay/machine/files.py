"""
Where a file really is (on this computer, a network drive, or in a synced folder), and who may read it.

SQLite's log is shared memory, which no network drive has (https://sqlite.org/wal.html): one day, the store
breaks. A sync program copies the store's files one by one, while they change, and may bring old ones back.
"""

import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path, PurePath

from callrail_relay.domain import read_table

# Whether a file's mode says who may read it. On Windows its directory does, by its own rules.
HAS_MODES = os.name == "posix"
_TABLES = read_table(__package__, "files")
_REMOTE = re.compile("|".join(f"(?:{one})" for one in _TABLES["remote"]))
DOUBTFUL = re.compile(_TABLES["doubtful"])  # the kinds of mounts that may be network drives or not
_SYNCED = {name: re.compile(pattern, re.IGNORECASE) for name, pattern in _TABLES["folders"].items()}
_MARKS: dict[str, str] = _TABLES["marks"]


def network_drive(path: Path, kinds: re.Pattern[str] = _REMOTE) -> str | None:
    """Return the kind of network drive that *path* is on, such as ``nfs4``; None if local or unknown."""
    real = os.path.realpath(path)
    with suppress(OSError, subprocess.SubprocessError):
        if sys.platform == "win32":
            import ctypes  # noqa: PLC0415 - its windll exists only on Windows

            drive = os.path.splitdrive(real)[0]
            remote = ctypes.windll.kernel32.GetDriveTypeW(f"{drive}\\") == 4  # DRIVE_REMOTE
            return "a network drive of Windows" if remote or is_unc(real) else None
        if sys.platform == "darwin":
            mounts = subprocess.check_output(["/sbin/mount"], stderr=subprocess.DEVNULL, timeout=5.0)
            return remote_kind(real, mac_mounts(os.fsdecode(mounts)), kinds)
        return remote_kind(real, linux_mounts(os.fsdecode(Path("/proc/self/mountinfo").read_bytes())), kinds)
    return None


def synced_folder(path: Path) -> str | None:
    """Return the program that syncs the folder of *path* with other computers, or None."""
    folder = Path(os.path.realpath(path)).parent
    marked = ((name, parent, mark) for parent in (folder, *folder.parents) for mark, name in _MARKS.items())
    return synced_by_name(folder) or next((name for name, parent, mark in marked if _has(parent, mark)), None)


def linux_mounts(mountinfo: str) -> Iterator[tuple[str, str]]:
    """Yield where something is mounted, and its kind, by ``/proc/self/mountinfo`` (proc_pid_mountinfo(5))."""
    for place, kind in re.findall(r"^(?:[^ \n]+ ){4}([^ \n]+) .*? - ([^ \n]+)", mountinfo, re.MULTILINE):
        yield re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), place), kind


def mac_mounts(mounts: str) -> Iterator[tuple[str, str]]:
    """The same from ``mount`` on macOS, such as ``//me@nas/share on /Volumes/share (smbfs, nodev)``."""
    for device, place, kind in re.findall(r"^(.*?) on (.*) \(([\w.]+)(?:, .*)?\)$", mounts, re.MULTILINE):
        through_fuse = kind in ("macfuse", "osxfuse", "fuse-t") and ":" in device
        yield place, "fuse.sshfs" if through_fuse else kind


def remote_kind(path: str, mounts: Iterable[tuple[str, str]], kinds: re.Pattern[str] = _REMOTE) -> str | None:
    """Return the kind of the mount of *path*, if it's a network mount, or another of *kinds*."""
    place, kind = "", ""
    for one, its_kind in mounts:
        # What is mounted over another, at the same place, comes after it.
        if len(one) >= len(place) and (path == one or path.startswith(f"{one.rstrip('/')}/")):
            place, kind = one, its_kind
    return kind if kinds.fullmatch(kind) else None


def is_unc(path: str) -> bool:
    r"""Whether a path of Windows names a share, as ``\\server\share``."""
    return re.match(r"//(?![?.]/)|//[?]/UNC/", path.replace("\\", "/"), re.IGNORECASE) is not None


def synced_by_name(folder: PurePath) -> str | None:
    """Return the program whose folder's name is in the path of *folder*."""
    found = (name for name, pattern in _SYNCED.items() if any(map(pattern.fullmatch, folder.parts)))
    return next(found, None)


def _has(folder: Path, mark: str) -> bool:
    with suppress(OSError):
        return any(folder.glob(mark))
    return False


def open_to_others(paths: Iterable[Path]) -> list[str]:
    """Return those of *paths* that other users may use, each with its mode; none on Windows."""
    found = []
    for path in dict.fromkeys(paths) if HAS_MODES else ():
        with suppress(OSError):
            mode = stat.S_IMODE(path.stat().st_mode)
            if mode & (stat.S_IRWXG | stat.S_IRWXO):
                found.append(f"{path} ({mode:04o})")
    return found


def files_in(directory: Path) -> list[Path]:
    """Return the files in *directory*; none if it can't be read."""
    with suppress(OSError):
        return sorted(path for path in directory.iterdir() if path.is_file())
    return []


def links(paths: Iterable[Path]) -> list[str]:
    """Return those of *paths* that are links, each with what it points to."""
    return [f"{path} (to {os.readlink(path)})" for path in dict.fromkeys(paths) if path.is_symlink()]  # noqa: PTH115 - as it's written, not resolved
