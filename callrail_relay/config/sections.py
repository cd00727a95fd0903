"""
Tables of settings: frozen values that are read by the rules which their types carry.

A rule takes what a person wrote and gives what it means. It raises a ValueError whose words go on
from "limits.per_hour ...": they begin with "must".
"""

import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import partial
from typing import Any, ClassVar, Self, Union, dataclass_transform, get_args, get_origin, get_type_hints

Location = tuple[int | str, ...]
Rule = Callable[[object], Any]


@dataclass(frozen=True)
class Fault:
    """
    What is wrong with the value at *location*; no *words* where there is no such setting.
    """

    location: Location
    value: object
    words: str | None

    def below(self, step: int | str) -> "Fault":
        return Fault((step, *self.location), self.value, self.words)


class Faults(ValueError):
    """
    Everything that is wrong in a table.
    """

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(f"{fault.location} {fault.words}" for fault in self.faults))


def key(
    *, default: object = MISSING, default_factory: Callable[[], object] | None = None, description: str
) -> Any:  # noqa: ANN401 - it stands where the value of the key will
    """
    A key with its default. The description is its comment in a new file, and its words in the reference.
    """
    made: dict[str, Any] = (
        {"default": default} if default_factory is None else {"default_factory": default_factory}
    )
    return field(**made, metadata={"description": description})


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(key, field))
class Section:
    """
    A table of the settings file: what is not listed is refused, and nothing changes once it is read.
    """

    rules: ClassVar[Mapping[str, Rule]]

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True, kw_only=True)(cls)
        hints = get_type_hints(cls, include_extras=True)
        cls.rules = {name: _rule(hints[name]) for name in cls.known()}

    @classmethod
    def known(cls) -> dict[str, Field[Any]]:
        """
        The keys of this table, each with its default and its description.
        """
        return {one.name: one for one in fields(cls)}  # type: ignore[arg-type]  # every subclass is made one

    @classmethod
    def read(cls, raw: object) -> Self:
        """
        The table that *raw* is meant to be. Raises Faults with all that is wrong.
        """
        if isinstance(raw, cls):
            return raw
        if not isinstance(raw, Mapping):
            raise Faults([Fault((), raw, "must be a table")])
        values: dict[str, Any] = {}
        faults: list[Fault] = []
        for name, rule in cls.rules.items():
            if name in raw:
                _read_into(values, faults, name, raw[name], rule)
        sound = vars(cls(**values)) | dict.fromkeys(str(fault.location[0]) for fault in faults)
        faults += [Fault((name,), value, None) for name, value in raw.items() if name not in cls.rules]
        for at, words in cls.contradictions(sound):
            if at is not None:
                faults.append(Fault((at,), raw.get(at), words))
            elif not faults:  # what is wrong with a key may be why the whole makes no sense
                faults.append(Fault((), raw, words))
        if faults:
            raise Faults(faults)
        return cls(**values)

    @classmethod
    def contradictions(cls, values: Mapping[str, Any]) -> Iterable[tuple[str | None, str]]:
        """
        What does not go together, each with its key, or None for the whole table.

        *values* has all keys; one that is at fault by itself is None.
        """
        del values
        return ()

    def items(self) -> Iterable[tuple[str, Any]]:
        return vars(self).items()


def _read_into(values: dict[Any, Any], faults: list[Fault], step: int | str, raw: object, rule: Rule) -> None:
    """
    Put what *rule* makes of *raw* into *values*, or what is wrong with it into *faults*.
    """
    try:
        values[step] = rule(raw)
    except Faults as error:
        faults += [fault.below(step) for fault in error.faults]
    except ValueError as error:
        faults.append(Fault((step,), raw, str(error)))


def _rule(hint: Any) -> Rule:  # noqa: ANN401 - a type
    """
    The rule that a type carries: ``Annotated[type, rule]``, a tuple of such, another table; or nothing.
    """
    if isinstance(hint, type) and issubclass(hint, Section):
        return hint.read
    if get_origin(hint) in (Union, types.UnionType):
        inner, _none = get_args(hint)
        return partial(_unless_none, _rule(inner))
    if get_origin(hint) is tuple:
        return partial(_list, _rule(get_args(hint)[0]))
    rule: Rule = hint.__metadata__[0]
    return rule


def _unless_none(rule: Rule, raw: object) -> Any:  # noqa: ANN401 - what the rule gives
    return None if raw is None else rule(raw)


def _list(rule: Rule, raw: object) -> tuple[Any, ...]:
    if not isinstance(raw, list | tuple):
        raise ValueError("must be a list")  # noqa: TRY004 - whoever reads a table gathers ValueErrors
    values: dict[int, Any] = {}
    faults: list[Fault] = []
    for place, part in enumerate(raw):
        _read_into(values, faults, place, part, rule)
    if faults:
        raise Faults(faults)
    return tuple(values.values())
