"""SQL that is compiled once for all stores of a process: nearly every test opens one of its own."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.util import LRUCache


class _Compiled(LRUCache[Any, Any]):
    """Compiled statements by the kind of their dialect; SQLAlchemy asks for those of one engine's own."""

    def get(self, key: Any, default: Any = None) -> Any:  # noqa: ANN401 - as the class has it
        return super().get(_of_kind(key), default)

    def __setitem__(self, key: Any, compiled: Any) -> None:  # noqa: ANN401 - as above
        super().__setitem__(_of_kind(key), compiled)


def _of_kind(key: Any) -> Any:  # noqa: ANN401 - as above
    return type(key[0]), key[1:]


def share_compiled_statements() -> None:
    """Have every connection from now on use what was compiled for another of its kind."""
    compiled = _Compiled(1000)

    @sa.event.listens_for(sa.Engine, "engine_connect")
    def share(connection: sa.Connection) -> None:
        connection.execution_options(compiled_cache=compiled)
