"""Commands whose units are ranges of queries write what one run of all queries does."""

import json
import re
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ettin_cli.clusters import UnitFolder, ranges_of
from ettin_cli.commands import eval as eval_command
from ettin_cli.errors import EttinError
from ettin_cli.evaluation import sweep_results
from ettin_cli.evaluation.results import Measured, System
from ettin_cli.models.rerankers import ScoreFile
from ettin_cli.models.rerankers.kept_scores import ScoredPair
from tests.conftest import BOATS, SAILING, Ettin, Outcome
from tests.faults import DiedError

WORDS = "ferry bread canoe timetable oven ticket dough skipper".split()
TIMES = re.compile(rb'"seconds":\s*{[^}]*}')


@pytest.fixture
def queries(tmp_path: Path) -> Path:
    path = tmp_path / "q.jsonl"
    rows: list[dict[str, Any]] = [
        {"_id": f"q{n}", "text": f"{WORDS[n % 8]} {WORDS[n * n % 5]}" if n % 4 else WORDS[n % 8]}
        for n in range(11)
    ]
    rows[3]["text"] = ["a boat to row", "canoe"]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def without_times(path: Path) -> bytes:
    return TIMES.sub(b"", path.read_bytes())


def said(ran: Outcome) -> str:
    """Return what a command reported, without the times and the progress of a slow machine."""
    return re.sub(r"ettin: [^\n]* left\n|\d+\.\d\d s\b", "", ran.err)


def dies(*_: object) -> None:
    raise DiedError


@pytest.mark.parametrize("format", ["json", "csv", "parquet", "trec", "md", "paths"])
def test_a_search_in_units_writes_the_bytes_of_a_single_run(
    inside: Ettin, queries: Path, tmp_path: Path, format: str
) -> None:
    single, units = tmp_path / "single", tmp_path / "units"
    words = ["search", "--queries", str(queries), "-r", "embedded", "-f", format, "-o"]
    one, other = inside(*words, str(single)), inside(*words, str(units), "--unit", "4")
    assert (one.code, other.code, other.out) == (0, 0, ""), other.err
    assert without_times(units) == without_times(single)
    assert not (tmp_path / "units.parts").exists()
    assert said(other) == said(one)


@pytest.mark.parametrize(
    "more",
    [
        ["-r", "none", "--retriever", "bm25", "--by", "passage"],
        ["-r", "embedded:3,embedded", "-k", "2"],
        ["-r", "embedded", "--expand", "--filter", "year=1999", "-k", "60"],
        ["-r", "embedded", "--long", "max", "--blend", "0.3", "--min-score", "0.1"],
    ],
    ids=["bm25", "cascade", "filter", "long"],
)
def test_the_options_of_a_search_apply_in_units(
    inside: Ettin, queries: Path, tmp_path: Path, more: list[str]
) -> None:
    words = ["search", "--queries", str(queries), *more, "-o"]
    one = inside(*words, str(tmp_path / "single.jsonl"))
    other = inside(*words, str(tmp_path / "units.jsonl"), "--unit", "4")
    assert without_times(tmp_path / "units.jsonl") == without_times(tmp_path / "single.jsonl")
    assert said(other) == said(one)


def test_a_folder_of_parts_has_the_answers_in_complete_files(
    inside: Ettin, queries: Path, tmp_path: Path
) -> None:
    words = ["search", "--queries", str(queries), "-r", "none", "--unit", "4", "-o"]
    assert inside(*words, f"{tmp_path}/lines/").code == 0
    assert inside(*words, f"{tmp_path}/values/", "-f", "json").code == 0
    lines = [part.read_text().splitlines() for part in sorted((tmp_path / "lines").iterdir())]
    values = [json.loads(part.read_text()) for part in sorted((tmp_path / "values").iterdir())]
    assert [len(part) for part in lines] == [len(part) for part in values] == [4, 4, 3]
    named = [[answer["query_id"] for answer in part] for part in values]
    assert named == [[json.loads(line)["query_id"] for line in part] for part in lines]
    table = inside(*words, f"{tmp_path}/table/", "-f", "table")
    assert (table.code, table.out) == (2, "")


def test_no_queries_are_no_units(inside: Ettin, tmp_path: Path) -> None:
    empty = tmp_path / "none.jsonl"
    empty.write_text("\n")
    words = ["search", "--queries", str(empty), "-r", "none", "-o"]
    for suffix in ("json", "csv"):
        assert inside(*words, f"{tmp_path}/single.{suffix}").code == 0
        assert inside(*words, f"{tmp_path}/units.{suffix}", "--unit", "4").code == 0
        held = (tmp_path / f"units.{suffix}").read_bytes()
        assert held == (tmp_path / f"single.{suffix}").read_bytes()


def test_an_input_named_like_the_rejected_rows_of_the_output_is_kept(
    inside: Ettin, queries: Path, tmp_path: Path
) -> None:
    (tmp_path / "of").mkdir()
    asked = queries.rename(tmp_path / "of.rejects.jsonl")
    words = ["search", "--queries", str(asked), "-r", "none", "-f", "trec", "--unit", "3", "-o"]
    refused = inside(*words, f"{tmp_path}/of/")
    assert refused.code == 2
    assert "is the same file as the input" in refused.err
    # Nothing is rejected by a search, so no such file of others is removed either.
    other = tmp_path / "out.rejects.jsonl"
    other.write_text("of another run\n")
    assert inside(*words, str(tmp_path / "out")).code == 0
    assert other.exists()


def test_a_search_that_was_killed_does_the_other_units(
    inside: Ettin, queries: Path, tmp_path: Path
) -> None:
    words = ["search", "--queries", str(queries), "-r", "embedded", "-f", "trec", "-o"]
    assert inside(*words, str(tmp_path / "single")).code == 0
    output = tmp_path / "out"
    begun = list[str]()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(DiedError):
        patch.setattr(UnitFolder, "keep", keeping(begun, most=2))
        inside(*words, str(output), "--unit", "3")
    assert len(begun) == 2
    assert not output.exists()
    refused = inside(*words, str(output), "--unit", "3")
    assert refused.code == 1
    assert "resume it with --resume" in refused.err
    # Without units it would start over, and leave what is done.
    plain = inside(*words, str(output), "--resume")
    assert plain.code == 2
    assert f"{output}.parts is left over from an unfinished run in units" in plain.err
    plan = tmp_path / "out.parts" / "plan.json"
    content = plan.read_bytes()
    plan.write_bytes(content.replace(b'"rows":3', b'"rows":"3"'))
    damaged = inside(*words, str(output), "--unit", "3", "--resume")
    assert f"{plan} is damaged" in damaged.err
    plan.write_bytes(content)
    other = inside(*words, str(output), "-k", "3", "--unit", "3", "--resume")
    assert "different model, unit size or options" in other.err
    done = inside(*words, str(output), "--unit", "3", "--resume")
    assert done.code == 0
    assert "resuming after 2 of 4 units" in done.err
    assert output.read_bytes() == (tmp_path / "single").read_bytes()


def keeping(begun: list[str], most: int) -> object:
    """Return `UnitFolder.keep`, which dies after a number of units."""
    keep = UnitFolder.keep

    def kept(folder: UnitFolder, unit: object, *rest: object) -> None:
        if len(begun) == most:
            raise DiedError
        keep(folder, unit, *rest)  # type: ignore[arg-type]
        begun.append(str(unit))

    return kept


def test_workers_search_the_generation_of_the_driver(
    ettin: Ettin, docs: Path, queries: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ettin_cli.searching import Searcher

    assert ettin("index", str(docs), "-i", "notes", "-q").code == 0
    check = Searcher.search_many

    def updating(searcher: Searcher, *rest: object) -> Iterator[object]:
        # After the driver has opened it, and before a worker does.
        (docs / "more.txt").write_text("A canoe.\n")
        assert ettin("index", "-i", "notes", "-q").code == 0
        return check(searcher, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Searcher, "search_many", updating)
    words = ["search", "--queries", str(queries), "-i", "notes", "-r", "none", "-o", "out.trec"]
    done = ettin(*words, "--unit", "4")
    assert done.code == 1
    assert "notes on " in done.err
    assert "but the driver searches 0000" in done.err
    assert "to start over with the updated index" in done.err
    assert not Path("out.trec.parts").exists()


def test_a_range_of_records_is_checked_as_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    lines = [b'["1","a"]\n', b'["2","b"]\n', b'["3","c"]\n']
    path.write_bytes(b"".join(lines))
    first, second = ranges_of(lines, 2)
    assert (first.first, first.rows, second.first, second.rows) == (0, 2, 2, 1)
    assert first.read(path) == [["1", "a"], ["2", "b"]]
    assert second.read(path) == [["3", "c"]]
    assert first.identity != second.identity
    path.write_bytes(b"".join(lines).replace(b"c", b"d"))
    assert first.read(path) == [["1", "a"], ["2", "b"]]
    with pytest.raises(EttinError, match="is damaged"):
        second.read(path)
    path.unlink()
    with pytest.raises(EttinError) as error:
        first.read(path)
    assert error.value.code == "not-shared"


def test_searches_that_cannot_be_done_in_units_are_refused(
    inside: Ettin, queries: Path, tmp_path: Path
) -> None:
    output, asked = str(tmp_path / "out.jsonl"), str(queries)
    for words, message in [
        (["--queries", asked], "--unit needs an output file"),
        (["ferry", "-o", output], "only a file of queries can be cut into units"),
        (["--queries", "-", "-o", output], "stdin cannot be cut into units"),
        (["--queries", asked, "-o", output, "--open"], "--open cannot be combined"),
        (["--queries", asked, "-o", output, "--workers", "2"], "--workers needs --on ray"),
        (["--queries", asked, "-o", output, "-r", "none", "--min-probability", "0.5"], "reranker"),
        (["--queries", asked, "-o", output, "-e", "--resume"], "-e cannot be combined"),
    ]:
        done = inside("search", *words, "--unit", "4")
        assert (done.code, done.out) == (2, ""), words
        assert message in done.err
    assert list(tmp_path.iterdir()) == [queries]


# ettin eval


@pytest.fixture
def judgements(queries: Path, tmp_path: Path) -> Path:
    path = tmp_path / "qrels"
    documents = ["tern", "knot", "smew", "auk", "ferry.md", "bread.txt", "deep/fares.txt"]
    grades = {f"q{n} 0 {documents[n * k % 7]}": k % 2 + 1 for n in range(10) for k in (1, 2, 5)}
    lines = [f"{judged} {grade}\n" for judged, grade in (grades | {"q0 0 lost": 1}).items()]
    path.write_text("".join(lines))
    return path


@pytest.fixture
def measure(ettin: Ettin, library: Path, queries: Path, judgements: Path) -> Ettin:
    """`ettin` in a folder with an index that may be written to."""
    shutil.copytree(library, "library", ignore=shutil.ignore_patterns("cache"))
    ettin.monkeypatch.chdir("library")
    return ettin


def evaluated(
    ettin: Ettin, tmp_path: Path, *more: str, name: str, cache: str
) -> tuple[str, dict[str, bytes]]:
    """Return the JSON and the files of an evaluation."""
    ettin.monkeypatch.setenv("ETTIN_CACHE_DIR", str(tmp_path / cache))
    files = ("--queries", str(tmp_path / "q.jsonl"), "--qrels", str(tmp_path / "qrels"))
    done = ettin("eval", *files, "-f", "json", "-o", str(tmp_path / name), *more)
    assert done.code == 0, done.err
    assert not list(tmp_path.glob("*.parts"))
    held = {
        path.relative_to(tmp_path / name).as_posix(): path.read_bytes()
        for path in (tmp_path / name).rglob("*")
        if path.is_file()
    }
    return done.out, held


@pytest.mark.parametrize(
    "more",
    [
        ["-r", "embedded", "-r", "embedded:3,embedded", "-c", "2,5", "--blend", "0,0.4,auto"],
        ["-r", "none", "--retriever", "bm25", "--retriever", "dense", "--expand"],
        ["-r", "embedded", "-c", "judged", "--metrics", "AP,nDCG@3", "--exact"],
        ["-r", "embedded", "--retriever", "hybrid", "--retriever", "bm25", "--calibrate"],
    ],
    ids=["depths", "retrievers", "judged", "calibrate"],
)
def test_an_evaluation_in_units_measures_what_a_single_run_does(
    measure: Ettin, tmp_path: Path, more: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Times are the only difference.
    monkeypatch.setattr(sweep_results, "Measured", timed)
    single = evaluated(measure, tmp_path, *more, name="single", cache="a")
    kept = calibrations()
    units = evaluated(measure, tmp_path, *more, "--unit", "3", name="units", cache="b")
    assert units[0] == single[0]
    assert units[1].keys() == single[1].keys()
    for name, content in units[1].items():
        assert content == single[1][name], name
    assert calibrations() == kept
    assert bool(kept) == ("--calibrate" in more)


def timed(system: System, values: Any, run: Any, seconds: float) -> Measured:
    """Return what was measured, with the same time for all."""
    assert seconds > 0
    return Measured(system, values, run, 0.5)


def calibrations() -> dict[str, bytes]:
    """Return the calibrations of the index, which are removed."""
    held = {}
    for path in list(Path(".ettin", "calibrations").glob("*")):
        held[path.name] = path.read_bytes()
        path.unlink()
    return held


def cached_scores(cache: Path) -> dict[bytes, bytes]:
    """Return the cached scores, by pair, without the seconds and the checksums."""
    [path] = cache.glob("scores/*/scores.sqlite")
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT pair, verdict FROM scores").fetchall()
        [model] = connection.execute("SELECT engine, max_tokens FROM model").fetchall()
    return {b"model": repr(model).encode(), **{pair: verdict[:5] for pair, verdict in rows}}


def test_the_scores_of_units_are_cached_by_the_command_alone(
    measure: Ettin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("-r", "embedded", "--exact", "-c", "5", "--long", "max")
    evaluated(measure, tmp_path, *words, name="single", cache="a")
    written = list[int]()
    add = ScoreFile.add

    def adding(file: ScoreFile, pairs: Mapping[bytes, ScoredPair]) -> None:
        written.append(len(pairs))
        add(file, pairs)

    monkeypatch.setattr(ScoreFile, "add", adding)
    evaluated(measure, tmp_path, *words, "--unit", "3", name="units", cache="b")
    # Once for each unit.
    assert len(written) == 4
    assert all(written)
    assert cached_scores(tmp_path / "b") == cached_scores(tmp_path / "a")


def test_an_evaluation_that_was_killed_goes_on_when_it_is_run_again(
    measure: Ettin, tmp_path: Path
) -> None:
    words = ["eval", "--queries", f"{tmp_path}/q.jsonl", "--qrels", f"{tmp_path}/qrels", "-r"]
    words += ["none", "--retriever", "bm25", "--unit", "3", "-o", f"{tmp_path}/deep/out"]
    begun = list[str]()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(DiedError):
        patch.setattr(UnitFolder, "keep", keeping(begun, most=2))
        measure(*words)
    root = tmp_path / "deep" / "out.parts"
    assert len(begun) == len(list((root / "parts").iterdir())) == 2
    other = measure(*words, "--metrics", "AP")
    assert other.code == 1
    assert f"or remove {root} to start over" in other.err
    with pytest.MonkeyPatch.context() as patch, pytest.raises(DiedError):
        patch.setattr(eval_command, "write_evaluation", dies)
        measure(*words)
    part = min((root / "parts").iterdir())
    content = part.read_bytes()
    part.write_bytes(b"{}")
    assert f"{part} is damaged" in measure(*words).err
    part.write_bytes(content)
    # Only what is written at the end is left.
    done = measure(*words)
    assert "resuming after 4 of 4 units" in done.err
    assert (tmp_path / "deep" / "out" / "report.html").exists()
    assert not root.exists()


def test_evaluations_that_cannot_be_done_in_units_are_refused(
    measure: Ettin, tmp_path: Path
) -> None:
    files = ["--queries", f"{tmp_path}/q.jsonl", "--qrels", f"{tmp_path}/qrels"]
    output = ["-o", str(tmp_path / "out")]
    for words, message in [
        (files, "--unit needs an output"),
        ([*files, "-o", files[1]], f"{files[1]} is a file"),
        ([*files, *output, "--judge"], "--judge cannot be combined with --on and --unit"),
        ([*output, "--run", "a.trec", "--qrels", "q"], "cannot be combined with --run"),
        (["--queries", "-", *files[2:], *output], "stdin cannot be cut into units"),
        ([*files, *output, "--gpus-per-worker", "1"], "--gpus-per-worker needs --on ray"),
    ]:
        done = measure("eval", *words, "--unit", "3")
        assert (done.code, done.out) == (2, ""), words
        assert message in done.err
    assert not (tmp_path / "out.parts").exists()


# ettin mine


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Rows of training data, one of which is broken, and two of one query."""
    path = tmp_path / "rows.jsonl"
    texts = [boat["text"] for boat in BOATS]
    pairs = [
        {"query": f"{WORDS[n % 7]} {WORDS[n * n % 5]}", "positive": texts[n % 4]} for n in range(9)
    ]
    pairs[4]["positive"] = "A boat that is nowhere."
    lines = [
        json.dumps(pair) for pair in [*pairs, {"query": pairs[0]["query"], "positive": SAILING}]
    ]
    path.write_text("\n".join([*lines[:3], "broken", *lines[3:]]))
    return path


@pytest.mark.parametrize(
    "more",
    [
        ["--qrels", "qrels", "--negatives", "2"],
        ["--qrels", "qrels", "--retriever", "bm25", "--skip-top", "1"],
        ["--max-score-ratio", "0.9", "--retriever", "dense"],
        ["--max-score-ratio", "0.9", "-r", "embedded"],
    ],
    ids=["judged", "bm25", "rows", "reranker"],
)
def test_mining_in_units_writes_the_bytes_of_a_single_run(
    measure: Ettin, rows: Path, tmp_path: Path, more: list[str]
) -> None:
    queries = "q.jsonl" if "--qrels" in more else "rows.jsonl"
    more = [str(tmp_path / word) if word == "qrels" else word for word in more]
    words = ["mine", "--queries", str(tmp_path / queries), *more, "-o"]
    one = measure(*words, str(tmp_path / "single.jsonl"))
    other = measure(*words, str(tmp_path / "units.jsonl"), "--unit", "3")
    assert one.code == other.code == (0 if queries == "q.jsonl" else 3), other.err
    assert (tmp_path / "single.jsonl").stat().st_size
    assert (tmp_path / "units.jsonl").read_bytes() == (tmp_path / "single.jsonl").read_bytes()
    assert (other.out, said(other)) == ("", said(one))
    assert not list(tmp_path.glob("*.parts"))


def test_mining_that_was_killed_goes_on_when_it_is_run_again(
    measure: Ettin, tmp_path: Path
) -> None:
    words = ["mine", "--queries", f"{tmp_path}/q.jsonl", "--qrels", f"{tmp_path}/qrels"]
    words += ["--retriever", "bm25", "-o"]
    assert measure(*words, f"{tmp_path}/single.jsonl").code == 0
    begun = list[str]()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(DiedError):
        patch.setattr(UnitFolder, "keep", keeping(begun, most=1))
        measure(*words, f"{tmp_path}/parts/", "--unit", "4")
    done = measure(*words, f"{tmp_path}/parts/", "--unit", "4")
    assert done.code == 0
    assert "resuming after 1 of 3 units" in done.err
    parts = [part.read_bytes() for part in sorted((tmp_path / "parts").iterdir())]
    assert len(parts) == 3
    assert b"".join(parts) == (tmp_path / "single.jsonl").read_bytes()


def test_mining_that_cannot_be_done_in_units_is_refused(measure: Ettin, tmp_path: Path) -> None:
    files = ["--queries", f"{tmp_path}/q.jsonl", "--qrels", f"{tmp_path}/qrels"]
    output = ["-o", f"{tmp_path}/mined.jsonl"]
    for words, message in [
        (files, "--unit needs an output file"),
        (["--queries", "-", *files[2:], *output], "stdin cannot be cut into units"),
        ([*files, *output, "-r", "embedded"], "a reranker needs a maximum score ratio"),
        ([*files, *output, "--workers", "2"], "--workers needs --on ray"),
    ]:
        done = measure("mine", *words, "--unit", "3")
        assert (done.code, done.out) == (2, ""), words
        assert message in done.err
    assert not (tmp_path / "mined.jsonl.parts").exists()
