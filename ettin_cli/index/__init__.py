"""The index: a folder that is always whole. Knows vectors and passages, and no model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ettin_cli.index.factories import require_factory
from ettin_cli.index.files import FileEntry
from ettin_cli.index.finding import find_index
from ettin_cli.index.freshness import entry_for, is_unchanged, portable, touched
from ettin_cli.index.lock import writing
from ettin_cli.index.manifest import Counts, Manifest, RecordedSource, not_an_index, read_manifest
from ettin_cli.index.reader import Index, bytes_a_vector
from ettin_cli.index.salvage import Remains, damaged_files, require_whole
from ettin_cli.index.vectors import inner_products
from ettin_cli.index.writer import Generation, Recipe, forget_unfinished, remove_leftovers

if TYPE_CHECKING:
    from ettin_cli.index.lexicon import Lexicon
    from ettin_cli.index.passages import Passages
    from ettin_cli.index.vectors import Rows, Stored

__all__ = [
    "Counts",
    "FileEntry",
    "Generation",
    "Index",
    "Lexicon",
    "Manifest",
    "Passages",
    "Recipe",
    "RecordedSource",
    "Remains",
    "Rows",
    "Stored",
    "bytes_a_vector",
    "damaged_files",
    "entry_for",
    "find_index",
    "forget_unfinished",
    "inner_products",
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
