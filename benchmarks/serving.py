"""Measure `ettin serve` under load, beside its engine alone and a plain server.

    python benchmarks/serving.py [--model 17m] [--documents 10,20,100,1000] [--clients 1,4,16]
    python benchmarks/serving.py --only overhead,beside
    python benchmarks/serving.py --model tiny --only memory --requests 10000

The model has the exact shape of Ettin 17m or 32m and seeded random weights, since speed does not
depend on them. A pair has 62 to 188 tokens, 125 in the mean. All is on loopback. What is compared
takes turns on the same pairs, which are new in each round, and medians of the rounds are printed:

- throughput: documents per second, and how long requests take. `engine` scores the same pairs in a
  process of its own, as `ettin bench` does; `plain` is an app around `CrossEncoder.predict`
  (plain_server.py).
- beside: how long requests of 10 documents take alone, and while requests of 1,000 are computed.
- overhead: what a request of one document takes beyond its score.
- memory: resident memory of the server after 100 and after more requests of mixed sizes.
"""

import argparse
import http.client
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.models import ettin

ROOT = Path(__file__).parents[1]
SHAPES: dict[str, dict[str, int]] = {
    "17m": {},
    "32m": {"hidden": 384, "layers": 10, "heads": 6},
    # To see within minutes whether memory grows.
    "tiny": {"hidden": 64, "layers": 3, "heads": 2},
}
TOKENS = 125
# Scores the pairs of each line of stdin, and prints the seconds.
ENGINE = """
import json, sys, time
import ettin_cli
with ettin_cli.Session(ettin_cli.EngineSettings(device="cpu"), offline=True) as session:
    for line in sys.stdin:
        pairs = [tuple(pair) for pair in json.loads(line)]
        began = time.perf_counter()
        session.score(pairs, reranker=sys.argv[1])
        print(time.perf_counter() - began, flush=True)
"""


@dataclass(frozen=True)
class Asked:
    """A request to rerank."""

    query: str
    documents: list[str]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The pairs to score."""
        return [(self.query, document) for document in self.documents]


class Texts:
    """Makes documents that no request has had before, of words of the sample corpus."""

    def __init__(self, model: Path) -> None:
        from tokenizers import Tokenizer

        corpus = ROOT / "sample_corpora" / "everyday_answers" / "corpus.jsonl"
        rows = [json.loads(line) for line in corpus.open(encoding="utf-8")]
        words = sorted({word for row in rows for word in str(row["text"]).split()})
        counts = Tokenizer.from_file(str(model / "tokenizer.json")).encode_batch(words)
        self.words = [(word, len(one.ids) - 1) for word, one in zip(words, counts, strict=True)]
        self.chosen = random.Random(3)

    def text(self, tokens: int) -> str:
        """Return a text of about so many tokens."""
        words = []
        while tokens > 0:
            word, cost = self.chosen.choice(self.words)
            words.append(word)
            tokens -= cost
        return " ".join(words)

    def ask(self, documents: int, tokens: int = TOKENS) -> Asked:
        """Return a request whose pairs have from 0.5 to 1.5 times so many tokens."""
        query = self.text(10)
        spread = [round(tokens * self.chosen.uniform(0.5, 1.5)) - 13 for _ in range(documents)]
        return Asked(query, [self.text(max(1, length)) for length in spread])


class Process:
    """A process that says where it listens, or one that is asked through stdin."""

    def __init__(self, command: Sequence[str], folder: Path, *, listens: bool = True) -> None:
        environment = {**os.environ, "ETTIN_CACHE_DIR": str(folder), "HF_HUB_OFFLINE": "1"}
        self.process = subprocess.Popen(
            command,
            env={**environment, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if listens else None,
            text=True,
        )
        if listens:
            self.port = self._port()

    def _port(self) -> int:
        stderr: IO[str] = self.process.stderr  # type: ignore[assignment]
        for line in stderr:
            if found := re.search(r"serving on http://\S+:(\d+)", line):
                threading.Thread(target=stderr.read, daemon=True).start()
                return int(found[1])
        raise SystemExit("a server has not started")

    def seconds(self, pairs: Sequence[tuple[str, str]]) -> float:
        """Return the seconds that an engine takes to score pairs."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(pairs) + "\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def resident(self) -> float:
        """Return its resident memory in MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]

    def computed(self) -> float:
        """Return the seconds of processor time that it has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii")
        user, system = fields.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def end(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()


class Client:
    """Sends requests over one connection."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)

    def ask(self, asked: Asked) -> float:
        """Return the seconds that a request takes."""
        body = json.dumps({"query": asked.query, "documents": asked.documents})
        began = time.perf_counter()
        headers = {"Content-Type": "application/json"}
        self.connection.request("POST", "/v1/rerank", body, headers)
        response = self.connection.getresponse()
        content = response.read()
        seconds = time.perf_counter() - began
        if response.status != 200:
            raise SystemExit(f"{response.status}: {content[:500]!r}")
        return seconds


def load(port: int, clients: Sequence[Sequence[Asked]]) -> tuple[float, list[float]]:
    """Send the requests of each client at once; return the seconds of all, and of each request."""
    taken: list[list[float]] = [[] for _ in clients]

    def send(at: int) -> None:
        client = Client(port)
        taken[at] = [client.ask(asked) for asked in clients[at]]

    threads = [threading.Thread(target=send, args=[at]) for at in range(len(clients))]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - began, [one for each in taken for one in each]


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that a share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@dataclass(frozen=True)
class Running:
    """The processes to compare."""

    model: Path
    texts: Texts
    engine: Process
    served: Process
    plain: Process | None

    @property
    def servers(self) -> dict[str, Process]:
        """The servers by name."""
        return {"serve": self.served} | ({"plain": self.plain} if self.plain else {})


@contextmanager
def running(model: Path, *, plain: bool) -> Iterator[Running]:
    """Start the processes and load the model in each."""
    folder = model.parent / "cache"
    own = [sys.executable, "-m", "ettin_cli", "serve", "--port", "0", "--device", "cpu"]
    with ExitStack() as stack:
        engine = Process([sys.executable, "-c", ENGINE, str(model)], folder, listens=False)
        stack.callback(engine.end)
        served = Process([*own, "-r", str(model), "--max-wait", "100000", "-q"], folder)
        stack.callback(served.end)
        other = None
        if plain:
            script = str(ROOT / "benchmarks" / "plain_server.py")
            other = Process([sys.executable, script, str(model)], folder)
            stack.callback(other.end)
        made = Running(model, Texts(model), engine, served, other)
        for _ in range(3):
            engine.seconds(made.texts.ask(64).pairs)
            for server in made.servers.values():
                load(server.port, [[made.texts.ask(64)]])
        yield made


@dataclass(frozen=True)
class Speed:
    """Documents per second, by the clock and by the processor time of a process."""

    clock: float
    processor: float

    @classmethod
    def of(cls, process: Process, documents: int, run: Callable[[], float]) -> "Speed":
        """Run, which returns its seconds."""
        before = process.computed()
        seconds = run()
        return cls(documents / seconds, documents / max(0.01, process.computed() - before))


def throughput(made: Running, arguments: argparse.Namespace) -> None:
    """Print a row for each number of documents and clients."""
    print(
        f"{'docs':>5} {'clients':>7} {'server':<7} {'docs/s':>7}  of engine, by CPU"
        f"  of plain, by CPU {'p50 ms':>8} {'p95 ms':>8} {'p99 ms':>8} {'requests':>8}"
    )
    for documents in arguments.documents:
        for clients in arguments.clients:
            if documents * clients <= arguments.largest:
                _cell(made, documents, clients, arguments)


def _cell(made: Running, documents: int, clients: int, arguments: argparse.Namespace) -> None:
    each = max(1, arguments.work // (documents * clients))
    processes = {"engine": made.engine, **made.servers}
    speeds: dict[str, list[Speed]] = {name: [] for name in processes}
    taken: dict[str, list[float]] = {name: [] for name in made.servers}
    for number in range(arguments.rounds):
        asked = [[made.texts.ask(documents) for _ in range(each)] for _ in range(clients)]
        # In another order each time, as speed drifts.
        names = list(processes)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            run = _run(processes[name], asked, taken.get(name))
            speeds[name].append(Speed.of(processes[name], documents * clients * each, run))
    for name in made.servers:
        others = [_ratios(speeds[name], speeds.get(other)) for other in ("engine", "plain")]
        times = " ".join(f"{1000 * percentile(taken[name], p):8.0f}" for p in (0.5, 0.95, 0.99))
        clock = statistics.median(speed.clock for speed in speeds[name])
        print(
            f"{documents:5} {clients:7} {name:<7} {clock:7.1f}"
            f"  {others[0]:>17}  {others[1]:>16} {times} {len(taken[name]):8}",
            flush=True,
        )


def _run(
    process: Process, asked: Sequence[Sequence[Asked]], taken: list[float] | None
) -> Callable[[], float]:
    """Return a function that has requests answered, or scored by the engine, in some seconds."""

    def run() -> float:
        if taken is None:
            return process.seconds(
                [pair for client in asked for one in client for pair in one.pairs]
            )
        seconds, every = load(process.port, asked)
        taken.extend(every)
        return seconds

    return run


def _ratios(first: Sequence[Speed], second: Sequence[Speed] | None) -> str:
    if second is None or first is second:
        return ""
    pairs = list(zip(first, second, strict=True))
    clock = statistics.median(a.clock / b.clock for a, b in pairs)
    processor = statistics.median(a.processor / b.processor for a, b in pairs)
    return f"{clock:.2f}, {processor:.2f}"


def beside(made: Running, arguments: argparse.Namespace) -> None:
    """Print how long small requests take alone and beside large ones, in turn."""
    alone: list[float] = []
    together: list[float] = []
    for _ in range(arguments.rounds):
        alone += _small(made, arguments.small)
        stop = threading.Event()
        other = threading.Thread(target=_large, args=(made, stop))
        other.start()
        time.sleep(1)
        together += _small(made, arguments.small)
        stop.set()
        other.join()
    for name, taken in (("alone", alone), ("beside 1,000", together)):
        shown = ", ".join(f"{1000 * percentile(taken, p):.0f}" for p in (0.5, 0.95, 0.99))
        print(f"10 documents {name}: p50, p95, p99 {shown} ms ({len(taken)} requests)")
    middle, worst = statistics.median(alone), percentile(together, 0.99)
    print(f"p99 beside is {worst / middle:.1f} times p50 alone", flush=True)


def _large(made: Running, stop: threading.Event) -> None:
    client, texts = Client(made.served.port), Texts(made.model)
    while not stop.is_set():
        client.ask(texts.ask(1000))


def _small(made: Running, count: int) -> list[float]:
    client = Client(made.served.port)
    return [client.ask(made.texts.ask(10)) for _ in range(count)]


def overhead(made: Running, arguments: argparse.Namespace) -> None:
    """Print what a request of one document takes beyond its score."""
    client = Client(made.served.port)
    engine, served = [], []
    for _ in range(max(20, arguments.small)):
        asked = made.texts.ask(1)
        engine.append(made.engine.seconds(asked.pairs))
        served.append(client.ask(asked))
    middle, other = statistics.median(engine), statistics.median(served)
    apart = statistics.median(b - a for a, b in zip(engine, served, strict=True))
    print(
        f"one document: engine {1000 * middle:.1f} ms, server {1000 * other:.1f} ms, "
        f"overhead {1000 * apart:.1f} ms"
    )


def memory(made: Running, arguments: argparse.Namespace) -> None:
    """Print the resident memory as requests of mixed sizes go by."""
    sizes = random.Random(5)
    done, before = 0, 0.0
    for goal in (100, arguments.requests):
        while done < goal:
            count = min(100, goal - done)
            asked = [made.texts.ask(sizes.choice([1, 2, 5, 10]), 60) for _ in range(count)]
            if sizes.random() < 0.1 or not done:
                asked.append(made.texts.ask(50, 500))
            load(made.served.port, [asked[at::4] for at in range(4)])
            done += count
        resident = made.served.resident()
        more = f", {resident - before:+.1f} MB" if before else ""
        before = before or resident
        print(f"after {done:,} requests: {resident:.1f} MB resident{more}", flush=True)


def main() -> None:
    """Measure what was chosen."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    numbers: Callable[[str], list[int]] = lambda text: [int(one) for one in text.split(",")]  # noqa: E731
    parser.add_argument("--model", choices=SHAPES, default="17m")
    parser.add_argument("--only", default="throughput,beside,overhead,memory")
    parser.add_argument("--documents", type=numbers, default=[10, 20, 100, 1000])
    parser.add_argument("--clients", type=numbers, default=[1, 4, 16])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=int, default=400, help="documents of a cell and round")
    parser.add_argument("--largest", type=int, default=16_000, help="most documents at once")
    parser.add_argument("--small", type=int, default=40, help="requests of 10 documents")
    parser.add_argument("--requests", type=int, default=1000, help="requests before the memory")
    parser.add_argument("--no-plain", action="store_true", help="leave out the plain server")
    arguments = parser.parse_args()
    parts = {part.__name__: part for part in (throughput, beside, overhead, memory)}
    # So that the processes are ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / arguments.model).mkdir()
        model = ettin(Path(folder) / arguments.model, **SHAPES[arguments.model])
        with running(model, plain=not arguments.no_plain) as made:
            for part in arguments.only.split(","):
                parts[part](made, arguments)


if __name__ == "__main__":
    main()
