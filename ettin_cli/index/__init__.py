"""The index: a folder that is always whole. Knows vectors and passages, and no model."""

from ettin_cli.index.factories import require_factory
from ettin_cli.index.files import FileEntry
from ettin_cli.index.finding import find_index
from ettin_cli.index.freshness import entry_for, is_unchanged, portable, touched
from ettin_cli.index.lock import writing
from ettin_cli.index.manifest import (
    Counts,
    Manifest,
    RecordedSource,
    not_an_index,
    read_manifest,
)
from ettin_cli.index.reader import Index, bytes_a_vector
from ettin_cli.index.remains import Remains, damaged_files, require_whole
from ettin_cli.index.writer import Generation, Recipe, forget_unfinished, remove_leftovers

__all__ = [
    "Counts",
    "FileEntry",
    "Generation",
    "Index",
    "Manifest",
    "Recipe",
    "RecordedSource",
    "Remains",
    "bytes_a_vector",
    "damaged_files",
    "entry_for",
    "find_index",
    "forget_unfinished",
    "is_unchanged",
    "not_an_index",
    "portable",
    "read_manifest",
    "remove_leftovers",
    "require_factory",
    "require_whole",
    "touched",
    "writing",
]
