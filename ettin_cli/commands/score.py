"""`ettin score`: the relevance of a few texts to a query."""

import sys
from io import BufferedReader
from pathlib import Path
from typing import Annotated

import typer

from ettin_cli.clusters import LOCAL
from ettin_cli.commands import options, output_options as writing, unit_options as units
from ettin_cli.commands.context import Context, shared
from ettin_cli.commands.jsonl import check_jsonl
from ettin_cli.console import Console, count
from ettin_cli.errors import CorpusError, UsageError
from ettin_cli.models.rerankers import ResolvedReranker, require_long
from ettin_cli.records import Scores, beginning
from ettin_cli.searching import Models
from ettin_cli.settings import MAX_TEXT_BYTES, MIB, TRUNCATE
from ettin_cli.storage import BLOCK, record_lines


@shared()
def score(
    query: Annotated[
        str | None,
        typer.Argument(help="The query that the texts should answer.", show_default=False),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Argument(help="A text, @FILE, or - to read one text per line from stdin."),
    ] = None,
    reranker: Annotated[
        list[str] | None,
        typer.Option(
            "--reranker",
            "-r",
            metavar="MODEL",
            envvar="ETTIN_RERANKER",
            help="auto, 17m, 32m, 68m, 150m, 400m, 1b, embedded, a hub id or a folder; with "
            "--pairs, repeat for several.",
        ),
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Score rows of a query and a document, or the output of ettin mine; - reads "
            "JSONL.",
        ),
    ] = None,
    fields: writing.Fields = None,
    average: Annotated[
        bool,
        typer.Option(
            "--average",
            help="With several -r, also write `score`, the mean of their standardised scores.",
        ),
    ] = False,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="With --pairs, write JSONL here; with a slash at the end, to a folder of parts.",
        ),
    ] = None,
    resume: writing.Resume = False,
    format: Annotated[
        str, typer.Option("--format", "-f", metavar="FORMAT", help="auto, table or jsonl.")
    ] = "auto",
    long: options.Long = TRUNCATE,
    on: units.On = LOCAL,
    workers: units.Workers = None,
    cpus_per_worker: units.CpusPerWorker = None,
    gpus_per_worker: units.GpusPerWorker = None,
    unit: units.UnitRows = None,
    *,
    context: Context,
) -> None:
    """Score how well each TEXT answers QUERY, best first.

    Higher is better. The scale depends on the reranker. With one TEXT, output to a pipe and no -f,
    only the number is printed.

    With --pairs, each row is written with its `score`, or with several rerankers with `scores` by
    name. --average standardises each reranker's scores over the file (mean 0, standard deviation
    1) and adds their mean as `score`. A row with a query, its `positive` and its `negatives`,
    `negative` or `negative_1`, `negative_2` and so on becomes one row per text, with a `label` of
    1 or 0. Unreadable rows are also written to OUTPUT.rejects.jsonl.

    --on ray scores units of the file on the Ray cluster at RAY_ADDRESS, or on one that is started
    on this machine; the output has the same bytes.

    Examples:
      ettin score "when does the ferry sail" "At nine." "Bread is at noon."
      ettin score "when does the ferry sail" @page.txt
      sort notes.txt | ettin score "when does the ferry sail" - | head -3
      ettin score --pairs pairs.jsonl -r 150m -o scored.jsonl --resume
      ettin score --pairs pairs.jsonl -r 150m -o scored.jsonl --on ray
      ettin score --pairs pairs.jsonl -r 150m -r 400m --average -o scored.jsonl
    """
    console = context.console
    if format not in ("auto", "table", "jsonl"):
        raise UsageError(f"unsupported format {format!r}", hint="auto, table or jsonl")
    names = reranker or ["auto"]
    if "none" in names:
        raise UsageError("ettin score needs a reranker", hint="-r embedded")
    require_long(long, reranked=True)
    here = pairs is not None and on == LOCAL
    models = context.on_every_gpu(here=here).session.models
    _check_several(names, pairs, average=average)
    named = writing.columns(fields)
    chosen = units.unit_options(on, workers, cpus_per_worker, gpus_per_worker, unit, output)
    target = units.output_path(output)
    if pairs is not None:
        # Only here, since it reads every format of tables.
        from ettin_cli.commands.score_pairs import PairsJob, score_pairs

        _check_pairs(query, pairs, target, chosen, resume=resume)
        if chosen and chosen.in_folder and average:
            raise UsageError(
                "--average needs the scores of all parts", hint="write a file: -o scored.jsonl"
            )
        every = _find(names, models)
        key = writing.fingerprint(every, models.settings, long, named, average)
        if chosen:
            from ettin_cli.commands.score_units import score_units

            assert target is not None
            units_job = PairsJob(pairs, target, named, average, resume, key)
            if score_units(units_job, every, models, long, chosen, console):
                raise typer.Exit(options.REJECTED)
            return
        job = PairsJob(options.stdin_or(pairs), target, named, average, resume, key)
        if score_pairs(job, [models.reranker(resolved, long) for resolved in every], console):
            raise typer.Exit(options.REJECTED)
        return
    if chosen:
        raise UsageError("units need --pairs", hint="--pairs FILE -o scored.jsonl")
    query, texts = _arguments(query, text or [], target, resume=resume, named=bool(named))
    if not texts:
        console.notice("no texts")
        return
    [resolved] = _find(names, models)
    scores = models.reranker(resolved, long).score([(query, content) for content in texts])
    _show(texts, scores, format, console)


def _check_several(names: list[str], pairs: Path | None, *, average: bool) -> None:
    if len(names) > 1 and pairs is None:
        raise UsageError("several rerankers need --pairs", hint="pass one -r")
    if average and len(names) == 1:
        raise UsageError(
            "--average needs several rerankers", hint="--pairs FILE -r 150m -r 400m --average"
        )


def _find(names: list[str], models: Models) -> list[ResolvedReranker]:
    resolved = [models.find_reranker(name) for name in names]
    for at, reranker in enumerate(resolved):
        if reranker.name in [earlier.name for earlier in resolved[:at]]:
            raise UsageError(f"-r {reranker.name} is given twice", hint="leave out one of them")
    return resolved


def _check_pairs(
    query: str | None,
    pairs: Path,
    output: Path | None,
    chosen: units.UnitOptions | None,
    *,
    resume: bool,
) -> None:
    if query is not None:
        raise UsageError("QUERY cannot be combined with --pairs: FILE has the queries")
    options.check_file(pairs)
    if chosen and str(pairs) == "-":
        raise UsageError("stdin cannot be cut into units", hint="write it to a file first")
    if not (chosen and chosen.in_folder):
        check_jsonl(output, "scored.jsonl")
    writing.check_resume(output, resume=resume and chosen is None)
    writing.check_apart(output, [pairs])


def _arguments(
    query: str | None, text: list[str], output: Path | None, *, resume: bool, named: bool
) -> tuple[str, list[str]]:
    if resume or named:
        option = "--resume" if resume else "--fields"
        raise UsageError(f"{option} needs --pairs", hint="--pairs FILE -o scored.jsonl")
    if output is not None:
        raise UsageError("-o needs --pairs", hint="ettin score QUERY TEXT -f jsonl > FILE")
    if query is None or not text:
        missing = "QUERY" if query is None else "TEXT"
        raise UsageError(f"missing {missing}", hint='ettin score "what to look for" "a text"')
    if not options.utf8(query, "QUERY").strip():
        raise UsageError("empty QUERY")
    return query, [one for word in text for one in _texts(word)]


def _show(texts: list[str], scores: Scores, format: str, console: Console) -> None:
    if cut := int(scores.truncated.sum()):
        console.notice(
            f"{cut:,} of {count(len(texts), 'text')} truncated at the reranker's token limit"
        )
    piped = not sys.stdout.isatty()
    if format == "auto" and piped and len(texts) == 1:
        console.line(f"{scores.values[0]:.6g}")
    else:
        as_table = format == "table" or (format == "auto" and not piped)
        _write(console, texts, scores.values.tolist(), as_table=as_table)


def _write(console: Console, texts: list[str], values: list[float], *, as_table: bool) -> None:
    """Write one row per text, best first; ties keep the order of the input."""
    order = sorted(range(len(texts)), key=lambda at: (-values[at], at))
    if as_table:
        rows = [
            [str(rank), str(at), f"{values[at]:.3f}", beginning(texts[at])]
            for rank, at in enumerate(order, start=1)
        ]
        names = ["rank", "index", "score", "text"]
        console.rows(names, rows, right="rank index score", folded=True)
        return
    import orjson

    for rank, at in enumerate(order, start=1):
        row = {"rank": rank, "index": at, "score": values[at], "text": texts[at]}
        console.line(orjson.dumps(row).decode())


def _texts(word: str) -> list[str]:
    """Return the texts of one argument: a text, a file or the lines of stdin."""
    if word == "-":
        from ettin_cli.files.requests import readable

        with readable(Path("stdin")):
            read = list(record_lines(options.stdin().file))
        lines = [line for some in read for line in some.splitlines()]
        texts = [_decoded(line, f"stdin:{at}") for at, line in enumerate(lines, start=1)]
        return [text for text in texts if text.strip()]
    if not word.startswith("@"):
        return [options.utf8(word, "TEXT")]
    path = Path(word[1:])
    try:
        with path.open("rb") as file:
            content = _read(file, MAX_TEXT_BYTES + 1)
    except OSError as error:
        raise CorpusError(
            f"cannot read {word[1:] or '@'}: {error.strerror}",
            hint="@FILE reads a file; pass a text that starts with @ on stdin, as -",
        ) from error
    if len(content) > MAX_TEXT_BYTES:
        raise CorpusError(f"{path}: more than {MAX_TEXT_BYTES // MIB} MiB of text")
    return [_decoded(content, word[1:])]


def _read(file: BufferedReader, most: int) -> bytes:
    """Read a file or a pipe in pieces, so that Python can handle Ctrl-C between them."""
    pieces = []
    while piece := file.read1(min(most, BLOCK)):
        pieces.append(piece)
        most -= len(piece)
    return b"".join(pieces)


def _decoded(content: bytes, place: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorpusError(f"{place}: not UTF-8") from error
