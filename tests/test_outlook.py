"""Outlook messages are read with their bodies, forwarded messages and the names of attachments."""

import builtins
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.outlook_files import Tree, fixed_stream, text_stream, write_outlook
from tests.reading import one, why_not, write

# In units of 100 ns since 1601.
SENT = int((datetime(2024, 5, 6, 7) - datetime(1601, 1, 1)).total_seconds()) * 10_000_000
MAIL: Tree = {
    **fixed_stream({0x0039: SENT, 0x3FDE: 1252}),
    **text_stream("0037", "Kiln photo"),
    **text_stream("0C1A", "Ada Rowan"),
    **text_stream("5D01", "ada@example.org"),
    **text_stream("0E04", "Ben Thorne"),
}
NAMED = {"__attach_version1.0_#00000000": text_stream("3707", "door.png")}


def test_a_message_is_read_with_its_metadata(tmp_path: Path) -> None:
    body = text_stream("1000", "Two hinges.\r\nBy Friday – 40 €.")
    document = one(write_outlook(tmp_path / "a.msg", {**MAIL, **body, **NAMED}))
    assert (document.title, document.text) == ("Kiln photo", "Two hinges.\nBy Friday – 40 €.")
    assert document.metadata == {
        "from": "Ada Rowan <ada@example.org>",
        "to": "Ben Thorne",
        "date": "2024-05-06T07:00:00+00:00",
        "attachments": ["door.png"],
    }
    assert list(document.notices) == []


@pytest.mark.parametrize(
    "body",
    [
        {"__substg1.0_10130102": "<p>Zwei Türen – “heute”</p>".encode("cp1252")},
        text_stream("1013", "<p>Zwei Türen – “heute”</p>"),
        {"__substg1.0_1000001E": "Zwei Türen – “heute”".encode("cp1252")},
    ],
)
def test_a_body_is_plain_text_or_html_in_its_code_page(tmp_path: Path, body: Tree) -> None:
    document = one(write_outlook(tmp_path / "a.msg", {**MAIL, **body}))
    assert document.text == "Zwei Türen – “heute”"


def test_a_forwarded_message_is_read(tmp_path: Path) -> None:
    inner = {
        **fixed_stream({0x0039: SENT}, header=24),
        **text_stream("0037", "Hinges"),
        **text_stream("0C1A", "Ben"),
        **text_stream("1000", "They came."),
    }
    attached: Tree = {"__attach_version1.0_#00000000": {"__substg1.0_3701000D": inner}}
    path = write_outlook(tmp_path / "a.msg", {**MAIL, **text_stream("1000", "See."), **attached})
    assert one(path).text == (
        "See.\n\nSubject: Hinges\nFrom: Ben\nDate: 2024-05-06T07:00:00+00:00\n\nThey came."
    )


def test_a_message_without_a_readable_body_says_so(tmp_path: Path) -> None:
    document = one(write_outlook(tmp_path / "a.msg", {**MAIL, "__substg1.0_10090102": b"LZFu"}))
    assert list(document.notices) == ["no readable body, only RTF"]


def test_what_is_no_outlook_message_is_rejected(tmp_path: Path) -> None:
    assert why_not(write(tmp_path / "a.msg", "text")).startswith("not a valid Outlook message: ")
    path = write_outlook(tmp_path / "b.msg", MAIL)
    path.write_bytes(path.read_bytes()[:700])
    assert why_not(path).startswith(("not a valid Outlook message: ", "empty"))


def test_messages_in_messages_and_large_streams_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep: Tree = text_stream("1000", "end")
    for _ in range(12):
        deep = {"__attach_version1.0_#00000000": {"__substg1.0_3701000D": deep}}
    monkeypatch.setattr("ettin_cli.corpus.outlook.DEPTH", 10)
    assert "parts nested too deeply" in why_not(write_outlook(tmp_path / "a.msg", deep))
    monkeypatch.setattr("ettin_cli.corpus.outlook.MAX_TEXT_BYTES", 5000)
    monkeypatch.setattr("ettin_cli.corpus.outlook.read_bytes", Path.read_bytes)
    assert "MiB of text" in why_not(write_outlook(tmp_path / "b.msg", MAIL))


def test_without_olefile_the_reason_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "olefile":
            raise ImportError(name)
        return usual(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    reason = why_not(write_outlook(tmp_path / "a.msg", MAIL))
    assert reason == "needs olefile; pip install 'ettin-cli[formats]'"
