"""The options that mean the same in every command."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from ettin_cli.console import Console
from ettin_cli.engines import EngineSettings
from ettin_cli.errors import IndexNotFoundError, UsageError
from ettin_cli.settings import DEFAULT_INDEX

REJECTED = 3
NO_HIT = 4

Index = Annotated[
    Path | None,
    typer.Option("--index", "-i", envvar="ETTIN_INDEX", help="Folder of the index."),
]
Device = Annotated[str, typer.Option(envvar="ETTIN_DEVICE", help="auto, cpu, cuda, cuda:N or mps.")]
Dtype = Annotated[str, typer.Option(envvar="ETTIN_DTYPE", help="auto, fp32, bf16, fp16 or fast.")]
BatchSize = Annotated[str, typer.Option(help="Most texts in a batch, or auto.")]
MaxLength = Annotated[
    int | None, typer.Option(min=8, help="A lower cap on tokens than the model's own.")
]
Threads = Annotated[int | None, typer.Option(envvar="ETTIN_THREADS", min=1, help="CPU threads.")]
Offline = Annotated[
    bool, typer.Option("--offline", envvar="ETTIN_OFFLINE", help="Never touch the network.")
]
TrustRemoteCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run code that comes with a model.")
]
Color = Annotated[str, typer.Option(help="auto, always or never.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Tell what was chosen and why.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
Reranker = Annotated[
    str,
    typer.Option(
        "--reranker",
        "-r",
        envvar="ETTIN_RERANKER",
        help="auto, 17m, 32m, 68m, 150m, 400m, 1b, embedded, none, a hub id or a folder.",
    ),
]


def console(color: str, quiet: bool, verbose: bool) -> Console:
    """Return the console these options ask for."""
    if color not in ("auto", "always", "never"):
        raise UsageError(f"no colour mode {color!r}", hint="auto, always or never")
    return Console(color=color, quiet=quiet, verbose=verbose)


def engine(
    device: str,
    dtype: str,
    batch_size: str,
    max_length: int | None,
    threads: int | None,
    trust_remote_code: bool,
) -> EngineSettings:
    """Return how models are to run."""
    if batch_size != "auto" and not (batch_size.isdigit() and int(batch_size)):
        raise UsageError(f"batch size {batch_size!r} is neither auto nor a number above 0")
    rows = None if batch_size == "auto" else int(batch_size)
    return EngineSettings(device, dtype, rows, max_length, threads, trust_remote_code)


@contextmanager
def goes_on(how: str, console: Console) -> Iterator[None]:
    """Say how to go on when the work in the block is interrupted or terminated."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        console.notice(f"interrupted; {how}")
        raise


def find_index(index: Path | None) -> Path:
    """Return the index as git finds .git: named, else `.ettin` here or in a folder above.

    Raises:
        IndexNotFoundError: There is none.
    """
    if index is not None:
        return index
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / DEFAULT_INDEX).is_dir():
            return folder / DEFAULT_INDEX
    raise IndexNotFoundError(
        f"no {DEFAULT_INDEX} here or in a folder above", hint="ettin index SOURCE"
    )
