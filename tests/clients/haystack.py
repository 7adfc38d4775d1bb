"""Haystack's rankers.

    python -m tests.clients.haystack URL MODEL

Needs: haystack-ai huggingface-api-haystack cohere-haystack jina-haystack vllm-haystack
"""

from typing import Any

from tests.clients.calls import Ask, Client, Row, main


def _rows(ranker: Any, ask: Ask) -> list[Row]:
    from haystack import Document

    documents = [Document(content=text, meta={"at": at}) for at, text in enumerate(ask.texts)]
    found = ranker.run(query=ask.query, documents=documents)["documents"]
    return [(one.meta["at"], one.score, one.content) for one in found]


def tei(ask: Ask) -> list[Row]:
    """Rank with `HuggingFaceTEIRanker`."""
    from haystack_integrations.components.rankers.huggingface_api import HuggingFaceTEIRanker

    return _rows(HuggingFaceTEIRanker(url=ask.url, top_k=ask.top_n or 100, token=None), ask)


def cohere(ask: Ask) -> list[Row]:
    """Rank with `CohereRanker`."""
    from haystack.utils import Secret
    from haystack_integrations.components.rankers.cohere import CohereRanker

    key = Secret.from_token("x")
    ranker = CohereRanker(
        model=ask.model, api_key=key, api_base_url=ask.url, top_k=ask.top_n or 100
    )
    return _rows(ranker, ask)


def jina(ask: Ask) -> list[Row]:
    """Rank with `JinaRanker`."""
    from haystack.utils import Secret
    from haystack_integrations.components.rankers.jina import JinaRanker

    key, url = Secret.from_token("x"), f"{ask.url}/v1/rerank"
    return _rows(JinaRanker(model=ask.model, api_key=key, base_url=url, top_k=ask.top_n), ask)


def vllm(ask: Ask) -> list[Row]:
    """Rank with `VLLMRanker`."""
    from haystack_integrations.components.rankers.vllm import VLLMRanker

    url = f"{ask.url}/v1"
    return _rows(VLLMRanker(model=ask.model, api_base_url=url, top_k=ask.top_n), ask)


CLIENTS: dict[str, Client] = {
    "HuggingFaceTEIRanker": tei,
    "CohereRanker": cohere,
    "JinaRanker": jina,
    "VLLMRanker": vllm,
}

if __name__ == "__main__":
    main(CLIENTS)
