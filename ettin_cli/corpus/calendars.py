"""iCalendar: an event, task or journal entry -> its text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ettin_cli.corpus.content import read_text
from ettin_cli.corpus.reader import CollectionReader
from ettin_cli.records import Document
from ettin_cli.storage import UnreadableError

ENTRIES = ("VEVENT", "VTODO", "VJOURNAL")
TEXTS = ("LOCATION", "DESCRIPTION", "COMMENT", "CATEGORIES", "RESOURCES", "CONTACT")
TIMES = {"DTSTART": "Start", "DTEND": "End", "DUE": "Due"}
PEOPLE = {"ORGANIZER": "Organizer", "ATTENDEE": "Attendee"}
_BEGIN = re.compile(r"^[ \t]*BEGIN:VCALENDAR[ \t]*$", re.IGNORECASE | re.MULTILINE)
_LINE = re.compile(r'([\w.-]+)((?:;(?:"[^"]*"|[^":;])*)*):(.*)', re.DOTALL)
_COMMON_NAME = re.compile(r';CN=("[^"]*"|[^;]*)', re.IGNORECASE)
_ESCAPE = re.compile(r"\\(.)")
_TIME = re.compile(r"(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d)\d\d(Z?))?$")


@dataclass(frozen=True, slots=True)
class Entry:
    """An event, task or journal entry, and the line of the file on which it begins."""

    title: str
    text: str
    line: int
    start: str


def calendar_entries(text: str) -> list[Entry]:
    r"""Return the entries of a calendar in order.

    Their text is the location, description and other texts, the times and the people; alarms and
    time zones are left out.

    >>> calendar_entries("BEGIN:VEVENT\nSUMMARY:Tea\\, cake\nLOCATION:Pi\n er\nEND:VEVENT")
    [Entry(title='Tea, cake', text='Pier', line=1, start='')]
    """
    entries: list[Entry] = []
    open_components: list[str] = []
    count: Counter[str] = Counter()
    found: list[tuple[str, str, str]] = []
    begins = 0
    for number, line in _unfolded(text):
        match = _LINE.match(line)
        if match is None:
            continue
        name, parameters, value = match[1].upper(), match[2], match[3]
        kind = value.strip().upper()
        if name == "BEGIN":
            if kind in ENTRIES and not any(count[entry] for entry in ENTRIES):
                found, begins = [], number
            open_components.append(kind)
            count[kind] += 1
        elif name == "END" and count[kind]:
            ended = ""
            while ended != kind:
                ended = open_components.pop()
                count[ended] -= 1
            if kind in ENTRIES:
                entries.append(_entry(found, begins))
                found = []
        elif open_components and open_components[-1] in ENTRIES:
            found.append((name, parameters, value))
    if found:
        # The file ends early.
        entries.append(_entry(found, begins))
    return entries


def calendar_text(text: str) -> str:
    """Return the titles and texts of a calendar's entries."""
    return "\n\n".join(
        "\n".join(filter(None, (entry.title, entry.text))) for entry in calendar_entries(text)
    )


def _unfolded(text: str) -> Iterator[tuple[int, str]]:
    """Yield each content line with its number; a line that begins with a blank continues it."""
    parts: list[str] = []
    begins = 1
    for number, line in enumerate(text.split("\n"), start=1):
        if line[:1] in (" ", "\t") and parts:
            parts.append(line[1:])
            continue
        if parts:
            yield begins, "".join(parts)
        parts, begins = [line], number
    yield begins, "".join(parts)


def _entry(found: Sequence[tuple[str, str, str]], line: int) -> Entry:
    lines, title, start = [], "", ""
    for name, parameters, value in found:
        if name == "SUMMARY":
            title = title or " ".join(_unescaped(value).split())
        elif name in TEXTS:
            lines.append(_unescaped(value).strip())
        elif name in TIMES:
            lines.append(f"{TIMES[name]}: {_time(value.strip(), parameters)}")
            start = start or (_time(value.strip(), parameters) if name == "DTSTART" else "")
        elif name in PEOPLE:
            common = _COMMON_NAME.search(parameters)
            address = re.sub("^mailto:", "", value.strip(), flags=re.IGNORECASE)
            known = common[1].strip('"') if common else ""
            lines.append(f"{PEOPLE[name]}: {known} <{address}>" if known else address)
    return Entry(title, "\n".join(filter(None, lines)), line, start)


def _unescaped(value: str) -> str:
    return _ESCAPE.sub(lambda match: "\n" if match[1] in "nN" else match[1], value)


def _time(value: str, parameters: str) -> str:
    match = _TIME.match(value)
    if match is None:
        return value
    zone = re.search(r';TZID="?([^";]*)', parameters, re.IGNORECASE)
    date, time = "-".join(match.group(1, 2, 3)), ":".join(filter(None, match.group(4, 5)))
    return " ".join(filter(None, (date, time, "UTC" if match[6] else zone[1] if zone else "")))


def _documents(path: Path, name: str) -> Iterator[Document]:
    text = read_text(path)
    if not _BEGIN.search(text):
        raise UnreadableError("not an iCalendar file: no BEGIN:VCALENDAR")
    for entry in calendar_entries(text):
        metadata = {"start": entry.start} if entry.start else {}
        yield Document(
            f"{name}:{entry.line}",
            entry.text,
            title=entry.title,
            metadata=metadata,
            lines=(entry.line,),
        )


ICS = CollectionReader(
    name="iCalendar", suffixes=(".ics", ".ical"), read=_documents, compressed=True
)
