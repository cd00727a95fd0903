"""Network drives and synced folders, by what Linux, macOS and Windows tell of them."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath

import pytest

from callrail_relay.bootstrap.context import load_context
from callrail_relay.bootstrap.diagnosis import diagnose
from callrail_relay.bootstrap.wiring import open_relay
from callrail_relay.domain.health import Condition
from callrail_relay.errors import SettingsError
from callrail_relay.machine.files import (
    DOUBTFUL,
    is_unc,
    linux_mounts,
    mac_mounts,
    network_drive,
    remote_kind,
    synced_by_name,
    synced_folder,
)

LINUX = r"""
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:44 / /mnt/nas rw,relatime shared:5 master:2 - nfs4 nas:/volume1 rw,vers=4.1
31 22 0:45 / /mnt/nas/local rw - ext4 /dev/sdb1 rw
32 22 0:46 / /mnt/my\040share rw - cifs //nas/share rw
33 22 0:47 / /mnt/c rw,noatime - 9p C:\134 rw,aname=drvfs
34 22 0:48 / /home/me/far rw - fuse.sshfs me@host:/ rw
35 22 0:49 / /home/me/near rw - fuse.bindfs /data rw
36 22 0:50 / /mnt/twice rw - nfs nas:/a rw
37 36 0:51 / /mnt/twice rw - tmpfs tmpfs rw
38 22 0:52 / /data rw - overlay overlay rw
39 22 8:2 / /mnt/disk rw - fuseblk /dev/sdc1 rw
40 22 0:53 / /mnt/any rw - fuse storage rw
"""
MAC = """\
/dev/disk3s1s1 on / (apfs, sealed, local, read-only, journaled)
//me@nas._smb._tcp.local/share on /Volumes/my share (smbfs, nodev, nosuid, mounted by me)
nas:/volume1 on /Volumes/nfs (nfs)
me@host:/ on /Volumes/far (macfuse, nodev, nosuid, synchronous, mounted by me)
map auto_home on /System/Volumes/Data/home (autofs, automounted, nobrowse)
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/relay.db", None),
        ("/mnt/nas/relay.db", "nfs4"),
        ("/mnt/nas", "nfs4"),
        ("/mnt/nas2/relay.db", None),
        ("/mnt/nas/local/relay.db", None),
        ("/mnt/my share/relay.db", "cifs"),
        ("/mnt/c/Users/me/relay.db", "9p"),
        ("/home/me/far/relay.db", "fuse.sshfs"),
        ("/home/me/near/relay.db", None),
        ("/mnt/twice/relay.db", None),
        ("/data/relay.db", None),
        ("/mnt/disk/relay.db", None),
        ("/mnt/any/relay.db", None),
    ],
)
def test_linux_tells_what_is_mounted(path: str, kind: str | None) -> None:
    """The longest path that fits counts, and of two at one place the later one."""
    assert kind == remote_kind(path, linux_mounts(LINUX))


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/mnt/any/relay.db", "fuse"),
        ("/mnt/disk/relay.db", None),
        ("/home/me/near/relay.db", None),
        ("/home/me/far/relay.db", None),
        ("/var/lib/relay.db", None),
    ],
)
def test_a_mount_that_does_not_say_what_it_is_may_be_a_network_drive(path: str, kind: str | None) -> None:
    """It isn't refused, and isn't called this computer's own disk."""
    assert kind == remote_kind(path, linux_mounts(LINUX), DOUBTFUL)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/Users/me/relay.db", None),
        ("/Volumes/my share/relay.db", "smbfs"),
        ("/Volumes/nfs/relay.db", "nfs"),
        ("/Volumes/far/relay.db", "fuse.sshfs"),
        ("/System/Volumes/Data/home/relay.db", None),
    ],
)
def test_macos_tells_what_is_mounted(path: str, kind: str | None) -> None:
    """As its `mount` writes it."""
    assert kind == remote_kind(path, mac_mounts(MAC))


@pytest.mark.parametrize(
    ("path", "remote"),
    [
        (r"\\nas\share\relay.db", True),
        ("//nas/share/relay.db", True),
        (r"\\?\UNC\nas\share\relay.db", True),
        (r"\\?\C:\data\relay.db", False),
        (r"C:\data\relay.db", False),
    ],
)
def test_windows_names_shares(path: str, *, remote: bool) -> None:
    assert remote == is_unc(path)


@pytest.mark.parametrize(
    ("folder", "program"),
    [
        (r"C:\Users\me\OneDrive - Acme Homes\relay", "OneDrive"),
        (r"C:\Users\me\OneDrive", "OneDrive"),
        ("/Users/me/Library/CloudStorage/OneDrive-Acme/relay", "OneDrive"),
        ("/Users/me/Library/Mobile Documents/com~apple~CloudDocs/relay", "iCloud Drive"),
        ("/Users/me/Library/CloudStorage/GoogleDrive-me@example.com/My Drive", "Google Drive"),
        (r"G:\My Drive\relay", "Google Drive"),
        ("/home/me/Dropbox (Personal)/relay", "Dropbox"),
        ("/home/me/Nextcloud/relay", "Nextcloud"),
        ("/home/me/ownCloud/relay", "ownCloud"),
        ("/Users/me/Box/relay", "Box"),
        (r"c:\users\me\box sync\relay", "Box"),
        ("/home/me/SynologyDrive/relay", "Synology Drive"),
        ("/home/me/SeaDrive/relay", "SeaDrive"),
        ("/home/me/Insync/me@example.com/relay", "Insync"),
        (r"C:\Users\me\Documents\My Tresors\relay", "Tresorit"),
        (r"C:\Users\me\Sync\relay", "Sync.com or Syncthing"),
        ("/Users/me/Library/CloudStorage/Egnyte-acme/relay", "a cloud storage app"),
        ("/home/me/dropbox-exports/relay", None),
        ("/home/box/relay", None),
        ("/home/sync/relay", None),
        ("/mnt/box sets/synced/relay", None),
        (r"C:\Users\me\AppData\Local\callrail-relay", None),
    ],
)
def test_sync_programs_are_known_by_their_folders(folder: str, program: str | None) -> None:
    assert program == synced_by_name(PureWindowsPath(folder))


def test_sync_programs_are_known_by_their_marks(tmp_path: Path) -> None:
    """Syncthing's folder may have any name."""
    (tmp_path / "any" / ".stfolder").mkdir(parents=True)

    assert "Syncthing" == synced_folder(tmp_path / "any" / "relay" / "relay.db")
    assert synced_folder(tmp_path / "other" / "relay.db") is None


def test_this_disk_is_one_of_this_computer(tmp_path: Path) -> None:
    """Also for a file that does not exist yet."""
    assert network_drive(tmp_path / "none" / "relay.db") is None


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[Path]:
    """A real network drive: sshfs, with a server for its other end and no SSH in between."""
    server = Path("/usr/lib/openssh/sftp-server")
    if sys.platform != "linux" or shutil.which("sshfs") is None or not server.exists():
        pytest.skip("needs sshfs and OpenSSH's sftp-server")
    (tmp_path / "far").mkdir()
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    ssh = tmp_path / "ssh"
    ssh.write_text(f"#!/bin/sh\nexec {server}\n", encoding="ascii")
    ssh.chmod(0o700)
    command = ["sshfs", "-o", f"ssh_command={ssh}", f"far:{tmp_path / 'far'}", str(mounted)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("FUSE may not be used here")
    try:
        yield mounted
    finally:
        subprocess.run(["fusermount3", "-u", "-z", str(mounted)], check=True)


@pytest.mark.anyio
async def test_store_on_a_network_drive_is_refused_unless_it_is_allowed(
    remote: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written there, a link does not hide it, and the checks say it either way."""
    (remote.parent / "link").symlink_to(remote)
    monkeypatch.setenv("CALLRAIL_RELAY_DATA", str(remote.parent / "link"))
    with pytest.raises(SettingsError, match=r"fuse\.sshfs.*allow_network_drive"):
        async with open_relay(load_context(None)):
            pass
    assert [] == list(remote.iterdir())
    report = await diagnose(None)
    assert "fuse.sshfs" in next(one.detail for one in report.findings if one.name == "store")

    monkeypatch.setenv("CALLRAIL_RELAY_DATABASE__ALLOW_NETWORK_DRIVE", "true")
    [place] = [one for one in (await diagnose(None)).findings if one.name == "place"]
    assert Condition.WARNING == place.condition
    assert "fuse.sshfs" in place.detail


@pytest.mark.anyio
async def test_synced_folder_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Of the checks, and of a relay that stays."""
    monkeypatch.setenv("CALLRAIL_RELAY_DATA", str(tmp_path / "Dropbox"))
    [place] = [one for one in (await diagnose(None)).findings if one.name == "place"]
    async with open_relay(load_context(None), long_running=True):
        pass

    assert Condition.WARNING == place.condition
    assert "Dropbox seems to sync" in place.detail
    assert "Dropbox seems to sync" in caplog.text
