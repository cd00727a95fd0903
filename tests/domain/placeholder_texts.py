"""
Texts with a placeholder that was not filled in, and a seller's ordinary texts with the same marks in them.

    python -m tests.domain.placeholder_texts    prints how many of each are held, and which are told wrong
"""

import random
import sys
from collections.abc import Iterator

from callrail_relay.domain.guards import find_placeholder
from tests.domain.mass_texts import Merge
from tests.domain.mass_texts_held_out import HELD_OUT
from tests.domain.mass_texts_tried import TRIED
from tests.domain.mass_texts_tried_again import TRIED_AGAIN
from tests.domain.mass_texts_tuned import TUNED

PLACEHOLDERS = 1_000
ORDINARY = 4_000

# How programs mark a field, by what the field's name is written like in them.
_OF_WORDS = ("{{%s}}", "[[%s]]", "{%s}", "[%s]", "<<%s>>", "{{ %s }}", "{ %s }", "[ %s ]", "%%%s%%", "((%s))")
_OF_NAMES = (
    *_OF_WORDS,
    "*|%s|*",
    "${%s}",
    "#{%s}",
    "<%%= %s %%>",
    "{$%s}",
    "{%%%s%%}",
    "@@%s@@",
    "~%s~",
    "##%s##",
    "%%%%%s%%%%",
    "{!%s}",
    "<%s>",
    "$%s$",
    "#%s#",
    "|%s|",
    "{{{%s}}}",
    "{{%s|there}}",
    "{%s|there}",
    "%%{%s}",
    "@{%s}",
    "[*%s*]",
    "[%%%s%%]",
)
_WORDS = (
    "first name",
    "First Name",
    "last name",
    "Seller Name",
    "property address",
    "Property Street",
    "your name",
    "company name",
    "Company",
    "city",
    "offer amount",
    "seller first name",
    "agent name",
    "appointment date",
)
_NAMES = (
    "first_name",
    "FIRST_NAME",
    "firstName",
    "FirstName",
    "FIRSTNAME",
    "fname",
    "FNAME",
    "name",
    "NAME",
    "last_name",
    "seller_name",
    "contact_street",
    "contact_first_name",
    "property_address",
    "PropertyAddress",
    "street",
    "city",
    "agent_name",
    "company",
    "offer_price",
    "custom_field_1",
    "userName",
    "seller",
    "address1",
)
_AROUND = (
    "Hi {}, are you still selling?",
    "Hello {}! It's Dana with Oak Homes.",
    "Good morning {}, did you get my offer?",
    "Is {} still for sale? We can do $150,000, 5% down.",
    "I drove by {} today & loved it :)",
    "{}, any news?",
    "Thanks, talk soon. {}",
    "Following up on {} [see photos]. Would 10% off work?",
    "hey {} just checking in",
)
_NOTHING = (
    "null",
    "undefined",
    "[object Object]",
    "NULL",
    "Undefined",
    " null ",
    "undefined undefined",
    "(null)",
    "None",
    "NaN",
    "Hi null, are you still selling?",
    "Hi undefined, are you still selling?",
    "Hello null! It's Dana.",
    "Hey None, did you get my offer?",
    "Hi [object Object], any news?",
    "Dear null null, thanks for calling.",
    "Are you the owner of undefined?",
    "Still thinking of selling undefined, Dana?",
    "This is undefined with Oak Homes, got a minute?",
    "Our offer for null is $150,000.",
    "We can pay $NaN in cash.",
    "See you on Invalid Date!",
    "Hi #N/A, are you still selling?",
    "Your offer is #REF! until Friday",
    "{Hi|Hello|Hey} Dana, any news?",
    "Hi {}, are you still selling?",
    "Hi %s, are you still selling 12 Oak St?",
    "Hi %1$s, still selling?",
    "Hi FIRST_NAME, still selling?",
    "Hi first_name, still selling?",
    "Hi (first_name), still selling?",
    "Hi $first_name, still selling?",
    "Hi Name, still selling?",
    "Hi {% if name %}Dana{% endif %}, any news?",
    "Book here: https://oak.example/book?name={first_name}",
    "Book here: https://oak.example/%first_name%",
    "Hi {{first_name",
)

# What a seller's office writes with these marks, in its own words.
_ORDINARY = (
    "We can do {price}, {n}% down and {m}% at closing.",
    "{n}% down, {m}% interest. Deal?",
    "It's {n}%-{m}% below asking",
    "100% sure {first}!",
    "I'm 100%, no, 110% sure",
    "50%/50% split works, {first}",
    "We take {n}%off the price and {m}%on top",
    "Is {n} % ok? {m} % is the most we can do",
    "commission is {n}%, closing costs {m}%, taxes 1%.",
    "{n}% of {price} is a lot %-wise",
    "{first} :{{ sorry to hear that",
    "oh no :-{{ call me at {time}",
    ":}} thanks {first}",
    "great news :]] see you {day}",
    "haha :]] ok",
    "[smile] sounds good {first}",
    "[photo] [photo] is this the roof?",
    "[see attached] {first}, contract for {address}",
    "[x] cash [ ] loan, which one?",
    "Option A [{price}] or option B [{price}], {first}?",
    "[{n} bed, 2 bath] right?",
    "{{smile}} thanks {first}",
    "{{hugs}} to you and the family",
    "{{a bit late, sorry}} still interested?",
    "The lot {{{n} acres}} is it flat?",
    "I <3 that kitchen {first}",
    "<3 <3 <3",
    "anything <{price} works for us",
    "we need >{n} acres but <{m} is fine",
    "<grin> ok {first}",
    ">> {address} << is that yours?",
    "<<< see below >>>",
    "<<call me back>>",
    "~{price} is what we can do",
    "about ~{n} days ~ {m} days",
    "~{first}~",
    "~~ {me}",
    "|| {me} at {company} ||",
    "#{n} Oak or #{m} Oak?",
    "#homes #cash #{town}",
    "we're #1 in {town}!",
    "apt #{n}, unit #{m}",
    "$$$ fast closing $$$",
    "$cash$ for {address}",
    "{price} - {price} depending on the roof",
    "$150k? $200k? name your price {first}",
    "Would you take $150K/$160K?",
    "**no fees** and *no repairs*",
    "__no__ fees, _ever_",
    "sign here ____ and here ____",
    "e-mail {me}.{last}@oakhomes.example or me_{last}@oak.example",
    "my email is first.last@oakhomes.example",
    "find us @oak_homes or @first_class_homes",
    "see https://oak.example/a%20b%20c?x=%7B1%7D",
    "https://oak.example/caf%C3%A9%20offer%E2%80%99s",
    "https://oak.example/?utm_source=sms&utm_campaign=sell_my_house",
    "www.oak_homes.example/first_offer",
    "photos: https://oak.example/p/[{n}]/",
    "Hi {first}, name your price!",
    "Hello {first}! What's your full name for the contract?",
    "Hi, name's {me}, I called about {address}",
    "Hey, what name is on the deed, {first}?",
    "address: {address}, right?",
    "What's the street address, city and zip?",
    "Is the owner's name {full}? (first name basis is fine)",
    "need: name, phone, email. thx",
    "can you send me the (name) of the title company?",
    "Date: {day}, time: {time}",
    "re: {address}: offer: {price}",
    "closing:{day}, price:{price}",
    "The first contract is null and void, {first}",
    "that offer is null now",
    "the lot line is undefined on the survey",
    "None of the offers were under {price}",
    "None.",
    "none",
    "No",
    "n/a",
    "Hi Nan, it's {me}. Still thinking of selling {address}?",
    "Dear Nan, thanks for your time",
    "Hey none of my business but why sell?",
    "Ms. Null is the notary, see you {day}",
    "the object is to close by {day}",
    "[call me] {first}",
    "call me {{after {n}}}",
    "(({first})) miss you at the closing!",
    "{first}!!! call me !!!",
    "ok!thanks!bye!",
    "wow!great!",
    "yes|no|maybe?",
    "roof/hvac/water heater: all good?",
    "5'x7' closet, 12'x14' bedroom",
    "c/o {full}, {address}",
    "P.S. taxes are {price}/yr @ 1.{n}%",
    "meet @ {address} @ {time}",
    "3 bd/2 ba, 1,{n}00 sqft, built 19{n}",
    "lot 5 ^ see the map ^",
    "a^2 + b^2, I measured the deck ;)",
    "done.Thanks {first}.Call me",
    "u.s.a. based, a.m. or p.m.?",
    "seller.com or zillow.com?",
    "{address} = {price}, {address} = {price}",
    "offer #{n}: {price}; offer #{m}: {price}",
    "(1) price (2) date (3) repairs",
    "1] roof 2] hvac 3] paint",
    "{{1}} roof {{2}} hvac",
    "price isn't {{final}} yet",
    "the [old] roof or the [new] one?",
    "are you {first} [last name {last}]?",
    "it's <b>your</b> call",
    "*tap* *tap* anyone there?",
    "we close in {n}-{m} days, % of deals that fail: 0%",
    "\U0001f600\U0001f44d {first}! 100% \U0001f4af",
    "\u00a1Hola {first}! \u00bfTodav\u00eda vende {address}? Pagamos 100% en efectivo",
    "\u00abOui\u00bb {first}, 5 % de moins",
    "q: roof age? a: {n} yrs",
    "@{first} see you {day}",
    "$1,000/mo + 5%/yr, {n}yr term",
    "{time}:00? or {day}?",
    "it's 5:30:00 pm ;-)",
    "k",
    "?",
    "...",
    ":)",
    "{{ {first}",
    "}} oops, typed that by accident",
    "] oops",
    "if (roof) then {price} else less :)",
    "f(x) = 2x, that's how the price works lol",
    "thx{first}:)thx",
    "50 % name recognition isn't bad for {town}",
    "5% address fee, 3% city fee",
    "1%city tax,2%county tax",
    "price (OBO), time (TBD), date [TBD]",
    "{first} / {me} / {company}",
    "Mr. {last}, {address} [corner lot] - still available?",
)


def placeholder_texts(count: int = PLACEHOLDERS, seed: int = 23) -> list[str]:
    """Texts that are to be held, all of them different."""
    chance = random.Random(seed)
    texts = dict.fromkeys(_NOTHING)
    while len(texts) < count:
        syntaxes, names = chance.choice(((_OF_NAMES, _NAMES), (_OF_NAMES, _NAMES), (_OF_WORDS, _WORDS)))
        placeholder = chance.choice(syntaxes) % chance.choice(names)
        texts[chance.choice(_AROUND).replace("{}", placeholder)] = None
    return list(texts)


def ordinary_texts(count: int = ORDINARY, seed: int = 25) -> list[str]:
    """Texts that are to be sent: half with such marks in them, half as any office sends."""
    chance = random.Random(seed)
    marked, plain = _merged(_ORDINARY, chance), _plain(chance)
    texts: dict[str, None] = {}
    while len(texts) < count:
        texts[next(marked)] = None
        texts[next(plain)] = None
    return list(texts)[:count]


def _merged(templates: tuple[str, ...], chance: random.Random) -> Iterator[str]:
    merge = Merge(TUNED, chance)
    while True:
        template = chance.choice(templates).replace("{m}", str(chance.randrange(2, 90)))
        yield merge.text(template).text


def _plain(chance: random.Random) -> Iterator[str]:
    materials = (TUNED, TRIED, TRIED_AGAIN, HELD_OUT)
    merges = {id(material): Merge(material, chance) for material in materials}
    while True:
        material = chance.choice(materials)
        template = chance.choice((*material.templates, *material.ordinary))
        yield merges[id(material)].text(template).text


def _say(words: str) -> None:
    sys.stdout.write(f"{words}\n")


def main() -> None:
    missed = [text for text in placeholder_texts() if find_placeholder(text) is None]
    wrong = {text: found for text in ordinary_texts() if (found := find_placeholder(text)) is not None}
    _say(f"placeholders found: {1 - len(missed) / PLACEHOLDERS:.2%} of {PLACEHOLDERS}")
    _say(f"ordinary texts held: {len(wrong) / ORDINARY:.2%} of {ORDINARY}")
    for text in missed:
        _say(f"missed: {text}")
    for text, found in wrong.items():
        _say(f"held: {text!r} for {found}")


if __name__ == "__main__":
    main()
