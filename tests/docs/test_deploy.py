"""The files for running two nodes: they fit each other, and the settings know all that they set."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml  # type: ignore[import-untyped]  # comes with apprise

from callrail_relay.config.loading import load
from callrail_relay.config.secrets import SecretName
from tests.docs.markdown import DOCS, ROOT

DEPLOY = DOCS / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
NODES = ("node1", "node2")
GIVEN = {"SITE": "texts.example.com", "POSTGRES_PASSWORD": "made-up"}
"""What the page has in `.env`."""


def environment(service: str) -> dict[str, str]:
    """What a service finds in its environment, once `.env` is filled in."""
    return {
        name: re.sub(r"\$\{(\w+):\?[^}]*\}", lambda match: GIVEN[match[1]], value)
        for name, value in SERVICES[service]["environment"].items()
    }


@pytest.fixture
def example() -> dict[str, str]:
    """The names in the example of relay.env, with something in each."""
    names = re.findall(r"^(\w+)=$", (DEPLOY / "relay.env.example").read_text(encoding="utf-8"), re.MULTILINE)
    filled = {
        "CALLRAIL_RELAY_CALLRAIL__ACCOUNT_ID": "ACC1",
        "CALLRAIL_RELAY_CALLRAIL__COMPANY_ID": "COM1",
        "CALLRAIL_RELAY_CALLRAIL__TRACKING_NUMBER": "+12025550100",
        "CALLRAIL_RELAY_CALLRAIL__ACCEPTED_TERMS": "true",
    }
    return {name: filled.get(name, "a secret") for name in names}


@pytest.mark.parametrize("node", NODES)
def test_the_settings_know_all_that_a_node_is_told(
    node: str, example: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each variable sets something, and with it the node could start."""
    told = example | environment(node)
    for name, value in told.items():
        monkeypatch.setenv(name, value)

    settings = load()

    secrets = {one.variable for one in SecretName}
    assert all(name.startswith("CALLRAIL_RELAY_") or name in secrets | {"PGPASSWORD"} for name in told)
    assert {"CALLRAIL_API_KEY", "CALLRAIL_RELAY_HOOK_TOKEN"} <= secrets & example.keys()
    assert settings.callrail.accepted_terms
    assert settings.callrail.route is not None
    assert f"https://{GIVEN['SITE']}" == settings.server.public_url
    assert "0.0.0.0" == settings.server.host
    assert "hold" == settings.guards.duplicate


def test_the_services_find_each_other() -> None:
    """The nodes trust the proxy's address and know the database's name; the proxy knows the nodes' ports."""
    database = environment("db")
    proxies = (DEPLOY / "Caddyfile").read_text(encoding="utf-8")
    for node in NODES:
        told = environment(node)
        address = sa.make_url(told["CALLRAIL_RELAY_DATABASE__URL"])
        assert ("db", database["POSTGRES_USER"], database["POSTGRES_DB"]) == (
            address.host,
            address.username,
            address.database,
        )
        assert database["POSTGRES_PASSWORD"] == told["PGPASSWORD"]
        trusted = told["CALLRAIL_RELAY_SERVER__TRUSTED_PROXIES"]
        assert SERVICES["proxy"]["networks"]["default"]["ipv4_address"] == trusted
    assert "{$NODES:node1:8787 node2:8787}" in proxies
    assert environment("proxy").keys() <= set(re.findall(r"\{\$(\w+):", proxies))


def test_the_files_that_are_named_are_there() -> None:
    """What the image is built from, and the directory in which a node keeps its own files."""
    image = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    [data] = re.findall(r"^ENV CALLRAIL_RELAY_DATA=(\S+)", image, re.MULTILINE)
    [extras] = re.findall(r'pip install .*"/build\[([\w,]+)\]"', image)
    known = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert set(extras.split(",")) <= known["optional-dependencies"].keys()
    copied = {
        source
        for sources in re.findall(r"^COPY (.+) /\S*$", image, re.MULTILINE)
        for source in sources.split()
    }
    assert all((ROOT / source).exists() for source in copied)
    handed_over = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()[1:]
    assert ["*", *sorted(f"!{source}" for source in copied)] == sorted(
        handed_over, key=lambda line: (line != "*", line)
    )
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert {"/docs/deploy/.env", "/docs/deploy/relay.env"} <= set(ignored)
    for node in NODES:
        build = SERVICES[node]["build"]
        assert ROOT == (DEPLOY / build["context"]).resolve()
        assert (ROOT / build["dockerfile"]).is_file()
        assert [f"{node}:{data}"] == SERVICES[node]["volumes"]
    mounted = [volume.split(":")[0] for service in SERVICES.values() for volume in service["volumes"]]
    assert {one for one in mounted if not one.startswith(".")} == COMPOSE["volumes"].keys()
    assert all((DEPLOY / one).is_file() for one in mounted if one.startswith("."))
    assert (DEPLOY / "relay.env.example").name == f"{SERVICES['node1']['env_file']}.example"


def test_containers_can_do_nothing_but_their_task() -> None:
    """They write to volumes and /tmp only, get no new rights, and start from images that can't change."""
    image = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    [base] = re.findall(r"^ARG PYTHON=(\S+)", image, re.MULTILINE)

    assert ["10001"] == re.findall(r"^USER (\S+)", image, re.MULTILINE)
    assert {"${PYTHON}"} == set(re.findall(r"^FROM (\S+)", image, re.MULTILINE))
    named = [base, *(SERVICES[name]["image"] for name in SERVICES if name not in NODES)]
    assert all(re.fullmatch(r"[a-z]+:[\w.-]+@sha256:[0-9a-f]{64}", one) for one in named)
    for name, service in SERVICES.items():
        assert service["read_only"], name
        assert ["ALL"] == service["cap_drop"], name
        assert ["no-new-privileges:true"] == service["security_opt"], name
        assert "/tmp" in service["tmpfs"], name
    assert {"proxy": ["NET_BIND_SERVICE"]} == {
        name: service["cap_add"] for name, service in SERVICES.items() if "cap_add" in service
    }


def test_the_page_gives_what_must_be_set() -> None:
    """Both words of `.env`, as its steps write them."""
    page = (DOCS / "how-to" / "two-nodes.md").read_text(encoding="utf-8")
    wanted = set(re.findall(r"\$\{(\w+):\?", Path(DEPLOY / "compose.yaml").read_text(encoding="utf-8")))

    assert GIVEN.keys() == wanted
    assert all(f'echo "{name}=' in page for name in wanted)
