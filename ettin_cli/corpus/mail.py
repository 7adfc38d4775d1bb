"""An email, or a page saved as one -> a document: its text, with the subject as title."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ettin_cli.corpus.content import read_bytes
from ettin_cli.corpus.mail_parts import Body, attachments, header
from ettin_cli.corpus.mail_repair import mended
from ettin_cli.corpus.reader import DocumentReader
from ettin_cli.records import Document
from ettin_cli.settings import MAX_EMAIL_LINES, MAX_EMAIL_PARTS, MAX_MARKUP_BYTES
from ettin_cli.storage import UnreadableError

if TYPE_CHECKING:
    from email.message import EmailMessage, Message

# Longer headers of parts are not parsed, as parsing takes time of the square of their length.
PARSED_CHARACTERS = 2000
MULTIPART_COST = 50
# Messages of a Maildir: in `cur` or `new` by their unique names, elsewhere by their flags.
_IN_MAILDIR = re.compile(r"(?:^|/)(?:cur|new)/\d+\.[^/]+$|(?:^|/)\d+\.[^/]*[:;!]2,[A-Za-z]*$")


def email_document(path: Path, doc_id: str) -> Document:
    """Return a message's text with its subject as the title.

    Sender, recipients, date and the names of attachments are metadata; attachments are not read,
    except for forwarded messages and calendars.

    Raises:
        UnreadableError: It cannot be read, its text cannot be decoded, or it is too large or has
            too many parts.
    """
    return message_document(read_bytes(path), doc_id)


def message_document(content: bytes, doc_id: str) -> Document:
    """Return a message's text with its subject as the title.

    Raises:
        UnreadableError: As in `email_document`.
    """
    if content.count(b"\n") > MAX_EMAIL_LINES:
        raise UnreadableError(f"more than {MAX_EMAIL_LINES:,} lines")
    try:
        message, body = _parsed(content)
    except RecursionError as error:
        raise UnreadableError("parts nested too deeply") from error
    values = {name: header(message, name) for name in ("from", "to", "date")}
    metadata: dict[str, Any] = {name: value for name, value in values.items() if value}
    if names := attachments(message):
        metadata["attachments"] = names
    notices = []
    if not body.text.strip():
        kinds = ", ".join(sorted(body.unread))
        notices = [f"no readable body, only {kinds}" if kinds else "no readable body"]
    title = header(message, "subject")
    return Document(doc_id, body.text, title=title, metadata=metadata, notices=notices)


def _parsed(content: bytes) -> tuple[Message, Body]:
    # Importing them takes longer than a command that reads no email should.
    from email import policy
    from email.parser import BytesParser

    part = _bounded()

    def parse(content: bytes) -> Message:
        return BytesParser(part, policy=policy.default).parsebytes(content)

    content, wide = mended(content)
    message = parse(content)
    return message, Body(message, parse, MAX_MARKUP_BYTES, wide=wide)


def _bounded() -> type[EmailMessage]:
    """Return a class for the parts of one message that limits their number."""
    from email.message import EmailMessage

    left = MAX_EMAIL_PARTS

    def take(count: int) -> None:
        nonlocal left
        left -= count
        if left < 0:
            raise UnreadableError(f"more than {MAX_EMAIL_PARTS:,} parts, or headers too long")

    class Part(EmailMessage):
        def __init__(self, policy: Any = None) -> None:
            super().__init__(policy)
            take(1)

        def set_raw(self, name: str, value: str) -> None:
            super().set_raw(name, value)
            if name.lower().startswith("content-"):
                if len(value) > PARSED_CHARACTERS:
                    raise UnreadableError(f"a header of {len(value):,} characters")
                # Every line of a message is compared with the boundaries of all enclosing parts.
                take(len(value) // 100 + MULTIPART_COST * ("multipart" in value.lower()))

    return Part


def in_maildir(name: str) -> bool:
    """Return whether a path is that of a message in a Maildir.

    >>> in_maildir("mail/cur/1700000000.M1P2.host:2,S"), in_maildir("cur/notes.txt")
    (True, False)
    """
    return _IN_MAILDIR.search(name) is not None


def _saved_page(path: Path, doc_id: str) -> Document:
    from dataclasses import replace

    document = email_document(path, doc_id)
    return replace(document, metadata={})


EMAIL = DocumentReader(
    name="email", suffixes=(".eml",), read=email_document, compressed=True, title_suffices=True
)
MHTML = DocumentReader(name="MHTML", suffixes=(".mhtml", ".mht"), read=_saved_page, compressed=True)
