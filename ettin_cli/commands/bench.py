"""`ettin bench`: the speed of rerankers on this machine, compared with sentence-transformers."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ettin_cli.benchmark import (
    BenchmarkRequest,
    Machine,
    Plan,
    Race,
    plan_benchmark,
    read_pairs,
)
from ettin_cli.commands import options
from ettin_cli.commands.context import Context, shared
from ettin_cli.commands.help import listed
from ettin_cli.commands.output_options import check_apart
from ettin_cli.console import BENCH_FORMATS, Console, count, destination, show_races
from ettin_cli.errors import ModelError, UsageError
from ettin_cli.records import Pair
from ettin_cli.settings import AUTO, SENTENCE_TRANSFORMERS


@shared("dtype")
def bench(
    reranker: Annotated[
        list[str] | None,
        typer.Option(
            "--reranker",
            "-r",
            metavar="MODEL",
            envvar="ETTIN_RERANKER",
            help="As in search; repeat to compare several.",
        ),
    ] = None,
    against: Annotated[
        str, typer.Option(metavar="NAME", help="Baseline: sentence-transformers or none.")
    ] = SENTENCE_TRANSFORMERS,
    engine: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ENGINE",
            help="torch, onnxruntime, openvino or auto; repeat to compare several. By default all "
            "that are installed.",
        ),
    ] = None,
    document_tokens: Annotated[
        str | None,
        typer.Option(
            metavar="LENGTHS",
            help="Tokens per pair, as in 128,512,2048,7999; about 125 by default.",
        ),
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Your own pairs, in any input format of rerank; - reads JSONL."
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Pairs per length, or from FILE.")
    ] = None,
    rounds: Annotated[
        int, typer.Option(metavar="N", min=1, help="Number of times all pairs are scored.")
    ] = 3,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write to a .json or .jsonl file."),
    ] = None,
    format: Annotated[
        str, typer.Option("--format", "-f", metavar="FORMAT", help=f"{listed(BENCH_FORMATS)}.")
    ] = "auto",
    dtype: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DTYPE",
            envvar="ETTIN_DTYPE",
            help="auto, fp32, bf16, fp16 or fast; repeat to compare several.",
        ),
    ] = None,
    *,
    context: Context,
) -> None:
    """Compare the speed of rerankers with sentence-transformers.

    Each model runs with each engine and dtype, and in CrossEncoder.predict with its defaults.
    They take turns on the same pairs.

    Columns:
      ratio        speed relative to CrossEncoder.predict
      pairs/s      median of the rounds; range is the slowest and the fastest
      published    pairs/s published with the release, on the device below
      peak         share of the peak speed of matrix multiplication in the
                   same dtype, by the fastest installed library
      load         time to load the model, excluding imports
      max-diff     largest score difference; mean-diff is the mean
      tau          Kendall's tau of the rankings, mean over queries
      overlap@10   overlap of the top ten, mean over queries

    Without --pairs, the pairs are made from the sample corpus: 200 of 62 to 188 tokens, the
    lengths of typical passages. With --document-tokens, they have exactly that many tokens, and
    their number is chosen to take a reasonable time.

    Examples:
      ettin bench
      ettin bench -r 17m -r 32m --dtype auto --dtype fast
      ettin bench -r 17m --document-tokens 128,512,2048,7999 -o speed.json
      ettin bench -r 32m --pairs candidates.jsonl --limit 500
    """
    console = context.console
    format = _format(format, output)
    if pairs is not None and document_tokens is not None:
        raise UsageError("--document-tokens cannot be combined with --pairs")
    if pairs is not None:
        options.check_file(pairs)
    check_apart(output, [pairs])
    request = BenchmarkRequest(
        reranker or [AUTO],
        against,
        engine or [],
        dtype or [AUTO],
        _lengths(document_tokens) if document_tokens else [],
        limit=limit,
        rounds=rounds,
    )
    given, rejected = _given(pairs, limit, console)
    benchmark = plan_benchmark(replace(request, pairs=given), context.session.models)
    _tell(benchmark.plan, benchmark.machine, console)
    watched = _Watched(console)
    show_races(console, watched.of(benchmark), benchmark.machine, format, output)
    watched.check()
    if rejected:
        raise typer.Exit(options.REJECTED)


def _format(format: str, output: Path | None) -> str:
    if format not in BENCH_FORMATS:
        raise UsageError(f"unsupported format {format!r}", hint=", ".join(BENCH_FORMATS))
    found = destination(format, output)
    if found not in BENCH_FORMATS:
        raise UsageError(f"unsupported format: {output}", hint="-o FILE.json or FILE.jsonl")
    return found


def _lengths(text: str) -> list[int]:
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and int(word) for word in words):
        raise UsageError(
            f"--document-tokens {text!r} is not a list of numbers above 0", hint="128,512,2048"
        )
    return list(dict.fromkeys(map(int, words)))


def _given(path: Path | None, limit: int | None, console: Console) -> tuple[Sequence[Pair], int]:
    """Return the user's own pairs, if any, and the number of rejected rows."""
    if path is None:
        return (), 0
    found = read_pairs(options.stdin_or(path), limit)
    for rejection in found.rejections:
        console.notice(f"rejected {rejection}")
    if found.repeated:
        console.notice(f"skipped {count(found.repeated, 'repeated pair')} of {path}")
    return found.pairs, len(found.rejections)


def _tell(plan: Plan, machine: Machine, console: Console) -> None:
    """Report the machine, and the models without a counterpart to compare with."""
    versions = (f"{name} {number}" for name, number in machine.versions.items())
    flags = " ".join(machine.flags)
    where = "" if machine.device == "cpu" else f"{machine.device}; "
    console.summary(
        f"{where}{machine.cpu}, {count(machine.cores, 'core')}, "
        f"{count(machine.threads, 'thread')}, {flags or 'no known vector extensions'}"
    )
    console.detail(", ".join(versions))
    peaks = [
        f"{dtype} {peak.gflops:,.0f} GFLOP/s ({peak.library})"
        for dtype, peak in machine.matmul_peaks.items()
    ]
    console.summary(f"peak of matrix multiplication: {', '.join(peaks)}")
    for model in plan.models if plan.compared else ():
        if not model.has_counterpart:
            console.notice(
                f"{model.name} has no counterpart in {SENTENCE_TRANSFORMERS}, so it is not compared"
            )


class _Watched:
    """Passes races on, and reports truncation and failures."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.errors: list[str] = []
        self.measured = False

    def of(self, races: Iterable[Race]) -> Iterator[Race]:
        """Yield the races."""
        for race in races:
            if race.truncated:
                told = count(race.pairs, "pair")
                self.console.notice(
                    f"{race.truncated:,} of {told} truncated at {race.model}'s token limit"
                )
            self.errors += [speed.error for speed in race.speeds if speed.error]
            self.measured |= any(speed.seconds for speed in race.speeds)
            yield race

    def check(self) -> None:
        """Fail if nothing could be measured.

        Raises:
            ModelError: Every contender failed.
        """
        if not self.measured:
            raise ModelError(f"nothing could be measured: {self.errors[0]}")
