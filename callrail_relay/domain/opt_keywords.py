"""
What a reply says about being texted: stop, perhaps stop, start, or nothing.

A fixed set of rules that a person can read and dispute. A missed opt-out breaks the law (47 CFR 64.1200(a)(10)
lets people revoke consent "in any reasonable manner") and a false one loses a seller, so there are three
answers: what is clear counts at once, what is doubtful is put to the owner, and the rest is ordinary.
"""

import re
import unicodedata
from enum import StrEnum


class OptKeyword(StrEnum):
    """
    What a reply says about being texted.
    """

    STOP = "stop"
    """No more texts from this number."""

    MAYBE_STOP = "maybe_stop"
    """It may mean that; a person has to read it."""

    START = "start"
    """Texts are welcome again."""

    YES = "yes"
    """The same when CallRail asks it of a person who had opted out; else an ordinary answer."""


def read_opt_keyword(content: str | None) -> OptKeyword | None:
    """Return what a reply says about being texted; None for an ordinary reply."""
    text = _plain(content or "")
    words = _words(text)
    if words in _RESUBSCRIBE:
        return _RESUBSCRIBE[words]
    if not words:
        return None
    if _core(words) in _KEYWORDS or _is_signed(text) or _CLEAR.search(words):
        return OptKeyword.STOP
    if _is_slip(_core(words)) or _DOUBTFUL.search(words):
        return OptKeyword.MAYBE_STOP
    return None


# --- From what a person typed to plain words -----------------------------------------------------------------

_LONGEST = 2000
"""Characters that are read: CallRail delivers 1,600, and a reply comes to the point before that."""

_SIGNATURE = re.compile(
    r"^\W*(sent (from|via|by|with) |get outlook|(this (message|text) was )?sent from|envoye (de|depuis|a partir)"
    r"|enviado desde|-- ?$|confidentiality)",
    re.IGNORECASE,
)
# iMessage and Android send a reaction as a text that quotes ours, which may end with "Reply STOP to opt out".
_QUOTED = re.compile("[“«\"][^“”«»\"]*\\s[^“”«»\"]*\\s[^“”«»\"]*(?:[”»\"]|$)")
_TO_OPT_OUT = r"(stop|unsubscribe|opt ?out|cancel|end|quit|leave|remove)"
# What other businesses' automatic replies tell *us* to do.
_INSTRUCTION = re.compile(
    rf"\b(reply|text|txt|send|type|respond|answer) (with )?{_TO_OPT_OUT}( (to|for|if|2) .*)?(?= \||$)"
)
_NEGATED = re.compile(
    r"\b(dont|do not|wont|will not|cant|can not|cannot|couldnt|didnt|did not|doesnt|not|never|wouldnt|isnt|arent)"
    r"( ever| to)? (stop|stopping|quit|lose|losing|cancel|delete|remove|end|unsubscribe)\b"
)


def _plain(content: str) -> str:
    """
    The text as plain letters: any width, without accents, apostrophes, unseen marks, quotes and signatures.
    """
    text = unicodedata.normalize("NFKD", content.strip()[:_LONGEST])
    text = "".join(one for one in text if unicodedata.category(one) not in ("Mn", "Cf"))
    text = re.sub("['’‘`´]", "", text)
    lines = _QUOTED.sub(" ", text).splitlines()
    cut = next((number for number, line in enumerate(lines) if number and _SIGNATURE.match(line)), None)
    return "\n".join(lines[:cut]).strip()


def _words(text: str) -> str:
    """
    Its words in lower case, with a bar between sentences and lines: "no thanks | stop".
    """
    marked = re.sub(r"[.,;:!?()\n\r…]+|\s[-–—~]+\s|--+", " | ", text.casefold())
    # Letters and digits, and of all else nothing: emoji, dashes within words, asterisks.
    words = re.sub(r"[^\w|]+|_", " ", marked)
    words = re.sub(r"([a-z])\1{2,}", r"\1", words)
    words = re.sub(r"(?:\s*\|\s*)+", " | ", " ".join(words.split())).strip(" |")
    return _NEGATED.sub("not so", _INSTRUCTION.sub("", words)).strip(" |")


# --- A keyword alone -------------------------------------------------------------------------------------------

_RESUBSCRIBE = {"start": OptKeyword.START, "unstop": OptKeyword.START, "yes": OptKeyword.YES}

_SURE = ("stop", "stopall", "stop all", "unsubscribe", "unsub", "optout", "opt out", "arret", "desabonner")
"""Keywords that mean nothing else in a seller's reply."""

# CallRail's own (https://support.callrail.com/hc/en-us/articles/11491614252045), STOPALL, which IF3 honors, those
# that the FCC names (stop, quit, end, revoke, opt out, cancel, unsubscribe), and the French and Spanish ones.
_KEYWORDS = frozenset(
    (
        *_SURE,
        *("end", "cancel", "quit", "revoke", "remove", "delete", "desist", "discontinue", "un subscribe"),
        *("arrete", "arreter", "arretez", "desabonne", "desabonnement", "desinscrire", "me desabonner"),
        *("me desinscrire", "annuler", "fin", "alto", "pare", "baja", "cancelar", "basta"),
    )
)

_COURTESY = (
    r"(?:please|pls|plz|plse|kindly|thanks|thank you|thankyou|thx|ty|tks|just|now|already|immediately|asap|ok|okay"
    r"|hi|hello|hey|sorry|sir|maam|bro|man|guys|no|nope|nah|not interested|im not interested|not selling|not for sale"
    r"|wrong number|wrong person|again|i said|i already said|svp|s il vous plait|sil vous plait|merci|por favor"
    r"|gracias|bonjour|hola|mauvais numero|numero equivocado|\|)"
)
_BEFORE = re.compile(rf"^(?:{_COURTESY} )+")
_AFTER = re.compile(rf"(?: {_COURTESY})+$")


def _core(words: str) -> str:
    """
    What is left without courtesies at both ends, and of a repetition the first: "please stop stop thanks".
    """
    core = _AFTER.sub("", _BEFORE.sub("", words)).strip(" |")
    parts = [part for part in re.split(r"(?: \||\b(?:please|pls|plz)\b)+ ?", core) if part]
    every = {_repeated_once(part.strip()) for part in parts}
    return every.pop() if len(every) == 1 else core


def _repeated_once(part: str) -> str:
    words = part.split()
    return words[0] if words and _KEYWORDS.issuperset(words) else part


_NAME = re.compile(r"[\W_]*(?:(?:[A-Z][\w.]*|de|la|van|von)[\s,]*){1,4}[\W_]*")
_NO_NAMES = re.compile(r"\b(mon|tues|wednes|thurs|fri|satur|sun)day\b|\b(today|tomorrow|tonight|yes|no|ok)\b", re.I)
_REGARDS = re.compile(
    r"\b(thanks|thank you|thx|regards|best|sincerely|respectfully|best regards|kind regards|cordially|merci|gracias)\b",
    re.IGNORECASE,
)


def _is_signed(text: str) -> bool:
    """
    Whether it is a keyword with a name below or behind it: "STOP - John", "Unsubscribe\\n\\nThanks,\\nBob".
    """
    found = re.match(r"([\w' -]*?\w)\W*?([\n,.!~–—-]|--)(.*)", text, re.DOTALL)
    if found is None:
        return False
    keyword, mark, rest = _core(_words(found[1])), found[2], _REGARDS.sub(" ", found[3])
    if keyword not in _KEYWORDS or (mark in ",.!" and keyword not in _SURE):
        return False
    lines = rest.strip(" \n,.!~–—-")
    # A block of lines below a signature's first, such as a firm and its address, belongs to it.
    first = lines.split("\n", 1)[0] if mark != "\n" or found[3].lstrip(" \n").startswith("-") else lines
    return bool(_NAME.fullmatch(first)) and not _NO_NAMES.search(first)


# --- A keyword mistyped ----------------------------------------------------------------------------------------

_SLIPS = {"stop": 1, "cancel": 1, "remove": 1, "remove me": 1, "opt out": 1, "unsubscribe": 3, "desabonner": 2, "quit": 1, "quite": 0}


def _is_slip(core: str) -> bool:
    """
    Whether it is a keyword with a slip of the finger in it: "stpo", "st0p", "unsubcribe".
    """
    return len(core) <= 14 and any(_distance(core, word) <= most for word, most in _SLIPS.items())


def _distance(one: str, other: str) -> int:
    """
    How many letters differ; two that changed places count once.
    """
    before, row = list[int](), list(range(len(other) + 1))
    for i, a in enumerate(one, start=1):
        older, before, row = before, row, [i]
        for j, b in enumerate(other, start=1):
            row.append(min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b)))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                row[j] = min(row[j], older[j - 2] + 1)
    return row[-1]


# --- Sentences ---------------------------------------------------------------------------------------------------

_TEXTS = r"(?:te?xts?|te?xt messages?|messages?|msgs?|sms|textos?|mensajes?|communications?|contact)"
_TEXTING = (
    r"(?:te?xt(?:ing|in|n|g)?|te?xt messaging|messaging|messagin|msging|contacting|spamming|harassing|soliciting"
    r"|bothering|bugging|pestering|annoying|reaching out|blowing up)"
)
_PHONE = r"(?:cell |mobile |phone |contact )*(?:number|numbers|phone|cell|line|mobile)"
_ME = rf"(?:me|us|here|(?:this|my|our|these) {_PHONE})"
_MINE = (
    rf"(?:me|us|this|these|(?:my|our|this|these|his|her|their) (?:{_PHONE}|(?:contact )?(?:info|information|details)|contact|name)"
    r"(?: and (?:phone )?number)?)"
)
_LIST = (
    r"(?:\w+ ){0,3}?(?:lists?|database|data base|system|records?|contacts?|phone|files?|campaign|thread|texts?|messages?"
    r"|mailing|service|directory)"
)
_END = (
    r"(?= \||$| (?:please|pls|plz|thanks|thank you|thx|ty|now|asap|immediately|today|again|anymore|any more|and|or"
    r"|at once|ever|right away|bro|man)\b)"
)
_NOT = r"(?:do not|dont|never)(?: you| u)?(?: ever| even)*"
_STOP = r"(?:stop|quit|cease|discontinue)"
# Not to another person, for a time, or in favor of calls.
_NOT_OTHERS = (
    r"(?! (?:my|the|his|her|our) (?!number|phone|cell|house)| (?:him|her|them|updates|until|till|at work|before|so)\b"
    r"| and (?:just )?call)"
)
_AGAIN = (
    r"(?: (?:anymore|any more|again|ever|no more|any further|further|please|pls|thanks|thank you|about .*|regarding .*))*"
    r"(?= \||$)"
)

_CLEAR = re.compile(
    "|".join(
        (
            # stop texting me, quit sending me messages, cease all contact
            rf"\b{_STOP} (?:\w+ ){{0,2}}?{_TEXTING}\b{_NOT_OTHERS}",
            rf"\b(?:if|wish|that)(?: \w+){{0,2}} stopped (?:\w+ )?{_TEXTING} (?:me|us|this)\b",
            rf"\b{_STOP} (?:\w+ )?(?:asking (?:me )?(?:about|to sell)|trying to (?:buy|contact|reach|get))\b",
            rf"^(?:please )?{_STOP} calling(?: {_ME})?(?: please)?$",
            rf"\b(?:{_STOP}|end|cancel) (?:(?:it|sending|with|all|the|these|those|this|any|further|your|of|me|us|my|more) )*"
            rf"(?:{_TEXTS}|subscription)\b(?! (?:to|from) (?:the|my) )",
            rf"\b{_STOP} sending(?: (?:me|us))?(?: (?:this|these|those|that|anything|stuff|things|offers|spam|crap|shit)(?: \w+)?)?{_END}",
            r"\bcease and desist\b|\bplease (?:cease|desist|discontinue)\b",
            r"\b(?:asked|told|tell|telling|said)(?: \w+){0,3} stop(?= \||$| please)",
            r"\b(?:you|guys|people)(?: \w+){0,2} (?:need|have) to (?:please )?stop$",
            r"\b(?:will|would|can|could) (?:you|u) (?:\w+ )?stop$",
            rf"\bmake (?:it|(?:(?:these|the|your|them)(?: {_TEXTS})?)) stop\b",
            r"^(?:please )?stop (?:or|before) i",
            r"(?:^|\| )(?:please )?(?:stop|unsubscribe|opt out)(?: please)?$|\| stop \||^stop you \w+$",
            r"(?:^|\| )(?:please (?:remove|delete)|(?:remove|delete) please)$",
            # remove me, take my number off your list, lose my number
            rf"\b(?:remove|delete|erase|drop|unsubscribe) {_MINE}"
            rf"(?: (?:from|off|out)(?: of)? (?:{_LIST}\b|(?:this|it|here){_END})|{_END})",
            rf"\b(?:take|get|scratch|cross|strike|pull) {_MINE} (?:off|out|out of|off of)(?: {_LIST}\b|{_END})",
            rf"\b(?:remove|removed|take|taken|get|got|delete|deleted|scratch|cross|want)(?: \w+){{0,4}} (?:off|from|out)(?: of)? "
            rf"(?:your|ur|whatever|this) (?:\w+ ){{0,2}}(?:lists?|database|system|records)\b",
            r"\b(?:my|this|our) (?:phone |cell )?(?:number|name)(?: \w+)? (?:removed|deleted|taken off)\b(?! from the)",
            r"\b(?:remove|unsubscribe|delete) from (?:(?:all|the|your|ur|this) )*(?:lists?|texts|messages|all)\b",
            r"(?:^|\| )(?:please )?(?:take )?off (?:the|your|ur|this) list\b",
            r"\b(?:put|add|place) (?:me|us|this number|my number) (?:on|to) (?:\w+ )?(?:do not|dnc|no) ?(?:call|contact|text)? ?list",
            r"\b(?:lose|forget) (?:my|this|our) (?:phone |cell )?number\b|\bforget you have my number\b|\bblock me\b",
            # do not text me again, no more texts, if you text me again
            rf"(?<!\bi )(?<!\bwe )(?<!\bcall )(?<!\bthey )\b{_NOT} (?:call (?:or|and|nor) )?"
            rf"(?:te?xt|message|msg|contact|texting|hit)(?: (?:or|and|nor) (?:call|text|email))?(?: me)?"
            rf"(?: (?:or|and) (?:call|text|message))?(?: {_ME})?(?: up)?{_AGAIN}",
            rf"\b{_NOT} call(?: me)? (?:or|and|nor) (?:text|message)\b{_NOT_OTHERS}",
            rf"\b{_NOT} send (?:me |us )?(?:(?:any|more|anymore|another|your|these|no) )*(?:{_TEXTS}|anything else){_AGAIN}",
            rf"\bno (?:more|further) (?:(?:of|these|your|the) )*(?:{_TEXTS}|texting|messaging)(?= \||$| (?:please|thanks|to|from|ever))",
            rf"^no {_TEXTS}(?: please| thanks)?$",
            r"\bif (?:you|u|i|anyone)(?: \w+){0,3} (?:text|contact|message|call|hear from)(?: \w+){0,3} (?:again|one more time)\b",
            # I do not want, wish, consent
            r"\b(?:dont|do not|no longer|didnt|did not|not) (?:want|wish|consent|agree)(?: \w+){0,3}? "
            r"(?:texts|text messages|messages|texted|contacted|messaged)\b(?! (?:to|by|about))",
            r"\b(?:dont|do not|no longer) want (?:any |more |further )*contact(?= \||$| (?:from|with) (?:you|u)\b)",
            r"\b(?:dont|do not|no longer) (?:want|need)(?: you| u| anyone)(?: to)? "
            rf"(?:te?xt|texting|contact|contacting|message|messaging)(?= \||$| (?:{_ME}|again|any)\b)",
            r"\b(?:dont|do not|no longer|never) (?:want|wish|need|care)(?: \w+)? to (?:hear from you|receive (?:\w+ ){0,3}(?:texts?|messages?))",
            r"\b(?:revoke|revoking|withdraw|withdrawing)(?: \w+)? (?:consent|permission)\b|\bconsent(?: \w+){0,4} revoked\b",
            r"\bnot (?:authorized|allowed|permitted) to (?:contact|text|message|call)\b"
            r"|\b(?:do not|dont) have (?:my |our |any )?(?:consent|permission)\b|\bnot (?:giving|give)(?: \w+)? (?:consent|permission)\b",
            # unsubscribe me, I want to opt out
            rf"\bunsubscribe(?: from)?(?: (?:me|us|this number|my number|please|all|{_LIST}))*$",
            rf"(?<!an )\b(?:opt|opting|opted)(?: me| us| my number| this number)? out(?: (?:of|from) {_LIST})?{_END}",
            r"\bhow (?:do|can|to) (?:i |we )?(?:stop|get off)(?: of)? (?:these|this|your|the) (?:texts?|messages?|list)\b",
            # French
            r"\b(?:arrete[rz]?|cesse[rz]?)(?: svp| s il vous plait)? (?:de |d)(?:me |nous |m)?(?:texter|ecrire|envoyer|contacter|harceler|deranger|appeler)",
            r"\b(?:arrete[rz]?|cesse[rz]?) (?:les|vos|ces|tes|avec) (?:\w+ )?(?:messages?|textos?|sms)\b",
            r"\bne (?:me |nous |m)?(?:textez|texte|ecrivez|ecris|contactez|contacte|envoyez|envoie|derangez)(?: \w+)? plus\b",
            r"\bne plus (?:me |nous |m)?(?:texter|ecrire|contacter|envoyer|deranger)\b|^plus (?:de|aucun) (?:textos?|messages?|sms)\b",
            r"\b(?:retire[rz]?|enleve[rz]?|efface[rz]?|supprime[rz]?|desabonne[rz]?|desinscri\w+)"
            r"(?: moi| nous| mon (?:numero|nom)| ce numero)(?: de (?:votre|la|vos|cette) listes?)?\b",
            r"\b(?:retirer|enlever|retirez|enlevez) de (?:la|votre) liste\b",
            # Spanish
            r"\bno me (?:vuelva\w* a )?(?:envi|mand|escrib|text|contact|moleste)\w*(?: \w+){0,2} ?(?:mas|mensajes?|textos?|nunca|$)",
            r"\bno me (?:vuelva\w* a )?(?:escrib|text|contact|mensaj)\w*(?= \||$| por favor)|\bno me llame\w* ni me (?:mand|envi|escrib|text)",
            r"\bno (?:quiero )?mas (?:mensajes|textos)\b|\bno quiero (?:recibir )?(?:sus |mas )?(?:mensajes|textos)\b|\bbasta de mensajes\b",
            r"\b(?:dejen?|deja|paren?|para) de (?:envi|mand|escrib|molest|text|contact|llam)",
            r"\b(?:quite\w*|saque\w*|borre\w*|elimine\w*)(?: \w+)? (?:mi numero|la lista|su lista|mi nombre)\b|\bdar(?:me)? de baja\b",
        )
    )
)

_DOUBTFUL = re.compile(
    "|".join(
        (
            r"\b(?:leave|let) (?:me|us) alone\b|\b(?:go to hell|bug off|eat shit|get off my back)\b",
            r"(?:^|\| )(?:\w+ )?(?:go away|get lost|back off|stop asking|quit asking)(?: please| now)*$",
            r"\b(?:fuck|f|piss|screw|bugger) (?:off|you|u|yourself)\b",
            r"^(?:please )?(?:stop (?:it|that|this)|knock it off|(?:thats |i said )?enough(?: already)?|no more|stopped|fini)"
            r"(?: please| now)*$|\benough with\b",
            r"(?:^|\| )(?:\w+ ){0,4}?(?:wrong|incorrect) (?:number|person|phone)(?= \||$)|\bnot at this number\b",
            r"\bdo not (?:call|contact) (?:list|registry)\b|\bdnc\b|\bharass(?:ment|ing)\b|\btcpa\b",
            r"\b(?:report|reporting|reported) (?:you|u|as|this number)\b|^reported$|^(?:this is )?spam$",
            r"\b(?:blocking|block) (?:you|u|this number)\b|^(?:youre |you are )?blocked$",
            r"\b(?:consent|permission)(?: \w+){0,2}? (?:to text|text|texting|this|texts)\b|\bsign(?:ed)? up for this\b",
            r"\bwhy (?:do|are|r) (?:you|u) (?:keep|still) (?:text|messag|contact|send|ask|both|bug|call)",
            r"\b(?:dont|do not) (?:bother|ask|call)(?: (?:me|us))?(?: again)?$|\basked (?:you|u)(?: \w+)? before not to\b",
            r"\bthis (?:to |has to |needs to |must |will )?(?:stop|end)$|\b(?:like|want) to stop$|\bwill this stop$",
            r"\bhow do i stop\b(?! (?:the|a|my|fore))|\bmake this stop\b|\byouve been asked to stop\b",
            r"^stop(?: \||\d)(?!.*\b(?:lol|haha|yes|jk)\b)",
            # The words are there, and not in a sentence that is known: "quit it with the messages".
            r"\b(?:stop|quit|cease|unsubscribe)\b(?! (?:by|in|over|at|on|for|and|there|off|claim)\b)(?: \w+){0,5} "
            r"(?:texts|texting|txt|message|messages|messaging|msgs|contacting|number)\b",
            r"\b(?:texts?|messages?|texting)(?: \w+){0,3} stop$",
            r"\b(?:remove|delete|erase|take) (?:me|us|my number|this number)\b(?! (?:(?:off|from)(?: of)? (?:the|this|that|my|it)|to)\b)",
            rf"\b{_NOT} (?:text|contact|message) (?:me|us)\b(?! (?:at|until|till|before|after|during|on|while|yet|so|between|from)\b)",
            # French, Spanish
            r"\blaissez moi\b|\bfoutez\b|\bmauvais numero\b|\bnumero equivocado\b|\bdejeme en paz\b|\bno (?:me )?moleste",
        )
    )
)
