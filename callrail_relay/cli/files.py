"""Files that a person names on the command line; ``-`` stands for standard input and output."""

import io
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from callrail_relay.domain.printable import printable
from callrail_relay.errors import NotFound, Unavailable
from callrail_relay.replacing import replace

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

STANDARD = "-"


def read_input(name: str) -> bytes:
    """All of a file. Raises NotFound."""
    try:
        return sys.stdin.buffer.read() if name == STANDARD else Path(name).read_bytes()
    except OSError as error:
        raise NotFound(
            f"The file {name} cannot be read ({error.strerror}); check its name and its rights."
        ) from error


@contextmanager
def output(name: str) -> Iterator[BinaryIO]:
    """What to write to. A file is of mode 0600 and is there only when it is whole. Raises Unavailable."""
    if name == STANDARD:
        yield _Terminal() if sys.stdout.isatty() else sys.stdout.buffer
        sys.stdout.flush()
        return
    # A link stays a link: the file it points to is the one that is replaced.
    target = Path(name).resolve()
    try:
        if target.exists() and not target.is_file():
            # A device or a pipe cannot be replaced.
            with target.open("wb") as file:
                yield file
            return
        with _replacing(target) as file:
            yield file
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Unavailable(
            f"The file {name} cannot be written ({error.strerror}); check its directory, rights and disk."
        ) from error


class _Terminal(io.BytesIO):
    """Standard output of a person who looks on: nothing that is written can steer the terminal."""

    def write(self, words: "ReadableBuffer") -> int:
        return sys.stdout.write(printable(bytes(words).decode()))


@contextmanager
def _replacing(target: Path) -> Iterator[BinaryIO]:
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")  # of mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        replace(Path(temporary), target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
