import tomllib
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callrail_relay.config.loading import load
from callrail_relay.config.saving import update
from callrail_relay.config.settings import Settings
from callrail_relay.config.types import duration_text
from callrail_relay.domain.guards import Mode
from callrail_relay.errors import SettingsError
from tests.config.disk import full_disk
from tests.config.test_places import mode, posix_only

OWN = {"account_id": "ACC1", "company_id": "COM1", "tracking_number": "+12025550122"}

ids = st.text("aZ09 ._'\"#\\é-", min_size=1, max_size=9).filter(str.strip)
times = st.timedeltas(timedelta(milliseconds=1), timedelta(days=3650))
minutes = st.builds("{:02}:{:02}".format, st.integers(9, 23), st.integers(0, 59))
modes = st.sampled_from(Mode)


def table(**values: st.SearchStrategy[object]) -> st.SearchStrategy[dict[str, object]]:
    """Some of these keys, some of them taken out."""
    return st.fixed_dictionaries({}, optional={key: value | st.none() for key, value in values.items()})


changes = st.fixed_dictionaries(
    {},
    optional={
        "routes": st.lists(
            st.fixed_dictionaries(
                {"team_id": ids}, optional={"sender_id": ids, "company_id": st.just("COM2")}
            ),
            max_size=3,
        ),
        "server": table(
            port=st.integers(0, 65535),
            public_url=st.just("https://texts.example.com"),
            trusted_proxies=st.lists(st.sampled_from(["10.0.0.0/8", "::1"])),
        ),
        "limits": table(per_hour=st.integers(1, 9999), recipient_interval=times.map(duration_text)),
        "delivery": table(
            max_age=times.map(duration_text),
            reconcile_after=st.sets(times, min_size=1).map(
                lambda found: [*map(duration_text, sorted(found))]
            ),
        ),
        "guards": table(duplicate=modes, opt_out=modes, quiet_start=minutes),
    },
)

layouts = st.sampled_from(
    [
        "",
        "# mine\n\n[limits] # here\nper_hour = 1\n# and\nper_day = 2\n\n# next\n[guards]\nopt_out='warn'\n",
        "limits = { per_hour = 1 }\nroutes = [{ team_id = 7 }]\n",
        "limits.per_hour = 1\nlimits.per_day = 2\nguards.opt_out = 'off'\n[server]\nport = 1",
        "[[routes]]\nteam_id = '7' # seven\n\n[[routes]]\nteam_id = '8'\n[server]\nport = 1\n",
        "[server]\ntrusted_proxies = [\n '::1', # us\n]\n[[routes]]\nsender_id = '7'",
        "[limits]\r\nper_hour = 1\r\n\r\n[delivery]\r\nmax_age = '1h'\r\n",
        "[server]\n[limits]\n\n\n# the end",
    ]
)


@given(changes, changes, layouts)
def test_reading_back_gives_what_was_written(
    first: dict[str, dict[str, object]], second: dict[str, dict[str, object]], layout: str
) -> None:
    """Whatever the layout of the file: what was named has its new value, and the rest its old one."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "config.toml")
        path.write_text(layout, encoding="utf-8", newline="")
        update(path, {"callrail": OWN})
        expected = tomllib.loads(path.read_text(encoding="utf-8"))

        for change in (first, second):
            update(path, change)
            for name, content in change.items():
                if name == "routes":
                    expected[name] = content
                else:
                    expected[name] = without_none(expected.get(name, {}) | content)

        assert Settings.model_validate(expected) == load(path)


def without_none(values: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in values.items() if value is not None}


def test_settings_can_be_written_whole(tmp_path: Path) -> None:
    """The settings say how each value is written."""
    settings = Settings.model_validate(
        {
            "callrail": OWN,
            "routes": [{"team_id": "7", "company_id": "COM2"}],
            "retention": {"after": "off"},
        }
    )

    update(tmp_path / "config.toml", settings.model_dump(mode="json"))

    assert settings == load(tmp_path / "config.toml")


def test_new_file_explains_itself(tmp_path: Path) -> None:
    """Each key says what it is for."""
    path = tmp_path / "new" / "config.toml"

    update(path, {"callrail": {**OWN, "api_url": None}, "delivery": {"max_age": "2h"}})

    assert path.read_text() == (
        "# Settings of callrail-relay. Secrets are not kept here: `callrail-relay configure` stores them.\n"
        "\n"
        "[callrail]\n"
        'account_id = "ACC1" # ACC..., or the nine-digit account number\n'
        'company_id = "COM1" # COM..., the company the texts are sent for\n'
        'tracking_number = "+12025550122" # the CallRail number that sends the texts\n'
        "\n"
        "[delivery]\n"
        'max_age = "2h" # a text that waited longer is held\n'
    )


def test_what_a_person_wrote_stays(tmp_path: Path) -> None:
    """Comments, order and layout are the owner's; a comment stays with the table it speaks of."""
    path = tmp_path / "config.toml"
    path.write_text(
        "# mine\n"
        "[limits]  # slow\n"
        "per_hour   = 10 # careful\n"
        "\n"
        "# the office\n"
        "[callrail]\n"
        "account_id = 'ACC1'\n"
    )

    update(path, {"callrail": OWN, "limits": {"per_hour": 20, "per_day": 30}})

    assert path.read_text() == (
        "# mine\n"
        "[limits]  # slow\n"
        "per_hour   = 20 # careful\n"
        "per_day = 30 # texts an account may send in any 24 hours\n"
        "\n"
        "# the office\n"
        "[callrail]\n"
        "account_id = 'ACC1'\n"
        'company_id = "COM1" # COM..., the company the texts are sent for\n'
        'tracking_number = "+12025550122" # the CallRail number that sends the texts\n'
    )


def test_writing_what_is_there_changes_nothing(tmp_path: Path) -> None:
    """Not even a list that is laid out over several lines."""
    path = tmp_path / "config.toml"
    text = "[server]\ntrusted_proxies = [\n  '::1/128', # us\n]\n[[routes]]\nteam_id = '7' # seven\n"
    path.write_text(text)

    update(path, {"server": {"trusted_proxies": ["::1/128"]}, "routes": [{"team_id": "7"}]})

    assert text == path.read_text()


def test_table_can_be_taken_out(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("[limits]\nper_hour = 1\n[log]\nlevel = 'debug'\n")

    update(path, {"limits": None, "guards": None})

    assert "[log]\nlevel = 'debug'\n" == path.read_text()


@posix_only
def test_settings_file_is_private(tmp_path: Path) -> None:
    """The file and the directories made for it are closed to others."""
    path = tmp_path / "new" / "config.toml"

    update(path, {"callrail": OWN})

    assert (0o600, 0o700) == (mode(path), mode(path.parent))


def test_broken_file_is_not_touched(tmp_path: Path) -> None:
    """What cannot be read is reported, and not changed."""
    path = tmp_path / "config.toml"
    for text, words in (("[limits\n", "is not valid TOML"), ("limits = 5\n", "limits in the settings file")):
        path.write_text(text)

        with pytest.raises(SettingsError, match=words):
            update(path, {"limits": {"per_hour": 1}})

        assert text == path.read_text()


def test_inline_table_takes_a_key(tmp_path: Path) -> None:
    """Without a comment, which would hide the bracket."""
    path = tmp_path / "config.toml"
    path.write_text("limits = { per_hour = 1 } # slow\n")

    update(path, {"limits": {"per_day": 2}})

    assert (1, 2) == (load(path).limits.per_hour, load(path).limits.per_day)


def test_full_disk_is_told(tmp_path: Path) -> None:
    """The old file stays, and nothing else does."""
    path = tmp_path / "config.toml"
    path.write_text("[limits]\nper_hour = 1\n")

    with (
        full_disk(),
        pytest.raises(SettingsError, match=r"The settings file .*config\.toml can't be written: "),
    ):
        update(path, {"limits": {"per_hour": 2}})

    assert 1 == load(path).limits.per_hour
    assert [] == list(tmp_path.glob(".config*"))


def test_routes_that_stay_keep_their_comments(tmp_path: Path) -> None:
    """However their ids are written, and whatever is added after them or taken out between them."""
    path = tmp_path / "config.toml"
    path.write_text(
        "[[routes]] # Texas\nteam_id = 7 # seven\n\n[[routes]]\nteam_id = '8' # eight\n[server]\nport = 1\n"
    )

    update(path, {"routes": [{"team_id": "7"}, {"team_id": "8"}, {"sender_id": "9"}]})
    assert "# Texas\nteam_id = 7 # seven\n\n[[routes]]\nteam_id = '8' # eight\n" in path.read_text()
    update(path, {"routes": [{"team_id": "8"}, {"sender_id": "9"}]})

    text = path.read_text()
    assert "seven" not in text
    assert "team_id = '8' # eight" in text
    assert {"routes": [{"team_id": "8"}, {"sender_id": "9"}], "server": {"port": 1}} == tomllib.loads(text)
    # In another order they are written anew.
    update(path, {"routes": [{"sender_id": "9"}, {"team_id": "8"}]})
    assert [{"sender_id": "9"}, {"team_id": "8"}] == tomllib.loads(path.read_text())["routes"]
