"""Links, and commands that the pages name."""

import shlex
from collections.abc import Iterator

import pytest

from tests.docs.generate import named_commands
from tests.docs.markdown import Page, pages

PAGES = pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)


@PAGES
def test_links_lead_somewhere(page: Page) -> None:
    """A link within the repository names a file that is there, and a heading that is in it."""
    for target in page.links():
        file, _, anchor = target.partition("#")
        if "://" in file:
            continue
        path = (page.path.parent / file).resolve() if file else page.path
        assert path.exists(), target
        assert not anchor or anchor in Page(path).anchors(), target


@PAGES
def test_commands_exist(page: Page) -> None:
    """A command that a page names is one of ours, and has the options that it is given."""
    commands = dict(named_commands())
    for called in _calls(page):
        arguments = called[1:] if called[0] == "help" else called
        if arguments[0] == "suppressions":  # its former name, which still works
            arguments = ["opt-outs", *arguments[1:]]
        name = next((name for name in (" ".join(arguments[:2]), arguments[0]) if name in commands), None)
        if name is None:
            # "messages" alone means all that begin with it, and an option for the program itself.
            assert any(f"{known} ".startswith(f"{' '.join(arguments)} ") for known in commands), arguments
            continue
        known = {option for one in commands[name].params for option in (*one.opts, *one.secondary_opts)}
        assert {word for word in arguments if word.startswith("--")} <= known | {"--help"}, arguments


def _calls(page: Page) -> Iterator[list[str]]:
    """The arguments of every call of the program at the beginning of a line, or as code in a sentence."""
    text = "\n".join(block.text for block in page.blocks("console", "sh"))
    lines = [line.strip().removeprefix("$ ") for line in text.replace("\\\n", " ").splitlines()]
    for line in (*lines, *page.inline_code()):
        program, _, rest = line.partition(" ")
        if rest and program.rpartition("/")[2] == "callrail-relay":
            words = shlex.split(rest, comments=True)
            yield words[: words.index("<")] if "<" in words else words
