"""The parts of a Markdown page that the tests look at."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

_FENCE = re.compile(r"^(?P<indent> *)```(?P<info>.*)$")
_HEADING = re.compile(r"^#{1,6} +(?P<words>.+?)\s*$")
_LINK = re.compile(r"(?<!\\)\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_CODE = re.compile(r"`(?P<code>[^`]+)`")


@dataclass(frozen=True)
class Block:
    """A fenced block: what follows its opening fence, and its lines without their indentation."""

    language: str
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


@dataclass(frozen=True)
class Page:
    """One file of the documentation."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    def blocks(self, *languages: str) -> list[Block]:
        """The fenced blocks of these languages, in their order; of all languages where none is named."""
        found = [part for part in _parts(self.text) if isinstance(part, Block)]
        return [block for block in found if not languages or block.language in languages]

    def prose(self) -> list[str]:
        """Every line outside fenced blocks."""
        return [part for part in _parts(self.text) if isinstance(part, str)]

    def links(self) -> list[str]:
        """The targets of all links and pictures."""
        words = "\n".join(_CODE.sub("", line) for line in self.prose())
        return [match["target"] for match in _LINK.finditer(words)]

    def inline_code(self) -> list[str]:
        return [match["code"] for line in self.prose() for match in _CODE.finditer(line)]

    def anchors(self) -> set[str]:
        """What the headings can be linked by, as GitHub makes it of their words."""
        seen: Counter[str] = Counter()
        anchors = set()
        for line in self.prose():
            if heading := _HEADING.match(line):
                anchor = _anchor(heading["words"])
                anchors.add(f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor)
                seen[anchor] += 1
        return anchors


def pages() -> list[Page]:
    """The README, the changelog and everything under docs."""
    return [Page(ROOT / "README.md"), Page(ROOT / "CHANGELOG.md"), *map(Page, sorted(DOCS.rglob("*.md")))]


def _parts(text: str) -> Iterator[str | Block]:
    """Blocks, and the lines between them."""
    fence: re.Match[str] | None = None
    lines: list[str] = []
    for line in text.splitlines():
        mark = _FENCE.match(line)
        if fence is None and mark is None:
            yield line
        elif fence is None:
            fence, lines = mark, []
        elif mark is not None and not mark["info"]:
            yield Block(fence["info"].strip(), tuple(lines))
            fence = None
        else:
            lines.append(line.removeprefix(fence["indent"]))


def _anchor(words: str) -> str:
    return re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
