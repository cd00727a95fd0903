"""The options that commands share."""

from pathlib import Path
from typing import Annotated

import typer

from callrail_relay.errors import UsageFault

Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="PATH", help="The settings file, where it is not the usual one."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Answer yes to every question.")]


def read_number(option: str, raw: str) -> str:
    """A phone number that a person typed, as E.164. Raises UsageFault."""
    from callrail_relay.domain.phone import BadPhone, normalise

    try:
        return normalise(raw)
    except BadPhone as error:
        raise UsageFault(f"{option} is not a phone number to text: {error}.") from error
