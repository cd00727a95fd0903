"""
What launchd and the Task Scheduler start: ``serve`` with its log in a file.

An error in the settings or secrets needs a person, and must not restart the program again and again. launchd
restarts what exits with a code other than 0, so such an error exits with 0 there. The Task Scheduler ignores
exit codes, so there a second process restarts ``serve`` when it should.
"""

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from callrail_relay.clock import pause

_MODULE = "callrail_relay.cli.background"

NOT_AGAIN = (0, 2, 3)  # stopped, wrong usage, wrong settings or secrets
AGAIN_AFTER = 5.0  # seconds, as in the systemd unit
STOP_WITHIN = 90.0  # seconds for ``serve`` to stop once the process that started it is gone


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog=_MODULE)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--restart", action="store_true", help="Start serve again when it fails.")
    parser.add_argument("--child", action="store_true", help="Stop at the end of standard input.")
    parser.add_argument("variables", nargs="*", metavar="NAME=VALUE")
    options = parser.parse_args(arguments)
    os.environ.update(variable.split("=", 1) for variable in options.variables)
    if options.restart:
        return _keep_running(options.log)
    if options.child:
        # Not sys.stdin, whose lock would delay the process's end.
        threading.Thread(target=_stop_with_parent, args=(sys.stdin.fileno(),), daemon=True).start()
    code = _serve(options.log)
    return 0 if code in NOT_AGAIN and not options.child else code


def _keep_running(log: Path) -> int:
    """Run ``serve`` in a child until it ends by itself; it also ends when its pipe to this process does."""
    command = [sys.executable, "-P", "-m", _MODULE, "--child", "--log", str(log)]
    flags, null = getattr(subprocess, "CREATE_NO_WINDOW", 0), subprocess.DEVNULL
    while True:
        with subprocess.Popen(  # noqa: S603 - this very program
            command, stdin=subprocess.PIPE, stdout=null, stderr=null, creationflags=flags
        ) as child:
            code = child.wait()
        if code in NOT_AGAIN:
            return code
        pause(AGAIN_AFTER)


def _stop_with_parent(descriptor: int) -> None:
    while os.read(descriptor, 1024):
        pass
    signal.raise_signal(signal.SIGTERM)
    pause(STOP_WITHIN)
    os._exit(1)


def _serve(log: Path) -> int:
    from callrail_relay.bootstrap.context import open_missing_streams
    from callrail_relay.bootstrap.credentials import wait_for_keyring
    from callrail_relay.cli import main as run_command

    sys.stdin = sys.stdout = sys.stderr = None  # as in a program without a console
    open_missing_streams(log)
    asyncio.run(wait_for_keyring())
    sys.argv[1:] = ["serve"]
    return run_command()


if __name__ == "__main__":
    sys.exit(main())
