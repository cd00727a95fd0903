import os
import stat
import sys
from pathlib import Path

import platformdirs
import pytest

from callrail_relay.config.places import (
    config_file,
    data_directory,
    is_default_config_file,
    override_path,
    private_directory,
    write_privately,
)
from callrail_relay.errors import SettingsError

posix_only = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has no mode bits and needs a right for links"
)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_settings_are_in_the_users_directory() -> None:
    """By default the settings are in the platform's place."""
    assert platformdirs.user_config_path("callrail-relay", appauthor=False) / "config.toml" == config_file()
    assert override_path(None) is None


def test_flag_wins_over_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """--config names the file, else CALLRAIL_RELAY_CONFIG does; a blank one names nothing."""
    monkeypatch.setenv("CALLRAIL_RELAY_CONFIG", str(tmp_path / "variable.toml"))
    assert tmp_path / "flag.toml" == config_file(tmp_path / "flag.toml")
    assert tmp_path / "variable.toml" == config_file()

    monkeypatch.setenv("CALLRAIL_RELAY_CONFIG", "  ")
    assert "config.toml" == config_file().name


def test_named_file_is_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A path that no shell has expanded means the same in every directory."""
    monkeypatch.chdir(tmp_path)
    assert Path.cwd() / "b.toml" == config_file(Path("a/../b.toml"))
    assert Path.home() / "relay.toml" == config_file(Path("~/relay.toml"))


def test_data_directory_can_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """CALLRAIL_RELAY_DATA wins over the platform's place."""
    monkeypatch.setenv("CALLRAIL_RELAY_DATA", str(tmp_path))
    assert tmp_path == data_directory()

    monkeypatch.setenv("CALLRAIL_RELAY_DATA", f'"{tmp_path / "my data"}" ')  # as `set` of Windows keeps it
    assert tmp_path / "my data" == data_directory()

    monkeypatch.delenv("CALLRAIL_RELAY_DATA")
    assert platformdirs.user_data_path("callrail-relay", appauthor=False) == data_directory()


@posix_only
def test_new_directories_are_private(tmp_path: Path) -> None:
    """Whatever had to be made is closed to others; what was there stays as it was."""
    tmp_path.chmod(0o755)

    made = private_directory(tmp_path / "a" / "b")

    assert [0o755, 0o700, 0o700] == [mode(tmp_path), mode(tmp_path / "a"), mode(made)]


@posix_only
def test_replaced_file_becomes_private(tmp_path: Path) -> None:
    """A file that others could read is closed when it is written."""
    path = tmp_path / "config.toml"
    path.write_text("old")
    path.chmod(0o644)

    write_privately(path, "new\n")

    assert ("new\n", 0o600) == (path.read_text(), mode(path))


@posix_only
def test_link_stays_a_link(tmp_path: Path) -> None:
    """Settings that are kept elsewhere and linked to stay there."""
    link = tmp_path / "config.toml"
    link.symlink_to(tmp_path / "elsewhere.toml")

    write_privately(link, "new")

    assert link.is_symlink()
    assert "new" == (tmp_path / "elsewhere.toml").read_text()


def test_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    """A file that cannot be replaced stays as it is, without a temporary one beside it."""
    path = tmp_path / "config.toml"
    path.mkdir()

    with pytest.raises(OSError, match=r"config\.toml"):
        write_privately(path, "new")

    assert [] == list(tmp_path.glob(".config*"))
    assert [] == list(path.iterdir())


def test_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """
    A container's user id that is not in passwd: both named is enough, and nothing lands in a folder "~".
    """
    monkeypatch.chdir(tmp_path)
    for variable in ("HOME", "USERPROFILE", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "APPDATA", "LOCALAPPDATA"):
        monkeypatch.delenv(variable, raising=False)

    def no_home(*_: object, **__: object) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(platformdirs, "user_config_path", no_home)
    monkeypatch.setattr(platformdirs, "user_data_path", no_home)
    monkeypatch.delenv("CALLRAIL_RELAY_DATA")
    with pytest.raises(SettingsError, match=r"CALLRAIL_RELAY_CONFIG .* CALLRAIL_RELAY_DATA"):
        config_file()
    with pytest.raises(SettingsError, match="CALLRAIL_RELAY_DATA"):
        data_directory()

    monkeypatch.setenv("CALLRAIL_RELAY_DATA", str(tmp_path))
    monkeypatch.setenv("CALLRAIL_RELAY_CONFIG", str(tmp_path / "config.toml"))
    assert (tmp_path, tmp_path / "config.toml") == (data_directory(), config_file())
    assert not is_default_config_file(config_file())


@pytest.mark.skipif(os.name == "nt", reason="Windows does not let go of a directory in use")
def test_directory_that_is_gone_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A relative path needs it, a whole one does not."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()

    with pytest.raises(SettingsError, match="whole path"):
        config_file(Path("relay.toml"))
    assert tmp_path / "relay.toml" == config_file(tmp_path / "relay.toml")
