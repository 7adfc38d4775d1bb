"""Passages hold all of a document's text, in order, within their size, with their places."""

import re
from collections.abc import Sequence
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ettin_cli.chunking import Chunking, chunk
from ettin_cli.pipeline.identities import DocumentIds
from ettin_cli.records import Document, DocumentKind, Passage


class Words:
    """A token a run of letters or a mark, as a tokenizer gives offsets."""

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


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 2)), max_size=30))
def test_ids_are_unique_and_kept_where_nothing_collides(claims: list[tuple[str, int]]) -> None:
    ids = DocumentIds(["x", "y", "y"])
    given_out = [ids.claim(doc_id, source) for doc_id, source in claims]
    taken = [doc_id for doc_id in given_out if doc_id is not None]
    assert len(set(taken)) == len(taken)
    for (doc_id, source), got in zip(claims, given_out, strict=True):
        repeated = claims.count((doc_id, source)) > 1
        assert got is not None or repeated


def test_claiming_again_leaves_nothing_claimed_when_it_collides() -> None:
    ids = DocumentIds(["x", "y"])
    assert ids.claim_again(["a", "b"], 0)
    assert not ids.claim_again(["c", "b"], 1)
    assert ids.claim("c", 1) == "c"


@pytest.mark.parametrize("kind", get_args(DocumentKind))
def test_a_text_of_nothing_is_no_passage(kind: DocumentKind) -> None:
    assert pieces(" \n\n ", 8, kind=kind) == []
