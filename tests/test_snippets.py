"""The chosen lines of a passage are those with most of the query's words."""

import pytest
from hypothesis import given, strategies as st

from ettin_cli.text.snippets import LONG_LINE, best_lines, query_words, spans

# Equal in length and without endings, so that all have the same weight.
WORDS = ["amber", "birch", "cedar", "dogma", "flock", "llama"]
LINES = st.lists(st.lists(st.sampled_from([*WORDS, "other"]), max_size=4).map(" ".join), min_size=1)


@given(LINES, st.sets(st.sampled_from(WORDS), min_size=1), st.integers(1, 4))
def test_no_other_neighbouring_lines_hold_more_words(
    lines: list[str], query: set[str], height: int
) -> None:
    written = [line for line in lines if line]
    windows = [written[at : at + height] for at in range(max(1, len(written) - height + 1))]
    most = max(len(query & set(" ".join(window).split())) for window in windows)
    snippet = best_lines("\n".join(lines), " ".join(query), height)
    assert len(query & set(snippet.text.split())) == most


@given(LINES, st.sampled_from(WORDS))
def test_the_line_is_where_the_snippet_begins(lines: list[str], query: str) -> None:
    snippet = best_lines("\n".join(lines), query, lines=2)
    if snippet.text:
        assert lines[snippet.line] == snippet.text.split("\n")[0]
        assert "" not in snippet.text.split("\n")


@given(LINES, st.sampled_from(WORDS))
def test_a_snippet_begins_at_a_word_of_the_query_if_more_follows(
    lines: list[str], query: str
) -> None:
    written = [line for line in lines if line]
    first, *_ = best_lines("\n".join(lines), query).text.split("\n")
    last_lines = written[-3:]
    assert query in first or query not in " ".join(written) or first in last_lines


def test_of_equally_good_lines_the_first_are_taken() -> None:
    assert best_lines("ferry one\nnothing\nferry two", "ferry", lines=1).text == "ferry one"


def test_a_rarer_long_word_outweighs_a_short_one() -> None:
    text = "the boat\nnothing\nnothing\nthe lighthouse"
    assert best_lines(text, "boat lighthouse", lines=1).text == "the lighthouse"


def test_a_long_line_is_taken_apart_at_its_sentences() -> None:
    sentences = [f"Sentence number {number} says nothing new." for number in range(9)]
    sentences[6] = "The ferry sails at nine!"
    text = "Title\n" + " ".join(sentences)
    assert len(text) > LONG_LINE
    snippet = best_lines(text, "when does the ferry sail", lines=1)
    assert (snippet.text, snippet.line) == ("The ferry sails at nine!", 1)


@pytest.mark.parametrize("text", ["", "\n\n", "  \n\t\n"])
def test_nothing_is_the_snippet_of_nothing(text: str) -> None:
    snippet = best_lines(text, "ferry")
    assert (snippet.text, snippet.line, snippet.spans) == ("", 0, [])


def test_a_query_that_no_line_answers_gets_the_first_lines() -> None:
    assert best_lines("one\ntwo\n\nthree\nfour", "ferry").text == "one\ntwo\nthree"


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("ferries", "ferry"),
        ("ferry", "Ferries"),
        ("sailing", "SAILED"),
        ("boats", "boat"),
        ("boxes", "box"),
        ("quickly", "quick"),
        ("straße", "STRAßE"),
        ("Ünal", "ünal"),
        ("日本語", "日本語"),
        ("C3PO", "c3po"),
        ("read a file", "read_file"),
        ("readFile", "read_file"),
        ("read_file", "files"),
        ("cafe", "café"),
    ],
)
def test_a_word_is_found_in_its_other_forms(query: str, word: str) -> None:
    assert spans(f"({word})", query_words(query)) == [(1, 1 + len(word))]


@pytest.mark.parametrize(("query", "word"), [("red", "r"), ("bus", "bu"), ("ferry", "ferryman")])
def test_a_word_is_not_found_in_another(query: str, word: str) -> None:
    assert spans(word, query_words(query)) == []


def test_the_commonest_words_count_only_where_there_are_no_others() -> None:
    assert query_words("what is the boat") == {"boat"}
    assert query_words("who is who") == query_words("who is") == {"who", "is"}
    assert query_words("?!") == set()
