"""Draws docs/images/demo.svg, a terminal with the demo's real output: ``python -m tests.docs.picture``."""

import io
import re
import subprocess
import sys

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from tests.docs.markdown import DOCS

PICTURE = DOCS / "images" / "demo.svg"
COLUMNS = 92

# The dashboard's dark colors: page, words, then black, red, green and so on.
_COLORS = TerminalTheme((15, 20, 26), (231, 236, 241), [(60, 184, 120)] * 8)


def main() -> None:
    """Run the demo, and draw the terminal that shows it."""
    run = subprocess.run(
        [sys.executable, "-m", "callrail_relay", "demo"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        check=True,
    )
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), color_system="truecolor")
    console.print(Text.assemble(("$ ", "green"), "callrail-relay demo"))
    console.print(Text(run.stdout))
    drawn = console.export_svg(title="Terminal", theme=_COLORS, unique_id="demo")
    # Rich loads a font from another site; every system has one of these.
    drawn = re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL)
    drawn = drawn.replace("Fira Code, monospace", "ui-monospace, Menlo, Consolas, monospace")
    PICTURE.write_text(re.sub(r"[ \t]+$", "", drawn, flags=re.MULTILINE), encoding="utf-8")


if __name__ == "__main__":
    main()
