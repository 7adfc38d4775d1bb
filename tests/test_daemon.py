"""The daemon: commands print the same with it as without, and never fail for the lack of it."""

import json
import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from ettin_cli.client import handed_over
from tests.conftest import SAILING, Ettin, Outcome
from tests.daemons import WAIT, Home, unmeasured, write_lines

pytest.importorskip("fcntl", reason="there is no daemon on this system")

FERRY = "When does the ferry sail?"
TEXTS = ["It sails at nine.", "Bread is at noon.", " ", "The ferry " * 300]
NOTHING = ("-r", "none", "-i", "none")


@pytest.fixture(scope="module")
def work(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with inputs of the three commands."""
    folder = tmp_path_factory.mktemp("work")
    (folder / ".ettin").symlink_to(library / ".ettin")
    hits = [{"doc_id": str(at), "text": text} for at, text in enumerate(TEXTS)]
    request = {"query_id": "q1", "query": FERRY, "hits": hits}
    write_lines(folder / "requests.jsonl", [request, {"query": "bread"}])
    write_lines(folder / "queries.jsonl", [{"_id": str(n), "text": f"ferry {n}"} for n in (1, 2)])
    write_lines(folder / "pairs.jsonl", [{"query": FERRY, "document": text} for text in TEXTS])
    return folder


@pytest.fixture(scope="module")
def home(library: Path) -> Iterator[Home]:
    """An environment with a daemon that holds the embedded reranker, and the index's embedder."""
    made = Home(library / "cache")
    made.serve("-r", "embedded", where=library)
    yield made
    made.close()


@pytest.fixture(scope="module")
def usual(home: Home, work: Path) -> dict[str, Outcome]:
    """What each command prints without a daemon."""
    return dict(zip(map(str, COMMANDS), home.without(COMMANDS, where=work), strict=True))


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Home]:
    """An environment without a daemon."""
    made = Home(tmp_path / "cache")
    yield made
    made.close()


SEARCH = ["search", FERRY, "-r", "embedded"]
COMMANDS = [
    [*SEARCH],
    [*SEARCH, "-f", "table", "--color", "always"],
    [*SEARCH, "-f", "json", "-k", "1"],
    [*SEARCH, "-f", "csv", "--blend", "0.5", "--by", "passage"],
    [*SEARCH, "-f", "md", "-q", "--expand"],
    [*SEARCH, "--long", "max", "--min-score", "0.3"],
    [*SEARCH, "--max-length", "16"],
    ["search", "ferry " * 300, "-r", "embedded", "--retriever", "dense"],
    ["search", FERRY, "-r", "none", "--queries", "queries.jsonl", "-f", "trec", "--tag", "x"],
    ["search", "zzz", "-r", "none", "--retriever", "bm25", "-e"],
    ["search", FERRY, "-r", "embedded:3,embedded", "-f", "jsonl"],
    ["search", FERRY, "-r", "no-such-model"],
    ["search", FERRY, "-i", "no-such-index"],
    ["search", FERRY, "-f", "yaml"],
    ["rerank", "requests.jsonl", "-r", "embedded"],
    ["rerank", "requests.jsonl", "-r", "embedded", "-f", "trec", "-k", "2"],
    ["rerank", "gone.jsonl", "-r", "embedded"],
    ["score", "bread", TEXTS[1], "-r", "embedded"],
    ["score", FERRY, *TEXTS, "-r", "embedded"],
    ["score", "когда отходит паром", "паром", "-r", "embedded", "-f", "jsonl"],
    ["score", "--pairs", "pairs.jsonl", "-r", "embedded"],
    ["score", FERRY, "-r", "none"],
]


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words)[:60])
def test_a_command_prints_the_same_with_a_daemon(
    usual: dict[str, Outcome], home: Home, work: Path, words: list[str]
) -> None:
    before = home.status()["requests"]
    warm = home.run(*words, where=work)
    assert home.until(lambda found: found["requests"] > before)["requests"] == before + 1
    cold = usual[str(words)]
    assert unmeasured(warm.out) == unmeasured(cold.out)
    assert unmeasured(warm.err) == unmeasured(cold.err)
    assert warm.code == cold.code


def test_usage_errors_are_those_of_the_program(home: Home, work: Path) -> None:
    warm = home.run("search", "--no-such-option", where=work)
    cold = home.run("search", "--no-such-option", where=work, more={"ETTIN_DAEMON": "never"})
    assert (warm, warm.code) == (cold, 2)


def test_stdin_and_output_files(home: Home, work: Path) -> None:
    written = []
    for number, mode in enumerate(("auto", "never")):
        words = ["score", FERRY, "-", "-r", "embedded"]
        ran = home.run(
            *words, where=work, stdin=b"At nine.\n\nAt noon.\n", more={"ETTIN_DAEMON": mode}
        )
        file = work / f"{number}.jsonl"
        saved = home.run(*SEARCH, "-o", file.name, where=work, more={"ETTIN_DAEMON": mode})
        out = unmeasured(file.read_text())
        written.append((ran, out, file.stat().st_mode, saved.code, saved.out))
    assert written[0] == written[1]
    assert written[0][0].out.count("\n") == 2


def test_a_terminal(home: Home, work: Path) -> None:
    from tests.pseudo_terminal import on_terminal

    shown = []
    for mode in ("auto", "never"):
        with on_terminal(80) as written:
            terminal = {"TERM": "xterm-256color", "ETTIN_DAEMON": mode}
            search = home.started(*SEARCH, "-q", where=work, pipes=False, more=terminal)
            assert search.wait(WAIT) == 0
        shown.append(unmeasured(written()))
    assert shown[0] == shown[1]
    assert "\x1b[" in shown[0]


def test_models_with_other_settings_are_not_used(home: Home, work: Path) -> None:
    def computed(*more: str) -> int:
        before = home.status()["computed"]
        assert home.run("score", "a new query", f"{more}", "-r", "embedded", *more, where=work)
        return int(home.status()["computed"] - before)

    assert computed() == computed("--long", "max") == 1
    assert computed("--max-length", "16") == computed("--threads", "3") == 0
    assert computed("--trust-remote-code") == 0


def test_the_files_of_a_daemon_are_private(home: Home) -> None:
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in home.folder.iterdir()}
    names = ["commands.sock", "daemon.log", "lock", "models.sock"]
    assert modes == dict.fromkeys(names, 0o600)
    assert stat.S_IMODE(home.folder.stat().st_mode) == 0o700


def test_never_leaves_the_daemon_alone(home: Home, tmp_path: Path) -> None:
    before = home.status()["requests"]
    ran = home.run("search", "x", where=tmp_path, more={"ETTIN_DAEMON": "never"})
    assert (ran.code, home.status()["requests"]) == (1, before)
    ran = home.run("search", "x", where=tmp_path, more={"ETTIN_DAEMON": "sometimes"})
    assert (ran.code, ran.err.splitlines()[0]) == (
        2,
        "ettin: error: unknown mode 'sometimes' in ETTIN_DAEMON",
    )


def test_a_daemon_of_another_environment_is_not_used(home: Home, tmp_path: Path) -> None:
    before = home.status()["requests"]
    other = {"OMP_NUM_THREADS": "7"}
    assert home.run("search", "x", where=tmp_path, more=other).code == 1
    ran = home.run("search", "x", where=tmp_path, more={"ETTIN_DAEMON": "always", **other})
    assert ran.code == 1
    assert "it was started with another value of OMP_NUM_THREADS" in ran.err
    ran = home.run("search", "x", "-v", where=tmp_path, more=other)
    assert "the daemon is not used: it was started with another value of OMP_" in ran.err
    # It was asked, and refused.
    assert home.status()["requests"] <= before + 3


def test_a_system_without_forks_has_no_daemon(ettin: Ettin) -> None:
    lacks = "the daemon needs Unix sockets and fork, which this system lacks"
    ettin.monkeypatch.setattr("ettin_cli.daemon.process.has_daemons", lambda: False)
    ran = ettin("serve", "--daemon", *NOTHING)
    assert (ran.code, ran.out, ran.err) == (2, "", f"ettin: error: {lacks}\n")
    ettin.monkeypatch.setattr("ettin_cli.client.places.has_daemons", lambda: False)
    ettin.monkeypatch.setattr("sys.argv", ["ettin", "search", "x"])
    assert handed_over() is None
    ettin.monkeypatch.setenv("ETTIN_DAEMON", "always")
    assert handed_over() == 1
    ettin.monkeypatch.setattr("sys.argv", ["ettin", "info"])
    assert handed_over() is None


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="processes are not listed here")
def test_commands_leave_nothing_behind(home: Home, work: Path) -> None:
    home.run(*SEARCH, where=work)
    daemon = home.status()["pid"]
    [forks] = Path(f"/proc/{daemon}/task/{daemon}/children").read_text().split()

    def held() -> list[int]:
        descriptors = [len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in (daemon, forks)]
        children = Path(f"/proc/{forks}/task/{forks}/children").read_text().split()
        return [*descriptors, len(children)]

    # What is counted may still have a descriptor of the command before, which is closed soon.
    before = [*held()[:2], 0]
    for _ in range(5):
        home.run("score", FERRY, *TEXTS, "-r", "embedded", where=work)
    home.until(lambda _: all(now <= then for now, then in zip(held(), before, strict=True)))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_a_command_and_its_work(
    home: Home, tmp_path: Path, number: signal.Signals
) -> None:
    rows = [{"query": f"{number} {at}", "document": SAILING * 9} for at in range(3000)]
    write_lines(tmp_path / "pairs.jsonl", rows)
    words = ["score", "--pairs", "pairs.jsonl", "-r", "embedded", "-q"]
    process = home.started(*words, where=tmp_path)
    home.until(lambda found: found["queued"] > 100)
    process.send_signal(number)
    _, err = process.communicate(timeout=WAIT)
    code = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}[number]
    assert process.returncode == code
    assert ("interrupted" in err.decode()) == (number == signal.SIGINT)
    home.until(lambda found: found["queued"] == 0)


def test_a_daemon_that_was_killed_is_replaced(alone: Home, tmp_path: Path) -> None:
    killed = alone.serve(*NOTHING, where=tmp_path)
    os.kill(killed, signal.SIGKILL)
    alone.until(lambda found: not found)
    assert (alone.folder / "commands.sock").exists()
    assert alone.run("search", "x", where=tmp_path).code == 1
    other = alone.serve(*NOTHING, where=tmp_path)
    assert other != killed
    ran = alone.run("serve", "--stop", where=tmp_path)
    assert (ran.code, ran.err) == (0, "ettin: the daemon has ended\n")
    assert not (alone.folder / "commands.sock").exists()
    ran = alone.run("serve", "--status", where=tmp_path)
    assert (ran.code, ran.out, ran.err) == (1, "", "ettin: no daemon is running\n")


def test_a_command_whose_daemon_is_killed_goes_on(alone: Home, tmp_path: Path) -> None:
    rows = [{"query": f"ferry {at}", "document": SAILING * 9} for at in range(60)]
    write_lines(tmp_path / "pairs.jsonl", rows)
    words = ["score", "--pairs", "pairs.jsonl", "-r", "embedded"]
    pid = alone.serve("-r", "embedded", "-i", "none", where=tmp_path)
    process = alone.started(*words, where=tmp_path)
    alone.until(lambda found: bool(found["queued"] or found["computed"]))
    os.kill(pid, signal.SIGKILL)
    out, err = process.communicate(timeout=WAIT)
    cold = alone.run(*words, where=tmp_path)
    assert (process.returncode, out.decode()) == (0, cold.out)
    assert unmeasured(err.decode()) == unmeasured(cold.err)


def test_two_starts_at_once_make_one_daemon(alone: Home, tmp_path: Path) -> None:
    starts = [alone.started("serve", "--daemon", *NOTHING, where=tmp_path) for _ in range(2)]
    said = [start.communicate(timeout=WAIT)[1].decode() for start in starts]
    pid = alone.status()["pid"]
    assert [start.returncode for start in starts] == [0, 0], said
    assert all(f"process {pid}" in text for text in said)
    ran = alone.run("serve", "--daemon", "-r", "none", "-i", "x", where=tmp_path)
    assert (ran.code, "a daemon with other options is running" in ran.err) == (2, True)
    # One of another version, or environment, is replaced.
    other = alone.serve(*NOTHING, where=tmp_path, more={"OMP_NUM_THREADS": "7"})
    assert other != pid


def test_always_starts_a_daemon(alone: Home, work: Path, library: Path) -> None:
    usual = {"ETTIN_DAEMON": "always", "ETTIN_RERANKER": "none", "ETTIN_INDEX": "none"}
    ran = alone.run("search", "x", "-r", "none", where=work, more=usual)
    assert "ettin: error: no index in none" in ran.err or ran.code == 1
    found = alone.status()
    assert (found["requests"], found["keep_alive"]) == (1, 300)
    ran = alone.run("serve", "--status", "-f", "json", where=work)
    assert json.loads(ran.out)["pid"] == found["pid"]


def test_always_fails_clearly(alone: Home, tmp_path: Path) -> None:
    alone.folder.mkdir()
    alone.folder.chmod(0o770)
    ran = alone.run("search", "x", where=tmp_path, more={"ETTIN_DAEMON": "always"})
    assert ran.code == 1
    assert f"the folder of the daemon cannot be used: {alone.folder}: its perm" in ran.err
    assert "ettin: error: no daemon could be started" in ran.err


def test_a_daemon_ends_after_its_time_without_requests(alone: Home, tmp_path: Path) -> None:
    options = (*NOTHING, "--keep-alive", "0.01s")
    assert alone.run("serve", "--daemon", *options, where=tmp_path).code == 0
    alone.until(lambda found: not found)
    alone.until(lambda _: not (alone.folder / "models.sock").exists())
    log = (alone.folder / "daemon.log").read_text()
    assert "ending: no requests for 0.01 s" in log
