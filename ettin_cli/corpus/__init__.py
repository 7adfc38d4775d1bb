"""Sources -> documents: walk folders, decode text, read every format that is known.

A package that adds a format needs `DocumentReader` or `TableReader`, `Document`, and
`UnreadableError` for files that hold none; `read_text` decodes as the formats here do.
"""

from ettin_cli.corpus.content import read_text
from ettin_cli.corpus.formats import read_file
from ettin_cli.corpus.pdf import close_pdfs
from ettin_cli.corpus.reader import DocumentReader, TableReader
from ettin_cli.corpus.records import Fields, RecordError
from ettin_cli.corpus.registry import built_in_formats, passed_over
from ettin_cli.corpus.sources import (
    Listing,
    Source,
    SourceFile,
    is_encodable,
    list_files,
    open_source,
)
from ettin_cli.corpus.streams import document_stream
from ettin_cli.records import Document
from ettin_cli.storage import UnreadableError

__all__ = [
    "Document",
    "DocumentReader",
    "Fields",
    "Listing",
    "RecordError",
    "Source",
    "SourceFile",
    "TableReader",
    "UnreadableError",
    "built_in_formats",
    "close_pdfs",
    "document_stream",
    "is_encodable",
    "list_files",
    "open_source",
    "passed_over",
    "read_file",
    "read_text",
]
