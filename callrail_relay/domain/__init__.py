"""What a text is and what becomes of it: values and decisions, no I/O, no clock."""

import tomllib
from importlib.resources import files
from typing import Any


def read_table(package: str | None, name: str) -> dict[str, Any]:
    """The table ``NAME.toml`` that stands beside the modules of *package*."""
    return tomllib.loads(files(package or "").joinpath(f"{name}.toml").read_text(encoding="utf-8"))
