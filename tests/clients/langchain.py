"""LangChain's rerankers.

    python -m tests.clients.langchain URL MODEL

Needs: langchain-cohere langchain-community langchain-voyageai infinity-client
"""

from collections.abc import Sequence
from typing import Any

from tests.clients.calls import Ask, Client, Row, main


def _documents(ask: Ask) -> list[Any]:
    from langchain_core.documents import Document

    return [Document(text, metadata={"at": at}) for at, text in enumerate(ask.texts)]


def _rows(documents: Sequence[Any]) -> list[Row]:
    return [
        (one.metadata["at"], one.metadata["relevance_score"], one.page_content) for one in documents
    ]


def cohere(ask: Ask) -> list[Row]:
    """Compress with `CohereRerank`."""
    from langchain_cohere import CohereRerank

    ranker = CohereRerank(base_url=ask.url, model=ask.model, cohere_api_key="x", top_n=ask.top_n)
    return _rows(ranker.compress_documents(_documents(ask), ask.query))


def infinity(ask: Ask) -> list[Row]:
    """Compress with `InfinityRerank`, which sorts by score and cuts by itself."""
    from infinity_client import Client as Infinity
    from langchain_community.document_compressors import InfinityRerank

    ranker = InfinityRerank(client=Infinity(base_url=ask.url), model=ask.model, top_n=ask.top_n)
    return _rows(ranker.compress_documents(_documents(ask), ask.query))


def jina(ask: Ask) -> list[Row]:
    """Compress with `JinaRerank`, whose URL is fixed in its module."""
    from langchain_community.document_compressors import JinaRerank, jina_rerank

    jina_rerank.JINA_API_URL = f"{ask.url}/v1/rerank"
    ranker = JinaRerank(jina_api_key="x", model=ask.model, top_n=ask.top_n)
    return _rows(ranker.compress_documents(_documents(ask), ask.query))


def voyage(ask: Ask) -> list[Row]:
    """Compress with `VoyageAIRerank`."""
    from langchain_voyageai import VoyageAIRerank

    ranker = VoyageAIRerank(api_key="x", base_url=f"{ask.url}/v1", model=ask.model, top_k=ask.top_n)
    return _rows(ranker.compress_documents(_documents(ask), ask.query))


CLIENTS: dict[str, Client] = {
    "CohereRerank": cohere,
    "InfinityRerank": infinity,
    "JinaRerank": jina,
    "VoyageAIRerank": voyage,
}

if __name__ == "__main__":
    main(CLIENTS)
