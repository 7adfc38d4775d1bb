"""Work in units: complete or not at all, resumed by the files that are there."""

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from ettin_cli.clusters import Placement, UnitFolder, check_placement, units_of
from ettin_cli.commands.in_units import UnitRun
from ettin_cli.commands.unit_options import UnitOptions
from ettin_cli.console import Console
from ettin_cli.corpus import Piece
from ettin_cli.errors import EttinError, InvalidArgumentError, ModelError, OutputError
from tests.conftest import Ettin
from tests.faults import DiedError, Disk, on
from tests.unit_jobs import TEXTS, Capitals, Text, run

WHOLE = "".join(f"{text.upper()}\n" for text in TEXTS).encode()

BROKEN = (b"", b"{", b"[]")


def poisoned(output: Path, resume: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "tests.unit_jobs", "local", str(output), resume]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_the_output_has_the_parts_in_order_and_nothing_is_left(tmp_path: Path) -> None:
    run(tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == WHOLE
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_units_are_named_by_their_content_and_the_recipe() -> None:
    first, second = units_of([Text("a"), Text("b")], "r")
    assert (first.number, second.number) == (0, 1)
    assert first.digest != second.digest
    assert next(units_of([Text("a")], "r")).digest == first.digest
    assert next(units_of([Text("a")], "another")).digest != first.digest


def test_a_unit_that_ends_its_process_is_given_up_after_three_starts(tmp_path: Path) -> None:
    output = tmp_path / "out"
    for resume in ("begin", "resume", "resume"):
        ended = poisoned(output, resume)
        assert (ended.returncode, ended.stdout) == (9, ""), ended.stderr
    ended = poisoned(output, "resume")
    assert ended.returncode == 1
    assert ended.stdout.startswith("units-given-up given up after 3 starts")
    assert "unit 2 of 1 rows; the others are done" in ended.stdout
    assert not output.exists()
    parts = sorted((tmp_path / "out.parts" / "parts").iterdir())
    assert [part.name[:11] for part in parts] == [f"part-{n:06d}" for n in range(9) if n != 2]
    # It is tried again after that.
    assert poisoned(output, "resume").returncode == 9


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("fault", "links"),
    [("ENOSPC", True), ("short", True), ("dies", True), ("ENOSPC", False), ("short", False)],
)
def test_work_that_fails_anywhere_resumes_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, links: bool
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", _no_links)
    place = 0
    while True:
        place += 1
        folder = tmp_path / "a"
        folder.mkdir()
        disk = Disk(folder, place, fault)
        try:
            with on(disk):
                run(folder / "out", texts=TEXTS[:2])
        except (DiedError, OSError):
            pass
        expected = b"LINE 0\nLINE 1\n"
        assert not (folder / "out").exists() or (folder / "out").read_bytes() == expected
        run(folder / "out", texts=TEXTS[:2], resume=True)
        assert (folder / "out").read_bytes() == expected
        left = {path.name for path in folder.iterdir() if not path.name.endswith(".tmp")}
        assert left == {"out"}
        shutil.rmtree(folder)
        if disk.failed is None:
            assert place > 30
            return


def into_folder(output: Path, *, job: Capitals | None = None, resume: bool = False) -> None:
    work = UnitRun(output.with_name("in"), output, "work", "recipe", ".txt")
    chosen = UnitOptions(Placement(), None, in_folder=True)
    texts = cast(list[Piece], [*map(Text, TEXTS[:2])])
    console = Console(quiet=True)
    work.run(chosen, lambda _: texts, job or Capitals(), console, resume=resume)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("fault", ["ENOSPC", "short", "dies"])
def test_a_folder_that_fails_anywhere_is_finished_by_resuming(tmp_path: Path, fault: str) -> None:
    place = 0
    only_finished = set()
    while True:
        place += 1
        folder = tmp_path / str(place)
        folder.mkdir()
        disk = Disk(folder, place, fault)
        output, root = folder / "out", folder / "out.parts"
        try:
            with on(disk):
                into_folder(output)
        except (DiedError, OutputError):
            pass
        # Once the output is there, no unit is done again: this job cannot be loaded.
        job = Capitals("known") if output.exists() else None
        if (root / "plan.json").exists() or not output.exists():
            into_folder(output, job=job, resume=True)
            only_finished.add(job is not None)
            assert not root.exists()
        else:
            # The work is complete.
            with pytest.raises(OutputError, match="already exists"):
                into_folder(output, resume=True)
        parts = [(path.name[:11], path.read_bytes()) for path in sorted(output.iterdir())]
        assert parts == [("part-000000", b"LINE 0\n"), ("part-000001", b"LINE 1\n")]
        if disk.failed is None:
            assert place > 40
            assert only_finished == {False, True}
            return


def test_parts_that_are_missing_from_the_output_are_not_taken_for_done(tmp_path: Path) -> None:
    output, root = tmp_path / "out", tmp_path / "out.parts"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(DiedError):
        patch.setattr(UnitFolder, "remove", _dies)
        into_folder(output)
    assert not (root / "parts").exists()
    missing = min(output.iterdir())
    missing.unlink()
    with pytest.raises(OutputError, match="already exists"):
        into_folder(output, resume=True)
    shutil.rmtree(output)
    into_folder(output, resume=True)
    assert missing.read_bytes() == b"LINE 0\n"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_only_units_without_a_part_are_done_again(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        run(tmp_path / "out", job=Capitals("known"))
    parts = tmp_path / "out.parts" / "parts"
    units = list(units_of(map(Text, TEXTS), "recipe"))
    (parts / f"{units[0].name}.txt").write_bytes(b"kept\n")
    receipt: dict[str, object] = {"counts": {}, "notices": []}
    (parts.parent / "receipts" / f"{units[0].name}.json").write_text(json.dumps(receipt))
    run(tmp_path / "out", resume=True)
    assert (tmp_path / "out").read_bytes() == WHOLE.replace(b"LINE 0", b"kept")


def test_a_changed_input_and_a_run_without_resume_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        run(tmp_path / "out", job=Capitals("known"))
    with pytest.raises(OutputError, match="left over") as error:
        run(tmp_path / "out")
    assert error.value.code == "unfinished-output"
    with pytest.raises(OutputError, match="the input has changed") as error:
        run(tmp_path / "out", texts=(*TEXTS, "more"), resume=True)
    assert error.value.code == "resume-mismatch"


@pytest.mark.parametrize(
    "name", ["mine.txt", "parts/mine.txt", "plan.json.bak", "parts/part-000000.jsonl/mine", ""]
)
def test_a_folder_that_no_run_has_made_is_refused_and_kept(
    ettin: Ettin, lists: Path, name: str
) -> None:
    mine = Path("out.jsonl.parts", name)
    mine.parent.mkdir(parents=True, exist_ok=True)
    mine.write_text("mine")
    for more in ([], ["--resume"]):
        words = ["rerank", str(lists), "-r", "embedded", "-o", "out.jsonl", "--unit", "4"]
        done = ettin(*words, *more)
        assert done.code == 1
        assert "is not left over from an unfinished run" in done.err
        assert "choose a different output with -o" in done.err
        assert mine.read_text() == "mine"
        assert not Path("out.jsonl").exists()


def test_work_whose_removal_was_cut_short_is_begun_anew(tmp_path: Path) -> None:
    output = tmp_path / "out"
    root = tmp_path / "out.parts"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(DiedError):
        patch.setattr(Path, "rmdir", _dies)
        run(output)
    assert not (root / "plan.json").exists()
    assert json.loads((root / "engine.json").read_bytes()) == {"library": "1"}
    for unit in units_of(map(Text, TEXTS), "recipe"):
        (root / "parts" / f"{unit.name}.txt").write_bytes(b"of the library's version 1\n")
    run(output, job=Capitals(engine="2"))
    assert output.read_bytes() == WHOLE
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_files_put_into_unfinished_work_are_not_removed(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        run(tmp_path / "out", job=Capitals("known"))
    root = tmp_path / "out.parts"
    (root / "mine.txt").write_text("mine")
    (root / "parts" / "mine.txt").write_text("mine")
    run(tmp_path / "out", resume=True)
    assert (tmp_path / "out").read_bytes() == WHOLE
    left = sorted(path.relative_to(root) for path in root.rglob("*") if path.is_file())
    assert left == [Path("mine.txt"), Path("parts/mine.txt")]


def test_a_file_of_something_else_does_not_become_a_part_of_the_output(
    ettin: Ettin, lists: Path
) -> None:
    words = ["rerank", str(lists), "-r", "embedded", "-o", "out/", "--unit", "5"]
    with pytest.MonkeyPatch.context() as patch, pytest.raises(DiedError):
        patch.setattr(UnitFolder, "write_rejects", _dies)
        ettin(*words)
    mine = Path("out.parts/parts/mine.txt")
    mine.write_text("mine")
    done = ettin(*words, "--resume")
    assert done.code == 1
    assert f"{mine} is of something else; move it elsewhere" in done.err
    assert "hint: resume it with --resume" in done.err
    assert mine.read_text() == "mine"
    mine.unlink()
    assert ettin(*words, "--resume").code == 3
    assert len(list(parts_of("out"))) == 3


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *((name, text) for name in ("receipts", "engine.json", "plan.json") for text in BROKEN),
        ("receipts", b"{}"),
        ("receipts", None),
    ],
)
def test_unfinished_work_that_is_damaged_cannot_be_resumed(
    ettin: Ettin, lists: Path, name: str, content: bytes | None
) -> None:
    words = ["rerank", str(lists), "-r", "embedded", "-o", "out.jsonl", "--unit", "5"]
    with pytest.MonkeyPatch.context() as patch, pytest.raises(DiedError):
        patch.setattr(UnitFolder, "write_rejects", _dies)
        ettin(*words)
    root = Path("out.jsonl.parts").absolute()
    # So that the engine is read.
    max((root / "parts").iterdir()).unlink()
    path = min((root / name).iterdir()) if name == "receipts" else root / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    done = ettin(*words, "--resume")
    assert done.code == 1
    assert f"{path} is {'missing' if content is None else 'damaged'}" in done.err
    assert f"hint: remove {root} to start over" in done.err
    assert not Path("out.jsonl").exists()


def _dies(*_: object) -> None:
    raise DiedError


def test_a_worker_with_other_libraries_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="full"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(Capitals, "_do", _full)
        run(tmp_path / "out")
    with pytest.raises(EttinError, match="has library 2, but the first worker had 1") as error:
        run(tmp_path / "out", job=Capitals(engine="2"), resume=True)
    assert error.value.code == "workers-differ"


def _no_links(*_: object) -> None:
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


def test_without_hard_links_the_engine_of_the_first_worker_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", _no_links)
    run(tmp_path / "whole")
    assert (tmp_path / "whole").read_bytes() == WHOLE
    with pytest.raises(OSError, match="full"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(Capitals, "_do", _full)
        run(tmp_path / "out")
    engine = tmp_path / "out.parts" / "engine.json"
    assert json.loads(engine.read_bytes()) == {"library": "1"}
    with pytest.raises(EttinError, match="has library 2, but the first worker had 1"):
        run(tmp_path / "out", job=Capitals(engine="2"), resume=True)
    # Another worker has created the file, and writes it while this one waits.
    engine.write_bytes(b"")
    monkeypatch.setattr(time, "sleep", lambda _: engine.write_bytes(b'{"library":"3"}'))
    with pytest.raises(EttinError, match="has library 2, but the first worker had 3"):
        run(tmp_path / "out", job=Capitals(engine="2"), resume=True)


def _full(*_: object) -> dict[str, int]:
    raise OSError("full")


@pytest.mark.parametrize(
    "address", ["ray://head:10001", "http://head:8265"], ids=["client", "dashboard"]
)
def test_an_address_that_is_not_a_head_node_is_refused(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(InvalidArgumentError) as error:
        check_placement(Placement("ray"))
    assert error.value.code == "not-a-cluster"


# On the command line.


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    path = tmp_path / "lists.jsonl"
    lines = [
        json.dumps({"query": f"word{n} ferry", "documents": [f"word{n} {m} bread" for m in (1, 2)]})
        for n in range(12)
    ]
    lines[3], lines[7] = "broken", "\n" + lines[7]
    path.write_text("\ufeff" + "\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.jsonl"
    rows = [{"query": f"q{n // 3} ferry", "text": f"word{n} bread", "id": n} for n in range(15)]
    lines = [json.dumps(row) for row in rows]
    lines.insert(4, "broken")
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def parquet(path: Path) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    lines = path.read_text(encoding="utf-8-sig").split("\n")
    rows = [json.loads(line) for line in lines if line.startswith("{")]
    target = path.with_suffix(".parquet")
    pq.write_table(pa.Table.from_pylist(rows), target, row_group_size=4)
    return target


@pytest.mark.parametrize("format", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("kind", ["lists", "pairs", "parquet"])
def test_reranking_in_units_writes_the_bytes_of_a_single_run(
    ettin: Ettin, lists: Path, pairs: Path, kind: str, format: str
) -> None:
    path = {"lists": lists, "pairs": pairs, "parquet": pairs}[kind]
    path = parquet(path) if kind == "parquet" else path
    single = ettin("rerank", str(path), "-r", "embedded", "-o", f"single.{format}")
    units = ettin("rerank", str(path), "-r", "embedded", "-o", f"units.{format}", "--unit", "4")
    assert single.code == units.code == (0 if kind == "parquet" else 3), units.err
    read = Path(f"units.{format}").read_bytes()
    assert read == Path(f"single.{format}").read_bytes()
    assert not list(Path.cwd().glob("units*.parts"))
    if kind != "parquet":
        rejects = Path(f"units.{format}.rejects.jsonl").read_bytes()
        assert rejects == Path(f"single.{format}.rejects.jsonl").read_bytes()


@pytest.mark.parametrize("more", [[], ["-r", "model", "--average"]], ids=["one", "average"])
def test_scoring_in_units_writes_the_bytes_of_a_single_run(
    ettin: Ettin, pairs: Path, more: list[str], tmp_path: Path
) -> None:
    from tests.models import ettin as model

    if more:
        model(tmp_path / "model", hidden=64, layers=3, heads=2)
    words = ["score", "--pairs", str(pairs), "-r", "embedded", *more, "-o"]
    assert ettin(*words, "single.jsonl").code == 3
    assert ettin(*words, "units.jsonl", "--unit", "2").code == 3
    assert Path("units.jsonl").read_bytes() == Path("single.jsonl").read_bytes()
    rejects = Path("units.jsonl.rejects.jsonl").read_bytes()
    assert rejects == Path("single.jsonl.rejects.jsonl").read_bytes()


def parts_of(folder: str) -> Iterator[bytes]:
    for path in sorted(Path(folder).iterdir()):
        assert path.name.startswith("part-")
        yield path.read_bytes()


def test_an_output_that_ends_with_a_slash_is_a_folder_of_parts(ettin: Ettin, lists: Path) -> None:
    words = ["rerank", str(lists), "-r", "embedded"]
    assert ettin(*words, "-o", "single.jsonl").code == 3
    assert ettin(*words, "-o", "out/", "--unit", "5").code == 3
    parts = list(parts_of("out"))
    assert len(parts) == 3
    assert b"".join(parts) == Path("single.jsonl").read_bytes()
    assert Path("out.rejects.jsonl").exists()
    again = ettin(*words, "-o", "out/", "--unit", "5")
    assert again.code == 1
    assert "already exists" in again.err
    assert ettin(*words, "-o", "table/", "--unit", "5", "-f", "csv").code == 3
    headers = {part.split(b"\n")[0] for part in parts_of("table")}
    assert len(headers) == 1
    assert headers.pop().startswith(b"query_id,")


def test_what_cannot_be_done_in_units_is_refused(
    ettin: Ettin, lists: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["rerank", str(lists), "-r", "embedded"]
    refused = [
        (["--unit", "4"], "needs an output file"),
        (["--workers", "2", "-o", "o.jsonl"], "--workers needs --on ray"),
        (["--on", "moon"], "unknown place 'moon'"),
        (["--on", "ray", "--workers", "3-2", "-o", "o.jsonl"], "not a number from 1, or a range"),
        (["--unit", "4", "-o", "o.json"], "json cannot be written in units"),
    ]
    for more, message in refused:
        done = ettin(*words, *more)
        assert (done.code, done.out) == (2, "")
        assert message in done.err
    assert ettin("rerank", "-", "-o", "o.jsonl", "--unit", "4").code == 2
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    done = ettin(*words, "--on", "ray", "-o", "o.jsonl")
    assert done.code == 2
    assert "ray job submit --address http://head:8265 -- ettin rerank" in done.err
    pairs.write_text(
        "".join(json.dumps({"query": q, "text": "bread"}) + "\n" for q in ("a", "b", "a"))
    )
    done = ettin("rerank", str(pairs), "-r", "embedded", "-o", "o.jsonl", "--unit", "1")
    assert done.code == 1
    assert "pairs.jsonl:3: the query appeared before" in done.err
    assert "sort the file by query" in done.err


def test_without_the_extra_ray_is_asked_for(
    ettin: Ettin, lists: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ettin_cli.clusters import placement

    monkeypatch.setattr(placement, "find_spec", lambda name: None)
    done = ettin("rerank", str(lists), "-r", "embedded", "--on", "ray", "-o", "o.jsonl")
    assert done.code == 2
    assert "pip install 'ettin-cli[ray]'" in done.err


def test_an_input_that_changes_while_it_is_read_is_reported(ettin: Ettin, lists: Path) -> None:
    from ettin_cli.corpus import cut, piece_rows
    from ettin_cli.storage import UnreadableError

    pieces = list(cut(lists, 4))
    lists.write_text(lists.read_text().replace("word2 ", "word9 "))
    with pytest.raises(UnreadableError, match="has changed"):
        list(piece_rows(lists, pieces[0]))
