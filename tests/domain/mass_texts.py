"""
Generated texts, and how well mass texts are told from ordinary ones: ``python -m tests.domain.mass_texts``.

Two parts of material: the *tuned* one was looked at while the rules were made, the *held out* one was not.
Each template is merged for eight people with names, streets, towns, prices and dates as people type them.
Ordinary streams are what an office writes by hand in ten minutes: answers, short texts and single offers.
"""

import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from timeit import repeat

from callrail_relay.domain.guards import MASS_TEXT_RECIPIENTS, are_similar, similarity_words
from tests.domain.mass_texts_held_out import HELD_OUT
from tests.domain.mass_texts_material import Material
from tests.domain.mass_texts_tried import TRIED
from tests.domain.mass_texts_tried_again import TRIED_AGAIN
from tests.domain.mass_texts_tuned import TUNED
from tests.domain.zones import TOWNS

PARTS = {"tuned": (TUNED, TRIED, TRIED_AGAIN), "held out": (HELD_OUT,)}
PEOPLE = 8
STREAM = 25
"""Texts in ten minutes, at 150 an hour."""

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
    """A generated text, and the name of the person it goes to as the payload has it."""

    text: str
    seller: str


@dataclass(frozen=True, slots=True)
class Figures:
    """How many of *runs* templates were held by the fifth and by the eighth text, and ordinary texts held."""

    by_fifth: int
    by_eighth: int
    runs: int
    false_holds: int
    ordinary: int

    def __str__(self) -> str:
        return (
            f"templates held by the fifth text {self.by_fifth / self.runs:.2%}, by the eighth "
            f"{self.by_eighth / self.runs:.2%} of {self.runs}; ordinary texts held "
            f"{self.false_holds / self.ordinary:.3%} of {self.ordinary}"
        )


class Merge:
    """Merges values into templates, as a CRM does with what people once typed into it."""

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
        """Couples, trusts and estates: the whole name, and what stands where a first name should."""
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
        """How a name was typed: as it should be, in small or capital letters, or not at all."""
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
    """Towns of the US and Canada, as phonenumbers names the places of numbers."""
    return tuple(TOWNS.read_text(encoding="utf-8").splitlines())


def held(texts: Sequence[Text], *, names: bool) -> list[bool]:
    """Which of *texts*, each to another person and all within ten minutes, count as a mass text."""
    seen: list[frozenset[str] | None] = []
    found = []
    for one in texts:
        words = similarity_words(one.text, one.seller if names else None)
        alike = [other for other in seen if words and other and are_similar(words, other)]
        found.append(len(alike) + 1 >= MASS_TEXT_RECIPIENTS)
        seen.append(words)
    return found


def measure(part: str, *, names: bool, runs: int = 20, streams: int = 400, seed: int = 4) -> Figures:
    """The figures of one part: *runs* of each template, and *streams* of ordinary texts of each material."""
    chance = random.Random(seed)
    mass: list[list[bool]] = []
    ordinary: list[bool] = []
    for material in PARTS[part]:
        merge = Merge(material, chance)
        for template in material.templates:
            mass += [held([merge.text(template) for _ in range(PEOPLE)], names=names) for _ in range(runs)]
        near = [text for pair in material.pairs_of_one_word for text in pair]
        single = [*material.ordinary, *material.short, *material.templates, *near]
        for _ in range(streams):
            ordinary += held([merge.text(text) for text in chance.sample(single, STREAM)], names=names)
    return Figures(
        by_fifth=sum(any(one[:5]) for one in mass),
        by_eighth=sum(any(one) for one in mass),
        runs=len(mass),
        false_holds=sum(ordinary),
        ordinary=len(ordinary),
    )


def microseconds(text: str, seller: str) -> float:
    """How long the words of *text* take when they are not remembered, the least of many times."""
    turns = repeat(lambda: similarity_words.__wrapped__(text, seller), number=100, repeat=50)
    return min(turns) / 100 * 1_000_000


def main() -> None:
    for part in PARTS:
        for names in (True, False):
            known = "names known" if names else "names unknown"
            sys.stdout.write(f"{part}, {known}: {measure(part, names=names)}\n")
    sys.stdout.write(f"{len(LONG)} characters: {microseconds(LONG, 'Dana Smith'):.0f} µs\n")


if __name__ == "__main__":
    main()
