"""
What a reply says about being texted. Clear replies count at once; doubtful ones are put to the owner.

A missed opt-out breaks the law (47 CFR 64.1200(a)(10)); a false one loses a seller. tests/domain/replies/ has
the replies that the rules were tuned on, and measures them.
"""

import re
import unicodedata
from enum import StrEnum
from importlib.resources import files


class OptKeyword(StrEnum):
    STOP = "stop"  # no more texts from this number
    MAYBE_STOP = "maybe_stop"  # it may mean that; a person has to read it
    START = "start"  # texts are welcome again
    YES = "yes"  # the same if CallRail asks it of a person who had opted out; otherwise an ordinary answer


def _read_rules() -> tuple[dict[str, str], dict[str, str]]:
    """Return the short forms in ``opt_keywords.txt``, and each section as one pattern of all its rules."""
    text = files(__package__).joinpath("opt_keywords.txt").read_text(encoding="utf-8")
    text = re.sub(r"^#.*\n|\n {4}", "", text, flags=re.MULTILINE)
    sections = dict(re.findall(r"^\[(\w+)\]\n(.*?)\n+(?=\[\w+\]\n|\Z)", text, re.MULTILINE | re.DOTALL))
    short, named = (
        dict(line.split(" = ", 1) for line in sections.pop(name).splitlines())
        for name in ("shorthand", "names")
    )
    patterns = {}
    for name, rules in sections.items():
        pattern = rules.replace("\n", "|")
        while (longer := re.sub("[A-Z]{2,}", lambda found: named[found[0]], pattern)) != pattern:
            pattern = longer
        patterns[name] = pattern
    return short, patterns


_SHORT, _RULES = _read_rules()
# Compiled by the first reply, and kept by `re`: that takes longer than to load any other module.
_CLEAR, _DOUBTFUL = _RULES["clear"], _RULES["doubtful"]

_LONGEST = 2000  # characters to read: CallRail delivers 1,600
_SIGNATURE = re.compile(rf"^\W*(?:{_RULES['signature']})", re.IGNORECASE)
# iMessage and Android send a reaction as a text that quotes ours, which may end with "Reply STOP to opt out".
# Nothing is tried twice over the same characters, so any reply takes milliseconds.
_QUOTED = re.compile(r'[“«"][^“”«»"\s]*+\s[^“”«»"\s]*+\s[^“”«»"]*+(?:[”»"]|$)')
_TO_OPT_OUT = r"(stop|unsubscribe|opt ?out|cancel|end|quit|leave|remove)"
# What other businesses' automatic replies tell *us* to do.
_INSTRUCTION = re.compile(
    rf"\b(reply|text|txt|send|type|respond|answer) (with )?{_TO_OPT_OUT}(?P<why> (to|for|if|2) .*)?(?= \||$)"
)
_NEGATED = re.compile(rf"\b(?:{_RULES['negations']})(?: ever| to)? (?:{_RULES['negated']})\b")
_FILLERS = re.compile(rf"\b(?:{_RULES['fillers']})\b ?")


def _plain(content: str) -> str:
    """Return the text in plain letters, without accents, apostrophes, unseen marks, quotes, signatures."""
    text = unicodedata.normalize("NFKD", content.strip()[:_LONGEST])
    text = "".join(one for one in text if unicodedata.category(one) not in ("Mn", "Cf"))
    text = re.sub("['`\u2018\u2019\u00b4]", "", text)
    lines = _QUOTED.sub(" ", text).splitlines()
    cut = next((number for number, line in enumerate(lines) if number and _SIGNATURE.match(line)), None)
    return "\n".join(lines[:cut]).strip()


def _words(text: str) -> str:
    """Return its words in lower case, with a bar between sentences and lines: "no thanks | stop"."""
    marked = re.sub(r"[.,;:!?()\n\r…]+|\s[-\u2013\u2014~]+\s|--+", " | ", text.casefold())
    # Only letters and digits remain: no emoji, dashes within words, or asterisks.
    words = re.sub(r"[^\w|]+|_", " ", marked.replace("#", " number "))
    words = re.sub(r"([a-z])\1{2,}", r"\1", words)
    return _bars(" ".join(words.split()))


def _bars(words: str) -> str:
    return re.sub(r"(?:\s*\|\s*)+", " | ", words).strip(" |")


def _gist(words: str) -> str:
    """Return the same without filler, what is denied, and what only quotes an instruction."""
    # "S T O P", "S.T.O.P."
    plain = re.sub(r"\b(?:[a-z](?: \|)? ){2,}[a-z]\b", lambda found: re.sub(r"\W", "", found[0]), words)
    if all(part.isalnum() for part in plain.split(" | ")):
        plain = plain.replace(" | ", " ")  # "Quit. Texting. Me."
    plain = re.sub("[a-z]+", lambda found: _SHORT.get(found[0], found[0]), plain)
    return _bars(_NEGATED.sub("unsaid", _INSTRUCTION.sub("", _FILLERS.sub("", plain))))


_RESUBSCRIBE = {"start": OptKeyword.START, "unstop": OptKeyword.START, "yes": OptKeyword.YES}

# https://support.callrail.com/hc/en-us/articles/11491614252045
_OF_CALLRAIL = ("stop", "end", "cancel", "unsubscribe", "quit")

_SURE = frozenset(_RULES["sure"].split("|"))
_KEYWORDS = _SURE.union(_RULES["keywords"].split("|"))
_COURTESY = rf"(?:{_RULES['courtesies']}|\|)"
_BEFORE = re.compile(rf"^(?:{_COURTESY} )+")
_AFTER = re.compile(rf"(?: {_COURTESY})+$")


def _core(words: str) -> str:
    """Return it without courtesies at both ends; of a repetition, the first: "please stop stop"."""
    core = _AFTER.sub("", _BEFORE.sub("", words)).strip(" |")
    parts = [part.split() for part in re.split(r"(?: \|)+ ?", core)]
    every = {words[0] if _KEYWORDS.issuperset(words) else " ".join(words) for words in parts if words}
    return every.pop() if len(every) == 1 else core


_NAME = re.compile(r"[\W_]*(?:(?:[A-Z][\w.]*+|(?:de|la|van|von)\b)[\s,]*+){1,4}[\W_]*")
_NO_NAMES = re.compile(
    r"\b(mon|tues|wednes|thurs|fri|satur|sun)day\b|\b(today|tomorrow|tonight|yes|no|ok)\b", re.IGNORECASE
)
_REGARDS = re.compile(rf"\b({_RULES['regards']})\b", re.IGNORECASE)


def _is_signed(text: str) -> bool:
    """Whether it's a keyword with a name behind it: "STOP - John", or "Unsubscribe, thanks, Bob"."""
    found = re.match(r"([\w' -]*?\w)\W*?([\n,.!~\u2013\u2014]|--| -)(.*)", text, re.DOTALL)
    if found is None:
        return False
    keyword, mark, rest = _core(_gist(_words(found[1]))), found[2], _REGARDS.sub(" ", found[3])
    if keyword not in _KEYWORDS or (mark in ",.!" and keyword not in _SURE):
        return False
    lines = rest.strip(" \n,.!~\u2013\u2014-")
    # The lines after a signature's first one, such as a firm and its address, belong to it.
    first = lines.split("\n", 1)[0] if mark != "\n" or found[3].lstrip(" \n").startswith("-") else lines
    return bool(_NAME.fullmatch(first)) and not _NO_NAMES.search(first)


_SLIPS = {"stop": 1, "cancel": 1, "remove": 1, "remove me": 1, "opt out": 1, "quit": 1, "quite": 0}
_SLIPS |= {"unsubscribe": 3, "unsubscribe me": 3, "desabonner": 2}


def _distance(one: str, other: str) -> int:
    """Return how many letters differ; two that changed places count once."""
    before, row = list[int](), list(range(len(other) + 1))
    for i, a in enumerate(one, start=1):
        older, before, row = before, row, [i]
        for j, b in enumerate(other, start=1):
            row.append(min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b)))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                row[j] = min(row[j], older[j - 2] + 1)
    return row[-1]


_STOP_SIGNS = frozenset("🛑⛔🚫🖕")


def is_callrails_keyword(content: str) -> bool:
    return _words(_plain(content)) in _OF_CALLRAIL


def read_opt_keyword(content: str | None) -> OptKeyword | None:
    """Return what a reply says about being texted; None for an ordinary reply."""
    text = _plain(content or "")
    words = _words(text)
    if words in _RESUBSCRIBE:
        return _RESUBSCRIBE[words]
    gist = _gist(words)
    core = _core(gist)
    if core in _KEYWORDS or _is_signed(text) or re.search(_CLEAR, gist):
        return OptKeyword.STOP
    # A typing slip: "stpo", "st0p", "unsubcribe".
    is_slip = len(core) <= 14 and any(_distance(core, word) <= most for word, most in _SLIPS.items())
    is_sign = content and not words and _STOP_SIGNS & set(content)
    is_told = not gist and (told := _INSTRUCTION.search(words)) and not told["why"]  # "text stop"
    if is_slip or is_sign or is_told or re.search(_DOUBTFUL, gist):
        return OptKeyword.MAYBE_STOP
    return None
