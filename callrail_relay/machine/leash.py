"""
Runs a program that ends with the process that started this one, however that ends.

Only that process holds the other end of its standard input: when it closes, the program is asked to stop.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Sequence

STOP_WITHIN = 5.0  # seconds for the program to stop by itself


def main(command: Sequence[str]) -> int:
    flags = getattr(subprocess, "CREATE_NO_WINDOW", 0)  # a service of Windows has no window to share
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, creationflags=flags)  # noqa: S603 - no shell
    except OSError as error:
        sys.stdout.write(f"{command[0]} can't be run: {error.strerror}\n")
        return 127
    threading.Thread(target=_end_with_parent, args=(child,), daemon=True).start()
    return child.wait()


def _end_with_parent(child: "subprocess.Popen[bytes]") -> None:
    while os.read(0, 1024):
        pass
    child.terminate()
    try:
        child.wait(STOP_WITHIN)
    except subprocess.TimeoutExpired:
        child.kill()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
