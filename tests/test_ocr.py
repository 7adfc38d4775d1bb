"""Text of scans and pictures is recognised, with its pages, and what is not is reported."""

import json
import math
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from ettin_cli.corpus import ocr
from ettin_cli.corpus.ocr import Ocr, Recognizer
from ettin_cli.corpus.pictures import picture_document
from ettin_cli.corpus.reading_order import ordered_text
from ettin_cli.corpus.recognized_pages import RecognizedPages
from ettin_cli.corpus.scans import scanned_pdf
from ettin_cli.index import Index, read_manifest
from ettin_cli.settings import AUTO
from ettin_cli.storage import UnreadableError
from tests.conftest import Ettin
from tests.pictures import drawn, stamped, write_pages
from tests.reading import write, write_pdf

pytest.importorskip("PIL")
needs_ocr = pytest.mark.skipif(not find_spec("rapidocr"), reason="the extra ocr is not installed")
HINT = "pip install 'ettin-cli[ocr]'"
# Answers like the real process, but ends in the middle of page 2.
DIES_AT_2 = """
import json, os, sys
for line in sys.stdin:
    pages = json.loads(line)["pages"] or [1, 2, 3]
    print(3, flush=True)
    for number in pages:
        if number == 2:
            os._exit(CODE)
        print(json.dumps([number, f"text {number}", ""]), flush=True)
    print("{}", flush=True)
"""


def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ocr, "find_spec", lambda _name: None)


def texts(folder: Path) -> dict[str, str]:
    table = Index(folder).passages.table
    found: dict[str, str] = {}
    for row in table.select(["doc_id", "text"]).to_pylist():
        found[row["doc_id"]] = f"{found.get(row['doc_id'], '')}\n{row['text']}".strip()
    return found


@needs_ocr
def test_what_was_left_out_without_the_extra_is_read_once_it_is_there(
    ettin: Ettin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs, index = tmp_path / "docs", ("-i", str(tmp_path / "i"))
    first = drawn("The ferry leaves at nine\nfrom the outer quay.")
    write_pages(docs / "scan.pdf", first, drawn("The keeper feeds the lantern\nwith whale oil."))
    write_pdf(docs / "some.pdf", ["a page of text", ""])
    write_pages(docs / "empty.png", drawn(""))
    write(docs / "a.md", "plain note")
    with monkeypatch.context() as without:
        absent(without)
        done = ettin("index", str(docs), *index, "--embedder", "embedded")
    assert done.code == 3
    assert f"scan.pdf: no text layer (a scan?); to recognise it: {HINT}" in done.err
    assert f"some.pdf: page 2 of 2 has no text layer; to recognise it: {HINT}" in done.err
    assert f"pictures: 1 .png; to recognise their text: {HINT}" in done.err
    assert sorted(texts(tmp_path / "i")) == ["a.md", "some.pdf"]
    done = ettin("index", *index)
    assert done.code == 0
    assert "OCR of 4 pages in 3 files" in done.err
    assert "skipped 1 pictures without text" in done.err
    assert "page 2 of 2 has no recognisable text" in done.err
    found = texts(tmp_path / "i")["scan.pdf"].split("\n")
    assert found == [
        *("The ferry leaves at nine", "from the outer quay."),
        *("The keeper feeds the lantern", "with whale oil."),
    ]
    hits = json.loads(ettin("search", "lantern", *index, "-r", "none", "-k", "1", "-f", "json").out)
    assert hits["hits"][0]["metadata"] == {"ocr": "2 of 2 pages recognised"}
    assert "up to date" in ettin("index", *index).err
    with monkeypatch.context() as without:
        absent(without)
        assert "up to date" in ettin("index", *index).err
    assert not list((tmp_path / "i" / "work").rglob("*.jsonl"))


@needs_ocr
def test_pages_of_a_picture_are_kept_when_reading_is_interrupted(tmp_path: Path) -> None:
    column = (
        "The harbour office has\na list of all moorings.\nVisitors pay at the quay\nbefore noon."
    )
    other = "The lighthouse is open\nfrom May to October.\nGroups ask the warden\nfor a key."
    first = drawn("Harbour and lighthouse news", width=800, columns=(column, other))
    path = write_pages(tmp_path / "a.tiff", first, drawn("The second page").rotate(180))

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    kept = RecognizedPages(tmp_path / "pages" / "kept.jsonl")
    recognizer = Recognizer(1, kept)
    recognizer.advance = interrupt
    with pytest.raises(KeyboardInterrupt):
        recognizer.read(path)
    assert recognizer.process.process is None
    kept.close()
    rest = RecognizedPages(kept.path)
    again = Recognizer(2, rest)
    requests: list[Any] = []
    answers = again.process.answers
    again.process.answers = lambda asked: requests.append(asked) or answers(asked)  # type: ignore
    document = picture_document(path, "a", Ocr(AUTO, again))
    again.close()
    rest.close()
    assert [request["pages"] for request in requests] == [[2]]
    lines = document.text.split("\n")
    assert lines == ["Harbour and lighthouse news", *f"{column}\n{other}".split("\n"), lines[-1]]
    assert (lines[-1], document.pages[-1]) == ("The second page", 2)


@needs_ocr
def test_a_scan_with_a_stamp_is_read_and_a_short_page_of_text_is_left_alone(
    tmp_path: Path,
) -> None:
    recognizer = Recognizer(1)
    scan = stamped(tmp_path / "a.pdf", drawn("Order of the court:\nThe boat is sold."), "Page 1")
    document = scanned_pdf(scan, "a", Ocr(AUTO, recognizer))
    assert document.text.split("\n")[-2:] == ["Order of the court:", "The boat is sold."]
    pages = recognizer.pages
    short = scanned_pdf(write_pdf(tmp_path / "b.pdf", ["Part one"]), "b", Ocr(AUTO, recognizer))
    assert (short.text, dict(short.metadata), recognizer.pages) == ("Part one", {}, pages)
    always = scanned_pdf(scan, "a", Ocr("always", recognizer))
    recognizer.close()
    assert always.text == document.text
    assert dict(always.metadata) == {"ocr": "1 of 1 pages recognised"}


@needs_ocr
def test_a_page_that_ends_the_process_is_a_fault_and_the_others_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", b"any")
    recognizer = Recognizer(1)
    reasons = {1: "takes longer than 120 s", 9: "takes more than 4,096 MiB of memory"}
    for code, reason in reasons.items():
        recognizer.process.command = [sys.executable, "-c", DIES_AT_2.replace("CODE", str(code))]
        found = recognizer.read(path)
        assert found.texts == {1: "text 1", 3: "text 3"}
        assert len(found.faults) == 1
        assert found.faults[0].startswith(f"page 2 {reason}")
        recognizer.close()
    recognizer.process.command = [sys.executable, "-c", "import os; os._exit(1)"]
    with pytest.raises(UnreadableError, match="takes longer than 120 s to recognise"):
        recognizer.read(path)
    recognizer.close()
    recognizer.process.command = [sys.executable, "-c", DIES_AT_2.replace("== 2", "!= 0")]
    found = recognizer.read(path, range(1, 9))
    assert found.faults[-1] == "pages from 4 on were given up"
    recognizer.close()


def test_a_line_that_was_cut_off_is_not_taken_for_a_page(tmp_path: Path) -> None:
    kept = RecognizedPages(tmp_path / "work" / "pages.jsonl")
    kept.add("key", 0, "3")
    kept.add("key", 2, "zwei\nüber")
    kept.add("other", 2, "x")
    kept.close()
    with kept.path.open("ab") as file:
        file.write(b'["key", 3, "cut o')
    again = RecognizedPages(kept.path)
    assert again.pages("key", None) == {0: "3", 2: "zwei\nüber"}
    again.add("key", 3, "three")
    again.close()
    last = RecognizedPages(kept.path)
    assert last.pages("key", [2, 3, 4]) == {2: "zwei\nüber", 3: "three"}
    last.clear()
    assert not kept.path.parent.exists()


def test_always_needs_the_extra_and_a_named_picture_too(
    ettin: Ettin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent(monkeypatch)
    picture = write_pages(tmp_path / "a.png", drawn("text"))
    words = ("index", str(picture), "-i", str(tmp_path / "i"), "--embedder", "embedded")
    done = ettin(*words, "--ocr", "always")
    assert (done.code, HINT in done.err, (tmp_path / "i").exists()) == (1, True, False)
    done = ettin(*words)
    assert done.code == 3
    assert f"a.png: needs rapidocr; {HINT}" in done.err
    assert ettin(*words, "--ocr", "some").code == 2


def test_never_leaves_scans_and_pictures_alone_and_is_recorded(
    ettin: Ettin, tmp_path: Path
) -> None:
    docs, index = tmp_path / "docs", ("-i", str(tmp_path / "i"))
    write_pages(docs / "a.png", drawn("text"))
    write_pages(docs / "b.pdf", drawn("text"))
    write(docs / "c.md", "words")
    done = ettin("index", str(docs), *index, "--embedder", "embedded", "--ocr", "never")
    assert done.code == 3
    assert "b.pdf: no text layer (a scan?)\n" in done.err
    assert "pictures: 1 .png; to recognise their text: " in done.err
    assert [source.ocr for source in read_manifest(tmp_path / "i").sources] == ["never"]
    assert "c.md" in texts(tmp_path / "i")
    assert ettin("index", *index).code == 3


def test_a_picture_of_more_pixels_than_the_limit_is_not_decoded(tmp_path: Path) -> None:
    import struct
    import zlib

    from ettin_cli.corpus.page_pixels import opened_pages

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    for width, height, why in ((100_000, 100_000, "200,000,000 pixels"), (100_000, 9, "a side of")):
        header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
        content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"x")
        path = write(tmp_path / "a.png", content)
        with (
            warnings.catch_warnings(),
            path.open("rb") as file,
            pytest.raises(UnreadableError, match=why),
            opened_pages(path, file) as pages,
        ):
            pages.pixels(1)


def box(left: float, top: float, text: str, width: float = 200) -> tuple[list[Any], str]:
    corners = [(left, top), (left + width, top), (left + width, top + 20), (left, top + 20)]
    return corners, text


def test_columns_of_prose_are_read_one_after_the_other_and_rows_of_a_table_across() -> None:
    prose = [box(0, 0, "title", 460), *(box(0, 40 + 30 * n, f"l{n}") for n in range(5))]
    prose += [box(240, 41 + 30 * n, f"r{n}") for n in range(5)]
    prose += [box(0, 220, "between", 460), box(0, 250, "end left"), box(240, 250, "end right")]
    text = ordered_text(prose[::-1])
    columns = [f"{side}{n}" for side in "lr" for n in range(5)]
    assert text.split("\n")[: len(columns) + 2] == ["title", *columns, "between"]
    table = [box(0, 30 * n, f"part {n}", 80) for n in range(6)]
    table += [box(240, 30 * n + 3, f"{n} bar", 50) for n in range(6)]
    assert ordered_text(table).split("\n") == [f"part {n} {n} bar" for n in range(6)]


def test_lines_of_a_tilted_page_stay_lines() -> None:
    tilt = math.radians(4)

    def turned(found: tuple[list[Any], str]) -> tuple[list[Any], str]:
        corners, text = found
        return [
            (x * math.cos(tilt) - y * math.sin(tilt), x * math.sin(tilt) + y * math.cos(tilt))
            for x, y in corners
        ], text

    pieces = [box(300 * at, 30 * n, f"{n}.{at}", 280) for n in range(4) for at in range(3)]
    lines = [f"{n}.0 {n}.1 {n}.2" for n in range(4)]
    assert ordered_text([turned(piece) for piece in pieces]).split("\n") == lines
