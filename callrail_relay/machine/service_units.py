"""What systemd, launchd and the Task Scheduler read to run ``serve``: a text each, made of a plan."""

import plistlib
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from xml.sax.saxutils import escape

from callrail_relay.errors import SettingsError

NAME = "callrail-relay"
CONFIG, DATA = "CALLRAIL_RELAY_CONFIG", "CALLRAIL_RELAY_DATA"
STOP_WITHIN = 90
"""Seconds that a stop may take: CallRail may still have to answer for a text."""

_DESCRIPTION = "Sends InvestorFuse IF3 texts through CallRail (callrail-relay)"
_PLAIN = re.compile(r"[\w@+=:,./%$-]+", re.ASCII)


class Kind(StrEnum):
    SYSTEMD = "systemd"
    SYSTEMD_SYSTEM = "systemd-system"
    LAUNCHD = "launchd"
    WINDOWS = "windows"


@dataclass(frozen=True, kw_only=True)
class ServicePlan:
    """Which program runs, with which settings and data. It holds no secret."""

    program: tuple[str, ...]  # without a subcommand
    python: str  # that runs it
    config: str
    data: str
    log: str
    user: str  # of Windows, whose task it is
    at_start: bool = True  # of Windows: also when no one is signed in
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
    if kind is Kind.LAUNCHD:
        return _agent(plan)
    return _task(plan) if kind is Kind.WINDOWS else _unit(plan, system=kind is Kind.SYSTEMD_SYSTEM)


def _yes(names: str) -> str:
    return "".join(f"{name}=yes\n" for name in names.split())


_RUN = f"""\
Restart=on-failure
RestartSec=5
# An error in the settings or secrets stays until a person fixes it.
RestartPreventExitStatus=2 3
TimeoutStopSec={STOP_WITHIN}
KillMode=mixed
UMask=0077
MemoryMax=1G
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
""" + _yes("NoNewPrivileges LockPersonality RestrictNamespaces RestrictRealtime RestrictSUIDSGID")

# A user's own systemd has no right to do these: it would fail to start the relay.
_HARDENED = """\
CapabilityBoundingSet=
DevicePolicy=closed
ProcSubset=pid
ProtectProc=invisible
ProtectSystem=strict
""" + _yes(
    "MemoryDenyWriteExecute PrivateDevices PrivateTmp PrivateUsers ProtectClock ProtectControlGroups "
    "ProtectHome ProtectHostname ProtectKernelLogs ProtectKernelModules ProtectKernelTunables RemoveIPC"
)


def _unit(plan: ServicePlan, *, system: bool) -> str:
    variables, own, after, wanted_by = plan.variables, "", "", "default.target"
    if system:
        after, wanted_by = "Wants=network-online.target\nAfter=network-online.target\n", "multi-user.target"
        folder = plan.config.rpartition("/")[0]
        loaded = [f"LoadCredential={name}:{folder}/{name}\n" for name in ("config.toml", *plan.credentials)]
        own = (
            f"DynamicUser=yes\nStateDirectory={NAME}\nStateDirectoryMode=0700\n{''.join(loaded)}"
            f"Environment={CONFIG}=%d/config.toml\n"
        )
        del variables[CONFIG]
    environment = "".join(f"Environment={_word('='.join(one))}\n" for one in variables.items())
    # systemd expands $ in arguments, but not in the path of the program.
    program, *arguments = (*plan.program, "serve")
    command = " ".join([_word(program), *(_word(word.replace("$", "$$")) for word in arguments)])
    return (
        f"[Unit]\nDescription={_DESCRIPTION}\n{after}StartLimitIntervalSec=0\n\n"
        f"[Service]\nType=exec\nExecStart={command}\n{own}{environment}{_RUN}{_HARDENED if system else ''}\n"
        f"[Install]\nWantedBy={wanted_by}\n"
    )


def _word(text: str) -> str:
    """*text* as one word of a unit, where % begins a specifier."""
    text = text.replace("%", "%%")
    return text if _PLAIN.fullmatch(text) else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _background(plan: ServicePlan, *more: str) -> list[str]:
    """``serve`` with its log in a file, for systems that keep none."""
    return [plan.python, "-P", "-m", "callrail_relay.cli.background", "--log", plan.log, *more]


def _agent(plan: ServicePlan) -> str:
    agent = {
        "Label": NAME,
        "ProgramArguments": _background(plan),
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


def _task(plan: ServicePlan) -> str:
    # A task has no environment: the program takes its variables as arguments.
    command, *arguments = _background(plan, "--restart", *map("=".join, plan.variables.items()))
    return _TASK.format(
        boot="<BootTrigger><Enabled>true</Enabled></BootTrigger>" if plan.at_start else "",
        user=escape(plan.user),
        logon="S4U" if plan.at_start else "InteractiveToken",
        command=escape(command),
        arguments=escape(subprocess.list2cmdline(arguments)),
    )


# The defaults end a task after three days and without mains power, and let others go first.
_TASK = f"""\
<?xml version="1.0" encoding="UTF-8"?>
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo><Description>{_DESCRIPTION}</Description><URI>\\{NAME}</URI></RegistrationInfo>
  <Triggers>
    {{boot}}<LogonTrigger><Enabled>true</Enabled><UserId>{{user}}</UserId></LogonTrigger>
  </Triggers>
  <Principals><Principal>
    <UserId>{{user}}</UserId><LogonType>{{logon}}</LogonType><RunLevel>LeastPrivilege</RunLevel>
  </Principal></Principals>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries><StartWhenAvailable>true</StartWhenAvailable>
    <IdleSettings><StopOnIdleEnd>false</StopOnIdleEnd><RestartOnIdle>false</RestartOnIdle></IdleSettings>
    <Enabled>true</Enabled><Hidden>true</Hidden>
    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit><Priority>5</Priority>
    <RestartOnFailure><Interval>PT1M</Interval><Count>255</Count></RestartOnFailure>
  </Settings>
  <Actions><Exec><Command>{{command}}</Command><Arguments>{{arguments}}</Arguments></Exec></Actions>
</Task>
"""
