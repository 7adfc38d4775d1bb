"""Count what is kept of pages whose wanted sentences and boilerplate are known.

    python benchmarks/main_content.py FOLDER [--lost]

FOLDER is `tests` of a clone of trafilatura: `evaldata.json` has the sentences, and `cache` and
`eval` the pages. Shown are the wanted sentences that are lost, the boilerplate that is kept and
the seconds, of the default reader and of `--main-content`; with `--lost`, also each lost sentence.
White space is not compared.
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ettin_cli.corpus.html import HTML

FOLDERS = ("cache", "eval")


@dataclass(frozen=True)
class Page:
    """A page with its wanted sentences and its boilerplate."""

    path: Path
    wanted: list[str]
    boilerplate: list[str]


def pages(folder: Path) -> Iterator[Page]:
    """Yield the pages of the evaluation set."""
    entries = json.loads((folder / "evaldata.json").read_text(encoding="utf-8"))
    for entry in entries.values():
        paths = [folder / place / entry["file"] for place in FOLDERS]
        yield Page(next(filter(Path.is_file, paths)), entry["with"], entry["without"])


def text_of(path: Path, *, main: bool) -> str:
    """Return the title and the text of a page."""
    if main and HTML.read_main:
        document, _ = HTML.read_main(path, path.name)
    else:
        document = HTML.read(path, path.name)
    return f"{document.title}\n{document.text}"


def missing(sentences: list[str], text: str) -> list[str]:
    """Return the sentences that a text does not have."""
    bare = "".join(text.split())
    return [sentence for sentence in sentences if "".join(sentence.split()) not in bare]


def main() -> None:
    """Print a line per reader."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--lost", action="store_true")
    arguments = parser.parse_args()
    known = list(pages(arguments.folder))
    wanted = sum(len(page.wanted) for page in known)
    unwanted = sum(len(page.boilerplate) for page in known)
    for name, main_content in (("default", False), ("--main-content", True)):
        begin, lost, removed = time.perf_counter(), 0, 0
        for page in known:
            text = text_of(page.path, main=main_content)
            gone = missing(page.wanted, text)
            lost += len(gone)
            removed += len(missing(page.boilerplate, text))
            for sentence in gone if arguments.lost else ():
                print(f"{page.path.name}: {sentence}")
        seconds = time.perf_counter() - begin
        kept = f"{unwanted - removed:,} of {unwanted:,}"
        print(f"{name}: {lost} of {wanted:,} wanted lost, {kept} boilerplate kept, {seconds:.0f} s")


if __name__ == "__main__":
    main()
