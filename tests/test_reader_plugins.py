"""Another package adds a document format, as users install it and run the command line."""

import json
from pathlib import Path

import pytest

from tests.plugged import ettin_with, install

ORG = """
    from ettin_cli import Document
    from ettin_cli.corpus import DocumentReader, UnreadableError, read_text

    def read(path, doc_id):
        text = read_text(path)
        if not text.startswith("* "):
            raise UnreadableError("no headline")
        title, _, body = text.partition("\\n")
        lines = range(2, body.count("\\n") + 3)
        return Document(doc_id, body, title=title[2:], metadata={"kind": "org"}, lines=lines)

    READER = DocumentReader(name="Org", read=read)
"""
CHAT = """
    from ettin_cli.corpus import RecordError, TableReader

    def rows(path):
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            author, _, said = line.partition(": ")
            record = {"id": f"m{number}", "text": said, "author": author}
            yield (record if said else RecordError("nobody says this")), number, number

    READER = TableReader(name="Chat", rows=rows, lines=True)
"""


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "boats.zim").write_text("* Timetable\nBoats.\n\nThe ferry sails at nine.\n")
    (folder / "bread.txt").write_text("Knead the dough for ten minutes.\n")
    return folder


def test_a_plugins_document_is_indexed_found_and_dropped_with_the_plugin(
    tmp_path: Path, notes: Path
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    before = ettin_with(site, tmp_path, "index", "notes")
    assert (before.returncode, "1 not a document" in before.stderr) == (0, True)

    install(site, "ettin-org", ORG, {"ettin.readers": {"zim": "READER"}})
    added = ettin_with(site, tmp_path, "index")
    assert (added.returncode, "1 new, 0 changed, 0 gone" in added.stderr) == (0, True)
    words = ("search", "when does the ferry sail", "-r", "none", "-f", "json")
    found = json.loads(ettin_with(site, tmp_path, *words).stdout)["hits"][0]
    assert (found["doc_id"], found["title"]) == ("boats.zim", "Timetable")
    assert (found["start_line"], found["metadata"]) == (2, {"kind": "org"})
    assert "The ferry sails at nine." in found["text"]

    again = ettin_with(site, tmp_path, "index")
    assert "up to date" in again.stderr
    gone = ettin_with(tmp_path / "empty", tmp_path, "index")
    assert (gone.returncode, "0 new, 0 changed, 1 gone" in gone.stderr) == (0, True)


def test_a_plugins_table_gives_a_document_a_record(tmp_path: Path) -> None:
    site = tmp_path / "site"
    install(site, "ettin-chat", CHAT, {"ettin.readers": {".chat": "READER"}})
    (tmp_path / "log.chat").write_text("Ann: The ferry sails at nine.\nBob\nCid: I bake bread.\n")
    words = ("search", "ferry", "log.chat", "-r", "none", "-k", "1", "-f", "json")
    ran = ettin_with(site, tmp_path, *words)
    assert ran.returncode == 3
    assert f"rejected {tmp_path / 'log.chat'}:2: nobody says this" in ran.stderr
    found = json.loads(ran.stdout)["hits"][0]
    assert (found["doc_id"], found["start_line"], found["metadata"]) == ("m1", 1, {"author": "Ann"})


def test_a_plugins_table_is_read_where_rows_are_needed(tmp_path: Path) -> None:
    source = """
        from ettin_cli.corpus import TableReader

        def rows(path):
            yield {"query": "ferry", "document": path.read_text()}, None, 1

        READER = TableReader(name="Pair", rows=rows)
    """
    site = tmp_path / "site"
    install(site, "ettin-pair", source, {"ettin.readers": {"pair": "READER"}})
    (tmp_path / "a.pair").write_text("The ferry sails.")
    ran = ettin_with(site, tmp_path, "rerank", "a.pair", "-r", "embedded", "-f", "json")
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)[0]["hits"][0]["text"] == "The ferry sails."


def test_a_file_that_a_plugin_fails_at_is_rejected_and_the_rest_is_read(
    tmp_path: Path, notes: Path
) -> None:
    source = """
        from ettin_cli import Document
        from ettin_cli.corpus import DocumentReader

        def read(path, doc_id):
            if path.name == "bad.zim":
                return {}["title"]
            return Document(doc_id, path.read_text(), metadata={"at": path.stem == "odd" and path})

        READER = DocumentReader(name="Org", read=read)
    """
    site = tmp_path / "site"
    install(site, "ettin-org", source, {"ettin.readers": {"zim": "READER"}})
    (notes / "bad.zim").write_text("words")
    (notes / "odd.zim").write_text("words")
    ran = ettin_with(site, tmp_path, "index", "notes")
    assert ran.returncode == 3
    rejected = [line for line in ran.stderr.splitlines() if "rejected" in line]
    assert rejected == [
        f"ettin: rejected {notes / 'bad.zim'}: ettin-org 0.1 fails: KeyError: 'title'",
        f"ettin: rejected {notes / 'odd.zim'}: ettin-org 0.1 fails: "
        "TypeError: Type is not JSON serializable: PosixPath",
    ]
    assert "2 documents" in ran.stderr


# Unusable plugins


BROKEN = {
    "import no_such_module": "ModuleNotFoundError: No module named 'no_such_module'",
    "OTHER = 1": "AttributeError: module 'ettin_org' has no attribute 'READER'",
    "1 / 0": "ZeroDivisionError: division by zero",
}


def test_a_plugin_that_cannot_be_loaded_is_one_line_and_changes_nothing(
    tmp_path: Path, notes: Path
) -> None:
    site = tmp_path / "site"
    install(site, "ettin-org", ORG, {"ettin.readers": {"zim": "READER"}})
    assert ettin_with(site, tmp_path, "index", "notes").returncode == 0
    manifest = (tmp_path / ".ettin" / "manifest.json").read_bytes()

    (site / "ettin_org.py").write_text(next(iter(BROKEN)))
    assert "up to date" in ettin_with(site, tmp_path, "index").stderr
    (notes / "boats.zim").write_text("* Other\nWords.\n")
    for source, reason in BROKEN.items():
        (site / "ettin_org.py").write_text(source)
        ran = ettin_with(site, tmp_path, "index", "-q")
        assert (ran.returncode, ran.stdout) == (1, "")
        assert ran.stderr.splitlines() == [
            f"ettin: error: cannot load the reader of .zim files from ettin-org 0.1: {reason}",
            "  hint: update or uninstall ettin-org",
        ]
        assert (tmp_path / ".ettin" / "manifest.json").read_bytes() == manifest


def test_a_plugin_that_is_no_reader_is_one_line(tmp_path: Path, notes: Path) -> None:
    site = tmp_path / "site"
    install(site, "ettin-org", "READER = len", {"ettin.readers": {"zim": "READER"}})
    ran = ettin_with(site, tmp_path, "index", "notes", "-q")
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[0] == (
        "ettin: error: the reader of .zim files from ettin-org 0.1, ettin_org:READER, "
        "is a builtin_function_or_method, not a DocumentReader or a TableReader"
    )


def test_a_format_that_is_built_in_stays_so_with_a_notice(tmp_path: Path, notes: Path) -> None:
    site = tmp_path / "site"
    install(site, "ettin-text", "1 / 0", {"ettin.readers": {"txt": "READER", "md": "READER"}})
    ran = ettin_with(site, tmp_path, "index", "notes")
    assert ran.returncode == 0
    assert [line for line in ran.stderr.splitlines() if "ettin-text" in line] == [
        "ettin: the reader of .txt files from ettin-text 0.1 is not used: "
        ".txt files are read as text"
    ]


def test_two_plugins_for_a_suffix_are_one_line(tmp_path: Path, notes: Path) -> None:
    site = tmp_path / "site"
    for package in ("ettin-org", "org-too"):
        install(site, package, ORG, {"ettin.readers": {"zim": "READER"}})
    ran = ettin_with(site, tmp_path, "index", "notes", "-q")
    assert ran.returncode == 1
    assert ran.stderr.splitlines() == [
        "ettin: error: ettin-org 0.1 and org-too 0.1 each have the reader of .zim files",
        "  hint: uninstall one of them",
    ]


# Cost

LOOKS = """
    import sys
    from importlib import metadata

    def looked(*_args, **_options):
        sys.stderr.write("looked\\n")
        return ()

    metadata.entry_points = looked
    sys.stderr.write("ready\\n")
"""


@pytest.mark.parametrize("words", [("--help",), ("index", "--help"), ("search", "--help")])
def test_help_neither_imports_nor_looks_up_plugins(tmp_path: Path, words: tuple[str, ...]) -> None:
    site = tmp_path / "site"
    install(site, "ettin-org", "1 / 0", {"ettin.readers": {"zim": "READER"}})
    install(site, "sitecustomize", LOOKS, {})
    ran = ettin_with(site, tmp_path, *words)
    assert (ran.returncode, ran.stderr) == (0, "ready\n")


def test_scoring_looks_up_no_plugins(tmp_path: Path) -> None:
    site = tmp_path / "site"
    install(site, "sitecustomize", LOOKS, {})
    ran = ettin_with(site, tmp_path, "score", "ferry", "The ferry sails.", "-r", "embedded", "-q")
    assert (ran.returncode, "looked" in ran.stderr) == (0, False)


def test_a_plugin_is_imported_for_a_file_of_its_suffix_alone(tmp_path: Path, notes: Path) -> None:
    site = tmp_path / "site"
    install(site, "ettin-org", "1 / 0", {"ettin.readers": {"zim": "READER"}})
    (notes / "boats.zim").unlink()
    ran = ettin_with(site, tmp_path, "index", "notes")
    assert (ran.returncode, "1 document" in ran.stderr) == (0, True)


def test_the_message_of_an_unknown_format_names_those_of_plugins(tmp_path: Path) -> None:
    site = tmp_path / "site"
    install(site, "ettin-org", ORG, {"ettin.readers": {"zim": "READER"}})
    (tmp_path / "a.xyz").write_text("x")
    ran = ettin_with(site, tmp_path, "index", "a.xyz")
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[1].endswith("JSONL, JSON, CSV, TSV, Parquet, Feather, .zim")
