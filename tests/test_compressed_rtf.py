"""Outlook bodies that are stored in RTF alone are read, also where the RTF was made of HTML."""

import struct
from pathlib import Path

import pytest

from ettin_cli.corpus import compressed_rtf
from ettin_cli.corpus.compressed_rtf import decompressed
from ettin_cli.corpus.rtf import rtf_text
from ettin_cli.storage import UnreadableError
from tests.outlook_files import Tree, fixed_stream, text_stream, write_outlook
from tests.reading import one

MAIL: Tree = {**fixed_stream({0x3FDE: 1252}), **text_stream("0037", "Kiln")}
# The examples of [MS-OXRTFCP], sections 3.1 and 3.2.
SIMPLE = bytes.fromhex(
    "2d0000002b0000004c5a4675f1c5c7a703000a007263706731323542320af32068656c090020627705b06c647d"
    "0a800fa0"
)
CROSSING = bytes.fromhex("1a0000001c0000004c5a4675e2d44b51410004205758595a0d6e7d010eb0")
HTML = rb"""{\rtf1\ansi\ansicpg1252\fromhtml1 \deff0{\fonttbl{\f0\fswiss Arial;}}
{\*\htmltag19 <html>}{\*\htmltag34 <head>}{\*\htmltag241 <style>}{\*\htmltag241 p \{\}}
{\*\htmltag249 </style>}{\*\htmltag41 </head>}{\*\htmltag50 <body>}
{\*\htmltag64 <p>}\htmlrtf {\htmlrtf0 K\'f6ln {\*\htmltag84 &amp;}\htmlrtf &\htmlrtf0  Bonn
\htmlrtf\par}\htmlrtf0{\*\htmltag72 </p>}{\*\mhtmltag64 <img>}
{\*\htmltag64 <p>}\htmlrtf \plain imitation\htmlrtf0 tea{\*\htmltag72 </p>}
{\*\htmltag58 </body>}}"""


def packed(rtf: bytes) -> bytes:
    """Compress RTF with literals alone, and the mark of the end."""
    made = bytearray()
    at = 0
    while at <= len(rtf):
        block = rtf[at : at + 8]
        last = len(block) < 8
        made.append(1 << len(block) if last else 0)
        made += block
        at += 8
        if last:
            made += (((207 + len(rtf)) % 4096) << 4).to_bytes(2, "big")
            break
    return struct.pack("<II4sI", len(made) + 12, len(rtf), b"LZFu", 0) + bytes(made)


def body(content: bytes) -> Tree:
    return {**MAIL, "__substg1.0_10090102": content}


def test_the_examples_of_the_specification_are_decompressed() -> None:
    hello = b"{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n"
    assert decompressed(SIMPLE) == (hello, True)
    assert decompressed(CROSSING) == (b"{\\rtf1 WXYZWXYZWXYZWXYZWXYZ}", True)
    assert decompressed(SIMPLE[:8] + b"MELA0000" + hello) == (hello, True)


@pytest.mark.parametrize("length", [0, 7, 8, 5000])
def test_what_was_packed_is_unpacked(length: int) -> None:
    rtf = bytes(range(97, 123)) * 200
    assert decompressed(packed(rtf[:length])) == (rtf[:length], True)


def test_a_body_in_rtf_is_the_text_of_a_message(tmp_path: Path) -> None:
    document = one(write_outlook(tmp_path / "a.msg", body(SIMPLE)))
    assert (document.title, document.text, list(document.notices)) == ("Kiln", "hello world", [])
    html = one(write_outlook(tmp_path / "b.msg", body(packed(HTML))))
    assert html.text == "Köln & Bonn\n\ntea"


def test_rtf_that_was_made_of_html_is_read_as_html() -> None:
    assert rtf_text(HTML).text == "Köln & Bonn\n\ntea"


def test_a_damaged_end_costs_what_follows_and_is_said(tmp_path: Path) -> None:
    cut = packed(b"{\\rtf1 one two three four}")[:-10]
    document = one(write_outlook(tmp_path / "a.msg", body(cut)))
    assert document.text.startswith("one two")
    assert list(document.notices) == ["a body in RTF is damaged, and its end is missing"]


def test_rtf_that_grows_beyond_the_limit_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compressed_rtf, "MAX_MARKUP_BYTES", 1 << 20)
    # Copies of 17 characters from one character back.
    content = SIMPLE[:16]
    made = 207
    while made < 2 << 20:
        content += b"\xff"
        for _ in range(8):
            content += (((made - 1) % 4096) << 4 | 15).to_bytes(2, "big")
            made += 17
    with pytest.raises(UnreadableError, match="more than 1 MiB of RTF"):
        decompressed(content)
    document = one(write_outlook(tmp_path / "a.msg", body(content)))
    assert list(document.notices) == ["no readable body, only RTF"]
