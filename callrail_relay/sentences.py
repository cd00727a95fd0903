"""What each reason says to people. Each has a row here, and one in docs/reference/payloads.md."""

import re
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from string import Formatter
from typing import TYPE_CHECKING, Any

from callrail_relay.domain.message import Reason

if TYPE_CHECKING:  # it imports what help must not wait for
    from callrail_relay.domain.health import Facts, Point, Slept

_CONTACT = "Fix the contact in IF3."
_APPROVE = ("Approve it to send it anyway.", "Press “Send anyway” to send it.")
_READ_IT = ("Read it, and approve it if it is right.", "Read it, and press “Send anyway” if it is right.")
_UNKNOWN = "CallRail didn't confirm this message"
_CHECK = "Check the conversation in CallRail"
_DECIDE = (
    f"{_CHECK}, then run `messages resend`, `messages mark-sent` or `messages cancel`.",
    f"{_CHECK} before you resend.",
)
_RESTORED = "It comes from the backup “{backup}” of {made_at}, and may have been sent since."
_SEND_RESTORED = (f"{_CHECK}, then approve or cancel it.", f"{_CHECK} before you press “Send anyway”.")
_RESUME = ("Then run `callrail-relay resume`.", "Then press “Resume sending”.")
_NO_BULK = "CallRail doesn't allow bulk texting."
_NORTH_AMERICA = "and CallRail texts US and Canadian numbers only"

_PHONES = {
    "invalid": "“{typed}” isn't a valid US/Canada phone number.",
    "empty": "The phone number is empty.",
    "too_long": "“{typed}” is too long for a phone number.",
    "rounded": "“{typed}” was rounded by a spreadsheet, so its last digits are lost.",
    "extension": "“{typed}” has an extension, and a text can't reach an extension.",
    "several": "“{typed}” is more than one phone number.",
    "other_words": "“{typed}” is more than a phone number.",
    "abroad": f"“{{typed}}” has the country code +{{country_code}}, {_NORTH_AMERICA}.",
    "country": f"“{{typed}}” is a number in {{country}}, {_NORTH_AMERICA}.",
    "premium": "“{typed}” is a premium-rate number, which takes no texts.",
    "personal": "“{typed}” is a personal or satellite number ({area_code}), which takes no texts.",
    "not_text": "{field} is {kind}, not a phone number.",
    "not_written": "{field} isn't written as a phone number.",
}

_UNREADABLE = {
    "not_utf8": "Its bytes are not UTF-8 from byte {byte} on. The sender must encode it as UTF-8.",
    "not_encoding": (
        "It should be {encoding}, and its bytes are not {encoding} from byte {byte} on. The sender must "
        "encode it as UTF-8."
    ),
    "multipart": "It is a multipart form. The sender must send JSON or a URL-encoded form.",
    "no_form": "It is neither JSON nor a URL-encoded form.",
    "too_many_fields": "It is a form of more than {limit} fields.",
    "line": "Line {line} is neither JSON nor a form with IF3's fields.",
    "lines": "Lines {line} to {last} are neither JSON nor a form with IF3's fields.",
    "json_text": "It is a JSON text, not an object with IF3's fields.",
    "json_in_json": "It is JSON encoded twice, with something after the inner document.",
    "json_too_deep": "It is JSON nested too deeply to be read.",
    **{
        f"json_{mistake}": f"It isn't valid JSON at line {{line}}, column {{column}}: {remedy}."
        for mistake, remedy in {
            "twice": "there is more after its end; the sender must send one JSON document",
            "curly_quote": 'write the curly quote {found} as a straight one (")',
            "single_quote": 'write the single quote {found} as a double one (")',
            "last_comma": "remove the comma before {found}",
            "cut_off": "it breaks off here; it must be sent whole",
            "no_name": 'a field name in quotes (") is missing',
            "no_colon": "a colon is missing after the field name",
            "no_comma": (
                'a comma or a closing bracket is missing; a quote (") inside a text must be written as \\"'
            ),
            "no_value": "a value is missing; only text in quotes, numbers, true, false and null are JSON",
            "no_quote": 'the closing quote (") of the text that begins here is missing',
            "backslash": "a backslash inside a text must be written as \\\\",
            "invalid": "it can't be read from here on",
        }.items()
    },
}


def _row(says: str, *do: str) -> tuple[str, ...]:
    """What happened, and what to do about it: with commands, and with a page's buttons if that differs."""
    return says, *do


SENTENCES: dict[str, str | tuple[str, ...]] = {
    # What keeps a request from becoming a message.
    "bad_phone": _row("The phone number can't be texted.", _CONTACT),
    **{f"bad_phone.{problem}": _row(says, _CONTACT) for problem, says in _PHONES.items()},
    "no_phone": _row("There is no phone number to send to.", _CONTACT),
    "two_phones": _row("The contact has two different phone numbers, {first} and {second}.", _CONTACT),
    "two_phones.given_twice": _row("{field} is given twice, with different numbers.", _CONTACT),
    "two_phones.removed": "The contact has two different phone numbers.",
    "no_text": "The message is empty.",
    "bad_text.not_text": "The message is {kind}, not text.",
    "bad_text.nul": "The message has a NUL character, which can't be saved or sent.",
    "bad_text.broken_character": _row(
        "The message has a broken character: half of an emoji, or bytes that aren't text.",
        "Send it again from IF3.",
    ),
    "bad_text.given_twice": "The message is given twice, with different words.",
    "doubtful_text.loose_ampersand": _row(
        "The form has an & that the sender did not escape as %26, so it isn't certain where the message "
        "ends.",
        *_READ_IT,
    ),
    "doubtful_text.half_escaped": _row(
        "The sender escaped only parts of the message (it has both spaces and %XX), so it may not read as "
        "it was written.",
        *_READ_IT,
    ),
    "bad_id.not_text": "{field} is {kind}, so it can't choose the number to send from.",
    "bad_id.rounded": "{field} was rounded by a spreadsheet, so it can't choose the number to send from.",
    "bad_id.given_twice": "{field} is given twice, with different values.",
    "no_route": _row(
        "No rule fits its team_id and sender_id, so there is no number to send from.",
        "Add one under [[routes]], or a tracking_number under [callrail], then run `callrail-relay messages "
        "remap`.",
        "Add a rule in config.toml, restart the relay, then press “Retry”.",
    ),
    "bulk": _row(
        f"{{texts}} messages came in one request, and more than {{limit}} look like a bulk message. "
        f"{_NO_BULK}",
        "Approve it only if a person wrote it to this person.",
        "Send it only if a person wrote it to this person.",
    ),
    "bulk.kept_as_one": _row(
        f"{{texts}} messages came in one request and are kept as one. That looks like a bulk message. "
        f"{_NO_BULK}",
        "If a person wrote each of them, send them again a few at a time.",
    ),
    "unreadable": "The request can't be read.",
    **{f"unreadable.{problem}": says for problem, says in _UNREADABLE.items()},
    "not_a_payload": (
        "It has neither a message nor a phone number (seller_phone), so it isn't a text from IF3."
    ),
    "not_a_payload.more": "{count} more elements of the list aren't texts from IF3.",
    "not_a_payload.empty_envelope": "Its envelope is empty: there is no text in it.",
    "too_deep": "It is wrapped in more than {limit} lists or envelopes.",
    "internal": (
        "The relay couldn't read this request because of an internal error ({error}). The request is saved."
    ),
    # What a person typed for one message.
    **{f"bad_sender.{problem}": says for problem, says in _PHONES.items()},
    "bad_sender.not_ours": "{typed} is not one of your tracking numbers.",
    "no_sender": "There are several tracking numbers and no default.",
    "no_sender.none": _row("There is no tracking number to send from.", "Run `callrail-relay configure`."),
    "not_passed_on": _row(
        "It came in shadow mode and never got to the old webhook, so no one has sent it.",
        "Approve it to send it from here, or cancel it.",
        "Press “Send anyway” to send it from here, or cancel it.",
    ),
    "sent_by_zapier": _row("Zapier's history shows it as sent {at_written_at}.", *_APPROVE),
    "sent_by_zapier.removed": _row("Zapier's history shows it as sent.", *_APPROVE),
    # Rules.
    "duplicate": _row(
        "The same text to the same person came within {window_seconds} (message {message_id}).", *_APPROVE
    ),
    "duplicate.after_sleep": _row(
        "The same text to the same person is here already (message {message_id}). This computer was asleep "
        "until just now, so the sender may have repeated it.",
        *_APPROVE,
    ),
    "duplicate.mapped_later": _row(
        "The same text to the same person came as well (message {message_id}).", *_APPROVE
    ),
    "merge_tag": _row(
        "This message has an unfilled placeholder: {placeholder}.",
        "Write it again in IF3, or approve it as it is.",
        "Write it again in IF3, or press “Send anyway”.",
    ),
    "merge_tag.removed": "This message has an unfilled placeholder.",
    "mass_text": _row(
        "Looks like a bulk message: similar words to {people} people or more within {window_seconds}. "
        f"{_NO_BULK}",
        "If a person wrote each of them, run `callrail-relay messages approve ID --same-wording`; otherwise "
        "cancel them.",
        "If a person wrote each of them, press “Send all alike”; otherwise cancel them.",
    ),
    "quiet_hours": (
        "Quiet hours: it is too early or too late where the person may be. It will be sent {at_until}."
    ),
    "opt_out": "This person opted out. You can't text them from this number.",
    "maybe_opted_out": _row(
        "The person replied “{words}” {at_written_at}. Does that ask for no more texts?",
        "If so, run `callrail-relay opt-outs add`; if not, approve this message.",
        "If so, press “Opt out”; if not, press “Send anyway”.",
    ),
    "maybe_opted_out.removed": _row(
        "A reply {at_written_at}, whose words were removed since, may ask for no more texts.", *_APPROVE
    ),
    "too_old": _row(
        "Waited more than {max_age_seconds}. Still want to send it?", "Approve it or cancel it.", ""
    ),
    "too_long": _row(
        "It needs {needed} parts, and the sending limits allow {allowed}.",
        "Shorten it, or raise limits.max_characters.",
    ),
    "restored": _row(_RESTORED, *_SEND_RESTORED),
    "restored.checking": _row(f"{_RESTORED} The relay checks with CallRail.", *_SEND_RESTORED),
    "restored.not_shown": _row(f"{_RESTORED} Its conversation in CallRail doesn't show it.", *_SEND_RESTORED),
    # What became of it at CallRail.
    "refused": "CallRail rejected it ({http_status}): {detail}",
    "unsendable": _row("It can't be sent, and nothing was: {detail}", "Send it again from IF3."),
    "firewall": _row(
        "A firewall in front of CallRail rejected it (403, “{answer}”).",
        "Reword it, for example without a link, and send it again.",
    ),
    "unknown": _row(f"{_UNKNOWN}.", *_DECIDE),
    "unknown.no_answer": f"{_UNKNOWN}: {{detail}} The relay checks with CallRail before it is sent again.",
    "unknown.not_shown": _row(f"{_UNKNOWN}, and its conversation doesn't show it.", *_DECIDE),
    "unknown.others_like_it": _row(
        f"{_UNKNOWN}, and its conversation shows {{count}} like it, more than were sent from here.", *_DECIDE
    ),
    "unknown.not_asked": _row(f"{_UNKNOWN}, and the relay couldn't check.", *_DECIDE),
    "incomplete": "{sent} of its {segments} parts were sent. The rest won't be.",
    "sent_twice": _row(
        "CallRail accepted this message twice: the first try arrived after all.",
        "Tell the person if it matters.",
    ),
    # What it waits for.
    "paused": "Sending is paused. {cause}",
    "account_waits": "{cause} Sending waits until {until}.",
    "budget": "The {window}'s sending limit is reached ({used} of {allowed}). Sending resumes {at_until}.",
    "behind_unknown": (
        "The relay checks an earlier message to this person with CallRail, until {until} at most."
    ),
    "foreign_account": _row(
        "Its account {account_id} isn't in the settings.", "Add it again, or cancel the message."
    ),
    # Why an account is paused, or waits.
    "by_hand": _row("{note}", "Run `callrail-relay resume` to go on.", ""),
    "unauthorized": _row(
        "CallRail doesn't know the API key (401). Store a valid one with `callrail-relay configure`.",
        *_RESUME,
    ),
    "forbidden": _row(
        "CallRail rejected the API key (403). The likely causes, in order: the key is read-only (ask "
        "CallRail support for write access), its user doesn't see the company, the business has no 10DLC "
        "approval yet, or sending isn't enabled for the account.",
        *_RESUME,
    ),
    "firewalled": _row(
        "A firewall in front of CallRail rejected three messages in a row (403, “{answer}”). It probably "
        "blocks this computer's internet address. Ask CallRail support, or try another connection.",
        *_RESUME,
    ),
    "rate_limited": "CallRail's rate limit is reached (429).",
    "unreachable": "CallRail can't be reached.",
    "no_answer": "CallRail doesn't answer as it should.",
}


def shown(name: str, value: object) -> str:
    """Return a value as text: spans in words, instants by this machine's clock."""
    if name.endswith("_seconds"):
        return span(float(str(value)))
    if name.removeprefix("at_") in ("until", "written_at", "made_at"):
        local = datetime.fromisoformat(str(value)).astimezone()
        return f"{'at ' if name.startswith('at_') else ''}{clock_time(local)} on {local:%b} {local.day}"
    if name in ("note", "detail"):  # other people's words, before more of ours
        words = str(value).strip()
        return words if words.endswith((".", "!", "?")) else f"{words}."
    return str(value)


Show = Callable[[str, object], str]  # shows a parameter of this name; at_ before it is for *at* an instant
Text = Callable[[str], str]


def explain(
    reason: Reason, *, page: bool = False, do: bool = True, show: Show = shown, text: Text = str
) -> str:
    """Return *reason* in sentences, with what to *do*; *text* is what they are made of, such as Markup."""
    says, *remedies = _row_of(reason)
    template = " ".join([says, *((remedies[-1:] if page else remedies[:1]) if do else ())]).strip()
    again = partial(explain, page=page, show=show, text=text)
    values = {}
    for name, parameter in _fields(template).items():
        value = reason.parameters[parameter]
        values[name] = again(Reason(**value)) if name == "cause" else show(name, value)
    return text(template).format(**values)


def says(reason: Reason) -> str:
    """Return what happened, without what to do."""
    return explain(reason, do=False)


def explain_all(reasons: Iterable[Reason]) -> str | None:
    """Return all reasons in one line, or None."""
    return " ".join(map(explain, reasons)) or None


def _row_of(reason: Reason) -> tuple[str, ...]:
    """The most exact row whose values are there: those that people typed are removed in time."""
    for key in (f"{reason.code}.{reason.parameters.get('problem')}", reason.code, f"{reason.code}.removed"):
        row = SENTENCES.get(key, "")
        says, *remedies = (row,) if isinstance(row, str) else row
        if says and reason.parameters.keys() >= set(_fields(says).values()):
            return says, *remedies
    return (f"{reason.code.replace('_', ' ').capitalize()}.",)


def _fields(template: str) -> dict[str, str]:
    """The fields of a template, and the parameter that each shows."""
    return {name: name.removeprefix("at_") for _, name, _, _ in Formatter().parse(template) if name}


def phone(number: str | None) -> str:
    """A number as people write it: (202) 555-0122."""
    if number is None:
        return "no number"
    digits = number.removeprefix("+1")
    if not re.fullmatch("[0-9]{10}", digits):
        return number
    return f"({digits[:3]}) {digits[3:6]}-{digits[6:]}"


def clock_time(instant: datetime, *, seconds: bool = False) -> str:
    """Return the time of day by this machine's clock: 2:05 PM."""
    local = instant.astimezone()
    tail = f":{local.second:02}" if seconds else ""
    return f"{local.hour % 12 or 12}:{local.minute:02}{tail} {'AM' if local.hour < 12 else 'PM'}"


def at(time: str) -> str:
    """Return *time* as a sentence says it: at 2:05 PM, tomorrow at 2:05 PM, on Nov 21 at 2:05 PM."""
    if time.startswith(("yesterday", "tomorrow")):
        return time.replace(" ", " at ", 1)
    return f"on {time}" if " at " in time else f"at {time}"


def of_point(point: "Point", facts: "Facts", time: str) -> dict[str, Any]:
    """Return what sentences about a point of the verdict show; *time* is when it ends by itself."""
    return {
        "name": point.name,
        "count": point.count,
        "messages": plural(point.count, "message"),
        "need": "needs" if point.count == 1 else "need",
        "whose": "" if len(facts.standings) == 1 else f" from account {point.account_id}",
        "time": time,
        "at": at(time),
    }


def seen_lately(facts: "Facts", show: Callable[[datetime], str]) -> str:
    """Return when IF3 posted last, and which version runs where that is known."""
    at = facts.last_from_if3
    today = "today " if at and at.astimezone().date() == facts.now.astimezone().date() else ""
    last = f"Last text from IF3: {today}{show(at)}." if at else "No text from IF3 yet."
    versions = sorted({node.version for node in facts.running.nodes if node.version})
    return f"{last} Version {', '.join(versions)}." if versions else last


def asleep(slept: "Slept", woke: str) -> str:
    """Return how long the computer slept the last time; *woke* is when it woke."""
    minutes = round(slept.seconds / 60)
    lasted = plural(round(minutes / 60), "hour") if minutes >= 90 else plural(max(minutes, 1), "minute")
    return f"This computer was asleep for {lasted} until {woke}, and could take no texts."


def plural(count: int, word: str) -> str:
    """Return a count with its word: 1 text, 2,000 texts."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def span(seconds: float) -> str:
    """Return a span of time in words: 4 hours, 90 minutes, 5 seconds."""
    for unit, size in (("hour", 3600), ("minute", 60)):
        if seconds >= size and seconds % size == 0:
            return plural(int(seconds // size), unit)
    return f"{seconds:g} seconds"
