"""The way into the dashboard: the key that signs sessions, and a new link from the relay that runs."""

import contextlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from callrail_relay.bootstrap.context import AppContext, sentence
from callrail_relay.config.places import private_directory, write_privately
from callrail_relay.errors import Unavailable
from callrail_relay.service.tokens import new_token

FILE = "dashboard.json"
KEY_FILE = "dashboard.key"
TIMEOUT = 5.0


def session_key(context: AppContext) -> str:
    """The key of this relay's sessions, from a private file; a new one if it takes any free port."""
    if not context.settings.dashboard.port:
        return new_token()
    path = private_directory(context.data) / KEY_FILE
    try:
        key = path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        key = ""
    if not key:
        key = new_token()
        with contextlib.suppress(OSError):
            write_privately(path, key)
    return key


@contextmanager
def open_desk(data: Path, url: str, secret: str) -> Iterator[None]:
    """Let this user's programs ask for links until the block ends, by a file of mode 0600 in *data*."""
    path = private_directory(data) / FILE
    text = json.dumps({"url": url, "secret": secret})
    with contextlib.suppress(OSError):
        # Without the file the dashboard still works, but no one can get a new link.
        write_privately(path, text)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            # Another relay on the same directory may have put its own there meanwhile.
            if path.read_text(encoding="utf-8") == text:
                path.unlink()


async def ask_for_link(context: AppContext, *, only: bool = False) -> str:
    """A one-time link of the relay that runs here, the *only* one if asked. Raises Unavailable without it."""
    import httpx2  # noqa: PLC0415 - the relay that answers imports this file as well

    data = context.data
    try:
        desk = json.loads((data / FILE).read_text(encoding="utf-8"))
        headers = {"Authorization": f"Bearer {desk['secret']}"}
        async with httpx2.AsyncClient(timeout=TIMEOUT, trust_env=False) as client:
            answer = await client.post(f"{desk['url']}/login/links{'?only' if only else ''}", headers=headers)
        link: str = answer.raise_for_status().json()["url"]
    except PermissionError as error:
        raise Unavailable(sentence("file_of_another", data=data)) from error
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError, KeyError, TypeError) as error:
        raise Unavailable(sentence("no_dashboard", data=data)) from error
    return link
