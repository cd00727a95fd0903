"""A real OS keyring for tests: gnome-keyring on a separate D-Bus session."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.parts import need

# The daemon goes to the background before it has its name on the bus; asking too early makes D-Bus
# start another one. The session lasts until its standard input ends.
_SESSION = """
set -e
if [ -n "$1" ]; then
    printf %s "$1" | "$0" --unlock --components=secrets >&2
else
    "$0" --daemonize --components=secrets >&2
fi
until dbus-send --session --print-reply=literal --dest=org.freedesktop.DBus / \
    org.freedesktop.DBus.NameHasOwner string:org.freedesktop.secrets | grep -q true
do sleep 0.05; done
echo "$DBUS_SESSION_BUS_ADDRESS"
exec cat
"""


@contextmanager
def secret_service(folder: Path, *, password: str | None = "opens the keyring") -> Iterator[dict[str, str]]:
    """
    An environment whose programs find a keyring that keeps its secrets in *folder*.

    *password* makes or opens the login keyring; with None it stays as it is: locked,
    where an earlier session on the same folder made one. Skips, or fails in CI, where a part is missing.
    """
    daemon, dbus = need("gnome-keyring"), need("dbus-run-session")
    with tempfile.TemporaryDirectory(prefix="keyring-") as runtime:  # sockets: no path over 100 characters
        environment = _environment(folder, runtime)
        with subprocess.Popen(
            [dbus, "--", "sh", "-c", _SESSION, daemon, password or ""],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as session:
            assert session.stdin is not None
            assert session.stdout is not None
            try:
                address = session.stdout.readline().strip()
                assert address, "the D-Bus session or the keyring did not start"
                yield environment | {"DBUS_SESSION_BUS_ADDRESS": address}
            finally:
                session.stdin.close()
                session.wait(timeout=30)


def _environment(folder: Path, runtime: str) -> dict[str, str]:
    """This process's environment with its own home, and with the keyring that the system offers."""
    directories = {
        name: str(folder / place)
        for name, place in {
            "HOME": "home",
            "XDG_CONFIG_HOME": "home/config",
            "XDG_DATA_HOME": "home/share",
            "XDG_CACHE_HOME": "home/cache",
        }.items()
    }
    for place in directories.values():
        Path(place).mkdir(mode=0o700, parents=True, exist_ok=True)
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHON_KEYRING_BACKEND"}
    return {**inherited, **directories, "XDG_RUNTIME_DIR": runtime}
