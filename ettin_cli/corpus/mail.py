"""An email -> a document: its text, under its subject."""

from __future__ import annotations

from email import policy
from email.message import EmailMessage, Message
from email.parser import BytesParser
from pathlib import Path
from typing import Any

from ettin_cli.corpus.content import decode
from ettin_cli.corpus.html import html_document
from ettin_cli.records import Document
from ettin_cli.storage import opened

# What the standard library's parser of headers raises at some that are malformed.
MALFORMED = (AttributeError, LookupError, NameError, TypeError, ValueError)


def email_document(path: Path, doc_id: str) -> Document:
    """Return a message's text with its subject as the title.

    Sender, date and the names of attachments are metadata; attachments are not read.

    Raises:
        UnreadableError: It cannot be read, or its text cannot be decoded.
    """
    with opened(path) as file:
        message = BytesParser(policy=policy.default).parse(file)
    body = message.get_body(("plain", "html")) if isinstance(message, EmailMessage) else None
    headers = {name: _header(message, name) for name in ("from", "to", "date")}
    metadata: dict[str, Any] = {name: value for name, value in headers.items() if value}
    if attachments := _attachments(message):
        metadata["attachments"] = attachments
    text = _body_text(body, doc_id) if body is not None else ""
    return Document(doc_id, text, title=_header(message, "subject"), metadata=metadata)


def _header(message: Message, name: str) -> str:
    try:
        value = str(message[name] or "")
    except MALFORMED:
        raw = next(str(value) for field, value in message.raw_items() if field.lower() == name)
        value = raw.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
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
        # Many a message is not in the encoding that it says it is.
        text = decode(content)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if body.get_content_type() == "text/html":
        return html_document(text, doc_id).text
    return text.strip("\n")
