"""Writes settings and secrets together; after a failure, the files are as they were."""

from collections.abc import Mapping, MutableMapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.items import AoT, Item, Table

from callrail_relay.config import sentence
from callrail_relay.config.loading import load, parse, read_text
from callrail_relay.config.places import write_privately
from callrail_relay.config.secrets import SecretName, Secrets
from callrail_relay.config.settings import TABLES
from callrail_relay.errors import SettingsError

_HEADING = "# Settings of callrail-relay. Secrets are not kept here: `callrail-relay configure` stores them."


def update(path: Path, changes: Mapping[str, object]) -> None:
    """Set *changes* in the file. Raises SettingsError."""
    try:
        write_privately(path, changed(path, read_text(path), changes))
    except OSError as error:
        raise SettingsError(sentence("unwritable", path=path, why=error.strerror)) from error


def changed(path: Path, text: str | None, changes: Mapping[str, object]) -> str:
    """Return *text* of *path* with *changes*, nested and written as in the file; None removes a key."""
    text = f"{_HEADING}\n" if text is None else text
    parse(path, text)  # explains an error better than tomlkit does
    document = tomlkit.parse(text)
    for section, content in changes.items():
        _set_section(document, section, content)
    return tomlkit.dumps(document)


def _set_section(document: MutableMapping[str, Any], section: str, content: object) -> None:
    if content is None:
        document.pop(section, None)
    elif isinstance(content, Mapping):
        if section not in document:
            document[section] = tomlkit.table()
        if not isinstance(document[section], MutableMapping):
            raise SettingsError(sentence("not_a_table", section=section))
        for key, value in content.items():
            _set_key(document[section], section, key, value)
    else:
        _set_tables(document, section, _rows(section, content))


def _set_tables(document: MutableMapping[str, Any], section: str, rows: list[dict[str, Any]]) -> None:
    """Make the list *section* hold *rows*; tables that stay keep their comments."""
    former = _rows(section, document.get(section, []))
    if former == rows:
        return
    tables = document.get(section)
    stay = [row for row in former if row in rows]
    if isinstance(tables, AoT) and stay == rows[: len(stay)]:
        for place in reversed([place for place, row in enumerate(former) if row not in rows]):
            del tables[place]
    else:
        # Tables in the place of a plain list would swallow the keys that follow it.
        document.pop(section, None)
        document[section] = tables = tomlkit.aot()
        stay = []
    for row in rows[len(stay) :]:
        table = tomlkit.table()
        table.update(row)
        table.trivia.indent = "\n"
        tables.append(table)


def _rows(section: str, content: Any) -> Any:  # noqa: ANN401 - whatever TOML can contain
    """Return the tables of a list as one would write them: 42 and "42" are the same id."""
    try:
        return [TABLES[section].model_validate(row).model_dump(exclude_none=True) for row in content]
    except (TypeError, ValueError):  # `load` says what is wrong
        return content


def _set_key(table: MutableMapping[str, Any], section: str, key: str, value: object) -> None:
    if value is None:
        table.pop(key, None)
    elif key not in table and isinstance(table, Table):  # an inline table has no room for a comment
        item: Item = tomlkit.item(value)
        item.comment(TABLES[section].model_fields[key].description or "")
        _add(table, key, item)
    elif table.get(key) != value:
        table[key] = value


def _add(table: Table, key: str, item: Item) -> None:
    """Add a key after the last one: comments at a table's end usually belong to the next table."""
    body = table.value.body
    end = max((at for at, (name, _) in enumerate(body, start=1) if name is not None), default=0)
    rest = [trivia for _, trivia in body[end:]]
    del body[end:]
    table.append(key, item)
    for trivia in rest:
        table.append(None, trivia)


Changes = Mapping[str, Mapping[str, object]]


async def save(
    path: Path, secrets: Secrets, changes: Changes, kept: Mapping[SecretName, str], *, use_file: bool
) -> dict[SecretName, str]:
    """Write *changes*, store the secrets of *kept*, return where each went; a failure removes new ones."""
    load(path, overrides=changes, must_exist=False)
    places: dict[SecretName, str] = {}
    async with AsyncExitStack() as undo:
        former = read_text(path)
        update(path, changes)
        undo.callback(put_back, path, former)
        for name, value in kept.items():
            is_new = await secrets.find(name, use_file=use_file) is None
            places[name] = await secrets.store(name, value, use_file=use_file)
            if is_new:
                undo.push_async_callback(secrets.remove, name)
        undo.pop_all()
    return places


def put_back(path: Path, former: str | None) -> None:
    if former is None:
        path.unlink(missing_ok=True)
    else:
        write_privately(path, former)


def overruled(path: Path, changes: Changes) -> list[str]:
    """Return the keys of *changes* that were written but don't count: the environment wins."""
    return list(load(path, overrides=changes).differing(load(path)))
