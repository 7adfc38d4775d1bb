"""Passages and queries give the same terms, no text is lost, and query syntax is parsed."""

import csv
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from ettin_cli.errors import InvalidArgumentError
from ettin_cli.text.lexical.query_syntax import Demands, parse_query
from ettin_cli.text.lexical.terms import LANGUAGES, Terms, words

ENGLISH, GERMAN = Terms("english"), Terms("german")


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
    terms = "read file readfile 2 http server httpserver ecole naive 図書 書館 図 書 館 नमस्ते замок"
    assert Terms("none").of(text) == [*terms.split(), *"a b ab don t 1 2".split()]
    assert Terms("none").made_by == "none, 2"


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
    assert Terms("french").of_query("the sail") == ["the", "sail"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_a_stemmer(language: str) -> None:
    assert Terms(language).of("harbour 42 Größe где 図書館")


def test_an_ending_is_a_matter_of_language() -> None:
    assert Terms("german").of("Bücher") == Terms("german").of("Buch")
    assert Terms("none").of("ferries") == ["ferries"]


def test_a_language_without_a_stemmer_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="unsupported language 'klingon'"):
        Terms("klingon")


def test_scripts_without_spaces_give_pairs_and_characters() -> None:
    assert ENGLISH.of("図書館へ") == ["図書", "書館", "館へ", "図", "書", "館", "へ"]
    assert ENGLISH.of_query("図書館へ") == ["図書", "書館", "館へ"]
    assert set(ENGLISH.of("図書館")) <= set(ENGLISH.of("東京の図書館へ行く"))
    assert ENGLISH.of_query("猫") == ["猫"]
    assert "猫" in ENGLISH.of("黒猫が眠る")


def test_alphabets_without_spaces_give_triples_and_pairs() -> None:
    assert ENGLISH.of_query("รถไฟ") == ["รถไ", "ถไฟ"]
    assert ENGLISH.of("รถไฟ") == ["รถไ", "ถไฟ", "รถ", "ถไ", "ไฟ"]
    assert ENGLISH.of_query("ปู") == ["ปู"]
    assert ENGLISH.of("ก") == ENGLISH.of_query("ก") == ["ก"]


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("학교", "학교에서 수학을"),
        ("물", "정원에 물을 준다"),
        ("PDF", "회의록은 PDF로 저장한다"),
        ("2024", "2024년에"),
        ("한국사람", "한국 사람"),
    ],
)
def test_korean_words_are_found_with_their_particles(query: str, text: str) -> None:
    assert set(ENGLISH.of_query(query)) & set(ENGLISH.of(text))


@pytest.mark.parametrize("language", LANGUAGES)
def test_both_spellings_of_a_sharp_s_are_one_word(language: str) -> None:
    terms = Terms(language)
    assert terms.of("Straße") == terms.of("Strasse")
    assert terms.of("Maß") == terms.of("MASS")


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("Pumpe", "Die Wasserpumpe"),
        ("Wasser", "Die Wasserpumpe"),
        ("Wasserpumpe", "eine Pumpe"),
        ("Vögel", "Seevögel"),
        ("Arbeit", "Arbeitsvertrag"),
        ("Haus", "Häusermeer"),
    ],
)
def test_parts_of_german_compounds_are_found_in_german_alone(query: str, text: str) -> None:
    assert set(GERMAN.of_query(query)) & set(GERMAN.of(text))
    assert not set(ENGLISH.of_query(query)) & set(ENGLISH.of(text))


@pytest.mark.parametrize(("query", "text"), [("Wasserpumpe", "Wasserpegel"), ("Raum", "Traum")])
def test_words_that_only_begin_or_end_alike_share_no_term(query: str, text: str) -> None:
    assert not set(GERMAN.of_query(query)) & set(GERMAN.of(text))


def test_a_phrase_is_compared_by_characters_where_words_have_no_spaces() -> None:
    assert ENGLISH.sequence("図書館へ the ferry") == ["図", "書", "館", "へ", "the", "ferri"]
    assert GERMAN.sequence("die Wasserpumpe") == ["die", "wasserpump"]


SENTENCES = Path(__file__).parents[1] / "benchmarks" / "languages.tsv"
with SENTENCES.open(encoding="utf-8", newline="") as file:
    BY_LANGUAGE: dict[str, list[tuple[str, str]]] = {}
    for row in csv.DictReader(file, delimiter="\t"):
        BY_LANGUAGE.setdefault(row["language"], []).append((row["query"], row["sentence"]))
# Himbeere: the rest of the compound is too short a word.
UNFOUND = {"Beere"}


@pytest.mark.parametrize("language", BY_LANGUAGE)
def test_queries_share_most_terms_with_their_own_sentence(language: str) -> None:
    terms = Terms(language if language in LANGUAGES else "english")
    pairs = BY_LANGUAGE[language]
    texts = [set(terms.of(sentence)) for _, sentence in pairs]
    assert len(pairs) >= 20
    for at, (query, _) in enumerate(pairs):
        shared = [len(text & set(terms.of_query(query))) for text in texts]
        assert (max(shared) == shared[at] > 0) != (query in UNFOUND), query


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


@pytest.mark.parametrize(
    "query",
    [
        "git commit -m message",
        "what does docker run -p do",
        "ls -la",
        "tar -xzf archive",
        "optimise with -O2",
        "set -std=c++17 for all",
        "which -x means what",
    ],
)
def test_options_of_commands_are_text(query: str) -> None:
    assert replace(parse_query(query), options=()) == Demands(query)


@pytest.mark.parametrize("query", ["find sweets -nuts", "cat food -dog", "which python -snake"])
def test_a_command_that_is_a_word_of_another_kind_makes_no_options(query: str) -> None:
    word = query.rpartition("-")[2]
    assert parse_query(query).excluded == (word,)


def test_a_word_is_an_option_where_a_document_says_so_unless_it_is_in_quotes() -> None:
    known = {"jar"}.__contains__
    assert parse_query("java -jar app", is_option=known).options == ("-jar",)
    assert parse_query("java -jar app", is_option=known).text == "java -jar app"
    assert parse_query("java -coffee", is_option=known).excluded == ("coffee",)
    assert parse_query('git -"jar"', is_option=known).excluded == ("jar",)


def test_a_field_that_no_document_has_is_text() -> None:
    known = {"lang"}.__contains__
    found = parse_query("pull nginx:latest lang:en", known)
    assert found.text == "pull nginx:latest"
    assert found.fields == (("lang", "en"),)
    assert found.unknown == (("nginx", "nginx:latest"),)
    without = parse_query("images -nginx:latest", known)
    assert (without.text, without.excluded) == ("images", ("nginx:latest",))


@given(st.text())
def test_any_query_can_be_read(query: str) -> None:
    assert isinstance(parse_query(query), Demands)
