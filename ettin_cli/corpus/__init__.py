"""Sources -> documents: walk folders, decode text, read every format that is known."""

from ettin_cli.corpus.formats import read_file
from ettin_cli.corpus.pdf import close_pdfs
from ettin_cli.corpus.records import Fields
from ettin_cli.corpus.sources import (
    Listing,
    Source,
    SourceFile,
    is_encodable,
    list_files,
    open_source,
)

__all__ = [
    "Fields",
    "Listing",
    "Source",
    "SourceFile",
    "close_pdfs",
    "is_encodable",
    "list_files",
    "open_source",
    "read_file",
]
