"""ISO-2022-JP is read in pages and texts, with the characters of vendors."""

from pathlib import Path

import pytest

from ettin_cli.corpus.jis import decoded_jis
from tests.reading import one, write

TEXT = "明日の会議室は三階です。\nカナ A~ ┐日本語"


@pytest.mark.parametrize("name", ["a.txt", "a.html"])
def test_a_file_in_iso_2022_jp_is_read(tmp_path: Path, name: str) -> None:
    encoded = f"<p>{TEXT}</p>".encode("iso2022_jp")
    text = one(write(tmp_path / name, encoded)).text
    shown = f"<p>{TEXT}</p>" if name == "a.txt" else " ".join(TEXT.split())
    assert text == shown


def test_every_character_of_the_standard_is_as_python_decodes_it() -> None:
    differ = {"\u2014", "\u2016", "\u2212", "\u301c", "\u00a2", "\u00a3", "\u00ac", "\uff3c", "\\"}
    for row in (*range(0x21, 0x29), *range(0x30, 0x75)):
        pairs = bytes(byte for cell in range(0x21, 0x7F) for byte in (row, cell))
        content = b"\x1b$B" + pairs + b"\x1b(B"
        text = decoded_jis(content)
        plain = content.decode("iso2022_jp", "replace")
        if text is None or "\ufffd" in plain:
            continue
        assert [a for a, b in zip(text, plain, strict=True) if a != b and b not in differ] == []


@pytest.mark.parametrize("content", [b"plain", b"\x1b[1mbold\x1b[0m", b"\x1b$zz \x1b[0m"])
def test_other_escapes_are_not_japanese(content: bytes) -> None:
    assert decoded_jis(content) is None
