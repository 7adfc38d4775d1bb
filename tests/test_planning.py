"""A run does only what has changed, and ends in the same state as a fresh build."""

import io
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from ettin_cli.commands.hints import hint_of
from ettin_cli.errors import CorpusError, InvalidArgumentError
from ettin_cli.index.manifest import RecordedSource
from ettin_cli.index.reader import Index
from ettin_cli.indexing.building import BuildReport, build_index
from ettin_cli.indexing.planning import make_plan, out_of_date, record_source
from ettin_cli.indexing.requests import BuildRequest
from ettin_cli.records import Silence
from ettin_cli.storage import Stream
from tests.indexes import Builder
from tests.reading import write

Update = Callable[..., BuildReport]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "index"


@pytest.fixture
def update(folder: Path) -> Update:
    """Update the index with these sources; "-" is standard input."""

    def run(
        *sources: Path | str, stdin: str = "", remove: Sequence[str] = (), rebuild: bool = False
    ) -> BuildReport:
        stream = Stream(io.BytesIO(stdin.encode()))
        add = [stream if source == "-" else str(source) for source in sources]
        return build_index(BuildRequest(folder, add, remove, rebuild=rebuild), Silence())

    return run


def content(folder: Path) -> list[tuple[str, str, int | None]]:
    """Return each passage's document, text and first line, in order."""
    index = Index(folder)
    passages = index.read(np.arange(len(index.passages)))
    return [(passage.doc_id, passage.text, passage.start_line) for passage in passages]


def doc_ids(folder: Path) -> list[str]:
    return [doc_id for doc_id, _, _ in content(folder)]


# Changes


def test_files_are_new_changed_the_same_or_gone(
    tmp_path: Path, folder: Path, update: Update
) -> None:
    docs = tmp_path / "docs"
    for name in ("same.txt", "changed.txt", "gone.txt", "touched.txt", "same size.txt"):
        write(docs / name, "words")
    update(docs)
    write(docs / "changed.txt", "other words")
    write(docs / "same size.txt", "sword")
    write(docs / "new.txt", "words")
    write(docs / "touched.txt", "words")
    (docs / "gone.txt").unlink()
    plan = out_of_date(folder, Index(folder))
    assert plan.new == ["new.txt"]
    assert plan.changed == ["changed.txt", "same size.txt"]
    assert plan.gone == ["gone.txt"]
    assert plan.unchanged == 2
    assert not plan.up_to_date
    update()
    assert out_of_date(folder, Index(folder)).up_to_date


def test_an_index_inside_of_its_source_is_up_to_date_at_once(tmp_path: Path) -> None:
    write(tmp_path / "docs" / "a.txt", "words")
    request = BuildRequest(tmp_path / "docs" / "index", [str(tmp_path / "docs")])
    build_index(request, Silence())
    again = build_index(request, Silence())
    assert (again.written, again.plan.skipped) == (False, {"the index itself": 1})


def test_what_was_rejected_and_skipped_is_told_on_every_run(tmp_path: Path, update: Update) -> None:
    docs = tmp_path / "docs"
    write(docs / "bad.txt", b"\0")
    write(docs / "empty.txt", "")
    write(docs / "package.json", '{"name": "x"}')
    write(docs / "t.jsonl", '{"text": "words"}\nbroken\n')
    reports = [update(docs), update()]
    assert [report.written for report in reports] == [True, False]
    for report in reports:
        assert [rejection.line for rejection in report.rejections] == [None, 2]
        assert report.plan.skipped == {"empty": 1, "table without a text field": 1}


def test_a_rejected_file_is_read_once_it_is_mended(
    tmp_path: Path, folder: Path, update: Update
) -> None:
    write(tmp_path / "docs" / "a.txt", b"\0")
    assert len(update(tmp_path / "docs").rejections) == 1
    write(tmp_path / "docs" / "a.txt", "words")
    assert update().rejections == []
    assert doc_ids(folder) == ["a.txt"]


NAMES = ["a.md", "b.txt", "x/a.md", "rows.jsonl"]
CONTENT = {
    "a.md": ["# One\n\nwords", "# Two\n\nwords"],
    "b.txt": ["plain words", "other words"],
    "x/a.md": ["below x", "---\ntitle: T\n---\nbody"],
    "rows.jsonl": [
        '{"id": "a.md", "text": "row"}\n',
        '{"id": 1, "text": "x"}\nno\n{"text": "y"}\n',
    ],
}
EDIT = st.tuples(st.sampled_from(["x", "y"]), st.sampled_from(NAMES), st.sampled_from([None, 0, 1]))


@given(st.lists(st.lists(EDIT, min_size=1, max_size=4), min_size=1, max_size=3))
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_after_any_edits_an_update_ends_where_a_fresh_start_does(
    tmp_path: Path, build: Builder, rounds: list[list[tuple[str, str, int | None]]]
) -> None:
    folder = tmp_path / "any"
    shutil.rmtree(folder, ignore_errors=True)
    old, fresh = folder / "old", folder / "fresh"
    sources = [folder / "x", folder / "y"]
    for source in sources:
        write(source / "kept.txt", "kept")
    for edits in rounds:
        for source_name, name, version in edits:
            path = folder / source_name / name
            if version is None:
                path.unlink(missing_ok=True)
            else:
                write(path, CONTENT[name][version])
        shutil.rmtree(fresh, ignore_errors=True)
        for target in (old, fresh):
            build(target, *sources)
        assert content(old) == content(fresh)
        assert len(set(doc_ids(old))) == Index(old).manifest.counts.documents


# Sources


def test_two_sources_with_the_same_names_both_have_all_of_theirs(
    tmp_path: Path, folder: Path, update: Update
) -> None:
    for name, text in (("x", "first"), ("y", "second")):
        write(tmp_path / name / "a.md", text)
        write(tmp_path / name / "y" / "a.md", f"{text} below")
    update(tmp_path / "x", tmp_path / "y")
    assert doc_ids(folder) == ["a.md", "y/a.md", "y-2/a.md", "y/y/a.md"]
    update(remove=[str(tmp_path / "x")])
    assert content(folder) == [("a.md", "second", 1), ("y/a.md", "second below", 1)]


def test_a_source_that_vanished_stops_the_run_and_costs_nothing(
    tmp_path: Path, folder: Path, update: Update
) -> None:
    write(tmp_path / "x" / "a.txt", "words")
    write(tmp_path / "y" / "b.txt", "words")
    update(tmp_path / "x", tmp_path / "y")
    shutil.move(tmp_path / "y", tmp_path / "away")
    plan = out_of_date(folder, Index(folder))
    assert (plan.gone, plan.unchanged, plan.up_to_date) == (["b.txt"], 1, False)
    with pytest.raises(CorpusError, match="source .*/y no longer exists") as stopped:
        update()
    assert hint_of(stopped.value) == f"ettin index -i {folder} --remove {tmp_path / 'y'}"
    assert doc_ids(folder) == ["a.txt", "b.txt"]
    shutil.move(tmp_path / "away", tmp_path / "y")
    assert not update().written
    shutil.rmtree(tmp_path / "y")
    update(remove=[str(tmp_path / "y")])
    assert doc_ids(folder) == ["a.txt"]


def test_a_source_is_recorded_relative_to_the_index_where_it_lies_beside_it(tmp_path: Path) -> None:
    write(tmp_path / "docs" / "a.txt", "x")
    template = RecordedSource("", include=("*.txt",))
    recorded = record_source(str(tmp_path / "docs"), tmp_path / "index", template)
    assert recorded == RecordedSource("docs", include=("*.txt",))
    elsewhere = record_source(str(tmp_path / "docs"), tmp_path / "sub" / "index", template)
    assert elsewhere.location == str(tmp_path / "docs")


def test_a_source_that_cannot_be_written_down_is_refused(tmp_path: Path) -> None:
    (tmp_path / "caf\udce9").mkdir()
    with pytest.raises(CorpusError, match="its path is not UTF-8"):
        record_source(str(tmp_path / "caf\udce9"), tmp_path / "index", RecordedSource(""))
    beside = tmp_path / "caf\udce9" / "docs"
    beside.mkdir()
    recorded = record_source(str(beside), tmp_path / "caf\udce9" / "index", RecordedSource(""))
    assert recorded.location == "docs"


def test_other_options_read_a_source_anew(tmp_path: Path, folder: Path, update: Update) -> None:
    write(tmp_path / "t.jsonl", '{"text": "words", "summary": "short", "id": 1, "key": "k"}')
    update(tmp_path / "t.jsonl")
    source = RecordedSource("", id_field="key", text_field="summary")
    build_index(BuildRequest(folder, [str(tmp_path / "t.jsonl")], source=source), Silence())
    assert content(folder) == [("k", "short", 1)]


# Standard input


ROWS = '{"_id": "a.txt", "text": "from a pipe"}\n{"_id": "b.txt", "text": "from it too"}\n'


def test_records_from_standard_input_stay_while_other_sources_change(
    tmp_path: Path, folder: Path, update: Update
) -> None:
    write(tmp_path / "docs" / "a.txt", "words")
    update(tmp_path / "docs", "-", stdin=ROWS)
    assert doc_ids(folder) == ["a.txt", "-/a.txt", "b.txt"]
    write(tmp_path / "docs" / "b.txt", "more words")
    assert update().reused == 3
    assert doc_ids(folder) == ["a.txt", "b.txt", "-/a.txt", "-/b.txt"]
    update(remove=[str(tmp_path / "docs")])
    assert [text for _, text, _ in content(folder)] == ["from a pipe", "from it too"]
    update("-", stdin='{"_id": "c", "text": "given anew"}\n')
    assert content(folder) == [("c", "given anew", 1)]


def test_records_from_standard_input_are_never_waited_for_unasked(
    tmp_path: Path, folder: Path, update: Update
) -> None:
    update("-", stdin=ROWS)
    with pytest.raises(InvalidArgumentError, match="which only the index holds") as refused:
        update(rebuild=True, stdin=ROWS)
    assert "--remove -" in str(hint_of(refused.value))
    assert doc_ids(folder) == ["a.txt", "b.txt"]
    assert update("-", stdin=ROWS, rebuild=True).written
    with pytest.raises(InvalidArgumentError):
        make_plan(folder, [RecordedSource("-")], None)
