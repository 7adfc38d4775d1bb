"""LiteLLM, which has a provider for each service.

    python -m tests.clients.litellm URL MODEL

Needs: litellm
"""

from tests.clients.calls import Ask, Client, Row, main


def litellm(provider: str, path: str = "") -> Client:
    """Return a client of `litellm.rerank`, which asks for the texts unless told not to."""

    def call(ask: Ask) -> list[Row]:
        import litellm

        litellm.suppress_debug_info = True
        answer = litellm.rerank(
            model=f"{provider}/{ask.model}",
            api_base=f"{ask.url}{path}",
            api_key="x",
            query=ask.query,
            documents=ask.texts,
            top_n=ask.top_n,
            return_documents=ask.returned,
        )
        return [
            (row["index"], row["relevance_score"], (row.get("document") or {}).get("text"))
            for row in answer.results
        ]

    return call


CLIENTS: dict[str, Client] = {
    "litellm cohere": litellm("cohere"),
    "litellm cohere v2": litellm("cohere", "/v2"),
    "litellm hosted_vllm": litellm("hosted_vllm"),
    "litellm hosted_vllm v1": litellm("hosted_vllm", "/v1"),
    "litellm jina_ai": litellm("jina_ai"),
    "litellm infinity": litellm("infinity"),
    "litellm huggingface": litellm("huggingface"),
    "litellm voyage": litellm("voyage"),
    "litellm litellm_proxy": litellm("litellm_proxy"),
}

if __name__ == "__main__":
    main(CLIENTS)
