"""The parts of a message -> the text that a reader of it sees."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ettin_cli.corpus.calendars import calendar_text
from ettin_cli.corpus.charsets import declared_text, encoded_words
from ettin_cli.corpus.content import decode
from ettin_cli.corpus.html import html_document
from ettin_cli.corpus.mail_repair import found_boundary
from ettin_cli.settings import MIB
from ettin_cli.storage import UnreadableError

if TYPE_CHECKING:
    from email.message import Message

# Exceptions of the standard library's header parser for some malformed headers.
MALFORMED = (AttributeError, LookupError, NameError, RecursionError, TypeError, ValueError)
# Parsing time grows with the square of a header's length.
PARSED_CHARACTERS = 2000
# Every search for another boundary reads the rest of the message again.
SEARCHES = 20
PLACEHOLDER_WORDS = 40
CALENDARS = ("text/calendar", "application/ics")
HTML = ("text/html", "text/x-amp-html", "text/watch-html", "application/xhtml+xml")
UNSEEN = ("text/css", "text/javascript", "text/ecmascript", "text/x-javascript")
_AFFECTED = re.compile(r"=\?(?:iso-2022-jp|iso-8859-|latin|shift|gb|big5|euc|ks_c|us-ascii)", re.I)
_PLACEHOLDER = re.compile(r"html|browser|mime|mail (?:client|reader|program)", re.IGNORECASE)
_TAG = re.compile(r"<<|<[^<>]*>")
_QUOTED = re.compile(r">*")


class Body:
    """The text of a message.

    Args:
        parse: Parses a part that was not recognised, within the limits of its message.
        most_markup: Maximum length of an HTML part, in characters.
        wide: Whether the message was in UTF-16, whatever its parts declare.
    """

    def __init__(
        self, message: Message, parse: Callable[[bytes], Message], most_markup: int, *, wide: bool
    ) -> None:
        self.parse, self.most_markup, self.wide = parse, most_markup, wide
        self.searches = 0
        # Each with its part, so that its id stays its own.
        self.separate: dict[int, tuple[Message, str]] = {}
        self.unread: dict[str, None] = {}
        self.text = self._part(message, first=True).strip("\n")

    def _part(self, part: Message, *, first: bool = False) -> str:
        kind = part.get_content_type()
        if inner := _inner(part):
            if kind == "multipart/alternative":
                return self._best(inner)
            if kind == "message/delivery-status":
                return _joined(_fields(one) for one in inner)
            if part.get_content_maintype() == "message":
                return _joined(self._forwarded(part, one) for one in inner)
            return _joined(self._part(one) for one in inner)
        mended = self._with_boundary(part, kind, first=first)
        return self._leaf(part, kind, first=first) if mended is None else self._part(mended)

    def _with_boundary(self, part: Message, kind: str, *, first: bool) -> Message | None:
        """Return a part with the parts that the declared boundary does not separate, or None."""
        undeclared = first and part.get("content-type") is None
        if not (kind.startswith("multipart/") or undeclared) or self.searches >= SEARCHES:
            return None
        self.searches += 1
        body = _content(part)
        boundary = found_boundary(body)
        if boundary is None or (undeclared and body.count(b"--" + boundary) < 2):
            return None
        kind = kind if kind.startswith("multipart/") else "multipart/mixed"
        head = f"Content-Type: {kind}; boundary=".encode()
        quoted = boundary.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
        return self.parse(head + b'"' + quoted + b'"\r\n\r\n' + body)

    def _leaf(self, part: Message, kind: str, *, first: bool) -> str:
        calendar = kind in CALENDARS or _file_name(part).lower().endswith(".ics")
        readable = kind.startswith("text/") or kind in HTML or kind.startswith("multipart/")
        attached = not first and part.get_content_disposition() == "attachment"
        if not calendar and (attached or not readable or kind in UNSEEN):
            if kind not in UNSEEN:
                self.unread[kind] = None
            return ""
        text = self._decoded(part)
        if calendar:
            return calendar_text(text)
        if kind in HTML:
            if len(text) > self.most_markup:
                raise UnreadableError(f"more than {self.most_markup // MIB} MiB of markup")
            return html_document(text, "").text.strip("\n")
        if kind in ("text/enriched", "text/richtext"):
            return _TAG.sub(lambda tag: "<" if tag[0] == "<<" else "", text).strip("\n")
        return (_unflowed(text) if _deletes_spaces(part) else text).strip("\n")

    def _decoded(self, part: Message) -> str:
        content, charset = _content(part), None
        with suppress(*MALFORMED):
            charset = part.get_content_charset()
        way = str(part.get("content-transfer-encoding", "")).strip().lower()
        if self.wide and way not in ("base64", "quoted-printable"):
            charset = "utf-8"
        text = declared_text(content, charset)
        return text.replace("\r\n", "\n").replace("\r", "\n")

    def _best(self, parts: Sequence[Message]) -> str:
        """Return the text of alternatives, and the calendars and messages among them."""
        texts = [self._part(part) if _is_text(part) else "" for part in parts]
        plain = next(
            (at for at, one in enumerate(parts) if _is_plain(one) and texts[at].strip()), -1
        )
        others = (at for at in range(len(parts)) if at != plain)
        richest = max(others, key=lambda at: len(texts[at].split()), default=plain)
        chosen = _chosen(plain, richest, texts) if plain >= 0 else [richest]
        separate = [
            self._separate_text(one)
            for at, part in enumerate(parts)
            if at not in chosen or not _is_text(part)
            for one in _separate(part)
        ]
        return _joined([*(texts[at] for at in chosen), *separate])

    def _separate_text(self, part: Message) -> str:
        """Return the text of a calendar or message, which is read once for all alternatives."""
        if id(part) not in self.separate:
            self.separate[id(part)] = part, self._part(part)
        return self.separate[id(part)][1]

    def _forwarded(self, part: Message, message: Message) -> str:
        way = str(part.get("content-transfer-encoding", "")).strip().lower()
        if way == "base64" and not message.keys() and not message.is_multipart():
            # Messages must not be in base64, but some are.
            message.add_header("content-transfer-encoding", "base64")
            message = self.parse(_content(message))
        names = ("subject", "from", "date")
        heads = [(name.capitalize(), header(message, name)) for name in names]
        shown = "\n".join(f"{name}: {value}" for name, value in heads if value)
        return _joined([shown, self._part(message, first=True)])


def header(message: Message, name: str) -> str:
    """Return the value of a header, decoded also where it is malformed; empty if there is none."""
    raw = next((str(value) for field, value in message.raw_items() if field.lower() == name), "")
    value = raw
    with suppress(UnreadableError):
        value = decode(raw.encode("utf-8", "surrogateescape"))
    value = value.encode("utf-8", "replace").decode()
    if len(raw) <= PARSED_CHARACTERS and raw.isascii():
        with suppress(*MALFORMED):
            parsed = str(message[name] or "")
            odd = "=?" in raw and ("\ufffd" in parsed or "=?" in parsed or _AFFECTED.search(raw))
            # Later versions of Python complete an address that ends early.
            odd = odd or ("<>" in parsed and "<>" not in raw)
            value = encoded_words(raw) if odd else parsed
    elif "=?" in value and len(value) <= PARSED_CHARACTERS:
        value = encoded_words(value)
    return " ".join(value.split())


def attachments(message: Message) -> list[str]:
    """Return the names of the files that a message holds."""
    return [name for part in message.walk() if (name := _file_name(part))]


def _file_name(part: Message) -> str:
    try:
        name = part.get_filename() or ""
    except MALFORMED:
        return ""
    odd = "=?" in name and len(name) <= PARSED_CHARACTERS
    return (encoded_words(name) if odd else name).encode("utf-8", "replace").decode()


def _inner(part: Message) -> list[Message]:
    """Return the parts of a part, or the message in it; empty if it has none."""
    payload: Any = part.get_payload() if part.is_multipart() else []
    return list(payload)


def _content(part: Message) -> bytes:
    """Return the content of a part without parts, without its transfer encoding."""
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


def _is_plain(part: Message) -> bool:
    return part.get_content_type() == "text/plain"


def _is_text(part: Message) -> bool:
    """Return whether an alternative is a text, and not what can be told apart from it."""
    return part.get_content_type() not in CALENDARS and part.get_content_maintype() != "message"


def _separate(part: Message) -> Iterator[Message]:
    """Yield the calendars and messages in an alternative, which belong to no single one."""
    if not _is_text(part):
        yield part
        return
    for one in _inner(part):
        yield from _separate(one)


def _chosen(plain: int, richest: int, texts: Sequence[str]) -> list[int]:
    """Return the plain text if it says about as much as the richest alternative, else that.

    Both if they say different things, except for a plain text that only asks for another program.
    """
    words, others = texts[plain].split(), texts[richest].split()
    distinct, other_words = set(words), set(others)
    if 2 * len(distinct & other_words) < min(len(distinct), len(other_words)):
        placeholder = len(words) < PLACEHOLDER_WORDS and _PLACEHOLDER.search(texts[plain])
        return [richest] if placeholder else [plain, richest]
    return [richest] if 2 * len(words) < len(others) else [plain]


def _fields(block: Message) -> str:
    return "\n".join(f"{name}: {' '.join(str(value).split())}" for name, value in block.raw_items())


def _deletes_spaces(part: Message) -> bool:
    with suppress(*MALFORMED):
        flowed, deletes = (str(part.get_param(name, "")).lower() for name in ("format", "delsp"))
        return flowed == "flowed" and deletes == "yes"
    return False


def _unflowed(text: str) -> str:
    """Return text of format=flowed with DelSp=yes, whose lines are broken after an added space."""
    made: list[list[str]] = []
    soft, depth = False, 0
    for line in text.split("\n"):
        marks = _QUOTED.match(line)
        quotes = len(marks[0]) if marks else 0
        said = line[quotes:].removeprefix(" ")
        continues = soft and quotes == depth and said != "-- "
        soft, depth = said.endswith(" ") and said != "-- ", quotes
        shown = said[:-1] if soft else said
        if continues:
            made[-1].append(shown)
        else:
            made.append(["> " * bool(quotes) + shown if quotes <= 1 else f"{'>' * quotes} {shown}"])
    return "\n".join(map("".join, made))


def _joined(texts: Iterator[str] | Sequence[str]) -> str:
    return "\n\n".join(text.strip("\n") for text in texts if text.strip())
