"""The exit codes that scripts depend on, each provoked, most of them in a separate process."""

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import Ettin

FERRY = "When does the ferry sail?"
ETTIN = [sys.executable, "-m", "ettin_cli"]


@pytest.fixture
def environment(ettin: Ettin, tmp_path: Path) -> dict[str, str]:
    root = str(Path(__file__).parents[1])
    return {**os.environ, "PYTHONPATH": root, "ETTIN_RERANKER": "none", "COLUMNS": "80"}


def started(words: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*ETTIN, *words], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


# 0 to 4


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["-e"], 0),
        (["-e", "--min-score", "0.1"], 0),
        (["-e", "--min-score", "9"], 4),
        (["--min-score", "9"], 0),
        (["-e", "--filter", "colour=red"], 4),
        (["-e", "--path", "*.epub"], 4),
        (["--filter", "colour=red"], 0),
        (["-e", "--filter", "colour"], 2),
        (["-e", "-i", "nowhere"], 1),
    ],
)
def test_no_hit_is_4_when_it_is_asked_for(inside: Ettin, options: list[str], code: int) -> None:
    ran = inside("search", FERRY, "-r", "none", *options)
    assert ran.code == code
    if code in (0, 4):
        assert ran.out.startswith('{"query_id":"1"')


def test_one_query_with_a_hit_is_enough(inside: Ettin, tmp_path: Path) -> None:
    queries = tmp_path / "queries"
    queries.write_text("canoe\nferry\n")
    options = ["--queries", str(queries), "-r", "none", "-e", "-k", "1", "--min-score"]
    assert inside("search", *options, "0.1").code == 0
    assert inside("search", *options, "9").code == 4


def test_rejected_inputs_are_3_and_all_else_is_done(ettin: Ettin, docs: Path) -> None:
    (docs / "bad.pdf").write_bytes(b"no PDF")
    ran = ettin("search", FERRY, "docs", "-r", "none")
    assert ran.code == 3
    assert ran.out.startswith('{"query_id":"1"')
    assert ettin("search", FERRY, "docs", "-r", "none").code == 3
    assert ettin("search", FERRY, "docs", "-r", "none", "-e", "--min-score", "9").code == 4
    assert ettin("index", "docs").code == 3
    assert ettin("index", "docs", "--dry-run", "-i", "other").code in (0, 3)


@pytest.mark.parametrize(
    "words",
    [
        ["search", FERRY, "-k", "0"],
        ["search", FERRY, "-k", "many"],
        ["search", FERRY, "-c", "0"],
        ["search", FERRY, "--by", "page"],
        ["search", FERRY, "--blend", "1.5"],
        ["search", FERRY, "--blend", "nan"],
        ["search", FERRY, "--blend", "half"],
        ["search", FERRY, "--blend", "0.5", "-r", "none"],
        ["search", FERRY, "--min-score", "nan"],
        ["search", FERRY, "--min-score", "high"],
        ["search", FERRY, "--filter", "=red"],
        ["search", FERRY, "--no-such-option"],
        ["search", FERRY, "--color", "red"],
        ["search", FERRY, "-f", "table", "-o", "out"],
        ["search", "caf\udce9"],
        ["search", " "],
        ["search"],
        ["cache", "clear", "--older-than", "-1"],
        ["models", "show"],
        ["info", "extra"],
        ["no-such-command"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_2_and_writes_no_data(inside: Ettin, words: list[str]) -> None:
    ran = inside(*words)
    assert (ran.code, ran.out) == (2, "")
    assert re.search(r"^(ettin: error|Error): ", ran.err, re.MULTILINE)


@pytest.mark.parametrize(
    "words",
    [
        ["search", FERRY, "-i", "nowhere"],
        ["search", FERRY, "nowhere"],
        ["search", FERRY, "-r", "17m"],
        ["search", FERRY, "-r", "./nowhere"],
        ["search", "--queries", "nowhere"],
        ["info", "-i", "docs"],
        ["verify", "-i", "boats.jsonl"],
        ["models", "show", "nobody/nothing"],
        ["score", FERRY, "@nowhere", "-r", "embedded"],
    ],
    ids=" ".join,
)
def test_a_failure_is_1_with_one_line_on_what_and_one_on_what_to_do(
    inside: Ettin, words: list[str]
) -> None:
    ran = inside(*words)
    assert (ran.code, ran.out) == (1, "")
    problem, *hint = ran.err.splitlines()
    assert re.match(r"ettin: error: [^A-Z].*[^.]$", problem)
    assert [line[:8] for line in hint] in ([], ["  hint: "])


def test_a_failure_shows_its_traceback_to_who_asks_for_it(environment: dict[str, str]) -> None:
    for debug, traceback in (("1", True), ("0", False)):
        with started(["info", "-i", "nowhere"], {**environment, "ETTIN_DEBUG": debug}) as process:
            _, err = process.communicate()
        assert process.returncode == 1
        assert (b"Traceback" in err) is traceback
        assert (b"ettin: error: no index at nowhere" in err) is not traceback


def test_a_failure_of_the_system_is_one_line_that_names_the_file(inside: Ettin) -> None:
    ran = inside("search", FERRY, "x" * 300, "-r", "none")
    assert (ran.code, ran.out) == (1, "")
    assert "File name too long" in ran.err


# 130 and 143


SEARCH = ["search", "--queries", "fifo", "-o", "out.jsonl"]


@pytest.mark.parametrize(
    ("words", "number", "code", "said"),
    [
        (["score", FERRY, "@fifo", "-r", "embedded"], signal.SIGINT, 130, "ettin: interrupted\n"),
        (SEARCH, signal.SIGTERM, 143, ""),
    ],
    ids=["interrupted", "terminated"],
)
def test_a_signal_has_its_code_and_leaves_nothing_half_done(
    ettin: Ettin,
    docs: Path,
    environment: dict[str, str],
    words: list[str],
    number: int,
    code: int,
    said: str,
) -> None:
    ettin("index", "docs")
    os.mkfifo("fifo")
    with started(words, environment) as process, Path("fifo").open("wb") as writer:
        # It is reading now, since the other end of the pipe could be opened.
        writer.write(b"ferry\n")
        writer.flush()
        process.send_signal(number)
        try:
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, out) == (code, b"")
    assert err.decode().startswith(said)
    assert b"Traceback" not in err
    assert not list(Path().glob("*out.jsonl*"))


# Closed pipes, full disks


@pytest.mark.parametrize("words", [["models"], ["search", "--help"], ["info"]], ids=" ".join)
def test_a_reader_that_has_gone_ends_it_quietly(
    inside: Ettin, environment: dict[str, str], words: list[str]
) -> None:
    with started(words, environment) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_a_reader_of_the_first_line_alone_gets_it(
    inside: Ettin, environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "queries").write_text("ferry\n" * 3000)
    command = (
        f"{sys.executable} -m ettin_cli search --queries {tmp_path}/queries -f paths | head -1"
    )
    ran = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], env=environment, capture_output=True, check=False
    )
    assert ran.returncode == 0
    assert ran.stdout.count(b"\n") == 1
    assert b"rror" not in ran.stderr


def test_remarks_that_nobody_reads_do_not_keep_results_from_who_does(ettin: Ettin) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    stderr = os.fdopen(writer, "w", buffering=1)
    ettin.monkeypatch.setattr("sys.stderr", stderr)
    ran = ettin("score", FERRY, "The ferry sails at nine.")
    with suppress(BrokenPipeError):
        stderr.close()
    assert ran.code == 0
    assert float(ran.out) > 0


def test_a_full_disk_is_one_line(ettin: Ettin, environment: dict[str, str]) -> None:
    with Path("/dev/full").open("wb") as full:
        ran = subprocess.run(
            [*ETTIN, "models"], env=environment, stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert ran.returncode == 1
    assert ran.stderr.startswith(b"ettin: error: reading or writing failed: No space left")
    assert ran.stderr.count(b"\n") == 2


def test_a_process_without_stdout_or_stderr_still_does_its_work(
    ettin: Ettin, docs: Path, environment: dict[str, str]
) -> None:
    for closed in (">&-", "2>&-", ">&- 2>&-"):
        command = f"{sys.executable} -m ettin_cli models {closed}"
        ran = subprocess.run(["bash", "-c", command], env=environment, check=False)
        assert ran.returncode == 0
