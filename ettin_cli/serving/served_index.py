"""An index that requests search: always its newest generation, and never a mix of two."""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from ettin_cli.errors import CalibrationError, EttinError
from ettin_cli.index import Index
from ettin_cli.indexing import out_of_date
from ettin_cli.platforms import quoted
from ettin_cli.searching import RerankerCascade, Searcher
from ettin_cli.searching.calibration import Calibration, is_calibrated, load
from ettin_cli.serving.scheduled_models import ScheduledModels
from ettin_cli.serving.served_models import ServedReranker
from ettin_cli.settings import TRUNCATE

# Searchers of one generation that are kept, each for other retrievers and rerankers.
KEPT = 16
# Seconds for which the number of changed files is remembered, as counting reads the sources.
FRESH_S = 10.0
# Metadata fields and values that are listed.
MAX_FIELDS, MAX_VALUES = 20, 20


@dataclass(slots=True, eq=False)
class _Opened:
    """A generation that is open, and what is known of it.

    Args:
        stale: When the changed files were counted, and how many there were.
    """

    index: Index
    searchers: OrderedDict[tuple[Any, ...], Searcher] = field(default_factory=OrderedDict)
    stale: tuple[float, int] = (0.0, 0)
    _fields: dict[str, list[dict[str, Any]]] | None = None

    @property
    def fields(self) -> dict[str, list[dict[str, Any]]]:
        """The metadata fields with their most frequent values, and how many documents."""
        if self._fields is None:
            self._fields = field_values(self.index)
        return self._fields


class ServedIndex:
    """An index of a server, by its name."""

    def __init__(
        self, name: str, folder: Path, models: ScheduledModels, long: str = TRUNCATE
    ) -> None:
        self.name, self.folder, self.models, self.long = name, folder, models, long
        self._lock = threading.Lock()
        self._opened: _Opened | None = None

    def load(self) -> str:
        """Open the index and load its embedder, and return what was opened.

        Raises:
            EttinError: One of them cannot be opened.
        """
        index = self.current()
        embedder = self.models.embedder_of(index)
        counts = index.manifest.counts
        held = f"{self.folder}, {counts.documents:,} documents, embedder {embedder.card.name}"
        return f"index {self.name} is open: {held}"

    def current(self) -> Index:
        """Return the newest generation, opened.

        Raises:
            IndexNotFoundError: The index no longer exists.
            IndexDamagedError: It is damaged.
        """
        return self._current().index

    def _current(self) -> _Opened:
        with self._lock:
            if self._opened is None or self._opened.index.is_outdated():
                # What still searches the generation before keeps it open.
                self._opened = _Opened(Index(self.folder))
            return self._opened

    def searcher(
        self, rerankers: RerankerCascade | None, retriever: str, *, expand: bool
    ) -> Searcher:
        """Return a searcher of the newest generation.

        Raises:
            InvalidArgumentError: The retriever is unknown.
            IndexNotFoundError: The index no longer exists.
            IndexDamagedError: It is damaged.
        """
        opened = self._current()
        key = (rerankers and rerankers.name, retriever, expand)
        with self._lock:
            searchers = opened.searchers
            found = searchers.get(key)
            if found is None:
                found = searchers[key] = Searcher(
                    opened.index,
                    self.models,
                    retriever=retriever,
                    rerankers=rerankers,
                    expand=expand,
                    long=self.long if rerankers else TRUNCATE,
                )
            searchers.move_to_end(key)
            if len(searchers) > KEPT:
                searchers.popitem(last=False)
        return found

    def description(self) -> dict[str, Any]:
        """Return what the index holds, and how old it is.

        Raises:
            IndexNotFoundError: The index no longer exists.
            IndexDamagedError: It is damaged.
        """
        opened = self._current()
        manifest = opened.index.manifest
        return {
            "name": self.name,
            "generation": manifest.generation,
            "documents": manifest.counts.documents,
            "passages": manifest.counts.passages,
            "rejected": manifest.counts.rejected,
            "sources": [source.location for source in manifest.sources],
            "fields": opened.fields,
            "embedder": manifest.embedder.name,
            "language": manifest.language,
            "updated": manifest.created,
            "stale": self._stale_files(opened),
            "refresh": self._refresh,
        }

    @property
    def _refresh(self) -> str:
        """The command that updates the index."""
        return f"ettin index -i {quoted(str(self.folder.resolve()))}"

    def unavailable(self, problem: str) -> dict[str, Any]:
        """Return the description of an index that cannot be opened now."""
        return {
            "name": self.name,
            "generation": None,
            "documents": 0,
            "passages": 0,
            "rejected": 0,
            "sources": [],
            "fields": {},
            "embedder": None,
            "language": None,
            "updated": None,
            "stale": None,
            "refresh": self._refresh,
            "watch": None,
            "error": problem,
        }

    def calibration(self, reranker: ServedReranker) -> Calibration | None:
        """Return the calibration of the index for a loaded reranker; None if it has none."""
        try:
            if is_calibrated(self.folder, reranker.resolved):
                long = reranker.long
                return load(self.folder, reranker.resolved, reranker.limit, long=long)
        except CalibrationError:
            # The hits of searches tell why.
            return None
        return None

    def figures(self) -> dict[str, float]:
        """Return the counts and the age of the generation that was opened last, for metrics."""
        if self._opened is None:
            return {}
        index = self._opened.index
        updated = datetime.fromisoformat(index.manifest.created).timestamp()
        counts = index.manifest.counts
        return {
            "documents": counts.documents,
            "passages": counts.passages,
            "updated_seconds": updated,
        }

    def _stale_files(self, opened: _Opened) -> int | None:
        """Return how many files are new, changed or gone; None if that cannot be told."""
        when, number = opened.stale
        if when and time.monotonic() - when < FRESH_S:
            return number
        try:
            plan = out_of_date(self.folder, opened.index)
        except (EttinError, OSError):
            return None
        number = len(plan.new) + len(plan.changed) + len(plan.gone)
        opened.stale = time.monotonic(), number
        return number


def field_values(index: Index) -> dict[str, list[dict[str, Any]]]:
    """Return the metadata fields of documents with their most frequent values.

    Fields of which no value is in two documents are left out.
    """
    import orjson

    counts: dict[str, Counter[str]] = {}
    before = ""
    for doc_ids, metadata in index.passages.blocks("doc_id", "metadata"):
        for doc_id, record in zip(doc_ids.to_pylist(), metadata.to_pylist(), strict=True):
            if doc_id != before and record:
                for name, value in orjson.loads(record).items():
                    counts.setdefault(name, Counter()).update(values_of(value))
            before = doc_id
    telling = {
        name: values for name, values in counts.items() if max(values.values(), default=0) > 1
    }
    return {name: listed(telling[name]) for name in list(telling)[:MAX_FIELDS]}


def values_of(value: object) -> set[str]:
    """Return the values of a metadata field as a filter names them.

    >>> sorted(values_of(["west", 3, True, None]))
    ['3', 'true', 'west']
    """
    items = value if isinstance(value, list) else [value]
    return {
        str(item).lower() if isinstance(item, bool) else str(item)
        for item in items
        if isinstance(item, str | int | float)
    }


def listed(counts: Counter[str]) -> list[dict[str, Any]]:
    """Return values with their counts, most frequent first.

    >>> listed(Counter(["west", "east", "west"]))
    [{'value': 'west', 'count': 2}, {'value': 'east', 'count': 1}]
    """
    ordered: Sequence[tuple[str, int]] = sorted(
        counts.items(), key=lambda item: (-item[1], item[0])
    )
    return [{"value": value, "count": number} for value, number in ordered[:MAX_VALUES]]
