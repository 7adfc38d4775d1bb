"""The routes that rerank, score, embed and tokenize, and that describe the models."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ettin_cli import __version__
from ettin_cli.serving.answers import Ranked, rerank_answer, scores_answer
from ettin_cli.serving.dialects import (
    RerankRequest,
    asks_raw,
    dialect_of,
    pairs_of,
    rerank_request,
    strings_of,
)
from ettin_cli.serving.exchange import Answer, Exchange
from ettin_cli.serving.problems import ProblemError, invalid
from ettin_cli.serving.served import Readiness, Served
from ettin_cli.serving.served_models import Counted, Scored, ServedEmbedder, ServedReranker

if TYPE_CHECKING:
    from ettin_cli.records import Floats

RERANK = ("/rerank", "/v1/rerank", "/v2/rerank", "/reranking", "/v1/reranking")
# Of LiteLLM, if its base URL ends in /v2, as those of other clients do.
DOUBLED = "/v2/v2/rerank"
SCORE = ("/score", "/v1/score")
EMBEDDINGS = ("/v1/embeddings", "/embeddings")
EMBED = ("/embed", "/v1/embed")
MAX_TOKENIZED = 1_000_000


class ModelRoutes:
    """Answers requests to the models of a server."""

    def __init__(self, served: Served, readiness: Readiness) -> None:
        self.served, self.readiness = served, readiness
        self.started = int(time.time())

    async def root(self, exchange: Exchange) -> Answer:
        """Answer a request to text-embeddings-inference that does not name its kind."""
        body = await exchange.body()
        call = self._embedded if "inputs" in body else self._reranked
        return await call(body, exchange)

    async def rerank(self, exchange: Exchange) -> Answer:
        """Answer a request to rerank, in the dialect of its body."""
        return await self._reranked(await exchange.body(), exchange)

    async def _reranked(self, body: Mapping[str, Any], exchange: Exchange) -> Answer:
        exchange.dialect = dialect_of(body)
        asked = await exchange.aside(lambda: rerank_request(body, self.served.limits.documents))
        model = self.served.reranker(asked.model, exchange)
        exchange.warnings += asked.warnings
        await self.readiness.wait()
        exchange.admit(model.scheduler)
        counted = await exchange.aside(
            lambda: model.counted(asked.query, asked.texts, asked.max_tokens)
        )
        scores = await exchange.computed(model.scheduler, counted, asked.priority)
        return self._ranked(asked, model, counted, scores, exchange)

    def _ranked(
        self,
        asked: RerankRequest,
        model: ServedReranker,
        counted: Counted,
        scores: Sequence[Scored],
        exchange: Exchange,
    ) -> Answer:
        cut = counted.cut | {at for at, score in enumerate(scores) if score.truncated}
        exchange.metrics.count_cut(len(cut))
        limit = min(asked.max_tokens or model.limit, model.limit)
        if cut:
            texts = f"{len(cut):,} of {len(scores):,} documents"
            exchange.warnings.append(f"{texts} were cut at {limit:,} tokens")
        ranked = Ranked(
            model=model.name,
            values=[score.value for score in scores],
            scale=self.served.scale_of(model, asked.raw),
            cut=cut,
            tokens=sum(counted.tokens),
            warnings=exchange.warnings,
        )
        return rerank_answer(asked, ranked)

    async def score(self, exchange: Exchange) -> Answer:
        """Answer a request for the scores of pairs."""
        body = await exchange.body()
        exchange.dialect = "vllm"
        queries, texts = pairs_of(body, self.served.limits.documents)
        model = self.served.reranker(body.get("model"), exchange)
        await self.readiness.wait()
        exchange.admit(model.scheduler)
        pairs = list(zip(queries, texts, strict=True))
        counted = await exchange.aside(lambda: model.counted_pairs(pairs))
        scores = await exchange.computed(model.scheduler, counted)
        values = [score.value for score in scores]
        tokens = sum(counted.tokens)
        return scores_answer(
            model.name, values, self.served.scale_of(model, asks_raw(body)), tokens
        )

    async def embeddings(self, exchange: Exchange) -> Answer:
        """Answer a request for vectors, as OpenAI does."""
        body = await exchange.body()
        exchange.dialect = "openai"
        texts = strings_of(body, "input", self.served.limits.documents)
        encoding = body.get("encoding_format") or "float"
        if encoding not in ("float", "base64"):
            raise invalid("`encoding_format` must be float or base64", "encoding_format")
        model = self.served.embedder(body.get("model"), exchange)
        await self.readiness.wait()
        size, own = body.get("dimensions"), model.embedder.card.dimension
        if size not in (None, own):
            raise invalid(f"`dimensions` must be {own} for {model.name}", "dimensions")
        vectors, tokens = await self._vectors(model, texts, body, exchange)
        return {
            "object": "list",
            "data": [
                {"object": "embedding", "index": at, "embedding": _encoded(vector, encoding)}
                for at, vector in enumerate(vectors)
            ],
            "model": model.name,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }

    async def embed(self, exchange: Exchange) -> Answer:
        """Answer a request for vectors, as text-embeddings-inference does."""
        return await self._embedded(await exchange.body(), exchange)

    async def _embedded(self, body: Mapping[str, Any], exchange: Exchange) -> Answer:
        exchange.dialect = "tei"
        texts = strings_of(body, "inputs", self.served.limits.documents)
        if body.get("normalize") is False:
            raise invalid("`normalize` must be true: vectors have the length 1", "normalize")
        model = self.served.embedder(body.get("model"), exchange)
        vectors, _ = await self._vectors(model, texts, body, exchange)
        return [vector.tolist() for vector in vectors]

    async def _vectors(
        self, model: ServedEmbedder, texts: list[str], body: Mapping[str, Any], exchange: Exchange
    ) -> tuple[list[Floats], int]:
        role = body.get("input_type") or body.get("prompt_name")
        queries = isinstance(role, str) and role.lower() in ("query", "search_query")
        await self.readiness.wait()
        exchange.admit(model.scheduler)
        counted = await exchange.aside(lambda: model.counted(texts, queries=queries))
        vectors = await exchange.computed(model.scheduler, counted)
        return vectors, sum(counted.tokens)

    async def tokenize(self, exchange: Exchange) -> Answer:
        """Answer a request for the tokens of texts."""
        body = await exchange.body()
        exchange.dialect = "tei"
        texts = strings_of(body, "inputs", self.served.limits.documents)
        special = body.get("add_special_tokens", True) is not False
        if sum(map(len, texts)) > MAX_TOKENIZED:
            message = f"`inputs` has more than {MAX_TOKENIZED:,} characters"
            raise ProblemError(413, message, param="inputs")
        model = self.served.reranker(body.get("model"), exchange)
        self.readiness.require()
        return await asyncio.to_thread(model.tokenized, texts, special=special)

    async def models(self, _exchange: Exchange) -> Answer:
        """List the models."""
        listed = [
            {
                "id": model.name,
                "object": "model",
                "created": self.started,
                "owned_by": "ettin",
                "capabilities": [model.task],
                "max_tokens": None if self.readiness.reason else model.limit,
                "aliases": self.served.aliases(model),
                **(
                    {"score": self.served.scale_of(model, None).to_dict()}
                    if isinstance(model, ServedReranker)
                    else {}
                ),
            }
            for model in self.served.models
        ]
        return {"object": "list", "data": listed}

    async def info(self, exchange: Exchange) -> Answer:
        """Describe the first reranker, else the first embedder."""
        if not self.served.rerankers:
            return await self.embedding_info(exchange)
        model = self.served.reranker(None, exchange)
        self.readiness.require()
        kind = {"reranker": {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}}
        backend = model.reranker.card.backend
        facts = self._facts(model.name, model.revision, backend, kind, model.limit)
        scale = self.served.scale_of(model, None).to_dict()
        return {**facts, "ettin": {"backend": backend, "score": scale}}

    async def embedding_info(self, exchange: Exchange) -> Answer:
        """Describe the first embedder."""
        model = self.served.embedder(None, exchange)
        self.readiness.require()
        kind: dict[str, Any] = {"embedding": {"pooling": "unknown"}}
        return self._facts(
            model.name, model.files.revision, model.embedder.backend, kind, model.limit
        )

    def _facts(
        self, name: str, revision: str | None, backend: str, kind: Answer, limit: int
    ) -> dict[str, Any]:
        """Return what text-embeddings-inference tells of a model."""
        return {
            "model_id": name,
            "model_sha": revision,
            "model_dtype": backend.split()[-1],
            "model_type": kind,
            "max_concurrent_requests": None,
            "max_input_length": limit,
            "max_batch_tokens": None,
            "max_batch_requests": None,
            "max_client_batch_size": self.served.limits.documents,
            "auto_truncate": True,
            "tokenization_workers": 1,
            "version": __version__,
            "sha": None,
            "docker_label": None,
            "ettin": {"backend": backend},
        }


def _encoded(vector: Floats, encoding: str) -> object:
    if encoding == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return vector.tolist()
