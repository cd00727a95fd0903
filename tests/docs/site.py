"""
The documentation as a site: ``python -m tests.docs.site [DIR]``.

Builds this version in DIR (build/site), beside the versions that are there already.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

from tests.docs.markdown import DOCS, ROOT

ELSEWHERE = {
    **{page: page.name.lower() for page in ROOT.glob("*.md")},
    ROOT / "README.md": "index.md",
    ROOT / "LICENSE": "license.md",
    ROOT / "renovate.json": "renovate.json",
    DOCS / "CONTRIBUTING.md": "contributing.md",
}
"""Files whose place in the site isn't the one under docs/."""

PRIVATE = {".env", "relay.env", "zensical.toml"}
"""Files that docs/ can have and the site must not: the first two are a server's own secrets."""

_LINK = re.compile(r"`[^`]*`|(?<=\]\()(?!\w+:|#)(?P<path>[^)\s#]+)")
_FENCE = re.compile(r" *```")
_LIST = re.compile(r"(?P<mark>-|\d{1,2}\.) ")
_TAB = re.compile(r"\*\*(?P<system>[^*]+)\*\*$")
_ENTRANCE = (
    '<!doctype html><meta charset="utf-8"><title>callrail-relay</title>'
    '<meta http-equiv="refresh" content="0; url={0}/"><a href="{0}/">callrail-relay {0}</a>\n'
)


class NotBuilt(Exception):
    """Zensical warned of something, or a link leads out of the site."""


def build(folder: Path) -> Path:
    """Build the site of this version in a subdirectory of *folder*, and offer it first."""
    release = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    version = ".".join(release.split(".")[:2])
    with tempfile.TemporaryDirectory() as stage:
        _lay_out(Path(stage) / "pages")
        config = shutil.copy(DOCS / "zensical.toml", stage)
        run = subprocess.run(
            [sys.executable, "-m", "zensical", "build", "--strict", "--config-file", config],
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
            env={**os.environ, "PYTHONUTF8": "1", "NO_COLOR": "1"},
        )
        if run.returncode != 0:
            raise NotBuilt(run.stdout + run.stderr)
        shutil.rmtree(folder / version, ignore_errors=True)
        shutil.copytree(Path(stage) / "site", folder / version)
    _offer(folder, version, release)
    return folder / version


def _offer(folder: Path, version: str, release: str) -> None:
    """Put this version first in the list that the pages show, and lead to it from the address itself."""
    listed = folder / "versions.json"
    others = json.loads(listed.read_text(encoding="utf-8")) if listed.exists() else []
    latest = {"version": version, "title": release, "aliases": ["latest"]}
    earlier = [{**one, "aliases": []} for one in others if one["version"] != version]
    listed.write_text(json.dumps([latest, *earlier], indent=1), encoding="utf-8")
    (folder / "index.html").write_text(_ENTRANCE.format(version), encoding="utf-8")


def _lay_out(pages: Path) -> None:
    """Copy everything to its place in the site, with the Markdown that Zensical reads."""
    files = (path for path in DOCS.rglob("*") if path.is_file() and path.name not in PRIVATE)
    for source in {*ELSEWHERE, *files}:
        target = pages / _place(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.suffix == ".md":
            target.write_text(_page(source), encoding="utf-8")
        else:
            shutil.copy(source, target)


def _place(source: Path) -> str:
    """Where a file is in the site."""
    return ELSEWHERE.get(source) or source.relative_to(DOCS).as_posix()


def _page(source: Path) -> str:
    text = source.read_text(encoding="utf-8")
    if not source.suffix:
        return f"# {source.name.capitalize()}\n\n```text\n{text}```\n"
    return "\n".join(_tabs(_indented(_linked(text.splitlines(), source)))) + "\n"


def _linked(lines: list[str], source: Path) -> Iterator[str]:
    """Links between the files of the repository lead to their places in the site."""

    def place(match: re.Match[str]) -> str:
        if match["path"] is None:
            return match[0]
        target = (source.parent / match["path"]).resolve()
        if target not in ELSEWHERE and not (target.is_file() and target.is_relative_to(DOCS)):
            raise NotBuilt(f"{source} links to {match['path']}, which isn't a page or a file of docs/.")
        return Path(os.path.relpath(_place(target), Path(_place(source)).parent)).as_posix()

    fenced = False
    for line in lines:
        fenced ^= _FENCE.match(line) is not None
        yield line if fenced else _LINK.sub(place, line)


def _indented(lines: Iterator[str]) -> Iterator[str]:
    """
    What belongs to an item of a list is indented by 4, and what follows its last paragraph stands apart.

    Python-Markdown wants it so.
    """
    width = 0
    fenced = parted = False
    for line in lines:
        fenced ^= _FENCE.match(line) is not None
        if mark := None if fenced else _LIST.match(line):
            if parted:
                yield ""
            width, parted = len(mark[0]), False
        elif line and not line.startswith(" " * (width or 1)):
            width, parted = 0, False
        elif width and not line:
            parted = True
        yield line.replace(" " * width, "    ", 1) if width and line.startswith(" " * width) else line


def _tabs(lines: Iterator[str]) -> Iterator[str]:
    """Paragraphs that begin with the name of a system, between two marks, become tabs."""
    within = False
    for line in lines:
        if line in {"<!-- tabs: begin -->", "<!-- tabs: end -->"}:
            within = line.endswith("begin -->")
        elif within and (tab := _TAB.match(line)):
            yield f'=== "{tab["system"]}"'
        else:
            yield f"    {line}" if within and line else line


if __name__ == "__main__":
    sys.stdout.write(f"{build(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / 'build' / 'site')}\n")
