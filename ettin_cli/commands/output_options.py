"""Options and checks of commands that write result files."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, TypeGuard

import typer

from ettin_cli import __version__
from ettin_cli.commands.help import listed
from ettin_cli.console import Console, destination
from ettin_cli.errors import UsageError
from ettin_cli.files import files_beside
from ettin_cli.files.writers import (
    JSONL,
    RUN_NAME,
    TABLE,
    formats,
    ignored_plugins,
    is_run,
    writer_of,
)
from ettin_cli.models.engines import EngineSettings
from ettin_cli.models.rerankers import ResolvedReranker, score_folder
from ettin_cli.settings import AUTO

STREAM = "-"

Format = Annotated[
    str, typer.Option("--format", "-f", metavar="FORMAT", help=f"{listed(formats())}.")
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Resume an interrupted run that wrote to -o.")
]
Tag = Annotated[
    str | None,
    typer.Option(metavar="NAME", help=f"Run name in TREC output; {RUN_NAME} by default."),
]
Fields = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        help="Column names of a CSV or TSV without a header, as in qid,pid,query,passage.",
    ),
]


def appears_complete(output: Path | None) -> TypeGuard[Path]:
    """Return whether an output is a file that appears once complete, not a stream or device."""
    if output is None or str(output) == STREAM:
        return False
    return not output.exists() or output.is_file()


def answer_format(
    format: str, output: Path | None, console: Console, *, in_folder: bool = False
) -> str:
    """Return the output format of answers, as `destination` does, and report unused plugins.

    Args:
        in_folder: Whether the output is a folder of parts; these are JSONL unless it is given.

    Raises:
        UsageError: The format is unknown, or cannot be written there.
        OutputError: The folder of the file does not exist.
    """
    if in_folder:
        resolved = JSONL.name if format == AUTO else format
        if resolved == TABLE:
            raise UsageError("a table cannot be written to files", hint="-f jsonl")
        writer_of(resolved)
    else:
        resolved = destination(format, output)
    for notice in ignored_plugins():
        console.notice(notice)
    return resolved


def check_resume(output: Path | None, *, resume: bool) -> None:
    """Check that a run to resume writes to a file.

    Raises:
        UsageError: The output is not a file.
    """
    if resume and not appears_complete(output):
        raise UsageError("--resume needs an output file", hint="-o FILE")


def check_apart(output: Path | None, inputs: Iterable[Path | str | None]) -> None:
    """Check that an output would not overwrite an input, by whatever path.

    The files beside the output that hold an unfinished run and rejected rows are checked too.

    Args:
        inputs: Everything that is read; "-" is standard input.

    Raises:
        UsageError: An input is the same file.
    """
    if output is None or str(output) == STREAM:
        written = {"stdout": _stream(1)}
    else:
        beside = files_beside(output) if appears_complete(output) or output.is_dir() else []
        written = {str(path): _file(path) for path in (output, *beside)}
    for source_path in inputs:
        source = _stream(0) if str(source_path) == STREAM else _file(source_path)
        for name, target in written.items():
            if source and target and os.path.samestat(source, target):
                given = "stdin" if str(source_path) == STREAM else source_path
                raise UsageError(
                    f"{name} is the same file as the input {given}",
                    hint="choose a different output with -o",
                )


def _file(path: Path | str | None) -> os.stat_result | None:
    """Return the status of a regular file, None for anything else."""
    try:
        return None if path is None else _regular(Path(path).stat())
    except (OSError, ValueError):
        return None


def _stream(descriptor: int) -> os.stat_result | None:
    try:
        return _regular(os.fstat(descriptor))
    except OSError:
        return None


def _regular(status: os.stat_result) -> os.stat_result | None:
    return status if stat.S_ISREG(status.st_mode) else None


def fingerprint(
    rerankers: Iterable[ResolvedReranker], settings: EngineSettings, *options: object
) -> str:
    """Return a hash of everything but the input that determines the bytes of the output."""
    import xxhash

    models = [score_folder(reranker, settings).name for reranker in rerankers]
    parts = [__version__, *models, settings, *options]
    return xxhash.xxh3_128_hexdigest(repr(parts).encode("utf-8", "surrogatepass"))


def run_tag(tag: str | None, format: str) -> str:
    """Return the name of a TREC run.

    Raises:
        UsageError: The tag is not valid in a run, or the format is not TREC.
    """
    if tag is None:
        return RUN_NAME
    if not is_run(format):
        raise UsageError("--tag needs TREC output", hint="-f trec")
    try:
        tag.encode()
    except UnicodeEncodeError:
        raise UsageError("--tag is not UTF-8") from None
    if not tag or any(sign.isspace() for sign in tag):
        raise UsageError(f"--tag {tag!r} is empty or contains white space")
    return tag


def columns(names: str | None) -> tuple[str, ...]:
    """Return the column names in `--fields`.

    Raises:
        UsageError: A name is empty or repeated.
    """
    if names is None:
        return ()
    chosen = tuple(name.strip() for name in names.split(","))
    if "" in chosen or len(set(chosen)) < len(chosen):
        raise UsageError(
            f"--fields {names!r} has an empty or duplicate name", hint="--fields qid,query"
        )
    return chosen
