"""Scores -> the bodies that the clients of many services read."""

from __future__ import annotations

import time
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from ettin_cli.serving.dialects import RerankRequest
from ettin_cli.serving.scores import Scale


@dataclass(frozen=True, slots=True)
class Ranked:
    """The scores of a request's texts, in their order.

    Args:
        cut: The positions of texts of which only the beginning was read.
        tokens: Tokens of all pairs.
        warnings: What a client should know.
    """

    model: str
    values: Sequence[float]
    scale: Scale
    cut: Collection[int]
    tokens: int
    warnings: Sequence[str] = field(default_factory=list)


def rerank_answer(asked: RerankRequest, ranked: Ranked) -> dict[str, Any] | list[Any]:
    """Return the body that the client of a request reads, best text first."""
    # The model's own scores: on a scale, different ones can become equal.
    order = sorted(range(len(ranked.values)), key=lambda at: (-ranked.values[at], at))
    best = order[: asked.top_n]
    scores = ranked.scale.of([ranked.values[at] for at in best])
    texts = [asked.texts[at] if asked.return_texts else None for at in best]
    rows = list(zip(best, scores, texts, strict=True))
    usage = {"prompt_tokens": ranked.tokens, "total_tokens": ranked.tokens}
    if asked.dialect == "tei":
        return [_row("score", "text", index, score, text) for index, score, text in rows]
    if asked.dialect == "voyage":
        data = [_row("relevance_score", "document", *row) for row in rows]
        return {"object": "list", "data": data, "model": ranked.model, "usage": usage}
    if asked.dialect == "mixedbread":
        data = [{**_row("score", "input", *row), "object": "text_document"} for row in rows]
        return {"object": "list", "data": data, "model": ranked.model, "usage": usage}
    results = []
    for index, score, text in rows:
        shown: Any = text if asked.dialect == "infinity" or text is None else {"text": text}
        row = _row("relevance_score", "document", index, score, shown)
        results.append({**row, **({"truncated": True} if index in ranked.cut else {})})
    return {
        "id": uuid.uuid4().hex,
        "object": "rerank",
        "model": ranked.model,
        "created": int(time.time()),
        "results": results,
        "usage": usage,
        "meta": _meta(ranked),
    }


def scores_answer(model: str, values: Sequence[float], scale: Scale, tokens: int) -> dict[str, Any]:
    """Return the body of scores in the order of their pairs, as vLLM's clients read it."""
    return {
        "id": uuid.uuid4().hex,
        "object": "list",
        "created": int(time.time()),
        "model": model,
        "data": [
            {"index": at, "object": "score", "score": score}
            for at, score in enumerate(scale.of(values))
        ],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _row(score_name: str, text_name: str, index: int, score: float, text: Any) -> dict[str, Any]:
    """Return a result; a text that was not asked for is left out, since clients fail on null."""
    row: dict[str, Any] = {"index": index, score_name: score}
    return row if text is None else {**row, text_name: text}


def _meta(ranked: Ranked) -> dict[str, Any]:
    return {
        "api_version": {"version": "2"},
        "billed_units": {"search_units": 1, "total_tokens": ranked.tokens},
        "tokens": {"input_tokens": ranked.tokens, "output_tokens": 0},
        "score": ranked.scale.to_dict(),
        **({"warnings": list(ranked.warnings)} if ranked.warnings else {}),
    }
