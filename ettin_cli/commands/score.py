"""`ettin score`: a quick relevance check of a few texts."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from ettin_cli.commands import options
from ettin_cli.errors import CorpusError, UsageError
from ettin_cli.reranking import find_reranker, load_reranker

SHOWN = 200


def score(
    query: Annotated[str, typer.Argument(help="What the texts should answer.")],
    text: Annotated[list[str], typer.Argument(help="A text, @FILE, or - for a text a line.")],
    reranker: options.Reranker = "auto",
    format: Annotated[str, typer.Option("--format", "-f", help="auto, table or jsonl.")] = "auto",
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    max_length: options.MaxLength = None,
    threads: options.Threads = None,
    trust_remote_code: options.TrustRemoteCode = False,
    offline: options.Offline = False,
    color: options.Color = "auto",
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Score how well each TEXT answers QUERY, best first.

    With one TEXT, a pipe and no -f it prints the bare number.
    """
    console = options.console(color, quiet, verbose)
    if format not in ("auto", "table", "jsonl"):
        raise UsageError(f"no format {format!r} here", hint="auto, table or jsonl")
    if not query.strip():
        raise UsageError("empty QUERY")
    if reranker == "none":
        raise UsageError("there is no score without a reranker", hint="-r embedded")
    texts = [one for word in text for one in _texts(word)]
    engine = options.engine(device, dtype, "auto", max_length, threads, trust_remote_code)
    files = find_reranker(reranker, offline=offline, reporter=console)
    scores = load_reranker(files, engine, console).score([(query, one) for one in texts])
    if scores.truncated.any():
        console.notice(f"{int(scores.truncated.sum())} texts were cut at the reranker's limit")
    values = scores.values.tolist()
    order = sorted(range(len(texts)), key=lambda at: (-values[at], at))
    piped = not sys.stdout.isatty()
    if format == "auto" and piped and len(texts) == 1:
        console.line(f"{values[0]:.6g}")
    elif format == "table" or (format == "auto" and not piped):
        rows = [
            [str(rank), str(at), f"{values[at]:.3f}", texts[at][:SHOWN]]
            for rank, at in enumerate(order, start=1)
        ]
        console.rows(["rank", "index", "score", "text"], rows, right="rank index score")
    else:
        import orjson

        for rank, at in enumerate(order, start=1):
            row = {"rank": rank, "index": at, "score": values[at], "text": texts[at]}
            console.line(orjson.dumps(row).decode())


def _texts(word: str) -> list[str]:
    if word == "-":
        return [line.rstrip("\r\n") for line in sys.stdin if line.strip()]
    if not word.startswith("@"):
        return [word]
    try:
        return [Path(word[1:]).read_text(encoding="utf-8")]
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusError(f"cannot read {word[1:]}: {error}") from error
