"""Unfilled placeholders: most syntaxes count only around a field's name, or what only programs write."""

import re
import tomllib
from collections.abc import Iterator
from importlib.resources import files

_TABLES = tomllib.loads(files(__package__).joinpath("placeholders.toml").read_text(encoding="utf-8"))
_CORE = frozenset(_TABLES["field_words"].split())
_KNOWN = _CORE | frozenset(_TABLES["other_words"].split())


def _compiled(section: str) -> dict[str, re.Pattern[str]]:
    """The patterns of a section, with those that are [named] put in the place of their names."""
    named: dict[str, str] = _TABLES["named"]
    names = re.compile("|".join(map(re.escape, named)))
    patterns: dict[str, str] = _TABLES[section]
    return {key: re.compile(names.sub(lambda name: named[name[0]], one)) for key, one in patterns.items()}


_PATTERNS = _compiled("patterns")
_MARKED = _compiled("marked")


def find_placeholder(text: str) -> str | None:
    """The first placeholder in *text* that was not filled in, as it is written there."""
    found = min(_placeholders(text), key=lambda match: match.start(), default=None)
    return None if found is None else found[0].strip()[:60]


def _placeholders(text: str) -> Iterator[re.Match[str]]:
    """All that are found; what costs time is not looked for if its mark is missing."""
    if _PATTERNS["marks_of_certain"].search(text):
        yield from _PATTERNS["certain"].finditer(text)
    if _PATTERNS["words_of_nothing"].search(text):
        yield from _PATTERNS["greeted_nothing"].finditer(text)
        yield from _PATTERNS["named_nothing"].finditer(text)
        if only := _PATTERNS["only_nothing"].fullmatch(text):
            yield only
    for match in _PATTERNS["percent"].finditer(text) if "%" in text else ():
        if not _PATTERNS["escape"].match(match[1]) and "/" not in re.split(r"\s", text[: match.start()])[-1]:
            yield match  # not in a link
    for mark, pattern in _MARKED.items():
        for match in pattern.finditer(text) if mark in text else ():
            if _names_a_field(match[1], match[0]):
                yield match


def _names_a_field(inside: str, whole: str) -> bool:
    """Whether all words of it are those of fields; in braces also what only a program writes as one word."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Za-z])(?=[0-9])", " ", inside)
    words = re.split(r"[\s_.'\u2019-]+", apart.strip().lower())
    known = sum(word in _KNOWN for word in words)
    if known == len(words) and len(words) <= 5:
        # "[last]" may be a person's own; a brace around it is not.
        return any(word in _CORE for word in words) or whole[0] == "{"
    if whole[0] in "{[(<%#~$":
        return bool(_PATTERNS["joined"].fullmatch(inside)) and (whole[0] == "{" or known > 0)
    return False
