"""The documentation pages: their code blocks, run as a reader would, and their links."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ettin_cli.corpus import copy_samples

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "benchmarks" / "README.md"]
)
CORPORA = "sample_corpora"
WIDTH = "92"
_BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^\n]+) -->\n)?```(?P<kind>\w*)\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
_COMMAND = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
# Parts of output that differ between machines and days.
_VARIABLE = re.compile(r"\d{4}-\d\d-\d\dT[\d:+]+|\d+ kB|\d+\.\d+(e-\d+)?")


@dataclass(frozen=True, slots=True)
class Block:
    """A block of a page.

    Args:
        kind: What follows the fence, such as `bash`.
        reason: Why it is not run; empty if it is.
    """

    page: Path
    line: int
    kind: str
    text: str
    reason: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT).as_posix()}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """Yield the blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    for found in _BLOCK.finditer(text):
        line = text.count("\n", 0, found.start("kind")) + 1
        yield Block(page, line, found["kind"], found["text"], found["reason"] or "")


def runnable(pages: list[Path]) -> list[Block]:
    """Return the blocks of these pages that a test runs."""
    kinds = ("bash", "console", "python")
    every = [block for page in pages for block in blocks(page)]
    return [block for block in every if block.kind in kinds and not block.reason]


class Clones:
    """A copy of `like` per page, with the sample corpora as `ettin demo --copy` makes them.

    Args:
        folder: Where they are, and the cache that they share.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.like = folder, folder / "like"
        copy_samples(self.like / CORPORA)
        # A folder of documents, for the Python example.
        shutil.copytree(ROOT / CORPORA / "island_station" / "visiting", self.like / "docs")

    def of(self, place: Path | Block) -> Path:
        """Return the clone of a page, which its blocks share, or the clone of one block."""
        name = str(place if isinstance(place, Block) else place.relative_to(ROOT))
        clone = self.folder / re.sub(r"[/:]", "-", name)
        if not clone.exists():
            shutil.copytree(self.like, clone)
        return clone

    def run(self, block: Block, clone: Path | None = None) -> None:
        """Run a block unchanged, and compare its output with what the page shows."""
        if block.kind == "python":
            # The reranker that needs no network.
            code = block.text.replace('"32m"', '"embedded"')
            ran = self.call([sys.executable, "-c", code], self.of(block))
            assert ran.returncode == 0, ran.stderr
            return
        clone = clone or self.of(block.page)
        if block.kind == "console":
            for command, shown in _COMMAND.findall(block.text):
                self.compare(command, shown, clone)
            return
        ran = self.shell(block.text, clone)
        assert ran.returncode == 0, ran.stderr

    def compare(self, command: str, shown: str, clone: Path) -> None:
        """Compare a command's output on a terminal with what a page shows.

        That is its result or, if it has none, its notices, which may include progress.
        """
        searches = command.startswith("ettin search") and " -f " not in command
        ran = self.shell(command + (" -f table" if searches else ""), clone)
        assert ran.returncode == 0, ran.stderr
        if ran.stdout:
            assert _steady(ran.stdout) == _steady(shown)
        else:
            assert set(_steady(shown).splitlines()) <= set(_steady(ran.stderr).splitlines())

    def shell(self, script: str, clone: Path) -> subprocess.CompletedProcess[str]:
        """Run a script in a clone."""
        return self.call(["bash", "-e", "-o", "pipefail", "-c", script], clone)

    def call(self, words: list[str], clone: Path) -> subprocess.CompletedProcess[str]:
        """Run a command in a clone, with a cache that the clones share."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        cache = str(self.folder / "cache")
        return subprocess.run(
            words,
            cwd=clone,
            env={
                **{k: v for k, v in os.environ.items() if not k.startswith("ETTIN_")},
                **{"PATH": path, "COLUMNS": WIDTH, "ETTIN_CACHE_DIR": cache},
                **{"ETTIN_DEVICE": "cpu", "HF_HUB_OFFLINE": "1"},
            },
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )


def _steady(text: str) -> str:
    """Remove what differs between processors and days."""
    return _VARIABLE.sub("#", text)


def each_block(pages: list[Path]) -> pytest.MarkDecorator:
    """Run a test for every block of these pages, in order."""
    return pytest.mark.parametrize("block", runnable(pages), ids=str)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub forms them."""
    text = _BLOCK.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> list[str]:
    """Return the targets of a page's links to other files and to headings."""
    text = _BLOCK.sub("", page.read_text(encoding="utf-8"))
    targets = re.findall(r"(?<!`)\[[^\]]+\]\(([^)\s]+)\)", text)
    return [target for target in targets if not re.match(r"\w+:", target)]
