"""Index, search, verify, damage, repair and kill in random order for a while.

    python benchmarks/soak.py [--minutes 10] [--seed 3]

Files are added, changed and removed; the index is updated in this process, and in children that
receive SIGKILL, SIGTERM or SIGINT at random moments. Every search is compared with a brute-force
search over the texts that the index must hold. The embedder counts words.
Prints a line per minute and the counts at the end. Exits with 1 at a wrong answer, a failed run, a
run that takes over two seconds to exit after a signal (unless `ettin --version` is slow too), a
leftover file, or if this process holds more memory or descriptors at the end than after a fifth of
the time. The output or traceback of a failed child is printed first.
"""

import argparse
import gc
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest

from ettin_cli.errors import IndexNotFoundError
from ettin_cli.index import writer
from ettin_cli.index.manifest import read_manifest
from ettin_cli.index.passages import PASSAGES
from ettin_cli.index.reader import Index
from ettin_cli.index.salvage import damaged_files
from ettin_cli.index.source_files import FILES
from ettin_cli.indexing import building
from ettin_cli.searching import session_models
from tests.children import EARLY, ended, forked
from tests.indexes import Builder, word_model, word_vector
from tests.replay import run

WORDS = ["ferry", "bread", "auk", "tern", "pier", "dough", "smew", "knot"]
MOST_FILES = 40
TOP_K = 5
SOON = 2.0
GROWTH = 16_000_000


class BreachError(Exception):
    """A check failed."""


def require(fine: bool, what: object) -> None:
    """Raise if a condition does not hold."""
    if not fine:
        raise BreachError(str(what))


def memory() -> int:
    """Return this process's resident memory in bytes; 0 if unknown."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def descriptors() -> int:
    """Return the number of open descriptors of this process; 0 if unknown."""
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


class Soak:
    """An index with the texts that it must hold."""

    def __init__(self, root: Path, seed: int) -> None:
        self.drawn = random.Random(seed)
        self.docs, self.index = root / "docs", root / "i"
        self.docs.mkdir()
        self.here: dict[str, str] = {}
        self.held: dict[str, str] | None = None
        self.counts: Counter[str] = Counter()
        self.slowest = 0.0
        self.length = 0.1

    def step(self) -> None:
        """Perform one random action."""
        self.edit()
        does = [self.update, self.end_early, self.search, self.verify, self.repair]
        self.drawn.choices(does, [2, 3, 6, 1, 1])[0]()

    def edit(self) -> None:
        """Add, change or remove some files."""
        for _ in range(self.drawn.randint(0, 4)):
            name = f"{self.drawn.randrange(MOST_FILES)}.txt"
            if name in self.here and self.drawn.random() < 0.3:
                (self.docs / name).unlink()
                del self.here[name]
            else:
                self.here[name] = " ".join(self.drawn.choices(WORDS, k=self.drawn.randint(1, 6)))
                (self.docs / name).write_text(self.here[name])

    def words(self) -> list[str]:
        """Return a command line that updates the index."""
        rebuild = ["--rebuild"] if self.drawn.random() < 0.2 else []
        return ["index", "docs", "-i", "i", *rebuild]

    def update(self) -> None:
        """Update the index in this process."""
        began = time.perf_counter()
        code, said = run(*self.words())
        require(code == 0, said)
        self.length = max(0.05, time.perf_counter() - began)
        self.held = dict(self.here)
        self.tidy()
        self.counts["updates"] += 1

    def end_early(self) -> None:
        """Update the index in a child that a signal ends early."""
        before = self.generation()
        child = forked(self.words())
        number = self.drawn.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
        code = ended(child, self.drawn.uniform(0, self.length))
        if code is None:
            began = time.perf_counter()
            os.kill(child, number)
            code = ended(child, 60)
            self.timed(time.perf_counter() - began)
            self.counts[number.name] += 1
        # A signal that comes before the command line is begun ends the child in its own way.
        require(code in (0, EARLY, 128 + number, -number), f"{number.name} ended a run with {code}")
        if self.generation() != before or code == 0:
            self.held = dict(self.here)

    def timed(self, seconds: float) -> None:
        """Check that a run exited soon after a signal, unless the machine is slow."""
        if seconds > SOON:
            began = time.perf_counter()
            ended(forked(["--version"]), 60)
            alone = time.perf_counter() - began
            require(alone > SOON / 8, f"{seconds:.1f} s to end after a signal")
            self.counts["times too busy to tell"] += 1
        else:
            self.slowest = max(self.slowest, seconds)

    def search(self) -> None:
        """Search, and compare with a brute-force search."""
        if self.held is None:
            return
        query = " ".join(self.drawn.choices(WORDS, k=2))
        words = ["search", query, "-i", "i", "-r", "none", "--retriever", "dense"]
        words += ["--fold", "none", "-k", str(TOP_K), "-f", "jsonl"]
        code, said = run(*words)
        require(code == 0, said)
        hits = json.loads(next(line for line in said.splitlines() if line.startswith("{")))["hits"]
        scores = {
            name: float(word_vector(text) @ word_vector(query)) for name, text in self.held.items()
        }
        best = sorted(scores.values(), reverse=True)[:TOP_K]
        found = [hit["score"] for hit in hits]
        near = [abs(one - other) < 1e-3 for one, other in zip(found, best, strict=True)]
        require(all(near), f"{query!r} found {found} and not {best}")
        for hit in hits:
            require(hit["text"] == self.held[hit["doc_id"]], hit)
            require(abs(hit["score"] - scores[hit["doc_id"]]) < 1e-3, hit)
        self.counts["searches"] += 1

    def verify(self) -> None:
        """Check every file, and that all passages are present."""
        if self.held is None:
            return
        code, said = run("verify", "-i", "i")
        require(code == 0, said)
        index = Index(self.index)
        passages = index.read(range(len(index.passages)))
        require({one.doc_id: one.text for one in passages} == self.held, "other passages")
        self.counts["verifications"] += 1

    def repair(self) -> None:
        """Flip a bit in one file, and repair the index."""
        if self.held is None:
            return
        manifest = read_manifest(self.index)
        name = self.drawn.choice(sorted(manifest.files))
        path = self.index / "generations" / manifest.generation / name
        content = bytearray(path.read_bytes())
        content[self.drawn.randrange(len(content))] ^= 1
        path.unlink()
        path.write_bytes(content)
        require(damaged_files(self.index) == [str(path)], "damage is not seen")
        code, said = run("verify", "-i", "i", "--repair")
        # What could be had from nowhere is said with 3: files that are gone by now.
        require(code in (0, 3), said)
        if name in (FILES, PASSAGES):
            self.held = dict(self.here)
        self.tidy()
        self.counts["repairs"] += 1

    def tidy(self) -> None:
        """Check that a finished run left nothing but its index."""
        names = {path.name for path in self.index.iterdir()}
        require(names <= {"generations", "lock", "manifest.json", "work"}, names)
        left = [*self.index.glob("work/*/*"), *self.index.glob("generations/*")]
        require([path.name for path in left] == [self.generation()], left)

    def generation(self) -> str | None:
        """Return the name of the generation in force."""
        try:
            return read_manifest(self.index).generation
        except IndexNotFoundError:
            return None


def soaked(soak: Soak, minutes: float) -> str:
    """Run for the given time, and return the counts."""
    began, said = time.monotonic(), 0
    settled = None
    while (passed := (time.monotonic() - began) / 60) < minutes:
        soak.step()
        soak.counts["steps"] += 1
        if passed > said + 1:
            said += 1
            print(
                f"{said} min: {soak.counts.total()} things done, {memory() / 1e6:.0f} MB",
                flush=True,
            )
        if settled is None and passed > minutes / 5:
            gc.collect()
            settled = memory(), descriptors()
    gc.collect()
    end = memory(), descriptors()
    settled = settled or end
    counts = ", ".join(f"{count} {what}" for what, count in sorted(soak.counts.items()))
    line = (
        f"{counts}; at most {soak.slowest:.2f} s to end after a signal; "
        f"memory {settled[0] / 1e6:.1f} MB, then {end[0] / 1e6:.1f}; "
        f"descriptors {settled[1]}, then {end[1]}"
    )
    require(end[0] <= settled[0] + GROWTH and end[1] <= settled[1], line)
    return line


def main() -> None:
    """Print the counts; exit with 1 at a failed check."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        root = Path(name)
        builder = Builder(word_model(root / "words"))
        for module in (building, session_models):
            patch.setattr(module, "load_embedder", builder.load)
        patch.setattr(writer, "SHARD_ROWS", 2)
        patch.setenv("ETTIN_EMBEDDER", str(builder.model))
        patch.setenv("ETTIN_CACHE_DIR", str(root / "cache"))
        (root / "temporary").mkdir()
        patch.setattr(tempfile, "tempdir", str(root / "temporary"))
        patch.chdir(root)
        soak = Soak(root, arguments.seed)
        try:
            line = soaked(soak, arguments.minutes)
            left = [path.name for path in (root / "temporary").iterdir()]
            require(not left, f"left over: {left}")
        except BreachError as breach:
            print(f"breach after {soak.counts['steps']} steps: {breach}")
            sys.exit(1)
    print(line)


if __name__ == "__main__":
    main()
