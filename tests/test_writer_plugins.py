"""Another package adds an output format, as users install it and run the command line."""

import json
import sqlite3
from pathlib import Path

import pytest

from tests.plugged import ettin_with, install

FERRY = "when does the ferry sail"
LIST = """
    from ettin_cli.files.writers import TextWriter

    class ListWriter(TextWriter):
        name = "list"
        suffixes = (".list", ".lst")

        def begin(self, layout):
            return b"many\\n" if layout.many else b"one\\n"

        def answer(self, answer, layout, *, first):
            lines = [f"{'first' if first else 'next'}: {answer.query.text}\\n"]
            lines += [f"- {hit.passage.doc_id}\\n" for hit in answer.hits]
            return "".join(lines).encode()

        def end(self, layout):
            return b"end\\n"

    WRITER = ListWriter()
"""
SQLITE = """
    import sqlite3

    from ettin_cli.files.writers import BinaryWriter

    class Sqlite(BinaryWriter):
        name = "sqlite"
        suffixes = (".db",)

        def write(self, rows, file, layout):
            base = sqlite3.connect(":memory:")
            base.execute("CREATE TABLE hits (query, rank, doc_id)")
            for row in rows:
                values = (row["query"], row["rank"], row["doc_id"])
                base.execute("INSERT INTO hits VALUES (?, ?, ?)", values)
            base.commit()
            file.write(base.serialize())

    WRITER = Sqlite()
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of installed packages, beside documents and queries to search them."""
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "boats.txt").write_text("The ferry sails at nine.\n")
    (docs / "bread.txt").write_text("Knead the dough for ten minutes.\n")
    (tmp_path / "queries.txt").write_text("ferry\ndough\n")
    return tmp_path / "site"


def test_a_plugins_format_is_chosen_by_name_and_by_suffix(tmp_path: Path, site: Path) -> None:
    install(site, "ettin-list", LIST, {"ettin.writers": {"list": "WRITER"}})
    by_name = ettin_with(
        site, tmp_path, "search", FERRY, "docs", "-r", "none", "-k", "1", "-f", "list"
    )
    assert (by_name.returncode, by_name.stdout) == (0, f"one\nfirst: {FERRY}\n- boats.txt\nend\n")
    words = ("search", "--queries", "queries.txt", "docs", "-r", "none", "-k", "1")
    by_suffix = ettin_with(site, tmp_path, *words, "-o", "hits.lst")
    assert (by_suffix.returncode, by_suffix.stdout) == (0, "")
    assert (tmp_path / "hits.lst").read_text() == (
        "many\nfirst: ferry\n- boats.txt\nnext: dough\n- bread.txt\nend\n"
    )


def test_a_plugins_binary_format_is_made_of_all_rows(tmp_path: Path, site: Path) -> None:
    install(site, "ettin-sqlite", SQLITE, {"ettin.writers": {"sqlite": "WRITER"}})
    words = ("search", "--queries", "queries.txt", "docs", "-r", "none", "-k", "1")
    ran = ettin_with(site, tmp_path, *words, "-o", "hits.db")
    assert ran.returncode == 0, ran.stderr
    rows = sqlite3.connect(tmp_path / "hits.db").execute("SELECT * FROM hits").fetchall()
    assert rows == [("ferry", 1, "boats.txt"), ("dough", 1, "bread.txt")]
    (tmp_path / "request.jsonl").write_text(
        json.dumps({"query": "ferry", "documents": [{"id": "a", "text": "The ferry sails."}]})
    )
    ran = ettin_with(
        site, tmp_path, "rerank", "request.jsonl", "-r", "embedded", "-f", "sqlite", "-o", "r"
    )
    assert ran.returncode == 0, ran.stderr
    rows = sqlite3.connect(tmp_path / "r").execute("SELECT * FROM hits").fetchall()
    assert rows == [("ferry", 1, "a")]


@pytest.mark.parametrize(
    ("source", "line"),
    [
        (
            "import no_such_module",
            "cannot load the writer of list from ettin-list 0.1: "
            "ModuleNotFoundError: No module named 'no_such_module'",
        ),
        (
            "WRITER = len",
            "the writer of list from ettin-list 0.1, ettin_list:WRITER, is a "
            "builtin_function_or_method, not an instance of a TextWriter or a BinaryWriter",
        ),
        (
            LIST.replace('"list"', '"other"'),
            "the writer of list from ettin-list 0.1, ettin_list:WRITER, has the name 'other'",
        ),
        (
            LIST.replace('b"end\\n"', '"text"'),
            "the writer of list from ettin-list 0.1 fails: "
            "TypeError: str returned where bytes are needed",
        ),
    ],
)
def test_a_plugin_that_does_not_work_is_one_line(
    tmp_path: Path, site: Path, source: str, line: str
) -> None:
    install(site, "ettin-list", source, {"ettin.writers": {"list": "WRITER"}})
    words = ("search", FERRY, "docs", "-r", "none", "-f", "list", "-o", "out", "-q")
    ran = ettin_with(site, tmp_path, *words)
    assert (ran.returncode, ran.stderr.splitlines()[-2]) == (1, f"ettin: error: {line}")
    assert not (tmp_path / "out").exists()


def test_a_format_that_is_built_in_stays_so_with_a_notice(tmp_path: Path, site: Path) -> None:
    install(site, "ettin-csv", "1 / 0", {"ettin.writers": {"csv": "WRITER"}})
    ran = ettin_with(site, tmp_path, "search", FERRY, "docs", "-r", "none", "-f", "csv")
    assert (ran.returncode, ran.stdout.split(",")[0]) == (0, "query_id")
    assert (
        "ettin: the writer of csv from ettin-csv 0.1 is not used: csv is built in"
        in ran.stderr.splitlines()
    )


def test_the_message_of_an_unknown_format_names_those_of_plugins(
    tmp_path: Path, site: Path
) -> None:
    install(site, "ettin-list", LIST, {"ettin.writers": {"list": "WRITER"}})
    ran = ettin_with(site, tmp_path, "search", FERRY, "docs", "-f", "lisp")
    assert (ran.returncode, ran.stderr.splitlines()) == (
        2,
        [
            "ettin: error: unknown format 'lisp'",
            "  hint: auto, table, json, jsonl, csv, tsv, parquet, trec, md, paths, list",
        ],
    )


def test_help_imports_no_writers(tmp_path: Path, site: Path) -> None:
    install(site, "ettin-list", "1 / 0", {"ettin.writers": {"list": "WRITER"}})
    ran = ettin_with(site, tmp_path, "search", "--help")
    assert (ran.returncode, ran.stderr) == (0, "")
