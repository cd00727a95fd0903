"""The wizard, typed into as a person does."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from callrail_relay.callrail.simulator import Simulator
from callrail_relay.sentences import STEPS
from tests.acceptance.program import Program
from tests.acceptance.terminal import Terminal
from tests.callrail.simulated import KEY, make_simulator
from tests.cli.served import served
from tests.support.secret_service import secret_service
from tests.support.simulator import add_company, add_tracker

# The child is replaced by the program at once, so no lock of another thread can hold it up.
pytestmark = pytest.mark.filterwarnings("ignore:.*use of forkpty:DeprecationWarning")

CTRL_C = "\x03"
CTRL_D = "\x04"


@pytest.fixture
def simulator() -> Simulator:
    """Two companies, the second with its own number and a pool."""
    simulator = make_simulator()
    second = add_company(simulator, name="Second Co")
    add_tracker(simulator, company_id=second.id, name="Visitors", pool=1)
    add_tracker(simulator, company_id=second.id, name="Website")
    return simulator


@pytest.fixture
def api_url(simulator: Simulator) -> Iterator[str]:
    with served(simulator) as url:
        yield url


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "relay.toml"


class Wizard:
    """``configure`` on a terminal."""

    def __init__(self, program: Program, config: Path, *options: str) -> None:
        arguments = ("configure", "--config", str(config), *options)
        self._terminal = Terminal(program, *arguments, env={"TERM": "dumb"}, rows=50, columns=300)

    def answer(self, question: str, answer: str) -> None:
        self._terminal.expect(question)
        self._terminal.press(answer, "\n")

    def press(self, question: str, key: str) -> None:
        self._terminal.expect(question)
        self._terminal.press(key)

    def end(self) -> tuple[int, str]:
        """The exit code, and all that was seen, without its colours."""
        code, seen = self._terminal.end()
        return code, re.sub("\x1b\\[[0-9;]*m", "", seen).replace("\r\n", "\n")


def accept_and_give_key(wizard: Wizard) -> None:
    wizard.answer('Type "yes" to accept this:', "yes")
    wizard.answer("paste it):", KEY)


def set_up_second_company(program: Program, api_url: str, config: Path, *, address: str = "") -> str:
    """A first run that chooses the second company and its second number; all that was seen."""
    wizard = Wizard(program, config, "--api-url", api_url, "--secrets-file")
    accept_and_give_key(wizard)
    wizard.answer("Which company?", "2")
    wizard.answer("Which tracking number?", "2")
    wizard.answer("Public URL", address)
    wizard.answer("for a test text", "")
    code, seen = wizard.end()
    assert 0 == code, seen
    return seen


def test_wizard_leads_from_key_to_url(
    program: Program, simulator: Simulator, api_url: str, config: Path
) -> None:
    """Five steps: the settings hold what was chosen, a text has gone out, and the key was never seen."""
    wizard = Wizard(program, config, "--api-url", api_url, "--secrets-file")
    wizard.answer('Type "yes" to accept this:', "y")
    accept_and_give_key(wizard)
    wizard.answer("Which company? 1 to 2, or its name:", "7")
    wizard.answer("Which company? 1 to 2, or its name:", "second")
    wizard.answer("Which tracking number? 1 to 2, or its name:", "1")
    wizard.answer("Public URL", "ssh")
    wizard.answer("Public URL", "y")
    wizard.answer("Public URL", "texts.example.com")
    wizard.answer("for a test text", "555")
    wizard.answer("for a test text", "202-555-0122")
    code, seen = wizard.end()

    assert 0 == code, seen
    assert KEY not in seen
    assert "Account: ACC00000000000000000000000000000001  Example Account" in seen
    steps = re.findall(r"^Step (\d of 5: .+)$", seen, re.MULTILINE)
    assert [f"{number} of 5: {title}" for number, title in enumerate(STEPS.values(), 1)] == steps
    assert 'Type the whole word "yes"' in seen
    assert re.search(r"First run: \d of 5 steps done", seen)
    assert "✓ Test text" in seen
    assert "Answer with a number from 1 to 2, or a name" in seen
    assert "isn't a valid US/Canada phone number" in seen
    assert "--to" not in seen
    assert "callrail-relay expose ssh USER@HOST" in seen
    assert ["+12025550122"] == [one.customer for one in simulator.conversations.values()]
    assert "Write it like this: https://texts.example.com" in seen
    callrail = tomllib.loads(config.read_text("utf-8"))["callrail"]
    company, website = list(simulator.companies)[1], list(simulator.trackers.values())[2]
    assert (company, website.tracking_numbers[0]) == (callrail["company_id"], callrail["tracking_number"])
    url = program.run("hook-url", "--config", str(config)).stdout
    assert url.startswith("https://texts.example.com/hooks/if3/")
    assert url in seen


def test_refused_key_is_asked_for_again(program: Program, api_url: str, config: Path) -> None:
    """Also one that can't be a key; and a key is taken as people copy it."""
    wizard = Wizard(program, config, "--api-url", api_url, "--secrets-file")
    wizard.answer("accept this:", "yes")
    wizard.answer("paste it):", "not a key")
    wizard.answer("paste it):", "0123456789abcdef")
    wizard.answer("paste it):", f'Authorization: Bearer "{KEY}"')
    wizard.answer("Which company?", "1")
    wizard.answer("Public URL", "")
    wizard.answer("for a test text", "")
    code, seen = wizard.end()

    assert 0 == code, seen
    assert "The CallRail API key has a space" in seen
    assert "CallRail doesn't recognize this API key (401)." in seen
    assert KEY in config.with_name("secrets.toml").read_text("utf-8")


def test_fault_of_a_later_step_is_said_and_asked_again(
    program: Program, simulator: Simulator, api_url: str, config: Path
) -> None:
    """No tunnel program, and a key that may not send: what is set up stays."""
    simulator.read_only = True
    wizard = Wizard(program, config, "--api-url", api_url, "--secrets-file")
    accept_and_give_key(wizard)
    wizard.answer("Which company?", "1")
    wizard.answer("Public URL", "tailscale")
    wizard.answer("Public URL", "")
    wizard.answer("for a test text", "202-555-0122")
    wizard.answer("for a test text", "")
    code, seen = wizard.end()

    assert 0 == code, seen
    assert "https://tailscale.com/download" in seen
    assert "403" in seen
    assert config.exists()


def test_second_run_resumes_sending_if_the_person_agrees(
    program: Program, simulator: Simulator, api_url: str, config: Path
) -> None:
    """A key that couldn't send has paused it; the test text of the second run would only wait."""
    set_up_second_company(program, api_url, config)
    simulator.read_only = True
    program.run("send", "--config", str(config), "--to", "+12025550122", "--message", "Hello")
    simulator.read_only = False
    second = Wizard(program, config)
    second.answer("paste it):", "")
    second.answer("Which company?", "")
    second.answer("Which tracking number?", "")
    second.answer("Public URL", "")
    second.answer("Sending is still paused. Resume it now?", "y")
    second.answer("for a test text", "202-555-0122")
    code, seen = second.end()

    assert 0 == code, seen
    assert "✓ Test text" in seen


def test_a_running_relay_needs_a_restart_to_use_another_number(
    program: Program, api_url: str, config: Path
) -> None:
    """The test text proves the new number, while IF3's texts still go out from the old one: so it's said."""
    set_up_second_company(program, api_url, config)
    ports = {"CALLRAIL_RELAY_DASHBOARD__PORT": "0"}
    with program.started("serve", "--config", str(config), "--port", "0", "--json", env=ports) as started:
        started.read_json()
        second = Wizard(program, config)
        second.answer("paste it):", "")
        second.answer("Which company?", "")
        second.answer("Which tracking number?", "1")
        second.answer("Public URL", "")
        second.answer("for a test text", "")
        code, seen = second.end()
    assert 0 == code, seen
    words = " ".join(seen.split())
    assert "The running relay keeps the old settings until you restart it." in words
    assert "stop `callrail-relay serve` and start it again" in words


def test_second_run_keeps_what_enter_keeps(program: Program, api_url: str, config: Path) -> None:
    """Enter at every question keeps key, choices, address and URL as they were."""
    before = set_up_second_company(program, api_url, config, address="https://texts.example.com")
    settings = config.read_text("utf-8")

    second = Wizard(program, config)
    second.answer("paste it):", "")
    second.answer("Enter for COM00000000000000000000000000000002  Second Co:", "")
    second.answer("Enter for +1", "")
    second.answer("Enter to keep https://texts.example.com:", "")
    second.answer("for a test text", "")
    code, after = second.end()

    assert 0 == code, after
    url = re.search(r"^https://texts\S+$", before, re.MULTILINE)
    assert url is not None
    assert url[0] in after
    assert settings == config.read_text("utf-8")


@pytest.mark.parametrize(
    ("question", "key"),
    [
        ("accept this:", CTRL_C),
        ("paste it):", CTRL_C),
        ("Which company?", CTRL_C),
        ("Which company?", CTRL_D),
    ],
)
def test_interrupted_wizard_writes_nothing(
    question: str, key: str, program: Program, api_url: str, config: Path
) -> None:
    """Ctrl-C, or the end of the input, ends every question with one line and 130."""
    wizard = Wizard(program, config, "--api-url", api_url, "--secrets-file")
    answers = {"accept this:": "yes", "paste it):": KEY, "Which company?": "1"}
    for asked, answer in answers.items():
        if asked == question:
            wizard.press(asked, key)
            break
        wizard.answer(asked, answer)
    code, seen = wizard.end()

    assert 130 == code
    assert seen.endswith("\nError: Interrupted.\n")
    assert "Traceback" not in seen
    assert not config.exists()
    assert not config.with_name("secrets.toml").exists()


def test_interrupted_later_step_keeps_what_is_saved(program: Program, api_url: str, config: Path) -> None:
    wizard = Wizard(program, config, "--api-url", api_url, "--secrets-file")
    accept_and_give_key(wizard)
    wizard.answer("Which company?", "1")
    wizard.press("Public URL", CTRL_C)
    code, seen = wizard.end()

    assert 130 == code
    assert f"Settings: {config}" in seen
    assert program.run("hook-url", "--config", str(config)).stdout


def test_terms_that_are_not_accepted_end_it(program: Program, api_url: str, config: Path) -> None:
    wizard = Wizard(program, config, "--api-url", api_url, "--secrets-file")
    wizard.answer("accept this:", "no")
    code, seen = wizard.end()

    assert 3 == code
    assert "You didn't accept this rule, so nothing was saved." in seen
    assert not config.exists()


def test_keyless_machine_is_offered_a_file(program: Program, api_url: str, config: Path) -> None:
    """Before anything else; a person who says no learns how to do it later."""
    refused = Wizard(program, config, "--api-url", api_url)
    refused.answer("that only you can read instead? [y/N]", "")
    code, seen = refused.end()

    assert 3 == code
    assert "callrail-relay configure --secrets-file" in seen
    assert not config.exists()

    wizard = Wizard(program, config, "--api-url", api_url)
    wizard.answer("that only you can read instead? [y/N]", "y")
    accept_and_give_key(wizard)
    wizard.answer("Which company?", "1")
    wizard.answer("Public URL", "")
    wizard.answer("for a test text", "")
    code, seen = wizard.end()

    assert 0 == code, seen
    assert f"API key: file {config.with_name('secrets.toml')}" in seen
    assert api_url == tomllib.loads(config.read_text("utf-8"))["callrail"]["api_url"]


def test_keyring_that_fails_at_the_end_costs_nothing(api_url: str, config: Path) -> None:
    """One that is locked while the key comes from the environment: what was typed till then counts."""
    folder = config.parent / "keyring"
    with secret_service(folder):
        pass
    with secret_service(folder, password=None) as environment:
        program = Program(environment | {"CALLRAIL_API_KEY": KEY}, config.parent)
        wizard = Wizard(program, config, "--api-url", api_url)
        wizard.answer('Type "yes" to accept this:', "yes")
        wizard.answer("Which company?", "1")
        wizard.answer("that only you can read instead? [y/N]", "y")
        wizard.answer("Public URL", "")
        wizard.answer("for a test text", "")
        code, seen = wizard.end()

    assert 0 == code, seen
    assert "OS keyring" in seen
    assert "With a file, the relay gets a new webhook URL" in seen
    assert f"Webhook secret: file {config.with_name('secrets.toml')}" in seen


def test_keyring_keeps_the_secrets(api_url: str, config: Path) -> None:
    """With the keyring of a Linux desktop no secret lies in a file, and the next command finds it."""
    with secret_service(config.parent / "keyring") as environment:
        program = Program(environment, config.parent)
        wizard = Wizard(program, config, "--api-url", api_url)
        accept_and_give_key(wizard)
        wizard.answer("Which company?", "1")
        wizard.answer("Public URL", "")
        wizard.answer("for a test text", "")
        code, seen = wizard.end()
        url = program.run("hook-url", "--config", str(config)).stdout

    assert 0 == code, seen
    assert "API key: OS keyring (SecretService Keyring)" in seen
    assert url.startswith("http://127.0.0.1:8787/hooks/if3/")
    assert url in seen
    assert not config.with_name("secrets.toml").exists()
