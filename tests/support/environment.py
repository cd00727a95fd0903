"""An environment that does not depend on who runs the tests, and where."""

import os
from pathlib import Path

import pytest

# Settings of the product, of the terminal, of proxies and certificates, of the desktop and of systemd.
UNWANTED_PREFIXES = ("CALLRAIL_", "PG", "TTY_", "_TYPER_", "TYPER_")
UNWANTED = frozenset(
    {
        "CREDENTIALS_DIRECTORY",
        "NOTIFY_SOCKET",
        "JOURNAL_STREAM",
        "INVOCATION_ID",
        "NO_COLOR",
        "FORCE_COLOR",
        "CLICOLOR",
        "CLICOLOR_FORCE",
        "PY_COLORS",
        "GITHUB_ACTIONS",
        "COLUMNS",
        "LINES",
        "TERMINAL_WIDTH",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "NO_PROXY",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "DBUS_SESSION_BUS_ADDRESS",
        "GNOME_KEYRING_CONTROL",
        "DISPLAY",
        "WAYLAND_DISPLAY",
    }
)


def clean(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """
    Take away what could change the product's behaviour, and put its directories and its keyring elsewhere.
    """
    for name in list(os.environ):
        if name.upper() in UNWANTED or name.upper().startswith(UNWANTED_PREFIXES):
            monkeypatch.delenv(name)
    for name, place in _directories(folder).items():
        monkeypatch.setenv(name, str(place))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")


def _directories(folder: Path) -> dict[str, Path]:
    home = folder / "home"
    home.mkdir()
    return {
        "HOME": home,
        "USERPROFILE": home,
        "XDG_CONFIG_HOME": home / "config",
        "XDG_DATA_HOME": home / "share",
        "XDG_STATE_HOME": home / "state",
        "XDG_CACHE_HOME": home / "cache",
        "XDG_RUNTIME_DIR": home / "run",
        "APPDATA": home / "roaming",
        "LOCALAPPDATA": home / "local",
        "WIN_PD_OVERRIDE_APPDATA": home / "roaming",  # platformdirs asks Windows itself, not the variables
        "WIN_PD_OVERRIDE_LOCAL_APPDATA": home / "local",
        "CALLRAIL_RELAY_DATA": folder / "data",
    }
