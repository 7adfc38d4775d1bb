from .columnar import batch_rows as batch_rows
from .content import read_text as read_text, require_encoding as require_encoding
from .cutting import (
    WHOLE as WHOLE,
    Piece as Piece,
    ScatteredError as ScatteredError,
    cut as cut,
    piece_rows as piece_rows,
)
from .delimited import delimited_rows as delimited_rows
from .dialects import (
    sniffed as sniffed,
    stated_delimiter as stated_delimiter,
)
from .encodings import marked_encoding as marked_encoding
from .formats import BOILERPLATE as BOILERPLATE, read_file as read_file
from .machine_text import SKIPS as SKIPS
from .main_content import require_main_content as require_main_content
from .ocr import (
    ALWAYS as ALWAYS,
    MODES as MODES,
    NEEDS_OCR as NEEDS_OCR,
    NEVER as NEVER,
    OCR_COMMAND as OCR_COMMAND,
    Ocr as Ocr,
    Recognizer as Recognizer,
    ocr_installed as ocr_installed,
    require_ocr as require_ocr,
    require_ocr_mode as require_ocr_mode,
)
from .paths import field_of as field_of, has_field as has_field, without_fields as without_fields
from .pdf import NO_TEXT_LAYER as NO_TEXT_LAYER
from .pictures import PICTURE_SUFFIXES as PICTURE_SUFFIXES, is_picture as is_picture
from .reader import (
    DocumentReader as DocumentReader,
    Row as Row,
    TableReader as TableReader,
    UnreadableError as UnreadableError,
)
from .recognized_pages import RecognizedPages as RecognizedPages
from .records import (
    EXACT_BELOW as EXACT_BELOW,
    TEXT_FIELDS as TEXT_FIELDS,
    TITLE_FIELD as TITLE_FIELD,
    Fields as Fields,
    RecordError as RecordError,
    among as among,
    as_read as as_read,
    has_surrogate as has_surrogate,
    id_text as id_text,
    named_alike as named_alike,
    shallow as shallow,
    without_surrogates as without_surrogates,
)
from .registry import (
    COMPRESSED as COMPRESSED,
    built_in_formats as built_in_formats,
    ignored_plugins as ignored_plugins,
    is_code as is_code,
    resembles_table as resembles_table,
    table_formats as table_formats,
    table_reader_of as table_reader_of,
)
from .samples import (
    EVERYDAY_ANSWERS as EVERYDAY_ANSWERS,
    ISLAND_STATION as ISLAND_STATION,
    copy_samples as copy_samples,
    sample_corpus as sample_corpus,
)
from .separate import close_processes as close_processes
from .sources import (
    BINARY as BINARY,
    Listing as Listing,
    Source as Source,
    SourceFile as SourceFile,
    is_encodable as is_encodable,
    list_files as list_files,
    located as located,
    open_source as open_source,
)
from .streams import document_stream as document_stream
from .tables import CSV as CSV, JSON as JSON, JSONL as JSONL, TSV as TSV, jsonl as jsonl
