"""What systemd, launchd and the Task Scheduler read to run ``serve``: a text each, made from a plan."""

import re
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from xml.sax.saxutils import escape

from callrail_relay.errors import SettingsError
from callrail_relay.machine import sentence

NAME = "callrail-relay"
TEMPLATES = Path(__file__).parent / "units"
CONFIG, DATA = "CALLRAIL_RELAY_CONFIG", "CALLRAIL_RELAY_DATA"
STOP_WITHIN = 90  # seconds that a stop may take: CallRail may still have to answer for a text

_DESCRIPTION = "Sends InvestorFuse IF3 texts through CallRail (callrail-relay)"
_PLAIN = re.compile(r"[\w@+=:,./%$-]+", re.ASCII)


class Kind(StrEnum):
    SYSTEMD = "systemd"
    SYSTEMD_SYSTEM = "systemd-system"
    LAUNCHD = "launchd"
    WINDOWS = "windows"


@dataclass(frozen=True, kw_only=True)
class ServicePlan:
    """Which program runs, with which settings and data. It contains no secret."""

    program: tuple[str, ...]  # without a subcommand
    python: str  # that runs it
    config: str
    data: str
    log: str
    user: str  # of Windows, whose task it is
    at_start: bool = True  # of Windows: also when nobody is signed in
    credentials: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def variables(self) -> dict[str, str]:
        return {CONFIG: self.config, DATA: self.data, **self.environment}


def render(kind: Kind, plan: ServicePlan) -> str:
    """Return the unit, LaunchAgent or task. Raises SettingsError for a name that none of them can contain."""
    for name in (*plan.program, plan.python, plan.log, *plan.variables.values()):
        if not name.isprintable():
            raise SettingsError(sentence("no_service_name", name=name))
    if kind is Kind.LAUNCHD:
        return _fill("launchd.plist", plan, command=_background(plan), variables=plan.variables.items())
    return _task(plan) if kind is Kind.WINDOWS else _unit(plan, system=kind is Kind.SYSTEMD_SYSTEM)


def _fill(template: str, plan: ServicePlan, **values: object) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415 - only to install

    environment = Environment(  # noqa: S701 - not a browser's page; `escape` is for XML
        loader=FileSystemLoader(TEMPLATES),
        finalize=(lambda value: escape(str(value))) if template != "systemd.service" else None,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
    )
    values |= {"description": _DESCRIPTION, "stop_within": STOP_WITHIN}
    return environment.get_template(template).render(asdict(plan) | values)


def _unit(plan: ServicePlan, *, system: bool) -> str:
    # systemd expands $ in arguments, but not in the program's path.
    program, *arguments = (*plan.program, "serve")
    command = [_word(program), *(_word(word.replace("$", "$$")) for word in arguments)]
    given = [f"{name}={value}" for name, value in plan.variables.items() if not (system and name == CONFIG)]
    return _fill(
        "systemd.service",
        plan,
        system=system,
        folder=plan.config.rpartition("/")[0],
        command=" ".join(command),
        environment=list(map(_word, given)),
    )


def _word(text: str) -> str:
    """Return *text* as one word of a unit, where % begins a specifier."""
    text = text.replace("%", "%%")
    return text if _PLAIN.fullmatch(text) else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _background(plan: ServicePlan, *more: str) -> list[str]:
    """Return ``serve`` with its log in a file, for systems that keep none."""
    return [plan.python, "-P", "-m", "callrail_relay.cli.background", "--log", plan.log, *more]


def _task(plan: ServicePlan) -> str:
    # A task has no environment: the program takes its variables as arguments.
    command, *arguments = _background(plan, "--restart", *map("=".join, plan.variables.items()))
    return _fill("task.xml", plan, command=command, arguments=subprocess.list2cmdline(arguments))
