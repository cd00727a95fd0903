"""Programs of the system that some tests drive, and that not every machine has."""

import os
import re
import shutil
import sys
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Literal, NoReturn

import pytest

PartName = Literal[
    "PostgreSQL",
    "PgBouncer",
    "Chromium",
    "gnome-keyring",
    "dbus-run-session",
    "tmux",
    "promtool",
    "faketime",
    "nginx",
    "Caddy",
    "sqlite3",
    "ssh",
    "sshd",
    "systemd-analyze",
]


@dataclass(frozen=True)
class Part:
    """A program by its possible names, where it may be besides `PATH`, and the systems that can have it."""

    programs: tuple[str, ...]
    folders: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ("linux", "darwin", "win32")


PARTS: dict[PartName, Part] = {
    "PostgreSQL": Part(
        ("initdb",),
        (
            "/usr/lib/postgresql/*/bin",
            "/usr/pgsql-*/bin",
            "/opt/homebrew/opt/postgresql*/bin",
            "/usr/local/opt/postgresql*/bin",
            "C:/Program Files/PostgreSQL/*/bin",
        ),
    ),
    "PgBouncer": Part(("pgbouncer",), ("/usr/sbin",), platforms=("linux",)),
    "Chromium": Part(
        (
            "chromium-headless-shell",
            "chromium",
            "chromium-browser",
            "google-chrome",
            "chrome",
            "Google Chrome",
        ),
        (
            "/Applications/Google Chrome.app/Contents/MacOS",
            "C:/Program Files/Google/Chrome/Application",
        ),
    ),
    "gnome-keyring": Part(("gnome-keyring-daemon",), platforms=("linux",)),
    "dbus-run-session": Part(("dbus-run-session",), platforms=("linux",)),
    "tmux": Part(("tmux",), platforms=("linux", "darwin")),
    "promtool": Part(("promtool",)),
    "faketime": Part(("faketime",), platforms=("linux",)),
    "nginx": Part(("nginx",), ("/usr/sbin",), platforms=("linux",)),
    "Caddy": Part(("caddy",), platforms=("linux",)),
    "sqlite3": Part(("sqlite3",)),
    "ssh": Part(("ssh",), platforms=("linux", "darwin")),
    "sshd": Part(("sshd",), ("/usr/sbin",), platforms=("linux",)),
    "systemd-analyze": Part(("systemd-analyze",), platforms=("linux",)),
}


def in_ci() -> bool:
    return os.environ.get("CI", "").lower() in {"1", "true"}


def need(name: PartName) -> Path:
    """
    The program of this part; without it the test is skipped by name, and fails where nothing may be skipped.
    """
    part = PARTS[name]
    if sys.platform not in part.platforms:
        pytest.skip(f"{name} does not exist on {sys.platform}", allow_module_level=True)
    program = find(part)
    if program is None:
        missing(f"{name} is not installed")
    return program


def missing(sentence: str) -> NoReturn:
    """Skip the test by name; fail it where nothing may be skipped."""
    if in_ci():
        pytest.fail(sentence, pytrace=False)
    pytest.skip(sentence, allow_module_level=True)


def find(part: Part) -> Path | None:
    """Where a part is: on `PATH`, else the newest of those in its folders."""
    for folder in (None, *_newest_first(part.folders)):
        for program in part.programs:
            if place := shutil.which(program, path=folder):
                return Path(place)
    return None


def _newest_first(patterns: tuple[str, ...]) -> list[str]:
    return sorted((folder for pattern in patterns for folder in glob(pattern)), key=_numbers, reverse=True)  # noqa: PTH207 - absolute patterns


def _numbers(folder: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", folder)]
