"""Writes the pages of the reference that follow from the code: ``python -m tests.docs.generate``."""

import inspect
import json
import re
from collections.abc import Iterator
from datetime import time, timedelta
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import typer
from pydantic.fields import FieldInfo

from callrail_relay.bootstrap.editing import AT_ONCE
from callrail_relay.callrail.simulator import faults
from callrail_relay.cli import app
from callrail_relay.config import types
from callrail_relay.config.loading import PREFIX
from callrail_relay.config.settings import TABLES, Table
from callrail_relay.config.types import duration_text
from callrail_relay.web.dashboard.forms import forms
from tests.docs.markdown import DOCS

COMMAND = "python -m tests.docs.generate"
_MARK = f"<!-- Made from the code: change it there, and run `{COMMAND}`. -->"
_BEGIN, _END = "<!-- kinds of faults: made from the code -->", "<!-- end of the kinds of faults -->"

# What may follow the "=" of a key, by the name of its type in rules.
_VALUES = {
    "AccountId": "text",
    "AlertUrl": "address",
    "ApiUrl": "address",
    "CompanyId": "text",
    "Concurrency": "1 to 64",
    "Count": "whole number from 1",
    "DatabaseUrl": "address",
    "Duration": "time",
    "Flag": "`true`, `false`",
    "GuardMode": "`hold`, `warn`, `off`",
    "HeartbeatUrl": "address",
    "Host": "address or host name",
    "KeptFor": "time, 2 days or more, or `off`",
    "LogFormat": "`auto`, `pretty`, `json`",
    "LogLevel": "`debug`, `info`, `warning`, `error`, `critical`",
    "MaxCharacters": "1 to 1530",
    "Minute": "time of day",
    "Networks": "list of addresses or networks",
    "OnUnknown": "`ask`, `resend_once`",
    "Percent": "1 to 100",
    "PollEvery": "time, 1 minute or more, or `off`",
    "Port": "0 to 65535",
    "RisingPercent": "list of: 1 to 100",
    "RisingTimes": "list of: time, more than 0",
    "SomeTime": "time, more than 0",
    "Text": "text",
    "TimeZone": "name of a time zone",
    "TrackingNumber": "phone number",
    "TunnelKind": "`none`, `tailscale`, `cloudflared`, `ngrok`, `ssh`",
    "WebAddress": "address",
    "Weekday": "`monday` to `sunday`, `off`",
}

_SETTINGS = """\
# Settings

{mark}

Settings are in one file, in [TOML](https://toml.io). `callrail-relay configure` makes it, and keeps what you
change in it.

| system | the file |
|---|---|
| Linux | `~/.config/callrail-relay/config.toml` |
| macOS | `~/Library/Application Support/callrail-relay/config.toml` |
| Windows | `%LOCALAPPDATA%\\callrail-relay\\config.toml` |

`--config PATH` or the environment variable `CALLRAIL_RELAY_CONFIG` names another file.
`CALLRAIL_RELAY_DATA` names another directory for the data
([where that is](../explanation/security.md#what-is-stored-and-where)).

Every key can also be an environment variable, named below. What counts, from the strongest: an option of the
command, the environment, the file, the default. A running `serve` reads the settings when it starts: start it
again after a change. Only `server.public_url`, `server.trusted_proxies` and `[tunnel]` are used within
seconds. Some can be changed on [the dashboard](../how-to/use-the-dashboard.md#settings), as said below. What
is *used at once* needs no restart if it is saved there.

- A *time* is a number of seconds, or text such as `"15s"`, `"5m"`, `"4h"`, `"30d"`. A *time of day* is text
  such as `"21:00"`.
- In an environment variable a *list* is written with commas: `127.0.0.1,10.0.0.0/8`.
- A key that does not exist, or a value that makes no sense, ends the command with code 3. The sentence names
  the key and its place. A variable that is not a setting is named in a warning and ignored: Kubernetes and
  Docker make some, such as `CALLRAIL_RELAY_PORT`, for a service called `callrail-relay`.
- A user without a home directory, as in some containers, needs both `CALLRAIL_RELAY_CONFIG` and
  `CALLRAIL_RELAY_DATA`.
- The way to CallRail follows `HTTPS_PROXY`, `ALL_PROXY` (`http://`, `https://`, `socks5://`, `socks5h://`),
  `NO_PROXY` (names, domains and addresses, each also with a port, and networks), `SSL_CERT_FILE` and
  `SSL_CERT_DIR`. One that can't be used ends the command with code 3, and is a failed check of `doctor`.
- Secrets are not settings: see [where secrets are kept](../explanation/security.md#where-secrets-are-kept).
- The addresses of `alerts.urls` and `replies.forward_to` hold secrets, too: see
  [how to get alerts](../how-to/alerts-and-metrics.md#get-alerts).
"""

_ROUTES = f"""\
The first route that matches is taken. In the environment all routes are one variable, `{PREFIX}ROUTES`, a
JSON list such as `[{{"team_id": "42", "tracking_number": "+12025550134"}}]`.
"""

_COMMANDS = """\
# Commands

{mark}

Every command answers to `--help`. Results go to standard output, and whatever is said to a person goes to
standard error, so that a result can be piped. `--json` makes the result one JSON document. The
[exit codes](exit-codes.md) are the same for all.

- `callrail-relay help messages list` shows what `callrail-relay messages list --help` does. The option `-V`
  shows the version.
- The option `--install-completion` makes the Tab key complete commands, options, ids, statuses and phone
  numbers, in bash, zsh, fish and PowerShell.
- On a terminal, tables show the last eight characters of an id. Wherever a command takes an id, it takes its
  last six characters or more, or its beginning, if only one text has them.
- [callrail-relay.1](callrail-relay.1) is the manual page: read it with `man ./callrail-relay.1`.
"""


def settings_page() -> str:
    return _page(_SETTINGS.format(mark=_MARK), *(_table(name, model) for name, model in TABLES.items()))


def commands_page() -> str:
    """Every command with what its ``--help`` says."""
    named = named_commands()
    index = "\n".join(f"- [`{name}`](#{name.replace(' ', '-')})" for name, _ in named)
    return _page(_COMMANDS.format(mark=_MARK), index, *(_command(name, command) for name, command in named))


def sandbox_page(page: str) -> str:
    """*page* with today's kinds of faults between its two marks."""
    before, _, rest = page.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}\n\n{_kinds()}\n\n{_END}{after}"


def _page(*parts: str) -> str:
    return "\n\n".join(part.strip() for part in parts) + "\n"


# Settings


def _table(name: str, model: type[Table]) -> str:
    header = f"[[{name}]]" if name == "routes" else f"[{name}]"
    rows = [_key_row(name, key, field, model) for key, field in model.model_fields.items()]
    return _page(
        f"## {header}",
        inspect.getdoc(model) or "",
        *([_ROUTES] if name == "routes" else []),
        *_on_the_dashboard(name),
        "\n".join(
            [
                "| key | value | default | what it does | environment variable |",
                "|---|---|---|---|---|",
                *rows,
            ]
        ),
    )


def _on_the_dashboard(table: str) -> Iterator[str]:
    """Which keys of a table can be changed there, and which of them need no restart."""
    route = ("account_id", "company_id", "tracking_number")
    fields = [one.key for form in forms().values() for one in form.fields]
    changed = {"alerts.urls", *(f"callrail.{key}" for key in route), *fields}
    keys = [key for key in TABLES[table].model_fields if table == "routes" or f"{table}.{key}" in changed]
    at_once = [key for key in keys if f"{table}.{key}" in AT_ONCE]
    ways = {"used at once": at_once, "used after a restart": [key for key in keys if key not in at_once]}
    said = [f"`{'`, `'.join(found)}` ({words})" for words, found in ways.items() if found]
    if said:
        yield f"Can be changed on the dashboard: {'; '.join(said)}."


def _key_row(table: str, key: str, field: FieldInfo, model: type[Table]) -> str:
    variable = "" if table == "routes" else f"`{PREFIX}{table}__{key}`".upper()
    value = _value(get_type_hints(model, include_extras=True)[key])
    words = _cell(field.description or "")
    return f"| `{key}` | {value} | {_default(key, field)} | {words} | {variable} |"


def _value(hint: Any) -> str:  # noqa: ANN401 - a type
    for name, words in _VALUES.items():
        if hint in (getattr(types, name), getattr(types, name) | None):
            return words
    if get_origin(hint) is tuple:
        return f"list of: {_value(get_args(hint)[0])}"
    raise LookupError(f"What {hint} takes has no words yet: add them to _VALUES.")


def _default(key: str, field: FieldInfo) -> str:
    if key == "url":
        return "`relay.db` in the data directory"
    default = field.default
    return "none" if default is None else f"`{_written(default)}`"


def _written(value: object) -> str:
    """A default as the file would have it."""
    if isinstance(value, tuple):
        return f"[{', '.join(_written(part) for part in value)}]"
    if isinstance(value, timedelta):
        value = duration_text(value)
    elif isinstance(value, time):
        value = f"{value:%H:%M}"
    return json.dumps(value)


# Commands


def named_commands() -> list[tuple[str, Any]]:
    """Every command under its full name without the program's, as `messages show`."""
    return list(_commands(typer.main.get_command(app), "callrail-relay"))


def _commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - typer's own click
    for own, inner in sorted(command.commands.items()):
        if inner.hidden:
            continue
        full = f"{name} {own}".removeprefix("callrail-relay ")
        if hasattr(inner, "commands"):
            yield from _commands(inner, full)
        else:
            yield full, inner


def _command(name: str, command: Any) -> str:  # noqa: ANN401 - as above
    words, _, example = inspect.cleandoc(command.help).partition("Example:\n")
    shown = [parameter for parameter in command.params if not parameter.hidden]
    arguments = "".join(f" {_in_usage(one)}" for one in shown if one.param_type_name == "argument")
    return _page(
        f"## {name}",
        " ".join(f"`callrail-relay {name}{arguments}`".split()),
        words,
        f"```console\n{example.strip()}\n```",
        "\n".join(["| option | default | what it does |", "|---|---|---|", *map(_option_row, shown)]),
    )


def _option_row(option: Any) -> str:  # noqa: ANN401 - as above
    if option.param_type_name == "argument":
        return f"| `{_argument(option)}` | {_option_default(option)} | {_cell(option.help)} |"
    names = " / ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    value = "" if option.is_flag else f" `{option.metavar or _metavar(option)}`"
    return f"| {names}{value} | {_option_default(option)} | {_cell(option.help)} |"


def _argument(argument: Any) -> str:  # noqa: ANN401 - as above
    return f"{argument.metavar}{'' if argument.nargs == 1 else '...'}"


def _in_usage(argument: Any) -> str:  # noqa: ANN401 - as above
    return _argument(argument) if argument.required else f"[{_argument(argument)}]"


def _metavar(option: Any) -> str:  # noqa: ANN401 - as above
    return "NUMBER" if option.type_descriptor.annotation in {int, float} else "TEXT"


def _option_default(option: Any) -> str:  # noqa: ANN401 - as above
    if option.required:
        return "required"
    if option.default is None or option.default is False:
        return ""
    return f"`{option.opts[0]}`" if option.default is True else f"`{option.default}`"


# The manual page


_MAN = """\
.\\" Made from the code: change it there, and run `{command}`.
.TH CALLRAIL-RELAY 1
.SH NAME
callrail-relay \\- {summary}
.SH SYNOPSIS
.B callrail-relay
.RB [ \\-h ]
.RB [ \\-V ]
.I COMMAND
.SH COMMANDS
{commands}
.SH FILES
The settings are in
.I config.toml
in the user's configuration directory, the texts in
.I relay.db
in the user's data directory.
.SH ENVIRONMENT
.TP
.B CALLRAIL_RELAY_CONFIG
Path to the settings file.
.TP
.B CALLRAIL_RELAY_DATA
Path to the data directory.
.TP
.B CALLRAIL_API_KEY
The API key, in place of the stored one.
.SH EXIT STATUS
0 done, 1 a fault of the program, 2 usage, 3 settings or secrets, 4 not found or not allowed, 5 refused by
CallRail, 6 unconfirmed, 7 on hold or waiting, 8 unavailable.
"""


def man_page() -> str:
    """The manual page for `man`, in roff."""
    commands = "\n".join(_man_command(name, command) for name, command in named_commands())
    summary = str(app.info.help).rstrip(".")
    return _MAN.format(command=COMMAND, summary=summary, commands=commands)


def _man_command(name: str, command: Any) -> str:  # noqa: ANN401 - as above
    words, _, example = inspect.cleandoc(command.help).partition("Example:\n")
    shown = [parameter for parameter in command.params if not parameter.hidden]
    arguments = "".join(f" {_in_usage(one)}" for one in shown if one.param_type_name == "argument")
    lines = [f".SS {name}{_roff(arguments)}", _roff(words.strip()).replace("\n\n", "\n.PP\n")]
    lines += [".PP", ".nf", _roff(example.strip()), ".fi"]
    for one in shown:
        if one.param_type_name == "argument":
            label = _argument(one)
        else:
            value = "" if one.is_flag else f" {one.metavar or _metavar(one)}"
            label = ", ".join((*one.opts, *one.secondary_opts)) + value
        lines += [".TP", f".B {_roff(label)}", _roff(one.help)]
    return "\n".join(lines)


def _roff(words: str) -> str:
    """*words*, escaped for roff."""
    escaped = words.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^(?=[.'])", r"\\&", escaped, flags=re.MULTILINE)


# Faults of the sandbox


def _kinds() -> str:
    """The kinds and their comments; a blank line parts what happens before a text is taken from the rest."""
    before, after = inspect.getsource(faults.Kind).split('"""')[2].strip("\n").split("\n\n")
    rows = [
        f"| `{match['kind']}` | {when} | {_cell(match['words'].replace('``', '`'))} |"
        for part, when in ((before, "before the text is taken"), (after, "after it was taken"))
        for match in re.finditer(r'= "(?P<kind>\w+)"  # (?P<words>.+)', part)
    ]
    return "\n".join(["| kind | when | what goes wrong |", "|---|---|---|", *rows])


def _cell(words: str) -> str:
    """*words*, escaped for a table."""
    return " ".join(words.split()).replace("|", "\\|")


def generated() -> dict[Path, str]:
    """What each generated page must hold."""
    reference = DOCS / "reference"
    sandbox = reference / "sandbox.md"
    return {
        reference / "settings.md": settings_page(),
        reference / "commands.md": commands_page(),
        reference / "callrail-relay.1": man_page(),
        sandbox: sandbox_page(sandbox.read_text(encoding="utf-8")),
    }


if __name__ == "__main__":
    for path, text in generated().items():
        path.write_text(text, encoding="utf-8", newline="\n")
