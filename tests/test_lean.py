"""
What is not loaded costs nothing.
"""

import json
import subprocess
import sys

import pytest

from callrail_relay.lean import left_out

# Some megabytes of memory and a part of a second each, and no relay that runs needs one of them: alembic is
# for tests, jinja2 for the first page, keyring for where there is one, rich for tables on a terminal, tomlkit
# for writing settings.
NOT_SERVED = {
    "alembic",
    "callrail_relay.callrail.simulator",
    "cryptography",
    "jinja2",
    "keyring",
    "pydantic",
    "pygments",
    "rich",
    "tomlkit",
}

SERVE = """
import json, os, signal, sys
from callrail_relay.cli import app, serve

def stop(*_, **__):
    print(json.dumps(sorted(sys.modules)))
    os.kill(os.getpid(), signal.SIGTERM)

serve._show = stop
app(["serve", "--port", "0"])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system always has a keyring")
def test_a_relay_that_runs_holds_only_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Also in its first run, which makes the store.
    """
    monkeypatch.delenv("PYTHON_KEYRING_BACKEND")
    for name, value in {
        "CALLRAIL_API_KEY": "key",
        "CALLRAIL_RELAY_HOOK_TOKEN": "token",
        "CALLRAIL_RELAY_CALLRAIL__ACCOUNT_ID": "ACC1",
        "CALLRAIL_RELAY_CALLRAIL__COMPANY_ID": "COM1",
        "CALLRAIL_RELAY_CALLRAIL__TRACKING_NUMBER": "+12025550133",
        "CALLRAIL_RELAY_CALLRAIL__ACCEPTED_TERMS": "true",
        "CALLRAIL_RELAY_CALLRAIL__API_URL": "http://127.0.0.1:9",
        "CALLRAIL_RELAY_DASHBOARD__PORT": "0",
    }.items():
        monkeypatch.setenv(name, value)

    done = subprocess.run(
        [sys.executable, "-c", SERVE], capture_output=True, text=True, timeout=60, check=False
    )

    assert 0 == done.returncode, done.stderr
    loaded = set(json.loads(done.stdout))
    assert "callrail_relay.web.dashboard.app" in loaded
    assert set() == NOT_SERVED & loaded


def test_a_module_is_left_out_until_the_end_of_the_block() -> None:
    """
    Behind it the module can be loaded, and one that was loaded before stays so.
    """
    sys.modules.pop("colorsys", None)
    with left_out("colorsys", "json"):
        with pytest.raises(ImportError):
            __import__("colorsys")
        assert __import__("json") is json

    assert __import__("colorsys").__name__ == "colorsys"
