"""What a text is and what happens to it: values and decisions. No I/O, no clock."""

import tomllib
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def read_table(package: str | None, name: str) -> dict[str, Any]:
    """Return the table in ``NAME.toml``, which is beside the modules of *package*."""
    return tomllib.loads(files(package or "").joinpath(f"{name}.toml").read_text(encoding="utf-8"))


def sentences_from(package: str | None, name: str, section: str = "") -> Callable[..., str]:
    """Return a function that fills in the sentences of a table, or of one of its sections."""
    table = read_table(package, name)
    rows = table[section] if section else table

    def tell(row: str, /, **values: object) -> str:
        return str(rows[row]).format(**values)

    return tell
