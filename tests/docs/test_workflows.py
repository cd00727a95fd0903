"""The workflows of the host: they call what is there, with no more rights than they need."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # comes with apprise

from tests.docs.markdown import ROOT

WORKFLOWS: dict[str, dict[str, Any]] = {
    path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))
    for path in (ROOT / ".github" / "workflows").glob("*.yml")
}
BY_BRANCH = {"pypa/gh-action-pypi-publish@release/v1"}
"""Its hash isn't known here; the publisher names this branch for the newest version."""


def jobs() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, workflow in WORKFLOWS.items():
        yield from ((f"{name}/{job}", told) for job, told in workflow["jobs"].items())


def steps() -> Iterator[dict[str, Any]]:
    for _, job in jobs():
        yield from job.get("steps", [])


def test_rights_are_given_by_name() -> None:
    """By itself no job can write; only the release's last two may sign, and one may publish files here."""
    given = {name: workflow["permissions"] for name, workflow in WORKFLOWS.items()}
    assert {"release": {}, "tests": {"contents": "read"}, "long": {"contents": "read"}} == given
    writes = {
        name: {right for right, level in job["permissions"].items() if level == "write"}
        for name, job in jobs()
        if "write" in job.get("permissions", {}).values()
    }
    assert writes == {
        "release/publish": {"id-token"},
        "release/release": {"contents", "id-token", "attestations"},
    }
    assert all("timeout-minutes" in job or "uses" in job for _, job in jobs())


def test_actions_are_pinned() -> None:
    """Each by a commit, so that no one can change what runs here."""
    used = {step["uses"] for step in steps() if "uses" in step}

    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", one) for one in used - BY_BRANCH)
    checkouts = [step for step in steps() if step.get("uses", "").startswith("actions/checkout@")]
    assert all(step["with"] == {"persist-credentials": False} for step in checkouts)


def test_oldest_python_is_tested_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for job in WORKFLOWS["tests"]["jobs"].values():
        assert project["requires-python"] == f">={job['strategy']['matrix']['python'][0]}"


def test_scripts_are_right_and_name_what_is_there() -> None:
    """Bash understands each, tests run from folders that exist, and nothing outside is put into a script."""
    scripts = [step["run"] for step in steps() if "run" in step]

    for script in scripts:
        checked = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
        assert (0, "") == (checked.returncode, checked.stderr)
        assert "${{" not in script
    named = {word for script in scripts for word in re.findall(r"\btests/\S+", script)}
    assert named >= {"tests/run", "tests/outbox", "tests/test_bootstrap.py"}
    assert all((ROOT / one).exists() for one in named)


@pytest.mark.parametrize("command", WORKFLOWS["long"]["jobs"]["long"]["strategy"]["matrix"]["module"])
def test_long_tests_take_what_they_are_given(command: str) -> None:
    """Each command, with the number of the run as its seed, is understood, and names tests that are there."""
    script = f"printf '%s\n' {WORKFLOWS['long']['jobs']['long']['steps'][-1]['run'].partition('-m ')[2]}"
    variables = {"MODULE": command, "GITHUB_RUN_NUMBER": "12"}
    words = subprocess.run(["bash", "-c", script], env=variables, capture_output=True, text=True, check=True)
    asked = [sys.executable, "-m", *words.stdout.split(), "--help"]

    assert ("12" in words.stdout) == ("--seed" in command)
    assert all((ROOT / one).exists() for one in re.findall(r"\btests/\S+", command))
    assert 0 == subprocess.run(asked, cwd=ROOT, capture_output=True, check=False).returncode


@pytest.mark.parametrize("extras", re.findall(r"\.\[([\w,]+)\]", str(WORKFLOWS)))
def test_the_list_of_libraries_is_that_of_the_image(extras: str) -> None:
    assert f"/build[{extras}]" in (ROOT / "docs" / "deploy" / "Dockerfile").read_text(encoding="utf-8")
