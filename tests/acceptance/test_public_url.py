"""The public URL, from the outside in: a name, https, a proxy, and a relay behind them."""

import json
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.acceptance.program import Program
from tests.support.public_way import PUBLIC, public_way, response


def diagnosed(program: Program) -> tuple[int, dict[str, Any]]:
    """The exit code of `doctor`, and its check of the public URL."""
    shown = program.run("doctor", "--json")
    [check] = [one for one in json.loads(shown.stdout)["checks"] if one["name"] == "public address"]
    return shown.returncode, check


def test_doctor_tells_where_the_public_url_leads(configured: Program, tmp_path: Path) -> None:
    """To this relay, to another server, or to nothing that could be tried while no relay runs."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    configured.environment |= {
        "CALLRAIL_RELAY_SERVER__PUBLIC_URL": PUBLIC,
        "CALLRAIL_RELAY_SERVER__PORT": str(port),
    }
    with public_way(tmp_path) as way:
        configured.environment |= way.environment
        with configured.started("serve", "--json", env={"CALLRAIL_RELAY_DASHBOARD__PORT": "0"}) as serving:
            way.target = urlsplit(serving.read_json()["public_url"]).port
            assert "ok" == diagnosed(configured)[1]["status"]

            way.answer = lambda _: response(404)
            code, check = diagnosed(configured)
            assert (8, "failed") == (code, check["status"])
            assert f"Another server answers at {PUBLIC} (404)" in check["detail"]
            way.answer = None
        _, check = diagnosed(configured)

    assert "warning" == check["status"]
    assert "it isn't running" in check["detail"]
