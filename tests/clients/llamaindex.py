"""LlamaIndex's node postprocessors.

    python -m tests.clients.llamaindex URL MODEL

Needs: llama-index-postprocessor-cohere-rerank llama-index-postprocessor-tei-rerank
Needs: llama-index-postprocessor-jinaai-rerank llama-index-postprocessor-siliconflow-rerank
Needs: llama-index-postprocessor-xinference-rerank llama-index-postprocessor-voyageai-rerank
"""

from typing import Any

from tests.clients.calls import Ask, Client, Row, main


def _rows(ranker: Any, ask: Ask) -> list[Row]:
    from llama_index.core.schema import NodeWithScore, TextNode

    nodes = [
        NodeWithScore(node=TextNode(text=text, id_=str(at))) for at, text in enumerate(ask.texts)
    ]
    found = ranker.postprocess_nodes(nodes, query_str=ask.query)
    return [(int(one.node.node_id), one.score, one.node.get_content()) for one in found]


def cohere(ask: Ask) -> list[Row]:
    """Rank with `CohereRerank`."""
    from llama_index.postprocessor.cohere_rerank import CohereRerank

    count = ask.top_n or len(ask.texts)
    return _rows(CohereRerank(top_n=count, model=ask.model, api_key="x", base_url=ask.url), ask)


def tei(ask: Ask) -> list[Row]:
    """Rank with `TextEmbeddingInference`, which sends neither a model nor a limit."""
    from llama_index.postprocessor.tei_rerank import TextEmbeddingInference

    return _rows(TextEmbeddingInference(top_n=ask.top_n or len(ask.texts), base_url=ask.url), ask)


def jina(ask: Ask) -> list[Row]:
    """Rank with `JinaRerank`."""
    from llama_index.postprocessor.jinaai_rerank import JinaRerank

    count, url = ask.top_n or len(ask.texts), f"{ask.url}/v1"
    return _rows(JinaRerank(top_n=count, model=ask.model, base_url=url, api_key="x"), ask)


def siliconflow(ask: Ask) -> list[Row]:
    """Rank with `SiliconFlowRerank`."""
    from llama_index.postprocessor.siliconflow_rerank import SiliconFlowRerank

    ranker = SiliconFlowRerank(
        model=ask.model,
        base_url=f"{ask.url}/v1/rerank",
        api_key="x",
        top_n=ask.top_n or len(ask.texts),
        return_documents=ask.returned,
    )
    return _rows(ranker, ask)


def xinference(ask: Ask) -> list[Row]:
    """Rank with `XinferenceRerank`."""
    from llama_index.postprocessor.xinference_rerank import XinferenceRerank

    count = ask.top_n or len(ask.texts)
    return _rows(XinferenceRerank(top_n=count, model=ask.model, base_url=ask.url), ask)


def voyage(ask: Ask) -> list[Row]:
    """Rank with `VoyageAIRerank`, which takes the URL of its client from nowhere."""
    import voyageai
    from llama_index.postprocessor.voyageai_rerank import VoyageAIRerank

    ranker = VoyageAIRerank(model=ask.model, api_key="x", top_n=ask.top_n)
    ranker._client = voyageai.Client(api_key="x", base_url=f"{ask.url}/v1")
    return _rows(ranker, ask)


CLIENTS: dict[str, Client] = {
    "CohereRerank": cohere,
    "TextEmbeddingInference": tei,
    "JinaRerank": jina,
    "SiliconFlowRerank": siliconflow,
    "XinferenceRerank": xinference,
    "VoyageAIRerank": voyage,
}

if __name__ == "__main__":
    main(CLIENTS)
