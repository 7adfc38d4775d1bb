"""Files of rows -> distinct examples, stored on disk until they are needed."""

from __future__ import annotations

import math
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from ettin_cli.corpus import RecordError, Row
from ettin_cli.errors import CorpusError
from ettin_cli.files.requests import Spool, read_rows, rejection
from ettin_cli.platforms import is_file
from ettin_cli.records import Reporter
from ettin_cli.settings import PROBED_ROWS
from ettin_cli.storage import Stream
from ettin_cli.training.recipe import LISTWISE, MARGIN_MSE, MSE
from ettin_cli.training.rows import ROWS, Example, read_row, require_usable
from ettin_cli.training.teacher import Spread, remarks
from ettin_cli.training.windows import Window, keep_waiting

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LICENCES = ("license", "licence")
# The scored documents of a query are split into lists of at most this length.
MOST_TEXTS = 32


@dataclass(slots=True)
class DataFile:
    """Counts of a data file, for the model card.

    Args:
        path: A file, a stream, or the name of a table of a dataset.
    """

    path: Path | Stream | str
    scored: int = 0
    listed: int = 0
    licences: Counter[str] = field(default_factory=Counter)


class Examples:
    """Examples on disk, read by position; memory holds only their offsets.

    Attributes:
        available: The number of examples that `sample` chose from; None: there was no choice.
        digest: Hash of all examples in order, to check the data of a resumed run.
        rejected: The number of unreadable rows, which have been reported.
        spread: Statistics of the teacher's scores; empty if there are none.
        between: Not called: nothing is waited for.
    """

    datasets: Sequence[str] = ()

    def __init__(self) -> None:
        import xxhash

        self.spool = Spool()
        self.offsets = array("q")
        self._order: tuple[tuple[int, int], NDArray[np.int64]] | None = None
        self.available: int | None = None
        self.between: Callable[[], None] = keep_waiting
        self.files: list[DataFile] = []
        self.rejected = 0
        self.spread = Spread()
        self.hash = xxhash.xxh3_128()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.spool.__exit__()

    def __len__(self) -> int:
        return len(self.offsets)

    def __getitem__(self, position: int) -> Example:
        return Example(*self.spool.get(self.offsets[position]))

    @property
    def digest(self) -> str:
        """The hash of all examples, in order."""
        return self.hash.hexdigest()

    def shuffled(self, begin: int, end: int, seed: int, epoch: int) -> list[Example]:
        """Return the examples from one place to another in the order of an epoch."""
        import numpy as np

        if self._order is None or self._order[0] != (seed, epoch):
            order = np.random.default_rng([seed, epoch]).permutation(len(self))
            self._order = (seed, epoch), order
        return [self[at] for at in self._order[1][begin:end]]

    def window(self, number: int, size: int, seed: int, epoch: int) -> Window:
        """Return a window of an epoch."""
        return Window(self.shuffled(number * size, (number + 1) * size, seed, epoch))

    def prepare(self, number: int, size: int, seed: int, epoch: int) -> None:
        """Do nothing: all examples are here."""

    def sample(self, count: int, seed: int) -> None:
        """Keep a random sample of the examples."""
        import numpy as np

        self.available = len(self)
        kept = np.random.default_rng(seed).choice(len(self), count, replace=False)
        self.offsets = array("q", (self.offsets[at] for at in sorted(kept)))
        self.hash.update(f"{count} by {seed}".encode())

    def add(self, example: Example) -> None:
        """Append an example."""
        value = [example.query, list(example.texts), list(example.targets), example.scored]
        self.hash.update(repr(value).encode("utf-8", "surrogatepass"))
        self.offsets.append(self.spool.add(value))


def read_examples(paths: Sequence[Path | Stream], loss: str | None, reporter: Reporter) -> Examples:
    """Return the examples of some files; invalid rows are reported and left out.

    A row has `query`, `document` (or `text`) and `score`; or `query`, `positive` and `negatives`.

    Args:
        paths: Files, or streams of JSONL.
        loss: With margin-mse and listwise, the scored documents of a query form one example.

    Raises:
        CorpusError: A file cannot be read, or holds no examples, or none for this loss.
        InvalidArgumentError: A file is not in a format that holds examples.
    """
    files = [(path, read_rows(path, "pairs")) for path in paths]
    for path in paths:
        if not isinstance(path, Stream) and not is_file(path):
            raise CorpusError(f"no such file: {path}", code="cannot-read", path=path)
    examples = Examples()
    try:
        reader = _Reader(examples, loss, reporter)
        for path, rows in files:
            reader.read(path, rows)
        reader.finish(paths)
    except BaseException:
        examples.__exit__()
        raise
    return examples


class _Reader:
    """Reads rows into examples and counts them."""

    def __init__(self, examples: Examples, loss: str | None, reporter: Reporter) -> None:
        self.examples, self.loss, self.reporter = examples, loss, reporter
        self.lists = loss in (MARGIN_MSE, LISTWISE)
        self.by_query: dict[int, array[int]] = defaultdict(lambda: array("q"))
        self.seen: dict[int, float] = {}
        self.repeated = self.contradicted = 0

    def read(self, path: Path | Stream, rows: Iterator[Row]) -> None:
        """Add the rows of a file."""
        self.file = DataFile(path)
        self.examples.files.append(self.file)
        with self.reporter.track("reading", None, "rows") as advance:
            for row in self._probed(rows):
                self._row(row)
                advance(1)

    def _probed(self, rows: Iterator[Row]) -> Iterator[Row]:
        """Yield the rows; raise if the first PROBED_ROWS are all invalid."""
        bad: list[Row] = []
        for row in rows:
            if self._reason(row) is None:
                yield from bad
                yield row
                yield from rows
                return
            bad.append(row)
            if len(bad) == PROBED_ROWS:
                break
        if bad:
            why = self._reason(bad[0])
            assert why is not None
            raise CorpusError(
                str(rejection(str(self.file.path), bad[0], why)),
                code="invalid-examples",
                expected=ROWS,
            )

    def _reason(self, row: Row) -> RecordError | None:
        try:
            read_row(row)
        except RecordError as error:
            return error
        return None

    def _row(self, row: Row) -> None:
        try:
            record, example, reasons = read_row(row)
        except RecordError as error:
            self._reject(row, error)
            return
        for reason in reasons:
            self._reject(row, RecordError(reason))
        place = f"{self.file.path}:{row[1]}" if row[1] else f"{self.file.path}, row {row[2]}"
        require_usable(example, self.loss, place)
        for name in LICENCES:
            if isinstance(licence := record.get(name), str):
                self.file.licences[licence] += 1
        if example.scored:
            self._scored(example)
        elif not self._repeats(example, 0.0):
            self.file.listed += 1
            self.examples.add(example)

    def _reject(self, row: Row, why: RecordError) -> None:
        self.examples.rejected += 1
        self.reporter.notice(f"rejected {rejection(str(self.file.path), row, why)}")

    def _scored(self, example: Example) -> None:
        score = example.targets[0]
        if self._repeats(example, score):
            return
        self.file.scored += 1
        self.examples.spread.add(score)
        if not self.lists:
            self.examples.add(example)
            return
        place = self.examples.spool.add([example.query, example.texts[0], score])
        self.by_query[_hash(example.query)].append(place)

    def _repeats(self, example: Example, score: float) -> bool:
        key = _hash("\0".join([example.query, *example.texts]))
        if key not in self.seen:
            self.seen[key] = score
            return False
        self.repeated += self.seen[key] == score
        self.contradicted += self.seen[key] != score
        return True

    def finish(self, paths: Sequence[Path | Stream]) -> None:
        """Group scored documents into lists if the loss compares them, and report remarks."""
        alone = 0
        for numbers in self.by_query.values():
            alone += len(numbers) == 1
            for part in parts(numbers, MOST_TEXTS) if len(numbers) > 1 else ():
                rows = [self.examples.spool.get(place) for place in part]
                query, texts, scores = (
                    rows[0][0],
                    [row[1] for row in rows],
                    [row[2] for row in rows],
                )
                self.examples.add(Example(query, texts, scores, scored=True))
        self.by_query.clear()
        for message in self._remarks(alone):
            self.reporter.notice(message)
        if not self.examples:
            named = ", ".join(map(str, paths))
            if alone:
                raise CorpusError(
                    f"the loss {self.loss} compares documents, but no query in {named} has two "
                    "scored ones",
                    code="invalid-examples",
                    loss=self.loss,
                    losses=(MSE,),
                )
            raise CorpusError(f"no valid rows in {named}", code="invalid-examples", expected=ROWS)

    def _remarks(self, alone: int) -> Iterator[str]:
        if self.repeated:
            yield f"{self.repeated:,} duplicate rows are skipped"
        if self.contradicted:
            yield (
                f"{self.contradicted:,} rows repeat an earlier pair with a different score and "
                "are skipped; the first score is kept"
            )
        if alone and self.examples:
            yield (f"{alone:,} queries have only one scored document to compare and are skipped")
        if self.examples.spread.count:
            yield from remarks(self.examples.spread, self.loss)


def parts(items: Sequence[int], most: int) -> Iterable[Sequence[int]]:
    """Return the items split into as few contiguous parts as possible, of similar length.

    >>> [list(part) for part in parts(range(5), most=4)]
    [[0, 1, 2], [3, 4]]
    """
    count = math.ceil(len(items) / most)
    size = math.ceil(len(items) / count)
    return [items[begin : begin + size] for begin in range(0, len(items), size)]


def _hash(text: str) -> int:
    import xxhash

    return xxhash.xxh3_128_intdigest(text.encode("utf-8", "surrogatepass"))
