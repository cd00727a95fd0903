"""Gathers the settings: flags over environment over file over default; an error names its key and source."""

import json
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict

from callrail_relay.config import sentence
from callrail_relay.config.places import CONFIG_VARIABLE, DATA_VARIABLE, config_file, override_path
from callrail_relay.config.secrets import SecretName
from callrail_relay.config.settings import TABLES, Settings, nested
from callrail_relay.config.types import explain
from callrail_relay.domain.printable import printable_line
from callrail_relay.errors import SettingsError

PREFIX = "CALLRAIL_RELAY_"
_NOT_SETTINGS = {CONFIG_VARIABLE, DATA_VARIABLE, *(one.variable for one in SecretName if one.variable)}
_FLAGS: dict[tuple[int | str, ...], str] = {
    ("log", "level"): "--log-level",
    ("dashboard", "enabled"): "--no-dashboard",
}

_SOUNDS_SECRET = re.compile(r"key|token|secret|password", re.IGNORECASE)
_MAY_BE_SECRET = re.compile(rf"[0-9A-Za-z_+/=-]{{20,}}|@|(?i:{_SOUNDS_SECRET.pattern})")
_NEVER_SHOWN = {"url", "urls", "heartbeat_url"}
_TABLE = re.compile(r"\s*(\[\[?)\s*([\w-]+)\s*\]")
_KEY = re.compile(r"""\s*["']?([\w-]+)["']?\s*=""")
_REMEDIES = {  # the first that fits tomllib's words
    r"hex value|'\\'": sentence("toml_backslash"),
    "twice|overwrite|immutable|duplicate": sentence("toml_twice"),
    "": sentence("toml_quotes"),
}

Values = dict[str, Any]
Location = tuple[int | str, ...]
_Source = tuple[Values, Callable[[Location], str]]  # its values, and its name for an error at a location


class InvalidSettings(SettingsError):
    """Raised for values that can't be used; *faults* has what each must be, by its place."""

    def __init__(self, words: str, faults: Mapping[Location, str]) -> None:
        super().__init__(words)
        self.faults = faults


def load(
    config: Path | None = None,
    *,
    overrides: Mapping[str, object] | None = None,
    must_exist: bool = True,
    text: str | None = None,
) -> Settings:
    """
    Return the settings of this run; *overrides* are the flags, by table. Raises SettingsError.

    *text* is used in place of the file's own, to see whether it can be written.
    """
    path = config_file(config)
    text = read_text(path) if text is None else text
    if text is None and must_exist and override_path(config) is not None:
        raise SettingsError(sentence("no_settings_file", path=path, config_variable=CONFIG_VARIABLE))
    file: _Source = (parse(path, text or ""), lambda at: _line(at, path, text or ""))
    sources = [*_above_the_file(overrides), file]
    values: Values = {}
    for source, _ in reversed(sources):
        values = _merged(values, source)
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        faults = [
            (fault["loc"], fault["input"], explain(fault["type"], fault.get("ctx", {})))
            for fault in error.errors(include_url=False)
        ]
        raise InvalidSettings(
            "\n".join(_sentence(*fault, sources) for fault in faults),
            {at: f"{words or 'is not a setting'}." for at, _, words in faults},
        ) from error


def _above_the_file(overrides: Mapping[str, object] | None) -> list[_Source]:
    variables, _ = _variables()
    return [
        (_flags(overrides or {}), lambda at: _FLAGS.get(at, f"--{at[-1]}".replace("_", "-"))),
        (_Environment(variables)(), lambda at: _variable(at, variables)),
    ]


def outranked_by(location: Location, overrides: Mapping[str, object] | None = None) -> str | None:
    """Return the option or variable that sets *location*, so that the file's value doesn't count."""
    found = (name(location) for values, name in _above_the_file(overrides) if _holds(values, location))
    return next(found, None)


def ignored_variables() -> str | None:
    """Return a sentence on variables with our prefix that set nothing, such as Kubernetes' own."""
    _, unknown = _variables()
    if not unknown:
        return None
    names = ", ".join(printable_line(name) + _meant(name) for name in unknown)
    return f"Ignored, because there is no such setting: {names}."


def read_text(path: Path) -> str | None:
    """Return the text of the settings file, None if there is none; a byte order mark is dropped."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise SettingsError(sentence("not_utf8", path=path, byte=error.start + 1)) from error
    except OSError as error:
        if os.path.isdir(path):  # noqa: PTH112 - Path's own raises for a closed directory
            raise SettingsError(sentence("is_directory", path=path)) from error
        raise SettingsError(sentence("settings_unreadable", path=path, why=error.strerror)) from error


def parse(path: Path, text: str) -> Values:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        why = f"{str(error)[:1].lower()}{str(error)[1:]}"
        remedy = next(words for known, words in _REMEDIES.items() if re.search(known, why))
        raise SettingsError(sentence("not_toml", path=path, why=why, remedy=remedy)) from error


def _merged(below: object, above: object) -> Any:  # noqa: ANN401 - whatever a source contains
    """Return *above* laid over *below*, table by table; a list replaces a list."""
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    return below | {key: _merged(below.get(key), value) for key, value in above.items()}


def _flags(given: Mapping[str, object]) -> Values:
    given = {key: value for key, value in given.items() if value is not None}
    return {key: _flags(value) if isinstance(value, Mapping) else value for key, value in given.items()}


class _EnvironmentNames(Settings, BaseSettings):
    """Which variable sets which key."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__")


class _Environment(EnvSettingsSource):
    """What *variables* set: one key each, or a whole table as JSON, which the others override."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        super().__init__(_EnvironmentNames)
        self.env_vars = {name.lower(): value for name, value in variables.items()}

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:  # noqa: ANN401, ARG002 - pydantic's
        """Return a list or table from JSON, or a list from words between commas."""
        if not value.lstrip().startswith(("[", "{")):
            return [word.strip() for word in value.split(",") if word.strip()]
        try:
            return json.loads(value)
        except ValueError:
            return value  # it's reported as "must be a list"


def _variables() -> tuple[dict[str, str], list[str]]:
    """Return the variables that set something, and those of our prefix that don't. Blank ones aren't set."""
    ours = {
        name.upper(): value
        for name, value in os.environ.items()
        if name.upper().startswith(PREFIX) and name.upper() not in _NOT_SETTINGS and value.strip()
    }
    known = set(variable_names())
    return {name: value for name, value in ours.items() if name in known}, sorted(ours.keys() - known)


def variable_names() -> Iterator[str]:
    for table, model in TABLES.items():
        yield f"{PREFIX}{table}".upper()
        if table != "routes":  # a list of tables is set as a whole
            yield from (f"{PREFIX}{table}__{key}".upper() for key in model.model_fields)


def environment_changes(path: Path, settings: Settings) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return what the environment sets and the file doesn't, by table; and its variables."""
    variables, _ = _variables()
    environment, written = _Environment(variables)(), parse(path, read_text(path) or "")
    differing = settings.differing(load(path, overrides=written, must_exist=False))
    changes = {}
    for key, value in settings.by_key().items():
        place = key.split(".")
        if _holds(environment, place) and (key in differing or not _holds(written, place)):
            changes[key] = value
    places = {name: name.removeprefix(PREFIX).lower().split("__") for name in sorted(variables)}
    tables = nested(changes)
    return tables, tuple(name for name, place in places.items() if _holds(tables, place))


def _variable(location: Location, variables: Mapping[str, str]) -> str:
    """Return the variable that set *location*: its own, its table's, or those of what it contains."""
    names = [PREFIX + "__".join(map(str, location[:depth])).upper() for depth in range(len(location), 0, -1)]
    own = next((name for name in names if name in variables), None)
    return f"environment variable {own or ', '.join(name for name in variables if name.startswith(names[0]))}"


def _line(location: Location, path: Path, text: str) -> str:
    """Return the file, with the line of a key or table that is written in the usual way."""
    table: Location = ()
    counts: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _TABLE.match(line):
            name = header[2]
            index = counts[name] = counts.get(name, -1) + 1
            table = (name, index) if header[1] == "[[" else (name,)
            if table == location:
                return f"{path}, line {number}"
        elif (key := _KEY.match(line)) and (*table, key[1]) == location[: len(table) + 1]:
            return f"{path}, line {number}"
    return str(path)


def _sentence(location: Location, value: object, words: str | None, sources: list[_Source]) -> str:
    above = [location[:depth] for depth in range(len(location), -1, -1)]
    source = next(name(at) for at in above for values, name in sources if _holds(values, at))
    key = _key(location)
    if words is None:
        return f"{key} ({source}) is not a setting{_instead(location)}."
    written = json.dumps(value, ensure_ascii=False) if isinstance(value, str | int | float) else ""
    may_be_secret = _NEVER_SHOWN.intersection(location) or _MAY_BE_SECRET.search(written)
    shown = f"is {written} and " if written and len(written) <= 40 and not may_be_secret else ""
    return f"{key} ({source}) {shown}{words}."


def _holds(found: Any, location: Sequence[int | str]) -> bool:  # noqa: ANN401 - whatever a source contains
    try:
        for step in location:
            found = found[step]
    except (KeyError, IndexError, TypeError):
        return False
    return True


def _key(location: Location) -> str:
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return "".join(steps).removeprefix(".")


def _instead(location: Location) -> str:
    """Return the nearest key in the same table, or where secrets go, as the end of a sentence."""
    *table, key = location
    if _SOUNDS_SECRET.search(str(key)):
        return "; secrets are kept apart from the settings, and `callrail-relay configure` stores them"
    keys = list(TABLES[str(table[0])].model_fields if table else TABLES)
    if near := get_close_matches(str(key), keys, n=1):
        return f"; perhaps you meant {_key((*table, near[0]))}"
    return f"; {_key(tuple(table)) or 'the file'} takes {', '.join(keys)}"


def _meant(name: str) -> str:
    """Return what a name may be a typo for, if close: CALLRAIL_RELAY_SERVICE_PORT comes from Kubernetes."""
    elsewhere = f"CALLRAIL_{name.removeprefix(PREFIX)}"
    near = get_close_matches(name, [*variable_names(), *_NOT_SETTINGS], n=1, cutoff=0.95)
    meant = elsewhere if elsewhere in _NOT_SETTINGS else next(iter(near), None)
    return f" (perhaps you meant {meant})" if meant else ""
