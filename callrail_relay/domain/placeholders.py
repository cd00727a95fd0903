"""Unfilled placeholders: most syntaxes count only around a field's name, or what only programs write."""

import re
from collections.abc import Iterator

_FIELDS = """
    address agency agent amount appointment arv broker business buyer calendar city client closing company
    contact country county custom customer date email employee field firstname fname fullname gender
    greeting headline id investor lastname lead link lname location mail merge mobile name neighborhood
    nickname number offer opportunity owner person phone postal price property prospect realtor recipient
    rep representative salutation seller sender signature state street subdivision surname tag title url
    user username variable website zip zipcode
"""
_WORDS_OF_FIELDS = """
    1 2 3 4 5 account add address1 address2 alias asking assigned beds baths birth booking cash cell code
    contacts current data day default due enter estimated fill first full here home in inbound insert is
    last line listing mailing middle my nick of office old or our primary s short site spouse sqft subject
    task team text their time user's value value1 work workspace year your
"""
_CORE = frozenset(_FIELDS.split())
_KNOWN = _CORE | frozenset(_WORDS_OF_FIELDS.split())

# As programs write several words: first_name, firstName, contact.name
_JOINED = re.compile(r"[A-Za-z]+(?:_[A-Za-z0-9]+)+|[a-z]+(?:[A-Z][a-z]+)+|[A-Za-z]+(?:\.[A-Za-z]+)+")

_NAME = r"[A-Za-z][A-Za-z0-9_.-]{0,60}"
_INSIDE = r"[A-Za-z][\w .'-]{0,60}"

# These are of programs alone: what is inside does not matter. Eyes before them make a face of them.
_CERTAIN = re.compile(
    r"""
    (?<![{\[])(?:\{{2,3}|\[{2,3})[^{}\[\]\n]{0,60}?\w[^{}\[\]\n]{0,60}[}\]]{2,3}
    | (?<![:;=8xX'{\[-])(?:\{\{|\[\[) | (?<![:;=8xX'}\]-])(?:\}\}|\]\])
    | \*\|[^|\n]{1,60}\|\*
    | <%.{0,60}?%> | <\?(?:php|=).{0,60}
    | \{%.{0,60}?%\} | \{[$!@\#:=/&^][A-Za-z_][^{}\n]{0,60}\}
    | [$\#@%&]\{[A-Za-z_][^{}\n]{0,60}\}
    | \{[^{}|\n]{1,40}(?:\|[^{}|\n]{0,40}){1,20}\}
    | \{\s?\}
    | @@[A-Za-z][\w .-]{0,60}@@ | \#\#[A-Za-z][\w .-]{0,60}\#\# | %%[A-Za-z][\w .-]{0,60}%%
    | <<[A-Za-z]\w{0,60}>>
    | (?<![\w%])%(?:[0-9]\$)?s(?!\w)
    | \[object\s\w+\] | \#(?:N/A|REF!|VALUE!|NAME\?|DIV/0!|NUM!|NULL!)
    | \bNaN\b | \bInvalid\ Date\b
    """,
    re.VERBOSE,
)
_MARKS_OF_CERTAIN = re.compile(r"[{}*<@#%]|\[\[|\]\]|\[object|NaN|Invalid")

# One word between percent signs; not behind a digit, as in 5%down%, and not an escape of a link.
_PERCENT = re.compile(rf"(?<![\w%])%({_NAME})%(?!\w)")
_ESCAPE = re.compile("[0-9A-Fa-f]{2}$|[0-9A-Fa-f]?[0-9]")

# One pair of marks, by the one they begin with, around the name of a field.
_MARKED = {
    "{": rf"\{{\s*[*+|~%-]?({_INSIDE})[*+|~%-]?\s*\}}",
    "[": rf"\[\s*[*+|~%$#@!:-]?({_INSIDE})[*+|~%$#@!:-]?\s*\]",
    "<": rf"<{{1,2}}\s*({_INSIDE})\s*>{{1,2}}",
    "%": rf"(?<![\w%])%({_INSIDE})%(?!\w)",
    "((": rf"\(\(\s*({_INSIDE})\s*\)\)",
    "(": r"\(([A-Za-z]+_[A-Za-z_]+)\)",
    "__": rf"__({_INSIDE})__",
    "#": rf"(?<![\w#])#({_NAME})#(?!\w)",
    "~": rf"(?<![\w~])~{{1,2}}({_INSIDE})~{{1,2}}(?!\w)",
    "|": rf"(?<![\w|])\|{{1,2}}({_INSIDE})\|{{1,2}}(?!\w)",
    "^": rf"(?<![\w^])\^({_NAME})\^(?!\w)",
    "!": rf"(?<![\w!])!({_NAME})!(?!\w)",
    "$": rf"(?<![\w$])\$({_NAME})\$?(?!\w)",
    "_": r"(?<![\w@/.:#=&?-]):?([A-Za-z]+(?:\.[A-Za-z]+)*(?:_[A-Za-z0-9]+)+)(?![\w@/=]|\.\w)",
    "N": r"\b(FIRSTNAME|LASTNAME|FULLNAME|FNAME|LNAME|FirstName|LastName|FullName|firstName|lastName)\b",
}
_PATTERNS = {mark: re.compile(pattern) for mark, pattern in _MARKED.items()}

_WORDS_OF_NOTHING = re.compile("null|undefined|none|nan|nil|name", re.IGNORECASE)
_NOTHING = r"(?:null|undefined|\(null\)|<null>|\[null\])"
# The whole text is the word of a program for nothing. A person's own "none" has a small letter or a period.
_ONLY_NOTHING = re.compile(rf"\s*[\"']?(?i:{_NOTHING}(?:\s+{_NOTHING})*|nil)[\"'.!,]?\s*|\s*(?:None|NaN)\s*")
_GREETED_NOTHING = re.compile(
    rf"""
    \b(?i:hi|hello|hey|hiya|howdy|dear|hola|good\ (?:morning|afternoon|evening))[ ,]+
    (?:
        (?i:{_NOTHING})(?!\w)
        | None(?=\s*[,.!?-]|$)
        | (?i:(?:insert\ )?(?:first\ ?|last\ ?|full\ ?)?name)(?=\s*[,.!?])
    )
    """,
    re.VERBOSE,
)
_NAMED_NOTHING = re.compile(
    rf"""
    (?i:\b(?:at|on|in|for|from|to|with|about|of|own|owns|selling|sell|this\ is|name\ is|i'm)\ {_NOTHING})
    (?=\s*(?:[,.?!;]|$)|\s(?i:{_NOTHING}|with|from|at|in|is)\b)
    | (?i:\b(?:null|undefined)['\u2019]s)\b
    | \$(?i:null|undefined)\b
    """,
    re.VERBOSE,
)


def find_placeholder(text: str) -> str | None:
    """The first placeholder in *text* that was not filled in, as it is written there."""
    found = min(_placeholders(text), key=lambda match: match.start(), default=None)
    return None if found is None else found[0].strip()[:60]


def _placeholders(text: str) -> Iterator[re.Match[str]]:
    """All that are found; what costs time is not looked for if its mark is missing."""
    if _MARKS_OF_CERTAIN.search(text):
        yield from _CERTAIN.finditer(text)
    if _WORDS_OF_NOTHING.search(text):
        yield from _GREETED_NOTHING.finditer(text)
        yield from _NAMED_NOTHING.finditer(text)
        if only := _ONLY_NOTHING.fullmatch(text):
            yield only
    for match in _PERCENT.finditer(text) if "%" in text else ():
        if not _ESCAPE.match(match[1]) and "/" not in re.split(r"\s", text[: match.start()])[-1]:
            yield match  # not in a link
    for mark, pattern in _PATTERNS.items():
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
        return bool(_JOINED.fullmatch(inside)) and (whole[0] == "{" or known > 0)
    return False
