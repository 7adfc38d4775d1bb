"""The calls of a session that measure quality and speed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ettin_cli.api.collections import CollectionCalls
from ettin_cli.errors import InvalidArgumentError
from ettin_cli.records import Pair, Qrels, Query, listed, require_type
from ettin_cli.settings import (
    AUTO,
    CANDIDATES,
    DOCUMENT,
    METRICS,
    SAME,
    SENTENCE_TRANSFORMERS,
    TRUNCATE,
)

if TYPE_CHECKING:
    from ettin_cli.benchmark import Benchmark
    from ettin_cli.evaluation import Evaluation


class EvaluationCalls(CollectionCalls):
    """Measure systems on judged queries, and the speed of rerankers."""

    def evaluate(
        self,
        index: str | os.PathLike[str] | None,
        queries: Sequence[Query],
        qrels: Qrels,
        *,
        rerankers: Sequence[str] | None = None,
        retrievers: Sequence[str] = (AUTO,),
        candidates: Sequence[int] = (CANDIDATES,),
        blends: Sequence[float | str] = (AUTO,),
        metrics: str = METRICS,
        by: str = DOCUMENT,
        fold: str = SAME,
        expand: bool = False,
        long: str = TRUNCATE,
        exact: bool = False,
        calibrate: bool = False,
    ) -> Evaluation:
        """Measure retrieval and reranking on judged queries.

        Args:
            index: As in `open`.
            queries: Queries without judgements are left out.
            qrels: Mapping of query_id to doc_id to relevance, an integer.
            rerankers: Names as in `open`; several are compared. "none" is retrieval alone.
            retrievers: Names as in `open`; several are compared.
            candidates: Depths to compare. Empty: rerank the judged documents of each query.
            blends: Shares of the retrieval score to compare, from 0 to 1; "auto" is the reranker's.
            metrics: Names as in ir_measures, such as "nDCG@10,R@100". Systems are compared by the
                first.
            by: As in `Searcher.search`.
            fold: As in `Searcher.search`.
            expand: Whether to measure each retriever with query expansion as well.
            long: As in `open`.
            exact: As in `open`.
            calibrate: Whether to fit probabilities for `min_probability`, stored in the index.

        Returns:
            `baseline`, `systems` and `comparisons`: each system has its run, its seconds per query
            and its values by metric and query; a comparison has the gain over the baseline with
            its confidence interval and p-value.

        Raises:
            InvalidArgumentError: An argument is unknown or out of range.
            CorpusError: No query has judgements.
            CalibrationError: There are too few judgements to calibrate.

        Example:
            >>> queries = [ettin.Query("1", "bring my dog"), ettin.Query("2", "phone reception")]
            >>> qrels = {"1": {"faq.html": 1}, "2": {"internet-and-phones.md": 1}}
            >>> with ettin.Session(offline=True) as session:
            ...     report = session.build("docs", into="notes")
            ...     found = session.evaluate("notes", queries, qrels, rerankers=["embedded"])
            >>> found.baseline.system.name, round(found.systems[0].mean("nDCG@10"), 2)
            ('hybrid', 1.0)
        """
        from ettin_cli.evaluation import (
            EvaluationRequest,
            Evaluator,
            named_rerankers,
            parse_metrics,
            require_calibratable,
        )
        from ettin_cli.index import Index, find_index
        from ettin_cli.searching import SearchOptions

        retrievers, candidates = listed(retrievers, "retrievers"), listed(candidates, "candidates")
        blends, queries = listed(blends, "blends"), listed(queries, "queries")
        for query in queries:
            require_type(query, (Query,), "each of queries")
        require_type(qrels, (Mapping,), "qrels")
        if not retrievers:
            raise InvalidArgumentError("retrievers are empty", argument="retrievers")
        names = listed(rerankers or (), "rerankers") or [os.environ.get("ETTIN_RERANKER") or AUTO]
        found = named_rerankers(names, self.models)
        if calibrate:
            require_calibratable(found)
        request = EvaluationRequest(
            retrievers,
            found,
            sorted(set(candidates)),
            blends,
            parse_metrics(metrics),
            expand,
            long,
            SearchOptions(by=by, fold=fold),
            exact,
        )
        with Index(find_index(index)) as opened:
            evaluator = Evaluator(opened, self.models, request)
            evaluation, outcome = evaluator.measure(str(opened.folder), queries, qrels)
            if calibrate:
                list(evaluator.calibrate(outcome))
        return evaluation

    def evaluate_candidates(
        self,
        collection: str | os.PathLike[str],
        *,
        rerankers: Sequence[str] | None = None,
        metrics: str | None = None,
        long: str = TRUNCATE,
    ) -> Evaluation:
        """Measure how rerankers order the candidates that a collection comes with.

        Args:
            collection: As in "nanobeir/msmarco".
            rerankers: As in `evaluate`, like `long`.
            metrics: As in `evaluate`. None: those of sentence-transformers' evaluator.

        Raises:
            CorpusError: There is no such collection, it has no candidates, or cannot be downloaded.
        """
        from ettin_cli.evaluation import (
            GIVEN_METRICS,
            EvaluationRequest,
            measure_given,
            named_rerankers,
            parse_metrics,
        )

        found = self.collection(collection)
        if found is None:
            raise InvalidArgumentError(f"{collection} is no collection", argument="collection")
        names = listed(rerankers or (), "rerankers") or [os.environ.get("ETTIN_RERANKER") or AUTO]
        request = EvaluationRequest(
            rerankers=named_rerankers(names, self.models),
            metrics=parse_metrics(metrics or GIVEN_METRICS),
            long=long,
        )
        given = found.candidates()
        return measure_given(
            found.name, found.queries, found.qrels, given, request, self.models, [found.origin]
        )

    def evaluate_runs(
        self,
        runs: Sequence[str | os.PathLike[str]],
        qrels: Qrels,
        *,
        queries: Sequence[Query] = (),
        metrics: str = METRICS,
    ) -> Evaluation:
        """Measure TREC runs that any system made.

        Args:
            runs: Files. The first is the baseline of the others.
            qrels: As in `evaluate`, like `metrics`.
            queries: The texts of the queries, for reports.

        Raises:
            CorpusError: A run cannot be read, or none of its queries has judgements.

        Example:
            >>> with open("mine.trec", "w") as file:
            ...     length = file.write("1 Q0 faq.html 1 0.9 mine")
            >>> with ettin.Session() as session:
            ...     found = session.evaluate_runs(["mine.trec"], {"1": {"faq.html": 1}})
            >>> found.baseline.mean("nDCG@10")
            1.0
        """
        from ettin_cli.evaluation import measure_runs, parse_metrics

        files = list(map(Path, listed(runs, "runs")))
        if not files:
            raise InvalidArgumentError("runs are empty", argument="runs")
        require_type(qrels, (Mapping,), "qrels")
        return measure_runs(files, qrels, parse_metrics(metrics), queries)

    def bench(
        self,
        rerankers: Sequence[str] | None = None,
        *,
        against: str = SENTENCE_TRANSFORMERS,
        engines: Sequence[str] = (),
        dtypes: Sequence[str] | None = None,
        document_tokens: Sequence[int] = (),
        pairs: Sequence[Pair] = (),
        limit: int | None = None,
        rounds: int = 3,
    ) -> Benchmark:
        """Compare the speed of rerankers on this machine with sentence-transformers.

        Args:
            rerankers: As in `open`, each of them a model folder.
            against: The baseline: "sentence-transformers" or "none".
            engines: "torch", "onnxruntime", "openvino" or "auto". Empty: all that are installed.
            dtypes: As in `EngineSettings`. None: that of the session.
            document_tokens: Lengths of the pairs made from a sample corpus, in tokens. Empty:
                about 125.
            pairs: (query, text) pairs to score instead.
            limit: Pairs per length. None: as many as take a reasonable time.
            rounds: How often all pairs are scored.

        Returns:
            The benchmark. Iterating over it measures, and yields a `Race` for each reranker and
            length: its speeds in seconds per round, and the agreement of the scores.

        Raises:
            InvalidArgumentError: An argument is unknown or out of range.
            ModelError: A reranker cannot be found.

        Example:
            >>> with ettin.Session(offline=True) as session:
            ...     benchmark = session.bench(
            ...         ["embedded"], against="none", engines=["onnxruntime"], limit=4, rounds=1
            ...     )
            ...     [race] = benchmark
            >>> race.pairs, len(race.speeds), len(race.speeds[0].seconds)
            (4, 1, 1)
        """
        from ettin_cli.benchmark import BenchmarkRequest, plan_benchmark

        request = BenchmarkRequest(
            listed(rerankers or (), "rerankers") or [os.environ.get("ETTIN_RERANKER") or AUTO],
            against,
            listed(engines, "engines"),
            listed(dtypes or (), "dtypes") or [self.models.settings.dtype],
            listed(document_tokens, "document_tokens"),
            listed(pairs, "pairs"),
            limit,
            rounds,
        )
        return plan_benchmark(request, self.models)
