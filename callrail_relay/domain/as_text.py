"""
Values of the domain as text, and back.

For dataclasses of texts, numbers, times, spans, enumerations, tuples of one type, and other such dataclasses.
"""

import json
from dataclasses import asdict, is_dataclass
from datetime import time, timedelta
from enum import Enum
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")


def to_text(value: Any) -> str:  # noqa: ANN401 - any dataclass
    """
    *value* as JSON.
    """
    return json.dumps(asdict(value), default=_plain, ensure_ascii=False)


def from_text(kind: type[T], text: str) -> T:
    """
    The value that ``to_text`` wrote; what it did not know yet has its default, and what is gone is left out.
    """
    value: T = _made(kind, json.loads(text))
    return value


def _plain(value: object) -> object:
    if isinstance(value, timedelta):
        return value // timedelta(microseconds=1)
    if isinstance(value, time):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no form in JSON here")


def _made(kind: Any, value: Any) -> Any:  # noqa: ANN401 - by the type that *kind* is
    if value is None:
        return None
    if get_origin(kind) is UnionType:
        [kind] = set(get_args(kind)) - {NoneType}
    if get_origin(kind) is tuple:
        return tuple(_made(get_args(kind)[0], part) for part in value)
    if is_dataclass(kind):
        kinds = get_type_hints(kind)
        parts = {name: _made(kinds[name], part) for name, part in value.items() if name in kinds}
        return kind(**parts)  # type: ignore[operator]  # mypy takes it for a value that was made from one
    if kind is timedelta:
        return timedelta(microseconds=value)
    if kind is time:
        return time.fromisoformat(value)
    return kind(value) if issubclass(kind, Enum) else value
