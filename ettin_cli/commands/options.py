"""The options that mean the same in every command."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from ettin_cli.console import Console
from ettin_cli.errors import (
    INTERRUPTED,
    TERMINATED,
    CorpusError,
    InvalidArgumentError,
    UsageError,
)
from ettin_cli.index import RecordedSource
from ettin_cli.platforms import command_line, is_file, quoted, relative
from ettin_cli.runtime import interruption
from ettin_cli.searching import require_blend
from ettin_cli.settings import AUTO, DEFAULT_INDEX
from ettin_cli.storage import Stream

Named = TypeVar("Named", str, Path)

REJECTED = 3
NO_HIT = 4
STDIN = "-"

Index = Annotated[
    Path | None,
    typer.Option(
        "--index", "-i", metavar="INDEX", envvar="ETTIN_INDEX", help="Folder of the index."
    ),
]
Long = Annotated[
    str,
    typer.Option(
        metavar="HOW",
        help="Texts beyond the reranker's token limit: truncate, or max (score windows of the "
        "text, take the best).",
    ),
]
Exact = Annotated[
    bool,
    typer.Option(
        "--exact",
        help="Score with the model even where the index has its token vectors.",
    ),
]
Reranker = Annotated[
    str,
    typer.Option(
        "--reranker",
        "-r",
        metavar="MODEL",
        envvar="ETTIN_RERANKER",
        help="auto, 17m, 32m, 68m, 150m, 400m, 1b, embedded, none, a hub id or a folder. "
        "A cascade is MODEL:N,MODEL: the second reranks the best N of the first.",
    ),
]


RetrieverName = Annotated[
    str,
    typer.Option(
        metavar="HOW",
        help="dense (embeddings), bm25 (terms), multi-vector (token vectors), hybrid (bm25 with "
        "multi-vector if the index has it, else with dense), or auto: hybrid if the index has a "
        "lexicon, else dense.",
    ),
]


By = Annotated[
    str,
    typer.Option(metavar="UNIT", help="What a hit is: document (its best passage) or passage."),
]
Fold = Annotated[
    str,
    typer.Option(
        metavar="TEXTS",
        help="Merge duplicate passages into one hit: same (identical text), near (80 % shared "
        "word trigrams) or none.",
    ),
]
Expand = Annotated[
    bool,
    typer.Option(
        "--expand",
        help="Expand the query from the top 10 passages (pseudo-relevance feedback) and retrieve "
        "again.",
    ),
]


@contextmanager
def resumable(how: str, console: Console) -> Iterator[None]:
    """Print how to resume when the work in the block is interrupted or terminated."""
    try:
        yield
    except KeyboardInterrupt:
        code = INTERRUPTED
    except SystemExit as end:
        if end.code != TERMINATED:
            raise
        code = TERMINATED
    except Exception as error:
        # A library may have replaced the exception of the signal.
        if not (code := interruption.struck() or 0):
            raise
        interruption.show(error)
    else:
        return
    console.notice(f"{'interrupted' if code == INTERRUPTED else 'terminated'}; {how}")
    raise SystemExit(code) from None


def refresh(folder: Path) -> str:
    """Return the command that updates an index."""
    return command("index", folder)


def command(name: str, folder: Path) -> str:
    """Return a command for an index, with -i unless it is the default one."""
    if folder == Path(DEFAULT_INDEX):
        return f"ettin {name}"
    return f"ettin {name} -i {quoted(str(folder))}"


def recorded(folder: Path, source: RecordedSource) -> str:
    """Return a source as shell words: its path relative to the working folder, and its options."""
    if source.location == "-":
        return "-"
    location = relative(folder.resolve().parent / source.location)
    words = [location]
    for option, values in (("--include", source.include), ("--exclude", source.exclude)):
        words += [word for value in values for word in (option, value)]
    for option, value in (
        ("--id-field", source.id_field),
        ("--text-field", source.text_field),
        ("--title-field", source.title_field),
        ("--encoding", source.encoding),
    ):
        words += [option, value] if value else []
    words += ["--ocr", source.ocr] if source.ocr != AUTO else []
    words += ["--all-text"] * source.all_text + ["--main-content"] * source.main_content
    return command_line(words)


def stdin() -> Stream:
    """Return standard input.

    Raises:
        UsageError: The process was started without stdin.
    """
    if sys.stdin is None:
        raise UsageError("stdin is not available")
    return Stream(sys.stdin.buffer)


def stdin_or(name: Named) -> Named | Stream:
    """Return an input by name; "-" is standard input."""
    return stdin() if str(name) == STDIN else name


def check_file(path: Path) -> None:
    """Check that an input is a file, or "-" for standard input.

    Raises:
        CorpusError: It is neither.
        OSError: It cannot be told.
    """
    if str(path) != STDIN and not is_file(path):
        raise CorpusError(f"no such file: {path}")


def blend_of(text: str) -> float | str:
    """Return the value of --blend: a number, or "auto".

    Raises:
        UsageError: It is neither "auto" nor a number from 0 to 1.
    """
    try:
        blend = text if text == AUTO else float(text)
        require_blend(blend)
    except (ValueError, InvalidArgumentError):
        problem = f"--blend {text!r} is neither {AUTO} nor a number from 0 to 1"
        raise UsageError(problem, hint="--blend 0.3") from None
    return blend


def utf8(text: str, name: str) -> str:
    """Return a text from the command line, checked to be UTF-8.

    Raises:
        UsageError: Its bytes have another encoding.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{name} is not UTF-8") from None
    return text
