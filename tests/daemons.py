"""Commands in environments that each have a daemon of their own."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ettin_cli.daemon import status
from tests.conftest import Outcome

WAIT = 60.0
Environment = Mapping[str, str]
NO_MORE: Environment = {}
# As the script `ettin` begins.
LAUNCH = "import sys; sys.argv[0] = 'ettin'; from ettin_cli.__main__ import main; main()"
SECONDS = re.compile(
    r'(\d+\.\d+ s$|"(?:embed|retrieve|rerank|total)": ?[0-9.]+|\d+/s)', re.MULTILINE
)


class Home:
    """An environment whose daemon, if there is one, belongs to it alone."""

    def __init__(self, cache: Path) -> None:
        # The path of a socket must be short.
        self.runtime = Path(tempfile.mkdtemp(prefix="ettin-"))
        self.folder = self.runtime / "ettin"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ETTIN_")}
        self.environment = {
            **kept,
            "XDG_RUNTIME_DIR": str(self.runtime),
            "ETTIN_CACHE_DIR": str(cache),
            "ETTIN_DEVICE": "cpu",
            "HF_HUB_OFFLINE": "1",
        }

    def started(
        self, *words: str, where: Path, pipes: bool = True, more: Environment = NO_MORE
    ) -> subprocess.Popen[bytes]:
        """Begin a command, whose streams are pipes or those of this process."""
        return subprocess.Popen(
            [sys.executable, "-c", LAUNCH, *words],
            env=self.environment | dict(more),
            cwd=where,
            stdin=subprocess.PIPE if pipes else None,
            stdout=subprocess.PIPE if pipes else None,
            stderr=subprocess.PIPE if pipes else None,
        )

    def run(
        self, *words: str, where: Path, stdin: bytes = b"", more: Environment = NO_MORE
    ) -> Outcome:
        """Run a command, and return its exit code and its output."""
        process = self.started(*words, where=where, more=more)
        out, err = process.communicate(stdin, WAIT)
        return Outcome(process.returncode, out.decode(), err.decode())

    def without(self, commands: list[list[str]], where: Path) -> list[Outcome]:
        """Run commands one after another in one process, without the daemon."""
        ran = subprocess.run(
            [sys.executable, "-m", "tests.daemons", json.dumps(commands)],
            env=self.environment | {"PYTHONPATH": str(Path(__file__).parents[1])},
            cwd=where,
            capture_output=True,
            check=True,
        )
        return [Outcome(*outcome) for outcome in json.loads(ran.stdout)]

    def serve(self, *options: str, where: Path, more: Environment = NO_MORE) -> int:
        """Start the daemon; return its process."""
        ran = self.run("serve", "--daemon", *options, where=where, more=more)
        assert ran.code == 0, ran.err
        return int(self.status()["pid"])

    def status(self) -> dict[str, Any]:
        """Return what the daemon reports; empty if there is none."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_RUNTIME_DIR", str(self.runtime))
            return status() or {}

    def until(self, reached: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait for a state of the daemon."""
        end = time.monotonic() + WAIT
        while not reached(found := self.status()):
            assert time.monotonic() < end, found
            time.sleep(0.005)
        return found

    def close(self) -> None:
        """End the daemon."""
        if pid := self.status().get("pid"):
            os.kill(pid, signal.SIGKILL)
            self.until(lambda found: not found)
        shutil.rmtree(self.runtime)


def unmeasured(text: str) -> str:
    """Return output without the times in it."""
    return SECONDS.sub("TIME", text)


def write_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write rows as JSONL."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _without(commands: list[list[str]]) -> Iterator[tuple[int, str, str]]:
    from ettin_cli.cli import main
    from ettin_cli.models import encoders

    load, loaded = encoders.load_encoder, dict[object, encoders.Encoder]()

    def load_once(*given: Any) -> encoders.Encoder:
        if given[:3] not in loaded:
            loaded[given[:3]] = load(*given)
        return loaded[given[:3]]

    setattr(encoders, "load_encoder", load_once)  # noqa: B010
    for words in commands:
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            for number, file in ((1, out), (2, err)):
                os.dup2(file.fileno(), number)
            sys.argv = ["ettin", *words]
            code: Any = 0
            try:
                main()
            except SystemExit as end:
                code = end.code or 0
            sys.stdout.flush()
            out.seek(0)
            err.seek(0)
            yield code, out.read().decode(), err.read().decode()


if __name__ == "__main__":
    results = os.dup(1)
    outcomes = list(_without(json.loads(sys.argv[1])))
    with os.fdopen(results, "w") as file:
        json.dump(outcomes, file)
