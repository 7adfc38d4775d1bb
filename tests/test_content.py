"""Bytes are decoded to the text they encode, or rejected with a reason."""

import codecs
import gzip
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, strategies as st

from ettin_cli.corpus.content import (
    decode,
    decoding,
    read_text,
    require_encoding,
    text_encoding,
)
from ettin_cli.corpus.encodings import is_utf8
from ettin_cli.errors import InvalidArgumentError
from ettin_cli.storage import UnreadableError
from tests.reading import one, why_not, write

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\ufeff"))
ENGLISH = "The keeper wrote down the weather at nine and again at noon, as he did every day. " * 4
POLISH = (
    "Zażółć gęślą jaźń, powiedział wędrowiec i usiadł pod drzewem. "
    "Książę słuchał długo, a potem odjechał bez słowa w stronę północy. "
)
RUSSIAN = "Смотритель маяка каждое утро записывал погоду в журнал, а вечером зажигал огонь. "
JAPANESE = "灯台守は毎朝、天気を日誌に書き、夕方には火を灯した。海は静かだった。"
TURKISH = (
    "Fener bekçisi her sabah havayı deftere yazdı, akşam olunca ışığı yaktı ve şarkı söyledi. "
)
GERMAN = "Der Wärter schrieb täglich auf,\nwie das schöne Wetter früher war.\n"
FRENCH = (
    "Le gardien du phare écrivait le temps chaque matin, et allumait le feu dès le soir tombé. "
)


@given(TEXT, st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]))
def test_what_was_written_is_read(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding)) == text


@given(TEXT, st.sampled_from([("utf-16-le", codecs.BOM_UTF16_LE), ("utf-16-be", b"\xfe\xff")]))
def test_both_orders_of_bytes_are_known_by_their_mark(
    text: str, encoding: tuple[str, bytes]
) -> None:
    name, mark = encoding
    assert decode(mark + text.encode(name)) == text


@given(st.lists(st.text("ab ", max_size=5)), st.sampled_from(["\n", "\r\n", "\r"]))
def test_all_line_ends_are_one(lines: list[str], end: str) -> None:
    assert decode(end.join(lines).encode()) == "\n".join(lines)


@given(st.binary(max_size=200))
def test_any_bytes_are_text_or_have_a_reason(some: bytes) -> None:
    try:
        text = decode(some)
    except UnreadableError as error:
        assert str(error)
    else:
        assert "\0" not in text
        assert is_utf8(text.encode())


# Texts in legacy encodings


@pytest.mark.parametrize(
    "words",
    [
        "café",
        "José",
        "naïve",
        "Größe",
        "façade",
        "Straße 5",
        "São Paulo",
        "El Niño is warm",
        "smörgåsbord",
        "25 °C",
        "½ cup",
        "10 £ each",
        "© 2004 Example",
        "a\xa0b",
        "it’s “quoted” – really…",
        "Übung macht den Meister",
    ],
)
def test_a_few_western_letters_are_western_in_a_short_text_and_in_a_long_one(words: str) -> None:
    assert decode(words.encode("cp1252")) == words
    text = ENGLISH + words + ENGLISH
    assert decode(text.encode("cp1252")) == text


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (POLISH, "cp1250"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8-r"),
        (TURKISH, "cp1254"),
        (FRENCH, "latin-1"),
        (JAPANESE, "shift_jis"),
        (JAPANESE, "euc_jp"),
    ],
)
def test_the_language_tells_the_encoding(text: str, encoding: str) -> None:
    assert decode((text * 3).encode(encoding)) == text * 3


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ('<meta charset="iso-8859-2"><p>Kůň</p>', "iso-8859-2"),
        ('<meta http-equiv="Content-Type" content="text/html; charset=koi8-r"><p>Да</p>', "koi8-r"),
        ('<?xml version="1.0" encoding="iso-8859-9"?><p>ışık</p>', "iso-8859-9"),
        ('<meta charset="shift_jis"><p>日本</p>', "shift_jis"),
        ("# -*- coding: iso-8859-15 -*-\nprice = '5 €'\n", "iso-8859-15"),
    ],
)
def test_a_text_that_tells_its_encoding_is_believed(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding)) == text


def test_a_text_that_tells_a_wrong_encoding_is_not() -> None:
    assert decode('<meta charset="utf-8"><p>caf\xe9 au lait</p>'.encode("cp1252")).endswith(
        "<p>café au lait</p>"
    )


@pytest.mark.parametrize(
    ("content", "text", "count", "line"),
    [
        (f"Wärter\n{GERMAN}a byte ~ too many".encode(), f"Wärter\n{GERMAN}a byte ~ too many", 1, 4),
        (GERMAN.encode()[:-1] + "ü".encode()[:1], GERMAN[:-1] + "~", 1, 2),
        (f"{ENGLISH}\n".encode() + b"\x81, \x8d", f"{ENGLISH}\n~, ~", 2, 2),
        (f"{FRENCH * 3}\n".encode("cp1252") + b"\x81 non", f"{FRENCH * 3}\n~ non", 1, 2),
        (f"one\ntwo~\n{GERMAN}".encode().replace(b"~", b"\0"), f"one\ntwo~\n{GERMAN}", 1, 2),
        (b"log begins" + bytes(4096) + b"and goes on\n", "log begins~and goes on\n", 1, 1),
        (f"{GERMAN}x".encode("utf-16") + b"a", f"{GERMAN}x~", 1, 3),
        ("\ufeffwords é\n".encode() + b"\xff", "words é\n~", 1, 2),
        ("a genuine \ufffd, é and ".encode() + b"\xff", "a genuine \ufffd, é and ~", 1, 1),
    ],
)
def test_a_few_broken_bytes_are_replaced_and_counted(
    content: bytes, text: str, count: int, line: int
) -> None:
    content = content.replace(b"byte ~", b"byte \xff")
    with decoding() as state:
        assert decode(content) == text.replace("~", "\ufffd")
    assert (state.replaced, state.first) == (count, line)
    sequences = "sequence" if count == 1 else "sequences"
    assert state.notices == [
        f"{count} invalid byte {sequences} replaced by U+FFFD, first in line {line}"
    ]


def test_a_text_is_read_in_the_given_encoding_unless_a_mark_tells_another(tmp_path: Path) -> None:
    short = write(tmp_path / "a.txt", "łąka".encode("cp1250"))
    marked = write(tmp_path / "b.txt", "łąka".encode("utf-16"))
    japanese = write(tmp_path / "c.txt", "日本".encode("iso2022_jp"))
    with decoding("windows-1250"):
        assert (read_text(short), read_text(marked)) == ("łąka", "łąka")
    with decoding("iso-2022-jp"):
        assert read_text(japanese) == "日本"
    with decoding("ascii"), pytest.raises(UnreadableError, match="not ascii"):
        read_text(write(tmp_path / "d.txt", JAPANESE.encode("euc_jp")))


@pytest.mark.parametrize("name", ["no-such", "", "base64", "a\0b"])
def test_an_unknown_encoding_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgumentError, match="not a known text encoding"):
        require_encoding(name)


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        ("one\r\ntwo\r\nthree", [1, 2, 3]),
        ("one\n0%\r50%\r100%\nlast", [1, 2, 2, 2, 3]),
        ("one\rtwo\rthree", [1, 1, 1]),
        ("one\r\r\ntwo\n", [1, 1, 2, 3]),
        ("\rone\ntwo\r", [1, 1, 2, 2]),
    ],
)
@pytest.mark.parametrize("name", ["a.txt", "a.py", "a.rst"])
def test_a_lone_carriage_return_ends_no_line_of_the_file(
    tmp_path: Path, name: str, content: str, lines: list[int]
) -> None:
    document = one(write(tmp_path / name, content))
    assert document.text == content.replace("\r\n", "\n").replace("\r", "\n")
    assert list(document.lines) == lines


def test_lines_of_html_are_those_of_the_file(tmp_path: Path) -> None:
    document = one(write(tmp_path / "a.html", "<p>one</p>\r<p>two</p>\r\n<p>three</p>"))
    found = dict(zip(document.text.split("\n"), document.lines, strict=True))
    assert (found["one"], found["two"], found["three"]) == (1, 1, 2)


@pytest.mark.parametrize(
    "some",
    [
        pytest.param(b"GIF89a" + bytes(range(128, 256)), id="picture"),
        pytest.param(gzip.compress(ENGLISH.encode(), mtime=0).replace(b"\0", b""), id="archive"),
        pytest.param(bytes(range(1, 256)) * 4, id="every byte"),
        pytest.param(bytes(4096) + b"\n", id="zeros"),
        pytest.param("words".encode("utf-16-le"), id="utf-16 without a mark"),
    ],
)
def test_what_is_no_text_is_not_made_one(tmp_path: Path, some: bytes) -> None:
    assert why_not(write(tmp_path / "a.txt", some)) in (
        "binary content",
        "encoding cannot be detected",
    )


# The head of a text that is read as a stream


@given(st.text(st.sampled_from("aé日😀"), min_size=1, max_size=20), st.integers(0, 60))
def test_a_beginning_is_utf8_even_if_a_letter_was_cut_in_halves(text: str, size: int) -> None:
    assert text_encoding(text.encode()[:size]) == "utf-8"
    assert is_utf8(text.encode()[:size], cut=True)


def test_a_beginning_tells_the_encoding() -> None:
    assert text_encoding("id,text\n1,naïve\n".encode("cp1252")) == "cp1252"
    assert text_encoding("id,text\n1,naïve\n".encode("utf-16")) == "utf-16"
    assert text_encoding(b"id,text\n1,\xff\n2," + "é".encode() * 9) == "utf-8"
    with pytest.raises(UnreadableError, match="binary"):
        text_encoding(b"id\0text")


# Compressed text


@pytest.mark.parametrize(
    ("name", "packed"),
    [
        ("two parts.txt.gz", gzip.compress(b"one\n", mtime=0) + gzip.compress(b"two\n", mtime=0)),
        ("zeros after.txt.gz", gzip.compress(b"one\ntwo\n", mtime=0) + b"\0" * 30),
        ("two parts.txt.zst", zstandard.compress(b"one\n") + zstandard.compress(b"two\n")),
        (
            "told to skip.txt.zst",
            zstandard.compress(b"one\n")
            + b"\x50\x2a\x4d\x18\x03\0\0\0abc"
            + zstandard.compress(b"two\n"),
        ),
        ("an empty part.txt.zst", zstandard.compress(b"") + zstandard.compress(b"one\ntwo\n")),
    ],
)
def test_packed_text_may_come_in_parts(tmp_path: Path, name: str, packed: bytes) -> None:
    assert read_text(write(tmp_path / name, packed)) == "one\ntwo\n"


@given(st.integers(0, 10**6))
def test_packed_text_that_ends_early_is_never_taken_for_whole(
    tmp_path_factory: pytest.TempPathFactory, place: int
) -> None:
    folder = tmp_path_factory.getbasetemp()
    for name, pack in (("cut.gz", gzip.compress), ("cut.zst", zstandard.compress)):
        packed = pack(ENGLISH.encode())
        path = write(folder / name, packed[: 1 + place % (len(packed) - 1)])
        with pytest.raises(UnreadableError, match="damaged or truncated|Not a gzipped file"):
            read_text(path)


def test_an_empty_file_is_an_empty_text_packed_or_not(tmp_path: Path) -> None:
    for name in ("a.txt", "a.txt.gz", "a.txt.zst"):
        assert read_text(write(tmp_path / name, b"")) == ""


def test_a_text_larger_than_is_read_is_refused(tmp_path: Path) -> None:
    bomb = zstandard.compress(b"0" * 10_001)
    assert len(bomb) < 100
    with pytest.raises(UnreadableError, match="more than 0 MiB of text"):
        read_text(write(tmp_path / "a.txt.zst", bomb), 10_000)
    assert read_text(write(tmp_path / "b.txt.zst", zstandard.compress(b"0" * 10_000)), 10_000)
