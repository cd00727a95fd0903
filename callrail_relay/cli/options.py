"""
The options that commands share.
"""

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="PATH", help="The settings file, where it is not the usual one."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Answer yes to every question.")]
