"""
Makes the table of time zones, and the towns of some tests, from the data of phonenumbers.

    python -m tests.domain.zones            writes both
    python -m tests.domain.zones --fetch    only gets the data, for the test that compares

The program needs phonenumberslite, which is phonenumbers without 45 MB of such data. Both are called
``phonenumbers`` when imported, so the other one has a folder of its own. The data is libphonenumber's,
Copyright (C) The Libphonenumber Authors, under the Apache License 2.0.
"""

import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import phonenumbers
from phonenumbers import PhoneNumber, region_code_for_number

VERSION = "9.0.43"
COMMAND = "python -m tests.domain.zones"
FOLDER = Path(sys.prefix) / "data-of-tests" / f"phonenumbers-{VERSION}"
"""Where phonenumbers is, or will be once it was fetched: unpacked, so that Python compiles it only once."""

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "callrail_relay" / "domain" / "zones.txt"
TOWNS = ROOT / "tests" / "data" / "towns.txt"

_HEAD = f"""\
# The area codes of the US and Canada in each time zone.
#
# Made from the data of phonenumbers {VERSION} by `{COMMAND}`: change nothing here. That data
# is part of libphonenumber, Copyright (C) The Libphonenumber Authors, under the Apache License 2.0
# (https://github.com/google/libphonenumber). An area code is in every zone that it touches.
"""

# Area codes that share their area, of which the data knows all zones of one only (https://www.nanpa.com).
_SHARED = (
    "208 986",
    "236 250 672 778",
    "270 364",
    "306 474 639",
    "367 418 581",
    "423 729",
    "448 850",
    "458 541",
    "812 930",
)
# Lloydminster in Saskatchewan has the clock of Alberta.
_MISSING = {"306": "America/Edmonton"}
# Where the data is wrong: 689 is Orlando, as 407 is, and 879 is Newfoundland and Labrador, as 709 is.
RIGHT = {"689": {"America/New_York"}, "879": {"America/Halifax", "America/St_Johns"}}
_US_AND_CANADA = frozenset({"US", "PR", "VI", "GU", "MP", "AS", "CA"})


def fetch() -> None:
    """Get phonenumbers, unless it is there."""
    if not FOLDER.exists():
        pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps")
        target = ("--no-compile", "--target", str(FOLDER))
        subprocess.run((*pip, *target, f"phonenumbers=={VERSION}"), check=True)


def part(name: str) -> Any:  # noqa: ANN401 - a module without types
    """A module of phonenumbers, also one that phonenumberslite has not."""
    inside = str(FOLDER / "phonenumbers")
    if inside not in phonenumbers.__path__:
        phonenumbers.__path__.append(inside)
    return import_module(f"phonenumbers.{name}")


def table() -> str:
    """The text of the table."""
    areas = defaultdict(list)
    for area, zones in sorted(of_us_and_canada().items()):
        for zone in zones:
            areas[zone].append(area)
    return _HEAD + "".join(f"{zone} {' '.join(found)}\n" for zone, found in sorted(areas.items()))


def of_us_and_canada() -> Mapping[str, set[str]]:
    """
    The zones of each area code: those of all its exchanges, and of the area codes it shares its area with.
    """
    data: Mapping[str, tuple[str, ...]] = part("tzdata").TIMEZONE_DATA
    found: dict[str, set[str]] = defaultdict(set)
    for prefix, zones in data.items():
        if prefix[0] == "1" and len(prefix) >= 4 and is_us_or_canada(prefix[1:4]):
            found[prefix[1:4]].update(zones)
    for area, zone in _MISSING.items():
        found[area].add(zone)
    for group in _SHARED:
        together = set[str]().union(*(found[area] for area in group.split()))
        found.update(dict.fromkeys(group.split(), together))
    return found | RIGHT


def is_us_or_canada(area: str) -> bool:
    number = PhoneNumber(country_code=1, national_number=int(f"{area}5550122"))
    return region_code_for_number(number) in _US_AND_CANADA


def towns() -> str:
    """Towns of the US and Canada, as phonenumbers names the places of numbers, one a line."""
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
