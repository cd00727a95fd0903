from dataclasses import dataclass, replace

import pytest

from callrail_relay.domain.routing import NamedEntry, NumberEntry
from callrail_relay.errors import RefusedByCallRail, SecretError
from callrail_relay.service.setup import (
    Choice,
    Question,
    ask_for_account,
    ask_for_company,
    ask_for_number,
    read_key,
)

pytestmark = pytest.mark.anyio

FIRST = NamedEntry("ACC1a", "First Account", "123456789")
SECOND = NamedEntry("ACC2b", "Second Account", None)
COMPANY = NamedEntry("COM1", "Example Co")
MAIN = NumberEntry("+12025550133", "Main line", "COM1", pooled=False)
POOLED = NumberEntry("+12025550134", "Visitors", "COM1", pooled=True)


@dataclass
class Scripted:
    """A CallRail that offers this."""

    all_accounts: tuple[NamedEntry, ...] = (FIRST, SECOND)
    all_companies: tuple[NamedEntry, ...] = (COMPANY,)
    all_numbers: tuple[NumberEntry, ...] = (MAIN, POOLED)

    async def accounts(self) -> list[NamedEntry]:
        return list(self.all_accounts)

    async def companies(self, account_id: str) -> list[NamedEntry]:
        return list(self.all_companies) if account_id == FIRST.id else []

    async def numbers(self, account_id: str, company_id: str | None = None) -> list[NumberEntry]:
        return list(self.all_numbers) if (account_id, company_id) == (FIRST.id, COMPANY.id) else []


def in_advance(question: Question, given: str | None) -> tuple[str, str] | None:
    answer = question.in_advance(given)
    return None if answer is None else (answer[0].value, answer[1])


async def test_nothing_is_chosen_among_several() -> None:
    """The first of several is as good as any other: a person must say."""
    assert in_advance(await ask_for_account(Scripted()), None) is None


async def test_only_choice_is_taken_with_its_reason() -> None:
    """No question is asked if there is nothing to choose."""
    question = await ask_for_company(Scripted(), FIRST.id)

    assert ("COM1", "the only one there is") == in_advance(question, None)


@pytest.mark.parametrize("given", ["ACC1a", " acc1A ", "123456789", "123-456-789"])
async def test_account_is_found_by_either_id(given: str) -> None:
    """The nine digits of CallRail's pages lead to the ACC id."""
    question = await ask_for_account(Scripted())

    assert ("ACC1a", "as given with --account-id") == in_advance(question, given)


@pytest.mark.parametrize("given", ["+12025550134", "202-555-0134", "(202) 555 0134", "12025550134"])
async def test_number_is_found_however_it_is_written(given: str) -> None:
    question = await ask_for_number(Scripted(), FIRST.id, COMPANY.id)

    assert ("+12025550134", "as given with --tracking-number") == in_advance(question, given)


@pytest.mark.parametrize("given", ["ACC3", "987654321", "", "None"])
async def test_unknown_account_is_refused_by_its_name(given: str) -> None:
    """An account without a number is not found by an empty one."""
    question = await ask_for_account(Scripted())

    with pytest.raises(RefusedByCallRail, match=f"the account {given}; give --account-id one from the list"):
        question.in_advance(given)


@pytest.mark.parametrize("given", ["+1 202 555 0177", "lobby"])
async def test_unknown_number_is_refused_as_it_was_typed(given: str) -> None:
    question = await ask_for_number(Scripted(), FIRST.id, COMPANY.id)

    with pytest.raises(RefusedByCallRail) as refused:
        question.in_advance(given)

    assert f"This API key can't use the tracking number {given}; " in str(refused.value)


async def test_nothing_to_choose_names_the_remedy() -> None:
    """Each step says what is missing in CallRail and how to get it."""
    nobody = Scripted(all_accounts=(), all_companies=(), all_numbers=())
    questions = {
        "can't see any account": await ask_for_account(nobody),
        "no active company": await ask_for_company(nobody, FIRST.id),
        "turn on texting": await ask_for_number(nobody, FIRST.id, COMPANY.id),
    }

    for words, question in questions.items():
        with pytest.raises(RefusedByCallRail, match=words):
            question.in_advance("whatever was given")


async def test_pooled_numbers_are_marked() -> None:
    """A number that CallRail may take away is marked in the list."""
    numbers = await ask_for_number(Scripted(), FIRST.id, COMPANY.id)

    assert (
        "+12025550133  Main line",
        "+12025550134  Visitors (from a session pool: CallRail may reassign it)",
    ) == tuple(choice.line for choice in numbers.choices)


async def test_account_numbers_are_listed() -> None:
    """People know the number that CallRail's pages show."""
    accounts = await ask_for_account(Scripted())

    assert [
        "ACC1a  First Account (account number 123456789)",
        "ACC2b  Second Account",
    ] == [choice.line for choice in accounts.choices]
    assert "COM9" == Choice("COM9", "").line


@pytest.mark.parametrize(
    ("answer", "chosen"),
    [
        ("1", "ACC1a"),
        (" 2 ", "ACC2b"),
        ("123456789", "ACC1a"),
        ("ACC2b", "ACC2b"),
        ("second  account", "ACC2b"),
        ("first", "ACC1a"),
    ]
    + [(wrong, None) for wrong in ("0", "3", "-1", "²", "", "account")],
)
async def test_answer_is_a_place_in_the_list_a_value_or_a_name(answer: str, chosen: str | None) -> None:
    choice = (await ask_for_account(Scripted())).answered(answer)

    assert chosen == (choice and choice.value)


async def test_name_of_two_is_the_answer_for_neither() -> None:
    twins = Scripted(all_companies=(COMPANY, replace(COMPANY, id="COM2")))

    assert (await ask_for_company(twins, FIRST.id)).answered("Example Co") is None


@pytest.mark.parametrize(
    "pasted",
    [
        "0123abc",
        "  0123abc\r\n",
        "\ufeff0123abc\n",
        'Token token="0123abc"',
        "token token=0123abc",
        'Authorization: Token token="0123abc"',
        '"Authorization: Bearer 0123abc"',
        "Bearer 0123abc",
        "'0123abc'",
        "\N{LEFT DOUBLE QUOTATION MARK}0123abc\N{RIGHT DOUBLE QUOTATION MARK}",
        "\x160123abc\n",
    ],
)
def test_key_is_read_out_of_what_people_copy(pasted: str) -> None:
    """The Zap that the relay replaces shows the key as part of a header."""
    assert "0123abc" == read_key(pasted)


@pytest.mark.parametrize("pasted", ["", " \n", "\ufeff", "\x16", "\x16\x16\n", 'Token token=""'])
def test_empty_key_is_refused(pasted: str) -> None:
    """In a hidden question, some windows of Windows take Ctrl-V for a character."""
    with pytest.raises(SecretError, match=r"is empty.*right-click"):
        read_key(pasted)


@pytest.mark.parametrize("pasted", ["0123 abc", "0123\nabc", "0123é", '0123"abc', "0123\x00"])
def test_what_cannot_be_a_key_is_refused_unshown(pasted: str) -> None:
    """What would break the header is rejected before it gets there, and not repeated."""
    with pytest.raises(SecretError, match="Copy the key again") as refused:
        read_key(pasted)

    assert "0123" not in str(refused.value)
