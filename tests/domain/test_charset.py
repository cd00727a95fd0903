"""Words arrive as they were written, whatever the label says about their bytes."""

import contextlib
import json
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from callrail_relay.domain.charset import UnparsedError, decode, label
from callrail_relay.domain.payload import Payload, read_request
from callrail_relay.sentences import explain

FORM = "application/x-www-form-urlencoded"
WORDS = "Don’t worry, Señor 😀"  # noqa: RUF001 - as phones write it
LABELS = [
    "iso-8859-1",
    "windows-1252",
    "us-ascii",
    "utf-16",
    "utf-16le",
    "utf-32",
    "shift_jis",
    "gbk",
    "koi8-r",
    "iso-2022-jp",
    "utf-7",
    "base64",
    "klingon",
    "",
]


def message(data: bytes, content_type: str | None) -> str | None:
    (entry,) = read_request(data, content_type=content_type)
    assert isinstance(entry, Payload)
    assert () == entry.faults
    return entry.message


def faults(data: bytes, content_type: str | None) -> str:
    (entry,) = read_request(data, content_type=content_type)
    return " ".join(map(explain, entry.faults if isinstance(entry, Payload) else [entry]))


@given(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1),
    st.sampled_from(LABELS),
)
@example(WORDS, "iso-8859-1")
def test_utf_8_is_utf_8_under_any_label(text: str, name: str) -> None:
    """Case 05: a client that labels everything ISO-8859-1 still sends UTF-8, in JSON and in forms."""
    data = json.dumps({"message": text}, ensure_ascii=False).encode()
    form = f"message={quote(text)}".encode()

    assert text == message(data, f"application/json; charset={name}")
    assert text == message(form, f"{FORM}; charset={name}")


@pytest.mark.parametrize(
    ("name", "encoding", "text"),
    [
        ("ISO-8859-1", "cp1252", "“Café”, 5 €"),
        ("ISO-8859-1", "cp1252", "« Café »… “José”… ½ acre, 50°, „viel Spaß“"),
        ("latin1", "cp1252", "Señor"),
        ("iso-8859-15", "iso8859_15", "5 € à Genève"),
        ("windows-1251", "cp1251", "Привет"),
        ("koi8-r", "koi8_r", "Привет"),
        ("koi8-r", "koi8_r", "ребёнок"),
        ("windows-1251", "cp1251", "Гёте"),
        ("windows-1251", "cp1251", "срџба"),
        ("iso-8859-5", "iso8859_5", "ГОТОВ"),
        ("windows-1256", "cp1256", "آپ کا گھر"),
        ("windows-1250", "cp1250", "Příliš, „żółć“"),
        ("windows-1250", "cp1250", "ROMÂNĂ, dacă"),
        ("iso-8859-9", "cp1254", "İyi günler, hâlâ Şeyma"),
        ("iso-8859-1", "cp1252", "AMANHÃ, São Paulo, Það er"),
        ("tis-620", "cp874", "สวัสดีครับ"),
        ("macintosh", "mac_roman", "Café"),
        ("shift_jis", "cp932", "こんにちは"),
        ("x-sjis", "cp932", "こんにちは"),
        ("iso-2022-jp", "iso2022_jp", "こんにちは"),
        ("gb2312", "gb18030", "你好"),
        ("gb2312", "gb18030", "什么时候方便"),
        ("euc-kr", "cp949", "안녕하세요"),
    ],
)
def test_other_text_is_read_as_its_label_says(name: str, encoding: str, text: str) -> None:
    """What is not UTF-8 is in the character set that its label means in practice, escaped or not."""
    data = json.dumps({"message": text}, ensure_ascii=False).encode(encoding)

    assert text == message(data, f"application/json; charset={name}")
    assert text == message(f"message={text}".encode(encoding), f"{FORM}; charset={name}")
    assert text == message(f"message={quote(text, encoding=encoding)}".encode(), f"{FORM}; charset={name}")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("content_type", ["", "; charset=utf-16", "; charset=utf-8", "; charset=iso-8859-1"])
def test_wide_text_is_told_by_its_nuls(encoding: str, content_type: str) -> None:
    """UTF-16 and UTF-32 need neither a label nor a mark; plain letters in them are not taken for UTF-8."""
    for text in ("Hello", WORDS):
        data = json.dumps({"message": text}, ensure_ascii=False)
        assert text == message(data.encode(encoding), f"application/json{content_type}")
        assert text == message(f"message={quote(text)}".encode(encoding), f"{FORM}{content_type}")


@pytest.mark.parametrize(
    ("data", "content_type", "words"),
    [
        (b'{"message":"Caf\xe9"}', "application/json", "valid UTF-8 from byte 16 on"),
        (b'{"message":"\x81\xe9"}', "application/json; charset=latin1", "valid CP1252"),
        (
            b'{"message":"Don\xe2\x80\x99t","seller":"\xe9"}',
            "application/json; charset=latin1",
            "valid UTF-8 from byte 32 on",
        ),
        (b'{"message":"Caf\xe9 Don\x92t"}', "application/json; charset=iso-8859-15", "15 from byte 21 on"),
        (b"message=Don%E2%80%99t+%E9", f"{FORM}; charset=latin1", "broken"),
        (b"message=Caf%E9", FORM, "broken"),
        (b"\xff\xfe{", "application/json", "valid UTF-16"),
        (b'{\0"\0m', "application/json", "valid UTF-16-LE"),
    ],
)
def test_what_is_neither_is_on_hold(data: bytes, content_type: str, words: str) -> None:
    """The reason is true, and names the byte to look at."""
    assert words in faults(data, content_type)


@pytest.mark.parametrize(
    "name",
    ["iso-8859-1", "windows-1250", "windows-1254", "iso-8859-9", "iso-8859-15", "macintosh", "gbk", "koi8-r"],
)
@pytest.mark.parametrize(
    "words",
    [
        b"Don\xe2\x80\x99t worry \xf0\x9f",
        b"cut emoji \xf0\x9f\x98",
        b"cut dash \xe2\x80",
        "Вы ещё продаёте дом".encode()[:-1],
        "您还想卖房子吗".encode()[:-1],
    ],
)
def test_broken_utf_8_is_not_taken_for_its_label(name: str, words: bytes) -> None:
    """A program that cuts a text by its bytes leaves a part of a character, and never mojibake."""
    escaped = quote(words).encode()

    assert "UTF-8" in faults(b'{"message":"' + words + b'"}', f"application/json; charset={name}")
    assert "broken" in faults(b"message=" + escaped + b"&seller_phone=1", f"{FORM}; charset={name}")


@pytest.mark.parametrize("name", ["windows-1252", "windows-1250", "iso-8859-15", "macintosh"])
@pytest.mark.parametrize(
    "words",
    [
        b"Price\xc2\xa05 \xc2\xbd acre caf\xe9",
        b"Se\xc3\xb1or caf\xe9",
        b"\xe2\x98\x85 \xe9",
        b"Buenos d\xc3",
        b"Bye! \xf0",
        b"Offer \xe2 today",
    ],
)
def test_utf_8_in_part_is_on_hold(name: str, words: bytes) -> None:
    """Two programs wrote it, or one byte is left of a character, where no letter of a word can be."""
    assert "UTF-8" in faults(b'{"message":"' + words + b'"}', f"application/json; charset={name}")


@pytest.mark.parametrize(
    "name", ["base64", "hex", "rot13", "unicode-escape", "idna", "punycode", "mbcs", "utf-7"]
)
def test_only_character_sets_are_labels(name: str) -> None:
    """Python knows more codecs than the web does."""
    assert label(f"text/plain; charset={name}") is None


@given(st.binary(max_size=60), st.sampled_from(LABELS))
def test_any_bytes_are_text_or_a_fault(data: bytes, name: str) -> None:
    """Nothing else comes out."""
    with contextlib.suppress(UnparsedError):
        assert isinstance(decode(data, f"text/plain; charset={name}"), str)
