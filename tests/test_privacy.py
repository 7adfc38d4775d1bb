"""Intermediate files are readable by their owner only, and nothing connects to the network."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ettin_cli.files.requests.spool import Spool
from ettin_cli.files.resuming import ResumableOutput
from ettin_cli.storage import replacing
from tests.conftest import Ettin
from tests.reading import write, write_pdf

ROOT = Path(__file__).parents[1]
unix = pytest.mark.skipif(os.name == "nt", reason="permissions are another thing there")
REQUESTS = [{"query": "a ferry", "documents": ["the ferry sails", "bread"]}, {"query": "broken"}]


@pytest.fixture
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def prepare(folder: Path) -> None:
    write(folder / "docs" / "a.txt", "the ferry sails at nine")
    write_pdf(folder / "docs" / "b.pdf", ["bread is baked"])
    write(folder / "in.jsonl", "".join(json.dumps(one) + "\n" for one in REQUESTS))
    write(folder / "beir" / "corpus.jsonl", '{"_id": "d", "text": "the ferry sails at nine"}\n')
    write(folder / "beir" / "queries.jsonl", '{"_id": "q", "text": "when does it sail?"}\n')
    write(folder / "beir" / "qrels.tsv", "query-id\tcorpus-id\tscore\nq\td\t1\n")
    pairs = [{"query": "a ferry", "document": text} for text in ("the ferry sails", "bread")]
    write(folder / "pairs.jsonl", "".join(json.dumps(one) + "\n" for one in pairs))


@unix
@pytest.mark.usefixtures("usual_umask")
def test_what_is_being_written_is_private_until_it_is_whole(tmp_path: Path) -> None:
    with replacing(tmp_path / "a") as draft:
        assert mode(draft) == 0o600
    assert mode(tmp_path / "a") == 0o644
    with ResumableOutput(tmp_path / "b.csv", "csv", "k", text=True, resume=False) as output:
        output.write([], [], 1)
        written = [path for path in tmp_path.glob("b.csv.*") if path.suffix != ".lock"]
        assert len(written) == 3
        assert {mode(path) for path in written} <= {0o600, 0o644}
        assert mode(tmp_path / "b.csv.partial") == 0o600
        assert mode(tmp_path / "b.csv.rejects.jsonl.partial") == 0o600
        output.finish()
    assert mode(tmp_path / "b.csv") == 0o644
    with Spool() as spool:
        status = os.fstat(spool._file.fileno())
        assert (status.st_nlink, stat.S_IMODE(status.st_mode)) == (0, 0o600)


@unix
@pytest.mark.usefixtures("usual_umask")
def test_our_cache_is_a_private_folder_and_nothing_else_is_left(
    ettin: Ettin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(tmp_path)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    (tmp_path / "cache").mkdir()
    for words in COMMANDS:
        assert ettin(*words).code in (0, 3), words
    assert list(temporary.iterdir()) == []
    for name in ("indexes", "scores"):
        assert mode(tmp_path / "cache" / name) == 0o700
    inside = [path for path in (tmp_path / "cache").rglob("*") if path.is_dir()]
    assert len(inside) > 4
    monkeypatch.setenv("ETTIN_CACHE_DIR", str(tmp_path / "new" / "cache"))
    assert ettin("search", "ferry", "docs", "-r", "none").code == 0
    assert mode(tmp_path / "new") == mode(tmp_path / "new" / "cache") == 0o700
    assert {mode(path) for path in tmp_path.glob("*.jsonl")} == {0o644}


COMMANDS = [
    ["index", "docs", "-i", "i"],
    ["search", "ferry", "-i", "i", "-r", "embedded"],
    ["search", "ferry", "docs", "-r", "embedded"],
    ["rerank", "in.jsonl", "-r", "embedded", "-o", "out.jsonl"],
    ["score", "ferry", "the ferry sails", "-r", "embedded"],
    ["score", "--pairs", "pairs.jsonl", "-r", "embedded", "-o", "scored.jsonl"],
    ["eval", "beir", "-r", "embedded", "--exact"],
    ["info", "-i", "i"],
    ["verify", "-i", "i"],
    ["models"],
]
# One process runs all of them, as starting one for each takes far longer than they do.
EACH = """
import json, sys
from ettin_cli.__main__ import main

for words in json.loads(sys.argv[1]):
    sys.argv = ["ettin", *words]
    try:
        main()
    except SystemExit as end:
        assert end.code in (None, 0, 3), words
"""
# Python imports this module in every process, also in those that read PDFs.
COUNTS = """
import socket


def counted(name, original):
    def call(*arguments, **options):
        with open({log!r}, "a") as file:
            print(name, arguments, file=file)
        return original(*arguments, **options)

    return call


for name in ("connect", "connect_ex", "sendto"):
    setattr(socket.socket, name, counted(name, getattr(socket.socket, name)))
for name in ("getaddrinfo", "gethostbyname", "create_connection"):
    setattr(socket, name, counted(name, getattr(socket, name)))
"""


@pytest.fixture
def counting(tmp_path: Path) -> Path:
    """A folder whose `sitecustomize` writes a process's network use to `log`."""
    folder = tmp_path / "counting"
    write(folder / "sitecustomize.py", COUNTS.format(log=str(folder / "log")))
    return folder


def run(folder: Path, counting: Path, *words: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    environment["PYTHONPATH"] = os.pathsep.join([str(counting), str(ROOT)])
    environment["ETTIN_CACHE_DIR"] = str(folder / "cache")
    environment["HF_HOME"] = str(folder / "hf")
    ran = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("offline", [[], ["--offline"]])
def test_nothing_is_sent_where_no_model_of_the_hub_was_asked_for(
    tmp_path: Path, counting: Path, offline: list[str]
) -> None:
    prepare(tmp_path)
    takes = ("index", "search", "rerank", "score", "eval")
    commands = [[*words, *(offline if words[0] in takes else [])] for words in COMMANDS]
    run(tmp_path, counting, "-c", EACH, json.dumps(commands))
    assert not (counting / "log").exists(), (counting / "log").read_text()


def test_the_count_would_tell(tmp_path: Path, counting: Path) -> None:
    run(tmp_path, counting, "-c", "import socket; socket.getaddrinfo('localhost', 1)")
    assert "getaddrinfo" in (counting / "log").read_text()
