"""A message is read as intended, even if it is malformed."""

from email.message import EmailMessage
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from tests.reading import one, read, why_not, write


def message(headers: str, body: str | bytes) -> bytes:
    content = body.encode() if isinstance(body, str) else body
    return headers.replace("\n", "\r\n").encode() + b"\r\n\r\n" + content


@pytest.mark.parametrize(
    ("charset", "body"),
    [
        ("utf-8", "Café".encode()),
        ("us-ascii", "Café".encode()),
        ("iso-8859-1", "Café".encode("latin-1")),
        ("utf-8", "Café".encode("latin-1")),
        ("no-such-charset", "Café".encode()),
        ("utf-8\0", "Café".encode()),
    ],
)
def test_a_body_is_decoded_by_what_it_says_else_by_what_it_is(
    tmp_path: Path, charset: str, body: bytes
) -> None:
    headers = f"Subject: x\nContent-Type: text/plain; charset={charset}"
    assert one(write(tmp_path / "a.eml", message(headers, body))).text == "Café"


def test_a_body_without_a_charset_is_not_spoilt(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.eml", message("Subject: Café\nFrom: José <j@example.org>", "Thé\r\n")
    )
    document = one(path)
    assert (document.title, document.text) == ("Café", "Thé")
    assert document.metadata == {"from": "José <j@example.org>"}


@pytest.mark.parametrize("encoding", ["quoted-printable", "base64", "8bit"])
def test_a_body_is_unpacked(tmp_path: Path, encoding: str) -> None:
    mail = EmailMessage()
    mail["Subject"] = "Grüße"
    mail.set_content("Liebe Grüße.\nEs ist spät.\n", cte=encoding)
    document = one(write(tmp_path / "a.eml", mail.as_bytes()))
    assert (document.title, document.text) == ("Grüße", "Liebe Grüße.\nEs ist spät.")


def test_attachments_are_named_and_not_read(tmp_path: Path) -> None:
    mail = EmailMessage()
    mail["Subject"] = "Minutes"
    mail.set_content("See the file.")
    mail.add_attachment("secret words", filename="Protokoll März.txt")
    mail.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="b.pdf")
    document = one(write(tmp_path / "a.eml", mail.as_bytes()))
    assert document.text == "See the file."
    assert document.metadata == {"attachments": ["Protokoll März.txt", "b.pdf"]}


def test_the_plain_text_of_two_is_read_and_html_where_there_is_no_other(tmp_path: Path) -> None:
    mail = EmailMessage()
    mail.set_content("It sails at *ten*.")
    mail.add_alternative("<p>It sails at <b>ten</b>.", subtype="html")
    assert one(write(tmp_path / "a.eml", mail.as_bytes())).text == "It sails at *ten*."
    html = EmailMessage()
    html.set_content("<title>no</title><p>Größe<br>S", subtype="html", charset="latin-1")
    assert one(write(tmp_path / "b.eml", html.as_bytes())).text == "Größe\nS"


def test_a_subject_alone_is_worth_finding_and_nothing_at_all_is_empty(tmp_path: Path) -> None:
    document = one(write(tmp_path / "a.eml", message("Subject: The meeting is at ten", "\r\n")))
    assert (document.title, document.text.strip()) == ("The meeting is at ten", "")
    assert why_not(write(tmp_path / "b.eml", message("From: a@example.org", ""))) == "empty"
    assert why_not(write(tmp_path / "c.eml", b"")) == "empty"


@pytest.mark.parametrize("sender", ["<", "a:;b:", '"', "a@b.c>,<", "=?utf-8?q?"])
def test_a_malformed_sender_is_shown_as_it_is(tmp_path: Path, sender: str) -> None:
    document = one(write(tmp_path / "a.eml", message(f"Subject: x\nFrom: {sender}", "text")))
    assert (document.title, document.text) == ("x", "text")
    assert document.metadata == {"from": sender}


FIELDS = ["From", "To", "Date", "Subject", "Content-Type", "Content-Transfer-Encoding"]
VALUE = st.lists(
    st.sampled_from(
        '< > @ , ; : " ( ) [ ] a é \\ = .. =?utf-8?q?=C3=A9?= =?utf-8?b?#?= text/html '
        "multipart/mixed multipart/related message/rfc822 ;boundary=x ;charset=x base64".split()
    ),
    max_size=6,
).map("".join)
PART = "--x\r\nContent-Type: text/html\r\n\r\n<p"
BODY = st.sampled_from(["text", PART, PART + "\r\n--x--"])


@given(st.dictionaries(st.sampled_from(FIELDS), VALUE), BODY)
def test_no_message_is_too_malformed_to_read(
    tmp_path_factory: pytest.TempPathFactory, headers: dict[str, str], body: str
) -> None:
    lines = "\n".join(f"{name}: {value}" for name, value in headers.items())
    path = write(tmp_path_factory.getbasetemp() / "a.eml", message(lines, body))
    documents, rejections, _ = read(path)
    assert len(documents) + len(rejections) == 1


# Each of these ended in a traceback, or took the standard library's parser minutes


def nested(depth: int) -> bytes:
    heads = (
        b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(depth)
    )
    return b"".join(heads) + b"\n\nx"


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (nested(300), "10,000 parts, or headers too long"),
        (b"Content-Type: message/rfc822\n\n" * 5000, "parts nested too deeply"),
        (b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\n" * 10_001, "10,000 parts"),
        (b"Content-Type: text/plain; " + b"a=b; " * 20_000 + b"\n\nx", "a header of 100,"),
    ],
)
def test_a_message_that_never_ends_is_rejected(tmp_path: Path, message: bytes, reason: str) -> None:
    assert reason in why_not(write(tmp_path / "a.eml", message))


@pytest.mark.parametrize("header", ["from", "to"])
@pytest.mark.parametrize("value", ['"' * 100_000, "(" * 1900, "a:" * 50_000, "<" * 100_000])
def test_a_header_that_takes_too_long_to_parse_is_kept_as_it_is(
    tmp_path: Path, header: str, value: str
) -> None:
    document = one(write(tmp_path / "a.eml", f"{header}: {value}\nsubject: s\n\ntext"))
    assert (document.title, document.text) == ("s", "text")
    assert document.metadata[header] == value


def test_html_in_a_message_has_the_limit_of_html(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ettin_cli.corpus.mail.MAX_MARKUP_BYTES", 1000)
    head = "content-type: text/html\n\n"
    assert one(write(tmp_path / "a.eml", head + "<p>a" * 200)).text
    assert "of markup" in why_not(write(tmp_path / "a.eml", head + "<p>a" * 300))


def test_a_message_of_millions_of_lines_is_rejected(tmp_path: Path) -> None:
    path = write(tmp_path / "a.eml", b"Subject: x\n\n" + b"\n" * 4_000_000)
    assert why_not(path) == "more than 4,000,000 lines"
