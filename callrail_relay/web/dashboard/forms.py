"""Forms for the settings, made from ``forms.toml``: shown, read, and saved the same way for all."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from starlette.responses import Response

from callrail_relay.errors import NotAllowed, NotFound, SettingsError
from callrail_relay.web.dashboard.frame import Visit

RESTART = "Run `callrail-relay service restart`, or restart the container."
_OTHERS = {
    "routes": "Numbers",
    "callrail.tracking_number": "Number of everyone else",
    "alerts.urls": "Alert addresses",
}


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
        # Only a choice can be none; all else has to be filled in.
        return None if self.kind == "choice" and not words else words


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    name: str
    page: str
    title: str
    text: str
    fields: Sequence[Field]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """What a person typed that wasn't saved, and why."""

    form: str
    typed: Mapping[str, str]
    faults: Mapping[str, str] = field(default_factory=dict)
    fault: str = ""
    lines: str = ""


@cache
def forms() -> Mapping[str, Form]:
    tables = tomllib.loads(Path(__file__).with_name("forms.toml").read_text(encoding="utf-8"))
    return {
        name: Form(name=name, **table | {"fields": [Field(**one) for one in table["fields"]]})
        for name, table in tables.items()
    }


def values(visit: Visit, page: str, refused: Refused | None) -> dict[str, Any]:
    """What the template of a settings page needs."""
    editor = visit.dashboard.settings
    broken, waiting, settings = "", tuple[str, ...](), editor.context.settings
    try:
        settings, waiting = editor.read(), editor.waiting()
    except SettingsError as error:
        broken = str(error)

    def shown(one: Field, form: str) -> dict[str, object]:
        value, fixed, fault = editor.text(one.key, settings), editor.fixed_by(one.key), ""
        if refused and refused.form == form and one.key in refused.typed and not fixed:
            value = refused.typed[one.key] + refused.typed.get(f"{one.key}.unit", "")
            fault = _named(refused.faults.get(one.key, ""))
        return {"field": one, "value": value, "fixed_by": fixed, "fault": fault}

    return {
        "forms": [
            (form, [shown(one, form.name) for one in form.fields])
            for form in forms().values()
            if form.page == page
        ],
        "refused": refused,
        "stamp": "" if broken else editor.stamp(),
        "file": editor.place,
        "why_not": editor.why_not(),
        "broken": broken,
        "waiting": [_labels().get(key, key) for key in waiting],
        "restart": RESTART,
    }


def named(visit: Visit) -> Form:
    """The form that was posted. Raises NotFound."""
    if (form := forms().get(visit.request.path_params["form"])) is None:
        raise NotFound("There is no such page.")
    return form


async def save(
    visit: Visit, form: str, typed: Mapping[str, object], address: str, lines: str | None = None
) -> Response | Refused:
    """Save what was typed; the answer if that was done, else why it was not."""
    stamp, fields = visit.form.get("stamp", ""), {"alerts.urls", *visit.form}
    try:
        saved = await visit.dashboard.settings.save(typed, stamp, visit.who, lines=lines)
    except (NotAllowed, SettingsError) as error:
        return Refused(form=form, typed=visit.form, fault=str(error))
    if saved.faults or saved.lines:
        # One that no field is to blame for, such as of a line that a person wrote meanwhile.
        others = " ".join(f"{key} {words}" for key, words in saved.faults.items() if key not in fields)
        return Refused(
            form=form, typed=visit.form, faults=saved.faults, fault=others or saved.why, lines=saved.lines
        )
    use = "The relay needs a restart to use it." if saved.waits else "It's in use now."
    return visit.go(address, f"Saved. {use}" if saved.keys else "Nothing was changed.")


@cache
def _labels() -> Mapping[str, str]:
    return _OTHERS | {one.key: one.label for form in forms().values() for one in form.fields}


def _named(words: str) -> str:
    """A fault with the labels of the page in place of keys."""
    for key, label in _labels().items():
        words = words.replace(key, f"“{label}”")
    return words
