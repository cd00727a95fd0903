import itertools
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from callrail_relay.errors import Unavailable
from callrail_relay.machine import service_managers
from callrail_relay.machine.service_managers import Launchd, Systemd, TaskScheduler, install
from callrail_relay.machine.service_units import Kind
from tests.support.service_programs import ServicePrograms

if sys.platform == "win32":
    pytest.skip("The stand-ins are programs of POSIX", allow_module_level=True)

AGENT = """\
gui/501/callrail-relay = {
	active count = 1
	path = /Users/dana/Library/LaunchAgents/callrail-relay.plist
	type = LaunchAgent
	state = running

	program = /opt/callrail-relay/bin/python
	pid = 4711
	last exit code = (never exited)
}
"""
TASK_ROW = (
    '"OFFICE","\\callrail-relay","N/A","{status}","Interactive only","11/29/2026 9:14 AM","{result}","dana"'
)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ServicePrograms:
    monkeypatch.setattr(service_managers, "pause", lambda _: None)
    return ServicePrograms(tmp_path / "programs", monkeypatch)


def changes(programs: ServicePrograms) -> list[str]:
    """The calls that change something."""
    reads = ("show", "print", "/Query")
    return [call for call in programs.calls if not any(word in call.split()[1:3] for word in reads)]


# systemd


def test_unit_is_enabled_and_started(programs: ServicePrograms) -> None:
    programs.answer("show-user", "Linger=yes\n")
    systemd = Systemd(Kind.SYSTEMD)

    assert install(systemd, "[Unit]\n") is None

    assert "[Unit]\n" == systemd.path.read_text("utf-8")
    assert [
        "systemctl --user daemon-reload",
        "systemctl --user enable callrail-relay",
        "systemctl --user restart callrail-relay",
    ] == changes(programs)[-3:]


def test_lingering_ends_with_the_service_that_began_it(programs: ServicePrograms) -> None:
    """Also after it was installed twice."""
    programs.answer("show-user", "Linger=no\n")
    systemd = Systemd(Kind.SYSTEMD)
    install(systemd, "[Unit]\n")
    programs.answer("show-user", "Linger=yes\n")
    install(systemd, "[Unit]\n")

    systemd.uninstall()

    lingering = [call.split()[1] for call in programs.calls if "-linger" in call]
    assert ["enable-linger", "disable-linger"] == lingering
    assert not systemd.path.exists()
    assert not systemd.path.parent.exists()


def test_lingering_of_others_stays(programs: ServicePrograms) -> None:
    programs.answer("show-user", "Linger=yes\n")
    systemd = Systemd(Kind.SYSTEMD)
    install(systemd, "[Unit]\n")

    systemd.uninstall()

    assert not any("-linger" in call for call in programs.calls)


def test_refused_lingering_is_told_with_its_remedy(programs: ServicePrograms) -> None:
    programs.answer("show-user", "Linger=no\n")
    programs.answer("enable-linger", "Could not enable linger: Access denied", code=1)

    assert "sudo loginctl enable-linger" in (install(Systemd(Kind.SYSTEMD), "[Unit]\n") or "")


def test_unit_that_does_not_start_is_taken_away(programs: ServicePrograms) -> None:
    programs.answer("restart", "Job for callrail-relay.service failed.", code=1)
    systemd = Systemd(Kind.SYSTEMD)

    with pytest.raises(Unavailable, match="Job for callrail-relay"):
        install(systemd, "[Unit]\n")

    assert not systemd.path.exists()
    assert not systemd.state().installed


def test_unit_that_replaces_another_gives_way_to_it(programs: ServicePrograms) -> None:
    programs.answer("show-user", "Linger=yes\n")
    systemd = Systemd(Kind.SYSTEMD)
    install(systemd, "[Unit]\n# former\n")
    programs.answer("restart", "failed", code=1)

    with pytest.raises(Unavailable):
        install(systemd, "[Unit]\n# new\n")

    assert "former" in systemd.path.read_text("utf-8")
    assert "systemctl --user restart callrail-relay" == changes(programs)[-1]


@pytest.mark.parametrize(
    ("active", "running", "since"),
    [
        ("active", True, datetime(2026, 11, 29, 11, 14, 28, tzinfo=UTC)),
        ("activating", False, None),
        ("failed", False, None),
    ],
)
def test_state_of_a_unit(
    active: str, *, running: bool, since: datetime | None, programs: ServicePrograms
) -> None:
    """One that systemd is about to start again does not run."""
    systemd = Systemd(Kind.SYSTEMD)
    install(systemd, "[Unit]\n")
    programs.answer(
        "show callrail-relay",
        f"ActiveState={active}\nUnitFileState=enabled\nActiveEnterTimestamp=Sun 2026-11-29 11:14:28 UTC\n",
    )

    state = systemd.state()

    assert (True, True, running, since) == (state.installed, state.enabled, state.running, state.since)


def test_state_without_systemd(programs: ServicePrograms) -> None:
    """The file tells whether it is installed, and its link whether it is enabled."""
    systemd = Systemd(Kind.SYSTEMD)
    programs.answer("show", "Failed to connect to bus", code=1)
    systemd.path.parent.mkdir(parents=True)
    systemd.path.write_text("[Unit]\n", "utf-8")
    before = systemd.state()
    link = systemd.path.parent / "default.target.wants" / systemd.path.name
    link.parent.mkdir()
    link.symlink_to(systemd.path)

    assert (True, False, False) == (before.installed, before.enabled, before.running)
    assert systemd.state().enabled


def test_missing_session_is_told(programs: ServicePrograms) -> None:
    programs.answer("show", "Failed to connect to bus: No medium found", code=1)

    with pytest.raises(Unavailable, match="No medium found"):
        Systemd(Kind.SYSTEMD).require()


@pytest.mark.parametrize(
    ("version", "is_new_enough"), [("249.11-0ubuntu3", False), ("252.38-1~deb12u1", True)]
)
def test_system_service_needs_credentials(
    version: str,
    *,
    is_new_enough: bool,
    programs: ServicePrograms,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    programs.answer("show", f"{version}\n")
    systemd = Systemd(Kind.SYSTEMD_SYSTEM)

    if is_new_enough:
        systemd.require()
    else:
        with pytest.raises(Unavailable, match="systemd 249"):
            systemd.require()


def test_system_service_needs_root(programs: ServicePrograms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    with pytest.raises(Unavailable, match="sudo"):
        Systemd(Kind.SYSTEMD_SYSTEM).require()
    assert [] == programs.calls


def test_log_comes_from_the_journal(programs: ServicePrograms) -> None:
    programs.answer("journalctl", "Started.\nListening.\n")
    systemd = Systemd(Kind.SYSTEMD)

    for follow in (False, True):
        assert ["Started.", "Listening."] == list(systemd.logs(20, follow=follow))
    assert any("--user-unit=callrail-relay" in call and "--lines=20" in call for call in programs.calls)


# launchd


@pytest.fixture
def launchd(tmp_path: Path, programs: ServicePrograms) -> Launchd:
    return Launchd(tmp_path / "logs" / "callrail-relay.log")


def test_agent_is_loaded_again(launchd: Launchd, programs: ServicePrograms) -> None:
    install(launchd, "<plist/>")

    domain = f"gui/{os.getuid()}"
    assert "<plist/>" == launchd.path.read_text("utf-8")
    assert [
        f"launchctl bootout {domain}/callrail-relay",
        f"launchctl enable {domain}/callrail-relay",
        f"launchctl bootstrap {domain} {launchd.path}",
    ] == changes(programs)


def test_agent_that_does_not_load_is_taken_away(launchd: Launchd, programs: ServicePrograms) -> None:
    programs.answer("bootstrap", "Bootstrap failed: 5: Input/output error", code=5)

    with pytest.raises(Unavailable, match="Input/output error"):
        install(launchd, "<plist/>")

    assert not launchd.path.exists()


@pytest.mark.parametrize(
    ("shown", "disabled", "state"),
    [
        (AGENT, '\t\t"callrail-relay" => enabled\n', (True, True)),
        (AGENT.replace("state = running", "state = not running"), "", (True, False)),
        (None, '\t\t"callrail-relay" => disabled\n', (False, False)),
        (None, '\t\t"callrail-relay" => true\n', (False, False)),
    ],
)
def test_state_of_an_agent(
    shown: str | None, disabled: str, state: tuple[bool, bool], launchd: Launchd, programs: ServicePrograms
) -> None:
    """Enabled, and running, in the words of macOS of today and before."""
    install(launchd, "<plist/>")
    code = 0 if shown else 113
    programs.answer("print gui", shown or 'Could not find service "callrail-relay"', code=code)
    programs.answer("print-disabled", disabled)

    found = launchd.state()

    assert (True, *state) == (found.installed, found.enabled, found.running)


def test_agent_needs_a_person_at_the_screen(launchd: Launchd, programs: ServicePrograms) -> None:
    programs.answer("print gui", "Could not find domain for", code=113)

    with pytest.raises(Unavailable, match="signed in at the screen"):
        launchd.require()


def test_nothing_of_an_agent_stays(launchd: Launchd, programs: ServicePrograms, tmp_path: Path) -> None:
    install(launchd, "<plist/>")
    log = tmp_path / "logs" / "callrail-relay.log"
    log.parent.mkdir()
    for name in ("", ".1"):
        log.with_name(f"{log.name}{name}").write_text("line\n", "utf-8")

    launchd.uninstall()

    assert not launchd.path.exists()
    assert not log.parent.exists()


# Task Scheduler


@pytest.fixture
def tasks(tmp_path: Path, programs: ServicePrograms) -> TaskScheduler:
    return TaskScheduler(tmp_path / "callrail-relay.log")


def test_task_is_given_as_utf_16(tasks: TaskScheduler, programs: ServicePrograms) -> None:
    install(tasks, '<?xml version="1.0" encoding="UTF-8"?>\n<Task>Ünal</Task>\n')

    assert '<?xml version="1.0" encoding="UTF-16"?>\n<Task>Ünal</Task>\n' == programs.task.decode("utf-16")
    assert programs.task.startswith((b"\xff\xfe", b"\xfe\xff"))
    assert ["schtasks /End /TN callrail-relay", "schtasks /Create /TN callrail-relay /XML"] == [
        call.partition(" /XML")[0] + call.partition(" /XML")[1] for call in changes(programs)[:2]
    ]
    assert "schtasks /Run /TN callrail-relay" == changes(programs)[-1]


def test_refused_task_is_told(tasks: TaskScheduler, programs: ServicePrograms) -> None:
    programs.answer("/Create", "ERROR: Access is denied.", code=1)

    with pytest.raises(Unavailable, match="Access is denied"):
        install(tasks, "<Task/>")

    assert "schtasks /Run /TN callrail-relay" in changes(programs)


@pytest.mark.parametrize("former", [None, "<Task>Former</Task>"])
def test_task_that_does_not_start_gives_way_to_the_former(
    former: str | None, tasks: TaskScheduler, programs: ServicePrograms
) -> None:
    programs.answer("/Query /TN callrail-relay /XML", former or "", code=0 if former else 1)
    programs.answer("/Run", "ERROR: The system cannot run it.", code=1)

    with pytest.raises(Unavailable, match="cannot run it"):
        install(tasks, "<Task>New</Task>")

    assert (former or "<Task>New</Task>") == programs.task.decode("utf-16")


@pytest.mark.parametrize(
    ("status", "result", "running"),
    [("Wird ausgeführt", "267009", True), ("Running", "267009", True), ("Bereit", "3", False)],
)
def test_state_of_a_task(
    status: str, result: str, *, running: bool, tasks: TaskScheduler, programs: ServicePrograms
) -> None:
    """In whatever language Windows speaks."""
    programs.answer("/V", TASK_ROW.format(status=status, result=result))
    programs.answer("/XML", "<Task><Settings><Enabled>true</Enabled></Settings></Task>")

    state = tasks.state()

    assert (True, True, running) == (state.installed, state.enabled, state.running)


def test_task_may_be_switched_off_or_missing(tasks: TaskScheduler, programs: ServicePrograms) -> None:
    programs.answer("/XML", "<Task><Settings>\n<Enabled>false</Enabled>\n</Settings></Task>")
    off = tasks.state()
    programs.answer("/Query", "ERROR: The system cannot find the file specified.", code=1)

    assert (True, False) == (off.installed, off.enabled)
    assert not tasks.state().installed


def test_log_is_followed_into_the_next_file(tasks: TaskScheduler, tmp_path: Path) -> None:
    """The relay starts a new file when the log has grown."""
    log = tmp_path / "callrail-relay.log"
    log.write_text("one\ntwo\n", "utf-8")
    following = tasks.logs(1, follow=True)

    seen = [next(following)]
    with log.open("a", encoding="utf-8") as file:
        file.write("three\n")
    seen.append(next(following))
    log.write_text("four\n", "utf-8")
    seen += itertools.islice(following, 1)

    assert ["two", "three", "four"] == seen


@pytest.mark.parametrize(
    ("runtime", "is_set"), [(None, True), ("/", True), ("own", False), ("missing", False)]
)
def test_session_is_found_after_su(
    runtime: str | None,
    *,
    is_set: bool,
    programs: ServicePrograms,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`su` and `sudo -u` unset the variable, or leave that of another user."""
    own = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: 4711 if runtime == "/" else own)
    (tmp_path / "own").mkdir()
    if runtime is None:
        monkeypatch.delenv("XDG_RUNTIME_DIR")
    else:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / runtime))
    seen = tmp_path / "seen"
    (tmp_path / "programs" / "systemctl").write_text(f'#!/bin/sh\necho "$XDG_RUNTIME_DIR" > {seen}\n')

    Systemd(Kind.SYSTEMD).require()

    assert is_set == (f"/run/user/{os.getuid()}\n" == seen.read_text("utf-8"))
