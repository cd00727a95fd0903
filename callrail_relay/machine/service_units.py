"""What systemd, launchd and the Task Scheduler read to run ``serve``: a text each, made of a plan."""

import plistlib
import re
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from callrail_relay.errors import SettingsError

NAME = "callrail-relay"
CONFIG, DATA = "CALLRAIL_RELAY_CONFIG", "CALLRAIL_RELAY_DATA"
STOP_WITHIN = 90
"""Seconds that a stop may take: CallRail may still have to answer for a text."""

_DESCRIPTION = "Sends InvestorFuse IF3 texts through CallRail (callrail-relay)"
_TASKS = "http://schemas.microsoft.com/windows/2004/02/mit/task"
_PLAIN = re.compile(r"[\w@+=:,./-]+", re.ASCII)


class Kind(StrEnum):
    SYSTEMD = "systemd"
    SYSTEMD_SYSTEM = "systemd-system"
    LAUNCHD = "launchd"
    WINDOWS = "windows"


@dataclass(frozen=True, kw_only=True)
class ServicePlan:
    """
    Which program runs, with which settings and data. It holds no secret.

    *program* is the command without a subcommand, *python* the interpreter that runs it. *user* and
    *at_start* are for Windows: whose task it is, and whether it starts when no one is signed in.
    """

    program: tuple[str, ...]
    python: str
    config: str
    data: str
    log: str
    user: str
    at_start: bool = True
    credentials: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def variables(self) -> dict[str, str]:
        return {CONFIG: self.config, DATA: self.data, **self.environment}


def render(kind: Kind, plan: ServicePlan) -> str:
    """The unit, LaunchAgent or task. Raises SettingsError for a name that none of them can hold."""
    for name in (*plan.program, plan.python, plan.log, *plan.variables.values()):
        if not name.isprintable():
            raise SettingsError(
                f"{name!r} holds a line break or a control character, which a service can't have."
            )
    return _RENDER[kind](plan)


_RUN = f"""\
Restart=on-failure
RestartSec=5
# An error in the settings or secrets stays until a person fixes it.
RestartPreventExitStatus=2 3
TimeoutStopSec={STOP_WITHIN}
KillMode=mixed
UMask=0077
MemoryMax=1G
NoNewPrivileges=yes
LockPersonality=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
"""

# A user's own systemd has no right to do these: it would fail to start the relay.
_HARDENED = """\
CapabilityBoundingSet=
DevicePolicy=closed
MemoryDenyWriteExecute=yes
PrivateDevices=yes
PrivateTmp=yes
PrivateUsers=yes
ProcSubset=pid
ProtectClock=yes
ProtectControlGroups=yes
ProtectHome=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProtectSystem=strict
RemoveIPC=yes
"""


def _systemd(plan: ServicePlan) -> str:
    variables = "".join(map(_environment, plan.variables.items()))
    return _unit(plan, "", f"{variables}{_RUN}", "default.target")


def _systemd_system(plan: ServicePlan) -> str:
    folder = plan.config.rpartition("/")[0]
    given = [("config.toml", plan.config), *((name, f"{folder}/{name}") for name in plan.credentials)]
    service = (
        "DynamicUser=yes\n"
        f"StateDirectory={NAME}\n"
        "StateDirectoryMode=0700\n"
        + "".join(f"LoadCredential={name}:{path.replace('%', '%%')}\n" for name, path in given)
        + f"Environment={CONFIG}=%d/config.toml\n"
        + "".join(map(_environment, ((DATA, plan.data), *plan.environment.items())))
        + _RUN
        + _HARDENED
    )
    return _unit(
        plan, "Wants=network-online.target\nAfter=network-online.target\n", service, "multi-user.target"
    )


def _unit(plan: ServicePlan, after: str, service: str, wanted_by: str) -> str:
    command = " ".join(_word(word.replace("$", "$$")) for word in (*plan.program, "serve"))
    return (
        f"[Unit]\nDescription={_DESCRIPTION}\n{after}StartLimitIntervalSec=0\n\n"
        f"[Service]\nType=exec\nExecStart={command}\n{service}\n"
        f"[Install]\nWantedBy={wanted_by}\n"
    )


def _environment(variable: tuple[str, str]) -> str:
    return f"Environment={_word('='.join(variable))}\n"


def _word(text: str) -> str:
    """*text* as one word of a unit, where % begins a specifier."""
    text = text.replace("%", "%%")
    if _PLAIN.fullmatch(text.replace("%", "").replace("$", "")):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def background(plan: ServicePlan, *more: str) -> list[str]:
    """``serve`` with its log in a file, for systems that keep none."""
    return [plan.python, "-P", "-m", "callrail_relay.cli.background", "--log", plan.log, *more]


def _launchd(plan: ServicePlan) -> str:
    agent = {
        "Label": NAME,
        "ProgramArguments": background(plan),
        "EnvironmentVariables": plan.variables,
        "RunAtLoad": True,
        # It ends with 0 after an error in the settings or secrets, and is then not started again.
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": 10,
        "ExitTimeOut": STOP_WITHIN,
        # The default delays a program that has no window.
        "ProcessType": "Interactive",
        "Umask": 0o077,
    }
    return plistlib.dumps(agent, sort_keys=False).decode()


def _windows(plan: ServicePlan) -> str:
    # A task has no environment: the program takes its variables as arguments.
    command, *arguments = background(
        plan, "--restart", *(f"{name}={value}" for name, value in plan.variables.items())
    )
    logon = {"LogonTrigger": {"Enabled": "true", "UserId": plan.user}}
    task = {
        "RegistrationInfo": {"Description": _DESCRIPTION, "URI": f"\\{NAME}"},
        "Triggers": {"BootTrigger": {"Enabled": "true"}, **logon} if plan.at_start else logon,
        "Principals": {
            "Principal": {
                "UserId": plan.user,
                "LogonType": "S4U" if plan.at_start else "InteractiveToken",
                "RunLevel": "LeastPrivilege",
            }
        },
        # The defaults end a task after three days and without mains power, and let others go first.
        "Settings": {
            "MultipleInstancesPolicy": "IgnoreNew",
            "DisallowStartIfOnBatteries": "false",
            "StopIfGoingOnBatteries": "false",
            "AllowHardTerminate": "true",
            "StartWhenAvailable": "true",
            "RunOnlyIfNetworkAvailable": "false",
            "IdleSettings": {"StopOnIdleEnd": "false", "RestartOnIdle": "false"},
            "AllowStartOnDemand": "true",
            "Enabled": "true",
            "Hidden": "true",
            "RunOnlyIfIdle": "false",
            "WakeToRun": "false",
            "ExecutionTimeLimit": "PT0S",
            "Priority": "5",
            "RestartOnFailure": {"Interval": "PT1M", "Count": "255"},
        },
        "Actions": {"Exec": {"Command": command, "Arguments": subprocess.list2cmdline(arguments)}},
    }
    root = ET.Element("Task", {"version": "1.2", "xmlns": _TASKS})
    _add(root, task)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _add(parent: ET.Element, content: Mapping[str, object]) -> None:
    for name, value in content.items():
        element = ET.SubElement(parent, name)
        if isinstance(value, Mapping):
            _add(element, value)
        else:
            element.text = str(value)


_RENDER = {
    Kind.SYSTEMD: _systemd,
    Kind.SYSTEMD_SYSTEM: _systemd_system,
    Kind.LAUNCHD: _launchd,
    Kind.WINDOWS: _windows,
}
