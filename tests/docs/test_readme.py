"""What the README shows, and the two commands that it asks for."""

import re
import sys
import xml.etree.ElementTree as ET
from collections import defaultdict
from pathlib import Path

import pytest

from tests.docs.markdown import ROOT, Page
from tests.docs.picture import PICTURE
from tests.docs.shell import install, open_shell, steps

README = Page(ROOT / "README.md")


@pytest.mark.skipif(sys.platform == "win32", reason="the commands are for a Unix shell")
def test_demo_shows_what_the_readme_shows(tmp_path: Path) -> None:
    """The block is the demo's real output."""
    [demo] = steps(README.blocks("console"))
    install(tmp_path / "bin")

    with open_shell({"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}) as shell:
        output = shell.run(demo.command)

    assert demo.matches(output), output


def test_picture_shows_the_same_demo() -> None:
    """``python -m tests.docs.picture`` draws it, with nothing that a browser would fetch."""
    [demo] = steps(README.blocks("console"))
    drawn = PICTURE.read_text(encoding="utf-8")
    lines: dict[float, str] = defaultdict(str)
    for element in ET.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text"):
        if element.get("clip-path"):
            lines[float(element.attrib["y"])] += (element.text or "").replace("\N{NO-BREAK SPACE}", " ")
    command, *output = (line for _, line in sorted(lines.items()))

    assert f"$ {demo.command}" == command.rstrip()
    assert demo.matches("".join(output).rstrip())
    assert "url(http" not in drawn


def test_two_commands_set_everything_up() -> None:
    """There are two, one line each: the first runs the main job and the second the tests."""
    main, tests = README.blocks("sh")

    assert 1 == len(main.lines) == len(tests.lines)
    assert main.text.endswith("callrail-relay demo")
    assert "bash tests/run" == tests.text
    assert (ROOT / "tests" / "run").is_file()


def test_readme_is_about_two_screens() -> None:
    """It is read on a laptop before anything else: the rest is behind its links."""
    assert len(README.text.splitlines()) <= 100


def test_readme_leads_to_every_page() -> None:
    """No page of the documentation is left without a way to it."""
    linked = {target.partition("#")[0] for target in README.links()}
    pages = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")}

    assert pages <= linked


def test_changelog_keeps_to_its_headings() -> None:
    """Added, Changed, Deprecated, Removed, Fixed or Security, and a sentence on each line."""
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^### (.+)$", changelog, re.MULTILINE)
    entries = re.findall(r"^- (.+)$", changelog, re.MULTILINE)

    assert set(headings) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert entries
    assert all(entry.endswith(".") for entry in entries)
