import plistlib
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from callrail_relay.errors import SettingsError
from callrail_relay.machine.service_units import Kind, ServicePlan, render
from tests.support.parts import need

TASK = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"
UNITS = [Kind.SYSTEMD, Kind.SYSTEMD_SYSTEM]


def make_plan(**changes: object) -> ServicePlan:
    values: dict[str, object] = {
        "program": ("/usr/bin/env",),
        "python": "/opt/callrail-relay/bin/python",
        "config": "/etc/callrail-relay/config.toml",
        "data": "/var/lib/callrail-relay",
        "log": "/Users/dana/Library/Logs/callrail-relay/callrail-relay.log",
        "user": "OFFICE\\dana",
        "credentials": ("callrail-api-key", "callrail-relay-hook-token"),
        **changes,
    }
    return ServicePlan(**values)  # type: ignore[arg-type]  # as a test names them


def analyze(folder: Path, kind: Kind, plan: ServicePlan, *words: str) -> "subprocess.CompletedProcess[str]":
    """``systemd-analyze`` on a unit."""
    unit = folder / "callrail-relay.service"
    unit.write_text(render(kind, plan), encoding="utf-8")
    user = ["--user"] if kind is Kind.SYSTEMD else []
    return subprocess.run(
        [need("systemd-analyze"), *user, *words, str(unit)],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": str(folder), "HOME": str(folder)},
    )


@pytest.mark.parametrize("kind", Kind)
def test_each_names_its_settings_and_data(kind: Kind) -> None:
    """A service has no environment of a person."""
    text = render(kind, make_plan())

    assert "CALLRAIL_RELAY_CONFIG" in text
    assert "CALLRAIL_RELAY_DATA" in text
    assert "/etc/callrail-relay/config.toml" in text
    assert "/var/lib/callrail-relay" in text


@pytest.mark.parametrize("kind", UNITS)
@pytest.mark.parametrize("folder", ["/srv/relay", '/srv/Ünal "Öz" 100% $HOME \\x'])
def test_systemd_finds_no_fault(kind: Kind, folder: str, tmp_path: Path) -> None:
    """Whatever a folder is called."""
    changes = {} if kind is Kind.SYSTEMD_SYSTEM else {"config": f"{folder}/config.toml", "data": folder}

    done = analyze(tmp_path, kind, make_plan(**changes), "verify")

    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)


def test_system_unit_is_hardened(tmp_path: Path) -> None:
    """systemd rates its exposure at most 3.0 of 10."""
    done = analyze(
        tmp_path,
        Kind.SYSTEMD_SYSTEM,
        make_plan(),
        "security",
        "--offline=yes",
        "--threshold=30",
        "--no-pager",
    )

    assert 0 == done.returncode, done.stdout


@pytest.mark.parametrize("kind", UNITS)
def test_unit_stays_down_after_a_wrong_setting(kind: Kind) -> None:
    lines = render(kind, make_plan()).splitlines()

    assert {"Restart=on-failure", "RestartPreventExitStatus=2 3", "TimeoutStopSec=90"} <= set(lines)
    assert "ExecStart=/usr/bin/env serve" in lines


def test_unit_quotes_what_systemd_would_read_otherwise() -> None:
    """It expands $ in arguments, and not in the path of the program."""
    text = render(Kind.SYSTEMD, make_plan(program=("/opt/a b/100%/$x/relay", "$y"), data='/srv/"a" 5%\\$y'))

    assert 'ExecStart="/opt/a b/100%%/$x/relay" $$y serve\n' in text
    assert 'Environment="CALLRAIL_RELAY_DATA=/srv/\\"a\\" 5%%\\\\$y"\n' in text


def test_user_unit_asks_for_nothing_that_needs_root() -> None:
    """A user's systemd fails with 218/CAPABILITIES or 226/NAMESPACE for these."""
    text = render(Kind.SYSTEMD, make_plan())

    assert not any(
        word in text for word in ("Capability", "Protect", "Private", "DynamicUser", "LoadCredential")
    )


def test_system_unit_takes_its_secrets_as_credentials() -> None:
    lines = render(Kind.SYSTEMD_SYSTEM, make_plan()).splitlines()

    assert {
        "LoadCredential=config.toml:/etc/callrail-relay/config.toml",
        "LoadCredential=callrail-api-key:/etc/callrail-relay/callrail-api-key",
        "LoadCredential=callrail-relay-hook-token:/etc/callrail-relay/callrail-relay-hook-token",
        "Environment=CALLRAIL_RELAY_CONFIG=%d/config.toml",
        "DynamicUser=yes",
        "StateDirectory=callrail-relay",
    } <= set(lines)


def test_agent_restarts_after_a_crash_and_logs_by_itself() -> None:
    """Its program ends with 0 after a wrong setting, and keeps a log that rotates."""
    agent = plistlib.loads(render(Kind.LAUNCHD, make_plan(data="/Users/dana/a & <b>")).encode())

    assert "callrail-relay" == agent["Label"]
    assert {"SuccessfulExit": False} == agent["KeepAlive"]
    assert agent["RunAtLoad"] is True
    assert "/Users/dana/a & <b>" == agent["EnvironmentVariables"]["CALLRAIL_RELAY_DATA"]
    assert ["-m", "callrail_relay.cli.background", "--log"] == agent["ProgramArguments"][2:5]
    assert "StandardErrorPath" not in agent


@pytest.mark.parametrize(
    ("at_start", "triggers", "logon"),
    [(True, ["BootTrigger", "LogonTrigger"], "S4U"), (False, ["LogonTrigger"], "InteractiveToken")],
)
def test_task_runs_for_as_long_as_windows_does(*, at_start: bool, triggers: list[str], logon: str) -> None:
    """None of the defaults that would end it, or keep it from starting, is left."""
    text = render(Kind.WINDOWS, make_plan(at_start=at_start, config="C:\\Ünal Öz\\config.toml"))
    task = ET.fromstring(text)
    settings = {one.tag.removeprefix(TASK): one.text for one in task.find(f"{TASK}Settings") or []}
    found = task.find(f"{TASK}Triggers")

    assert text.startswith('<?xml version="1.0" encoding="UTF-8"?>')
    assert triggers == [one.tag.removeprefix(TASK) for one in found or []]
    assert logon == task.findtext(f".//{TASK}LogonType")
    assert {
        "MultipleInstancesPolicy": "IgnoreNew",
        "DisallowStartIfOnBatteries": "false",
        "StopIfGoingOnBatteries": "false",
        "ExecutionTimeLimit": "PT0S",
        "Hidden": "true",
    }.items() <= settings.items()
    assert '--restart "CALLRAIL_RELAY_CONFIG=C:\\Ünal Öz\\config.toml"' in (
        task.findtext(f".//{TASK}Arguments") or ""
    )


@pytest.mark.parametrize("kind", Kind)
def test_name_with_a_line_break_is_refused(kind: Kind) -> None:
    """It could add lines of its own."""
    with pytest.raises(SettingsError, match="line break"):
        render(kind, make_plan(data="/srv/a\nExecStart=/bin/sh"))
