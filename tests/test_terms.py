"""Passages and queries give the same terms, no text is lost, and query syntax is parsed."""

import unicodedata

import pytest
from hypothesis import given, strategies as st

from ettin_cli.errors import InvalidArgumentError
from ettin_cli.text.lexical.query_syntax import Demands, parse_query
from ettin_cli.text.lexical.terms import LANGUAGES, Terms, words

ENGLISH = Terms("english")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ferries", "ferry"),
        ("Sailing", "sails"),
        ("readFile", "read_file"),
        ("HTTPServer", "http_server"),
        ("naïve", "naive"),
        ("ﬁne", "fine"),
        ("JavaScript", "javascript"),
        ("getURL", "url"),
    ],
)
def test_words_that_mean_the_same_share_a_term(one: str, other: str) -> None:
    assert set(ENGLISH.of(one)) & set(ENGLISH.of(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("замо\u0301к", "замок"),
        ("\u1ecd\u0300r\u1ecd\u0300", "oro"),
        ("שָׁלוֹם", "שלום"),
        ("كِتَاب", "كتاب"),
        ("Donau\u00addampf", "donaudampf"),
        ("ශ්\u200dරී", "ශ්රී"),
        ("ÉCOLE", "école"),
    ],
)
def test_signs_that_a_text_may_have_or_not_make_no_other_terms(one: str, other: str) -> None:
    assert ENGLISH.of(one) == ENGLISH.of(other)


def test_what_a_text_gives_changes_with_the_version_alone() -> None:
    text = "readFile(2) HTTPServer ÉCOLE naïve 図書館 नमस्ते замо\u0301к a_b don't ½"
    terms = "read file readfile 2 http server httpserver ecole naive 図書 書館 नमस्ते замок"
    assert Terms("none").of(text) == [*terms.split(), *"a b ab don t 1 2".split()]
    assert Terms("none").made_by == "none, 1"


def test_runs_without_spaces_are_not_remembered() -> None:
    terms = Terms("english")
    terms.of("図書館へ行く the ferry")
    assert set(terms._of_word) == {"the", "ferry"}


@pytest.mark.parametrize(("one", "other"), [("file", "filing cabinets"), ("2023", "2024")])
def test_other_words_do_not(one: str, other: str) -> None:
    assert not set(ENGLISH.of(one)) & set(ENGLISH.of(other)) - {"file"}


def test_a_query_drops_its_stop_words_unless_it_has_no_others() -> None:
    assert ENGLISH.of_query("when does the ferry sail") == ["doe", "ferri", "sail"]
    assert ENGLISH.of_query("to be or not to be") == ENGLISH.of("to be or not to be")
    assert Terms("german").of_query("the ferry") == ["the", "ferry"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_a_stemmer(language: str) -> None:
    assert Terms(language).of("harbour 42 Größe где 図書館")


def test_an_ending_is_a_matter_of_language() -> None:
    assert Terms("german").of("Bücher") == Terms("german").of("Buch")
    assert Terms("none").of("ferries") == ["ferries"]


def test_a_language_without_a_stemmer_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="unsupported language 'klingon'"):
        Terms("klingon")


def test_scripts_without_spaces_give_pairs() -> None:
    assert ENGLISH.of("図書館へ") == ["図書", "書館", "館へ"]
    assert set(ENGLISH.of("図書館")) <= set(ENGLISH.of("東京の図書館へ行く"))


@given(st.text())
def test_no_letter_or_digit_of_a_text_is_left_out(text: str) -> None:
    kept = "".join(words(text))
    wanted = [sign for sign in unicodedata.normalize("NFKC", text) if sign.isalnum()]
    assert [sign for sign in kept if sign.isalnum()] == wanted


@given(st.text(max_size=60))
def test_a_text_finds_itself(text: str) -> None:
    assert set(ENGLISH.of_query(text)) <= set(ENGLISH.of(text))


# Query syntax


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("fire pump", Demands("fire pump")),
        ('the "fire pump" rules', Demands("the fire pump rules", phrases=("fire pump",))),
        ("jaguar -car", Demands("jaguar", excluded=("car",))),
        ('jaguar -"sports car"', Demands("jaguar", excluded=("sports car",))),
        ("harbour lang:en", Demands("harbour", fields=(("lang", "en"),))),
        ('harbour author:"A. B."', Demands("harbour", fields=(("author", "A. B."),))),
        ("harbour -lang:ru", Demands("harbour", other_fields=(("lang", "ru"),))),
        ("“fire pump”", Demands("fire pump", phrases=("fire pump",))),
    ],
)
def test_demands_are_read(query: str, wanted: Demands) -> None:
    assert parse_query(query) == wanted


@pytest.mark.parametrize(
    "query",
    ["well-known", "-5 degrees", "at 10:30", "a - b", "https://a.b/c", "std::vector", "C:\\x"],
)
def test_what_only_looks_like_a_demand_is_left_alone(query: str) -> None:
    assert parse_query(query) == Demands(query)


@given(st.text())
def test_any_query_can_be_read(query: str) -> None:
    assert isinstance(parse_query(query), Demands)
