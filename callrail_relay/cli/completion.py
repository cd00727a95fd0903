"""What a shell completes: ids, statuses, and the numbers of people and of one's own account."""

import contextlib
import io
from functools import partial
from pathlib import Path

import typer

from callrail_relay.domain.message import Status

STATUSES = [status.value for status in Status]
_TAKES = {
    "approve": ("held",),
    "remap": ("held",),
    "resend": ("unknown", "failed", "cancelled"),
    "mark-sent": ("unknown",),
    "cancel": ("held", "queued", "unknown", "failed"),
}


def ids(ctx: typer.Context) -> list[tuple[str, str]]:
    """The ends of the newest texts' ids, as tables show them, of the statuses that the command takes."""
    takes = _TAKES.get(ctx.info_name or "", STATUSES)
    # Nothing that others wrote: a shell evaluates what it gets.
    return [(id_[-8:], f"{status} {to or ''}") for id_, to, status in _known(ctx)[1] if status in takes]


def people(ctx: typer.Context) -> list[str]:
    return list(dict.fromkeys(to for _, to, _ in _known(ctx)[1] if to))


def own_numbers(ctx: typer.Context) -> list[str]:
    return list(_known(ctx)[0])


def _known(ctx: typer.Context) -> tuple[tuple[str, ...], list[tuple[str, str | None, str]]]:
    from callrail_relay.bootstrap.context import peek

    given = ctx.params.get("config")
    with contextlib.redirect_stderr(io.StringIO()):  # a warning would stand in the middle of what is typed
        return peek(None if given is None else Path(given))


id_argument = partial(typer.Argument, metavar="ID", autocompletion=ids)
status_option = partial(typer.Option, metavar="STATUS", autocompletion=lambda: STATUSES)
person_option = partial(typer.Option, metavar="NUMBER", autocompletion=people)
number_option = partial(typer.Option, metavar="NUMBER", autocompletion=own_numbers)
