"""`ettin index`: its summary agrees with what it did, and it rejects contradictory options."""

import json
from pathlib import Path

import pytest

from ettin_cli.index.manifest import read_manifest
from ettin_cli.index.reader import Index
from tests.conftest import Ettin, Terminal


def holds(folder: str = ".ettin") -> set[str]:
    """Return the documents of an index, read without the command."""
    return set(Index(Path(folder)).doc_ids())


# Actions and summaries


def test_a_first_run_counts_files_documents_and_passages(ettin: Ettin, docs: Path) -> None:
    ran = ettin("index", "docs")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err.splitlines() == [
        "ettin: files: 3 new, 0 changed, 0 gone, 0 unchanged; 3 passages embedded, 0 kept",
        "ettin: .ettin: 3 documents, 3 passages, SQfp16 (recall 1.000)",
    ]
    assert holds() == {"ferry.md", "bread.txt", "fares.txt"}


def test_a_second_run_does_what_changed_and_says_how_many(ettin: Ettin, docs: Path) -> None:
    ettin("index", "docs")
    assert ettin("index").err == "ettin: .ettin is up to date: 3 passages\n"
    (docs / "new.txt").write_text("A new text.\n")
    (docs / "bread.txt").write_text("Knead it for twelve minutes.\n")
    (docs / "fares.txt").unlink()
    ran = ettin("index", "-v")
    assert "files: 1 new, 1 changed, 1 gone, 1 unchanged; 2 passages embedded, 1 kept" in ran.err
    for line in ("new: new.txt", "changed: bread.txt", "gone: fares.txt"):
        assert f"ettin: {line}\n" in ran.err
    assert holds() == {"ferry.md", "bread.txt", "new.txt"}


def test_one_of_a_thing_is_named_in_the_singular(ettin: Ettin, docs: Path) -> None:
    err = ettin("index", "docs/bread.txt").err
    assert "1 passage embedded" in err
    assert "1 document, 1 passage," in err


def test_a_dry_run_says_what_would_be_done_and_does_nothing(ettin: Ettin, docs: Path) -> None:
    ran = ettin("index", "docs", "--dry-run")
    assert "files: 3 new, 0 changed, 0 gone, 0 unchanged; dry run, nothing was written" in ran.err
    assert not Path(".ettin").exists()
    ettin("index", "docs")
    before = read_manifest(Path(".ettin"))
    (docs / "bread.txt").unlink()
    ran = ettin("index", "--dry-run", "-v")
    assert "0 new, 0 changed, 1 gone, 2 unchanged" in ran.err
    assert "gone: bread.txt" in ran.err
    assert read_manifest(Path(".ettin")) == before


def test_a_source_is_added_and_another_dropped(ettin: Ettin, docs: Path) -> None:
    ettin("index", "docs")
    Path("notes.txt").write_text("A note.\n")
    ettin("index", "notes.txt")
    assert holds() == {"ferry.md", "bread.txt", "fares.txt", "notes.txt"}
    ran = ettin("index", "--remove", "docs")
    assert "3 gone" in ran.err
    assert holds() == {"notes.txt"}


def test_a_source_is_dropped_even_when_it_is_gone(ettin: Ettin, docs: Path) -> None:
    Path("notes.txt").write_text("A note.\n")
    ettin("index", "docs", "notes.txt")
    Path("notes.txt").unlink()
    ran = ettin("index")
    assert ran.code == 1
    hint = ran.err.partition("hint: ettin ")[2].split()
    assert ettin(*hint).code == 0
    assert holds() == {"ferry.md", "bread.txt", "fares.txt"}


def test_without_source_the_index_above_is_brought_up_to_date(ettin: Ettin, docs: Path) -> None:
    ettin("index", "docs")
    (docs / "deep").mkdir()
    (docs / "deep" / "new.txt").write_text("A new text.\n")
    ettin.monkeypatch.chdir(docs / "deep")
    ran = ettin("index")
    assert "ettin: ../../.ettin: 4 documents" in ran.err
    assert not Path(".ettin").exists()
    assert ettin("index", "new.txt").code == 0
    assert Path(".ettin").is_dir()


def test_globs_choose_files_and_are_remembered(ettin: Ettin, docs: Path) -> None:
    ran = ettin("index", "docs", "--include", "*.txt", "--exclude", "fares*")
    assert "skipped 2 excluded" in ran.err
    assert holds() == {"bread.txt"}
    (docs / "more.md").write_text("More.\n")
    (docs / "more.txt").write_text("More.\n")
    ettin("index")
    assert holds() == {"bread.txt", "more.txt"}
    assert "docs --include '*.txt' --exclude 'fares*'\n" in ettin("info").out


def test_what_is_skipped_is_counted_by_reason(ettin: Ettin, docs: Path) -> None:
    (docs / ".hidden").write_text("x")
    (docs / "film.mp4").write_bytes(b"\xff\xd8\0\0")
    (docs / "ignored.txt").write_text("x")
    (docs / ".gitignore").write_text("ignored.txt\n")
    ran = ettin("index", "docs")
    assert ran.code == 0
    assert "ettin: skipped 1 binary, 2 hidden, 1 ignored by .gitignore\n" in ran.err


def test_fields_of_records_are_named_by_options(ettin: Ettin) -> None:
    Path("t.jsonl").write_text(json.dumps({"key": "k1", "say": "The ferry sails.", "id": "no"}))
    ettin("index", "t.jsonl", "--id-field", "key", "--text-field", "say")
    assert holds() == {"k1"}
    metadata = json.loads(ettin("search", "ferry", "-r", "none").out)["hits"][0]["metadata"]
    assert metadata == {"id": "no"}


# Rejections


def test_every_rejected_input_is_named_however_many(ettin: Ettin) -> None:
    Path("t.jsonl").write_text('{"_id": "good", "text": "A text."}\n' + "broken\n" * 50)
    ran = ettin("index", "t.jsonl")
    assert ran.code == 3
    rejected = [line for line in ran.err.splitlines() if "rejected" in line]
    assert len(rejected) == 50
    assert all(f"t.jsonl:{number}: broken JSON" in line for number, line in enumerate(rejected, 2))
    assert holds() == {"good"}


def test_quiet_still_names_what_was_rejected(ettin: Ettin, docs: Path) -> None:
    (docs / "bad.pdf").write_bytes(b"no PDF")
    ran = ettin("index", "docs", "-q")
    assert ran.code == 3
    (line,) = ran.err.splitlines()
    assert "rejected" in line
    assert "bad.pdf: not a valid PDF" in line


def test_quiet_says_nothing_of_work_that_went_well(ettin: Ettin, docs: Path) -> None:
    assert ettin("index", "docs", "--quiet").err == ""
    assert ettin("index", "--quiet").err == ""


def test_a_file_name_cannot_forge_a_line(ettin: Ettin, docs: Path) -> None:
    (docs / "x\nettin: all is well\x1b[2K.pdf").write_bytes(b"no PDF")
    lines = ettin("index", "docs").err.splitlines()
    assert "ettin: all is well\x1b[2K.pdf" not in lines
    assert any("x\\nettin: all is well\\x1b[2K.pdf: not a valid PDF" in line for line in lines)


# Usage errors


@pytest.mark.parametrize(
    ("words", "code", "said", "hint"),
    [
        (["nowhere"], 1, "cannot open nowhere", "pass a file, a folder"),
        (["/dev/null"], 1, "neither a file nor a folder", "- for JSONL"),
        (["docs", "--chunk-size", "0"], 2, "chunk size '0'", ""),
        (["docs", "--chunk-size", "9", "--chunk-overlap", "9"], 2, "not smaller", ""),
        (["docs", "--chunk-overlap", "-1"], 2, "--chunk-overlap", "--help"),
        (["docs", "--device", "cuda:x"], 2, "unknown device 'cuda:x'", "cuda:N"),
        (["docs", "--dtype", "int8"], 2, "unknown dtype 'int8'", "fp32"),
        (["docs", "--batch-size", "0"], 2, "batch size '0'", ""),
        (["docs", "--threads", "0"], 2, "--threads", "--help"),
        (["docs", "--max-length", "7"], 2, "--max-length", "--help"),
        (["docs", "--color", "pink"], 2, "unknown colour mode 'pink'", "auto, always or never"),
        (["docs", "--embedder", "none-such"], 1, "no model 'none-such'", "ettin models"),
        (["--exclude", "*.md"], 2, "need a SOURCE", "pass the SOURCE again"),
        (["--remove", "docs"], 2, "docs is not a source of .ettin", "ettin info"),
        ([], 2, "no source to index", "ettin index SOURCE"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    ettin: Ettin, docs: Path, words: list[str], code: int, said: str, hint: str
) -> None:
    ran = ettin("index", *words)
    assert (ran.code, ran.out) == (code, "")
    assert said in ran.err
    assert hint in ran.err
    assert not Path(".ettin", "manifest.json").exists()


def test_a_source_that_is_not_there_leaves_no_folder_behind(ettin: Ettin) -> None:
    ettin("index", "nowhere")
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    "options", [["--chunk-size", "9"], ["--chunk-size", "none"], ["--chunk-overlap", "4"]]
)
def test_another_chunking_is_refused_with_the_command_that_rebuilds(
    ettin: Ettin, docs: Path, options: list[str]
) -> None:
    ettin("index", "docs")
    ran = ettin("index", *options)
    assert ran.code == 1
    hint = ran.err.partition("hint: ettin ")[2].split()
    assert "--rebuild" in hint
    assert ettin(*hint).code == 0
    assert ettin("index", *options).code == 0


def test_the_environment_names_the_embedder(ettin: Ettin, docs: Path) -> None:
    ettin.monkeypatch.setenv("ETTIN_EMBEDDER", "none-such")
    for words in (["index", "docs"], ["search", "ferry", "docs", "-r", "none"]):
        ran = ettin(*words)
        assert ran.code == 1
        assert "no model 'none-such'" in ran.err
    ettin.monkeypatch.setenv("ETTIN_EMBEDDER", "embedded")
    assert ettin("index", "docs").code == 0
    assert ettin("index", "docs", "--embedder", "none-such").code == 1


# On a terminal


def test_a_bar_is_shown_while_it_works_and_gone_when_it_is_done(
    ettin: Ettin, docs: Path, terminal: Terminal
) -> None:
    ran = terminal("index", "docs")
    assert ran.code == 0
    assert "embedding" in ran.out
    assert "of 3 passages" in ran.out
    assert ran.out.endswith("ettin: .ettin: 3 documents, 3 passages, SQfp16 (recall 1.000)\n")
    # The bar's line is erased before the summary is written.
    assert "\x1b[2K" in ran.out.split("ettin: files")[0]


@pytest.mark.parametrize("options", [["-q"], ["--color", "never"]])
def test_a_terminal_that_wants_none_gets_no_colour(
    ettin: Ettin, docs: Path, terminal: Terminal, options: list[str]
) -> None:
    import re

    colours = re.compile(r"\x1b\[[0-9;]*[34][0-9;]*m")
    assert colours.search(terminal("index", "docs").out)
    assert not colours.search(terminal("index", "docs", "-i", "other", *options).out)


# Encodings


def test_a_given_encoding_is_recorded_with_the_source(ettin: Ettin, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("Łódź".encode("cp1250"))
    assert ettin("index", "a.txt", "--encoding", "windows-1250").code == 0
    assert read_manifest(Path(".ettin")).sources[0].encoding == "windows-1250"
    path.write_bytes("Łąka".encode("cp1250"))
    assert ettin("index").code == 0
    found = ettin("search", "łąka", "-r", "none", "-f", "json")
    assert json.loads(found.out)["hits"][0]["text"] == "Łąka"


def test_an_unknown_encoding_is_refused_and_one_without_a_source(ettin: Ettin, docs: Path) -> None:
    ran = ettin("index", "docs", "--encoding", "windows-9999")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "ettin: error: 'windows-9999' is not a known text encoding\n"
    ettin("index", "docs")
    assert ettin("index", "--encoding", "cp1252").code == 2


def test_replaced_bytes_are_reported_and_rejected_is_nothing(ettin: Ettin, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("Grüße\nund \xdc".encode()[:-1])
    ran = ettin("index", "a.txt")
    assert ran.code == 0
    path = tmp_path / "a.txt"
    notice = f"ettin: {path}: 1 invalid byte sequence replaced by U+FFFD, first in line 2\n"
    assert ran.err.startswith(notice)


def test_a_title_field_is_recorded_if_it_is_given(ettin: Ettin, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,name,text\n1,Nets,words\n")
    for words, title in (((), ""), (("--title-field", "name"), "Nets")):
        ettin("index", "t.csv", "-i", "i", *words)
        found = ettin("search", "words", "-i", "i", "-r", "none", "-f", "json")
        assert json.loads(found.out)["hits"][0]["title"] == title
        (source,) = json.loads((tmp_path / "i" / "manifest.json").read_text())["sources"]
        assert source.get("title_field") == ("name" if title else None)
        assert ("title_field" in source) == bool(title)
