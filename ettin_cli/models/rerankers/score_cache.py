"""A reranker that caches its scores on disk, so that no later run scores a pair again."""

from __future__ import annotations

import random
import re
import sqlite3
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Self, TypeVar

from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.engines.torch_devices import device_name
from ettin_cli.models.rerankers.empty_texts import no_scores, with_text
from ettin_cli.models.rerankers.kept_scores import ModelProperties, ScoredPair, ScoreStore
from ettin_cli.models.rerankers.resolved import ResolvedReranker
from ettin_cli.records import Advance, Pair, Reporter, Reranker, RerankerCard, Scores, no_progress
from ettin_cli.settings import cache_folder
from ettin_cli.storage import private_folder

if TYPE_CHECKING:
    from ettin_cli.records import Floats

T = TypeVar("T")

SCORES = "scores"
# Increase when rows are stored in another way, or a model gives other bits than before.
SCORES_FORMAT = 3
FILE = "scores.sqlite"
CHUNK = 512
# Chunks in a call of a reranker that several calls keep busy, for each of them.
AT_ONCE = 8
ROW = "<f?f"
BUSY_S = 30.0
LIBRARIES = (
    *("torch", "transformers", "sentence-transformers", "flash-attn"),
    *("onnxruntime", "openvino", "tokenizers"),
)
TABLES = (
    "CREATE TABLE IF NOT EXISTS scores (pair BLOB PRIMARY KEY, verdict BLOB) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS model (id INTEGER PRIMARY KEY, engine TEXT, max_tokens INTEGER)",
)
# A new file would raise these too; any other error means that the file is unusable.
NOT_DAMAGE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_READONLY,
}


class CachedReranker:
    """Scores like the wrapped reranker, but each pair only once, across runs.

    The cache is separate for each model, device, dtype, token limit and library version. Problems
    with the cache file cost time and a notice, but never change a score or end a run.

    Args:
        resolved: The wrapped reranker.
        settings: Its settings.
        load: Loads it. Called once, when a score is missing; not at all if all are cached.
        store: Where scores are found and kept; None: in its file of the cache.
    """

    def __init__(
        self,
        resolved: ResolvedReranker,
        settings: EngineSettings,
        load: Callable[[], Reranker],
        reporter: Reporter,
        store: ScoreStore | None = None,
    ) -> None:
        self.name, self.reads_pairs = resolved.name, resolved.reads_pairs
        self._load = load
        self._reranker: Reranker | None = None
        self._loading = Lock()
        self._store = store or ScoreFile.of(resolved, settings, reporter)
        self._model = self._store.model()

    @property
    def card(self) -> RerankerCard:
        """The reranker's card; loads the model only if it was never loaded before."""
        return RerankerCard(self.name, *self._known_model(), self.reads_pairs)

    def score(self, pairs: Sequence[Pair], advance: Advance = no_progress) -> Scores:
        """Score (query, text) pairs, in their order, with exactly the scores of the first time."""
        return self.timed(pairs, advance)[0]

    def timed(self, pairs: Sequence[Pair], advance: Advance = no_progress) -> tuple[Scores, Floats]:
        """Return the scores, and the seconds that scoring each pair took.

        A pair's seconds are its share of the call that scored it, so they are meaningful even if
        every score comes from the cache. Scores are saved as they are computed: an interruption
        loses at most the last 512 (of a GPU the last 8,192, of several the last 4,096 of each), or
        those of as many texts if a text is encoded once for all of its queries.
        """
        import numpy as np

        read = with_text(pairs)
        scores, spent = no_scores(len(pairs)), np.zeros(len(pairs), np.float32)
        advance(len(pairs) - len(read))
        some, seconds = self._timed([pairs[at] for at in read], advance)
        scores.values[read], scores.truncated[read] = some.values, some.truncated
        spent[read] = seconds
        return scores, spent

    def _timed(self, pairs: Sequence[Pair], advance: Advance) -> tuple[Scores, Floats]:
        keys, rows = self._cached(pairs)
        if self._reranker is None and not rows.keys() >= set(keys):
            self._loaded()
            # The backend may differ from the remembered one.
            keys, rows = self._cached(pairs)
        distinct = dict(zip(keys, pairs, strict=True)).items()
        missing = [(key, pair) for key, pair in distinct if key not in rows]
        # Pairs with the same text are scored together: late interaction encodes it once per call.
        missing.sort(key=lambda one: one[1][1])
        advance(len(pairs) - len(missing))
        for chunk in self._chunks(missing):
            fresh = self._scored(chunk, advance)
            self._store.add(fresh)
            rows.update(fresh)
        return _columns([rows[key] for key in keys])

    def _chunks(
        self, missing: Sequence[tuple[bytes, Pair]]
    ) -> Iterator[Sequence[tuple[bytes, Pair]]]:
        """Yield parts of pairs sorted by text: CHUNK pairs, or all pairs of CHUNK texts.

        They are larger where a GPU would wait between them.
        """
        if not missing:
            return
        at_once = self._loaded().card.at_once
        size = CHUNK if at_once == 1 else CHUNK * AT_ONCE * at_once
        texts = [text for _, (_, text) in missing]
        begins = [
            at
            for at in range(len(texts))
            if self.reads_pairs or at == 0 or texts[at] != texts[at - 1]
        ]
        bounds = [*begins[::size], len(missing)]
        yield from (missing[begin:end] for begin, end in pairwise(bounds))

    def _cached(self, pairs: Sequence[Pair]) -> tuple[list[bytes], dict[bytes, ScoredPair]]:
        model = self._known_model()
        keys = [_pair_key(model, pair) for pair in pairs]
        return keys, self._store.find(keys)

    def _scored(
        self, chunk: Sequence[tuple[bytes, Pair]], advance: Advance
    ) -> dict[bytes, ScoredPair]:
        began = time.perf_counter()
        scores = self._loaded().score([pair for _, pair in chunk], advance)
        seconds = (time.perf_counter() - began) / len(chunk)
        verdicts = zip(scores.values.tolist(), scores.truncated.tolist(), strict=True)
        return {
            key: ScoredPair(score, cut, seconds)
            for (key, _), (score, cut) in zip(chunk, verdicts, strict=True)
        }

    def _loaded(self) -> Reranker:
        with self._loading:
            if self._reranker is None:
                loaded = self._load()
                self._model = ModelProperties.of(loaded.card)
                self._store.remember(self._model)
                self._reranker = loaded
            return self._reranker

    def _known_model(self) -> ModelProperties:
        # Workers may have loaded it since.
        self._model = self._model or self._store.model()
        return self._model or ModelProperties.of(self._loaded().card)


def _opened(key: object, sealed: object) -> ScoredPair | None:
    """Return a row sealed with this key, or None if the checksum does not match."""
    size = struct.calcsize(ROW)
    # In a damaged file either can be NULL.
    if not isinstance(key, bytes) or not isinstance(sealed, bytes):
        return None
    if sealed[size:] != _seal(key + sealed[:size]):
        return None
    return ScoredPair(*struct.unpack(ROW, sealed[:size]))


def _sealed(key: bytes, pair: ScoredPair) -> bytes:
    """Return a scored pair with a checksum, since SQLite would not detect a flipped bit."""
    body = struct.pack(ROW, *pair)
    return body + _seal(key + body)


def _seal(content: bytes) -> bytes:
    import xxhash

    return xxhash.xxh32_digest(content)


def _columns(rows: Sequence[ScoredPair]) -> tuple[Scores, Floats]:
    import numpy as np

    values = np.array([row.score for row in rows], np.float32)
    truncated = np.array([row.truncated for row in rows], np.bool_)
    return Scores(values, truncated), np.array([row.seconds for row in rows], np.float32)


class ScoreFile:
    """An SQLite file of scores, opened for each operation."""

    def __init__(self, path: Path, reporter: Reporter) -> None:
        self.path, self.reporter = path, reporter
        self.warned = False

    @classmethod
    def of(cls, resolved: ResolvedReranker, settings: EngineSettings, reporter: Reporter) -> Self:
        """Return the file of a reranker's scores in the cache."""
        return cls(score_folder(resolved, settings) / FILE, reporter)

    def model(self) -> ModelProperties | None:
        """Return the properties remembered when the model was last loaded."""
        row = self._attempt(_select_model, None)
        return ModelProperties(*row) if row else None

    def remember(self, model: ModelProperties) -> None:
        """Keep the properties of a model that was loaded."""
        self._insert("model", [(1, *model)])

    def find(self, keys: Sequence[bytes]) -> dict[bytes, ScoredPair]:
        """Return the intact rows with these keys."""
        return self._attempt(lambda connection: dict(_select(connection, keys)), {})

    def add(self, pairs: Mapping[bytes, ScoredPair]) -> None:
        """Keep scored pairs."""
        self._insert("scores", [(key, _sealed(key, pair)) for key, pair in pairs.items()])

    def _insert(self, table: str, rows: Sequence[tuple[object, ...]]) -> None:
        marks = ", ".join("?" * len(rows[0]))
        insert = f"INSERT OR REPLACE INTO {table} VALUES ({marks})"
        self._attempt(lambda connection: connection.executemany(insert, rows), None)

    def _attempt(self, work: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        deadline = time.monotonic() + BUSY_S
        while True:
            try:
                return self._worked(work)
            except (sqlite3.Error, OSError) as error:
                # SQLite does not wait, whatever its timeout, for another process that enables
                # the log or that wrote between our read and our write.
                if _primary_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    self._overcome(error)
                    return otherwise
            time.sleep(random.uniform(0.001, 0.02))

    def _worked(self, work: Callable[[sqlite3.Connection], T]) -> T:
        private_folder(self.path.parent)
        with closing(sqlite3.connect(self.path, timeout=BUSY_S)) as connection, connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            for table in TABLES:
                connection.execute(table)
            return work(connection)

    def _overcome(self, error: sqlite3.Error | OSError) -> None:
        """Replace a damaged file by a new one; report any other problem once."""
        if isinstance(error, sqlite3.Error) and _primary_code(error) not in NOT_DAMAGE:
            aside = self.path.with_name(self.path.name + ".damaged")
            with suppress(OSError):
                # SQLite itself removes a log without a database.
                self.path.replace(aside)
                self.reporter.notice(
                    f"{self.path} is damaged ({error}): moved to {aside.name}, starting over"
                )
                return
        if not self.warned:
            self.reporter.notice(f"cannot cache all scores in {self.path.parent}: {error}")
        self.warned = True


def _primary_code(error: Exception) -> int:
    """Return SQLite's primary error code; SQLITE_CORRUPT if there is none."""
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    return code & 0xFF


def _select_model(connection: sqlite3.Connection) -> tuple[str, int] | None:
    row: tuple[str, int] | None = connection.execute(
        "SELECT engine, max_tokens FROM model"
    ).fetchone()
    return row


def _select(
    connection: sqlite3.Connection, keys: Sequence[bytes]
) -> Iterable[tuple[bytes, ScoredPair]]:
    for begin in range(0, len(keys), CHUNK):
        some = keys[begin : begin + CHUNK]
        marks = ", ".join("?" * len(some))
        select = f"SELECT pair, verdict FROM scores WHERE pair IN ({marks})"
        for key, sealed in connection.execute(select, some):
            row = _opened(key, sealed)
            if row is not None:
                yield key, row


def _pair_key(model: ModelProperties, pair: Pair) -> bytes:
    import xxhash

    query, text = pair
    key = f"{model.backend}\0{model.max_tokens}\0{len(query)}\0{query}{text}"
    return xxhash.xxh3_128_digest(key.encode("utf-8", "surrogatepass"))


def score_folder(reranker: ResolvedReranker, settings: EngineSettings) -> Path:
    """Return the cache folder for a reranker's scores under these settings.

    Batch size and threads are not part of its name, since they change scores only by rounding.
    """
    import xxhash

    libraries = list(library_versions().values())
    settled = (device_name(settings.device), settings.dtype, settings.max_length, libraries)
    what = f"({SCORES_FORMAT}, {reranker.identity}, {repr(settled)[1:]}"
    name = re.sub(r"[^\w.-]", "-", Path(reranker.name).name)[:60]
    return cache_folder() / SCORES / f"{name}-{xxhash.xxh3_64_hexdigest(what.encode())}"


def library_versions() -> dict[str, str | None]:
    """Return the versions of the libraries that compute scores; None if not installed."""
    return {library: _version(library) for library in LIBRARIES}


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None
