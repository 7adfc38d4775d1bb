"""What is particular to Windows and macOS, simulated."""

import errno
import glob
import ntpath
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import faiss
import pytest

from ettin_cli import cli, platforms
from ettin_cli.commands.open_hit import open_hit
from ettin_cli.console import making_folder
from ettin_cli.corpus.ignores import ignores_of
from ettin_cli.corpus.sources import Source, list_files, located
from ettin_cli.errors import EttinError, InvalidArgumentError, OutputError
from ettin_cli.files import output_errors
from ettin_cli.index.manifest import read_manifest
from ettin_cli.index.reader import Index
from ettin_cli.indexing.planning import base_of
from ettin_cli.indexing.requests import _Recorded
from ettin_cli.models.engines import devices
from ettin_cli.records import Hit, Passage
from ettin_cli.serving import server
from ettin_cli.serving.server import Address, listening
from ettin_cli.storage import replacing
from ettin_cli.training.folder import ModelFolder
from tests.conftest import Ettin
from tests.held_files import refused
from tests.indexes import DIMENSION, Builder, doc_ids, ferry_files, unit_vectors

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's /proc")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "ETTIN_DEVICE": "cpu"}


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(platforms, "WINDOWS", True)
    monkeypatch.setattr(platforms, "PAUSES_S", (0.0,) * 3)
    return monkeypatch


@linux
@pytest.mark.parametrize("options", [{}, {"shards": "3"}, {"shards": "3", "factory": "SQ8"}])
def test_files_that_are_in_use_are_not_touched(
    tmp_path: Path, build: Builder, options: dict[str, str]
) -> None:
    docs, folder = ferry_files(tmp_path / "docs"), tmp_path / "i"
    with refused() as names:
        build(folder, docs, **options)
        (docs / "new.txt").write_text("The last ferry.\n", encoding="utf-8")
        assert build(folder, rebuild="factory" in options).written
    assert names == []
    assert [path.name for path in (folder / "generations").iterdir()] == [
        read_manifest(folder).generation
    ]


def test_faiss_is_given_no_names_which_it_would_read_in_a_code_page(
    tmp_path: Path, build: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ours(real: Any) -> Any:
        def call(*arguments: Any) -> Any:
            if any(isinstance(one, str) and not one.isascii() for one in arguments):
                raise RuntimeError("could not open the file for reading: No such file")
            return real(*arguments)

        return call

    for name in ("read_index", "write_index"):
        monkeypatch.setattr(faiss, name, ours(getattr(faiss, name)))
    (tmp_path / "Jürgen 山").mkdir()
    docs, folder = ferry_files(tmp_path / "Jürgen 山" / "docs"), tmp_path / "Jürgen 山" / "i"
    build(folder, docs, shards="2", factory="SQ8")
    (docs / "new.txt").write_text("The last ferry.\n", encoding="utf-8")
    build(folder)
    with Index(folder) as index:
        assert [len(found[0]) for found in index.retrieve(unit_vectors(1, DIMENSION), 3)] == [3]


def test_globs_are_expanded_in_sources_alone(windows: pytest.MonkeyPatch, ettin: Ettin) -> None:
    for name in ("a.md", "b.md", "[c].md"):
        Path(name).write_text("The ferry sails at nine.\n", encoding="utf-8")
    windows.setattr(os.path, "expanduser", lambda name: name.replace("~", "home"))
    found = list(platforms.expanded(["*.md", "[c].md", "-", "no*thing", "~", "beir/scifact"]))
    assert found == ["[c].md", "a.md", "b.md", "[c].md", "-", "no*thing", "home", "beir/scifact"]
    listed: list[str] = []

    def globbed(name: str, **_: object) -> list[str]:
        listed.append(name)
        return ["a.md", "b.md"]

    windows.setattr(glob, "glob", globbed)
    # Typer would expand every argument.
    windows.setattr("typer._click.utils._expand_args", None)
    ran = ettin("search", "w*at [$HOME]", "*.md", "--path", "*.md", "-r", "none", "-f", "jsonl")
    assert (ran.code, listed) == (0, ["*.md"]), ran.err
    assert '"query":"w*at [$HOME]"' in ran.out.replace('": "', '":"')


def test_a_file_that_is_briefly_in_use_is_replaced(
    windows: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    replace, attempts = Path.replace, []

    def busy(path: Path, target: Path) -> Path:
        attempts.append(path)
        if len(attempts) < 3:
            raise PermissionError(errno.EACCES, "The file is in use")
        return replace(path, target)

    windows.setattr(Path, "replace", busy)
    with replacing(tmp_path / "manifest.json") as draft:
        draft.write_bytes(b"{}")
    assert (tmp_path / "manifest.json").read_bytes() == b"{}"
    windows.setattr(platforms, "PAUSES_S", ())
    attempts.clear()
    with pytest.raises(PermissionError), replacing(tmp_path / "manifest.json") as draft:
        draft.write_bytes(b"[]")
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def test_a_source_on_another_drive_is_shown_by_its_whole_path(
    inside: Ettin, monkeypatch: pytest.MonkeyPatch
) -> None:
    def another_drive(path: object) -> str:
        return ntpath.relpath(r"D:\docs", "C:\\")

    monkeypatch.setattr(os.path, "relpath", another_drive)
    info = inside("info")
    assert info.code == 0, info.err
    assert str(Path.cwd() / "docs") in info.out
    assert inside("search", "ferry", "-r", "none", "-f", "paths").code == 0


def test_a_command_is_quoted_for_the_shells_of_windows(windows: pytest.MonkeyPatch) -> None:
    words = ["ettin", "search", 'what "is" it', "-i", "C:\\my docs\\", "C:\\idx", "$100", ""]
    assert platforms.command_line(words) == (
        r'ettin search "what ""is"" it" -i "C:\my docs\\" C:\idx ' + "'$100' \"\""
    )
    assert making_folder("a b") == 'mkdir "a b"'
    windows.setattr(platforms, "WINDOWS", False)
    assert platforms.command_line(["a b", "c"]) == "'a b' c"
    assert making_folder("a b") == "mkdir -p 'a b'"


def test_a_pipe_whose_reader_has_gone_is_known_on_windows(
    windows: pytest.MonkeyPatch, ettin: Ettin
) -> None:
    write, told = os.write, list[bytes]()

    def invalid(descriptor: int, content: Any) -> int:
        if descriptor != writer:
            return write(descriptor, content)
        told.append(bytes(content))
        raise OSError(errno.EINVAL, "Invalid argument")

    reader, writer = os.pipe()
    with os.fdopen(reader, "rb"), os.fdopen(writer, "w", encoding="utf-8") as stdout:
        windows.setattr(os, "write", invalid)
        windows.setattr(sys, "stdout", stdout)
        assert ettin("models").code == 0
        assert len(told) == 1
        # What is left is written now, not when the stream is freed in some other test.
        windows.setattr(os, "write", write)
        sys.stdout.close()


def test_what_is_invalid_elsewhere_than_in_a_pipe_is_told(
    windows: pytest.MonkeyPatch, ettin: Ettin, tmp_path: Path
) -> None:
    def write(**_: object) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    with pytest.raises(OutputError, match="Invalid argument"), output_errors(tmp_path / "out"):
        write()
    with pytest.raises(BrokenPipeError), output_errors(tmp_path / "out"):
        raise BrokenPipeError
    windows.setattr(cli, "app", write)
    windows.setattr("ettin_cli.console.quietly_closed", lambda: None)
    ran = ettin("models")
    assert (ran.code, "Invalid argument" in ran.err) == (1, True)


def test_what_a_legacy_encoding_lacks_is_escaped(inside: Ettin, tmp_path: Path) -> None:
    (tmp_path / "queries.txt").write_text("ferry \u2192 \u5c71\n", encoding="utf-8")
    words = ["search", "-r", "none", "--retriever", "bm25", "-f", "table"]
    with (tmp_path / "out").open("w", encoding="cp1252") as stdout:
        inside.monkeypatch.setattr(sys, "stdout", stdout)
        ran = inside(*words, "--queries", str(tmp_path / "queries.txt"))
    assert (ran.code, "Traceback" in ran.err) == (0, False), ran.err
    assert rb"ferry \u2192 \u5c71" in (tmp_path / "out").read_bytes()


# Names


DECOMPOSED, COMPOSED = "Cafe\u0301", "Caf\u00e9"


def test_ids_are_the_same_however_names_are_composed(tmp_path: Path, build: Builder) -> None:
    for form in (DECOMPOSED, COMPOSED):
        folder = tmp_path / ascii(form) / f"{form} sources" / form
        folder.mkdir(parents=True)
        (folder / f"{form}.txt").write_text("The ferry sails.\n", encoding="utf-8")
        (folder / f"{form} bread.md").write_text("Knead the dough.\n", encoding="utf-8")
        (folder.parent / ".gitignore").write_text(f"{form} b*\n", encoding="utf-8")
    [mac, linux] = [tmp_path / ascii(form) for form in (DECOMPOSED, COMPOSED)]
    build(linux / "i", linux / f"{COMPOSED} sources")
    build(mac / "i", mac / f"{DECOMPOSED} sources")
    assert doc_ids(mac / "i") == doc_ids(linux / "i") == [f"{COMPOSED}/{COMPOSED}.txt"]
    for glob_ in (f"{DECOMPOSED}/*", f"{COMPOSED}/*"):
        assert Index(mac / "i").select([], [glob_]).tolist() == [0]
    # The index of one system beside the files of the other.
    shutil.rmtree(mac / "i")
    shutil.copytree(linux / "i", mac / "i")
    [passage] = Index(mac / "i").read([0])
    assert passage.path and Path(passage.path).exists()
    for unseen in (mac / f"{COMPOSED}.txt", Path(COMPOSED * 100), Path(f"{COMPOSED}\0")):
        assert platforms.on_disk(unseen) == unseen
    assert not build(mac / "i").written
    report = build(mac / "i", mac / f"{DECOMPOSED} sources")
    assert not report.written and len(read_manifest(mac / "i").sources) == 1


def test_a_source_has_the_name_that_is_recorded_unless_that_is_another_file(tmp_path: Path) -> None:
    known = _Recorded([f"{COMPOSED}.txt", DECOMPOSED], tmp_path)
    assert known.location_of(f"{DECOMPOSED}.txt") == f"{COMPOSED}.txt"
    assert known.location_of(DECOMPOSED) == DECOMPOSED
    assert known.location_of(COMPOSED) == DECOMPOSED
    assert known.location_of("new") == "new"
    (tmp_path / f"{COMPOSED}.txt").touch()
    assert known.location_of(f"{DECOMPOSED}.txt") == f"{DECOMPOSED}.txt"


def test_two_names_that_differ_in_composition_are_told(tmp_path: Path) -> None:
    for name in (DECOMPOSED, COMPOSED):
        (tmp_path / f"{name}.txt").write_text(name, encoding="utf-8")
    listing = list_files(Source(tmp_path, "folder"))
    assert [(one.name, one.path) for one in listing.files] == [
        (f"{COMPOSED}.txt", tmp_path / f"{COMPOSED}.txt")
    ]
    [rejection] = listing.rejections
    assert rejection.path == str(tmp_path / f"{DECOMPOSED}.txt")
    assert rejection.reason.startswith("another file has the same name")


def test_a_source_has_the_case_of_its_name_on_macos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fcntl = pytest.importorskip("fcntl")
    monkeypatch.setattr(platforms, "MACOS", True)
    monkeypatch.setattr(fcntl, "F_GETPATH", 50, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", lambda *_: b"/Users/ada/Docs".ljust(1024, b"\0"))
    assert located(str(tmp_path)) == Path("/Users/ada/Docs")
    assert located(str(tmp_path / "new" / "index")) == Path("/Users/ada/Docs/new/index")
    assert base_of(tmp_path / "index") == Path("/Users/ada/Docs")


def test_a_junction_is_a_link_to_a_folder(windows: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.txt").write_text("a", encoding="utf-8")
    (tmp_path / "junction").mkdir()

    def tagged(entry: Any) -> bool:
        return bool(entry.name == "junction")

    class Entry:
        def __init__(self, tag: int) -> None:
            self.tag = tag

        def is_junction(self) -> bool:
            return self.tag == 0xA0000003

        def stat(self, *, follow_symlinks: bool) -> Any:
            return SimpleNamespace(st_reparse_tag=self.tag)

    assert [platforms.is_junction(Entry(tag)) for tag in (0xA0000003, 0xA000000C, 0)] == [  # type: ignore[arg-type]
        True,
        False,
        False,
    ]
    windows.setattr("ettin_cli.corpus.sources.is_junction", tagged)
    listing = list_files(Source(tmp_path, "folder"))
    assert [one.name for one in listing.files] == ["docs/a.txt"]
    assert listing.skipped == {"link to a folder": 1}


def test_an_ignore_file_that_is_a_folder_is_passed_over(
    windows: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".gitignore").mkdir()
    opened = os.open

    def denied(path: Any, *arguments: Any, **options: Any) -> int:
        if Path(path).is_dir():
            raise PermissionError(errno.EACCES, "Permission denied")
        return opened(path, *arguments, **options)

    windows.setattr(os, "open", denied)
    assert ignores_of(tmp_path, lambda *told: pytest.fail(str(told))) == []


# Programs


def test_an_editor_is_found_as_windows_names_it(
    windows: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert platforms.split_command(r'"C:\my tools\vim.exe" -n') == [r"C:\my tools\vim.exe", "-n"]
    assert platforms.split_command(r"C:\tools\vim.exe -n") == [r"C:\tools\vim.exe", "-n"]
    spaced = tmp_path / "my tools.exe"
    spaced.touch()
    assert platforms.split_command(str(spaced)) == [str(spaced)]
    ran: list[list[str]] = []
    windows.setenv("VISUAL", "code -n")
    windows.setattr(shutil, "which", lambda name: rf"C:\VS\bin\{name}.cmd")
    windows.setattr(subprocess, "run", lambda words, **_: ran.append(words))
    passage = Passage("a", "ferry", path="a b.md", start_line=3, end_line=3)
    hit = Hit(1, passage, 1.0, 1, 1.0)
    open_hit(hit, "ferry")
    assert ran == [[r"C:\VS\bin\code.cmd", "-n", "--goto", "a b.md:3"]]
    with pytest.raises(EttinError, match="batch file"):
        open_hit(replace(hit, passage=replace(passage, path="a&calc.md")), "ferry")
    launched: list[str] = []
    windows.delenv("VISUAL")
    windows.setattr(os, "startfile", launched.append, raising=False)
    open_hit(hit, "ferry")
    assert launched == ["a b.md"]


def test_a_port_is_not_shared_with_another_server(windows: pytest.MonkeyPatch) -> None:
    windows.setattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_KEEPALIVE, raising=False)
    for bound in listening(Address(port=0)):
        with bound:
            assert not bound.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)

    def refused(*_: object) -> None:
        raise PermissionError(errno.EACCES, "An attempt was made to access a socket")

    windows.setattr(server, "_bound", refused)
    with pytest.raises(InvalidArgumentError, match="port 7480 is in use"):
        listening(Address())


@linux
def test_a_trained_model_is_moved_into_place_while_the_lock_is_held(tmp_path: Path) -> None:
    with refused() as names, ModelFolder(tmp_path / "model", resume=False) as folder:
        folder.draft.mkdir()
        for path in (folder.metrics, folder.draft / "weights", folder.partial / "checkpoint.pt"):
            path.write_bytes(b"")
        (folder.partial / "runs" / "old").mkdir(parents=True)
        folder.finish()
    assert names == []
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_arm_processors_compute_in_bf16(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("Features\t: fp asimd bf16\n", encoding="ascii")
    monkeypatch.setattr(devices, "CPUINFO", tmp_path / "cpuinfo")
    assert devices.cpu_has_bf16()


def test_a_system_without_fork_and_unix_sockets_says_what_it_lacks(library: Path) -> None:
    lines = [
        "auto search ferry -r none -k 1 -f paths --retriever bm25",
        "always search ferry -r none",
        "auto serve --daemon -r embedded",
        "auto serve --status",
        "auto mcp",
        "auto mcp --install cursor",
    ]
    ran = subprocess.run(
        [sys.executable, "-m", "tests.lesser_system", *lines],
        cwd=library,
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
    )
    assert "Traceback" not in ran.stderr, ran.stderr
    found, *codes = ran.stdout.split("= ")
    assert found.count("\n") == 1 and ":" in found
    assert [int(code) for code in codes] == [0, 1, 2, 1, 1, 1]
    lacks = "the daemon needs Unix sockets and fork, which this system lacks"
    told = [line for line in ran.stderr.splitlines() if line.startswith("ettin: error: ")]
    server = "ettin: error: ettin mcp needs Unix sockets, which this system lacks"
    assert told == [f"ettin: error: {lacks}"] * 2 + [server] * 2


@pytest.fixture
def shut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody may look into `shut`, of which Python 3.14 says that nothing is there."""
    stat = Path.stat

    def refusing(path: Path, **options: bool) -> os.stat_result:
        if "shut" in path.parts:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return stat(path, **options)

    def answering(ask: Callable[[Path], bool]) -> Callable[[Path], bool]:
        return lambda path: "shut" not in path.parts and ask(path)

    monkeypatch.setattr(Path, "stat", refusing)
    for name in ("exists", "is_file", "is_dir"):
        monkeypatch.setattr(Path, name, answering(getattr(Path, name)))


@pytest.mark.parametrize(
    "words",
    [
        ["index", "shut/docs", "-i", "i"],
        ["index", "docs", "-i", "i", "--embedder", "./shut/model"],
        ["rerank", "shut/in.jsonl", "-r", "embedded"],
        ["rerank", "in.jsonl", "-r", "embedded", "-o", "shut/out.jsonl"],
        ["score", "--pairs", "shut/in.jsonl", "-r", "embedded"],
        ["score", "ferry", "the ferry", "-r", "./shut/model"],
        ["search", "--queries", "shut/in.jsonl", "docs"],
        ["search", "ferry", "shut/a.txt"],
        ["search", "ferry", "docs", "-o", "shut/hits.jsonl"],
        ["eval", "shut/beir", "-r", "none"],
        ["bench", "--pairs", "shut/in.jsonl"],
        ["mine", "-i", "i", "--queries", "shut/in.jsonl", "--qrels", "in.jsonl", "-o", "out.jsonl"],
        ["train", "shut/in.jsonl", "--base", "embedded", "-o", "model"],
        ["train", "shut/in", "--base", "embedded", "-o", "model"],
        ["train", "in.jsonl", "--base", "embedded", "-o", "shut/model"],
    ],
)
@pytest.mark.usefixtures("docs", "shut")
def test_what_may_not_be_looked_at_is_not_said_to_be_missing(
    ettin: Ettin, words: list[str]
) -> None:
    Path("in.jsonl").write_text('{"query": "ferry", "documents": ["a ferry"]}\n')
    ran = ettin(*words)
    assert ran.code == 1
    error = ran.err[ran.err.index("ettin: error: ") :]
    assert "Permission denied" in error
    assert "shut" in error
    assert "no such" not in error
    assert "cannot write i:" not in error


@pytest.mark.usefixtures("docs")
def test_an_index_of_what_may_not_be_looked_at_is_kept(
    ettin: Ettin, request: pytest.FixtureRequest
) -> None:
    Path("shut").mkdir()
    shutil.copytree("docs", "shut/docs")
    assert ettin("index", "shut/docs", "-i", "i").code == 0
    request.getfixturevalue("shut")
    updated = ettin("index", "-i", "i")
    assert updated.code == 1
    assert updated.err.startswith("ettin: error: cannot open ")
    assert "shut/docs: Permission denied" in updated.err
    assert ettin("info", "-i", "i").code == 0


@pytest.mark.parametrize(
    ("code", "missing"),
    [(21, True), (123, True), (1921, True), (362, False), (1326, False), (1920, False)],
    ids=["no disk", "no such name", "lost link", "cloud", "password", "denied"],
)
def test_errors_of_windows_that_do_not_say_missing_are_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: int, missing: bool
) -> None:
    def refused(path: Path) -> os.stat_result:
        error = OSError(errno.EINVAL, "Invalid argument", str(path))
        error.winerror = code  # type: ignore[attr-defined]
        raise error

    monkeypatch.setattr(Path, "stat", refused)
    with nullcontext() if missing else pytest.raises(OSError, match="Invalid argument"):
        assert not platforms.exists(tmp_path)
