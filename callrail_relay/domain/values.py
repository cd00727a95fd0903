"""What a value is: frozen data, given by name, that changes by making a new value."""

from dataclasses import Field, dataclass, field
from typing import Any, ClassVar, dataclass_transform


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
class _ValueType(type):
    def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> Any:  # noqa: ANN401 - as made
        made = super().__new__(cls, name, bases, namespace)
        # To have slots, dataclasses makes the class once more.
        return made if "__slots__" in namespace else dataclass(frozen=True, slots=True, kw_only=True)(made)


class Value(metaclass=_ValueType):
    """Base of all values: each is a frozen dataclass with slots, and takes its fields by name alone."""

    __slots__: ClassVar[tuple[str, ...]] = ()
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
