"""A collection by name -> its documents' files, queries, judgements and candidates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ettin_cli.collections.fetching import DatasetFiles, dataset_files
from ettin_cli.collections.layout import (
    CANDIDATES,
    CORPUS,
    JUDGEMENTS,
    QUERIES,
    Layout,
    card_metadata,
    files_of,
    layout_of,
)
from ettin_cli.collections.registry import Collection, licence_in_words, named
from ettin_cli.corpus import RecordError, table_reader_of
from ettin_cli.errors import CommitGoneError, CorpusError
from ettin_cli.files import without_spaces
from ettin_cli.records import Query, Reporter
from ettin_cli.storage import UnreadableError

ID = ("_id", "id")
TEXT = ("text", "query")

Judged = dict[str, dict[str, int]]


@dataclass(frozen=True, slots=True)
class GivenCandidates:
    """The documents that a collection comes with for each query.

    Args:
        ranked: query_id -> doc_ids, best first.
        texts: doc_id -> text of every document.
    """

    ranked: Mapping[str, Sequence[str]]
    texts: Mapping[str, str]


class OpenCollection:
    """A collection whose files are downloaded when they are first needed.

    Args:
        split: The split of the judgements.
    """

    def __init__(
        self, collection: Collection, split: str, *, offline: bool, reporter: Reporter
    ) -> None:
        self.collection, self.split = collection, split
        self._offline, self._reporter = offline, reporter
        self._licence_shown = False
        self._pinned: dict[str, str | None] = {
            collection.repository: collection.revision,
            **({collection.judgements: None} if collection.judgements else {}),
        }
        self._begun: set[str] = set()

    @property
    def name(self) -> str:
        """Its name, with the split if it is not the usual one."""
        usual = self.split == self.collection.split
        return self.collection.name if usual else f"{self.collection.name}:{self.split}"

    @property
    def licence(self) -> str:
        """The licence in words."""
        return licence_in_words(self.collection.licence)

    @property
    def origin(self) -> str:
        """The repositories with their commits, and the licence."""
        repositories = dict.fromkeys(
            f"{files.repository}@{files.commit}" for files in (self._files, self._judgements)
        )
        return f"{self.name}: {' and '.join(repositories)}, {self.licence}"

    @property
    def commits(self) -> Mapping[str, str]:
        """The commit of each of its repositories.

        Raises:
            CorpusError: One is not known, and the hub cannot be asked.
        """
        return {files.repository: files.commit for files in (self._files, self._judgements)}

    def pin(self, commits: Mapping[str, str]) -> None:
        """Read these commits of its repositories and no others, as another process does."""
        for repository, commit in commits.items():
            self._pinned[repository] = commit
            self._forget(repository, unless=commit)

    @cached_property
    def corpus(self) -> list[Path]:
        """The files of its documents.

        Raises:
            CorpusError: They are not on this machine and cannot be downloaded; so for the others.
        """
        return self._paths(CORPUS)

    @cached_property
    def qrels(self) -> Judged:
        """The judgements by query_id and doc_id. Of two for the same pair, the last counts."""
        judged: Judged = {}
        paths = self._paths(JUDGEMENTS, exact=True)
        for place, record in _records(paths):
            of_query = judged.setdefault(_id(record.get("query-id"), "query-id", place), {})
            doc_ids = record.get("corpus-id")
            for doc_id in doc_ids if isinstance(doc_ids, list) else [doc_ids]:
                of_query[_id(doc_id, "corpus-id", place)] = _relevance(record, place)
        return judged

    @cached_property
    def queries(self) -> list[Query]:
        """The queries with judgements."""
        judged, paths = self.qrels, self._paths(QUERIES)
        queries = [
            Query(without_spaces(_text(record, ID, place)), _text(record, TEXT, place))
            for place, record in _records(paths)
        ]
        return [query for query in queries if query.query_id in judged]

    def candidates(self) -> GivenCandidates:
        """Return the candidates that it comes with.

        Raises:
            CorpusError: It has none.
        """
        if not self.collection.has_candidates:
            raise CorpusError(
                f"{self.collection.name} comes without candidates to rerank",
                code="no-candidates",
                name=self.collection.name,
            )
        ranked = {}
        for place, record in _records(self._paths(CANDIDATES)):
            doc_ids = record.get("corpus-ids")
            if not isinstance(doc_ids, list):
                raise CorpusError(f"{place}: no list of corpus-ids")
            query_id = _id(record.get("query-id"), "query-id", place)
            ranked[query_id] = [_id(doc_id, "corpus-ids", place) for doc_id in doc_ids]
        texts = {
            without_spaces(_text(record, ID, place)): _text(record, ("text",), place)
            for place, record in _records(self.corpus)
        }
        return GivenCandidates(ranked, texts)

    @cached_property
    def _files(self) -> DatasetFiles:
        return self._dataset(self.collection.repository)

    @cached_property
    def _judgements(self) -> DatasetFiles:
        if self.collection.judgements is None:
            return self._files
        return self._dataset(self.collection.judgements)

    @cached_property
    def _layout(self) -> Layout:
        return layout_of(self._files.sizes, card_metadata(self._files.card()))

    @cached_property
    def _layout_of_judgements(self) -> Layout:
        if self.collection.judgements is None:
            return self._layout
        return layout_of(self._judgements.sizes, card_metadata(self._judgements.card()))

    def _dataset(self, repository: str) -> DatasetFiles:
        revision = self._pinned[repository]
        return dataset_files(repository, revision, offline=self._offline, reporter=self._reporter)

    def _forget(self, repository: str, unless: str | None = None) -> None:
        """Forget what is known of a repository, unless it is of this commit."""
        for files, layout in (("_files", "_layout"), ("_judgements", "_layout_of_judgements")):
            known = self.__dict__.get(files)
            if known and known.repository == repository and known.commit != unless:
                del self.__dict__[files]
                self.__dict__.pop(layout, None)

    def _paths(self, configs: Sequence[str], *, exact: bool = False) -> list[Path]:
        try:
            paths = self._found(configs, exact=exact)
        except CommitGoneError as error:
            repository = error.fields["name"]
            if repository in self._begun or self._pinned[repository]:
                # What was read is of the old commit; the next command begins with the newest.
                raise
            self._reporter.notice(f"{error.problem}; reading the newest")
            self._forget(repository)
            paths = self._found(configs, exact=exact)
        self._begun.add((self._judgements if configs is JUDGEMENTS else self._files).repository)
        return paths

    def _found(self, configs: Sequence[str], *, exact: bool) -> list[Path]:
        if configs is JUDGEMENTS:
            files, layout = self._judgements, self._layout_of_judgements
        else:
            files, layout = self._files, self._layout
        names = files_of(
            layout,
            configs,
            self.split,
            exact=exact,
            name=self.collection.name,
            repository=files.repository,
        )
        if not self._licence_shown and any(files.cached(name) is None for name in names):
            # Before anything of it is downloaded.
            self._licence_shown = True
            self._reporter.notice(f"{self.collection.name}: {self.licence}")
        return files.paths(names)


def open_collection(name: str, *, offline: bool, reporter: Reporter) -> OpenCollection:
    """Return the collection of a name; nothing is downloaded yet.

    Args:
        name: As in "beir/scifact", or with a split as in "beir/scifact:train".

    Raises:
        CorpusError: There is no such collection.
    """
    collection, split = named(name)
    return OpenCollection(collection, split, offline=offline, reporter=reporter)


def _records(paths: Sequence[Path]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the place and the fields of each row of some tables."""
    for path in paths:
        reader = table_reader_of(path.name)
        if reader is None:
            raise CorpusError(f"{path} is not a table that can be read", code="cannot-read")
        try:
            for record, line, number in reader.rows(path):
                place = f"{path}:{line or number}"
                if isinstance(record, RecordError) or not isinstance(record, dict):
                    raise CorpusError(f"{place}: {record}")
                yield place, record
        except UnreadableError as error:
            raise CorpusError(f"{path}: {error}", code="cannot-read", path=path) from error


def _text(record: Mapping[str, Any], names: Sequence[str], place: str) -> str:
    value = next((record[name] for name in names if record.get(name) is not None), None)
    if not isinstance(value, str | int):
        raise CorpusError(f"{place}: no {' or '.join(names)}")
    return str(value)


def _id(value: object, name: str, place: str) -> str:
    """Return the ID of a query or document in a judgement or a list of candidates."""
    if not isinstance(value, str | int) or value == "":
        raise CorpusError(f"{place}: no {name}")
    return without_spaces(str(value))


def _relevance(record: Mapping[str, Any], place: str) -> int:
    """Return the relevance of a judgement; without a score, every judged document is relevant."""
    value = record.get("score", 1)
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise CorpusError(f"{place}: relevance {value!r} is not a number") from None
    if not number.is_integer():
        raise CorpusError(f"{place}: relevance {value!r} is not an integer")
    return int(number)
