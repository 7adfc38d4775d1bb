"""An email -> a document: its text, with the subject as title."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ettin_cli.corpus.content import decode, read_bytes
from ettin_cli.corpus.html import html_document
from ettin_cli.corpus.reader import DocumentReader
from ettin_cli.records import Document
from ettin_cli.settings import MAX_EMAIL_PARTS, MAX_MARKUP_BYTES, MIB
from ettin_cli.storage import UnreadableError

if TYPE_CHECKING:
    from email.message import EmailMessage, Message

# Exceptions of the standard library's header parser for some malformed headers.
MALFORMED = (AttributeError, LookupError, NameError, RecursionError, TypeError, ValueError)
# Parsing time grows with the square of a header's length.
PARSED_CHARACTERS = 2000
MULTIPART_COST = 50


def email_document(path: Path, doc_id: str) -> Document:
    """Return a message's text with its subject as the title.

    Sender, date and the names of attachments are metadata; attachments are not read.

    Raises:
        UnreadableError: It cannot be read, its text cannot be decoded, or it is too large or has
            too many parts.
    """
    # Importing them takes longer than a command that reads no email should.
    from email import policy
    from email.parser import BytesParser

    content = read_bytes(path)
    try:
        message = BytesParser(_bounded(), policy=policy.default).parsebytes(content)
        body = message.get_body(("plain", "html"))
    except RecursionError as error:
        raise UnreadableError("parts nested too deeply") from error
    headers = {name: _header(message, name) for name in ("from", "to", "date")}
    metadata: dict[str, Any] = {name: value for name, value in headers.items() if value}
    if attachments := _attachments(message):
        metadata["attachments"] = attachments
    text = _body_text(body, doc_id) if body is not None else ""
    return Document(doc_id, text, title=_header(message, "subject"), metadata=metadata)


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


def _header(message: Message, name: str) -> str:
    raw = next((str(value) for field, value in message.raw_items() if field.lower() == name), "")
    value = raw.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if len(raw) <= PARSED_CHARACTERS:
        with suppress(*MALFORMED):
            value = str(message[name] or "")
    return " ".join(value.split())


def _attachments(message: Message) -> list[str]:
    try:
        names = [part.get_filename() for part in message.walk()]
    except MALFORMED:
        return []
    return [name for name in names if name]


def _body_text(body: Message, doc_id: str) -> str:
    payload = body.get_payload(decode=True)
    content = payload if isinstance(payload, bytes) else b""
    try:
        text = content.decode(body.get_content_charset() or "utf-8")
    except (LookupError, ValueError):
        # Many messages are not in their declared encoding.
        text = decode(content)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if body.get_content_type() == "text/html":
        if len(text) > MAX_MARKUP_BYTES:
            raise UnreadableError(f"more than {MAX_MARKUP_BYTES // MIB} MiB of markup")
        return html_document(text, doc_id).text
    return text.strip("\n")


EMAIL = DocumentReader(
    name="email", suffixes=(".eml",), read=email_document, compressed=True, title_suffices=True
)
