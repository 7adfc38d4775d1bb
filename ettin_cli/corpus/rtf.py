"""RTF -> a document: its text, followed by its notes, comments, headers and footers.

RTF that was made of HTML holds the HTML, as [MS-OXRTFEX] describes; then that is read.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, field
from pathlib import Path

from ettin_cli.corpus.content import read_bytes
from ettin_cli.corpus.html import html_document
from ettin_cli.corpus.reader import DocumentReader
from ettin_cli.records import Document
from ettin_cli.settings import MAX_MARKUP_BYTES, MAX_RTF_DEPTH
from ettin_cli.storage import UnreadableError

_TOKEN = re.compile(
    rb"\\([a-zA-Z]{1,32})(-?\d{1,10})? ?|\\'([0-9a-fA-F]{2})|\\([^a-zA-Z])|([{}])|[\r\n]+"
    rb"|([^\\{}\r\n]+)|\\"
)
# Groups without text of the document, or with a copy of text for old programs.
SILENT = frozenset(
    b"""fonttbl colortbl stylesheet info pict objdata listtable listoverridetable revtbl filetbl
    fldinst shprslt sp nonshppict upr xe tc rxe txe bkmkstart bkmkend ftnsep ftnsepc ftncn aftnsep
    aftnsepc aftncn nonesttables template""".split()
)
# Optional groups with text; other optional groups are skipped.
SHOWN = frozenset(b"shpinst shptxt do annotation nesttableprops listtext pntext footnote".split())
# Groups whose text follows the document's.
ASIDES = frozenset(
    b"footnote annotation header headerl headerr headerf footer footerl footerr footerf".split()
)
MARKS = {
    b"par": "\n",
    b"line": "\n",
    b"sect": "\n\n",
    b"page": "\n\n",
    b"row": "\n",
    b"nestrow": "\n",
    b"cell": " | ",
    b"nestcell": " | ",
    b"tab": "\t",
    b"emdash": "—",
    b"endash": "–",
    b"bullet": "•",
    b"lquote": "‘",
    b"rquote": "’",
    b"ldblquote": "“",
    b"rdblquote": "”",
    b"emspace": " ",
    b"enspace": " ",
    b"qmspace": " ",
}
SYMBOLS = {b"~": " ", b"_": "-", b"\n": "\n", b"\r": "\n", b"{": "{", b"}": "}", b"\\": "\\"}
WESTERN = "cp1252"
CHARACTER_SETS = {b"mac": "mac_roman", b"pc": "cp437", b"pca": "cp850"}
# By the number of a font's character set.
FONT_ENCODINGS = {
    77: "mac_roman",
    128: "cp932",
    129: "cp949",
    130: "johab",
    134: "gbk",
    136: "cp950",
    161: "cp1253",
    162: "cp1254",
    163: "cp1258",
    177: "cp1255",
    178: "cp1256",
    186: "cp1257",
    204: "cp1251",
    222: "cp874",
    238: "cp1250",
}


@dataclass(slots=True)
class RtfText:
    """The text of an RTF file and its title."""

    title: str
    text: str


def rtf_text(content: bytes) -> RtfText:
    """Return the text and the title of RTF.

    Raises:
        UnreadableError: It is not RTF, or nested too deeply.
    """
    if not content[:64].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{\\rtf"):
        raise UnreadableError("not a valid RTF: it does not begin with {\\rtf")
    parser = _Parser()
    at = 0
    while at < len(content) and (token := _TOKEN.match(content, at)):
        at = token.end() + parser.take(token)
    return parser.finished()


@dataclass(slots=True)
class _Group:
    """The state of a group, which its inner groups inherit."""

    output: list[str]
    encoding: str | None = None
    silent: bytes = b""
    optional: bool = False
    fallback: int = 1
    deleted: bool = False
    # In RTF made of HTML: whether this only imitates the HTML.
    imitation: bool = False

    def inner(self) -> _Group:
        """Return the state of a group that begins in this one."""
        return _Group(
            self.output,
            self.encoding,
            self.silent,
            fallback=self.fallback,
            deleted=self.deleted,
            imitation=self.imitation,
        )


@dataclass(slots=True)
class _Parser:
    """Collects text from the tokens of RTF."""

    body: list[str] = field(default_factory=list)
    title: list[str] = field(default_factory=list)
    asides: list[list[str]] = field(default_factory=list)
    stack: list[_Group] = field(default_factory=list)
    fonts: dict[int, str] = field(default_factory=dict)
    encoding: str = WESTERN
    font: int = 0
    default_font: int = 0
    pending: bytearray = field(default_factory=bytearray)
    skipped: int = 0
    of_html: bool = False
    group: _Group = field(init=False)

    def __post_init__(self) -> None:
        self.group = _Group(self.body)

    def take(self, token: re.Match[bytes]) -> int:
        """Process a token, and return the number of bytes of binary data that follow."""
        word, number, hexadecimal, symbol, brace, text = token.groups()
        if hexadecimal:
            self._bytes(bytes.fromhex(hexadecimal.decode()))
        elif text:
            self._bytes(text)
        elif brace:
            self._flush()
            self.skipped = 0
            self._brace(opens=brace == b"{")
        elif symbol == b"*":
            self.group.optional = True
        elif symbol and self.skipped:
            self.skipped -= 1
        elif symbol:
            self._write(SYMBOLS.get(symbol, ""))
        elif word:
            return self._word(word, None if number is None else int(number))
        return 0

    def finished(self) -> RtfText:
        """Return the text collected."""
        self._flush()
        title = " ".join(_tidied(self.title).split())
        if self.of_html:
            page = html_document("".join(self.body), "")
            return RtfText(title or page.title, page.text)
        parts = [self.body, *self.asides]
        texts = [_tidied(part) for part in parts]
        return RtfText(title, "\n\n".join(text for text in dict.fromkeys(texts) if text))

    def _brace(self, *, opens: bool) -> None:
        if opens:
            if len(self.stack) >= MAX_RTF_DEPTH:
                raise UnreadableError(f"groups nested more than {MAX_RTF_DEPTH:,} deep")
            self.stack.append(self.group)
            self.group = self.group.inner()
        elif self.stack:
            self.group = self.stack.pop()

    def _word(self, word: bytes, number: int | None) -> int:
        if word == b"bin":
            return max(0, number or 0)
        if word == b"u" and number is not None:
            self._write(chr(number & 0xFFFF))
            self.skipped = self.group.fallback
        elif self.skipped:
            self.skipped -= 1
        elif word in MARKS:
            self._write(MARKS[word])
        elif word == b"htmlrtf":
            self.group.imitation = number != 0
        else:
            self._flush()
            self._destination(word)
            self._setting(word, number)
        return 0

    def _destination(self, word: bytes) -> None:
        group = self.group
        if word == b"title" and group.silent == b"info":
            group.silent, group.output = b"", self.title
        elif word == b"ud" and group.silent == b"upr":
            group.silent = b""
        elif group.silent:
            return
        elif word in ASIDES:
            self.asides.append([])
            group.output = self.asides[-1]
        elif word == b"fromhtml":
            self.of_html = True
        elif self.of_html and word == b"htmltag":
            group.imitation = False
        elif word in SILENT or (group.optional and word not in SHOWN):
            group.silent = word
        group.optional = False

    def _setting(self, word: bytes, number: int | None) -> None:
        group = self.group
        if word == b"f" and number is not None:
            self.font = number
            group.encoding = self.fonts.get(number)
        elif word == b"fcharset" and number in FONT_ENCODINGS:
            self.fonts[self.font] = FONT_ENCODINGS[number]
        elif word == b"cpg" and _is_encoding(number):
            self.fonts[self.font] = f"cp{number}"
        elif word == b"deff" and number is not None:
            self.default_font = number
        elif word == b"plain":
            group.encoding, group.deleted = self.fonts.get(self.default_font), False
        elif word == b"ansicpg" and _is_encoding(number):
            self.encoding = "utf-8" if number == 65001 else f"cp{number}"
        elif word in CHARACTER_SETS:
            self.encoding = CHARACTER_SETS[word]
        elif word == b"uc":
            group.fallback = max(0, number or 0)
        elif word == b"deleted":
            group.deleted = number != 0

    def _bytes(self, content: bytes) -> None:
        skipped = min(self.skipped, len(content))
        self.skipped -= skipped
        if not self._hidden():
            self.pending += content[skipped:].replace(b"\0", b"")

    def _hidden(self) -> bool:
        return bool(self.group.silent) or self.group.deleted or self.group.imitation

    def _write(self, text: str) -> None:
        self._flush()
        if not self._hidden():
            self.group.output.append(text)

    def _flush(self) -> None:
        """Decode the bytes so far; a character may be of two escaped bytes."""
        if self.pending:
            encoding = self.group.encoding or self.encoding
            self.group.output.append(self.pending.decode(encoding, "replace"))
            self.pending.clear()


def _is_encoding(number: int | None) -> bool:
    if number == 65001:
        return True
    try:
        codecs.lookup(f"cp{number}")
    except LookupError:
        return False
    return True


def _tidied(pieces: list[str]) -> str:
    """Return text without empty cells at the end of rows; pairs of surrogates are joined."""
    text = "".join(pieces).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    lines = (re.sub(r"(?: +\|)+ *$", "", line).rstrip() for line in text.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def _read(path: Path, doc_id: str) -> Document:
    made = rtf_text(read_bytes(path, MAX_MARKUP_BYTES))
    return Document(doc_id, made.text, title=made.title)


RTF = DocumentReader(name="RTF", suffixes=(".rtf",), read=_read)
