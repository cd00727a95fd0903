"""
The keeper of a PostgreSQL cluster, and running PostgreSQL's programs.

It waits for the end of its standard input, then stops the server and removes its files. It imports next to
nothing: every cluster starts one.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.unmeasured import unmeasured


def run(program: Path, *arguments: str, folder: Path, check: bool = True) -> bool:
    """Run a program of PostgreSQL in *folder*, as a user it accepts; say whether it succeeded."""
    user = system_user()
    with (folder / "programs.log").open("ab") as log:  # a pipe would stay open as long as the server runs
        result = subprocess.run(
            [program, *arguments],
            cwd=folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            user=user,
            group=user,
            extra_groups=[] if user else None,
            check=False,
        )
    if check and result.returncode != 0:
        raise RuntimeError((folder / "programs.log").read_text(encoding="utf-8", errors="replace"))
    return result.returncode == 0


def system_user() -> str | None:
    """The system user that runs the server; None is ourselves."""
    return "postgres" if sys.platform != "win32" and os.geteuid() == 0 else None


def environment() -> dict[str, str]:
    """Ours without settings for PostgreSQL's programs."""
    return {name: value for name, value in unmeasured().items() if not name.startswith("PG")}


def _keep(programs: Path, folder: Path) -> None:
    try:
        sys.stdin.read()
    finally:
        run(programs / "pg_ctl", "stop", "--pgdata=data", "--mode=immediate", folder=folder, check=False)
        shutil.rmtree(folder)


if __name__ == "__main__":
    _keep(Path(sys.argv[1]), Path(sys.argv[2]))
