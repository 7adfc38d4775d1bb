"""Examples of files and rows of datasets, mixed in proportion; datasets are read as needed."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from ettin_cli.collections import DatasetFiles
from ettin_cli.corpus import RecordError
from ettin_cli.files.requests import rejection
from ettin_cli.records import Reporter, Silence
from ettin_cli.training.examples import DataFile, Examples
from ettin_cli.training.rows import Example, read_row, require_usable
from ettin_cli.training.sampling import Shares
from ettin_cli.training.table_rows import PlacedRow, Refusals, TableRows
from ettin_cli.training.teacher import Spread, remarks
from ettin_cli.training.windows import Window, keep_waiting

# Between two looks at whether the process was interrupted.
LOOK_S = 0.1


class Download:
    """A file that a thread downloads.

    It does not hold up the end of the process, and can be resumed.

    Attributes:
        error: Why it failed; None: it did not, or not yet.
        told: Whether the failure has been reported.
    """

    def __init__(self, files: DatasetFiles, name: str) -> None:
        self.files, self.name = files, name
        self.error: Exception | None = None
        self.told = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.files.paths([self.name])
        except Exception as error:
            self.error = error

    def is_of(self, files: DatasetFiles, name: str) -> bool:
        """Return whether it is that of a file of a repository."""
        return (self.files.repository, self.name) == (files.repository, name)

    def wait(self, between: Callable[[], None]) -> None:
        """Wait until it is done or has failed; `between` is called while waiting."""
        while self.thread.is_alive():
            between()
            self.thread.join(LOOK_S)


class Mixture:
    """Training data of which the rows of tables are read when their window comes.

    How many rows of a window come from each table is drawn as if all rows were shuffled. Shards
    are downloaded when they are needed, and one ahead.

    Args:
        examples: The examples of files; may be empty.
        loss: As in `Recipe`.

    Attributes:
        ahead: The last download; most begin before the shard is needed.
    """

    def __init__(
        self,
        examples: Examples,
        tables: Sequence[TableRows],
        loss: str | None,
        reporter: Reporter,
    ) -> None:
        self.examples, self.tables, self.loss, self.reporter = examples, tables, loss, reporter
        self.rejected, self.spread = examples.rejected, Spread()
        self.available: int | None = None
        self.files = [*examples.files, *map(_counted, tables)]
        self._refusals = [Refusals(one.table.name, reporter) for one in tables]
        self._begun = False
        self._sizes = [len(examples), *map(len, tables)]
        self._shares: Shares | None = None
        self.ahead: Download | None = None
        self.between: Callable[[], None] = keep_waiting

    def __len__(self) -> int:
        return sum(self._sizes)

    @property
    def datasets(self) -> Sequence[str]:
        """The dataset repositories."""
        return list(dict.fromkeys(one.table.files.repository for one in self.tables))

    @property
    def digest(self) -> str:
        """A hash of the examples of files and of the rows chosen of each table."""
        import xxhash

        hashed = xxhash.xxh3_128(self.examples.digest.encode())
        for one in self.tables:
            hashed.update(f"{one.table.name}@{one.table.files.commit}".encode())
            for chosen in one.chosen:
                hashed.update(f"{chosen.shard.name} {chosen.shard.rows}".encode())
                if chosen.numbers is not None:
                    hashed.update(chosen.numbers.tobytes())
        return hashed.hexdigest()

    def windows(self, size: int, seed: int, epoch: int) -> Shares:
        """Return how many rows of each part are in the windows of an epoch."""
        made_of = self._sizes, size, seed, epoch
        if self._shares is None or self._shares.made_of != made_of:
            self._shares = Shares(*made_of)
        return self._shares

    def prepare(self, number: int, size: int, seed: int, epoch: int) -> None:
        """Download the shards with the rows of a window."""
        _, *ranges = self.windows(size, seed, epoch).of(number)
        for one, (begin, end) in zip(self.tables, ranges, strict=True):
            one.table.files.paths(one.needed(begin, end, seed, epoch))

    def window(self, number: int, size: int, seed: int, epoch: int) -> Window:
        """Return the examples of a window; rows that are none are reported."""
        if not self._begun and (number or epoch):
            # Training goes on, so these are not the first rows.
            for refusals in self._refusals:
                refusals.tell()
        self._begun = True
        windows = self.windows(size, seed, epoch)
        (begin, end), *ranges = windows.of(number)
        self._wait(ranges, seed, epoch)
        rows: list[Sequence[Example | PlacedRow]] = [
            self.examples.shuffled(begin, end, seed, epoch),
            *(
                one.read(*where, seed, epoch)
                for one, where in zip(self.tables, ranges, strict=True)
            ),
        ]
        self._fetch_ahead(ranges, seed, epoch)
        parts = [iter(part) for part in rows]
        examples: list[Example] = []
        refused: list[str] = []
        for at in windows.order(number):
            row = next(parts[at])
            if isinstance(row, Example):
                examples.append(row)
                continue
            refusals = self._refusals[at - 1]
            try:
                examples.append(self._example(row, refusals))
            except RecordError as error:
                refused.append(str(rejection(row.file, row.row, error)))
                refusals.add(refused[-1])
        for one, refusals, (_, end) in zip(self.tables, self._refusals, ranges, strict=True):
            if examples and end == len(one):
                refusals.tell()
        if number == epoch == 0:
            self._remark(examples)
        return Window(examples, len(refused), next(iter(refused), ""))

    def _example(self, row: PlacedRow, refusals: Refusals) -> Example:
        """Return the example in a row; texts that are left out are reported.

        Raises:
            RecordError: There is none.
            CorpusError: The loss cannot use it.
        """
        _, example, reasons = read_row(row.row)
        refusals.tell()
        for reason in reasons:
            refusals.add(str(rejection(row.file, row.row, RecordError(reason))))
        require_usable(example, self.loss, row.place)
        return example

    def _remark(self, examples: Sequence[Example]) -> None:
        """Report the scale of the scores of the first window."""
        scores = Spread()
        for example in examples:
            for target in example.targets if example.scored else ():
                scores.add(target)
        for remark in remarks(scores, self.loss) if scores.count else ():
            self.reporter.notice(f"in the first {scores.count:,} rows, {remark}")

    def _wait(self, ranges: Sequence[tuple[int, int]], seed: int, epoch: int) -> None:
        """Wait until the shards that are needed now are here.

        Raises:
            CorpusError: One cannot be downloaded.
        """
        for one, where in zip(self.tables, ranges, strict=True):
            files = one.table.files
            for name in one.needed(*where, seed, epoch):
                if self.ahead and self.ahead.is_of(files, name):
                    self.ahead.wait(self.between)
                if files.cached(name) is None:
                    self.ahead = Download(files, name)
                    self.ahead.wait(self.between)
                    if self.ahead.error:
                        raise self.ahead.error

    def _fetch_ahead(self, ranges: Sequence[tuple[int, int]], seed: int, epoch: int) -> None:
        """Begin to download the shard that is needed next, unless it is here or one is coming."""
        last = self.ahead
        if last and last.thread.is_alive():
            return
        waiting = [
            (first / len(one), at, name)
            for at, (one, (_, end)) in enumerate(zip(self.tables, ranges, strict=True))
            for first, _, name in one.spans(seed, epoch)
            if first >= end
        ]
        if not waiting:
            return
        _, at, name = min(waiting)
        files = self.tables[at].table.files
        if last and last.error and last.is_of(files, name):
            # It is tried again when it is needed.
            if not last.told:
                self.reporter.notice(f"{last.error}; trying again when it is needed")
            last.told = True
        elif files.cached(name) is None:
            self.reporter.notice(f"downloading {name} of {files.repository} ahead")
            self.ahead = Download(replace(files, reporter=Silence()), name)


def _counted(one: TableRows) -> DataFile:
    rows = len(one)
    scored, listed = (rows, 0) if one.scored else (0, rows)
    return DataFile(one.table.name, scored, listed, Counter({one.table.licence: rows}))
