import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.backends import fail, null
from keyring.errors import KeyringLocked
from pydantic import SecretStr

from callrail_relay.clock import pause
from callrail_relay.config.places import default_config_file
from callrail_relay.config.secrets import Found, SecretName, Secrets
from callrail_relay.errors import SecretError
from tests.config.disk import full_disk
from tests.config.test_places import mode, posix_only
from tests.support.memory_keyring import MemoryKeyring

API_KEY = SecretName.API_KEY


@pytest.fixture(autouse=True)
def restored_keyring() -> Iterator[None]:
    before = keyring.get_keyring()
    yield
    keyring.set_keyring(before)


@pytest.fixture(params=[fail.Keyring, null.Keyring])
def no_keyring(request: pytest.FixtureRequest) -> None:
    """A machine without one."""
    keyring.set_keyring(request.param())


@pytest.fixture
def locked(memory: MemoryKeyring) -> MemoryKeyring:
    """An OS keyring that is locked."""

    def refuse() -> None:
        raise KeyringLocked("an answer of the library's own")

    memory.before = refuse
    return memory


@pytest.fixture
def hanging(memory: MemoryKeyring) -> Iterator[threading.Event]:
    """An OS keyring that waits for a dialogue, until the event is set."""
    answered = threading.Event()
    memory.before = answered.wait
    yield answered
    answered.set()
    join_keyring_threads()


def join_keyring_threads() -> None:
    for thread in threading.enumerate():
        if thread.name == "keyring":
            thread.join()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def find(secrets: Secrets, name: SecretName = API_KEY) -> tuple[str, str] | None:
    found = asyncio.run(secrets.find(name))
    return (found.reveal(), found.source) if found else None


def store(secrets: Secrets, value: str, name: SecretName = API_KEY, *, use_file: bool = False) -> str:
    return asyncio.run(secrets.store(name, value, use_file=use_file))


def test_secret_shows_stars() -> None:
    """However it gets into a text, it is not read there."""
    found = Found(SecretStr("hush"), "x")
    shown = [repr(found), str(found), f"{found}", f"{found.secret!r}", json.dumps(vars(found), default=str)]

    assert all("hush" not in text and "****" in text for text in shown)
    assert "hush" == found.reveal()


def test_highest_place_wins(memory: MemoryKeyring, config: Path, tmp_path: Path) -> None:
    """Environment, systemd credential, keyring, file; and it says which one it was."""
    environ: dict[str, str] = {}
    secrets = Secrets(config, environ)
    assert find(secrets) is None

    store(secrets, "from file", use_file=True)
    assert ("from file", f"file {tmp_path / 'secrets.toml'}") == find(secrets)

    memory.entries["callrail-relay", f"api-key@{config}"] = "from keyring"
    assert ("from keyring", "OS keyring (Memory)") == find(secrets)
    assert secrets.shadowed_by(API_KEY) is None

    (tmp_path / "callrail-api-key").write_text("from systemd\n")
    environ["CREDENTIALS_DIRECTORY"] = str(tmp_path)
    assert ("from systemd", "systemd credential callrail-api-key") == find(secrets)
    assert "systemd credential callrail-api-key" == secrets.shadowed_by(API_KEY)

    environ["CALLRAIL_API_KEY"] = "  from environment\n"
    assert ("from environment", "environment variable CALLRAIL_API_KEY") == find(secrets)
    assert "environment variable CALLRAIL_API_KEY" == secrets.shadowed_by(API_KEY)

    environ["CALLRAIL_API_KEY"] = " "
    assert ("from systemd", "systemd credential callrail-api-key") == find(secrets)


@pytest.mark.usefixtures("no_keyring")
@pytest.mark.parametrize(
    ("name", "variable", "credential"),
    [
        (SecretName.API_KEY, "CALLRAIL_API_KEY", "callrail-api-key"),
        (SecretName.HOOK_TOKEN, "CALLRAIL_RELAY_HOOK_TOKEN", "callrail-relay-hook-token"),
        (SecretName.SIGNING_KEYS, "CALLRAIL_SIGNING_KEY", "callrail-signing-key"),
    ],
)
def test_secrets_have_the_names_of_the_contract(
    config: Path, tmp_path: Path, name: SecretName, variable: str, credential: str
) -> None:
    assert ("one, two", f"environment variable {variable}") == find(
        Secrets(config, {variable: "one, two"}), name
    )

    (tmp_path / credential).write_text("s")
    assert ("s", f"systemd credential {credential}") == find(
        Secrets(config, {"CREDENTIALS_DIRECTORY": str(tmp_path)}), name
    )


def test_previous_token_is_only_stored(memory: MemoryKeyring, config: Path, tmp_path: Path) -> None:
    """What the program made itself during a rotation, it alone gives."""
    secrets = Secrets(config, {"CREDENTIALS_DIRECTORY": str(tmp_path)})

    store(secrets, "2026-01-01T00:00:00+00:00|token", SecretName.HOOK_TOKEN_PREVIOUS)

    assert ("2026-01-01T00:00:00+00:00|token", "OS keyring (Memory)") == find(
        secrets, SecretName.HOOK_TOKEN_PREVIOUS
    )
    assert ["2026-01-01T00:00:00+00:00|token"] == list(memory.entries.values())


def test_trial_does_not_touch_the_real_key(memory: MemoryKeyring, config: Path) -> None:
    """Entries of another settings file carry its path."""
    store(Secrets(default_config_file(), {}), "real")
    store(Secrets(config, {}), "trial")
    store(Secrets(config.parent / "x" / ".." / "config.toml", {}), "trial again")

    assert {
        ("callrail-relay", "api-key"): "real",
        ("callrail-relay", f"api-key@{config}"): "trial again",
    } == memory.entries


def test_stored_secret_has_one_place(memory: MemoryKeyring, config: Path) -> None:
    """Once the file is in use, it keeps every secret, and no old one in the keyring could come back."""
    secrets, in_file = Secrets(config, {}), f"file {config.with_name('secrets.toml')}"

    assert "OS keyring (Memory)" == store(secrets, "first")
    assert in_file == store(secrets, "second", use_file=True)
    assert {} == memory.entries
    assert ("second", in_file) == find(secrets)

    assert in_file == store(secrets, " third ")
    assert ("third", in_file) == find(secrets)
    assert {} == memory.entries


@pytest.mark.parametrize("use_file", [False, True])
def test_removed_secret_is_gone(memory: MemoryKeyring, config: Path, *, use_file: bool) -> None:
    """From wherever it was; a second time does no harm."""
    secrets = Secrets(config, {})
    store(secrets, "x", use_file=use_file)
    store(secrets, "y", SecretName.HOOK_TOKEN, use_file=use_file)

    asyncio.run(secrets.remove(API_KEY))
    asyncio.run(secrets.remove(API_KEY))

    assert find(secrets) is None
    assert find(secrets, SecretName.HOOK_TOKEN) is not None
    assert (0 if use_file else 1) == len(memory.entries)


@pytest.mark.usefixtures("no_keyring")
def test_machine_without_keyring(config: Path) -> None:
    """Reading goes on below; storing says what to do, and needs no opt-in twice."""
    secrets = Secrets(config, {})
    assert find(secrets) is None
    assert not secrets.file_in_use

    with pytest.raises(SecretError, match="no OS keyring here to keep the CallRail API key in") as caught:
        store(secrets, "x")
    assert "`callrail-relay configure --secrets-file`, or set CALLRAIL_API_KEY." in str(caught.value)

    store(secrets, "x", use_file=True)
    assert secrets.file_in_use
    assert store(secrets, "y", SecretName.HOOK_TOKEN).startswith("file ")
    assert "y" == (find(secrets, SecretName.HOOK_TOKEN) or ("", ""))[0]


@pytest.mark.usefixtures("no_keyring")
def test_missing_secret_is_told_with_the_remedy(config: Path) -> None:
    """The wizard first, then the variable, then the file."""
    with pytest.raises(SecretError) as caught:
        asyncio.run(Secrets(config, {}).require(API_KEY))
    assert (
        "The CallRail API key is not set. Run `callrail-relay configure`, or set CALLRAIL_API_KEY, or "
        "keep it "
        "in a file with `callrail-relay configure --secrets-file`."
    ) == str(caught.value)

    with pytest.raises(SecretError, match=r"previous webhook secret is not set\. Run .*configure`, or keep"):
        asyncio.run(Secrets(config, {}).require(SecretName.HOOK_TOKEN_PREVIOUS))

    assert Found(SecretStr("k"), "environment variable CALLRAIL_API_KEY", outside=True) == asyncio.run(
        Secrets(config, {"CALLRAIL_API_KEY": "k"}).require(API_KEY)
    )


@pytest.mark.usefixtures("locked")
def test_locked_keyring_is_told(config: Path) -> None:
    """It may hold the secret, so nothing else is concluded; the library's own words stay out."""
    secrets = Secrets(config, {})
    for attempt in (
        lambda: find(secrets),
        lambda: store(secrets, "x"),
        lambda: asyncio.run(secrets.remove(API_KEY)),
    ):
        with pytest.raises(
            SecretError, match=r"The OS keyring failed \(KeyringLocked\)\. Unlock it"
        ) as caught:
            attempt()
        assert "library" not in str(caught.value)


@pytest.mark.usefixtures("locked")
def test_file_serves_where_the_keyring_does_not(config: Path) -> None:
    """Who opted in to the file needs no keyring."""
    secrets = Secrets(config, {})

    store(secrets, "x", use_file=True)
    assert "x" == (find(secrets) or ("", ""))[0]
    assert find(secrets, SecretName.SIGNING_KEYS) is None

    asyncio.run(secrets.remove(API_KEY))
    assert find(secrets) is None


@pytest.mark.usefixtures("locked")
def test_environment_needs_no_keyring(config: Path) -> None:
    """What is above the keyring is found without asking it."""
    assert find(Secrets(config, {"CALLRAIL_API_KEY": "k"})) is not None


@pytest.mark.usefixtures("no_keyring")
def test_mark_at_the_start_of_the_file_is_not_a_fault(config: Path) -> None:
    """Windows' own editors write one."""
    secrets = Secrets(config, {})
    store(secrets, "k", use_file=True)
    secrets.file.write_bytes(b"\xef\xbb\xbf" + secrets.file.read_bytes())

    assert ("k", f"file {secrets.file}") == find(secrets)


@pytest.mark.parametrize("value", ['"k"', "'k'", ' "k" ', '"k'])
def test_quotes_around_a_variable_are_not_part_of_it(value: str, config: Path) -> None:
    """The command `set` of Windows, and Docker's files of variables, keep them."""
    found = asyncio.run(Secrets(config, {"CALLRAIL_API_KEY": value}).find(API_KEY))

    assert found is not None
    assert "k" == found.reveal()


@pytest.mark.usefixtures("memory")
def test_loading_the_keyring_is_not_waiting_for_it(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy Windows computer that takes seconds, and nothing is locked."""
    load, seconds = keyring.get_keyring, iter([0.6])

    def load_slowly() -> KeyringBackend:
        pause(next(seconds, 0))
        return load()

    monkeypatch.setattr(keyring, "get_keyring", load_slowly)
    monkeypatch.setattr(sys, "platform", "win32")
    assert find(Secrets(config, {}, keyring_timeout=0.5)) is None


def test_hanging_keyring_is_given_up(hanging: threading.Event, memory: MemoryKeyring, config: Path) -> None:
    """The program doesn't wait for a dialog that no one sees, and never waits twice."""
    secrets = Secrets(config, {}, keyring_timeout=0.01)

    with pytest.raises(SecretError, match=r"did not answer within 0\.01 s; it may be locked\. Unlock it"):
        find(secrets)

    asked: list[str] = []
    memory.before = lambda: asked.append("again")
    with pytest.raises(SecretError, match="did not answer"):
        find(secrets)
    assert [] == asked
    assert not hanging.is_set()


def test_late_answer_is_not_missed(hanging: threading.Event, config: Path) -> None:
    """A keyring that answers too late does no harm, whether the event loop is there or gone."""

    async def give_up_and_wait() -> None:
        with pytest.raises(SecretError):
            await Secrets(config, {}, keyring_timeout=0.1).find(API_KEY)
        hanging.set()
        await asyncio.to_thread(join_keyring_threads)
        await asyncio.to_thread(lambda: None)  # whatever those threads asked the loop to do is done by now

    asyncio.run(give_up_and_wait())

    hanging.clear()
    with pytest.raises(SecretError):
        find(Secrets(config, {}, keyring_timeout=0.1))
    hanging.set()
    join_keyring_threads()


HANGS = """
import asyncio, threading
from pathlib import Path
import keyring
from tests.support.memory_keyring import MemoryKeyring
from callrail_relay.config.secrets import SecretName, Secrets
from callrail_relay.errors import SecretError

memory = MemoryKeyring()
memory.before = threading.Event().wait
keyring.set_keyring(memory)
try:
    asyncio.run(Secrets(Path("config.toml"), {}, keyring_timeout=0.01).find(SecretName.API_KEY))
except SecretError:
    print("given up")
"""


@pytest.mark.slow
def test_hanging_keyring_does_not_keep_the_process() -> None:
    """The process ends although the keyring never answers."""
    done = subprocess.run(
        [sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=60, check=True
    )

    assert "given up\n" == done.stdout


LOOKS = """
import asyncio, sys
from pathlib import Path
from callrail_relay.config.secrets import SecretName, Secrets

asyncio.run(Secrets(Path("config.toml"), {}, keyring_timeout=50).find(SecretName.API_KEY))
print("keyring" in sys.modules)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system always has one")
@pytest.mark.parametrize(
    ("variables", "asks"),
    [
        ({}, False),
        ({"DBUS_SESSION_BUS_ADDRESS": "unix:path=/nowhere"}, True),
        ({"PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring"}, True),
        ({"XDG_RUNTIME_DIR": "runtime"}, True),
        ({"XDG_CONFIG_HOME": "config"}, True),
        ({"PYTHONPATH": "packages"}, True),
    ],
    ids=[
        "a server",
        "a desktop",
        "named by variable",
        "a bus in its usual place",
        "named by file",
        "a package",
    ],
)
def test_keyring_is_loaded_where_there_may_be_one(
    tmp_path: Path, variables: dict[str, str], *, asks: bool
) -> None:
    """
    A server without a desktop does without: to load it takes time and memory, and it would find nothing.
    """
    for place in ("runtime/bus", "config/python_keyring/keyringrc.cfg"):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).touch()
    metadata = tmp_path / "packages" / "other-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[keyring.backends]\nother = other.backend\n")
    empty = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": "none", "XDG_CONFIG_HOME": "none"}

    done = subprocess.run(
        [sys.executable, "-c", LOOKS],
        env={**empty, **variables},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert f"{asks}\n" == done.stdout


@pytest.mark.parametrize("value", ["two\nlines", "caf\u00e9", "nul\0", "\u200bkey"])
def test_damaged_secret_is_told(memory: MemoryKeyring, config: Path, value: str) -> None:
    """What was not copied whole and alone could only be refused later; it is not shown."""
    for attempt in (
        lambda: find(Secrets(config, {"CALLRAIL_API_KEY": value})),
        lambda: store(Secrets(config, {}), value),
    ):
        with pytest.raises(
            SecretError, match="contains a line break or a character that isn't ASCII"
        ) as caught:
            attempt()
        assert value not in str(caught.value)
    assert {} == memory.entries


def test_empty_secret_is_not_stored(memory: MemoryKeyring, config: Path) -> None:
    with pytest.raises(SecretError, match="The CallRail API key is empty"):
        store(Secrets(config, {}), " \n")
    assert {} == memory.entries


@pytest.mark.usefixtures("no_keyring")
def test_credential_may_be_missing(config: Path, tmp_path: Path) -> None:
    """A service may get some of its secrets in another way."""
    assert find(Secrets(config, {"CREDENTIALS_DIRECTORY": str(tmp_path)})) is None


def test_unreadable_credential_is_told(config: Path, tmp_path: Path) -> None:
    """A unit that is wrong is not taken for a secret that is missing."""
    (tmp_path / "callrail-api-key").mkdir()
    secrets = Secrets(config, {"CREDENTIALS_DIRECTORY": str(tmp_path)})

    with pytest.raises(SecretError, match="systemd credential callrail-api-key can't be read"):
        find(secrets)


@posix_only
@pytest.mark.usefixtures("no_keyring")
def test_file_is_private_or_refused(config: Path) -> None:
    """Others cannot read it; if they can, it does not count, and the error says how to fix that."""
    secrets, path = Secrets(config, {}), config.with_name("secrets.toml")
    store(secrets, "x", use_file=True)
    assert 0o600 == mode(path)

    for open_to_others in (0o640, 0o604, 0o620):
        path.chmod(open_to_others)
        with pytest.raises(SecretError, match=f"open to other users of this machine. Run `chmod 600 {path}`"):
            find(secrets)
        with pytest.raises(SecretError, match="chmod 600"):
            store(secrets, "y", use_file=True)

    path.chmod(0o400)
    assert "x" == (find(secrets) or ("", ""))[0]


@pytest.mark.usefixtures("no_keyring")
@pytest.mark.parametrize("content", [b"api-key = hush", b"api-key = 5", b"\xff\xfe", b"[api-key]"])
def test_damaged_file_is_told(config: Path, content: bytes) -> None:
    """Without a word of what is in it."""
    path = config.with_name("secrets.toml")
    path.write_bytes(content)
    path.chmod(0o600)

    with pytest.raises(SecretError, match=r"secrets\.toml is damaged") as caught:
        find(Secrets(config, {}))
    assert "hush" not in str(caught.value)


@pytest.mark.usefixtures("no_keyring")
def test_file_that_cannot_be_used_is_told(config: Path) -> None:
    """Neither read nor written: the words name the file."""
    config.with_name("secrets.toml").mkdir()

    with pytest.raises(SecretError, match=r"secrets.toml can't be read"):
        find(Secrets(config, {}))

    other = config.parent / "other" / "config.toml"
    with full_disk(), pytest.raises(SecretError, match=r"secrets.toml can't be written: "):
        store(Secrets(other, {}), "x", use_file=True)
    assert [] == list(other.parent.iterdir())
