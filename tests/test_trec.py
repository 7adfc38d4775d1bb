"""Judgements and runs are read as evaluation tools read them, and invalid lines are reported."""

import gzip
import io
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings, strategies as st

from ettin_cli.commands.hints import hint_of
from ettin_cli.errors import CorpusError, OutputError
from ettin_cli.files.trec import read_qrels, read_run, without_spaces, write_qrels
from ettin_cli.files.writers.registry import write_answers
from ettin_cli.records import Answer, Hit, Passage, Query
from ettin_cli.storage import Stream

COLLECTIONS = Path(__file__).parents[1].parent / "shared" / "collections"
JUDGED = {"q1": {"d1": 2, "d2": 0}, "q2": {"d1": 1}}
TREC = b"q1 0 d1 2\nq1 0 d2 0\nq2 0 d1 1\n"
BEIR = b"query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\nq2\td1\t1\n"
RUN = b"q1 Q0 d1 1 0.5 tag\nq1 Q0 d2 2 0.25 tag\n"


def file(folder: Path, content: bytes, name: str = "file.txt") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


# Judgements


@pytest.mark.parametrize("content", [TREC, BEIR], ids=["trec", "beir"])
@pytest.mark.parametrize(
    ("suffix", "pack"), [("", bytes), (".gz", gzip.compress), (".zst", zstandard.compress)]
)
def test_both_forms_of_judgements_are_told_apart_packed_or_not(
    tmp_path: Path, content: bytes, suffix: str, pack: Callable[[bytes], bytes]
) -> None:
    assert read_qrels(file(tmp_path, pack(content), f"qrels{suffix}")) == JUDGED


@pytest.mark.parametrize("content", [TREC, BEIR], ids=["trec", "beir"])
@pytest.mark.parametrize(
    "dress",
    [
        lambda content: b"\xef\xbb\xbf" + content,
        lambda content: content.replace(b"\n", b"\r\n"),
        lambda content: content.rstrip(),
        lambda content: b"\n" + content.replace(b"\n", b"\n\n"),
        lambda content: content + content.splitlines()[-1],
    ],
    ids=["mark", "crlf", "no end", "empty lines", "doubled line"],
)
def test_what_editors_leave_in_a_file_changes_nothing(
    tmp_path: Path, content: bytes, dress: Callable[[bytes], bytes]
) -> None:
    assert read_qrels(file(tmp_path, dress(content))) == JUDGED


def test_trec_fields_are_parted_by_any_ascii_white_space_and_the_iteration_is_ignored(
    tmp_path: Path,
) -> None:
    assert read_qrels(file(tmp_path, b"q1\tQ0   d1\t2\n q1 7 d2 0 \nq2 0 d1 1\n")) == JUDGED


def test_relevance_is_graded_and_may_be_negative_or_written_with_a_point(tmp_path: Path) -> None:
    table = b"query-id\tcorpus-id\tscore\nq\ta\t-2\nq\tb\t3.0\nq\tc\t+1\nq\td\t0.00\n"
    assert read_qrels(file(tmp_path, table)) == {"q": {"a": -2, "b": 3, "c": 1, "d": 0}}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (TREC + b"q2 0 d9\n", ":4: 3 fields instead of 4"),
        (TREC + b"q2 0 d 9 1\n", ":4: 5 fields instead of 4"),
        (b"q1\td1\t2\n", ":1: 3 fields instead of 4"),
        (TREC + b"q2 0 d9 high\n", ":4: relevance 'high' is not an integer"),
        (TREC + b"\nq2 0 d9 0.5\n", ":5: relevance '0.5' is not an integer"),
        (TREC + b"q2 0 d9 1e2\n", ":4: relevance '1e2' is not an integer"),
        (TREC + b"q2 0 d9 1_0\n", ":4: relevance '1_0' is not an integer"),
        (TREC + b"q2 0 d9 %s\n" % (b"9" * 5000), ":4: relevance '999"),
        (TREC + b"q2 0 d1 0\n", ":4: d1 is judged 0 for query q2, but 1 in an earlier line"),
        (TREC + b"q2 0 d\xe9 0\n", ":4: not UTF-8"),
        (TREC.decode().encode("utf-16"), ":1: not UTF-8"),
        (BEIR + BEIR, ":5: relevance 'score' is not an integer"),
        (BEIR + b"q2\td9\n", ":5: 2 non-empty cells instead of 3"),
        (BEIR + b"q2\t\t1\n", ":5: 2 non-empty cells instead of 3"),
        (BEIR + b"q2\ta\tb\t1\n", ":5: 4 non-empty cells instead of 3"),
        (BEIR + b'q2\t"a\t1\n', ":5: broken TSV"),
        (BEIR + b"q2\td9\t0.5\n", ":5: relevance '0.5' is not an integer"),
        (BEIR + b"q2\td1\t2\n", ":5: d1 is judged 2 for query q2, but 1 in an earlier line"),
    ],
)
def test_a_broken_judgement_is_named_by_its_line(
    tmp_path: Path, content: bytes, problem: str
) -> None:
    path = file(tmp_path, content)
    with pytest.raises(CorpusError) as caught:
        read_qrels(path)
    assert caught.value.problem.startswith(f"{path}{problem}")


def test_the_forms_are_shown_to_whoever_has_another(tmp_path: Path) -> None:
    with pytest.raises(CorpusError) as caught:
        read_qrels(file(tmp_path, b"topic,doc,grade\n"))
    assert "query_id iteration doc_id relevance" in (hint_of(caught.value) or "")
    assert "query-id\tcorpus-id\tscore" in (hint_of(caught.value) or "")


@pytest.mark.parametrize("content", [b"", b"\n \n", BEIR.splitlines()[0]])
def test_a_file_without_judgements_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(CorpusError, match="no judgements in"):
        read_qrels(file(tmp_path, content))


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"gone\.tsv: cannot be read: No such file"):
        read_qrels(tmp_path / "gone.tsv")
    with pytest.raises(CorpusError, match="cannot be read: Is a directory"):
        read_run(tmp_path)
    cut = gzip.compress(TREC * 99)[:-9]
    with pytest.raises(CorpusError, match="compressed data is damaged or truncated"):
        read_qrels(file(tmp_path, cut, "qrels.gz"))


def test_a_stream_is_read_as_a_file_is() -> None:
    assert read_qrels(Stream(io.BytesIO(BEIR))) == JUDGED
    with pytest.raises(CorpusError, match="-:1: 1 fields instead of 6"):
        read_run(Stream(io.BytesIO(b"q1\n")))


@pytest.mark.skipif(not COLLECTIONS.exists(), reason="needs the shared collections")
def test_the_judgements_of_public_collections_are_read_whole() -> None:
    for path in sorted(COLLECTIONS.glob("*/qrels*.tsv")):
        rows = [line.split("\t") for line in path.read_text().splitlines()[1:]]
        qrels = read_qrels(path)
        assert sum(map(len, qrels.values())) == len(rows) > 0
        assert all(qrels[query_id][doc_id] == int(score) for query_id, doc_id, score in rows)


# Runs


def test_a_run_is_its_scores_whatever_its_ranks_say(tmp_path: Path) -> None:
    content = b"q1 Q0 d1 9 -0.5 tag\r\nq1\tQ0\td2\tx\t1e-3\ttag\nq2 0 d1 1 inf tag"
    assert read_run(file(tmp_path, content)) == {
        "q1": {"d1": -0.5, "d2": 0.001},
        "q2": {"d1": float("inf")},
    }


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"q1 Q0 d3 3 0.1\n", "5 fields instead of 6"),
        (b"q1 Q0 d3 3 0.1 my tag\n", "7 fields instead of 6"),
        (b"q1 Q0 d3 3 best tag\n", "score 'best' is not a number"),
        (b"q1 Q0 d3 3 NaN tag\n", "score 'NaN' is not a number"),
        (b"q1 Q0 d2 3 0.25 tag\n", "d2 is listed twice for query q1"),
        (b"q1 Q0 d\xff 3 0.1 tag\n", "not UTF-8"),
    ],
)
def test_a_broken_line_of_a_run_is_named(tmp_path: Path, line: bytes, problem: str) -> None:
    path = file(tmp_path, RUN + line)
    with pytest.raises(CorpusError) as caught:
        read_run(path)
    assert caught.value.problem == f"{path}:3: {problem}"


def test_a_run_without_hits_is_refused_and_the_form_is_shown(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no hits in") as caught:
        read_run(file(tmp_path, b"\n"))
    assert "query_id Q0 doc_id rank score tag" in (hint_of(caught.value) or "")


# White space in ids


def test_a_run_of_ours_meets_judgements_whose_ids_have_white_space(tmp_path: Path) -> None:
    names = ["to do.md", "a\tb", "wide\u3000space", "plain", "100%"]
    hits = [Hit(at, Passage(name, "text"), 9.0 - at, at + 1, 0.5) for at, name in enumerate(names)]
    answer = Answer(Query("my query", "text"), hits, "embedded", "32m", "torch", {})
    exported = io.BytesIO()
    write_answers([answer], "trec", exported, many=False)
    run = read_run(file(tmp_path, exported.getvalue()))

    rows = "".join(f'my query\t"{name}"\t1\n' for name in names)
    table = read_qrels(file(tmp_path, f"query-id\tcorpus-id\tscore\n{rows}".encode()))
    assert {query_id: list(scores) for query_id, scores in run.items()} == {
        "my%20query": ["to%20do.md", "a%09b", "wide%E3%80%80space", "plain", "100%"]
    }
    assert {query_id: list(judged) for query_id, judged in table.items()} == {
        query_id: list(scores) for query_id, scores in run.items()
    }


def test_other_tools_may_leave_wide_spaces_in_an_id(tmp_path: Path) -> None:
    line = "my\u3000query Q0 wide\u3000space\u00a0id 1 0.5 tag\n"
    assert read_run(file(tmp_path, line.encode())) == {
        without_spaces("my\u3000query"): {without_spaces("wide\u3000space\u00a0id"): 0.5}
    }


def test_a_space_and_its_encoding_are_one_document_so_they_cannot_disagree(
    tmp_path: Path,
) -> None:
    rows = b"query-id\tcorpus-id\tscore\nq\ta b\t1\nq\ta%20b\t0\n"
    with pytest.raises(
        CorpusError, match=":3: a%20b is judged 0 for query q, but 1 in an earlier line"
    ):
        read_qrels(file(tmp_path, rows))


# Writing

# "%20" is a space, and a byte order mark is not part of an id.
SIGNS = st.characters(exclude_categories=["Cs"], exclude_characters="%\ufeff")
IDS = st.text(SIGNS, min_size=1, max_size=6)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(IDS, st.dictionaries(IDS, st.integers(-9, 9), min_size=1), min_size=1))
def test_written_judgements_read_back_whatever_the_ids(
    tmp_path_factory: pytest.TempPathFactory, qrels: dict[str, dict[str, int]]
) -> None:
    encoded = {
        without_spaces(query_id): {without_spaces(doc_id): n for doc_id, n in judged.items()}
        for query_id, judged in qrels.items()
    }
    path = tmp_path_factory.mktemp("qrels") / "qrels"
    write_qrels(qrels, path)
    assert read_qrels(path) == encoded


def test_judgements_are_written_in_order_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "qrels"
    write_qrels({"q2": {"d1": 1}, "q1": {"d1": 2, "d 2": 0, "d!": 0}}, path)
    assert path.read_bytes() == b"q1 0 d! 0\nq1 0 d%202 0\nq1 0 d1 2\nq2 0 d1 1\n"
    with pytest.raises(OutputError, match="cannot write"):
        write_qrels(JUDGED, tmp_path / "no" / "qrels")
    assert list(tmp_path.iterdir()) == [path]
