"""Zip packages of XML parts, as of Office documents and books: their parts within limits."""

from __future__ import annotations

import posixpath
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote

from ettin_cli.errors import first_line
from ettin_cli.settings import MAX_MARKUP_BYTES, MAX_UNPACKED_BYTES, MIB
from ettin_cli.storage import UnreadableError, opened

# Data that grows more than this when unpacked is not an image, whatever its name.
GROWTH = 4
MARKUP = (".xml", ".rels")
# Signature of the container in which Microsoft Office stores encrypted documents.
OLE_MARK = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
# Exceptions of zipfile and the parsers for damaged data.
DAMAGES = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    RuntimeError,
    AttributeError,
    LookupError,
    SyntaxError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True, slots=True)
class Relation:
    """A link from a part of an Office document to another part.

    Args:
        kind: The last segment of its type, such as "footnotes", the same in all dialects.
        target: The name of the part in the package.
    """

    id: str
    kind: str
    target: str


class Package:
    """The parts of a package by name, read within the limits.

    Names are compared without case if no part has the exact name, as Office and book readers do.

    `faults` collects what is missing or damaged, a line each.

    Args:
        archive: The open zip file.
        most: Maximum size in bytes of the parts read, unpacked.
    """

    def __init__(self, archive: zipfile.ZipFile, most: int) -> None:
        self.archive = archive
        self.faults: list[str] = []
        self.most = self.left = most
        self._names = {name.replace("\\", "/").lower(): name for name in archive.namelist()}
        self._names |= {name: name for name in archive.namelist()}

    def find(self, name: str) -> str | None:
        """Return the name of a part as the archive has it; None if there is none."""
        return self._names.get(name) or self._names.get(name.lower())

    def read(self, name: str) -> bytes:
        """Return the content of a part.

        Raises:
            LookupError: There is none.
            UnreadableError: The parts read so far are too large, counting repetitions.
        """
        return self.archive.read(self._claimed(name))

    def stream(self, name: str) -> IO[bytes]:
        """Open a part for reading piece by piece.

        Raises:
            LookupError: There is none.
            UnreadableError: The parts read so far are too large.
        """
        return self.archive.open(self._claimed(name))

    def _claimed(self, name: str) -> str:
        """Return the name of a part as the archive has it, and count its size."""
        found = self.find(name)
        if found is None:
            raise LookupError(f"{name} is missing")
        self.left -= self.archive.getinfo(found).file_size
        if self.left < 0:
            raise too_much_markup(self.most)
        return found

    def xml(self, name: str) -> Any:
        """Return the root element of an XML part.

        Raises:
            LookupError: There is none.
            SyntaxError: It is not well-formed XML.
        """
        return parse_xml(self.read(name))

    def part(self, name: str) -> Any | None:
        """Return the root element of an XML part; None, with a fault, if it cannot be read."""
        if self.find(name) is None:
            self.faults.append(f"{name} is missing")
            return None
        try:
            return self.xml(name)
        except DAMAGES as error:
            self.faults.append(f"{name} cannot be read: {first_line(error)}")
            return None

    def relations(self, name: str) -> list[Relation]:
        """Return the links of a part to others in the package; "" is the package itself."""
        folder, base = posixpath.split(name)
        listed = posixpath.join(folder, "_rels", f"{base}.rels")
        root = self.part(listed) if self.find(listed) else None
        if root is None:
            return []
        return [
            Relation(
                element.get("Id", ""),
                element.get("Type", "").rpartition("/")[2],
                joined(folder, element.get("Target", "")),
            )
            for element in root.iterchildren("{*}Relationship")
            if element.get("TargetMode") != "External"
        ]

    def related(self, name: str, *kinds: str) -> list[str]:
        """Return the parts that a part links to by relations of these kinds, in their order."""
        targets = [one.target for one in self.relations(name) if one.kind in kinds]
        return list(dict.fromkeys(targets))

    def main_part(self, usual: str) -> str:
        """Return the name of the part with the content of an Office document."""
        return next(iter(self.related("", "officeDocument")), usual)

    def core_title(self) -> str:
        """Return the title among an Office document's properties; "" if there is none."""
        for name in self.related("", "core-properties"):
            root = self.part(name)
            if root is not None:
                return " ".join((root.findtext("{*}title") or "").split())
        return ""


def joined(folder: str, reference: str) -> str:
    """Return the name of the part that a reference from a folder means.

    >>> joined("word", "../media/a%20b.png#top"), joined("word", "/word/a.xml")
    ('media/a b.png', 'word/a.xml')
    """
    path = unquote(reference.partition("#")[0]).replace("\\", "/")
    return posixpath.normpath(posixpath.join("/", folder, path)).lstrip("/")


def parse_xml(content: bytes, *, recover: bool = False) -> Any:
    """Return the root element of XML; entities are not expanded and nothing is loaded.

    Args:
        recover: Whether to read what can be read of malformed XML.

    Raises:
        SyntaxError: It is malformed.
    """
    from lxml import etree

    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        remove_comments=True,
        remove_pis=True,
        recover=recover,
    )
    root = etree.fromstring(content, parser)
    if root is None:
        raise ValueError("no XML element")
    return root


def local_name(element: Any) -> str:
    """Return the name of an element without its namespace; "" for an entity."""
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def outermost(root: Any, name: str) -> Iterator[Any]:
    """Yield the elements of this name that are in no other of them; each is to be read once."""
    from lxml import etree

    walk = etree.iterwalk(root, events=("start",), tag=f"{{*}}{name}")
    for _, element in walk:
        yield element
        walk.skip_subtree()


def attribute(element: Any, name: str) -> str | None:
    """Return an attribute in any namespace, which differs between dialects; None if absent."""
    for key, value in element.attrib.items():
        if key.rpartition("}")[2] == name:
            return str(value)
    return None


def too_much_markup(most: int) -> UnreadableError:
    """Return the error for a package with too much markup."""
    return UnreadableError(f"more than {most // MIB} MiB of markup when unpacked")


def _require_small_markup(archive: zipfile.ZipFile, most: int) -> None:
    """Check that the XML parts of an Office document have a bounded size."""
    markup = sum(
        entry.file_size
        for entry in archive.infolist()
        if entry.filename.lower().endswith(MARKUP) or entry.file_size > GROWTH * entry.compress_size
    )
    if markup > most:
        raise too_much_markup(most)


@contextmanager
def package(
    path: Path | IO[bytes], kind: str, *, most: int = 0, whole: bool = True
) -> Iterator[Package]:
    """Open a package; any failure becomes the reason why the file cannot be read.

    Args:
        kind: The name of its format.
        most: Maximum size of its markup in bytes, unpacked; by default that of all formats.
        whole: Whether all markup counts, not only that of the parts read.

    Raises:
        UnreadableError: It is damaged or exceeds the limits when unpacked.
    """
    most = most or MAX_MARKUP_BYTES
    if isinstance(path, Path):
        with opened(path) as file:
            encrypted = file.read(len(OLE_MARK)) == OLE_MARK
        if encrypted:
            raise UnreadableError(f"needs a password, or is older than {kind}")
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
            if unpacked > MAX_UNPACKED_BYTES:
                raise UnreadableError(f"more than {MAX_UNPACKED_BYTES // MIB:,} MiB when unpacked")
            if whole:
                _require_small_markup(archive, most)
            yield Package(archive, most)
    except DAMAGES as error:
        reason = error.strerror if isinstance(error, OSError) else first_line(error)
        raise UnreadableError(f"not a valid {kind}: {reason}") from error
