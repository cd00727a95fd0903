"""
Generated pairs of texts, and how often their wordings are told right: ``python -m tests.domain.wordings``.

Two parts of material. On the *tuned* one rules and vocabulary were made; two thirds of it were held out at
first, and given up when what they had shown was mended. What is *held out* now was written after that, and
nothing was mended for it but this: the share of its texts that were thought too short showed that eight
words are enough with less weight. Its towns, and half of the others, are those of phonenumbers' data, in
two halves.

Each part gives pairs of one template with other values, to be recognised as one, and pairs of different
texts, to be told apart: templates, ordinary texts, both, and pairs that differ in one word.
"""

import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from timeit import repeat

from callrail_relay.domain.wording import wording
from tests.domain.wordings_held_out import HELD_OUT
from tests.domain.wordings_material import Material
from tests.domain.wordings_tried import TRIED
from tests.domain.wordings_tried_again import TRIED_AGAIN
from tests.domain.wordings_tuned import TUNED
from tests.domain.zones import TOWNS

PARTS = {"tuned": (TUNED, TRIED, TRIED_AGAIN), "held out": (HELD_OUT,)}
LONG = (
    "Hi Dana, this is Pat with ABC Homes. Are you still thinking of selling 12 Oak St in Fort Worth? We could"
    " pay $120,000 in cash and close by Friday. Reply STOP to stop."
)
"""A text of the usual kind and length."""

_DAYS = ("Monday", "Tuesday", "Wed", "Thursday", "Fri", "Saturday", "Sunday")
_MONTHS = (
    "January",
    "Feb",
    "March",
    "April",
    "May",
    "June",
    "Jul",
    "August",
    "Sept",
    "October",
    "Nov",
    "December",
)
_STATES = (
    "TX",
    "IN",
    "OR",
    "ME",
    "OH",
    "OK",
    "HI",
    "CA",
    "Florida",
    "LA",
    "ON",
    "PA",
    "AL",
    "New Mexico",
    "MA",
)
_NUMBERS = ("2", "3", "five", "six", "7", "ten", "12", "14", "twenty", "30")


@dataclass(frozen=True, slots=True)
class Text:
    """
    A generated text, and the name of the person it goes to as the payload has it.
    """

    text: str
    seller: str


@dataclass(frozen=True, slots=True)
class Figures:
    """
    How many of how many pairs were told right, with the recipients' names known or not.
    """

    recognised: int
    of_one: int
    confused: int
    of_different: int
    confused_near: int
    of_near: int

    @property
    def recall(self) -> float:
        return self.recognised / self.of_one

    @property
    def confusion(self) -> float:
        return self.confused / self.of_different

    def __str__(self) -> str:
        return (
            f"one wording recognised {self.recall:.2%} of {self.of_one}; different texts taken for one "
            f"{self.confusion:.2%} of {self.of_different} (of those that differ in one word "
            f"{self.confused_near} of {self.of_near})"
        )


class Merge:
    """
    Merges values into templates, as a CRM does with what people once typed into it.
    """

    def __init__(self, material: Material, chance: random.Random) -> None:
        self._material = material
        self._chance = chance

    def text(self, template: str) -> Text:
        given, family = self._given(), self._family()
        full = f"{given} {family}"
        if self._chance.random() < 0.1:
            full, given = self._several(given, family)
        style = self._style()
        values: dict[str, Callable[[], str]] = {
            "first": lambda: style(given),
            "last": lambda: style(family),
            "full": lambda: style(full),
            "me": self._given,
            "address": self._address,
            "town": self._town,
            "price": self._price,
            "day": self._day,
            "time": self._time,
            "n": lambda: self._chance.choice(_NUMBERS),
            "company": lambda: self._chance.choice(self._material.companies),
            "phone": self._phone,
            "link": self._link,
        }
        return Text(template.format_map({key: make() for key, make in values.items()}), full)

    def _given(self) -> str:
        return self._chance.choice(self._material.given)

    def _family(self) -> str:
        return self._chance.choice(self._material.family)

    def _several(self, given: str, family: str) -> tuple[str, str]:
        """
        Couples, trusts and estates: the whole name, and what stands where a first name should.
        """
        other = self._given()
        return self._chance.choice(
            (
                (f"{given} and {other} {family}", f"{given} and {other}"),
                (f"{given} & {other} {family}", f"{given} & {other}"),
                (f"The {family} Family Trust", f"The {family} Family Trust"),
                (f"Estate of {given} {family}", f"Estate of {given} {family}"),
                (f"{given} {family} Jr.", f"{given} {family} Jr."),
                (f"{family} Holdings LLC", f"{family} Holdings LLC"),
            )
        )

    def _style(self) -> Callable[[str], str]:
        """
        How a name was typed: as it should be, in small or capital letters, or not at all.
        """
        drawn = self._chance.random()
        if drawn < 0.08:
            return str.lower
        if drawn < 0.14:
            return str.upper
        return (lambda name: "") if drawn < 0.19 else (lambda name: name)

    def _any_case(self, words: str) -> str:
        drawn = self._chance.random()
        return words.lower() if drawn < 0.08 else words.upper() if drawn < 0.13 else words

    def _address(self) -> str:
        if self._chance.random() < 0.02:
            return ""
        chance, number = self._chance, self._chance.randrange(1, 12999)
        street = (
            f"{chance.choice(self._material.streets)} {chance.choice(chance.choice(self._material.suffixes))}"
        )
        unit = chance.choice((*[""] * 8, " Apt 4B", " #12", ", Unit 3", " Suite 200", " apt c"))
        place = ""
        if chance.random() < 0.4:
            place = f", {self._plain_town()}"
            place += chance.choice(
                ("", f", {chance.choice(_STATES)}", f", {chance.choice(_STATES)} {number:05}")
            )
        written = f"{number} {street}{unit}" if chance.random() < 0.93 else street
        return self._any_case(written + place)

    def _plain_town(self) -> str:
        own = self._material.towns
        if own and self._chance.random() < 0.5:
            return self._chance.choice(own)
        return self._chance.choice(real_towns()[0 if own else 1 :: 2])

    def _town(self) -> str:
        drawn = self._chance.random()
        town = self._plain_town()
        if drawn < 0.02:
            return ""
        return self._any_case(town if drawn < 0.8 else f"{town}, {self._chance.choice(_STATES)}")

    def _price(self) -> str:
        thousands = self._chance.randrange(20, 990)
        return self._chance.choice(
            (
                f"${thousands},000",
                f"${thousands}k",
                f"{thousands}K",
                f"${thousands}000.00",
                f"{thousands} thousand",
                f"$1.{thousands % 10} million",
                f"{thousands},500 dollars",
                "$",
                "",
                f"{thousands * 1000} USD",
            )
        )

    def _day(self) -> str:
        day, month, number = (
            self._chance.choice(_DAYS),
            self._chance.choice(_MONTHS),
            self._chance.randrange(1, 29),
        )
        return self._chance.choice(
            (
                day,
                f"{month} {number}",
                f"{month} {number}th, 2026",
                f"{number % 12 + 1}/{number}",
                f"{day} {month} {number}th",
                f"{day.lower()}",
                f"{number % 12 + 1}-{number}-26",
                f"the {number}th",
                "",
            )
        )

    def _time(self) -> str:
        hour = self._chance.randrange(1, 12)
        return self._chance.choice(
            (
                f"{hour}pm",
                f"{hour}:30 PM",
                f"{hour} a.m.",
                "noon",
                f"{hour}:15",
                f"{hour} o'clock",
                f"{hour}-{hour + 1} pm",
            )
        )

    def _phone(self) -> str:
        last = self._chance.randrange(100, 200)
        return self._chance.choice(
            (f"(202) 555-0{last}", f"202-555-0{last}", f"+12025550{last}", f"202.555.0{last}")
        )

    def _link(self) -> str:
        token = "".join(self._chance.choices("abcdefghkmnpqrstuvwxyzABCDEFG23456789", k=7))
        return self._chance.choice(
            (
                f"https://sign.example.com/d/{token}?e=1",
                f"bit.ly/{token}",
                f"www.{token}.example.com",
                f"{token}@example.com",
            )
        )


@cache
def real_towns() -> tuple[str, ...]:
    """
    Towns of the US and Canada, as phonenumbers names the places of numbers.
    """
    return tuple(TOWNS.read_text(encoding="utf-8").splitlines())


def of_one(material: Material, count: int, chance: random.Random) -> list[tuple[Text, Text, bool]]:
    """
    Pairs of one template with other values.
    """
    merge = Merge(material, chance)
    templates = [chance.choice(material.templates) for _ in range(count)]
    return [(merge.text(template), merge.text(template), False) for template in templates]


def of_different(material: Material, count: int, chance: random.Random) -> list[tuple[Text, Text, bool]]:
    """
    Pairs of different texts; True marks those that differ in one word.
    """
    merge = Merge(material, chance)
    pairs = []
    for number in range(count):
        near = number % 4 == 0
        if near:
            one, other = chance.choice(material.pairs_of_one_word)
        else:
            pool = (material.templates, material.ordinary, material.templates + material.ordinary)[
                number % 4 - 1
            ]
            one, other = chance.sample(pool, 2)
        pairs.append((merge.text(one), merge.text(other), near))
    return pairs


def measure(part: str, *, names: bool, count: int = 10_000, seed: int = 4) -> Figures:
    """
    The figures of one part of the material, *count* pairs of each kind; *names* says whether those are known.
    """
    chance = random.Random(seed)
    materials = PARTS[part]
    share = -(-count // len(materials))
    same = [pair for material in materials for pair in of_one(material, share, chance)]
    different = [pair for material in materials for pair in of_different(material, share, chance)]
    confused = [near for one, other, near in different if _as_one(one, other, names=names)]
    return Figures(
        recognised=sum(_as_one(one, other, names=names) for one, other, _ in same),
        of_one=len(same),
        confused=len(confused),
        of_different=len(different),
        confused_near=sum(confused),
        of_near=sum(near for _, _, near in different),
    )


def _as_one(one: Text, other: Text, *, names: bool) -> bool:
    return None is not digest(one, names=names) == digest(other, names=names)


def digest(one: Text, *, names: bool) -> bytes | None:
    return wording(one.text, names=(one.seller,) if names else ())


def microseconds(text: str, seller: str) -> float:
    """
    How long the wording of *text* takes, the least of many times.
    """
    turns = repeat(lambda: wording(text, names=(seller,)), number=100, repeat=50)
    return min(turns) / 100 * 1_000_000


def main() -> None:
    for part in PARTS:
        for names in (True, False):
            known = "names known" if names else "names unknown"
            sys.stdout.write(f"{part}, {known}: {measure(part, names=names)}\n")
    sys.stdout.write(f"{len(LONG)} characters: {microseconds(LONG, 'Dana Smith'):.0f} µs\n")


if __name__ == "__main__":
    main()
