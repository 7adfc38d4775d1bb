"""No two formats claim the same files or names, and every list of formats follows from them."""

from collections import Counter

import pytest

from ettin_cli.corpus.reader import DocumentReader
from ettin_cli.corpus.registry import READERS, built_in_formats, built_in_reader, table_formats
from ettin_cli.files.writers.registry import WRITERS, formats, holds_measurement, holds_races
from ettin_cli.files.writers.writer import BinaryWriter

SUFFIXES = [suffix for reader in READERS for suffix in reader.suffixes]


def test_a_suffix_is_of_one_reader_and_in_lower_case_with_its_dot() -> None:
    assert [suffix for suffix, times in Counter(SUFFIXES).items() if times > 1] == []
    assert all(one == f".{one.strip('.').lower()}" for one in SUFFIXES)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_a_registered_reader_is_found_by_every_name_it_gives(reader: DocumentReader) -> None:
    assert all(built_in_reader(f"x{suffix}") is reader for suffix in reader.suffixes)
    packed = [built_in_reader(f"x{suffix}.GZ") for suffix in reader.suffixes]
    assert packed == [reader if reader.compressed else None] * len(packed)


def test_formats_to_read_are_listed_in_the_order_of_the_registry() -> None:
    assert built_in_formats() == (
        "text, Markdown, reStructuredText, AsciiDoc, Org, LaTeX, Jupyter notebook, subtitles, "
        "HTML, PDF, picture, DOCX, PPTX, XLSX, ODT, ODS, ODP, RTF, EPUB, "
        "email, mbox, Outlook, MHTML, iCalendar, source code, "
        "JSONL, JSON, CSV, TSV, Parquet, Feather"
    )
    assert table_formats() == "jsonl, json, csv, tsv, parquet, feather"


def test_a_name_and_a_suffix_is_of_one_writer() -> None:
    names = [writer.name for writer in WRITERS]
    suffixes = [suffix for writer in WRITERS for suffix in writer.suffixes]
    assert (len(set(names)), len(set(suffixes))) == (len(names), len(suffixes))


def test_formats_to_write_are_listed_by_what_they_can_hold() -> None:
    assert formats() == (
        *("auto", "table", "json", "jsonl", "csv", "tsv", "parquet", "trec", "md", "paths"),
    )
    measured = ("auto", "table", "json", "jsonl", "csv", "tsv", "md")
    assert formats(holds_measurement) == measured
    assert formats(holds_races) == ("auto", "table", "json", "jsonl")
    assert [one.name for one in WRITERS if isinstance(one, BinaryWriter)] == ["parquet"]
    assert [one.name for one in WRITERS if one.is_run] == ["trec"]
