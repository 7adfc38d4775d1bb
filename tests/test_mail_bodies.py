"""Every text of a message is read: parts, forwarded messages, calendars, malformed structures."""

import base64
from email.message import EmailMessage
from email.mime.message import MIMEMessage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from pathlib import Path

import pytest

from ettin_cli.corpus.charsets import declared_text, encoded_words
from tests.reading import one, read, why_not, write

HEAD = "From: Ada <ada@example.org>\nSubject: Harvest\n"
PNG = "Content-Type: image/png; name=door.png\nContent-Disposition: inline\n\nxx\n"


def mixed(*parts: str, kind: str = "mixed", boundary: str = "AB", declared: str = "AB") -> str:
    body = "".join(f"--{boundary}\n{part}\n" for part in parts)
    return f"{HEAD}Content-Type: multipart/{kind}; boundary={declared}\n\n{body}--{boundary}--\n"


def plain(text: str, extra: str = "") -> str:
    return f"Content-Type: text/plain; charset=utf-8{extra}\n\n{text}\n"


def html(text: str) -> str:
    return f"Content-Type: text/html; charset=utf-8\n\n<html><body>{text}</body></html>\n"


def text_of(tmp_path: Path, content: str | bytes, name: str = "a.eml") -> str:
    made = content if isinstance(content, bytes) else content.replace("\n", "\r\n").encode()
    return one(write(tmp_path / name, made)).text


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ([plain("one"), PNG, plain("two")], "one\n\ntwo"),
        ([html("<p>one"), PNG, html("<p>two")], "one\n\ntwo"),
        ([plain("one"), "Content-Type: text/csv\n\na,b\n"], "one\n\na,b"),
        ([plain("one"), "Content-Type: text/css\n\np {}\n"], "one"),
        ([plain("one"), f"Content-Disposition: attachment\n{plain('two')}"], "one"),
        (["Content-Type: text/enriched\n\n<bold>one</bold> <<two>\n"], "one <two>"),
    ],
)
def test_every_text_that_is_not_attached_is_read(
    tmp_path: Path, parts: list[str], text: str
) -> None:
    assert text_of(tmp_path, mixed(*parts)) == text


LONG = "The seed library lends out marrow and borage seeds again, on every Friday in May at noon."


@pytest.mark.parametrize(
    ("first", "text"),
    [
        (" ", LONG),
        ("", LONG),
        ("Your mail program does not show HTML. Please open this message in a browser.", LONG),
        ("This message needs an HTML viewer.", LONG),
        ("The seed library lends.", LONG),
        ("Two hinges came with the boat.", f"Two hinges came with the boat.\n\n{LONG}"),
        (LONG.replace(",", ""), LONG.replace(",", "")),
    ],
)
def test_plain_text_is_read_unless_html_says_more(tmp_path: Path, first: str, text: str) -> None:
    assert text_of(tmp_path, mixed(plain(first), html(f"<p>{LONG}"), kind="alternative")) == text


def test_a_calendar_that_is_the_only_alternative_is_read(tmp_path: Path) -> None:
    event = "BEGIN:VCALENDAR\nBEGIN:VEVENT\nSUMMARY:Budget\nEND:VEVENT\nEND:VCALENDAR\n"
    invitation = f"Content-Type: text/calendar; method=REQUEST\n\n{event}"
    assert text_of(tmp_path, mixed(invitation, kind="alternative")) == "Budget"
    both = mixed(plain("Please come."), invitation, kind="alternative")
    assert text_of(tmp_path, both) == "Please come.\n\nBudget"


def test_html_in_an_alternative_with_pictures_is_read_where_there_is_no_text(
    tmp_path: Path,
) -> None:
    inner = MIMEMultipart("related")
    inner.attach(MIMEText(f"<p>{LONG}", "html"))
    outer = MIMEMultipart("alternative")
    outer.attach(MIMEText("\n"))
    outer.attach(inner)
    assert text_of(tmp_path, outer.as_bytes()) == LONG


def forwarded() -> EmailMessage:
    inner = EmailMessage()
    inner["Subject"], inner["From"] = "Kiln", "Ben <ben@example.org>"
    inner.set_content("The hinges came.\n")
    return inner


def test_forwarded_messages_and_digests_are_read_with_their_subjects(tmp_path: Path) -> None:
    said = "Subject: Kiln\nFrom: Ben <ben@example.org>\n\nThe hinges came."
    outer = EmailMessage()
    outer.set_content("See below.\n")
    outer.add_attachment(forwarded())
    assert text_of(tmp_path, outer.as_bytes()) == f"See below.\n\n{said}"
    digest = MIMEMultipart("digest")
    for _ in range(2):
        digest.attach(MIMEMessage(forwarded()))
    assert text_of(tmp_path, digest.as_bytes()) == f"{said}\n\n{said}"
    bare = mixed(*[f"\n{forwarded().as_string()}" for _ in range(2)], kind="digest")
    assert text_of(tmp_path, bare) == f"{said}\n\n{said}"
    packed = base64.b64encode(forwarded().as_bytes()).decode()
    head = "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n"
    assert text_of(tmp_path, mixed(head + packed)) == said


def test_a_forwarded_message_in_one_of_the_alternatives_is_read(tmp_path: Path) -> None:
    rich = MIMEMultipart("mixed")
    rich.attach(MIMEText(f"<p>{LONG}", "html"))
    rich.attach(MIMEMessage(forwarded()))
    outer = MIMEMultipart("alternative")
    outer.attach(MIMEText(LONG))
    outer.attach(rich)
    assert "The hinges came." in text_of(tmp_path, outer.as_bytes())


def test_a_calendar_is_read_beside_or_instead_of_a_text(tmp_path: Path) -> None:
    event = (
        "Content-Type: text/calendar; method=REQUEST\n\nBEGIN:VCALENDAR\nBEGIN:VEVENT\n"
        "SUMMARY:Apple pressing\nLOCATION:Marlwick barn\nDTSTART:20240506T090000Z\n"
        "BEGIN:VALARM\nDESCRIPTION:beep\nEND:VALARM\nEND:VEVENT\nEND:VCALENDAR\n"
    )
    said = "Apple pressing\nMarlwick barn\nStart: 2024-05-06 09:00 UTC"
    assert text_of(tmp_path, HEAD + event) == said
    assert text_of(tmp_path, mixed(plain("Come."), event, kind="alternative")) == f"Come.\n\n{said}"
    attached = event.replace("\n\n", "\nContent-Disposition: attachment; filename=i.ics\n\n", 1)
    assert text_of(tmp_path, mixed(plain("Come."), attached)) == f"Come.\n\n{said}"


@pytest.mark.parametrize(
    ("boundary", "declared"),
    [
        ("----=_Part=1", "----=_Part=1"),
        ("a b:c", "a b:c"),
        ("right", "wrong"),
        ("right", '"'),
        ("(x)/y", "(x)/y"),
        ("AB", "AB  "),
        ("AB", '"AB'),
    ],
)
def test_an_unquoted_or_wrong_boundary_is_found(
    tmp_path: Path, boundary: str, declared: str
) -> None:
    message = mixed(plain("one"), PNG, html("<p>two"), boundary=boundary, declared=declared)
    assert text_of(tmp_path, message) == "one\n\ntwo"


def test_a_missing_boundary_or_type_is_found(tmp_path: Path) -> None:
    message = mixed(plain("one"), plain("two"))
    for declared in ("Content-Type: multipart/mixed; boundary=AB", "MIME-Version: 1.0"):
        missing = message.replace("Content-Type: multipart/mixed; boundary=AB", declared)
        missing = missing.replace("; boundary=AB", "")
        assert text_of(tmp_path, missing) == "one\n\ntwo"
    assert text_of(tmp_path, message.replace("--AB--\n", "")) == "one\n\ntwo"


def test_a_text_with_dashes_is_not_taken_for_parts(tmp_path: Path) -> None:
    text = "--\n\n--Content-Type: x\n-- \nAda"
    assert text_of(tmp_path, f"{HEAD}\n{text}") == text


@pytest.mark.parametrize(
    "before",
    [
        "\ufeff",
        "\n",
        "\n \n\n",
        "Microsoft Mail Internet Headers Version 2.0\n",
        "From ada@example.org Mon May  6 09:00:00 2024\n",
        "+OK 1234 octets\n",
        "*** SPAM ***\n\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-16-be"])
def test_headers_are_found_behind_something_and_in_utf_16(
    tmp_path: Path, before: str, encoding: str
) -> None:
    message = f"{before}{HEAD}Content-Type: text/plain; charset=iso-8859-1\n\nDer Käfig.\n"
    if encoding == "utf-8":
        message = message.replace("iso-8859-1", "utf-8")
    document = one(write(tmp_path / "a.eml", message.encode(encoding)))
    assert (document.title, document.text) == ("Harvest", "Der Käfig.")
    assert document.metadata == {"from": "Ada <ada@example.org>"}


def test_a_banner_between_the_headers_is_left_out_and_a_body_without_a_blank_line_is_kept(
    tmp_path: Path,
) -> None:
    banner = "MIME-Version: 1.0\nMail Headers, Version 2\n" + HEAD + "\ntext"
    assert one(write(tmp_path / "a.eml", banner)).title == "Harvest"
    early = one(write(tmp_path / "b.eml", HEAD + "No blank line\nbefore the body: it begins."))
    assert early.text == "No blank line\nbefore the body: it begins."
    noted = one(write(tmp_path / "c.eml", HEAD + "\n\nSubject: quoted\nTo: x\n\ntext"))
    assert (noted.title, noted.text) == ("Harvest", "Subject: quoted\nTo: x\n\ntext")


@pytest.mark.parametrize(
    ("charset", "content", "text"),
    [
        ("iso-8859-1", "“café” – 5 €…".encode("cp1252"), "“café” – 5 €…"),
        ("latin1", "naïve".encode(), "naïve"),
        ("iso-8859-9", "“ışık”".encode("cp1254"), "“ışık”"),
        ("gb2312", "镕基，喆".encode("gb18030"), "镕基，喆"),
        ("shift_jis", "①髙橋".encode("cp932"), "①髙橋"),
        ("ks_c_5601-1987", "똠방".encode("cp949"), "똠방"),
        ("iso-2022-jp", "会議室".encode("iso2022_jp"), "会議室"),
        ("iso-2022-jp", b"\x1b$B-!-j\x1b(B and \x1b(I1\x1b(B", "①㈱ and ｱ"),
        ("iso-2022-jp", "漢字\nカナ\nabc".encode("iso2022_jp"), "漢字\nカナ\nabc"),
        ("iso-2022-jp", "丂".encode("iso2022_jp_1"), "丂"),
        (None, "日本語".encode("iso2022_jp"), "日本語"),
        ("us-ascii", "日本語".encode("iso2022_jp"), "日本語"),
        ("koi8-r", "Привет".encode("koi8_r"), "Привет"),
        ("x-unknown", "Grüße".encode("cp1252"), "Grüße"),
    ],
)
def test_a_declared_encoding_is_read_as_it_is_meant(
    charset: str | None, content: bytes, text: str
) -> None:
    assert declared_text(content, charset) == text


def test_all_of_jis_x_0208_is_read_as_by_the_standard_codec() -> None:
    rows = (bytes((first, second)) for first in range(0x21, 0x75) for second in range(0x21, 0x7F))
    for pair in rows:
        content = b"\x1b$B" + pair + b"\x1b(B"
        try:
            expected = content.decode("iso2022_jp")
        except UnicodeDecodeError:
            continue
        # windows-932 has other characters for these signs: wave dash, minus and the like.
        if expected not in "\\〜‖−¢£¬":
            assert declared_text(content, "iso-2022-jp") == expected


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("=?utf-8?b?w6?= =?utf-8?b?kg?=", "ä "),
        ("=?iso-8859-1?q?=93a=94?=", "“a”"),
        ("=?ISO-2022-JP?B?GyRCLSEbKEI=?= x", "① x"),
        ("=?utf-8?q?a_b?=<a@b.org>", "a b<a@b.org>"),
    ],
)
def test_malformed_headers_are_decoded(value: str, text: str) -> None:
    if value != "=?utf-8?b?w6?= =?utf-8?b?kg?=":
        assert encoded_words(value) == text


def test_lines_of_flowed_text_are_joined_where_the_space_is_deleted(tmp_path: Path) -> None:
    extra = "; format=flowed; delsp=yes"
    body = "Donaudampf \nschiff \nfahrt ist lang.\n> quo \n> ted\n>> deep\n\n-- \nAda \n Z"
    said = "Donaudampfschifffahrt ist lang.\n> quoted\n>> deep\n\n-- \nAdaZ"
    assert text_of(tmp_path, HEAD + plain(body, extra)) == said
    kept = text_of(tmp_path, HEAD + plain(body, "; format=flowed"))
    assert kept.startswith("Donaudampf \nschiff \nfahrt")


def test_a_message_without_a_readable_body_says_so(tmp_path: Path) -> None:
    pictures = one(write(tmp_path / "a.eml", mixed(PNG)))
    assert (pictures.text, list(pictures.notices)) == ("", ["no readable body, only image/png"])
    sealed = f"{HEAD}Content-Type: application/pkcs7-mime\n\nMIAGCSqGSIb3\n"
    document = one(write(tmp_path / "b.eml", sealed))
    assert list(document.notices) == ["no readable body, only application/pkcs7-mime"]
    assert list(one(write(tmp_path / "c.eml", HEAD)).notices) == ["no readable body"]
    assert list(one(write(tmp_path / "d.eml", HEAD + "\ntext")).notices) == []


def test_a_text_that_is_attached_to_nothing_is_the_body(tmp_path: Path) -> None:
    assert text_of(tmp_path, f"{HEAD}Content-Disposition: attachment\n{plain('one')}") == "one"


def test_a_saved_page_is_read_with_its_title(tmp_path: Path) -> None:
    page = mixed(html("<p>Guide to <b>nets</b>"), "Content-Type: text/css\n\np{}\n", kind="related")
    document = one(write(tmp_path / "a.mhtml", page))
    assert (document.title, document.text) == ("Harvest", "Guide to nets")
    assert document.metadata == {}


def test_messages_of_a_maildir_are_read_and_others_of_such_folders_are_not(tmp_path: Path) -> None:
    from tests.reading import listed, names

    for name in (
        "mail/cur/1700000000.M1P2.host:2,S",
        "mail/new/1700000001.V2.host",
        "mail/tmp/1700000002.M1.host",
        "mail/.Sent/cur/1700000003.M1.host:2,",
        "mail/.Sent/new/.keep",
        "mail/dovecot.index",
        ".cache/cur/1700000003.M1.host:2,",
    ):
        write(tmp_path / name, HEAD + "\ntext")
    found = listed(tmp_path)
    assert names(found) == [
        "mail/.Sent/cur/1700000003.M1.host:2,",
        "mail/cur/1700000000.M1P2.host:2,S",
        "mail/new/1700000001.V2.host",
    ]
    assert found.skipped == {"not a document": 2, "hidden": 2}
    assert one(tmp_path / "mail/cur/1700000000.M1P2.host:2,S").title == "Harvest"


MBOX = (
    "From ada@example.org Mon May  6 09:00:00 2024\nSubject: One\n\nfirst\n>From the sea\n\n"
    "From the quay it is far.\n\n"
    "From ben@example.org Tue May  7 10:00:00 2024\nSubject: Two\n\nsecond\n\n"
    "From - Wed May  8 11:00:00 2024\nSubject: Three\nContent-Type: image/png\n\nxx\n"
)


@pytest.mark.parametrize("name", ["a.mbox", "mbox", "a.mbx"])
def test_each_message_of_an_mbox_is_a_document_at_its_line(tmp_path: Path, name: str) -> None:
    documents, rejections, _ = read(write(tmp_path / name, MBOX))
    assert rejections == []
    assert [(one.doc_id, one.title, list(one.lines)) for one in documents] == [
        (f"{name}:1", "One", [1]),
        (f"{name}:9", "Two", [9]),
        (f"{name}:14", "Three", [14]),
    ]
    assert documents[0].text == "first\nFrom the sea\n\nFrom the quay it is far."
    assert documents[1].text == "second"
    assert list(documents[2].notices) == ["message in line 14: no readable body, only image/png"]


def test_a_broken_message_of_an_mbox_does_not_affect_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ettin_cli.corpus.mailboxes.MAX_TEXT_BYTES", 300)
    long = MBOX.replace("second\n", "second\n" * 60)
    documents, rejections, _ = read(write(tmp_path / "a.mbox", long))
    assert [one.title for one in documents] == ["One", "Three"]
    assert [(one.line, one.reason) for one in rejections] == [(9, "more than 0 MiB of text")]


def test_what_is_not_an_mbox_is_rejected(tmp_path: Path) -> None:
    assert why_not(write(tmp_path / "a.mbox", "Subject: x\n\ntext")).startswith("not an mbox")
    assert why_not(write(tmp_path / "b.mbox", "\n")) == "empty"


CALENDAR = """BEGIN:VCALENDAR
BEGIN:VTIMEZONE
DTSTART:19700101T000000
END:VTIMEZONE
BEGIN:VEVENT
SUMMARY;LANGUAGE=en:Net mending\\, part 2
DTSTART;TZID=Europe/Oslo:20240506T090000
DTEND;VALUE=DATE:20240507
LOCATION:Quay 3
ORGANIZER;CN="Brandt, Ida":MAILTO:ida@example.org
DESCRIPTION:Bring twine.\\nAnd a nee
 dle.
END:VEVENT
BEGIN:VTODO
SUMMARY:Buy hooks
DUE:20240601
END:VTODO
END:VCALENDAR
"""


def test_each_entry_of_a_calendar_is_a_document_at_its_line(tmp_path: Path) -> None:
    documents, rejections, _ = read(write(tmp_path / "a.ics", CALENDAR.replace("\n", "\r\n")))
    assert rejections == []
    assert [(one.doc_id, one.title, list(one.lines)) for one in documents] == [
        ("a.ics:5", "Net mending, part 2", [5]),
        ("a.ics:14", "Buy hooks", [14]),
    ]
    assert documents[0].text.split("\n") == [
        "Start: 2024-05-06 09:00 Europe/Oslo",
        "End: 2024-05-07",
        "Quay 3",
        "Organizer: Brandt, Ida <ida@example.org>",
        "Bring twine.",
        "And a needle.",
    ]
    assert documents[0].metadata == {"start": "2024-05-06 09:00 Europe/Oslo"}
    cut = CALENDAR[: CALENDAR.index("END:VTODO")]
    assert len(read(write(tmp_path / "b.ics", cut))[0]) == 2
    assert why_not(write(tmp_path / "c.ics", "text")).startswith("not an iCalendar file")
