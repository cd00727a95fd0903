"""Opt-outs in people's own words, and ordinary replies that hold the same words."""

from time import process_time
from timeit import timeit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callrail_relay.domain.opt_keywords import OptKeyword, read_opt_keyword
from tests.domain.opt_rates import HALVES, measure, read_replies

STOPS = ("STOP", "STOPALL", "END", "CANCEL", "UNSUBSCRIBE", "QUIT", "REVOKE", "OPTOUT", "OPT OUT", "OPT-OUT")
STOP, MAYBE, START, YES = OptKeyword.STOP, OptKeyword.MAYBE_STOP, OptKeyword.START, OptKeyword.YES


@pytest.mark.parametrize("half", HALVES)
def test_clear_opt_outs_are_found(half: str) -> None:
    """At least 98 % of them; of the rest none in a hundred passes unseen."""
    rates = measure(read_replies(f"{half}_opt_outs"))

    assert rates.clear >= 0.98
    assert rates.clear + rates.doubtful >= 0.99


@pytest.mark.parametrize("half", HALVES)
def test_ordinary_replies_are_let_alone(half: str) -> None:
    """At most 0.2 % are taken for an opt-out, and less than 1 % are put to the owner."""
    rates = measure(read_replies(f"{half}_ordinary"))

    assert rates.clear <= 0.002
    assert rates.doubtful < 0.01


def test_doubtful_replies_are_never_passed_over() -> None:
    """What a person cannot tell for certain is at least put to the owner."""
    assert [] == [reply for reply in read_replies("doubtful") if read_opt_keyword(reply) is None]


def test_the_corpus_is_large_enough() -> None:
    """300 opt-outs and 1,000 ordinary replies, no reply in both halves."""
    for kind, wanted in (("opt_outs", 300), ("ordinary", 1000)):
        tuned, held_out = (read_replies(f"{half}_{kind}") for half in HALVES)
        assert len({*tuned, *held_out}) == len(tuned) + len(held_out) >= wanted


@pytest.mark.parametrize("word", STOPS)
@pytest.mark.parametrize(
    "shape", ["{}", "{}.", " {}!! \n", "“{}”", "({})", "\u200b{}\u200f", "{} 🙏", "__{}__"]
)
def test_a_keyword_alone_counts(word: str, shape: str) -> None:
    """In any case, whatever punctuation, white space or unseen marks are around them."""
    for cased in (word, word.lower(), word.capitalize()):
        assert STOP is read_opt_keyword(shape.format(cased))


@pytest.mark.parametrize(
    ("reply", "keyword"),
    [
        ("Stop\n\nSent from my iPhone", STOP),
        ("STOP - John", STOP),
        ("Stop. Thanks, Pam", STOP),
        ("STOP!!! please", STOP),
        ("stop stop stop", STOP),
        ("Stop texting me", STOP),
        ("\uff33\uff34\uff2f\uff30", STOP),
        ("S T O P", STOP),
        ("S.T.O.P.", STOP),
        ("Stop plz and thank u", STOP),
        (" " * 100_000 + "stop", STOP),
        ("." * 100_000, None),
        ("ARRET", STOP),
        ("Arrêtez, s'il vous plaît", STOP),
        ("DÉSABONNER", STOP),
        ("no me envíe más mensajes", STOP),
        ("wrong number, stop texting", STOP),
        ("Do not send me any more messages. Call my attorney.", STOP),
        ("Stop these", MAYBE),
        ("Txt stop", MAYBE),
        ("Don't text me, call me", MAYBE),
        ("stop before you get sued", MAYBE),
        ("I want you 2 stop", MAYBE),
        ("stpo", MAYBE),
        ("st0p", MAYBE),
        ("leave me alone", MAYBE),
        ("Not at this number, call my wife", MAYBE),
        ("🛑", MAYBE),
        ("I want out of these messages", MAYBE),
        ("start", START),
        ("Unstop!", START),
        ("YES", YES),
        ("yes please", None),
        ("start the paperwork", None),
        ("Please stop by tomorrow", None),
        ("is this the end unit", None),
        ("I'll cancel my 3pm", None),
        ("can you stop at the bank", None),
        ("Stop tonight if you want", None),
        ("I don't have permission to sell yet", None),
        ("The house was reported as vacant", None),
        ("Quit-Claim", None),
        ("Cancel\nFriday", None),
        ("don't stop, tell me more", None),
        ("Liked “Is 9 good for you? Reply STOP to opt out”", None),
        ("Thanks for your text. Reply STOP to cancel.", None),
        ("", None),
        (None, None),
        ("🏠", None),
        ("\u200b", None),
    ],
)
def test_what_a_reply_says(reply: str | None, keyword: OptKeyword | None) -> None:
    """A keyword in any dress counts, and so does a sentence; the same words in another sense do not."""
    assert keyword is read_opt_keyword(reply)


@pytest.mark.parametrize(
    "reply",
    [
        "STOP - " + "A" * 2000 + " b",
        "STOP - " + "A b" * 600,
        "“a" + " " * 1990 + "“ b",
        "STOP" + " | " * 600,
        "stop " * 400,
        "“" * 2000,
        "Stop, " + "de la " * 300,
        "\n" * 2000,
        "STOP" + "-" * 1990,
    ],
)
def test_no_reply_keeps_the_relay_busy(reply: str) -> None:
    """Any stranger can send one."""
    assert timeit(lambda: read_opt_keyword(reply), number=1, timer=process_time) < 0.5


@given(st.text(max_size=3000))
def test_nothing_that_a_person_writes_breaks_it(reply: str) -> None:
    """Any text has an answer."""
    read_opt_keyword(reply)
