"""Malformed messages -> what their senders meant: headers and boundaries that are found."""

from __future__ import annotations

import re

from ettin_cli.corpus.encodings import marked_encoding

KNOWN = re.compile(
    rb"(?:from|to|cc|bcc|subject|date|sender|reply-to|received|return-path|message-id|mime-version|"
    rb"content-[a-z-]+|in-reply-to|references|delivered-to|status|x-[a-z0-9-]+)[ \t]*:",
    re.IGNORECASE,
)
FOLLOWING = 50
# How many lines that are not blank may be before the headers.
BEFORE = 3
PROBED = 256
_HEADER = re.compile(rb"[!-9;-~]+[ \t]*:")
_MARK = b"\xef\xbb\xbf"
_BOUNDARY = re.compile(
    rb"^--(\S(?:[^\r\n]{0,199}[^ \t\r\n])?)[ \t]*\r?\n(?=(?:content-[a-z-]+[ \t]*:|\r?\n))",
    re.IGNORECASE | re.MULTILINE,
)


def mended(content: bytes) -> tuple[bytes, bool]:
    """Return a message that begins with its headers, and whether it was in UTF-16.

    A byte order mark, blank lines and other lines before or between the headers are left out.
    """
    encoding = _wide(content)
    if encoding:
        content = content.decode(encoding, "replace").lstrip("\ufeff").encode("utf-8", "replace")
    content = content.removeprefix(_MARK)
    return _headers_first(content), encoding is not None


def _wide(content: bytes) -> str | None:
    """Return the encoding if it has two bytes or four for each character of a header."""
    if (marked := marked_encoding(content)) and marked != "utf-8-sig":
        return marked
    head = content[:PROBED]
    if head[::2].count(0) * 4 > len(head) and not head[1::2].count(0):
        return "utf-16-be"
    if head[1::2].count(0) * 4 > len(head) and not head[::2].count(0):
        return "utf-16-le"
    return None


def _headers_first(content: bytes) -> bytes:
    """Return a message without the lines that are not headers, if headers follow them."""
    begin = at = _first_header(content)
    kept: list[bytes] = []
    dropped = 0
    while dropped <= FOLLOWING:
        end = _line_end(content, at)
        line = content[at:end]
        if _HEADER.match(line) or (kept and line[:1] in (b" ", b"\t") and line.strip()):
            kept.append(line)
        elif line.strip() and _headers_follow(content, end):
            dropped += 1
        else:
            break
        at = end
    return b"".join(kept) + content[at:] if dropped else content[begin:]


def _first_header(content: bytes) -> int:
    """Return where the headers begin, after at most a few other lines; 0 if they do not."""
    at = others = 0
    for _ in range(FOLLOWING):
        if _headers_follow(content, at):
            return at
        end = _line_end(content, at)
        others += bool(content[at:end].strip())
        if others > BEFORE or end == len(content):
            break
        at = end
    return 0


def _line_end(content: bytes, at: int) -> int:
    return content.find(b"\n", at) + 1 or len(content)


def _headers_follow(content: bytes, at: int) -> bool:
    """Return whether a block of headers, at least one of them well known, begins here."""
    known = False
    for _ in range(FOLLOWING):
        end = _line_end(content, at)
        line = content[at:end]
        if not line.strip():
            return known
        if KNOWN.match(line):
            known = True
        elif not (_HEADER.match(line) or (known and line[:1] in b" \t")):
            return False
        at = end
    return known


def found_boundary(body: bytes) -> bytes | None:
    """Return the boundary between parts of a message that declares none, or another one."""
    match = _BOUNDARY.search(body)
    return match[1].removesuffix(b"--") if match else None
