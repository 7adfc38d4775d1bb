"""Passages cover a document's text in order, within their size, with correct locations."""

import re
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import get_args

import pytest
from hypothesis import given, settings, strategies as st

from ettin_cli.records import Document, DocumentKind, Passage
from ettin_cli.text import chunking
from ettin_cli.text.chunking import Chunking, chunk


class Words:
    """A token per run of letters or punctuation mark, with offsets as a tokenizer gives them."""

    def offsets(self, text: str) -> Sequence[tuple[int, int]]:
        return [match.span() for match in re.finditer(r"\w+|[^\w\s]", text)]


def pieces(
    text: str,
    size: int | str | None = 8,
    overlap: int = 0,
    kind: DocumentKind = "prose",
    title: str = "",
) -> list[Passage]:
    lines = range(1, text.count("\n") + 2)
    document = Document("d", text, title=title, kind=kind, lines=lines)
    return [c.passage for c in chunk(document, Words(), Chunking(size, overlap), 256)]


def texts(passages: list[Passage]) -> list[str]:
    return [passage.text for passage in passages]


WRITING = st.text(
    st.one_of(st.sampled_from("ab .!?\n#-=`\t"), st.characters(codec="utf-8")), max_size=400
)
KINDS = st.sampled_from(get_args(DocumentKind))


@given(WRITING, st.integers(1, 20), KINDS)
@settings(max_examples=300, deadline=None)
def test_no_text_is_lost_or_doubled(text: str, size: int, kind: DocumentKind) -> None:
    joined = "".join("".join(passage.text.split()) for passage in pieces(text, size, kind=kind))
    assert joined == "".join(text.split())


@given(WRITING, st.integers(1, 20), KINDS)
@settings(max_examples=200, deadline=None)
def test_no_passage_is_larger_than_asked(text: str, size: int, kind: DocumentKind) -> None:
    for passage in pieces(text, size, kind=kind):
        assert len(Words().offsets(passage.text)) <= size


@given(WRITING, st.integers(2, 20), KINDS)
@settings(max_examples=200, deadline=None)
def test_lines_lead_back_to_the_source(text: str, size: int, kind: DocumentKind) -> None:
    lines = text.split("\n")
    for passage in pieces(text, size, kind=kind):
        assert passage.start_line is not None
        assert passage.end_line is not None
        source = "\n".join(lines[passage.start_line - 1 : passage.end_line])
        assert passage.text in source


@given(WRITING, st.integers(4, 20), st.integers(1, 3))
@settings(max_examples=200, deadline=None)
def test_an_overlap_repeats_text_and_loses_none(text: str, size: int, overlap: int) -> None:
    passages = pieces(text, size, overlap)
    place = 0
    for passage in passages:
        found = text.find(passage.text, max(0, place - len(text)))
        assert found >= 0
    words = {word for passage in passages for word in passage.text.split()}
    whole = {word for word in text.split() if len(Words().offsets(word)) == 1}
    assert whole <= words | {w for p in passages for w in re.findall(r"\w+|[^\w\s]", p.text)}


def test_a_short_text_is_one_passage() -> None:
    (passage,) = pieces("  Hello there.\n\n")
    assert (passage.text, passage.start_line, passage.end_line) == ("  Hello there.", 1, 1)


def test_sentences_stay_whole_where_they_can() -> None:
    text = "The ferry sails at nine. It is full in summer. Book a seat early."
    assert texts(pieces(text, 8)) == [
        "The ferry sails at nine.",
        "It is full in summer.",
        "Book a seat early.",
    ]


def test_an_abbreviation_ends_no_sentence() -> None:
    text = "Bring tools, e.g. Dr. Hill has some. Then we go on board."
    assert "Bring tools, e.g. Dr. Hill has some." in texts(pieces(text, 13))


def test_a_paragraph_is_a_stronger_boundary_than_a_sentence() -> None:
    text = "One two three. Four five.\n\nSix seven. Eight nine."
    assert texts(pieces(text, 10)) == ["One two three. Four five.", "Six seven. Eight nine."]


def test_a_heading_begins_a_passage() -> None:
    text = "# A\n\none two three four.\n\nfive six.\n\n# B\n\nseven eight."
    found = texts(pieces(text, 14, kind="markdown"))
    assert found == ["# A\n\none two three four.\n\nfive six.", "# B\n\nseven eight."]


def test_a_hash_inside_a_fence_is_no_heading() -> None:
    text = "```\n# a b c d\n# e f g h\n```\n\nAfter it all comes this text."
    found = texts(pieces(text, 20, kind="markdown"))
    assert found[0].startswith("```\n# a b c d\n# e f g h")


def test_code_is_cut_between_definitions() -> None:
    text = "def a():\n    return 1\n\n\ndef b():\n    return 2\n"
    assert texts(pieces(text, 9, kind="code")) == [
        "def a():\n    return 1",
        "def b():\n    return 2",
    ]


def test_one_endless_word_is_cut_by_tokens() -> None:
    found = texts(pieces("a-" * 50, 8))
    assert "".join(found) == "a-" * 50
    assert all(len(Words().offsets(text)) <= 8 for text in found)


def test_whole_documents_are_not_cut() -> None:
    text = "word. " * 2000
    assert texts(pieces(text, None)) == [text.rstrip()]


def test_the_title_takes_room_in_what_the_embedder_reads() -> None:
    text = "word " * 600
    bare = pieces(text, "auto")
    titled = pieces(text, "auto", title="one two three four")
    assert len(Words().offsets(bare[0].text)) == 254
    assert len(Words().offsets(titled[0].text)) == 250
    assert titled[0].content == "one two three four " + titled[0].text


def test_a_title_alone_is_a_passage() -> None:
    (passage,) = pieces("", title="A title")
    assert passage.content.strip() == "A title"


def test_pages_and_a_single_line_hold_for_the_passage() -> None:
    document = Document("d", "one two.\nthree four.", pages=[3, 4])
    found = [c.passage for c in chunk(document, Words(), Chunking(3), 256)]
    assert [passage.page for passage in found] == [3, 4]
    assert found[0].start_line is None
    row = Document("d", "one two. three four.", lines=(17,))
    assert {c.passage.start_line for c in chunk(row, Words(), Chunking(3), 256)} == {17}


@pytest.mark.parametrize(("fence", "inner"), [("````", "```"), ("~~~", "```"), ("```", "~~~")])
def test_a_fence_within_a_fence_is_text(fence: str, inner: str) -> None:
    fits = f"{fence}\n{inner}\nx y z\n# a b\nc d e f"
    text = f"{fits}\n{inner}\n{fence}\n"
    assert texts(pieces(text, len(Words().offsets(fits)) + 1, kind="markdown"))[0] == fits


def test_ticks_around_words_open_no_fence() -> None:
    text = "```code``` here.\n\na b c d e.\n\n# One\n\nf g h i j k l."
    assert texts(pieces(text, 20, kind="markdown"))[1] == "# One\n\nf g h i j k l."


@given(WRITING, st.integers(1, 12), st.lists(st.integers(1, 9), min_size=1, max_size=40))
@settings(max_examples=150, deadline=None)
def test_a_passage_has_the_places_of_its_first_and_last_line(
    text: str, size: int, steps: list[int]
) -> None:
    count = text.count("\n") + 1
    numbers = list(accumulate(steps[at % len(steps)] for at in range(count)))
    document = Document("d", text, lines=numbers, pages=numbers)
    starts = [0, *(match.end() for match in re.finditer("\n", text))]
    place = 0
    for one in chunk(document, Words(), Chunking(size), 256):
        place = text.index(one.passage.text, place)
        end = place + len(one.passage.text) - 1
        first, last = (bisect_right(starts, at) - 1 for at in (place, end))
        assert (one.passage.start_line, one.passage.end_line) == (numbers[first], numbers[last])
        assert one.passage.page == numbers[first]
        place = end + 1


@pytest.mark.parametrize("kind", get_args(DocumentKind))
def test_a_text_of_nothing_is_no_passage(kind: DocumentKind) -> None:
    assert pieces(" \n\n ", 8, kind=kind) == []


# Long texts


@given(WRITING, st.integers(3, 40), KINDS)
@settings(max_examples=200, deadline=None)
def test_a_text_read_in_pieces_is_cut_without_a_loss(
    text: str, size: int, kind: DocumentKind
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunking, "PIECE_CHARACTERS", size)
        found = pieces(text, 8, kind=kind)
    assert "".join("".join(one.text.split()) for one in found) == "".join(text.split())


def test_pieces_end_where_words_do_so_that_tokens_are_those_of_the_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = "The ferry sails at nine.\nBread is baked every day. " * 50
    whole = texts(pieces(text))
    for size in (20, 21, 22, 50):
        monkeypatch.setattr(chunking, "PIECE_CHARACTERS", size)
        asked: list[str] = []

        class Noting(Words):
            def offsets(self, text: str) -> Sequence[tuple[int, int]]:
                asked.append(text)  # noqa: B023
                return super().offsets(text)

        document = Document("d", text)
        found = [c.passage.text for c in chunk(document, Noting(), Chunking(8), 256)]
        assert found == whole
        assert max(map(len, asked)) <= size
        assert "".join(asked) == text


MANUAL = """# Pumps

## QX-7

Tighten one bolt. Tighten two bolts. Tighten three bolts.

### Valves

Set the valve to four bar. Then close the lid firmly.

## ZB-2 #

```
# no heading
```

Set the valve to seven bar. Then close the lid firmly.
"""


# The headings above each line of MANUAL, by hand.
QX_7, VALVES, ZB_2 = ("QX-7",), ("QX-7", "Valves"), ("ZB-2",)
ABOVE = [(), (), (), QX_7, QX_7, QX_7, QX_7, VALVES, VALVES, VALVES, (), *[ZB_2] * 7]


@pytest.mark.parametrize("size", range(4, 25))
def test_a_passage_has_the_headings_above_it_without_the_title_and_its_own(size: int) -> None:
    passages = pieces(MANUAL, size, kind="markdown", title="Pumps")
    for passage in passages:
        assert passage.start_line is not None
        assert passage.headings == ABOVE[passage.start_line - 1]
    last = passages[-1]
    assert last.content == f"Pumps > ZB-2 {last.text}"


def test_headings_do_not_change_the_lines_of_a_passage() -> None:
    source = MANUAL.split("\n")
    for passage in pieces(MANUAL, 10, kind="markdown", title="Pumps"):
        assert passage.start_line is not None
        begin = source[passage.start_line - 1]
        assert passage.text.split("\n")[0] in begin


def test_titles_of_rst_nest_by_the_order_of_their_adornments() -> None:
    text = (
        "=====\nPumps\n=====\n\nQX-7\n====\n\nValves\n------\n\nSet one bar. Set two bar.\n\n"
        "ZB-2\n====\n\nSet six bar. Set seven bar.\n"
    )
    above = {p.start_line: p.headings for p in pieces(text, 5, kind="rst", title="Manual")}
    assert above[11] == ("Pumps", "QX-7", "Valves")
    assert above[13] == ("Pumps",)
    assert above[16] == ("Pumps", "ZB-2")


def test_the_outer_headings_are_left_out_where_the_embedder_has_no_room() -> None:
    text = "# A b c\n\n## D e f\n\n" + "word " * 12
    document = Document("d", text, kind="markdown")
    kept = {}
    for limit in (9, 10, 13, 14):
        last = list(chunk(document, Words(), Chunking(4), limit))[-1]
        assert last.passage.text == "word word word word"
        kept[limit] = (last.passage.headings, last.tokens)
    # Two special tokens, four words, and four tokens of each heading with its separator.
    inner, both = (("D e f",), 8), (("A b c", "D e f"), 12)
    assert kept == {9: ((), 4), 10: inner, 13: inner, 14: both}


def test_a_document_that_is_one_passage_has_no_headings() -> None:
    assert pieces(MANUAL, None, kind="markdown", title="Pumps")[0].headings == ()
    assert pieces(MANUAL, 200, kind="markdown", title="Pumps")[0].content == MANUAL.rstrip()
