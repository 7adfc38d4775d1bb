"""The formats that can be read: to add one, write a module and add a line here."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import PurePath

from ettin_cli.corpus.asciidoc import ASCIIDOC
from ettin_cli.corpus.calendars import ICS
from ettin_cli.corpus.columnar import ARROW, PARQUET
from ettin_cli.corpus.docx import DOCX
from ettin_cli.corpus.epub import EPUB
from ettin_cli.corpus.html import HTML
from ettin_cli.corpus.latex import LATEX
from ettin_cli.corpus.mail import EMAIL, MHTML, in_maildir
from ettin_cli.corpus.mailboxes import MBOX
from ettin_cli.corpus.notebook import NOTEBOOK
from ettin_cli.corpus.odf import ODP, ODS, ODT
from ettin_cli.corpus.org import ORG
from ettin_cli.corpus.outlook import MSG
from ettin_cli.corpus.pictures import PICTURE
from ettin_cli.corpus.plugin_readers import plugin_reader, plugin_readers, plugin_suffixes
from ettin_cli.corpus.reader import Reader, TableReader
from ettin_cli.corpus.rtf import RTF
from ettin_cli.corpus.scans import PDF
from ettin_cli.corpus.slides import PPTX
from ettin_cli.corpus.subtitles import SUBTITLES
from ettin_cli.corpus.tables import CSV, JSON, JSONL, TSV
from ettin_cli.corpus.texts import CODE, MARKDOWN, PROSE, RST
from ettin_cli.corpus.xlsx import XLSX

READERS: tuple[Reader, ...] = (
    PROSE,
    MARKDOWN,
    RST,
    ASCIIDOC,
    ORG,
    LATEX,
    NOTEBOOK,
    SUBTITLES,
    HTML,
    PDF,
    PICTURE,
    DOCX,
    PPTX,
    XLSX,
    ODT,
    ODS,
    ODP,
    RTF,
    EPUB,
    EMAIL,
    MBOX,
    MSG,
    MHTML,
    ICS,
    CODE,
    JSONL,
    JSON,
    CSV,
    TSV,
    PARQUET,
    ARROW,
)
COMPRESSED = (".gz", ".zst")
_BY_SUFFIX = {suffix: reader for reader in READERS for suffix in reader.suffixes}
_BY_NAME = {
    name: reader
    for reader in READERS
    if not isinstance(reader, TableReader)
    for name in reader.file_names
}


def built_in_reader(name: str) -> Reader | None:
    """Return the built-in reader of files of this name, or None; `x.md.gz` is read as `x.md`.

    A message in a Maildir has no suffix, but a name of its own form. Any other name without
    a suffix is that of a text, which its content may contradict.

    >>> [one and one.name for one in map(built_in_reader, ("a/b.md.gz", "Makefile", "film.mp4"))]
    ['Markdown', 'source code', None]
    """
    path = PurePath(name.lower())
    compressed = path.suffix in COMPRESSED
    if compressed:
        path = path.with_suffix("")
    reader = _BY_NAME.get(path.name) or _BY_SUFFIX.get(path.suffix)
    if in_maildir(name):
        reader = EMAIL
    if reader is None and not path.suffix and not compressed and path.name[:1] not in ("", "."):
        return PROSE
    return None if reader and compressed and not reader.compressed else reader


def reader_of(name: str) -> Reader | None:
    """Return the reader of files of this name, built-in or from a plugin; None if there is none.

    Raises:
        PluginError: The plugin for such files cannot be loaded or selected.
    """
    return built_in_reader(name) or plugin_reader(name)


def table_reader_of(name: str) -> TableReader | None:
    """Return the reader of a table of this name; None if there is none.

    Raises:
        PluginError: As in `reader_of`.
    """
    reader = reader_of(name)
    return reader if isinstance(reader, TableReader) else None


def resembles_table(name: str) -> bool:
    """Return whether a name ends nearly like that of a table; loads no plugin.

    >>> [resembles_table(name) for name in ("runs/mined.jsnl", "a/b.parqet", "owner/name-v1.5")]
    [True, True, False]
    """
    tables = [reader for reader in READERS if isinstance(reader, TableReader)]
    known = [*COMPRESSED, *(suffix for reader in tables for suffix in reader.suffixes)]
    return any(
        difflib.get_close_matches(suffix, known, 1, 0.7)
        for suffix in PurePath(name.lower()).suffixes
    )


def is_read(name: str) -> bool:
    """Return whether files of this name can be read; loads no plugin."""
    suffix = PurePath(name.lower()).suffix
    return built_in_reader(name) is not None or suffix in plugin_suffixes()


def is_code(name: str) -> bool:
    """Return whether files of this name are source code."""
    return built_in_reader(name) is CODE


def built_in_formats() -> str:
    """Return the names of the built-in formats."""
    return ", ".join(reader.name for reader in READERS)


def known_formats() -> str:
    """Return the names of the known formats; those of plugins by suffix."""
    added = sorted(plugin_suffixes() - _BY_SUFFIX.keys())
    return ", ".join([built_in_formats(), *added])


def table_formats() -> str:
    """Return the suffixes of the formats with rows."""
    return ", ".join(
        reader.suffixes[0][1:] for reader in READERS if isinstance(reader, TableReader)
    )


def ignored_plugins(names: Iterable[str]) -> list[str]:
    """Return the plugins that are not used for files of these names, and why, a line each."""
    suffixes = {PurePath(name.lower()).suffix for name in names}
    return [
        f"{plugin.what} from {plugin.package} is not used: {suffix} files are read as "
        f"{_BY_SUFFIX[suffix].name}"
        for suffix in sorted(plugin_suffixes() & suffixes & _BY_SUFFIX.keys())
        for plugin in plugin_readers(suffix)
    ]
