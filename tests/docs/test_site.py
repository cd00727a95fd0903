"""The documentation as a site: built strictly, complete, and with nothing from elsewhere."""

import importlib.util
import json
import re
from collections import defaultdict
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.docs import site
from tests.docs.markdown import DOCS, ROOT, pages
from tests.support.parts import missing

pytestmark = pytest.mark.slow

if importlib.util.find_spec("zensical") is None:
    missing("zensical is not installed")

LOADED = {("link", "href"), ("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "srcset")}
"""What a browser fetches without being asked; of links, a stylesheet or an icon."""


@dataclass
class Html(HTMLParser):
    """What a page links to, what it loads, what its parts can be linked by, and its words."""

    path: Path
    targets: set[str] = field(default_factory=set)
    loaded: set[str] = field(default_factory=set)
    anchors: set[str] = field(default_factory=set)
    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.anchors.add(value)
            if name in {"href", "src"} and value:
                self.targets.add(value)
            if (tag, name) in LOADED and value:
                self.loaded.add(value)
            if name == "class":
                self.counts.update({word: self.counts[word] + 1 for word in (value or "").split()})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site that had a version before this one."""
    folder = tmp_path_factory.mktemp("site")
    earlier = [{"version": "0.1", "title": "0.1.0", "aliases": ["latest"]}]
    (folder / "versions.json").write_text(json.dumps(earlier), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def built(folder: Path) -> Path:
    return site.build(folder)


@pytest.fixture(scope="module")
def html(built: Path) -> dict[Path, Html]:
    """Every page, and the one for addresses that lead nowhere."""
    return {path: Html(path) for path in sorted(built.rglob("*.html"))}


def test_every_page_is_in_the_site_and_its_navigation(built: Path, html: dict[Path, Html]) -> None:
    """The pages of docs/, the README, the changelog and the license."""
    sources = {ROOT / "LICENSE", *(page.path for page in pages())}
    others = {source for source, place in site.ELSEWHERE.items() if place.endswith(".md")}
    start = html[built / "index.html"]

    assert {_page_of(built, source) for source in sources | others} == html.keys() - {built / "404.html"}
    assert {_page_of(built, source) for source in sources} <= {
        _file(built, start, target) for target in start.targets
    }


def test_every_link_leads_somewhere(built: Path, html: dict[Path, Html]) -> None:
    """To a file of the site, and to a part of it that is there."""
    broken = []
    checked = 0
    for page in html.values():
        for target in page.targets:
            file, anchor = _file(built, page, target), unquote(urlsplit(target).fragment)
            if file is None:
                continue
            checked += 1
            if not file.is_file() or (anchor and file in html and anchor not in html[file].anchors):
                broken.append((page.path.relative_to(built).as_posix(), target))

    assert [] == broken
    assert checked > 1000


def test_nothing_is_loaded_from_elsewhere(built: Path, html: dict[Path, Html]) -> None:
    """Neither by a page nor by a stylesheet: no fonts, no scripts, no pictures."""
    sheets = "".join(path.read_text(encoding="utf-8") for path in built.rglob("*.css"))

    assert [] == [one for page in html.values() for one in page.loaded if urlsplit(one).netloc]
    assert [] == re.findall(r"(?:@import|url\()[\"' ]*(?:https?:)?//", sheets)


def test_versions_stand_beside_each_other(folder: Path, built: Path) -> None:
    """The newest is offered first, and is where the address itself leads."""
    [latest, earlier] = json.loads((folder / "versions.json").read_text(encoding="utf-8"))

    assert (built.name, ["latest"]) == (latest["version"], latest["aliases"])
    assert ("0.1", []) == (earlier["version"], earlier["aliases"])
    assert f"url={built.name}/" in (folder / "index.html").read_text(encoding="utf-8")


def test_a_server_s_secrets_are_not_in_the_site(built: Path) -> None:
    """They are beside the files for Docker Compose, and never in the repository."""
    assert not {path.name for path in built.rglob("*")} & site.PRIVATE


def test_every_item_of_a_list_is_one(built: Path) -> None:
    """What a page has as an item is one in the site, also after an item with a block or two paragraphs."""
    different = []
    for page in pages():
        html = _page_of(built, page.path).read_text(encoding="utf-8")
        article = html.partition("<article")[2].partition("</article>")[0]
        marks = [line for line in page.prose() if re.match(r" *(?:-|\d{1,2}\.) ", line)]
        if len(marks) != article.count("<li>"):
            different.append((page.name, len(marks), article.count("<li>")))

    assert [] == different


def test_systems_are_tabs(built: Path, html: dict[Path, Html]) -> None:
    """The marks of the source are not shown."""
    assert html[built / "index.html"].counts["tabbed-set"]
    assert [] == [str(path) for path in html if "<!-- tabs" in path.read_text(encoding="utf-8")]
    assert [] == [str(path) for path in html if "<p>```" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("line", ["[x](no-such-page.md)", "[x](../callrail_relay/cli/__init__.py)"])
def test_a_link_out_of_the_site_stops_the_build(
    line: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whether there is no such file, or only the repository has it."""
    page = tmp_path / "page.md"
    page.write_text(f"# Title\n\n{line}\n", encoding="utf-8")
    monkeypatch.setitem(site.ELSEWHERE, page, "page.md")

    with pytest.raises(site.NotBuilt, match=r"page\.md links to .*, which isn't a page"):
        site.build(tmp_path)


def _page_of(built: Path, source: Path) -> Path:
    place = Path(site.ELSEWHERE.get(source) or source.relative_to(DOCS).as_posix())
    return built / (place.with_suffix("") / "index.html" if place.name != "index.md" else "index.html")


def _file(built: Path, page: Html, target: str) -> Path | None:
    """The file that a link on a page names; nothing if it leads to another site."""
    parts = urlsplit(target)
    if parts.scheme or parts.netloc:
        return None
    start = built if parts.path.startswith("/") else page.path.parent
    file = (start / unquote(parts.path).lstrip("/")).resolve() if parts.path else page.path
    return file / "index.html" if file.is_dir() else file
