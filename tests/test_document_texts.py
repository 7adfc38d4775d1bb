"""A document put together from its passages is the text that was indexed."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

import ettin_cli
from ettin_cli.index import Index, document_path, document_text, document_texts, nearest_ids
from ettin_cli.index.document_texts import assembled
from ettin_cli.records import Passage
from ettin_cli.serving.documents import document_body
from ettin_cli.serving.problems import ProblemError
from ettin_cli.serving.served_index import ServedIndex

if TYPE_CHECKING:
    from ettin_cli.serving.scheduled_models import ScheduledModels

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


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Index:
    folder = tmp_path_factory.mktemp("many")
    (folder / "guide.txt").write_text(TEXT)
    names = [f"notes/{n:03}/Ship-{n * 7919 % 1000}.md" for n in range(400)]
    records = [{"_id": name, "text": "A ship."} for name in [*names, "notes/Harbour-Fees.md"]]
    with ettin_cli.Session(offline=True) as session:
        into = folder / "index"
        session.build(
            folder / "guide.txt", documents=records, into=into, embedder="embedded", chunk_size=60
        )
    return Index(folder / "index")


def test_an_id_is_looked_up_without_comparing_every_name(
    many: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[str] = []
    grams = document_texts._grams

    def noted(text: str) -> set[str]:
        compared.append(text)
        return grams(text)

    monkeypatch.setattr(document_texts, "_grams", noted)
    monkeypatch.setattr(Index, "doc_ids", None)
    near = {
        "notes/harbor-fees.md": "notes/Harbour-Fees.md",
        "notes/007/ship-433": "notes/007/Ship-433.md",
        "gide.txt": "guide.txt",
        f"{'x/' * 5000}notes/harbour_fees": "notes/Harbour-Fees.md",
        "notes/harbour\ud800fees.md": "notes/Harbour-Fees.md",
    }
    for wanted, found in near.items():
        compared.clear()
        assert document_text(many, wanted) is None
        assert nearest_ids(many, wanted)[0] == found
        assert len(compared) < 100 and max(map(len, compared)) <= 300
    for nothing in ("", "\ud800", "日"):
        assert len(nearest_ids(many, nothing)) == 3


def test_the_path_of_a_document_takes_one_passage(
    many: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = document_text(many, "guide.txt")
    assert found and len(found.passages) > 10
    rows: list[int] = []
    read = Index.read

    def noted(self: Index, some: Sequence[int]) -> list[Passage]:
        rows.extend(some)
        return read(self, some)

    monkeypatch.setattr(Index, "read", noted)
    path = document_path(many, "guide.txt")
    assert path and Path(path) == many.folder.parent / "guide.txt"
    assert rows == [found.passages[0].passage_id]
    assert document_path(many, "notes/Harbour-Fees.md") is None
    assert document_path(many, "guide") is None


@pytest.fixture
def later(tmp_path: Path) -> ServedIndex:
    """An index of a document whose first line is the tenth of its file."""
    (tmp_path / "a.txt").write_text("\n" * 9 + "The ferry\nsails\nat nine.")
    with ettin_cli.Session(offline=True) as session:
        session.build(tmp_path / "a.txt", into=tmp_path / "index", embedder="embedded")
    return ServedIndex("notes", tmp_path / "index", cast("ScheduledModels", None))


def test_only_lines_that_a_document_has_are_shown(later: ServedIndex) -> None:
    asked: list[tuple[str, tuple[int, int] | None]] = [
        ("a.txt:11-12", None),
        ("a.txt", (11, 12)),
        ("a.txt", (1, 10)),
        ("a.txt:12-99", None),
    ]
    shown = [document_body(later, *one) for one in asked]
    assert [one["lines"] for one in shown] == [[11, 12], [11, 12], [10, 10], [12, 12]]
    assert [one["text"] for one in shown] == ["sails\nat nine."] * 2 + ["The ferry", "at nine."]


@pytest.mark.parametrize(
    ("doc_id", "lines", "said"),
    [
        ("a.txt:12-11", None, "lines 12-11 are no range"),
        ("a.txt:0-11", None, "lines 0-11 are no range"),
        ("a.txt:0-0", None, "lines 0-0 are no range"),
        ("a.txt", (1, 5), "line 5 is before the first line, 10"),
        ("a.txt:1-9", None, "line 9 is before the first line, 10"),
        ("a.txt:13-14", None, "line 13 is beyond the last line, 12"),
    ],
)
def test_lines_that_a_document_has_not_are_refused(
    later: ServedIndex, doc_id: str, lines: tuple[int, int] | None, said: str
) -> None:
    with pytest.raises(ProblemError) as caught:
        document_body(later, doc_id, lines)
    assert (caught.value.status, caught.value.message) == (400, said)


@pytest.mark.parametrize("end", [":1-{0}", ":{0}-{0}", "#{0}", "#1{0}"])
def test_an_id_with_a_long_number_is_no_document(later: ServedIndex, end: str) -> None:
    with pytest.raises(ProblemError) as caught:
        document_body(later, f"a.txt{end.format('9' * 5000)}", None)
    assert (caught.value.status, caught.value.extra) == (404, {"nearest": ["a.txt"]})


RULE = "-" * 40
LOG = "\n".join(["INFO the pump of the ferry is idle"] * 300 + ["ERROR the pump has stopped"])


@pytest.mark.parametrize("overlap", [0, 12, 40], ids=str)
def test_repeated_lines_are_kept(tmp_path: Path, overlap: int) -> None:
    (tmp_path / "log.txt").write_text(LOG)
    (tmp_path / "rules.txt").write_text("\n".join(f"{RULE}\nship {n}" for n in range(60)))
    with ettin_cli.Session(offline=True) as session:
        session.build(
            tmp_path / "log.txt",
            tmp_path / "rules.txt",
            into=tmp_path / "index",
            embedder="embedded",
            chunk_size=60,
            chunk_overlap=overlap,
        )
    index = Index(tmp_path / "index")
    for name in ("log.txt", "rules.txt"):
        text = (tmp_path / name).read_text()
        found = document_text(index, name)
        assert found and len(found.passages) > 5
        assert (found.begin, found.between(1, found.end)) == (1, text)
        for placed in found.passages:
            one = placed.passage
            assert (placed.first, placed.last) == (one.start_line, one.end_line)


def test_passages_share_only_what_an_overlap_allows() -> None:
    rule = f"a\n{RULE}", f"{RULE}\nb"
    lines = [Passage("a", rule[0], start_line=1, end_line=2)]
    lines.append(Passage("a", rule[1], start_line=3, end_line=4))
    for overlap in (0, 12):
        found = assembled(list(enumerate(lines)), overlap)
        assert found.lines == ["a", RULE, RULE, "b"]
        assert [(one.first, one.last) for one in found.passages] == [(1, 2), (3, 4)]
    records = list(enumerate(Passage("a", text) for text in rule))
    assert assembled(records).lines == ["a", RULE, "", RULE, "b"]
    assert assembled(records, 12).lines == ["a", RULE, "b"]
    # Each of these lines has at least 7 tokens, so 10 are one line.
    same = ["INFO the pump of the ferry is idle"] * 5
    passages = [(at, Passage("a", "\n".join(same))) for at in range(2)]
    assert [one for one in assembled(passages, 10).lines if one] == same + same[1:]
