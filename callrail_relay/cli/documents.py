"""
Showing values to a program: one JSON document on standard output. Needs no Rich.
"""

import json
from collections.abc import Iterable
from typing import Any

import typer

from callrail_relay.domain.message import Message


def print_json(document: object) -> None:
    """
    One JSON document on standard output.
    """
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))


def documents(messages: Iterable[Message]) -> list[dict[str, Any]]:
    return [message.document() for message in messages]
