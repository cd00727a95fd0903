"""Forms for the settings, made from ``forms.toml``: all are shown, read, and saved the same way."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, NamedTuple

from starlette.responses import Response

from callrail_relay.bootstrap.editing import Saved, unused
from callrail_relay.domain import read_table
from callrail_relay.errors import RelayError, SettingsError
from callrail_relay.web.dashboard.frame import Visit
from callrail_relay.web.dashboard.words import WORDS, say


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    key: str
    label: str
    kind: str
    hint: str = ""
    choices: Mapping[str, str] = field(default_factory=dict)

    def typed(self, form: Mapping[str, str]) -> object:
        words = form.get(self.key, "").strip() + form.get(f"{self.key}.unit", "")
        if self.kind == "list":
            return [word.strip() for word in words.split(",") if word.strip()]
        # Only a choice can be none; everything else must be filled in.
        return None if self.kind == "choice" and not words else words

    def shown(self, value: object) -> str:
        """Return a value as one would type it."""
        if isinstance(value, list):
            return ", ".join(map(str, value))
        return "" if value is None else str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    name: str
    page: str
    title: str
    text: str
    fields: Sequence[Field]


class Change(NamedTuple):
    """What a form changes, by key; *lines* are shown instead if the file can't be written."""

    values: Mapping[str, object]
    lines: str | None = None


@cache
def forms() -> Mapping[str, Form]:
    tables = read_table(__package__, "forms")
    return {
        name: Form(name=name, **table | {"fields": [Field(**one) for one in table["fields"]]})
        for name, table in tables.items()
    }


def values(visit: Visit, page: str, refused: Saved | None) -> dict[str, Any]:
    """Return what the template of a settings page needs. It reads the file, so run it in a thread."""
    editor = visit.dashboard.settings
    broken, waiting, settings = "", tuple[str, ...](), editor.context.settings
    stamp = editor.stamp()  # before the file is read, so that no later change is missed
    try:
        settings = editor.read()
        waiting = unused(editor.context.settings, settings)
    except SettingsError as error:
        broken = str(error)

    written, typed = settings.by_key(), visit.form if refused else {}

    def shown(one: Field) -> dict[str, object]:
        value, fixed, fault = one.shown(written[one.key]), editor.fixed_by(one.key), ""
        if refused and one.key in typed and not fixed:
            value = typed[one.key] + typed.get(f"{one.key}.unit", "")
            fault = _named(refused.faults.get(one.key, ""))
        return {"field": one, "value": value, "fixed_by": fixed, "fault": fault}

    return {
        "forms": [
            (form, [shown(one) for one in form.fields]) for form in forms().values() if form.page == page
        ],
        "refused": refused,
        "typed": typed,
        "stamp": "" if broken else stamp,
        "file": editor.place,
        "why_not": editor.why_not(),
        "broken": broken,
        "waiting": [_labels().get(key, key) for key in waiting],
    }


async def save(
    visit: Visit, change: Callable[[], Change], show: Callable[..., Awaitable[Response]]
) -> Response:
    """Save what a form changes, and *show* its page again: with what was typed, if that was refused."""
    stamp, fields = visit.form.get("stamp", ""), {"alerts.urls", *visit.form}
    try:
        values, lines = await asyncio.to_thread(change)
        saved = await visit.dashboard.settings.save(values, stamp, visit.who, lines=lines)
    except RelayError as error:
        return await show(visit, refused=Saved(why=str(error)))
    if saved.faults or saved.lines:
        # An error that no field caused, such as in a line that a person wrote meanwhile.
        others = " ".join(f"{key} {words}" for key, words in saved.faults.items() if key not in fields)
        return await show(visit, refused=replace(saved, why=others or saved.why))
    done = say("saved_restart") if saved.waits else say("saved")
    return visit.back(done if saved.keys else say("unchanged"))


@cache
def _labels() -> Mapping[str, str]:
    labels: dict[str, str] = WORDS["labels"]
    return labels | {one.key: one.label for form in forms().values() for one in form.fields}


def _named(words: str) -> str:
    """Return an error with the page's labels in place of keys."""
    for key, label in _labels().items():
        words = words.replace(key, f"“{label}”")
    return words
