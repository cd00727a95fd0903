"""
Measures the relay beside its yardsticks and prints the table; ``--write`` puts it into the docs.

    python -m tests.benchmarks                       everything but the installed size, some minutes
    python -m tests.benchmarks accepts latency       these parts only
    python -m tests.benchmarks --all --write         everything, into docs/explanation/performance.md
    python -m tests.benchmarks --uvloop accepts      the relay with the extra `speed`, its yardsticks alike
"""

import argparse
import os
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from tests.benchmarks import report, servers
from tests.benchmarks.measures import APPS, PARTS, RED, Bench

NEEDS_NETWORK = {"size"}


def main() -> int:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], metavar="part", help=", ".join(PARTS))
    parser.add_argument("--all", action="store_true", help="also what needs the network")
    parser.add_argument("--runs", type=int, default=3, help="how often each part is measured (default: 3)")
    parser.add_argument("--texts", type=int, default=2000, help="texts to deliver in one run (default: 2000)")
    parser.add_argument("--uvloop", action="store_true", help="measure on uvloop, and not on asyncio's loop")
    parser.add_argument("--write", action="store_true", help="put the table into the docs")
    parser.add_argument(
        "--node-red", type=Path, metavar="DIR", help="where `npm install node@22 node-red` put Node-RED"
    )
    options = parser.parse_args()
    names = options.parts or [name for name in PARTS if options.all or name not in NEEDS_NETWORK]
    os.environ[servers.LOOP] = "uvloop" if options.uvloop else "asyncio"
    rows, load = [], report.load_average()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder, servers.sink() as callrail:
        disk = _forced_write(Path(folder))
        bench = Bench(
            runs=options.runs,
            folder=Path(folder),
            callrail=callrail,
            texts=options.texts,
            node_red=options.node_red,
        )
        for name in names:
            print(f"measuring: {name}", file=sys.stderr, flush=True)  # noqa: T201 - a command of its own
            began = time.monotonic()
            rows += PARTS[name](bench)
            print(f"  in {time.monotonic() - began:.0f} s", file=sys.stderr)  # noqa: T201 - as above
    on = report.machine(disk, os.environ[servers.LOOP], load)
    shown = report.results(rows, (*APPS, RED))
    print(f"{on}\n\n{shown}")  # noqa: T201 - its result
    if options.write:
        report.write(shown, on, _command(options), datetime.now(UTC).date())
    return 0


def _command(options: argparse.Namespace) -> str:
    """The command to measure the same, without this machine's paths."""
    words = ["python -m tests.benchmarks", *options.parts, "--all" if options.all else ""]
    words += [f"--runs {options.runs}", "--uvloop" if options.uvloop else ""]
    words += ["--node-red DIR" if options.node_red else ""]
    return " ".join(filter(None, words))


def _forced_write(folder: Path) -> float:
    """Milliseconds for a write of 4 KiB that is forced to disk, as each commit is: the median of 200."""
    took = []
    file = os.open(folder / "forced", os.O_CREAT | os.O_WRONLY)
    for _ in range(200):
        begin = time.monotonic()
        os.write(file, bytes(4096))
        os.fsync(file)
        took.append(time.monotonic() - begin)
    os.close(file)
    return sorted(took)[100] * 1000


if __name__ == "__main__":
    sys.exit(main())
