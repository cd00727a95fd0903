"""
The types of the tables' columns, the same on SQLite and PostgreSQL, and parameters that many statements take.

Instants are stored as microseconds since 1970 in UTC, a type that both databases compare and index alike.
"""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.operators import OperatorType

from callrail_relay.domain.message import Reason

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class Instant(sa.types.TypeDecorator[datetime]):
    """An aware datetime, stored as microseconds since 1970."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: sa.Dialect) -> int | None:
        return None if value is None else (value - EPOCH) // MICROSECOND

    def process_result_value(self, value: int | None, _dialect: sa.Dialect) -> datetime | None:
        return None if value is None else EPOCH + value * MICROSECOND


class StoredReason(sa.types.TypeDecorator[Reason]):
    """A reason, stored as JSON text."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Reason | None, _dialect: sa.Dialect) -> str | None:
        return None if value is None else json.dumps(value.document())

    def process_result_value(self, value: str | None, _dialect: sa.Dialect) -> Reason | None:
        return None if value is None else Reason(**json.loads(value))


class StoredReasons(sa.types.TypeDecorator[tuple[Reason, ...]]):
    impl = sa.JSON
    cache_ok = True

    def process_bind_param(self, value: Iterable[Reason] | None, _dialect: sa.Dialect) -> object:
        return [reason.document() for reason in value or ()]

    def process_result_value(
        self, value: Iterable[dict[str, Any]] | None, _dialect: sa.Dialect
    ) -> tuple[Reason, ...]:
        return tuple(Reason(**reason) for reason in value or ())


class Codes(sa.types.TypeDecorator[tuple[str, ...]]):
    """Several codes or ids, stored as JSON; null is read as none."""

    impl = sa.JSON
    cache_ok = True

    def process_result_value(self, value: Iterable[str] | None, _dialect: sa.Dialect) -> tuple[str, ...]:
        return tuple(value or ())


class Code(sa.types.TypeDecorator[StrEnum]):
    """
    A member of one of our enums, such as a status. What it's compared with is written into the SQL.

    A partial index has the rows of certain codes only. If a parameter decided whether it fits, PostgreSQL
    might plan a statement before it sees that, and SQLite would prepare the statement again each time.
    """

    impl = sa.String
    cache_ok = True

    def __init__(self, kind: type[StrEnum], length: int = 16) -> None:
        super().__init__(length)
        self.kind = kind

    def process_result_value(self, value: str | None, _dialect: sa.Dialect) -> StrEnum | None:
        return None if value is None else self.kind(value)

    class comparator_factory(sa.String.Comparator[str]):  # noqa: N801 - SQLAlchemy's name
        def operate(self, op: OperatorType, *other: Any, **options: Any) -> sa.ColumnElement[Any]:  # noqa: ANN401 - of any operator
            return super().operate(op, *map(_written_out, other), **options)


def _written_out(value: object) -> object:
    if isinstance(value, StrEnum):
        return sa.literal_column(f"'{value}'")
    return [_written_out(one) for one in value] if isinstance(value, list | tuple | frozenset) else value


Condition = sa.ColumnElement[bool]
ACCOUNT_ID = sa.bindparam("account_id", type_=sa.String)
NOW = sa.bindparam("now", type_=Instant)

# SQLite numbers rows by itself only if the key is a plain INTEGER.
Sequence = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
