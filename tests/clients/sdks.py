"""The SDKs of Cohere, Voyage, OpenAI and infinity, and the package rerankers.

    python -m tests.clients.sdks URL MODEL

Needs: cohere voyageai openai infinity-client rerankers huggingface_hub requests
"""

from collections.abc import Callable
from typing import Any

from tests.clients.calls import QUERY, Ask, Client, Row, main


def cohere_v2(ask: Ask) -> list[Row]:
    """Rerank with `ClientV2`, which has no option to return the texts."""
    import cohere

    client = cohere.ClientV2(api_key="x", base_url=ask.url)
    answer = client.rerank(model=ask.model, query=ask.query, documents=ask.texts, top_n=ask.top_n)
    return [(row.index, row.relevance_score, None) for row in answer.results]


def cohere_v1(ask: Ask) -> list[Row]:
    """Rerank with `Client`."""
    import cohere

    client = cohere.Client(api_key="x", base_url=ask.url)
    answer = client.rerank(
        model=ask.model,
        query=ask.query,
        documents=ask.texts,
        top_n=ask.top_n,
        return_documents=ask.returned,
    )
    return [
        (row.index, row.relevance_score, row.document.text if row.document else None)
        for row in answer.results
    ]


def voyage(ask: Ask) -> list[Row]:
    """Rerank with `voyageai`, whose answer has the texts that were sent."""
    import voyageai

    client = voyageai.Client(api_key="x", base_url=f"{ask.url}/v1")
    answer = client.rerank(ask.query, ask.texts, model=ask.model, top_k=ask.top_n)
    return [(row.index, row.relevance_score, row.document) for row in answer.results]


def infinity(ask: Ask) -> list[Row]:
    """Rerank with `infinity-client`, which returns None for any error."""
    from infinity_client import Client as Infinity
    from infinity_client.api.default import rerank
    from infinity_client.models import RerankInput

    answer = rerank.sync(
        client=Infinity(base_url=ask.url),
        body=RerankInput(
            query=ask.query,
            documents=ask.texts,
            model=ask.model,
            return_documents=ask.returned,
            **({} if ask.top_n is None else {"top_n": ask.top_n}),
        ),
    )
    texts = [row.document if isinstance(row.document, str) else None for row in answer.results]
    return [
        (row.index, row.relevance_score, text)
        for row, text in zip(answer.results, texts, strict=True)
    ]


def rerankers(provider: str, path: str) -> Client:
    """Return a client of `rerankers`, which always sends the number of texts as the limit."""

    def call(ask: Ask) -> list[Row]:
        from rerankers.models.api_rankers import APIRanker

        ranker = APIRanker(ask.model, "x", provider, verbose=0, url=f"{ask.url}{path}")
        answer = ranker.rank(ask.query, ask.texts, doc_ids=list(range(len(ask.texts))))
        rows = answer.top_k(ask.top_n or len(ask.texts))
        return [(row.document.doc_id, row.score, row.document.text) for row in rows]

    return call


def openai(url: str) -> Any:
    """Return vectors, which the SDK asks for as base64, and the names of the models."""
    from openai import OpenAI

    client = OpenAI(api_key="x", base_url=f"{url}/v1")
    models = [model.id for model in client.models.list()]
    answer = client.embeddings.create(model=models[-1], input=["a ferry", "bread"])
    return {"models": models, "vectors": [row.embedding for row in answer.data]}


def vector_store(url: str) -> Any:
    """Search the index of a server as a vector store."""
    from openai import OpenAI

    client = OpenAI(api_key="x", base_url=f"{url}/v1")
    found = client.vector_stores.search(vector_store_id="texts", query=QUERY, max_num_results=3)
    return [[row.filename, row.score, row.content[0].text] for row in found]


def openai_ids(url: str) -> Any:
    """Send token ids, as some programs do."""
    from openai import OpenAI

    client = OpenAI(api_key="x", base_url=f"{url}/v1")
    return client.embeddings.create(model="unknown", input=[[1, 2, 3]])


def hugging_face(url: str) -> Any:
    """Return vectors by `InferenceClient`, which posts to `/`."""
    from huggingface_hub import InferenceClient

    return InferenceClient(base_url=url, token="x").feature_extraction("a ferry").tolist()


CLIENTS: dict[str, Client] = {
    "cohere v2": cohere_v2,
    "cohere v1": cohere_v1,
    "voyageai": voyage,
    "infinity-client": infinity,
    "rerankers cohere": rerankers("cohere", "/v1/rerank"),
    "rerankers jina": rerankers("jina", "/v1/rerank"),
    "rerankers voyage": rerankers("voyage", "/v1/rerank"),
    "rerankers mixedbread": rerankers("mixedbread.ai", "/v1/reranking"),
    "rerankers tei": rerankers("text-embeddings-inference", "/rerank"),
}
MORE: dict[str, Callable[[str], Any]] = {
    "openai": openai,
    "openai vector store": vector_store,
    "openai token ids": openai_ids,
    "huggingface_hub": hugging_face,
}

if __name__ == "__main__":
    main(CLIENTS, MORE)
