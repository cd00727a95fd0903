"""Showing values to a program: one JSON document on standard output. Needs no Rich."""

import json
from collections.abc import Iterable
from typing import Any

import typer

from callrail_relay.domain.message import Message
from callrail_relay.domain.printable import printable_json


def print_json(document: object, *, indent: int | None = 2) -> None:
    """One JSON document on standard output."""
    typer.echo(json_text(document, indent=indent))


def json_text(document: object, *, indent: int | None = None) -> str:
    """*document* as JSON that a terminal may show: what could steer it is written as ``\\u…``."""
    return printable_json(json.dumps(document, indent=indent, ensure_ascii=False))


def documents(messages: Iterable[Message]) -> list[dict[str, Any]]:
    return [message.document() for message in messages]
