"""
Makes the table of time zones, and the towns of some tests, from the data of phonenumbers.

    python -m tests.domain.zones            writes both
    python -m tests.domain.zones --fetch    only gets the data, for the test that compares

The program needs phonenumberslite, which is phonenumbers without 45 MB of such data. Both are called
``phonenumbers`` when imported, so that the data is read out of the other one's wheel. It is libphonenumber's,
Copyright (C) The Libphonenumber Authors, under the Apache License 2.0.
"""

import subprocess
import sys
import textwrap
from collections import defaultdict
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import phonenumbers
from phonenumbers import PhoneNumber, region_code_for_number

VERSION = "9.0.43"
COMMAND = "python -m tests.domain.zones"
FOLDER = Path(sys.prefix) / "data-of-tests"
ROOT = Path(__file__).parents[2]
TABLE = ROOT / "callrail_relay" / "domain" / "zones.py"
TOWNS = ROOT / "tests" / "data" / "towns.txt"

_HEAD = f'''\
"""
The time zones of numbers of the US and Canada, by the digits behind +1 with which they begin.

Made from the data of phonenumbers {VERSION} by `{COMMAND}`: change nothing here. That data
is part of libphonenumber, Copyright (C) The Libphonenumber Authors, under the Apache License 2.0
(https://github.com/google/libphonenumber). Where several beginnings fit a number, the longest counts.
"""
'''


def wheel() -> Path:
    """
    Where phonenumbers' wheel is, or will be once it was fetched.
    """
    return FOLDER / f"phonenumbers-{VERSION}-py2.py3-none-any.whl"


def fetch() -> None:
    """
    Get the wheel, unless it is there.
    """
    if not wheel().exists():
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps")
        subprocess.run((*pip, "--dest", str(FOLDER), f"phonenumbers=={VERSION}"), check=True)


def part(name: str) -> Any:  # noqa: ANN401 - a module without types
    """
    A module of phonenumbers, also one that only the wheel has.
    """
    inside = str(wheel() / "phonenumbers")
    if inside not in phonenumbers.__path__:
        phonenumbers.__path__.append(inside)
    return import_module(f"phonenumbers.{name}")


def table() -> str:
    """
    The text of the table.
    """
    prefixes = defaultdict(list)
    for prefix, zones in sorted(of_us_and_canada().items()):
        prefixes[" ".join(sorted(zones))].append(prefix)
    entries = (_entry(zones, begin) for zones, begin in sorted(prefixes.items()))
    return "\n".join([_HEAD, "PREFIXES = {", *entries, "}", ""])


def of_us_and_canada() -> Mapping[str, tuple[str, ...]]:
    """
    phonenumbers' zones by what follows +1, without those of the islands with +1.
    """
    data: Mapping[str, tuple[str, ...]] = part("tzdata").TIMEZONE_DATA
    behind = {prefix[1:]: zones for prefix, zones in data.items() if prefix[0] == "1" and len(prefix) >= 4}
    return {prefix: zones for prefix, zones in behind.items() if is_us_or_canada(prefix[:3])}


def is_us_or_canada(area: str) -> bool:
    number = PhoneNumber(country_code=1, national_number=int(f"{area}5550122"))
    return region_code_for_number(number) in {"US", "CA"}


def _entry(zones: str, prefixes: list[str]) -> str:
    lines = textwrap.fill(" ".join(prefixes), 100, initial_indent=" " * 8, subsequent_indent=" " * 8)
    return f'    "{zones}": """\n{lines}\n    """,'


def towns() -> str:
    """
    Towns of the US and Canada, as phonenumbers names the places of numbers, one a line.
    """
    named = {
        names["en"].rsplit(", ", 1)[0]
        for prefix, names in part("geodata").GEOCODE_DATA.items()
        if prefix.startswith("1") and ", " in names.get("en", "")
    }
    return "".join(f"{town}\n" for town in sorted(named))


if __name__ == "__main__":
    fetch()
    if "--fetch" not in sys.argv[1:]:
        TABLE.write_text(table(), encoding="utf-8", newline="\n")
        TOWNS.write_text(towns(), encoding="utf-8", newline="\n")
