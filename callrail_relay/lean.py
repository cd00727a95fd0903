"""
Libraries without what they load for nobody here.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def left_out(*names: str) -> Iterator[None]:
    """
    Let an import of the modules *names* fail until the end of the block, as where they are not installed.

    Some libraries import others just in case, and do as well without them. A module that is loaded
    already stays so.
    """
    absent = [name for name in names if name not in sys.modules]
    # What an import finds here it takes; it takes None for a module that does not exist.
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]  # documented, and not in its type
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]
