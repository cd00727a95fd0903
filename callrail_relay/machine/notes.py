"""Notes that a running relay leaves for other commands on this computer, in files of mode 0600."""

import json
import logging
from pathlib import Path
from typing import Any

from callrail_relay.replacing import new_content


def write_note(path: Path, document: object) -> None:
    """Write *document* there as JSON; None removes the note. What can't be written is logged."""
    try:
        if document is None:
            path.unlink(missing_ok=True)
        else:
            with new_content(path) as file:
                json.dump(document, file)
    except OSError as error:
        logging.getLogger("callrail_relay").warning("The note %s can't be written: %s", path, error.strerror)


def read_note(path: Path, *, since: int = 0) -> Any:  # noqa: ANN401 - whatever JSON can contain
    """Return what was noted last; None if nothing was, or before *since*, in ns since the epoch."""
    try:
        return None if path.stat().st_mtime_ns < since else json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
