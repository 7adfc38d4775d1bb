"""The calls of a session that mine training data and train rerankers."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ettin_cli.api.indexing import IndexingCalls
from ettin_cli.corpus import document_stream
from ettin_cli.errors import CorpusError, InvalidArgumentError
from ettin_cli.platforms import exists
from ettin_cli.records import Qrels, Query, Silence, require_least, require_list, require_type
from ettin_cli.settings import AUTO, CANDIDATES, CHECKPOINT_MINUTES, NEGATIVES, SEED
from ettin_cli.storage import Stream

if TYPE_CHECKING:
    from ettin_cli.collections import OpenCollection, Table
    from ettin_cli.index import Index
    from ettin_cli.models.rerankers import ResolvedReranker
    from ettin_cli.training import (
        Measure,
        Mined,
        MiningOptions,
        PositiveRow,
        Processes,
        Trained,
    )


# The split of a collection to train on: the others are to evaluate on.
TRAIN = "train"


class TrainingCalls(IndexingCalls):
    """Mine hard negatives, and train rerankers."""

    def mine(
        self,
        index: str | os.PathLike[str] | None,
        queries: Iterable[Query | PositiveRow],
        qrels: Qrels | None = None,
        *,
        retriever: str = AUTO,
        negatives: int = NEGATIVES,
        candidates: int = CANDIDATES,
        skip_top: int = 0,
        max_score_ratio: float | None = None,
        reranker: str | None = None,
        ignores_own: bool = False,
    ) -> Iterator[Mined]:
        """Yield hard negatives for each query: passages that rank high but are not positives.

        Args:
            index: As in `open`.
            queries: Queries with `qrels`; else rows with "query" and "positive", a text or a list.
            qrels: By query_id and doc_id, the relevance; positives have one above 0.
            retriever: As in `open`.
            negatives: Maximum negatives per query.
            candidates: Passages to retrieve per query.
            skip_top: Top passages to skip that are not positives.
            max_score_ratio: Maximum score of a negative, as a share of the query's lowest positive.
            reranker: Applies `max_score_ratio` to its scores, not to those of retrieval.
            ignores_own: Whether the document with a query's own id is no negative.

        Returns:
            A `Mined` per query; its `to_dict()` is a row of training data. A query without
            positives or negatives is included.

        Raises:
            InvalidArgumentError: An argument is unknown or out of range.
            CorpusError: A row has no query or no positive.

        Example:
            >>> documents = [
            ...     {"_id": "ferry", "text": "The ferry sails at nine."},
            ...     {"_id": "fare", "text": "A ferry ticket costs two coins."},
            ... ]
            >>> with ettin.Session(offline=True) as session:
            ...     report = session.build(documents=documents, into="timetable")
            ...     queries = [ettin.Query("1", "when does the ferry sail")]
            ...     [mined] = session.mine("timetable", queries, {"1": {"ferry": 1}})
            >>> mined.to_dict()["positive"], mined.to_dict()["negative_ids"]
            (['The ferry sails at nine.'], ['fare'])
        """
        from ettin_cli.index import Index, find_index
        from ettin_cli.searching import require_retriever
        from ettin_cli.training import MiningOptions

        require_list(queries, "queries")
        if qrels is not None:
            require_type(qrels, (Mapping,), "qrels")
        require_retriever(retriever)
        options = MiningOptions(negatives, candidates, skip_top, max_score_ratio, ignores_own)
        options.require_margin(reranker)
        opened = Index(find_index(index))
        found = None if reranker is None else self.models.find_reranker(reranker)
        return self._mined(opened, queries, qrels, retriever, found, options)

    def _mined(
        self,
        index: Index,
        queries: Iterable[Query | PositiveRow],
        qrels: Qrels | None,
        retriever: str,
        reranker: ResolvedReranker | None,
        options: MiningOptions,
    ) -> Iterator[Mined]:
        from ettin_cli.searching import choose_retriever
        from ettin_cli.training import mine, sought_in

        models, reporter = self.models, self.models.reporter
        with index, sought_in(index, queries, qrels, reporter) as (sought, total):
            model = models.reranker(reranker) if reranker else None
            embedder = partial(models.embedder_of, index)
            retrieve = choose_retriever(retriever, index, embedder, reporter)
            yield from mine(index, sought, total, retrieve, model, options, reporter)

    def train(
        self,
        *data: str | os.PathLike[str],
        base: str,
        output: str | os.PathLike[str],
        rows: Iterable[Mapping[str, Any]] | None = None,
        sample: int | None = None,
        recipe: str | None = None,
        loss: str | None = None,
        epochs: int | None = None,
        steps: int | None = None,
        hours: float | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        lora: int | None = None,
        seed: int = SEED,
        eval: str | os.PathLike[str] | None = None,
        resume: bool = False,
        checkpoint_minutes: float = CHECKPOINT_MINUTES,
        license: str | None = None,
        processes: Processes | None = None,
    ) -> Trained:
        """Train a reranker from an encoder or another reranker.

        Args:
            data: JSONL, CSV, TSV or Parquet files. A row has "query", "document" (or "text") and
                "score" (or "label"), or "query", "positive" and "negatives". Or names of public
                collections: their split train, with negatives as `mine` finds them. Or datasets of
                the hub, as in "owner/name" or "owner/name/configuration", with such rows in
                Parquet, which are downloaded while training.
            base: A name from `ettin models`, a hub id or a folder. A cross-encoder keeps its head;
                another encoder gets a new head of Ettin's shape.
            output: The folder to write. It appears once the model is complete.
            rows: More rows, as in the files.
            sample: Train on so many rows, chosen at random in proportion; None: all.
            recipe: "ettin": the loss, rows per step and learning rate of the Ettin release even
                for few rows, `eval` "nanobeir", and a measurement after each 5% of the run. What
                is passed has precedence. None: adapted to the number of rows.
            loss: "mse", "margin-mse", "listwise" or "bce"; None: mse for scores, else listwise.
            epochs: Training ends at the first of `epochs`, `steps` and `hours`; None: 1 epoch.
            batch_size: Rows per step; None: as in the Ettin recipe, as is the learning rate.
            lora: Rank of the update to every linear layer; None: train all weights.
            seed: Random seed for data order, dropout and the new head.
            eval: A BEIR folder, the name of a public collection, or "nanobeir". nDCG@10 is measured
                during training, and the best weights are kept.
            resume: Whether to resume an unfinished run of the same arguments.
            checkpoint_minutes: Minutes between checkpoints; 0: every step.
            license: The licence of the model, for its card.
            processes: This process in a distributed run. None: it is the only one.

        Returns:
            The recipe with its batch size, learning rate and epochs filled in; the steps and the
            losses; and the number of rejected rows.

        Raises:
            InvalidArgumentError: An argument is unknown or out of range.
            CorpusError: A file cannot be read, a dataset cannot be had, or there are no rows that
                the loss can use.
            ModelError: The base cannot be loaded, the loss is not finite, or memory is too small.
            OutputError: The folder exists, cannot be written, or holds another unfinished run.

        Example:
            >>> rows = [
            ...     {"query": "ferry", "document": "It sails at nine.", "score": 2.5},
            ...     {"query": "ferry", "document": "Bread is at noon.", "score": -4.0},
            ... ]
            >>> with ettin.Session(offline=True) as session:
            ...     trained = session.train(base="embedded", output="mine", rows=rows, steps=1)
            ...     ranked = session.reranker("./mine").rank("ferry", ["It sails.", "Bread."])
            >>> trained.progress.step, trained.recipe.batch_size, len(ranked.hits)
            (1, 16, 2)
        """
        from ettin_cli.collections import NANOBEIR
        from ettin_cli.models import find_model
        from ettin_cli.training import (
            ALONE,
            ETTIN,
            MSE,
            DataRequest,
            ModelFolder,
            Recipe,
            TrainRequest,
            check_recipe,
            read_data,
            train,
        )

        if not data and rows is None:
            raise InvalidArgumentError("pass files or rows to train on", argument="data")
        require_least(sample, 1, "sample")
        models, processes = self.models, processes or ALONE
        if recipe == ETTIN:
            loss, eval = loss or MSE, eval or NANOBEIR
        chosen = Recipe(
            loss, epochs, steps, hours, batch_size, learning_rate, seed, lora, name=recipe
        )
        # Texts computed at once depend on memory, not on the rows per step.
        settings = replace(
            models.settings, batch_size=None, device=processes.device(models.settings.device)
        )
        check_recipe(chosen)
        folder = ModelFolder(Path(output), resume=resume)
        files = find_model(base, offline=models.offline, reporter=models.reporter)
        paths, datasets = self._paths_and_datasets(data, processes)
        if rows is not None:
            require_list(rows, "rows")
            paths.append(document_stream(rows))
        try:
            tables = self._same_tables(datasets, loss, processes)
        except CorpusError as error:
            if error.code != "collection-gone":
                raise
            problem = f"there is no such file here, and {error.problem}"
            raise CorpusError(problem, code=error.code, **error.fields) from error
        wanted = DataRequest(paths, tables, loss, sample, seed)
        with read_data(wanted, models.reporter) as read, ExitStack() as held:
            measure = None
            if eval is not None:
                own = self
                if settings != models.settings:
                    own = held.enter_context(
                        type(self)(settings, offline=models.offline, reporter=models.reporter)
                    )
                named = self._judged(eval)
                _pin(named, processes)
                # The main process builds the index first; the others reuse it.
                measure = processes.main_first(lambda: own._measure(eval, named, held))
            request = TrainRequest(
                files, read, chosen, settings, measure, checkpoint_minutes, license
            )
            return train(request, folder, models.reporter, processes)

    def _same_tables(
        self, names: Sequence[str], loss: str | None, processes: Processes
    ) -> list[Table]:
        """Return the tables of datasets at the commits that the main process finds."""
        from ettin_cli.training import usable_tables

        models = self.models

        def found() -> list[Table]:
            tables = usable_tables(names, loss, offline=models.offline, reporter=models.reporter)
            # Sent to the other processes, which report by themselves.
            return [table.reporting_to(Silence()) for table in tables]

        return [table.reporting_to(models.reporter) for table in processes.on_main(found)]

    def _paths_and_datasets(
        self, data: Sequence[str | os.PathLike[str]], processes: Processes
    ) -> tuple[list[Path | Stream], list[str]]:
        """Return what to train on as files, and as names of datasets.

        Raises:
            CorpusError: A file is missing. The hub is not asked for what looks like one.
        """
        from ettin_cli.collections import is_dataset_name
        from ettin_cli.corpus import resembles_table, table_reader_of

        paths: list[Path | Stream] = []
        datasets = []
        for one in data:
            require_type(one, (str, os.PathLike), "each of data")
            path = Path(one)
            name = path.as_posix()
            if found := self.collection(one, split=TRAIN):
                _pin([found], processes)
                paths.append(document_stream(self._mined_of(found, processes)))
            elif exists(path) or table_reader_of(path.name) or not is_dataset_name(name):
                paths.append(path)
            elif resembles_table(path.name):
                raise CorpusError(f"no such file: {path}", code="cannot-read", path=path)
            else:
                datasets.append(name)
        return paths, datasets

    def _mined_of(
        self, collection: OpenCollection, processes: Processes
    ) -> Iterator[Mapping[str, Any]]:
        """Yield the judged queries of a collection with their positives and mined negatives."""
        queries, qrels = collection.queries, collection.qrels

        def indexed() -> Path:
            index, report = self.index_of(collection.corpus)
            self._report_inputs(report)
            with index:
                return index.folder

        # The main process builds the index first; the others reuse it.
        folder, rows = processes.main_first(indexed), 0
        own = collection.collection
        for one in self.mine(folder, queries, qrels, ignores_own=own.ignores_own):
            if one.positives and one.negatives:
                rows += 1
                yield one.to_dict()
        self.models.reporter.notice(
            f"{collection.origin}; negatives for {rows:,} of {len(queries):,} queries"
        )

    def _judged(self, judged: str | os.PathLike[str]) -> list[OpenCollection]:
        """Return the collections to measure on: all of NanoBEIR, one, or none for a folder."""
        from ettin_cli.collections import NANOBEIR, family, open_collection

        if str(judged).lower() == NANOBEIR and not Path(judged).exists():
            offline, reporter = self.models.offline, self.models.reporter
            return [
                open_collection(one.name, offline=offline, reporter=reporter)
                for one in family(NANOBEIR)
            ]
        named = self.collection(judged)
        return [named] if named else []

    def _measure(
        self, judged: str | os.PathLike[str], collections: Sequence[OpenCollection], held: ExitStack
    ) -> Measure:
        """Return nDCG@10 on a BEIR folder, a collection or NanoBEIR.

        Args:
            collections: As `_judged` returns them.
            held: Closes the index in the end.
        """
        from ettin_cli.evaluation import METRIC, Validation
        from ettin_cli.files import QRELS, QUERIES, beir_file, read_qrels, read_queries
        from ettin_cli.searching import choose_retriever
        from ettin_cli.training import Measure

        if len(collections) > 1:
            return self._nanobeir(collections)
        named = next(iter(collections), None)
        if named:
            name, queries, qrels = named.name, named.queries, named.qrels
        else:
            folder = Path(judged)
            queries = list(read_queries(beir_file(folder, QUERIES)))
            name, qrels = folder.resolve().name, read_qrels(beir_file(folder, QRELS))
        index, report = self.index_of(named.corpus if named else [judged])
        held.enter_context(index)
        models, reporter = self.models, self.models.reporter
        self._report_inputs(report)
        if report.written:
            counts = index.manifest.counts
            reporter.notice(
                f"{index.folder}: {counts.documents:,} documents, {counts.passages:,} passages"
            )
        instruction = named.collection.instruction if named else None
        embedder = partial(models.instructed_embedder, index, instruction)
        retriever = choose_retriever(AUTO, index, embedder, reporter)
        ignores_own = named is not None and named.collection.ignores_own
        found = Validation(index, retriever, queries, qrels, ignores_own=ignores_own)
        told = f"{found.description}, of {name}"
        reporter.notice(f"{told}: {found.retrieval:.4f} by retrieval alone")
        return Measure(told, METRIC, found.retrieval, found.of)

    def _nanobeir(self, opened: Sequence[OpenCollection]) -> Measure:
        """Return the mean nDCG@10 of reranking the candidates of NanoBEIR."""
        from ettin_cli.evaluation import METRIC, GivenValidation
        from ettin_cli.training import Measure

        reporter = self.models.reporter
        found = GivenValidation("NanoBEIR", opened)
        reporter.notice(f"{found.description}: {found.retrieval:.4f} in the given order")
        return Measure(found.description, METRIC, found.retrieval, found.of)


def _pin(collections: Sequence[OpenCollection], processes: Processes) -> None:
    """Let all processes read the commits that the main process finds."""
    if processes.size == 1:
        return
    commits = processes.on_main(lambda: [dict(one.commits) for one in collections])
    for one, found in zip(collections, commits, strict=True):
        one.pin(found)
