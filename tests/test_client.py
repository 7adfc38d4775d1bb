"""What the client and the daemon send each other, and the folder in which they meet."""

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from ettin_cli.client import (
    connected,
    difference,
    handed_over,
    receive,
    runtime_folder,
    send,
    unsafe,
)
from ettin_cli.serving import Activity

pytest.importorskip("fcntl", reason="there is no daemon on this system")


@pytest.fixture
def pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair()


def test_messages_arrive_as_they_were_sent(pair: tuple[socket.socket, socket.socket]) -> None:
    one, other = pair
    reading, writing = os.pipe()
    header = {"argv": ["ettin", os.fsdecode(b"\xff"), "Fähre 🚢"], "seconds": 0.1}
    content = bytes(range(256)) * 5000
    with one, other:
        sender = threading.Thread(target=send, args=(one, header, content, [writing]))
        sender.start()
        received, payload, [descriptor] = receive(other)
        sender.join()
        os.write(descriptor, b"through")
        assert (received, payload, os.read(reading, 7)) == (header, content, b"through")
    for number in (reading, writing, descriptor):
        os.close(number)


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (b"", ConnectionResetError),
        (b"\x00\x00\x00", ConnectionResetError),
        (b"\x00\x00\x00\x09\x00\x00\x00\x00{}", ConnectionResetError),
        (b"\x00\x00\x00\x02\x00\x00\x00\x00[]", ValueError),
        (b"\x00\x00\x00\x02\x00\x00\x00\x00{]", ValueError),
        (b"GET / HTTP/1.1\r\n\r\n", ValueError),
    ],
)
def test_what_is_not_a_message_is_an_error(
    pair: tuple[socket.socket, socket.socket], sent: bytes, error: type[Exception]
) -> None:
    one, other = pair
    with other:
        with one:
            one.sendall(sent)
        with pytest.raises(error):
            receive(other)


def test_a_folder_that_others_could_use_is_unsafe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    folder = tmp_path / "ettin"
    assert runtime_folder() == str(folder)
    folder.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(folder)
        listener.bind("models.sock")
        listener.listen()
        monkeypatch.setattr("ettin_cli.client.places.runtime_folder", lambda: ".")
        found = connected("models.sock", 1.0)
        assert found and not unsafe(".")
        found.close()
        for mode in (0o710, 0o720, 0o701, 0o777):
            folder.chmod(mode)
            assert unsafe(".") == f"its permissions are {mode:04o}, not 0700"
            assert connected("models.sock", 1.0) is None
        folder.chmod(0o700)
        monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
        assert unsafe(".") == "it belongs to another user"
        assert connected("models.sock", 1.0) is None
    (tmp_path / "link").symlink_to(folder)
    assert unsafe(str(tmp_path / "link")) == "it is not a folder"


def test_without_a_runtime_folder_there_is_one_for_each_user(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setenv("TMPDIR", "/elsewhere/")
    assert runtime_folder() == f"/elsewhere/ettin-{os.geteuid()}"
    monkeypatch.delenv("TMPDIR")
    assert runtime_folder() == f"/tmp/ettin-{os.geteuid()}"


def test_differences_are_named() -> None:
    one = ["0.1.0", "/venv", [["LANG", "C"], ["OMP_NUM_THREADS", "1"]]]
    assert difference(one, one) == ""
    other = ["0.1.0", "/venv", [["LANG", "C"], ["OMP_NUM_THREADS", "2"], ["TZ", "UTC"]]]
    assert difference(one, other) == "it was started with another value of OMP_NUM_THREADS, TZ"
    others: list[Any] = [["0.2.0", *one[1:]], None, {}, 3, ["0.1.0", "/venv", 3]]
    for unlike in others:
        assert difference(one, unlike) == "it is of another version or installation"


def test_the_time_without_requests_is_counted_from_the_end_of_the_last_one() -> None:
    now = 0.0
    activity = Activity(lambda: now)
    now = 100.0
    assert activity.remaining(300) == 200
    activity.begin()
    activity.begin()
    now = 1000.0
    activity.end()
    assert activity.remaining(300) == 300
    activity.end()
    now = 1250.0
    assert (activity.remaining(300), activity.requests) == (50, 2)
    with activity.busy():
        assert activity.remaining(300) == 300
    assert (activity.remaining(300), activity.requests) == (300, 2)


def test_a_server_ends_after_its_time_without_requests() -> None:
    times = iter([0.0, 0.0, 301.0])
    ended = threading.Event()
    with Activity(lambda: next(times)).expiring(300, ended.set):
        assert ended.wait(60)


def test_a_command_without_a_daemon_imports_little() -> None:
    code = (
        "import sys; sys.argv = ['ettin', 'search', 'x']\n"
        "from ettin_cli.client import handed_over\n"
        "assert handed_over() is None\nprint(*sys.modules)"
    )
    environment = {**os.environ, "XDG_RUNTIME_DIR": "/nowhere", "ETTIN_DAEMON": "auto"}
    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert {"socket", "json", "subprocess", "typer"}.isdisjoint(ran.stdout.split())


def test_the_fork_server_has_imported_what_commands_need(library: Path) -> None:
    code = (
        "import sys\nfrom ettin_cli.cli import main\n"
        "from ettin_cli.daemon import preload\npreload()\nknown = set(sys.modules)\n"
        "sys.argv = ['ettin', 'search', 'ferry', '-r', 'none', '--retriever', 'bm25']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "print(*known, file=sys.stderr)\nprint(*set(sys.modules) - known, file=sys.stderr)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=library, capture_output=True, text=True, check=True
    )
    known, more = (set(line.split()) for line in ran.stderr.splitlines()[-2:])
    # They start threads, or read the environment.
    assert {"torch", "onnxruntime", "huggingface_hub", "transformers"}.isdisjoint(known)
    packages = {name.split(".")[0] for name in more}
    assert {"ettin_cli", "faiss", "numpy", "pyarrow", "rich"}.isdisjoint(packages)


def test_a_daemon_that_somebody_else_starts_meanwhile_is_used(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    connections = [None, pair[0]]
    said = "ettin: error: a daemon with other options is running\n"
    monkeypatch.setattr("ettin_cli.client.places.connected", lambda *_: connections.pop(0))
    monkeypatch.setattr("ettin_cli.client.command._start", lambda: said)
    monkeypatch.setattr("ettin_cli.client.handover.run", lambda _: 7)
    monkeypatch.setenv("ETTIN_DAEMON", "always")
    monkeypatch.setattr("sys.argv", ["ettin", "search", "x"])
    with pair[1]:
        assert handed_over() == 7
