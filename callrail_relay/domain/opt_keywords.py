"""
What a reply says about being texted. What is clear counts at once, what is doubtful is put to the owner.

A missed opt-out breaks the law (47 CFR 64.1200(a)(10)), a false one loses a seller. tests/domain/replies/ has
what the rules were tuned on, and what measures them.
"""

import re
import unicodedata
from enum import StrEnum


class OptKeyword(StrEnum):
    STOP = "stop"  # no more texts from this number
    MAYBE_STOP = "maybe_stop"  # it may mean that; a person has to read it
    START = "start"  # texts are welcome again
    YES = "yes"  # the same when CallRail asks it of a person who had opted out; else an ordinary answer


_LONGEST = 2000  # characters that are read: CallRail delivers 1,600
_SIGNATURE = re.compile(
    r"^\W*(sent (from|via|by|with) |get outlook|(this (message|text) was )?sent from|envoye (de|depuis|a"
    r" partir)|enviado desde|-- ?$|confidentiality)",
    re.IGNORECASE,
)
# iMessage and Android send a reaction as a text that quotes ours, which may end with "Reply STOP to opt out".
# Nothing is tried twice over the same characters: a reply of any kind takes milliseconds.
_QUOTED = re.compile(r'[“«"][^“”«»"\s]*+\s[^“”«»"\s]*+\s[^“”«»"]*+(?:[”»"]|$)')
_TO_OPT_OUT = r"(stop|unsubscribe|opt ?out|cancel|end|quit|leave|remove)"
# What other businesses' automatic replies tell *us* to do.
_INSTRUCTION = re.compile(
    rf"\b(reply|text|txt|send|type|respond|answer) (with )?{_TO_OPT_OUT}( (to|for|if|2) .*)?(?= \||$)"
)
_NEGATED = re.compile(
    r"\b(dont|do not|wont|will not|cant|can not|cannot|couldnt|didnt|did not|doesnt|not|never|wouldnt|isnt"
    r"|arent)( ever| to)? (stop|stopping|quit|lose|losing|cancel|delete|remove|end|unsubscribe)\b"
)
# What changes nothing about what is wanted, and is left out before the rules are asked.
_FILLERS = re.compile(
    r"\b(?:please and thank you|please|pls|plz|plse|kindly|thanks|thank you|thankyou|thx|ty|tks|asap"
    r"|immediately|already|anymore|any more|again|ever|right now|right away|at once|dude|bro|bruh|man|sir"
    r"|maam|yall|hey|hi|hello|fucking|fuckin|freaking|fricking|goddamn|damn|bloody|svp|sil vous plait"
    r"|s il vous plait|merci|por favor|gracias|yo)\b ?"
)


def _plain(content: str) -> str:
    """The text as plain letters, without accents, apostrophes, unseen marks, quotes and signatures."""
    text = unicodedata.normalize("NFKD", content.strip()[:_LONGEST])
    text = "".join(one for one in text if unicodedata.category(one) not in ("Mn", "Cf"))
    text = re.sub("['`\u2018\u2019\u00b4]", "", text)
    lines = _QUOTED.sub(" ", text).splitlines()
    cut = next((number for number, line in enumerate(lines) if number and _SIGNATURE.match(line)), None)
    return "\n".join(lines[:cut]).strip()


def _words(text: str) -> str:
    """Its words in lower case, with a bar between sentences and lines: "no thanks | stop"."""
    marked = re.sub(r"[.,;:!?()\n\r…]+|\s[-\u2013\u2014~]+\s|--+", " | ", text.casefold())
    # Letters and digits, and of all else nothing: emoji, dashes within words, asterisks.
    words = re.sub(r"[^\w|]+|_", " ", marked.replace("#", " number "))
    words = re.sub(r"([a-z])\1{2,}", r"\1", words)
    return _bars(" ".join(words.split()))


def _bars(words: str) -> str:
    return re.sub(r"(?:\s*\|\s*)+", " | ", words).strip(" |")


def _gist(words: str) -> str:
    """The same without what changes nothing, what is denied, and what only quotes an instruction."""
    plain = re.sub(r"\b(?:[a-z] ){2,}[a-z]\b", lambda found: found[0].replace(" ", ""), words)  # "S T O P"
    if all(part.isalnum() for part in plain.split(" | ")):
        plain = plain.replace(" | ", " ")  # "Quit. Texting. Me."
    return _bars(_NEGATED.sub("unsaid", _INSTRUCTION.sub("", _FILLERS.sub("", plain))))


_RESUBSCRIBE = {"start": OptKeyword.START, "unstop": OptKeyword.START, "yes": OptKeyword.YES}

# https://support.callrail.com/hc/en-us/articles/11491614252045
_OF_CALLRAIL = ("stop", "end", "cancel", "unsubscribe", "quit")

# Keywords that mean nothing else in a seller's reply.
_SURE = ("stop", "stopall", "stop all", "unsubscribe", "unsub", "optout", "opt out", "arret", "desabonner")
# CallRail's own, STOPALL, which IF3 honors, those that the FCC names, French and Spanish ones.
_KEYWORDS = {
    *_SURE,
    *("end", "cancel", "quit", "revoke", "remove", "delete", "desist", "discontinue", "un subscribe"),
    *("arrete", "arreter", "arretez", "desabonne", "desabonnement", "desinscrire", "me desabonner"),
    *("me desinscrire", "annuler", "fin", "alto", "pare", "baja", "cancelar", "basta"),
}

_COURTESY = (
    r"(?:just|now|ok|okay|sorry|no|nope|nah|not interested|im not interested|not selling|not for sale"
    r"|wrong number|wrong person|i said|i|bonjour|hola|mauvais numero|numero equivocado|\|)"
)
_BEFORE = re.compile(rf"^(?:{_COURTESY} )+")
_AFTER = re.compile(rf"(?: {_COURTESY})+$")


def _core(words: str) -> str:
    """What is left without courtesies at both ends, and of a repetition the first: "please stop stop"."""
    core = _AFTER.sub("", _BEFORE.sub("", words)).strip(" |")
    parts = [part.split() for part in re.split(r"(?: \|)+ ?", core)]
    every = {words[0] if _KEYWORDS.issuperset(words) else " ".join(words) for words in parts if words}
    return every.pop() if len(every) == 1 else core


_NAME = re.compile(r"[\W_]*(?:(?:[A-Z][\w.]*+|(?:de|la|van|von)\b)[\s,]*+){1,4}[\W_]*")
_NO_NAMES = re.compile(
    r"\b(mon|tues|wednes|thurs|fri|satur|sun)day\b|\b(today|tomorrow|tonight|yes|no|ok)\b", re.IGNORECASE
)
_REGARDS = re.compile(
    r"\b(thanks|thank you|thx|regards|best|sincerely|respectfully|best regards|kind regards|cordially"
    r"|merci|gracias)\b",
    re.IGNORECASE,
)


def _is_signed(text: str) -> bool:
    """Whether it is a keyword with a name behind it: "STOP - John", or "Unsubscribe, thanks, Bob"."""
    found = re.match(r"([\w' -]*?\w)\W*?([\n,.!~\u2013\u2014]|--| -)(.*)", text, re.DOTALL)
    if found is None:
        return False
    keyword, mark, rest = _core(_gist(_words(found[1]))), found[2], _REGARDS.sub(" ", found[3])
    if keyword not in _KEYWORDS or (mark in ",.!" and keyword not in _SURE):
        return False
    lines = rest.strip(" \n,.!~\u2013\u2014-")
    # A block of lines below a signature's first, such as a firm and its address, belongs to it.
    first = lines.split("\n", 1)[0] if mark != "\n" or found[3].lstrip(" \n").startswith("-") else lines
    return bool(_NAME.fullmatch(first)) and not _NO_NAMES.search(first)


_SLIPS = {"stop": 1, "cancel": 1, "remove": 1, "remove me": 1, "opt out": 1, "quit": 1, "quite": 0}
_SLIPS |= {"unsubscribe": 3, "desabonner": 2}


def _distance(one: str, other: str) -> int:
    """How many letters differ; two that changed places count once."""
    before, row = list[int](), list(range(len(other) + 1))
    for i, a in enumerate(one, start=1):
        older, before, row = before, row, [i]
        for j, b in enumerate(other, start=1):
            row.append(min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b)))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                row[j] = min(row[j], older[j - 2] + 1)
    return row[-1]


# Sentences. A rule is a line, and goes on in the lines that are indented; names in capitals refer to _NAMED.

_NAMED = {
    "STOP": "(?:stop|quit|cease|discontinue|refrain from)",
    "TEXTS": "(?:te?xts?|te?xt messages?|messages?|msgs?|sms|spam|textos?|mensajes?|communications?|contact)",
    "TEXTING": (
        "(?:te?xt(?:ing|in|n|g)?|te?xt messaging|messaging|messagin|msging|contacting|spamming|harassing"
        "|soliciting|bothering|bugging|pestering|annoying|stalking|hitting|reaching out|blowing up)"
    ),
    "ME": "(?:me|us|here|(?:this|my|our|these) PHONE)",
    "MINE": (
        "(?:me|us|this|these|number|(?:my|our|this|these|his|her|their)"
        " (?:PHONE|information|contact|name)(?: and (?:phone )?number)?)"
    ),
    "PHONE": "(?:cell |mobile |phone |contact )*(?:numbers?|phone|cell|line|info|details)",
    "LIST": (
        r"(?:\w+ ){0,3}?(?:lists?|database|data base|system|records?|contacts?|phone|files?|campaign|thread"
        "|texts?|messages?|mailing|service|directory)"
    ),
    "CALLS": "(?:call (?:or|and|nor) )?",
    "NOT": "(?:do not|dont|never)(?: you| u)?(?: ever| even)*",
    "DONT": "(?:do not|dont|no longer|did not|didnt|not)",
    "END": r"(?= \||$| (?:now|today|and|or)\b)",
    "DONE": (
        r"(?: (?:no more|any further|further|or my \w+|in any way|(?:about|regarding) .*))*"
        r"(?= \||$| (?:im|i am|not|we)\b)"
    ),
    # Not a text to another person, for a time, or instead of a call.
    "OTHERS": (
        "(?! (?:my|the|his|her|our) (?!number|phone|cell|house|property|home|family|mother|moms?|father|dad"
        r"|parents|husband|wife|grand)| (?:him|them|updates|until|till|at work|before|so)\b"
        "| and (?:just )?call)"
    ),
}


def _any_of(rules: str) -> re.Pattern[str]:
    lines = re.sub(r"\n {8}", "", rules).splitlines()
    patterns = [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
    pattern = "|".join(patterns)
    while (named := re.sub("[A-Z]{2,}", lambda name: _NAMED[name[0]], pattern)) != pattern:
        pattern = named
    return re.compile(pattern)


_CLEAR = _any_of(
    r"""
    # stop texting me, quit sending me messages, cease all contact
    \bSTOP (?:\w+ ){0,2}?TEXTING\bOTHERS
    \bif you unsaid TEXTING\b
    \b(?:if|wish|that)(?: \w+){0,2} stopped (?:\w+ )?TEXTING (?:me|us|this)\b
    \bSTOP (?:\w+ )?(?:asking (?:me |us )?(?:about|to sell|if (?:i|we) (?:want|would|will|am))
        |trying to (?:buy|contact|reach|get))\b
    ^STOP calling(?: ME)?$
    \b(?:STOP|end|cancel) (?:(?:it|sending|with|all|future|the|these|those|this|any|further|your|of|me|us|my
        |more|spam) )*(?:TEXTS|subscription)\b(?! (?:to|from) (?:the|my) )
    \bSTOP sending(?: (?:me|us))?(?: (?:this|these|those|that|anything|stuff|things|offers|spam|crap|shit)
        (?: \w+)?)?END
    \bcease and desist\b
    \b(?:asked|told|tell|telling|said)(?: \w+){0,3} (?:stop|removed?|unsubscribed?)(?= \||$| me\b)
    \b(?:said|replied|sent|typed|means) stop(?= \||$| (?:last|many|before|\d|texting))
    \b(?:you|guys|people)(?: \w+){0,2} (?:need|have) to stop$
    \b(?:will|would|can|could) (?:you|u) (?:\w+ )?stop$
    \bmake (?:it|(?:these|the|your|them)(?: TEXTS)?) stop\b
    ^stop(?: now)? (?:or|before)\b
    (?:^|\| )(?:stop|unsubscribe|opt out|remove|delete|desist|discontinue)$
    \| stop \|
    ^stop you \w+$
    ^stop \| (?:this|that|it|im|i am|we are) (?:\w+ )?(?:not|isnt|never)\b
    ^stop \| (?:not|wrong|i dont|im not|never)\b
    # remove me, take my number off your list, lose my number
    \b(?:remove|delete|erase|drop|unsubscribe) MINE(?: (?:from|off|out)(?: of)? (?:LIST\b|(?:this|it
        |here)END)|END)
    \b(?:take|get|scratch|cross|strike|pull) MINE (?:off|out|out of|off of)(?: LIST\b|END)
    \b(?:removed?|take|taken|get|got|deleted?|scratch|cross|want|need)(?: \w+){0,4} (?:off|from|out)
        (?: of)?[ ](?:your|ur|whatever|this) (?:\w+ ){0,2}(?:lists?|database|system|records)\b
    \b(?:my|this|our) (?:phone |cell )?(?:number|name)(?: \w+)? (?:removed|deleted|taken off)\b(?! from the)
    \b(?:remove|unsubscribe|delete)(?: number)? from (?:(?:all|the|your|ur|this) )*(?:lists?|texts|messages
        |all|this)\b
    (?:^|\| )(?:take )?off (?:(?:the|your|ur|this) )?list\b
    \b(?:put|add|place) (?:me|us|this number|my number) (?:on|to) (?:\w+ )?(?:do not|dnc|no) ?(?:call|contact
        |text)? ?list
    \b(?:lose|forget) (?:my|this|our) (?:phone |cell )?number\b
    \b(?:forget you have my number|block me)\b
    # do not text me again, no more texts, if you text me again
    (?<!\bi )(?<!\bwe )(?<!\bcall )(?<!\bthey )\bNOT CALLS(?:te?xt|message|msg|contact|texting|hit|reach out
        (?: to)?)(?: (?:or|and|nor) (?:call|text|email))?(?: me)?(?: (?:or|and) (?:call|text|message))?(?: ME
        | it)?(?: up)?DONE
    \bno need to (?:text|contact|message)(?: ME)?DONE
    \bNOT call(?: me)? (?:or|and|nor) (?:text|message)\bOTHERS
    \bNOT send (?:me |us )?(?:(?:any|more|another|your|these|no) )*(?:TEXTS|anything else)DONE
    \bno (?:more|further) (?:(?:of|these|your|the) )*(?:TEXTS|texting|messaging)(?= \||$| (?:to|from)\b)
    ^no (?:texts|texting|messages|contact|sms|msgs)$
    \bDONT (?:want|get) (?:any )?of (?:these|this|your)\b
    \bif (?:you|u|i|anyone)(?: \w+){0,3} (?:text|contact|message|call|hear from)\b(?=.* (?:report\w*|sue
        |lawyer|attorney|police|charges|fcc|complaint|harassment)\b)
    # I do not want these messages, I revoke my consent
    \bDONT (?:want|wish|consent|agree)(?: \w+){0,3}? (?:texts|text messages|messages|texted|contacted
        |messaged)\b(?! (?:to|by|about|left|from (?!you\b|u\b)))
    \bDONT want (?:any |more |further )*contact(?= \||$| (?:from|with) (?:you|u)\b)
    \bDONT (?:want|need)(?: you| u| anyone)(?: to)? (?:TEXTING|contact|message)(?= \||$| (?:ME|any)\b)
    \b(?:DONT|never) (?:want|wish|need|care)(?: \w+)? to (?:hear from you|receive (?:\w+ ){0,3}(?:texts?
        |messages?))
    \b(?:revoke|revoking|withdraw|withdrawing)(?: \w+)? (?:consent|permission)\b
    \bconsent(?: \w+){0,4} revoked\b
    \bnot (?:authorized|allowed|permitted) to (?:contact|text|message|call)\b
    \b(?:do not|dont) have (?:my |our |any )?(?:consent|permission)\b
    \bnot (?:giving|give)(?: \w+)? (?:consent|permission)\b
    # unsubscribe me, I want to opt out
    \bunsubscribe(?: from)?(?: (?:me|us|this number|my number|all|LIST))*$
    (?<!an )\b(?:opt|opting|opted)(?: me| us| my number| this number)? out(?: (?:of|from) (?:LIST|this|these
        |it))?END
    \bopt (?:me|us|my number|this number) out\b
    \bhow (?:do|can) i stop (?:getting|receiving)\b
    \bhow (?:do|can|to) (?:i |we )?(?:stop|get off)(?: of)? (?:these|this|your|the) (?:texts?|messages?
        |list)\b
    # French
    \b(?:arrete[rz]?|cesse[rz]?) (?:de |d)(?:me |nous |m)?(?:texter|ecrire|envoyer|contacter|harceler
        |deranger|appeler)
    \b(?:arrete[rz]?|cesse[rz]?) (?:les|vos|ces|tes|avec) (?:\w+ )?(?:messages?|textos?|sms)\b
    \bne (?:me |nous |m)?(?:textez?|ecrivez|ecris|contactez?|envoyez|envoie|derangez)(?: \w+)? plus\b
    \bne plus (?:me |nous |m)?(?:texter|ecrire|contacter|envoyer|deranger)\b
    ^plus (?:de|aucun) (?:textos?|messages?|sms)\b
    \b(?:retire[rz]?|enleve[rz]?|efface[rz]?|supprime[rz]?|desabonne[rz]?|desinscri\w+)(?: moi| nous
        | mon (?:numero|nom)| ce numero)(?: de (?:votre|la|vos|cette) listes?)?\b
    \b(?:retire[rz]|enleve[rz]) de (?:la|votre) liste\b
    # Spanish
    \bno me (?:vuelva\w* a )?(?:envi|mand|escrib|text|contact|moleste)\w*(?: \w+){0,2} ?(?:mas|mensajes?
        |textos?|nunca|$)
    \bno me (?:vuelva\w* a )?(?:escrib|text|contact|mensaj)\w*(?= \||$)
    \bno me llame\w* ni me (?:mand|envi|escrib|text)
    \bno (?:quiero )?mas (?:mensajes|textos)\b
    \bno quiero (?:recibir )?(?:sus |mas )?(?:mensajes|textos)\b
    \bbasta de mensajes\b
    \b(?:dejen?|deja|paren?|para) de (?:envi|mand|escrib|molest|text|contact|llam)
    \b(?:quite\w*|saque\w*|borre\w*|elimine\w*)(?: \w+)? (?:mi numero|la lista|su lista|mi nombre)\b
    \bdar(?:me)? de baja\b
    """
)

_DOUBTFUL = _any_of(
    r"""
    # anger
    \b(?:leave|let) (?:me|us)(?: \w+){0,3} alone\b(?! (?:with|to|decide|for|until|till|in|on)\b)
    \b(?:go to hell|pound sand|bug off|eat shit|get off my back)\b
    \b(?:fuck|f|piss|screw|bugger) (?:off|you|u|yourself)\b
    (?:^|\| )(?:\w+ )?(?:go away|get lost|back off|stop asking|quit asking)(?: now)*$
    ^(?:stop (?:it|that|this)|knock it off|(?:thats |i said )?enough|no more|stopped|fini|removed)(?: now)*$
    \benough with (?:the|these|all) (?:text|mess|call|spam)
    \bwhy (?:do|are|r) (?:you|u) (?:keep|still) (?:text|messag|contact|send|ask|both|bug|call)
    \bNOT (?:bother|ask|call)(?: (?:me|us))?$
    \basked (?:you|u)(?: \w+)? before not to\b
    \bSTOP (?!making|selling|lowballing|teasing|kidding|giving|telling)\w+ing (?:me|us)\b(?! if)
    # threats, the law
    \bdo not (?:call|contact) (?:list|registry)\b
    \b(?:dnc|tcpa|harassment|harassing|solicit|soliciting|solicitation|solicitors)\b
    \b(?:report|reporting|reported) (?:you|u|as|this number)\b
    ^(?:reported|(?:this is )?spam|(?:\w+ ){0,2}blocked)$
    \b(?:blocking|block) (?:you|u|this number)\b
    ^blocked and\b
    \bas spam$
    \b(?:consent|permission)(?: \w+){0,2}? (?:to text|text|texting|this|texts)\b
    \bsign(?:ed)? up for this\b
    # the wrong person
    (?:^|\| )(?:\w+ ){0,4}?(?:wrong|incorrect) (?:number|person|phone)(?= \||$)
    \bnot at this number\b
    # the words of an opt-out, and not in a sentence that is known: "quit it with the messages"
    # "stop" where a person would not say it of a bus, a foreclosure or a joke
    ^stop (?!by|in|over|at|on|for|and|there|off|here|to|sign|light|work|payment|order|gap|loss|date|the|my|a
        |lol|haha|it|that|n|\d|(?!\w+ing (?:me|us)\b)\w+ing\b|making|selling|lowballing|with)\w+
    \b(?!(?:bus|truck|pit|full|hard|non|a|the|my|our|one|two|first|last|next|more|to|unsaid|lets|should|could
        |can|it|lol|omg|you|lot|street)\b)\w+ stop$
    \bwhat part of (?:stop|no)\b
    \b(?:stopp|stpo|sotp|st0p)\b
    ^(?:end this|cancel my number)$
    \b(?:be|get|removal|request|requesting)(?: \w+){0,3} (?:removed|removal)\b(?! from (?!your|ur|this))
    \b(?:removal from|be removed)\b(?! from (?!your|ur|this))
    \bthis (?:to |has to |needs to |must |will )?(?:stop|end)$
    \b(?:like|want) to stop$
    \bwant out of (?:this|these|the|your) (?:\w+ )?(?:texts?|messages?|list|thread)\b
    \bhow do i stop\b(?! (?:the|a|my|fore))
    \b(?:make this|youve been asked to) stop\b
    ^stop(?: \||\d)(?!.*\b(?:lol|haha|yes|jk)\b)
    \b(?:stop|quit|cease|unsubscribe)\b(?! (?:by|in|over|at|on|for|and|there|off|claim)\b)(?: \w+){0,5}[ ]
        (?:texts|texting|txt|message|messages|messaging|msgs|contacting|number)\b
    \b(?:texts?|messages?|texting)(?: \w+){0,3} stop$
    \b(?:remove|delete|erase) (?:me|us|my number|this number)\b(?! (?:(?:off|from)(?: of)? (?:the|this|that
        |my|it)|to)\b)
    \bNOT (?:text|contact|message) (?:me|us)\b(?! (?:at|until|till|before|after|during|on|while|yet|so
        |between|from|this|today|tomorrow|tonight|back)\b)
    # French, Spanish
    \b(?:laissez moi|foutez|mauvais numero|numero equivocado|dejeme en paz|no (?:me )?moleste)
    """
)


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
    if core in _KEYWORDS or _is_signed(text) or _CLEAR.search(gist):
        return OptKeyword.STOP
    # A slip of the finger: "stpo", "st0p", "unsubcribe".
    is_slip = len(core) <= 14 and any(_distance(core, word) <= most for word, most in _SLIPS.items())
    if is_slip or _DOUBTFUL.search(gist) or (content and not words and _STOP_SIGNS & set(content)):
        return OptKeyword.MAYBE_STOP
    return None
