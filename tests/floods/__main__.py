"""
Floods from one address, on 127.0.0.1 only, against relays in processes of their own.

    python -m tests.floods
    python -m tests.floods --seconds 10 --only idle
"""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.floods.attacks import ATTACKS
from tests.floods.measure import measure


def main() -> None:
    """Flood, and print the figures as a table; exit code 1 when one of them is not good."""
    parser = argparse.ArgumentParser(prog="python -m tests.floods", description=__doc__)
    parser.add_argument("--seconds", type=float, default=45.0, help="how long each flood lasts")
    parser.add_argument("--only", choices=ATTACKS, action="append", help="this flood alone")
    options = parser.parse_args()
    print("| flood | listener | memory before | more | webhooks | median | slowest |")  # noqa: T201 - its result
    print("|---|---|---|---|---|---|---|", flush=True)  # noqa: T201 - its result
    good = True
    for attack in options.only or ATTACKS:
        for listener in ("public", "private"):
            with tempfile.TemporaryDirectory() as folder:
                figures = measure(attack, listener, Path(folder), options.seconds)
            print(figures, flush=True)  # noqa: T201 - its result
            good = good and figures.is_good
    sys.exit(not good)


if __name__ == "__main__":
    main()
