"""A document put together from its passages is the text that was indexed."""

from pathlib import Path

import pytest

import ettin_cli
from ettin_cli.index import Index, document_text, nearest_ids

PARAGRAPHS = [
    f"Paragraph {n} of the harbour book tells of ship {n * 7} and its crew of {n} sailors, who "
    f"left the port at {n} o'clock\nand came back on day {n * 3} with salt, rope and tar."
    for n in range(40)
]
TEXT = "\n\n".join(PARAGRAPHS)


@pytest.fixture(scope="module", params=[0, 12], ids=["apart", "overlapping"])
def index(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Index:
    folder = tmp_path_factory.mktemp("books")
    (folder / "book.txt").write_text(f"\n\n{TEXT}\n")
    (folder / "wide.txt").write_text(TEXT.replace("\n", " "))
    records = [{"_id": "record", "text": TEXT}, {"_id": "short", "text": "One line."}]
    with ettin_cli.Session(offline=True) as session:
        session.build(
            folder / "book.txt",
            folder / "wide.txt",
            documents=records,
            into=folder / "index",
            embedder="embedded",
            chunk_size=60,
            chunk_overlap=request.param,
        )
    return Index(folder / "index")


@pytest.mark.parametrize("doc_id", ["book.txt", "record"])
def test_lines_are_those_that_were_indexed(index: Index, doc_id: str) -> None:
    found = document_text(index, doc_id)
    assert found
    assert len(found.passages) > 10
    begin = 3 if doc_id == "book.txt" else 1
    assert (found.begin, found.end) == (begin, begin + TEXT.count("\n"))
    assert found.between(found.begin, found.end) == TEXT
    lines = TEXT.split("\n")
    for placed in found.passages:
        shown = found.between(placed.first, placed.last)
        assert placed.passage.text in shown
        assert shown == "\n".join(lines[placed.first - begin : placed.last - begin + 1])


def test_words_of_one_long_line_stay_in_order(index: Index) -> None:
    found = document_text(index, "wide.txt")
    assert found
    assert found.between(1, found.end).split() == TEXT.split()


def test_an_unknown_id_has_neighbours(index: Index, tmp_path: Path) -> None:
    assert document_text(index, "bok.txt") is None
    assert nearest_ids(index, "bok.txt", 1) == ["book.txt"]
