"""Sources -> documents: walk folders, decode text, read every format that is known.

A package that adds a format needs `DocumentReader` or `TableReader`, `Document`, and
`UnreadableError` for files that hold none; `read_text` decodes as the formats here do.
"""

from ettin_cli.corpus.content import read_text
from ettin_cli.corpus.delimited import DELIMITERS, delimited
from ettin_cli.corpus.formats import read_file
from ettin_cli.corpus.paths import field_of, has_field, without_fields
from ettin_cli.corpus.pdf import close_pdfs
from ettin_cli.corpus.reader import DocumentReader, Row, TableReader
from ettin_cli.corpus.records import (
    EXACT_BELOW,
    TEXT_FIELDS,
    TITLE_FIELD,
    Fields,
    RecordError,
    as_read,
    id_text,
    shallow,
    spared,
)
from ettin_cli.corpus.registry import (
    built_in_formats,
    is_code,
    passed_over,
    table_formats,
    table_reader_of,
)
from ettin_cli.corpus.sources import (
    Listing,
    Source,
    SourceFile,
    is_encodable,
    list_files,
    open_source,
)
from ettin_cli.corpus.streams import document_stream
from ettin_cli.corpus.tables import CSV, JSON, JSONL, TSV, jsonl
from ettin_cli.records import Document
from ettin_cli.storage import UnreadableError

__all__ = [
    "CSV",
    "DELIMITERS",
    "EXACT_BELOW",
    "JSON",
    "JSONL",
    "TEXT_FIELDS",
    "TITLE_FIELD",
    "TSV",
    "Document",
    "DocumentReader",
    "Fields",
    "Listing",
    "RecordError",
    "Row",
    "Source",
    "SourceFile",
    "TableReader",
    "UnreadableError",
    "as_read",
    "built_in_formats",
    "close_pdfs",
    "delimited",
    "document_stream",
    "field_of",
    "has_field",
    "id_text",
    "is_code",
    "is_encodable",
    "jsonl",
    "list_files",
    "open_source",
    "passed_over",
    "read_file",
    "read_text",
    "shallow",
    "spared",
    "table_formats",
    "table_reader_of",
    "without_fields",
]
