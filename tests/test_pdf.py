"""A PDF is read in a separate process: a crash or hang there rejects one file."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ettin_cli.corpus import pdf
from ettin_cli.corpus.pdf import PdfProcess
from ettin_cli.storage import UnreadableError
from tests.conftest import Ettin
from tests.indexes import Builder, doc_ids
from tests.reading import one, write, write_pdf

# The effects of a PDF that breaks PDFium, caused by other means.
ABORTS = [sys.executable, "-c", "import os; input(); print('\"half a page', end=''); os.abort()"]
HANGS_UP = [sys.executable, "-c", "import os; os.close(0)"]


@pytest.fixture
def process() -> Iterator[PdfProcess]:
    process = PdfProcess()
    yield process
    process.close()


def write_bomb(path: Path, levels: int = 9, times: int = 12) -> Path:
    """Write a PDF of a few KB whose drawings contain each other many times."""
    drawings = [f"/F{level + 1} Do\n" * times for level in range(levels)]
    drawings.append("BT /F 10 Tf 40 800 Td (ten thousand words) Tj ET")
    first = 5
    objects = {
        1: "<< /Type /Catalog /Pages 2 0 R >>",
        2: "<< /Type /Pages /Count 1 /Kids [3 0 R] >>",
        3: "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 842] /Contents 5 0 R "
        "/Resources << /XObject << /F1 6 0 R >> >> >>",
        4: "<< /Type /Font /Subtype /Type1 /BaseFont /Courier >>",
    }
    for level, drawing in enumerate(drawings):
        inner = f"/XObject << /F{level + 1} {first + level + 1} 0 R >> /Font << /F 4 0 R >>"
        objects[first + level] = (
            f"<< /Type /XObject /Subtype /Form /BBox [0 0 612 842] /Resources << {inner} >> "
            f"/Length {len(drawing)} >>\nstream\n{drawing}\nendstream"
        )
    body = "".join(f"{number} 0 obj\n{content}\nendobj\n" for number, content in objects.items())
    return write(path, f"%PDF-1.4\n{body}trailer << /Size 99 /Root 1 0 R >>\n%%EOF\n")


def test_one_process_reads_many_and_none_is_begun_without_a_pdf(
    tmp_path: Path, process: PdfProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [write_pdf(tmp_path / f"{n}.pdf", [f"page {n}"], title="T") for n in range(3)]
    assert process.process is None
    read = [process.read(path) for path in paths]
    assert read == [("T", [f"page {n}"], False) for n in range(3)]
    begun = process.process
    assert begun is not None
    monkeypatch.setattr("ettin_cli.corpus.separate.subprocess.Popen", None)
    assert process.read(paths[0]) == read[0]
    assert one(write(tmp_path / "a.txt", "no PDF")).text == "no PDF"


def test_a_pdf_that_takes_too_long_is_given_up_and_the_next_is_read(
    tmp_path: Path, process: PdfProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb, good = write_bomb(tmp_path / "a.pdf"), write_pdf(tmp_path / "b.pdf", ["words"])
    assert process.read(good)[1] == ["words"]
    assert bomb.stat().st_size < 5000
    with monkeypatch.context() as patch:
        patch.setattr(pdf, "MAX_PDF_SECONDS", 0.3)
        with pytest.raises(UnreadableError, match=r"takes longer than 0\.3 s to read"):
            process.read(bomb)
    assert process.read(good)[1] == ["words"]


@pytest.mark.skipif(sys.platform != "linux", reason="memory is bounded on Linux alone")
def test_a_pdf_that_takes_too_much_memory_is_given_up_and_the_next_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pdf, "MAX_PDF_MEMORY", 256 << 20)
    process = PdfProcess()
    try:
        with pytest.raises(UnreadableError, match="takes more than 256 MiB of memory to read"):
            process.read(write_bomb(tmp_path / "a.pdf"))
        assert process.read(write_pdf(tmp_path / "b.pdf", ["words"]))[1] == ["words"]
    finally:
        process.close()


@pytest.mark.parametrize("command", [ABORTS, HANGS_UP])
def test_a_process_that_dies_costs_the_file_alone(tmp_path: Path, command: list[str]) -> None:
    process = PdfProcess(command)
    for _ in range(2):
        with pytest.raises(UnreadableError, match="or crashes PDFium"):
            process.read(tmp_path / "a.pdf")
        assert process.process is None


def test_a_process_that_was_killed_in_between_is_replaced(
    tmp_path: Path, process: PdfProcess
) -> None:
    path = write_pdf(tmp_path / "a.pdf", ["words"])
    process.read(path)
    killed = process.process
    assert killed is not None
    killed.kill()
    killed.wait()
    assert process.read(path)[1] == ["words"]


def test_without_a_process_to_read_it_in_a_pdf_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match="cannot start the PDF process: No such file"):
        PdfProcess([str(tmp_path / "none")]).read(tmp_path / "a.pdf")


def test_an_interruption_leaves_no_half_answer_for_the_next(
    tmp_path: Path, process: PdfProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = write_pdf(tmp_path / "a.pdf", ["first"] * 3)

    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("ettin_cli.corpus.separate.json.loads", interrupted)
        process.read(first)
    assert process.read(write_pdf(tmp_path / "b.pdf", ["second"]))[1] == ["second"]


def test_modules_that_lie_beside_the_documents_are_not_imported(
    tmp_path: Path, process: PdfProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("json", "pypdfium2", "ettin_cli"):
        write(tmp_path / f"{name}.py", "raise SystemExit(7)")
    monkeypatch.chdir(tmp_path)
    assert process.read(write_pdf(tmp_path / "a.pdf", ["words"]))[1] == ["words"]


def test_a_page_tree_of_a_million_pages_is_not_walked(tmp_path: Path, process: PdfProcess) -> None:
    path = write_pdf(tmp_path / "a.pdf", ["words"])
    path.write_bytes(path.read_bytes().replace(b"/Count 1", b"/Count 1000000"))
    with pytest.raises(UnreadableError, match="1,000,000 pages, more than 50,000"):
        process.read(path)


def test_a_page_tree_that_contains_itself_ends(tmp_path: Path, process: PdfProcess) -> None:
    path = write_pdf(tmp_path / "a.pdf", ["words"] * 2)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"[6 0 R 8 0 R]", b"[2 0 R 2 0 R]"))
    try:
        _, pages, _ = process.read(path)
    except UnreadableError as error:
        assert str(error)
    else:
        assert len(pages) <= 2


def test_a_folder_with_a_bomb_is_indexed_but_for_that(
    ettin: Ettin, build: Builder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "docs").mkdir()
    write_bomb(tmp_path / "docs" / "a.pdf")
    write_pdf(tmp_path / "docs" / "b.pdf", ["the ferry sails"])
    monkeypatch.setattr(pdf, "MAX_PDF_SECONDS", 2.0)
    ran = ettin("index", "docs", "-i", "i", "--embedder", str(build.model))
    assert ran.code == 3
    assert f"rejected {os.fspath(tmp_path / 'docs' / 'a.pdf')}: takes " in ran.err
    assert doc_ids(tmp_path / "i") == ["b.pdf"]


def write_form(path: Path) -> Path:
    """Write a PDF with a filled form field, a typed text and a note, none of them in the page."""
    annotations = [
        "/Subtype /Widget /FT /Tx /T (name) /V (Wilhelmina Thornbury)",
        "/Subtype /Widget /FT /Tx /T (empty)",
        "/Subtype /Widget /FT /Btn /T (agreed) /V /Yes",
        "/Subtype /FreeText /Contents (typed\\rover) /DA (/F 9 Tf)",
        "/Subtype /Text /Contents <FEFF00FC00620065007200>",
        "/Subtype /Link /Contents (not shown)",
    ]
    fields = " ".join(f"{10 + at} 0 R" for at in range(len(annotations)))
    objects = {
        1: f"<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields [{fields}] >> >>",
        2: "<< /Type /Pages /Count 1 /Kids [3 0 R] >>",
        3: "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 842] /Contents 5 0 R "
        f"/Resources << /Font << /F 4 0 R >> >> /Annots [{fields}] >>",
        4: "<< /Type /Font /Subtype /Type1 /BaseFont /Courier >>",
        5: "<< /Length 44 >>\nstream\nBT /F 10 Tf 40 800 Td (Name of applicant:) Tj ET\nendstream",
    }
    for at, annotation in enumerate(annotations):
        objects[10 + at] = f"<< /Type /Annot {annotation} /Rect [40 {700 - 20 * at} 200 720] >>"
    body = "".join(f"{number} 0 obj\n{content}\nendobj\n" for number, content in objects.items())
    return write(path, f"%PDF-1.4\n{body}trailer << /Size 99 /Root 1 0 R >>\n%%EOF\n")


def test_what_was_typed_into_a_form_or_onto_a_page_is_text(tmp_path: Path) -> None:
    document = one(write_form(tmp_path / "form.pdf"))
    assert document.text.split("\n") == [
        *("Name of applicant:", "Wilhelmina Thornbury", "typed", "over", "über"),
    ]
    assert set(document.pages) == {1}


@pytest.mark.parametrize(
    ("pages", "text"),
    [
        (["a light\x02house and a tempera\x02ture"], "a lighthouse and a temperature"),
        (["a well\x02known self\x02made man"], "a well-known self-made man"),
        (["the check\x02in", "at check-in"], "the check-in\nat check-in"),
        (["half\x02way there", "halfway"], "halfway there\nhalfway"),
        (
            ["Jean\x02Paul, 1914\x0218, X\x02ray, covid\x0219"],
            "Jean-Paul, 1914-18, X-ray, covid-19",
        ),
        (["X\x02Ray"], "X-Ray"),
        (["Donau\x02schiff, mer\x02hed"], "Donauschiff, merhed"),
        (["a dash \x02 at \x02"], "a dash - at -"),
    ],
)
def test_a_word_hyphenated_at_the_end_of_a_line_is_joined(pages: list[str], text: str) -> None:
    assert "\n".join(pdf.joined_words(pages)) == text


def test_pages_without_text_are_reported(tmp_path: Path) -> None:
    document = one(write_pdf(tmp_path / "a.pdf", ["first", "", "", "last"]))
    assert document.notices == ["pages 2, 3 (2 of 4) have no text layer"]
    assert one(write_pdf(tmp_path / "b.pdf", ["first"])).notices == []


def test_a_page_that_cannot_be_read_costs_that_page(tmp_path: Path) -> None:
    path = write_pdf(tmp_path / "a.pdf", ["first", "second", "third"])
    content = path.read_bytes()
    path.write_bytes(content.replace(b"8 0 obj\n<< /Type /Page ", b"8 0 obj\n[< /Type /Page "))
    document = one(path)
    assert document.text.split() == ["first", "third"]
    assert document.notices == ["page 2 of 3 has damage and cannot be read"]


def without_header(content: bytes) -> bytes:
    return content.removeprefix(b"%PDF-1.4\n")


def without_trailer(content: bytes) -> bytes:
    return content[: content.index(b"xref")]


def with_broken_trailer(content: bytes) -> bytes:
    return content[: content.index(b"trailer")] + b"trailer << /Root 1 0 R /ID [<90\xfe\x01"


@pytest.mark.parametrize("damage", [without_header, without_trailer, with_broken_trailer])
def test_a_pdf_without_its_start_or_end_is_read(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    path = write_pdf(tmp_path / "a.pdf", ["first", "second"])
    path.write_bytes(damage(path.read_bytes()))
    document = one(path)
    assert document.text.split() == ["first", "second"]
    assert document.notices == ["is damaged; some of it may be missing"]
